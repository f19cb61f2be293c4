"""The command line in processes that die at drawn moments.

A `Nursery` is a server process that imports once and forks: a child of it is the real command line, given real
signals, without what an interpreter takes to start. When it dies is a `Death`: so many function calls after a function
was called for the n-th time, which does not depend on the clock, or when the test sends it signals.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from kvl_eval.__main__ import start

ROOT = Path(__file__).resolve().parents[2]
HANG = 120  # seconds after which a process that should have ended counts as hanging
NEVER = 10**9
MOST = 8  # records that a process may write
SPARE = 20  # records after which a process dies that got a signal and lives on
SIGNALS = (
    (signal.SIGKILL,),
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGKILL),  # as job schedulers do
)


@dataclass(frozen=True, slots=True)
class Death:
    """When a process sends itself signals: `calls` calls of functions after the `count`-th call of `function`.

    Attributes:
        signals: one after the other, `between` calls apart.
        records: at the latest when it has written so many.
    """

    function: str = "main"
    count: int = 1
    calls: int = NEVER
    signals: tuple[int, ...] = (signal.SIGKILL,)
    between: int = 0
    records: int = NEVER


def drawn(draw: random.Random) -> Death:
    """A random death: while a run starts, near a record, or near a file that is put in place."""
    function, count, calls = draw.choice(
        (
            ("main", 1, draw.randrange(40_000)),
            ("append", draw.randint(1, 4), draw.randrange(400)),
            ("append", draw.randint(1, 4), draw.randrange(40)),
            ("replace", draw.randint(1, 3), draw.randrange(60)),
        )
    )
    return Death(function, count, calls, draw.choice(SIGNALS), draw.choice((0, draw.randrange(3000))), records=MOST)


def at_the_end(draw: random.Random) -> Death:
    """A random death after the last answer: while scores, results and manifest are put in place."""
    calls = draw.randrange(40)
    return Death("replace_end", draw.randint(1, 5), calls, draw.choice(SIGNALS), draw.choice((0, draw.randrange(300))))


class Nursery:
    """Starts command lines. Close it: what still runs is killed."""

    def __init__(self, *modules: str) -> None:
        """`modules` are imported before anything is forked."""
        command = [sys.executable, "-m", "tests.run.mortal", *modules]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, arguments: Sequence[str], log: Path, death: Death | None = None) -> int:
        """The pid of a new command line, whose output goes to `log`; it leads a process group of its own."""
        asked = {"arguments": list(arguments), "log": str(log), "death": None if death is None else asdict(death)}
        return self._ask(asked)

    def ended(self, pid: int) -> int:
        """Wait for a process: its exit code, or minus the number of the signal that killed it."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.communicate()

    def _ask(self, asked: dict[str, Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(asked), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())


def serve(modules: Sequence[str]) -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in a new process; `start` changes it for a child
    for name in ("kvl_eval.cli.main", "kvl_eval.cli.run", "kvl_eval.run.runner", *modules):
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = waited(asked["wait"]) if "wait" in asked else forked(**asked)
        print(answer, flush=True)


def waited(pid: int) -> int:
    """How a child ended; one that hangs is killed, and raises TimeoutError."""
    signal.signal(signal.SIGALRM, lambda number, frame: os.kill(pid, signal.SIGABRT))
    signal.alarm(HANG)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(0)
    return code


def forked(arguments: Sequence[str], log: str, death: dict[str, Any] | None) -> int:
    """Fork a command line; its pid."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)
    sys.argv = ["kvl-eval", *arguments]
    if death is not None:
        die(Death(**death))
    try:
        start()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def die(death: Death) -> None:
    """Count calls from here on and send this process the signals of `death` when it is time."""
    from kvl_eval.cli import main
    from kvl_eval.scoring import rescore
    from kvl_eval.store.journal import Disk, Journal

    codes = {"main": main.main.__code__, "append": Journal.append.__code__, "replace": Disk.replace.__code__}
    ending = rescore.rescore.__code__
    begins = codes[death.function.removesuffix("_end")]
    waiting, records, signals = death.count, 0, list(death.signals)
    left = NEVER
    at_end = not death.function.endswith("_end")

    def called(frame: FrameType, event: str, _: object) -> None:
        nonlocal waiting, records, left, at_end
        if event == "call":
            records += frame.f_code is codes["append"]
            at_end = at_end or frame.f_code is ending
            if frame.f_code is begins and at_end:
                waiting -= 1
                if not waiting:
                    left = death.calls
        if event in ("call", "c_call"):
            left = min(left, 0) if records > death.records else left
            left -= 1
            if left < 0 and signals:
                os.kill(os.getpid(), signals.pop(0))
                left = death.between
            elif records > death.records + SPARE:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(called)


if __name__ == "__main__":
    serve(sys.argv[1:])
