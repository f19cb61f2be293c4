"""CPU seconds and memory of `kvl-eval explain` for 20,000 samples: `python -m benchmarks.explain`.

The runs are made first and not timed: questions with four options, answered by scripted replies, of which some hold no
answer and some end at a limit. Scores are stored. Of each command the smallest of three processes counts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import Row, main
from benchmarks.overhead import KVL, Ended, absolute, best, process, questions

GOAL = 3.0  # CPU seconds
MEMORY = 300.0  # MiB
LIMIT = 60  # tokens of a reply
PROTOCOLS = ("anls", "contains", "exact", "math", "relaxed")  # of a table's questions, besides the default
WORDS = "We look at the picture once more and count what is there. "


def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; raises CalledProcessError if a command fails."""
    count, times = (200, 1) if tiny else (20_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        table = questions(place / "questions.jsonl", count)
        ours, theirs = (answered(table, place, every) for every in (3, 4))
        rows = []
        for what, to in (("a number", "70"), ("another run", theirs)):
            command = [*KVL, "explain", ours, "--to", to, "--json"]
            cost, ended = best(partial(process, command, place), times)
            check(ended)
            name = f"explain {count:,} samples against {what}"
            rows += [absolute(name, cost, GOAL), memory(name, ended)]
        return rows


def answered(table: Path, place: Path, every: int) -> str:
    """The folder of a run in which every `every`th answer is wrong."""
    script = place / f"answers-{every}.jsonl"
    script.write_text("".join(json.dumps(reply) + "\n" for reply in replies(table, every)))
    command = [
        "run",
        "--task",
        f"file:{table}",
        "--model",
        "fake",
        "--model-args",
        f"answers={script}",
    ]
    options = ["--max-new-tokens", str(LIMIT), "--output-dir", str(place / f"runs-{every}"), "--no-progress"]
    ended = process([*KVL, *command, *options, "--json"], place)
    folder = str(json.loads(ended.output)["folder"])
    for protocol in PROTOCOLS:
        process([*KVL, "score", folder, "--protocol", protocol, "--json"], place)
    return folder


def replies(table: Path, every: int) -> Iterator[dict[str, object]]:
    """What the scripted model answers to each question."""
    for number, line in enumerate(table.read_text().splitlines()):
        row = json.loads(line)
        letter = row["answer"] if number % every else "ABCD"[(number + 1) % 4]
        if number % 11 == 0:
            yield {"id": row["id"], "response": WORDS * 20}
        elif number % 13 == 0:
            yield {"id": row["id"], "response": WORDS}
        else:
            yield {"id": row["id"], "response": f"{WORDS}The answer is ({letter})."}


def check(ended: Ended) -> None:
    """Raises: AssertionError, if the parts and the rest do not add up to the gap."""
    found = json.loads(ended.output)
    total = sum(part["value"] for part in found["parts"]) + found["unexplained"]["value"]
    assert abs(total - found["gap"]["value"]) < 1e-9, total


def memory(name: str, ended: Ended) -> Row:
    """Peak memory of a command."""
    peak = ended.peak / 2**20
    return Row(
        what=f"{name}, peak memory", against="", ours=f"{peak:.0f} MiB", theirs="", figure=peak, unit=" MiB",
        at_most=MEMORY,
    )  # fmt: skip


if __name__ == "__main__":
    main(__doc__, measure)
