"""MathVista: mathematical reasoning about pictures, multiple choice and free form.

Data:    AI4Math/MathVista, split testmini (1,000 questions with published answers)
Metric:  accuracy in percent, also by kind of question and answer, language, source, task, context, grade, skills
Scorer:  lupantech/MathVista evaluation/extract_answer.py and calculate_score.py @ 53d5258
Report:  Kimi-VL (arXiv 2504.07491), tables 3 and 4, row MathVista (Pass@1)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.mathvista import rule_extraction
from kvl_eval.scorers.mathvista_judge import extraction_prompt
from kvl_eval.scorers.mathvista_protocols import (
    question_of,
    score_exact,
    score_lmms_eval,
    score_official,
    score_vlmevalkit,
)
from kvl_eval.scorers.multiple_choice import lettered, letters
from kvl_eval.sources import Source, image_ref, literal_list, made_from, read_rows
from kvl_eval.tasks.base import Protocol, Reference, Split, Task
from kvl_eval.types import ImageRef, Message, Sample, Scored, Summary

GROUPS = ("question_type", "answer_type", "language", "source", "category", "task", "context", "grade", "skills")
HINTS = {
    "multi_choice": "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.",
    "integer": "Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, "
    "at the end.",
    "float 1": "Please answer the question requiring a floating-point number with one decimal place and provide the "
    "final value, e.g., 1.2, 1.3, 1.4, at the end.",
    "float 2": "Please answer the question requiring a floating-point number with two decimal places and provide the "
    "final value, e.g., 1.23, 1.34, 1.45, at the end.",
    "list": "Please answer the question requiring a Python list as an answer and provide the final list, e.g., "
    "[1, 2, 3], [1.2, 1.3, 1.4], at the end.",
}
SHORT_INSTRUCTIONS = {
    "multi_choice": "Answer with the option's letter from the given choices directly.",
    "integer": "Answer the question using a single integer number.",
    "float 1": "Answer the question using a single floating-point number with one decimal place.",
    "float 2": "Answer the question using a single floating-point number with two decimal places.",
    "list": "Answer the question using a Python list.",
}
NO_PICTURE = object()  # of a row that is only scored; a row that is asked always has one, or fails
_QUERY = re.compile(r"Hint: .*?\nQuestion: (?P<question>.*?)(?:\nChoices:\n.*)?\Z", re.DOTALL)


# Loading


def load(source: Source, split: str) -> Iterator[Sample]:
    """The split's samples in the data set's order. Raises DataError."""
    required = ("pid|index|id", "question", "question_type", "answer_type")
    stems = ("MathVista_MINI",) if split == "testmini" else ()
    rows = read_rows(source, split, stems=stems, required=required, task="mathvista")
    return made_from(rows, lambda row: _sample(row.values, row.where, _picture(row.values), source.data_dir), source)


def sample(row: Mapping[str, Any]) -> Sample:
    """One row of any layout as a Sample. Raises DataError."""
    return _sample(row, f"row {_identity(row)}", _picture(row) or NO_PICTURE, None)


def _picture(values: Mapping[str, Any]) -> Any:
    return values.get("decoded_image") or values.get("image")


def _sample(values: Mapping[str, Any], where: str, picture: Any, root: Path | None) -> Sample:
    row = _canonical(values, where)
    media: tuple[ImageRef, ...] = ()
    if picture is not NO_PICTURE:
        media = (image_ref(picture, name=f"image of {row['pid']}", root=root, where=where),)
        row["cluster"] = _cluster(media[0], row)
    return Sample(
        id=row["pid"],
        question=row["question"],
        row=row,
        media=media,
        choices=tuple(row["choices"] or ()),
        answers=(row["answer"],) if row["answer"] is not None else (),
        categories=_categories(row),
        cluster=row["cluster"],
    )


def _canonical(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The columns of the official data set, from any layout, as JSON values; and `cluster`."""
    question, query = str(values.get("question") or ""), values.get("query")
    embedded = _QUERY.match(question)
    if embedded:  # VLMEvalKit's table holds the whole query as its question
        question, query = embedded["question"], question
    row: dict[str, Any] = {
        "pid": _identity(values),
        "question": question,
        "choices": _choices(values.get("choices"), where),
        "unit": values.get("unit") or None,
        "answer": _text(values.get("answer")),
        "question_type": values.get("question_type"),
        "answer_type": values.get("answer_type"),
        "metadata": _metadata(values),
        "cluster": values.get("cluster"),
    }
    if not row["pid"]:
        raise DataError("data.field", "mathvista: a row has no pid", where=where)
    _check(row, where)
    row["precision"] = _precision(values, query, row)
    row["answer"] = _answer(row, values.get("answer_option"))
    row["query"] = query or build_query(row)
    return row


