"""What the harness itself costs: `python -m benchmarks.overhead --peers /tmp/peers/bin/python`.

CPU seconds (user and system, children included) of whole processes, the fake backend answering at once, records as
durable as always (synced at the latest 16 records or a second later). Each figure is the smallest of three processes,
after one that is not counted, which fills caches and compiles what it imports. Peers are inspect_ai and
lm-evaluation-harness from PyPI in an environment of their own, with the same questions and the same answers:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install inspect_ai && /tmp/peers/bin/pip install --no-deps lm_eval
    /tmp/peers/bin/pip install datasets evaluate pytablewriter rouge-score sacrebleu scikit-learn sqlitedict
    /tmp/peers/bin/pip install dill word2number more_itertools tqdm jinja2

"Records alone" is a run of many less a run of one. Accuracies must agree before anything is compared.
lm-evaluation-harness saves its samples when all are answered, and has no way to score them again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Row, seconds, show

PEERS = Path(__file__).resolve().parent / "peers"
ROOT = PEERS.parents[1]
KVL = [sys.executable, "-m", "kvl_eval"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that succeeded: what it printed, its CPU seconds, and the most memory it held, in bytes."""

    output: str
    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Another harness: how it is called, and its version."""

    name: str
    python: str
    script: Path
    help: str

    def run(self, file: Path, place: Path) -> Ended:
        """The samples of a file, answered, scored and logged; the accuracy is the last word of its output."""
        return process([self.python, str(self.script), "run", str(file), tempfile.mkdtemp(dir=place)], place)


def measure(tiny: bool = False, python: str | None = None) -> Sequence[Row]:
    """Rows; raises AssertionError if harnesses disagree about accuracy, CalledProcessError if one fails."""
    many, large, times = (20, 60, 1) if tiny else (1000, 20_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = {count: questions(place / f"q{count}.jsonl", count) for count in (1, many, 2 * many, large)}
        peers = found_peers(python, place)
        return [
            *records(files, many, place, peers, times),
            *rescoring(files[2 * many], place, peers, times),
            *starting(place, peers, times),
            memory(files[2 * many], files[large], place),
        ]


def records(files: Mapping[int, Path], many: int, place: Path, peers: Sequence[Peer], times: int) -> list[Row]:
    """What many records and what a run of one costs."""
    one, _ = best(partial(run, files[1], place), times)
    whole, done = best(partial(run, files[many], place), times)
    rows = [
        absolute(f"{many:,} records, whole process", whole, 1.0),
        absolute(f"{many:,} records alone", whole - one, 1.0),
        absolute("start of a run with one sample", one, 3.0),
    ]
    for peer in peers:
        alone, _ = best(partial(peer.run, files[1], place), times)
        theirs, ended = best(partial(peer.run, files[many], place), times)
        found, right = float(ended.output.split()[-1]), accuracy(done)
        assert found == right, f"{peer.name} says {found}, kvl-eval {right}"
        for row, cost in zip(rows[:3], (theirs, theirs - alone, alone), strict=True):
            rows.append(against(row, peer, cost))
    return rows


def rescoring(file: Path, place: Path, peers: Sequence[Peer], times: int) -> list[Row]:
    """Scoring the answers of a finished run again."""
    done = run(file, place)
    folder = json.loads(done.output)["folder"]
    cost, scored = best(partial(process, [*KVL, "score", folder, "--json"], place), times)
    assert json.loads(scored.output)["rows"][0]["score"] == accuracy(done)
    rows = [absolute(f"scoring {len(file.read_text().splitlines()):,} answers again", cost, 1.5)]
    for peer in [peer for peer in peers if peer.name.startswith("inspect_ai")]:
        logs = [str(file), str(place / "inspect-logs")]
        ran = process([peer.python, str(peer.script), "run", *logs], place)
        theirs, again = best(partial(process, [peer.python, str(peer.script), "score", *logs], place), times)
        assert float(again.output.split()[-1]) == float(ran.output.split()[-1]) == accuracy(done)
        rows.append(against(rows[0], peer, theirs))
    return rows


def starting(place: Path, peers: Sequence[Peer], times: int) -> list[Row]:
    """Light commands."""
    rows = []
    for verb, goal in (("--help", 0.3), ("list tasks", 0.5)):
        cost, _ = best(partial(process, [*KVL, *verb.split()], place), times)
        rows.append(absolute(f"kvl-eval {verb}", cost, goal))
        for peer in peers if verb == "--help" else []:
            theirs, _ = best(partial(process, [peer.help, "--help"], place), times)
            rows.append(against(rows[0], peer, theirs))
    return rows


def best(call: Callable[[], Ended], times: int) -> tuple[float, Ended]:
    """The least CPU seconds of `times` processes after one that is not counted, and how the last one ended."""
    call()
    ended = [call() for _ in range(times)]
    return min(one.cpu for one in ended), ended[-1]


def memory(few: Path, many: Path, place: Path) -> Row:
    """Peak memory of two runs."""
    less, more = run(few, place), run(many, place)
    counts = [len(path.read_text().splitlines()) for path in (few, many)]
    grown = (more.peak - less.peak) / 2**20
    return Row(
        what=f"peak memory from {counts[0]:,} to {counts[1]:,} samples",
        against="",
        ours=f"{grown:+.0f} MiB ({less.peak / 2**20:.0f} to {more.peak / 2**20:.0f})",
        theirs="",
        figure=grown,
        unit=" MiB",
        at_most=50.0,
    )


def run(file: Path, place: Path) -> Ended:
    """`kvl-eval run` on a table of questions."""
    out = tempfile.mkdtemp(dir=place)
    command = ["run", "--task", f"file:{file}", "--model", "fake", "--model-args", "answers=constant:B"]
    return process([*KVL, *command, "--output-dir", out, "--no-progress", "--json"], place)


def accuracy(done: Ended) -> float:
    """The score of a run, or of the result that a verb printed."""
    return float(json.loads(done.output)["rows"][0]["score"])


def questions(path: Path, count: int) -> Path:
    """Multiple-choice questions that a constant B gets right one time in four."""
    lines = (
        {"id": str(n), "question": f"What is {n} modulo 4?", "choices": list("wxyz"), "answer": "ABCD"[n % 4]}
        for n in range(count)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def found_peers(python: str | None, place: Path) -> list[Peer]:
    """The peers that an environment holds; none without one."""
    if python is None:
        return []
    found = []
    scripts = Path(python).parent
    for package, script, command in (
        ("inspect_ai", "inspect_run.py", "inspect"),
        ("lm_eval", "lm_eval_run.py", "lm_eval"),
    ):
        code = f"import importlib.metadata as m; print(m.version('{package}'))"
        version = process([python, "-c", code], place).output.strip()
        found.append(Peer(f"{package} {version}", python, PEERS / script, str(scripts / command)))
    return found


def process(command: Sequence[str], place: Path) -> Ended:
    """Run a command to its end. Raises: CalledProcessError, if it fails."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(place / "cache"),
        "PYTHONPYCACHEPREFIX": str(place / "compiled"),  # of all sides alike, whatever lies beside their modules
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPATH"] = str(ROOT) if command[0] == sys.executable else ""
    with open(place / "stderr", "w+") as errors:
        child = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command, output, errors.read()[-2000:])
    child.stdout.close()
    return Ended(output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def absolute(what: str, cost: float, goal: float) -> Row:
    """A row whose goal is in CPU seconds."""
    return Row(what=what, against="", ours=seconds(cost), theirs="", figure=cost, unit=" s", at_most=goal)


def against(ours: Row, peer: Peer, theirs: float) -> Row:
    """A row without a goal of its own."""
    assert ours.figure is not None
    return Row(what=ours.what, against=peer.name, ours=ours.ours, theirs=seconds(theirs), ratio=theirs / ours.figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that results are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    parser.add_argument(
        "--peers", metavar="PYTHON", help="of an environment with inspect_ai and lm_eval; default: none"
    )
    given = parser.parse_args()
    show(measure(given.tiny, given.peers), as_json=given.json)


if __name__ == "__main__":
    main()
