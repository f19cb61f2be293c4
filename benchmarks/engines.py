"""The bundled engine against vLLM: same checkpoint, machine, threads and samples; wall time and CPU time.

    python -m benchmarks.engines --vllm DIR [--samples 80] [--concurrency 16] [--threads 1,2]

DIR is the environment that `.ci/vllm DIR` makes. Whole runs of `kvl-eval`, from the plan to the scores, with the model
loaded and the server up; greedy answers must be the same. CPU time is that of all processes: of ours its media workers,
of vLLM's its server and the client. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kvl_eval
from benchmarks.measure import Row, show
from kvl_eval.backends import MODELS, family_of
from kvl_eval.backends.base import Backend, Settings
from kvl_eval.backends.torch_engine import TorchEngine

MODEL = "kimi-vl-nano"
ROUNDS = 5
TASKS = {"mathvista": 64, "infovqa": 64}  # and most new tokens
PEER = "vLLM 0.32 for CPU, already running"
TICKS = os.sysconf("SC_CLK_TCK")
Answers = dict[str, str]


@dataclass(frozen=True)
class Timed:
    """A run: what each sample was answered, samples a second of wall time, milliseconds of CPU time a sample."""

    answers: Answers
    rate: float
    cpu: float


def timed(folder: Path, task: str, samples: int, server: int | None = None, **options: Any) -> Timed:
    """A run of `kvl-eval`; with the CPU time of what the process `server` has started, too."""
    begin, start = _cpu(server), time.perf_counter()
    result = kvl_eval.evaluate(
        tasks=[task],
        limit=samples,
        split="mini",
        max_new_tokens=TASKS[task],
        output_dir=folder,
        resume=False,
        **options,
    )
    wall, cpu = time.perf_counter() - start, _cpu(server) - begin
    answers = {record.sample_id: record.answer for record in result.folder.records(task)}
    return Timed(answers, len(answers) / wall, 1000 * cpu / len(answers))


def _cpu(server: int | None) -> float:
    """CPU seconds of this process, its ended children, and of a session that it has started."""
    own = os.times()
    return sum(own[:4]) + (0.0 if server is None else sum(map(_seconds, _session(server))))


def _session(leader: int) -> list[list[str]]:
    """What the system knows of each process in a session."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == leader:
            stats.append(fields)
    return stats


def _seconds(stat: Sequence[str]) -> float:
    return sum(map(int, stat[11:15])) / TICKS


def loaded(concurrency: int, threads: int) -> Backend:
    """The bundled engine with its weights in place, as the server has them."""
    settings = Settings.of(batch_size=concurrency, model_args={"threads": threads})
    engine = TorchEngine(
        MODELS[MODEL].location, settings, name=MODEL, family=family_of(MODEL, settings.engine).family.name
    )
    engine.load()
    return engine


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Two rows for each task and number of threads; one more round in the beginning warms both up."""
    os.environ["KVL_EVAL_VLLM"] = str(arguments.vllm)
    from tests.vllm.conftest import running

    samples, rounds = (4, 1) if arguments.tiny else (arguments.samples, ROUNDS)
    with tempfile.TemporaryDirectory() as place:
        for threads in map(int, arguments.threads.split(",")):
            os.environ["OMP_NUM_THREADS"] = str(threads)  # which the server inherits
            with running(Path(place) / f"server-{threads}", MODEL) as server:
                asked = {
                    "base_url": server.url,
                    "served_model": "nano",
                    "max_connections": arguments.concurrency,
                    "server": server.process,
                }
                for task in TASKS:
                    ours, theirs = [], []
                    for turn in range(rounds + 1):
                        folder = Path(place) / str(threads) / task / str(turn)
                        engine = loaded(arguments.concurrency, threads)
                        mine = timed(folder / "ours", task, samples, model=MODEL, backend=engine)
                        other = timed(folder / "theirs", task, samples, model="endpoint", **asked)
                        check(mine.answers, other.answers)
                        if turn:
                            ours.append(mine)
                            theirs.append(other)
                    what = f"{len(ours[0].answers)} of {task}, {arguments.concurrency} at once, {_threads(threads)}"
                    yield from rows(what, ours, theirs)


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"


def check(ours: Answers, theirs: Answers) -> None:
    """Raises SystemExit where more than one answer in fifty differs: near-ties may, over batches of other shapes."""
    differ = [name for name in ours if ours[name] != theirs.get(name)]
    if len(differ) * 50 > len(ours):
        raise SystemExit(f"the engines answer differently: {', '.join(differ[:10])}")


def rows(what: str, ours: Sequence[Timed], theirs: Sequence[Timed]) -> Iterator[Row]:
    """Samples per second of wall time, then CPU time per sample."""
    rates = [(mine.rate, other.rate) for mine, other in zip(ours, theirs, strict=True)]
    yield _row(f"samples per second, {what}", rates, "", at_least=1.0)
    cpu = [(mine.cpu, other.cpu) for mine, other in zip(ours, theirs, strict=True)]
    yield _row(f"CPU time per sample, {what}", cpu, " ms", at_most=0.8)


def _row(what: str, pairs: Sequence[tuple[float, float]], unit: str, **goal: float) -> Row:
    ratios = [mine / other for mine, other in pairs]
    ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
    return Row(
        what=what,
        against=PEER,
        ours=f"{ours:.1f}{unit}",
        theirs=f"{theirs:.1f}{unit}",
        ratio=statistics.median(ratios),
        spread=(min(ratios), max(ratios)),
        **goal,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vllm", type=Path, required=True, metavar="DIR", help="environment made by .ci/vllm DIR")
    parser.add_argument("--samples", type=int, default=80)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that answers are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    arguments = parser.parse_args()
    show(list(measure(arguments)), as_json=arguments.json)


if __name__ == "__main__":
    main()