def _identity(values: Mapping[str, Any]) -> str:
    found = (values[key] for key in ("pid", "index", "id") if values.get(key) is not None)
    return str(next(found, ""))


def _text(value: Any) -> str | None:
    """Gold as text; hidden answers of the test split are empty."""
    return None if value is None or str(value) == "" else str(value)


def _choices(value: Any, where: str) -> list[str] | None:
    if isinstance(value, str):
        return literal_list(value, where=where) or None if value.strip() else None
    return [str(choice) for choice in value] if value else None


def _metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    given = values.get("metadata")
    if not isinstance(given, Mapping):  # VLMEvalKit's table: columns beside the others, skills as text
        given = {key: values[key] for key in GROUPS[2:] if values.get(key)}
    skills = given.get("skills")
    if isinstance(skills, str):
        skills = literal_list(skills, where="skills") if skills.startswith("[") else [skills]
    return {**given, **({"skills": list(skills)} if skills is not None else {})}


def _check(row: Mapping[str, Any], where: str) -> None:
    expected = {"question_type": ("multi_choice", "free_form"), "answer_type": ("text", "integer", "float", "list")}
    for field, known in expected.items():
        if row[field] not in known:
            raise DataError(
                "data.field",
                f"mathvista: {field} is {row[field]!r}",
                where=f"{where}, pid {row['pid']}",
                why=f"expected {' or '.join(repr(one) for one in known)}",
                fix="`kvl-eval check data mathvista` lists every bad row",
            )
    if row["question_type"] == "multi_choice" and not row["choices"]:
        raise DataError(
            "data.field", "mathvista: a choice question without choices", where=f"{where}, pid {row['pid']}"
        )


def _precision(values: Mapping[str, Any], query: str | None, row: Mapping[str, Any]) -> int | None:
    """Decimals of a float answer: the column (1.0 on the hub); in a table without it what the query asks for."""
    if row["answer_type"] != "float":
        return None
    if "precision" in values:
        given = values["precision"]
        return None if given is None or given != given else int(float(given))
    if query:
        return 2 if HINTS["float 2"] in query else 1
    return len((row["answer"] or "").partition(".")[2]) or None


def _answer(row: Mapping[str, Any], option: Any) -> str | None:
    """The right choice's text, where a table gives its letter only."""
    choices = row["choices"]
    if choices and row["answer"] not in choices and isinstance(option, str) and option in letters(len(choices)):
        return str(choices[letters(len(choices)).index(option)])
    return None if row["answer"] is None else str(row["answer"])


def _cluster(picture: ImageRef, row: Mapping[str, Any]) -> str | None:
    """Questions about the same picture share it: by content where the bytes are at hand, else by path."""
    if picture.data is not None:
        return hashlib.sha256(picture.data).hexdigest()[:16]
    return row["cluster"] or picture.path


