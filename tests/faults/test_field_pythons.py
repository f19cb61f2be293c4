"""Pythons other than the one at hand: too old ones are told so, later ones are installed, run and tested."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def older_python() -> str | None:
    """A Python 3.10 on the path or in pyenv's folder, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which("python3.10"), *map(str, pyenv.glob("versions/3.10.*/bin/python"))]
    for place in filter(None, places):
        if subprocess.run([place, "-c", "import pip"], capture_output=True).returncode == 0:
            return place
    return None


# Too old


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_P32_an_older_python_is_asked_to_install_nothing(extra: str) -> None:
    """What pip would look for first would be what it complains of: releases that an older Python cannot have."""
    texts = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    others = [item for item in map(Requirement, texts) if item.name != "kvl-eval"]
    assert [item.name for item in others if not item.marker or item.marker.evaluate({"python_version": "3.10"})] == []
    linux = {"python_version": "3.11", "platform_machine": "x86_64", "platform_system": "Linux"}
    assert all(item.marker and item.marker.evaluate(linux) for item in others)
    assert PROJECT["requires-python"] == ">=3.11"


@pytest.mark.slow
def test_P32_pip_names_the_version_that_is_required() -> None:
    """Where no older Python is at hand there is only the test above: pip reads markers for the Python it runs in."""
    python = older_python()
    if python is None:
        return
    command = [python, "-m", "pip", "install", "--dry-run", "-c", str(ROOT / "constraints.txt"), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert re.search(r"requires a different Python: 3\.10\S* not in '>=3\.11'\s*$", done.stderr)
    assert "torch" not in done.stdout


def test_P32_a_checkout_names_the_version_that_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    for name in [name for name in sys.modules if name.startswith(("kvl_eval.cli", "kvl_eval.__main__"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match=r"^kvl-eval requires Python 3\.11 or later; this is Python 3\.10\.13\.$"):
        runpy.run_module("kvl_eval", run_name="__main__")
    assert "kvl_eval.cli.main" not in sys.modules


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py"])
def test_P32_what_an_older_python_reads_is_no_syntax_error(name: str) -> None:
    ast.parse((ROOT / "kvl_eval" / name).read_text("utf-8"), feature_version=(3, 7))


# Later


PYTHON = """#!/bin/sh
case "$*" in
*platform*) echo {version}.1 ;;
-c*) echo {version} ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/kvl-eval" ;;
*) echo "{version} $*" >>"{log}"; case "$*" in *{broken}*) exit 1 ;; esac ;;
esac
"""


def stub_python(path: Path, version: str, *, log: Path, broken: str = "nothing is broken") -> None:
    """A program that behaves as Python `version` and writes down what it is asked to do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON.format(version=version, log=log, broken=f'"{broken}"'))
    path.chmod(0o755)


def pythons(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`tools/pythons.sh` where only the Pythons below `folder` are found."""
    environment = {"PATH": f"{folder / 'bin'}:/bin:/usr/bin", "HOME": str(folder), "PYENV_ROOT": str(folder / "pyenv")}
    command = ["bash", str(ROOT / "tools" / "pythons.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_P33_every_python_that_is_found_is_installed_run_and_tested(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stub_python(tmp_path / "bin" / "python3.12", "3.12", log=log)
    stub_python(tmp_path / "bin" / "python3.13", "3.13", log=log, broken="pytest")
    done = pythons(tmp_path, "3.12", "3.13", "3.99", "--", "-k", "name")
    assert done.returncode == 1
    first, *others = done.stdout.splitlines()[-3:]
    assert re.fullmatch(r"Python 3\.12: passed, 3\.12\.1, \d+ s", first)
    assert others == ["Python 3.13: failed: tests", "Python 3.99: not found"]
    work = [line.removeprefix("3.12 ") for line in log.read_text().splitlines() if line.startswith("3.12")]
    assert "-c constraints.txt" in work[0] and work[1].startswith("run --task mathvista --limit 10")
    assert work[2:] == ["-m pytest -k name"]


def test_P33_an_environment_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    rest = tmp_path / ".cache" / "kvl-eval" / "pythons" / "3.12" / "half"
    rest.mkdir(parents=True)
    stub_python(tmp_path / "bin" / "python3.12", "3.12", log=tmp_path / "log", broken="constraints.txt")
    assert pythons(tmp_path, "3.12").stdout.splitlines()[-1] == "Python 3.12: failed: install"
    assert not rest.exists()


def test_P33_a_shim_that_leads_nowhere_is_no_python(tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "python3.13"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert pythons(tmp_path, "--found", "3.13").stdout == ""
    stub_python(tmp_path / "pyenv" / "versions" / "3.13.0" / "bin" / "python", "3.13", log=tmp_path / "log")
    assert pythons(tmp_path, "--found", "3.13").stdout == "3.13\n"


def test_P33_the_readme_names_the_versions_that_were_run() -> None:
    versions = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if ":: Python :: 3." in text]
    assert "3.11" in versions
    line = next(line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.startswith("Python 3."))
    assert re.findall(r"3\.\d+", line)[: len(versions)] == versions
