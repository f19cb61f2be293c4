"""Where vLLM is installed. Its packages clash with ours: it has an environment of its own, and is never imported.

Looked for in this order: the environment folder that KVL_EVAL_VLLM names, `vllm` on PATH, `~/.cache/kvl-eval/vllm`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.errors import EndpointError

VARIABLE = "KVL_EVAL_VLLM"
OLDEST = (0, 8, 5)  # Kimi-VL came with it
TESTED = "0.32.0"
ASKING_SECONDS = 120.0  # that `vllm --version` may take
_METADATA = "lib/python3*/*-packages/vllm-*.dist-info/METADATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A vLLM that can be started.

    Attributes:
        program: `bin/vllm`.
        version: as it says itself, such as `0.32.0+cpu`.
    """

    program: Path
    version: str

    @property
    def is_cpu(self) -> bool:
        """Whether it was built to compute on a CPU."""
        return "cpu" in self.version.partition("+")[2]


def own_environment() -> Path:
    """The folder in the user's cache where vLLM is looked for last."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvl-eval" / "vllm"


def ways_to_install() -> tuple[str, str]:
    """The two commands that make an environment with vLLM where it is found."""
    folder = own_environment()
    return f"python3 -m venv {folder}", f"{folder}/bin/pip install vllm=={TESTED}"


def find_program() -> Path | None:
    """The `vllm` that would be started, or None. Raises: EndpointError, where KVL_EVAL_VLLM names no environment."""
    named = os.environ.get(VARIABLE)
    if named:
        program = shutil.which(str(Path(named).expanduser() / "bin" / "vllm"))
        if program is None:
            raise EndpointError(
                "vllm.missing",
                f"no bin/vllm in {VARIABLE}={named}",
                fix=f"set it to the folder of a Python environment with vLLM, or unset {VARIABLE}",
            )
        return Path(program)
    found = shutil.which("vllm") or shutil.which(str(own_environment() / "bin" / "vllm"))
    return None if found is None else Path(found)


def find_installation() -> Installation:
    """The vLLM to start. Raises: EndpointError, where there is none, or one that knows no Kimi-VL."""
    program = find_program()
    if program is None:
        make, install = ways_to_install()
        raise EndpointError(
            "vllm.missing",
            "vLLM is not installed",
            why=f"{VARIABLE} is not set, and there is no vllm on PATH or in {own_environment()}",
            fix=f"{make} && {install}",
        )
    version = _version_of(program)
    number = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if number is None or tuple(int(part or 0) for part in number.groups()) < OLDEST:
        raise EndpointError(
            "vllm.version",
            f"vLLM {version or 'of an unknown version'} is not supported",
            where=str(program),
            why=f"Kimi-VL needs vLLM {'.'.join(map(str, OLDEST))} or newer; {TESTED} is tested",
            fix=f"run `{program.parent}/pip install vllm=={TESTED}`, or choose another environment with {VARIABLE}",
        )
    return Installation(program=program, version=version)


def _version_of(program: Path) -> str:
    """What the package's own files say, else what the program says, else nothing."""
    for name in dict.fromkeys((program, program.resolve())):
        for version in _stored_versions(name.parent.parent):
            return version
    try:
        asked = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=ASKING_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    words = asked.stdout.split()
    return words[-1] if words and asked.returncode == 0 else ""


def _stored_versions(environment: Path) -> Iterator[str]:
    for path in sorted(environment.glob(_METADATA)):
        stated = re.search(r"^Version: *(\S+)", path.read_text("utf-8", "replace"), re.MULTILINE)
        if stated is not None:
            yield stated[1]
