"""How answers are extracted, by the reader and by readers of other projects: `python -m benchmarks.answers`.

Three tables. Generated replies: agreement with the expected verdict (what is right and what is not), right answers
missed, wrong or absent answers credited, and values read where there is no answer. Runs that authors published: how
many replies are right by the authors' extraction and by the reader. Human labels, where `--people FOLDER` names a
folder with git directories `mainlp+MCQ-Robustness/repo` and `mainlp+MCQ-Mismatch/repo`: the replies are read from there
and never copied. `--peers FOLDER` adds readers of other projects (`benchmarks.answer_readers`). Vectors lie in
`--shared`. Takes 15 seconds on one core, a minute with the peers.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import json
import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.answer_readers import PATTERNS, Peer, Reader, math_verify, peers
from kvl_eval.scorers import mathvista
from kvl_eval.scorers.answers import NOT_ANSWERABLE, Kind, Sought, Wanted, read
from kvl_eval.scorers.answers.accuracy import GENERATED, Accuracy
from kvl_eval.thinking import split_thought

NAMES = {field.name for field in dataclasses.fields(Wanted)}
MATHVISTA_KINDS: dict[str, Kind] = {"integer": "integer", "float": "float", "list": "list"}
MATHVISTA_RUNS = ("bard", "llava_llama_2_13b", "chatgpt_2shot_solution")


def agrees(value: object, expected: Any, kind: str) -> bool:
    """Whether a reading is the expected one, compared as the README of the vectors says."""
    if expected is None or value is None:
        return expected is value
    if expected == "not_answerable":
        return value is NOT_ANSWERABLE
    if isinstance(expected, list):
        if not isinstance(value, tuple) or len(value) != len(expected):
            return False
        pairs = list(zip(value, expected, strict=True))
        close = kind in ("point", "box")
        return all(abs(float(a) - b) <= 0.002 if close else _folded(a) == _folded(b) for a, b in pairs)
    if isinstance(expected, int | float):
        return _is_number(value, expected)
    return _folded(value) == _folded(expected)


def _is_number(value: object, expected: float) -> bool:
    try:
        return math.isclose(float(str(value).replace(",", "")), expected, rel_tol=1e-6)
    except ValueError:
        return False


def _folded(value: object) -> str:
    return " ".join(str(value).split()).strip(" \"'“”").rstrip(".").casefold()


def rows(path: Path) -> list[Any]:
    """The objects of a vector file, plain or gzip."""
    packed = path.read_bytes()
    text = gzip.decompress(packed) if path.suffix == ".gz" else packed
    return [json.loads(line) for line in text.splitlines()]


OURS = Peer("**this reader**", frozenset(GENERATED), lambda answer, wanted: read(answer, wanted, split=False).value)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a reader makes of replies whose verdict is known."""

    rows: int = 0
    right: int = 0  # rows that hold the right answer
    missed: int = 0  # of them
    credited: int = 0  # rows that do not
    read: int = 0  # something, where there is no answer

    @property
    def agree(self) -> float:
        """In percent."""
        return 100 * (self.rows - self.missed - self.credited) / max(self.rows, 1)


def verdicts(vectors: list[Any], reader: Reader) -> Verdicts:
    """A reader's verdicts on generated replies; it gets each without its thought."""
    counts = Counter[str]()
    for row in vectors:
        value = _value_of(row, reader)
        is_right, is_credited = row["expected"]["correct"], is_gold(value, row)
        counts["right"] += is_right
        counts["missed"] += is_right and not is_credited
        counts["credited"] += is_credited and not is_right
        counts["read"] += value is not None and row["expected"]["reading"] is None
    return Verdicts(len(vectors), **counts)


def _value_of(row: Any, reader: Reader) -> object:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in NAMES}
    thought = split_thought(row["reply"])
    return None if thought.closed is False else reader(thought.answer, Wanted(**fields))


