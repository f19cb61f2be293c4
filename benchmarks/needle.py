"""Time and peak memory of one long prompt, by length: `python -m benchmarks.needle`, about an hour on one thread.

The bundled engine answers one needle test of each length up to 131,072 tokens, text and video, each in a process of its
own with nothing else in the batch. Seconds are CPU time from request to answer, pictures included; memory is the peak
of the process above what it held once the weights were loaded. Beside them stands what the plan had said before. The
answer to the shortest prompt must not depend on how it is chunked (in float64). `--lengths 8192 16384` measures some.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from benchmarks.engine import ROOT, answers, engine
from benchmarks.measure import Row, seconds, show
from kvl_eval.backends.base import Request
from kvl_eval.model.kimi_vl import families
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task
from kvl_eval.tasks.haystack import CONTEXT

KINDS = ("text", "video")
LENGTHS = tuple(2**power for power in range(11, 18))
NANO = ROOT / "kvl_eval" / "data" / "kimi-vl-nano"
CHUNK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One prompt: its tokens, CPU seconds, bytes above the loaded model's, the plan's guess, and the answer."""

    tokens: int
    seconds: float
    peak: int
    latents: int
    planned_seconds: float
    planned_peak: int
    answer: str


def measure(tiny: bool = False, lengths: Sequence[int] = LENGTHS) -> Iterator[Row]:
    """Rows, as they are measured; raises AssertionError if chunks of another size change the shortest one's answer."""
    for kind in KINDS:
        for length in (512,) if tiny else lengths:
            found = in_a_process(kind, length)
            if length == (512 if tiny else lengths[0]):
                exact = [one(kind, length, chunk, "float64").answer for chunk in (192, CHUNK)]
                assert exact[0] == exact[1]
            yield row(kind, length, found)


def row(kind: str, length: int, found: Measured) -> Row:
    """One line of the table."""
    return Row(
        what=f"{kind}, haystack of {length:,} tokens, prompt of {found.tokens:,}",
        against="the plan's guess",
        ours=f"{seconds(found.seconds)}; {gib(found.peak)}, of it latents {gib(found.latents)}",
        theirs=f"{seconds(found.planned_seconds)}; {gib(found.planned_peak)}",
    )


def gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"


def in_a_process(kind: str, length: int, chunk: int = CHUNK, dtype: str = "float32") -> Measured:
    """`one` in a fresh interpreter, whose peak is its own."""
    command = [sys.executable, "-m", "benchmarks.needle", "--one", kind, f"{length}", f"{chunk}", dtype]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def one(kind: str, length: int, chunk: int, dtype: str) -> Measured:
    """Answer the needle test of that length with the needle in the middle."""
    backend = engine(NANO, batch_size=1, dtype=dtype, model_args={"threads": 1, "prefill_chunk": chunk})
    limits = backend.limits()
    task = get_task(f"niah-{kind}")
    if task.data.measured is not None and limits.text_tokens is not None:
        task = task.data.measured(limits.text_tokens)
    wanted = f"{kind}/{length}/50/0"
    sample = next(each for each in task.load(Source(version=f"max-length={CONTEXT}"), "full") if each.id == wanted)
    generation = families.NANO.generation(task.max_new_tokens)
    request = Request(key=wanted, messages=tuple(task.prompts["plain"](sample)), generation=generation)
    backend.load()
    before, begin = peak_bytes(), time.process_time()
    (found,) = answers(backend, [request]).values()
    spent, peak = time.process_time() - begin, peak_bytes() - before
    assert found.status == "ok", found.message
    tokens, shape = found.tokens.prompt, backend.architecture.cost_shape(NANO)
    assert limits.cost is not None
    planned = limits.cost(tokens, found.tokens.image, generation)
    latents = (8 if dtype == "float64" else 4) * shape.layers * shape.cache_width * tokens
    return Measured(
        tokens=tokens,
        seconds=spent,
        peak=peak,
        latents=latents,
        planned_seconds=planned.seconds,
        planned_peak=planned.bytes,
        answer=found.raw_output,
    )


def peak_bytes() -> int:
    """The most this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="smallest sizes: checks that answers are equal, no more")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a Markdown table")
    parser.add_argument("--lengths", nargs="+", type=int, choices=LENGTHS, default=LENGTHS, metavar="TOKENS")
    parser.add_argument("--one", nargs=4, metavar=("KIND", "TOKENS", "CHUNK", "DTYPE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        kind, length, chunk, dtype = given.one
        print(json.dumps(asdict(one(kind, int(length), int(chunk), dtype))))
    else:
        show(list(measure(given.tiny, given.lengths)), as_json=given.json)


if __name__ == "__main__":
    main()
