"""Python's command line in processes that need not import what takes seconds.

`python` asks a server process that has imported torch, tables and the package, and forks: a child of it runs what
`python ARGUMENTS` runs, in an environment and a folder of its own. The hub's clients are not among its imports: they
read their variables when they are imported. What an interpreter reads when it starts (PYTHONPATH, PYTHONHASHSEED,
sitecustomize) needs a process of its own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = (
    *("numpy", "PIL.Image", "pyarrow.parquet", "pandas", "torch", "av"),
    *("kvl_eval.cli.main", "kvl_eval.cli.run", "kvl_eval.run.runner", "kvl_eval.tasks", "kvl_eval.sources"),
    *("kvl_eval.backends.torch_engine", "kvl_eval.model.kimi_vl.model", "kvl_eval.reports"),
)
LATER = ("huggingface_hub.constants", "datasets", "transformers")


@cache
def server() -> subprocess.Popen[str]:
    """The process that forks, which ends with this one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forks"],
        **{"cwd": ROOT, "env": environment, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},
    )
    atexit.register(end, process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def python(
    *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, timeout: float = 300, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS` with nothing on its standard input writes, and how it ends.

    Raises: TimeoutExpired after `timeout` seconds; CalledProcessError where `check` and it fails.
    """
    process = server()
    assert process.stdin is not None and process.stdout is not None
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        wanted = {
            **{"arguments": arguments, "cwd": str(cwd), "env": dict(os.environ if env is None else env)},
            **{"out": str(out), "err": str(err), "timeout": timeout},
        }
        print(json.dumps(wanted), file=process.stdin, flush=True)
        code = json.loads(process.stdout.readline())
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout, out.read_bytes(), err.read_bytes())
        done = subprocess.CompletedProcess(arguments, code, out.read_text("utf-8"), err.read_text("utf-8"))
    if check:
        done.check_returncode()
    return done


def serve() -> None:
    """Answer requests until the other end is closed; a child leaves through here to its end."""
    for name in IMPORTS:
        importlib.import_module(name)
    sys.modules["kvl_eval.run.provenance"].code()  # kept by each child
    assert not set(LATER) & set(sys.modules)
    gc.freeze()
    while line := sys.stdin.readline():
        wanted = json.loads(line)
        pid = os.fork()
        if not pid:
            become(**wanted)
            return
        print(json.dumps(ended(pid, wanted["timeout"])), flush=True)


def ended(pid: int, timeout: float) -> int | None:
    """How a child ended, as `subprocess` says it; None for one that was killed after `timeout` seconds."""
    late = False

    def kill(number: int, frame: FrameType | None) -> None:
        nonlocal late
        late = True
        os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    status = os.waitpid(pid, 0)[1]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return None if late else os.waitstatus_to_exitcode(status)


def become(arguments: Sequence[str], cwd: str, env: Mapping[str, str], out: str, err: str, timeout: float) -> None:
    """Run `python ARGUMENTS` in this process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path, how in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        opened = os.open(path, how | (os.O_CREAT if number else 0))
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace", buffering=1)
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = list(arguments)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve()
