"""What is written down about the code, the machine and the command of a run. Nothing heavy, no secret."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from kvl_eval import __version__
from kvl_eval.decode import Json
from kvl_eval.options.environment import VARIABLES as OURS

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "transformers", "datasets", "numpy", "pillow", "av", "decord", "tiktoken", "rapidfuzz", "pyarrow")
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "PYTHONHASHSEED",
    "TZ",
    "LANG",
    *(name for name in OURS if name.startswith("KVL_EVAL_")),
    *("HF_HOME", "HF_ENDPOINT"),
)
_SECRET_NAME = r"[\w-]*(?:api[_-]?key|secret|password|passwd|authorization|token(?!s|izer))[\w-]*(?<!env)"
_SECRET_OPTION = re.compile(rf"--?(?:{_SECRET_NAME}|[\w-]*key)")
_SECRET_PAIR = re.compile(rf"((?:^|(?<=[,\s]))-*(?:{_SECRET_NAME}|key)=)[^,\s]+", re.IGNORECASE)


@cache
def code() -> dict[str, Json]:
    """Package version, git commit where there is one, and a hash over the package's Python files."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    commit, dirty = _git()
    return {"version": __version__, "commit": commit, "dirty": dirty, "files_sha256": digest.hexdigest()}


def minor_version() -> str:
    """`0.1` of `0.1.3`: part of every fingerprint, since any minor version may change an answer."""
    return ".".join(__version__.split(".")[:2])


def environment() -> dict[str, Json]:
    """Python, libraries, system, processor, and the few environment variables that matter."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "os": platform.platform(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "variables": {**variables()},
    }


def variables() -> dict[str, str]:
    """The environment variables that matter, as far as they are set."""
    return {name: without_secrets(os.environ[name]) for name in VARIABLES if name in os.environ}


def command(arguments: Sequence[str] | None = None) -> list[str]:
    """The command line with the values of secret options replaced by `***`."""
    shown: list[str] = []
    hide = False
    for argument in sys.argv if arguments is None else arguments:
        shown.append("***" if hide else without_secrets(argument))
        hide = bool(_SECRET_OPTION.fullmatch(argument))
    return shown


def without_secrets(text: str) -> str:
    """`text` with the values of keys, tokens and passwords, and the login of addresses, replaced by `***`."""
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1***@", _SECRET_PAIR.sub(r"\1***", text))


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Commit and whether tracked files differ from it; (None, None) outside a checkout."""
    if not (PACKAGE.parent / ".git").exists():
        return None, None
    try:
        head = _output("git", "rev-parse", "HEAD")
        return head.strip(), bool(_output("git", "status", "--porcelain", "-uno").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


def _output(*arguments: str) -> str:
    done = subprocess.run(arguments, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=5, check=True)
    return done.stdout


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.machine()


def host() -> str:
    """The name of this machine."""
    return platform.node()