def is_gold(value: object, row: Any) -> bool:
    """Whether a value is right, compared as the README of the vectors says."""
    gold, kind = row["gold"], row["kind"]
    if value is None:
        return False
    if value is NOT_ANSWERABLE or gold == "Not answerable":
        return value is NOT_ANSWERABLE and gold == "Not answerable"
    if kind == "float" and isinstance(value, int | float):
        return round(float(value), row["precision"]) == round(gold, row["precision"])
    if kind in ("point", "box") and isinstance(value, tuple):
        corners = [float(number) for number in value]
        x, y = (sum(corners[axis::2]) / len(corners[axis::2]) for axis in (0, 1))
        return bool(gold[0] <= x <= gold[2] and gold[1] <= y <= gold[3])
    return agrees(value, gold, kind)


def show_forms(golden: Path, others: Sequence[Peer]) -> None:
    """Verdicts on generated replies by group and reader."""
    print("| group | reader | rows | agree, percent | missed | credited wrongly | read where none |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    vectors = rows(golden / "answers" / "forms.jsonl")
    for group in dict.fromkeys(row["group"] for row in vectors):
        mine = [row for row in vectors if row["group"] == group]
        for peer in (OURS, *others):
            if group in peer.groups:
                found = verdicts(mine, peer.read)
                counts = f"{found.rows} | {found.agree:.1f} | {found.missed} of {found.right} | {found.credited}"
                print(f"| {group} | {peer.name} | {counts} | {found.read} |")


def generated_accuracy(golden: Path) -> dict[Sought, Accuracy]:
    """The reader's counts on generated forms, by group."""
    groups: dict[Sought, list[Any]] = {}
    for row in rows(golden / "answers" / "forms.jsonl"):
        groups.setdefault(row["group"], []).append(row)
    accuracy = {}
    for group, mine in groups.items():
        agree, misread = _measured(mine, lambda reply, wanted: read(reply, wanted).value)
        without = sum(row["expected"]["reading"] is None for row in mine)
        accuracy[group] = Accuracy(len(mine), agree, without, misread)
    return accuracy


def _measured(vectors: list[Any], reader: Reader) -> tuple[int, int]:
    agreed = false = 0
    for row in vectors:
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in NAMES}
        value = reader(row["reply"], Wanted(**fields))
        expected = row["expected"]["reading"]
        if expected is None:
            agreed += value is None
            false += value is not None
        else:
            agreed += agrees(value, expected, row["kind"])
    return agreed, false


def show_runs(golden: Path) -> None:
    """Right replies of published runs by the authors' extraction and by the reader, and replies it reads nothing in."""
    print(
        "\n| run | rows | right by the authors | right by the reader | nothing read |\n| --- | --- | --- | --- | --- |"
    )
    for name, judged in _runs(golden):
        counts = Counter[str]()
        for authors, reader, nothing in judged:
            counts.update(rows=1, authors=authors, reader=reader, nothing=nothing)
        print(f"| {name} | {counts['rows']} | {counts['authors']} | {counts['reader']} | {counts['nothing']} |")


def _runs(golden: Path) -> Iterator[tuple[str, Iterator[tuple[bool, bool, bool]]]]:
    yield "mmstar, LLaVA-NeXT-Yi-34B", _letters(golden / "mmstar" / "whole_llava_next_yi_34b.jsonl.gz", "lmms_eval")
    yield "mmmu, LLaVA-1.5-13B", _letters(golden / "mmmu" / "whole_llava1.5_13b.jsonl.gz", "extracted")
    for run in ("standard_cot", "vision_direct"):
        yield f"mmmu-pro, GPT-4o {run}", _letters(golden / "mmmu_pro" / f"whole_gpt4o_{run}.jsonl.gz", "extracted")
    for run in ("gpt4o", "llava_v1_6_34b", "qwenvlmax"):
        yield f"blink, {run}", _letters(golden / "blink" / f"whole_{run}.jsonl.gz", "official")
    for run in MATHVISTA_RUNS:
        yield f"mathvista, {run}", _mathvista_run(golden / "mathvista", run)


