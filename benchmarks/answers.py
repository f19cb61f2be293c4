"""How replies are read, by the reader and by copied readers: `python -m benchmarks.answers`, a minute.

Three tables. Generated forms: agreement with the expected reading, and readings where there is nothing to read. Runs
that authors published: how many replies are right by the authors' extraction and by the reader. Human labels, where
`--people FOLDER` names a folder with git directories `mainlp+MCQ-Robustness/repo` and `mainlp+MCQ-Mismatch/repo`: the
replies are read from there and never copied. Vectors lie in `--shared`.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kvl_eval.scorers import mathvista
from kvl_eval.scorers.answers import NOT_ANSWERABLE, Kind, Sought, Wanted, read
from kvl_eval.scorers.answers.accuracy import Accuracy
from kvl_eval.scorers.mmmu_protocols import official_letter
from kvl_eval.scorers.option_letter import inferred_letter
from kvl_eval.thinking import split_thought
from kvl_eval.types import Sample

Reader = Callable[[str, Wanted], object]

NAMES = {field.name for field in dataclasses.fields(Wanted)}
CHOICE = {"letter"}
MATHVISTA_KINDS: dict[str, Kind] = {"integer": "integer", "float": "float", "list": "list"}
MATHVISTA_RUNS = ("bard", "llava_llama_2_13b", "chatgpt_2shot_solution")


def _sample(wanted: Wanted) -> Sample:
    return Sample(id="form", question=wanted.question, row={}, choices=wanted.options)


def _by_letter(function: Callable[[Sample, str], str | None]) -> Reader:
    return lambda reply, wanted: function(_sample(wanted), split_thought(reply).answer)


def _mmmu(reply: str, wanted: Wanted) -> object:
    found = official_letter(reply, wanted.options)
    return None if found is None else found.letter


COPIED: tuple[tuple[str, set[str], Reader], ...] = (
    ("mmmu: official_letter", CHOICE, _mmmu),
    ("mmstar, vstar: can_infer of VLMEvalKit", CHOICE, _by_letter(inferred_letter)),
)
"""Readers of authors and harnesses that stand in protocols named after them."""


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


def show_forms(golden: Path) -> None:
    """Agreement with the expected reading in percent, and readings where there is none, by group and reader."""
    print("| group | reader | rows | agree, percent | read where none |\n| --- | --- | --- | --- | --- |")
    vectors = rows(golden / "answers" / "forms.jsonl")
    for group in dict.fromkeys(row["group"] for row in vectors):
        mine = [row for row in vectors if row["group"] == group]
        readers: list[tuple[str, Reader]] = [("**this reader**", lambda reply, wanted: read(reply, wanted).value)]
        readers += [(name, reader) for name, kinds, reader in COPIED if group in kinds]
        for name, reader in readers:
            agreed, false = _measured(mine, reader)
            print(f"| {group} | {name} | {len(mine)} | {100 * agreed / len(mine):.1f} | {false} |")


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


def show_people(golden: Path, folder: Path) -> None:
    """Agreement with human labels of 2,500 replies."""
    counts = Counter[str]()
    for label, reply, options in _labelled(golden, folder):
        value = read(reply, Wanted(kind="letter", options=options)).value
        if value == label:
            counts["agree"] += 1
        elif label is None:
            counts["read where none"] += 1
        else:
            counts["missed" if value is None else "another letter"] += 1
    total = counts.total()
    print(f"\nhuman labels, {total} replies: {100 * counts['agree'] / max(total, 1):.2f} percent agree; {dict(counts)}")


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
    parser.add_argument("--people", type=Path, help="folder with checkouts of the labelled replies")
    options = parser.parse_args()
    golden = options.shared / "golden"
    show_forms(golden)
    show_runs(golden)
    if options.people:
        show_people(golden, options.people)


if __name__ == "__main__":
    main()