def _categories(row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    fields = {**row["metadata"], "question_type": row["question_type"], "answer_type": row["answer_type"]}
    found: dict[str, tuple[str, ...]] = {}
    for name in GROUPS:
        value = fields.get(name)
        if value:
            found[name] = tuple(value) if name == "skills" else (str(value),)
    return found


# Prompts


def build_query(row: Mapping[str, Any]) -> str:
    """The text of the official column `query`: hint, question, choices."""
    return "\n".join([f"Hint: {HINTS[_form(row)]}", *_question_lines(row)])


def _question_lines(row: Mapping[str, Any]) -> list[str]:
    lines = [f"Question: {_with_unit(row)}"]
    if row["choices"]:
        lines += ["Choices:", *(f"({letter}) {text}" for letter, text in lettered(row["choices"]).items())]
    return lines


def _with_unit(row: Mapping[str, Any]) -> str:
    return f"{row['question']} (Unit: {row['unit']})" if row["unit"] else str(row["question"])


def _form(row: Mapping[str, Any]) -> str:
    """Which hint a question gets."""
    if row["question_type"] == "multi_choice":
        return "multi_choice"
    if row["answer_type"] == "float":
        return f"float {2 if row['precision'] == 2 else 1}"
    return "list" if row["answer_type"] == "list" else "integer"


def _after_pictures(one: Sample, text: str) -> list[Message]:
    return [Message.user(*one.media, text)]


def query_prompt(one: Sample) -> list[Message]:
    """The data set's own `query`."""
    return _after_pictures(one, one.row["query"])


def cot_prompt(one: Sample) -> list[Message]:
    """Question, choices, hint: lmms-eval's `cot`."""
    return _after_pictures(one, "\n".join([*_question_lines(one.row), f"Hint: {HINTS[_form(one.row)]}"]))


def solution_prompt(one: Sample) -> list[Message]:
    """As `cot`, ending in `Solution:`: what the authors' `build_query.py` writes, and lmms-eval's `solution`."""
    text = "\n".join([*_question_lines(one.row), f"Hint: {HINTS[_form(one.row)]}", "Solution:"])
    return _after_pictures(one, text)


def format_prompt(one: Sample) -> list[Message]:
    """Question, choices, one short instruction: lmms-eval's `format`."""
    options = [f"{letter}. {text}" for letter, text in lettered(one.choices).items()]
    return _after_pictures(one, "\n".join([_with_unit(one.row), *options, SHORT_INSTRUCTIONS[_form(one.row)]]))


# Scoring


def judge_prompt(one: Sample, answer: str) -> str | None:
    """What the official extraction asks its model; None where its own rules suffice."""
    if rule_extraction(answer, question_of(one)) is not None:
        return None
    return extraction_prompt(one.row["query"], answer)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy, and the table that the official script prints: each group's values, most accurate first."""
    plain = summarise(scored)
    official: dict[str, str] = {}
    if plain.score is not None:
        official["average"] = _printed(plain.score, sum(one.score.value is not None for one in scored))
    for name in GROUPS:
        values = plain.categories.get(name, {})
        for value, group in sorted(values.items(), key=lambda item: -item[1].score):
            official[f"{name}/{value}"] = _printed(group.score, group.n)
    if protocol == "vlmevalkit" and scored:
        share = sum(one.score.method == "prefetch" for one in scored) / len(scored)
        official["prefetch_rate"] = f"{100 * share:.1f}"
    return Summary(score=plain.score, official=official, categories=plain.categories)


def _printed(accuracy: float, n: int) -> str:
    return f"{accuracy * 100:.2f}% ({round(accuracy * n)}/{n})"


def submission(pairs: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """The file that the authors' scripts and leaderboard read, {pid: row with `response`}."""
    answers = {one.id: {**_official_columns(one), "response": answer} for one, answer in pairs}
    return {"output_mathvista.json": json.dumps(answers, ensure_ascii=False, indent=1)}


def _official_columns(one: Sample) -> dict[str, Any]:
    return {key: value for key, value in one.row.items() if key != "cluster"}


_HUB_COLUMNS = (
    *("pid", "question", "image", "decoded_image", "choices", "unit", "precision", "answer"),
    *("question_type", "answer_type", "metadata", "query"),
)
_RULE_NOTE = (
    "the authors' GPT-4 extraction is replaced by a deterministic rule; over published runs it gives the same verdict "
    "as GPT-4 on 95 % of rows, missing mostly choice questions that GPT-4 answered with N/A and that edit distance "
    "then turned into a choice"
)

TASK = Task(
    name="mathvista",
    title="MathVista",
    group_title="Math",
    doc=__doc__ or "",
    repos=("AI4Math/MathVista",),
    licence="CC BY-SA 4.0 (authors' part); pictures and questions belong to 31 source data sets",
    splits={
        "testmini": Split(rows=1000),
        "test": Split(rows=5141, has_gold=False, note="answers are not published; a submission file is written"),
    },
    default_split="testmini",
    load=load,
    sample=sample,
    row_layouts={
        "hub": _HUB_COLUMNS,
        "JSON of the authors' repository": tuple(
            name for name in _HUB_COLUMNS if name not in ("decoded_image", "query")
        ),
        "VLMEvalKit TSV": (
            *("index", "question", "answer", "answer_option", "choices", "question_type", "answer_type"),
            *("task", "skills", "image"),
        ),
        "golden": ("id", "question_type", "answer_type", "precision", "unit", "choices", "answer", "metadata"),
    },
    prompts={"query": query_prompt, "cot": cot_prompt, "solution": solution_prompt, "format": format_prompt},
    default_prompt="query",
    prompt_evidence="the report names no prompt; `query` is the data set's own text, which VLMEvalKit sends unchanged",
    protocols={
        "official": Protocol(
            score=score_official,
            label="official-rule",
            judged="official",
            notes=(
                _RULE_NOTE,
                "an answer without any choice is no_answer; the authors' default gives it the nearest choice",
                "the thought is split off first",
                "a given extraction (a judge's, or the key `extraction` of a predictions file) replaces that step",
            ),
            evidence="unknown: the report names no scorer",
        ),
        "official-exact": Protocol(
            score=score_exact,
            judged="official-exact",
            notes=(
                "scores only what the authors' rules extract without GPT-4, or what comes with an extraction",
                "an empty answer to a choice question gets the choice nearest to nothing, usually the shortest",
                "integers are truncated toward zero; lists are compared as text, blanks included",
            ),
        ),
        "vlmevalkit": Protocol(
            score=score_vlmevalkit,
            label="vlmevalkit-rule",
            notes=(
                "its judge is replaced by our rule, the comparison is its own",
                "fault: floats are compared without rounding",
                "fault: questions with a list as answer can never be right",
                "fault: a choice is compared by letter, so of two equal choices only the first is right",
            ),
            evidence="most plausible: Moonshot's model class lives in VLMEvalKit",
        ),
        "lmms-eval": Protocol(
            score=score_lmms_eval,
            label="lmms-eval-rule",
            notes=(
                "its judge is replaced by our rule",
                "fault: precision is passed as a float, so the 40 float questions can never be right",
                "an empty answer to a choice question gets the choice nearest to nothing",
            ),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mathvista", split="testmini"),
    groups=("math", "table3", "thinking"),
    judge_prompt=judge_prompt,
    submission=submission,
    mini="mathvista",
    max_new_tokens=4096,
    files=(
        "testmini.parquet, testmini-*.parquet or data/testmini-*.parquet: the hub's files",
        "testmini.json with images/: the authors' repository",
        "MathVista_MINI.tsv: VLMEvalKit's table",
    ),
    count={
        "testmini": {
            "rows": 1000,
            "question_type=multi_choice": 540,
            "question_type=free_form": 460,
            "answer_type=integer": 418,
            "answer_type=float": 40,
            "answer_type=list": 2,
            "language=english": 936,
            "task=figure question answering": 269,
            "task=geometry problem solving": 208,
            "task=math word problem": 186,
            "task=visual question answering": 179,
            "task=textbook question answering": 158,
            "skills=arithmetic reasoning": 353,
            "skills=logical reasoning": 37,
        },
        "test": {"rows": 5141},
    },
)
