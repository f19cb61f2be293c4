"""The demo needs no network, and the versions it runs on are bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCKED = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        raise SystemExit(f"the demo touched the network: {event} {arguments[-1]}")

sys.addaudithook(refuse)
"""


def kvl(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb in a process (and in processes it starts) that ends where it touches the network."""
    (place / "sitecustomize.py").write_text(BLOCKED)
    paths = os.pathsep.join(filter(None, (str(place), str(ROOT), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "kvl_eval", *arguments]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=600)


def test_the_block_holds(tmp_path: Path) -> None:
    done = kvl(tmp_path, "run", "--task", "mathvista", "--model", "nobody/nothing-of-that-name", "--limit", "1")
    assert done.returncode != 0
    assert "touched the network" in done.stderr


@pytest.mark.slow
def test_the_demo_runs_with_all_connections_refused(tmp_path: Path) -> None:
    done = kvl(tmp_path, "run", "--task", "mathvista", "--limit", "4", "--json", "--no-progress")
    assert done.returncode == 0, done.stderr
    folder = json.loads(done.stdout)["folder"]
    for verb in ("score", "report", "verify"):
        done = kvl(tmp_path, verb, folder)
        assert done.returncode == 0, done.stderr


def test_every_dependency_has_bounds_that_its_tested_version_keeps() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    tested = {canonicalize_name(name): version.strip() for name, version in pins}
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert {">=", "<"} <= {bound.operator for bound in requirement.specifier}, f"{text} lacks a bound"
        assert tested[canonicalize_name(requirement.name)] in requirement.specifier, text