def _letters(path: Path, field: str) -> Iterator[tuple[bool, bool, bool]]:
    for row in rows(path):
        options = row.get("choices") or row.get("options") or [""] * row.get("n_choices", 4)
        if row.get("question_type", "multiple-choice") != "multiple-choice":
            continue
        value = read(row["response"], Wanted(kind="letter", options=tuple(map(str, options)))).value
        gold, extracted = row["answer"].strip("()"), str(row["expected"].get(field)).strip("()")
        is_drawn = row["expected"].get("random_fallback", False)
        yield extracted == gold and not is_drawn, value == gold, value is None


def _mathvista_run(folder: Path, run: str) -> Iterator[tuple[bool, bool, bool]]:
    meta = {str(row["pid"]): row for row in rows(folder / "testmini_meta.jsonl.gz")}
    for row in rows(folder / f"whole_{run}.jsonl.gz"):
        asked = meta[str(row["pid"])]
        choices = tuple(asked["choices"] or ())
        question = mathvista.Question(
            question_type=asked["question_type"],
            answer_type=asked["answer_type"],
            choices=choices,
            precision=asked["precision"],
        )
        kind: Kind = "letter" if choices else MATHVISTA_KINDS.get(asked["answer_type"], "text")
        value = read(row["response"], Wanted(kind=kind, options=choices)).value
        text = str(list(value)).replace("'", "") if isinstance(value, tuple) else str(value)
        said = choices[ord(text) - ord("A")] if choices and value is not None else text
        is_right = value is not None and mathvista.normalise(said, question) == str(asked["answer"])
        yield bool(row["expected"]["correct"]), is_right, value is None


def show_people(golden: Path, folder: Path, others: Sequence[Peer]) -> None:
    """Agreement with human labels of replies to multiple-choice questions, by reader."""
    labeled = list(_labelled(golden, folder))
    print("\n| reader | rows | agree, percent | missed | another letter | read where none |")
    print("| --- | --- | --- | --- | --- | --- |")
    for peer in (OURS, *(peer for peer in others if "letter" in peer.groups)):
        counts = Counter[str]()
        for label, reply, options in labeled:
            value = peer.read(reply, Wanted(kind="letter", options=options))
            if value == label:
                counts["agree"] += 1
            elif label is None:
                counts["none"] += 1
            else:
                counts["missed" if value is None else "other"] += 1
        agree = f"{100 * counts['agree'] / max(counts.total(), 1):.1f}"
        cells = (peer.name, counts.total(), agree, counts["missed"], counts["other"], counts["none"])
        print(f"| {' | '.join(map(str, cells))} |")


def _labelled(golden: Path, folder: Path) -> Iterator[tuple[str | None, str, tuple[str, ...]]]:
    files: dict[tuple[str, str], list[str]] = {}
    for row in rows(golden / "answers" / "mcq_index.jsonl"):
        place = (row["repository"], row["file"])
        if place not in files:
            checkout = folder / row["repository"].replace("/", "+") / "repo"
            command = ["git", "--git-dir", str(checkout), "show", f"HEAD:{row['file']}"]
            files[place] = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\n")
        replied = json.loads(files[place][row["line"]])[row["key"]]
        question, response = replied["question"], replied["response"]
        if hashlib.sha256(response.encode()).hexdigest()[:12] != row["sha256"]:
            continue
        reply = response.partition("[/INST]")[2] if "[/INST]" in response else response.partition(question)[2]
        options = tuple(text.strip() for text in re.findall(r"^[A-Z]\. (.*)$", question, re.MULTILINE))
        label = row["label"] if row["label"] and len(row["label"]) == 1 else None
        yield label, reply, options


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds `golden`")
    parser.add_argument("--peers", type=Path, help="folder with checkouts of other projects")
    parser.add_argument("--people", type=Path, help="folder with checkouts of the labelled replies")
    options = parser.parse_args()
    golden = options.shared / "golden"
    others = [*(peers(options.peers) if options.peers else ()), *PATTERNS, *math_verify()]
    show_forms(golden, others)
    show_runs(golden)
    if options.people:
        show_people(golden, options.people, others)


if __name__ == "__main__":
    main()
