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

from kvl_eval.cells import LETTERS, QUESTION_TYPES, gold_letter
from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.mathvista import rule_extraction
from kvl_eval.scorers.mathvista_judge import extraction_prompt
from kvl_eval.scorers.mathvista_protocols import (
    PREFETCH,
    question_of,
    score_exact,
    score_lmms_eval,
    score_official,
    score_vlmevalkit,
)
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, image_ref, made_from, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import OtherName, Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.mathvista_queries import (
    HINTS,
    build_query,
    cot_prompt,
    format_prompt,
    query_prompt,
    solution_prompt,
)
from kvl_eval.types import ImageRef, Sample, Scored, Summary

METADATA = ("language", "source", "category", "task", "context", "grade", "skills")
GROUPS = ("question_type", "answer_type", *METADATA)
KINDS = {"multiple-choice": "multi_choice", "open": "free_form"}
ANSWER_TYPES = {
    "text": ("text", "string", "str"),
    "integer": ("integer", "int"),
    "float": ("float",),
    "list": ("list",),
}
MOST_DECIMALS = 100
_QUERY = re.compile(r"Hint: .*?\nQuestion: (?P<question>.*?)(?:\nChoices:\n.*)?\Z", re.DOTALL)


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order. Raises DataError."""
    tables = Tables(
        task="mathvista",
        required=("pid|index|id", "question", "question_type", "answer_type"),
        stems=("MathVista_MINI",) if split == "testmini" else (),
    )

    def pictured(row: Row) -> Sample:
        cell = row.get("decoded_image") or row.get("image")
        name = f"image of {_identity(row)}"
        return to_sample(row, image_ref(cell, name=name, root=source.data_dir, where=row.where))

    return made_from(read_rows(source, split, tables, reporter), pictured, reporter)


def _own_sample(row: Row) -> Sample:
    """One row of any layout, with its picture where the row holds or names one."""
    row = Row(row.values, f"row {_identity(row)}")
    cell = row.get("decoded_image") or row.get("image")
    name = f"image of {_identity(row)}"
    return to_sample(row, image_ref(cell, name=name, root=None, where=row.where) if cell else None)


def to_sample(row: Row, picture: ImageRef | None = None) -> Sample:
    """One row of any layout as a Sample, with or without its picture. Raises DataError."""
    columns = official_columns(row)
    cluster = row.optional_text("cluster") if picture is None else _cluster(picture, row)
    official = Row(columns, row.where)
    answer = official.optional_text("answer")
    return Sample(
        id=official.text("pid"),
        question=official.text("question"),
        row={**columns, "cluster": cluster},
        media=() if picture is None else (picture,),
        choices=official.written_options("choices"),
        answers=() if answer is None else (answer,),
        categories=_categories(official),
        cluster=cluster,
    )


def official_columns(row: Row) -> dict[str, object]:
    """The columns of the official data set, from any layout, as JSON values; and a place for `cluster`."""
    name = _identity(row)
    if not name:
        raise DataError("data.field", "mathvista: a row has no pid", where=row.where)
    row = Row(row.values, f"{row.where}, pid {name}")
    question, query = row.text("question"), row.optional_text("query")
    embedded = _QUERY.match(question)
    if embedded:  # VLMEvalKit's table holds the whole query as its question
        question, query = embedded["question"], question
    choices = row.options("choices")
    kind = KINDS[row.kind("question_type", QUESTION_TYPES)]
    if kind == "multi_choice" and not choices:
        raise DataError("data.field", "mathvista: a choice question without choices", where=row.where)
    answer = _answer(row, choices if kind == "multi_choice" else ())
    columns: dict[str, object] = {
        "pid": name,
        "question": question,
        "choices": list(choices) or None,
        "unit": row.optional_text("unit"),
        "answer": answer,
        "question_type": kind,
        "answer_type": row.kind("answer_type", ANSWER_TYPES),
        "metadata": _metadata(row),
        "cluster": None,
        "precision": _precision(row, query, answer),
    }
    return {**columns, "query": query or build_query(Row(columns, row.where))}


def _identity(row: Row) -> str:
    return row.identity("pid", "index", "id") or ""


def _metadata(row: Row) -> dict[str, object]:
    columns = row.get("metadata")
    if not isinstance(columns, Mapping):  # VLMEvalKit's table: columns beside the others, skills as text
        columns = {key: row.get(key) for key in METADATA if row.get(key)}
    skills = Row(columns, row.where)
    return {**columns, **({"skills": list(skills.items_or_text("skills"))} if skills.has("skills") else {})}


def _precision(row: Row, query: str | None, answer: str | None) -> int | None:
    """Decimals of a float answer: the column (1.0 on the hub); in a table without it what the query asks for."""
    if row.text("answer_type") != "float":
        return None
    if "precision" in row:
        return row.integer("precision", most=MOST_DECIMALS)
    if query:
        return 2 if HINTS["float 2"] in query else 1
    return len((answer or "").partition(".")[2]) or None


def _answer(row: Row, choices: Sequence[str]) -> str | None:
    """Gold as text, of `choices` the right one's, which a table may name by its letter. None where there is none.

    Raises: DataError `data.field`, for a text that is none of `choices`.
    """
    option = row.optional_text("answer_option")
    is_whole = row.kind("answer_type", ANSWER_TYPES) == "integer"
    text = "".join(row.gold_written("answer", is_whole=is_whole)) if option is None or row.has("answer") else ""
    if choices and (text or option):
        same = [choice for choice in choices if choice.strip() == text.strip()]
        letter = None if same or option is None else gold_letter(option, choices, row.where)
        if not same and letter is None:
            raise row.fault("answer", "the gold of a choice question is the text of one of its choices")
        return same[0] if letter is None else choices[LETTERS.index(letter)]
    return text or None


def _cluster(picture: ImageRef, row: Row) -> str | None:
    """Questions about the same picture share it: by content where the bytes are at hand, else by path."""
    if picture.data is not None:
        return hashlib.sha256(picture.data).hexdigest()[:16]
    return row.optional_text("cluster") or picture.path


def _categories(row: Row) -> dict[str, tuple[str, ...]]:
    metadata = Row(row.mapping("metadata"), row.where)
    fields = metadata.also({name: row.get(name) for name in ("question_type", "answer_type")})
    return {
        name: fields.items("skills") if name == "skills" else (str(fields.get(name)),)
        for name in GROUPS
        if fields.get(name)
    }


# Scoring


def judge_prompt(one: Sample, answer: str) -> str | None:
    """What the official extraction asks its model; None where its own rules suffice."""
    if rule_extraction(answer, question_of(one)) is not None:
        return None
    return extraction_prompt(one.columns.text("query"), answer)


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
        share = sum(one.score.method == PREFETCH for one in scored) / len(scored)
        official["prefetch_rate"] = f"{100 * share:.1f}"
    return Summary(score=plain.score, official=official, categories=plain.categories)


def _printed(accuracy: float, n: int) -> str:
    return f"{accuracy * 100:.2f}% ({round(accuracy * n)}/{n})"


def submission(pairs: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """The file that the authors' scripts and leaderboard read, {pid: row with `response`}."""
    answers = {one.id: {**_official_columns(one), "response": answer} for one, answer in pairs}
    return {"output_mathvista.json": json.dumps(answers, ensure_ascii=False, indent=1)}


def _official_columns(one: Sample) -> dict[str, object]:
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
    licence="CC BY-SA 4.0 (authors' part); images and questions belong to 31 source data sets",
    modality="image",
    access="open",
    other_names=(
        OtherName("lmms-eval", "mathvista_testmini", "testmini"),
        OtherName("lmms-eval", "mathvista_test", "test"),
        OtherName("VLMEvalKit", "MathVista_MINI", "testmini"),
        OtherName("inspect", "inspect_evals/mathvista", "testmini"),
    ),
    splits={
        "testmini": Split(rows=1000),
        "test": Split(rows=5141, has_gold=False, note="answers are not published; a submission file is written"),
    },
    default_split="testmini",
    load=load,
    sample=from_values(_own_sample),
    data=TaskData(
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
    ),
    prompts={"query": query_prompt, "cot": cot_prompt, "solution": solution_prompt, "format": format_prompt},
    default_prompt="query",
    wanted=("letter", "integer", "float", "list", "text"),
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
)
