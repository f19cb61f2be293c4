"""OCRBench (v1): 1000 questions on reading text in pictures, one point each.

Data:    hub echo840/OCRBench, split test; or the authors' OCRBench.json with pictures; or VLMEvalKit's OCRBench.tsv.
Prompt:  picture, then the bare question (VLMEvalKit, lmms-eval, Moonshot's own later script).
Metric:  a point if an answer occurs in the response as a substring: without case for text, with case and without
         spaces for formulas (HME100k). Five categories: 300 + 200 + 200 + 200 + 100 points.
Source:  Yuliang-Liu/MultimodalOCR OCRBench/example.py @ 794c36d.
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row OCRBench; labelled "Acc", yet points out of 1000.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from kvl_eval.errors import DataError
from kvl_eval.rows import numbered
from kvl_eval.scorers.aggregate import plain_sum, summarise
from kvl_eval.scorers.contains import contains, contains_half_width, contains_lower_formula
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.pictures import NamedPictures, from_values, one_picture, own_picture, picture_key, shared_cells
from kvl_eval.tasks.base import Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.choices import one_label
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

RECOGNITION = "Text Recognition"
FORMULAS = "Handwritten Mathematical Expression Recognition"
RECOGNITION_TYPES = (
    "Regular Text Recognition",
    "Irregular Text Recognition",
    "Artistic Text Recognition",
    "Handwriting Recognition",
    "Digit String Recognition",
    "Non-Semantic Text Recognition",
)
CATEGORIES = (
    RECOGNITION,
    "Scene Text-centric VQA",
    "Doc-oriented VQA",
    "Key Information Extraction",
    FORMULAS,
)
POINTS = {
    **dict.fromkeys(RECOGNITION_TYPES, 50),
    "Scene Text-centric VQA": 200,
    "Doc-oriented VQA": 200,
    "Key Information Extraction": 200,
    FORMULAS: 100,
}
FOLDERS = ("OCRBench_Images", "images")
KEPT = (
    "dataset_name",
    "dataset",
    "question_id",
    "id",
    "index",
    "row",
    "question",
    "answers",
    "answer",
    "type",
    "question_type",
    "category",
    "image_path",
    "picture",
)

Contains = Callable[..., str | None]


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The 1000 samples in the data set's order, pictures unopened. Raises: DataError."""
    tables = Tables(
        task="ocrbench",
        stems=("OCRBench", "FullTest"),
        required=("question", "answers|answer", "type|question_type|category"),
    )
    rows = numbered(shared_cells(read_rows(source, split, tables, reporter)))
    yield from made_from(rows, partial(_loaded, NamedPictures(source.data_dir, FOLDERS)), reporter)


def _loaded(pictures: NamedPictures, row: Row) -> Sample:
    path = row.optional_text("image_path")
    picture = one_picture(row, pictures, path)
    return to_sample(row if path else row.also({"picture": picture_key(picture)}), picture)


def to_sample(row: Row, picture: ImageRef | None = None) -> Sample:
    """A row of any layout as a sample, with or without its picture. Raises: DataError `data.field`."""
    kind = row.text("type", "question_type", "category")
    if not isinstance(row.values.get("question"), str) or kind not in POINTS:
        raise DataError(
            "data.field",
            f"a question needs `question` and a known `type`, found {kind!r}",
            where=row.where,
            why=f"expected one of {', '.join(POINTS)}",
        )
    picture = picture or own_picture(row)
    dataset = row.optional_text("dataset_name", "dataset")
    return Sample(
        id=_id(row, dataset),
        question=row.required_text("question"),
        row=row.keep(KEPT),
        media=() if picture is None else (picture,),
        answers=_answers(row),
        categories=one_label(category=RECOGNITION if kind in RECOGNITION_TYPES else kind, type=kind, dataset=dataset),
        cluster=row.optional_text("image_path", "picture"),
    )


def _id(row: Row, dataset: str | None) -> str:
    """`{dataset_name}/{id}` of the authors' JSON (ids are unique only within a data set), else the row's number."""
    number = row.get("question_id", "id")
    if dataset is not None and number is not None:
        return f"{dataset}/{number}"
    return str(row.get("index")) if row.has("index") else f"row-{row.get('row') or 0}"


def _answers(row: Row) -> tuple[str, ...]:
    """Answers are a text (851 rows of the authors' JSON), a list, or, in the TSV, a list written as text."""
    column = "answers" if "answers" in row else "answer"
    value = row.gold(column)
    if isinstance(value, str) and not _is_list_text(value):
        return (value,)
    return row.gold_texts(column)


def _is_list_text(value: str) -> bool:
    text = value.strip()
    return text[:2] in ("['", '["') and text.endswith("]")


def question_only(sample: Sample) -> list[Message]:
    """Picture and bare question."""
    return [Message.user(*sample.media, sample.question)]


def lmms_eval_prompt(sample: Sample) -> list[Message]:
    """Picture and question, stripped."""
    return [Message.user(*sample.media, sample.question.strip())]


def llava_prompt(sample: Sample) -> list[Message]:
    """As the authors' script for LLaVA-1.5 asks."""
    return [Message.user(*sample.media, f"{sample.question}\nAnswer the question using a single word or phrase.")]


def qwen_vl_prompt(sample: Sample) -> list[Message]:
    """As the authors' template for QwenVL asks."""
    return [Message.user(*sample.media, f"{sample.question} Answer: ")]


def score(contained: Contains, sample: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """A point where `contained` finds one of the answers in the text."""
    text = answer if extraction is MISSING else extraction
    method = "whole" if extraction is MISSING else "given"
    if not isinstance(text, str):
        return Score.no_answer("nothing_extracted", method=method)
    dataset = sample.columns.optional_text("dataset_name", "dataset")
    formula = dataset == "HME100k" or sample.categories["type"] == (FORMULAS,)
    found = contained(text, sample.answers, formula=formula)
    if found is not None:
        return Score.of(1, text, method, matched=found)
    if not text.strip():
        return Score.no_answer("empty", extracted=text, method=method)
    return Score.of(0, text, method)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Points by type and category; the headline is in points only where all 1000 questions were scored."""
    points = _points_by_type(scored)
    recognition = plain_sum(points[kind] for kind in RECOGNITION_TYPES)
    total = plain_sum(points.values())
    by_category = {RECOGNITION: recognition} | {name: points[name] for name in CATEGORIES[1:]}
    if protocol == "vlmevalkit":
        official = {name: str(float(value)) for name, value in by_category.items()}
        official |= {"Final Score": str(float(total)), "Final Score Norm": str(float(total) / 10)}
    elif protocol.startswith("lmms-eval"):
        official = {"ocrbench_accuracy": str(total / 1000)}
    else:
        official = {RECOGNITION: _plain(recognition)}
        official |= {kind: _plain(points[kind]) for kind in POINTS}
        official["Final Score"] = _plain(total)
    answered = {one.sample.id for one in scored if one.score.value is not None}
    return summarise(scored, official, unit="points" if len(answered) == 1000 else "percent")


def _points_by_type(scored: Sequence[Scored]) -> dict[str, float]:
    """{type: sum over its questions}, a question with several repeats counting their mean."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in scored:
        if one.score.value is not None:
            values[one.sample.categories["type"][0], one.sample.id].append(one.score.value)
    points: dict[str, float] = dict.fromkeys(POINTS, 0.0)
    for (kind, _), found in values.items():
        points[kind] += plain_sum(found) / len(found)
    return points


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.2f}"


TASK = Task(
    name="ocrbench",
    title="OCRBench",
    group_title="OCR",
    doc=__doc__ or "",
    repos=("echo840/OCRBench",),
    licence="not stated on the card (code: MIT)",
    modality="image",
    access="open",
    download_bytes=85_000_000,
    download_source="card of echo840/OCRBench: about 85 MB",
    splits={"test": Split(rows=1000)},
    default_split="test",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub": ("dataset", "question", "question_type", "answer", "image"),
            "authors' JSON": ("dataset_name", "id", "image_path", "question", "answers", "type"),
            "VLMEvalKit TSV": ("index", "image", "question", "answer", "category"),
            "predictions": ("dataset_name", "question_id", "type", "question", "answers"),
        },
        files=(
            "test-*.parquet or data/test-*.parquet (hub copy)",
            "OCRBench.json, images in OCRBench_Images/, images/ or a zip",
            "OCRBench.tsv (VLMEvalKit)",
        ),
        count={"test": {"rows": 1000, **{f"type={kind}": points for kind, points in POINTS.items()}}},
    ),
    prompts={
        "question_only": question_only,
        "lmms-eval": lmms_eval_prompt,
        "llava": llava_prompt,
        "qwen-vl": qwen_vl_prompt,
    },
    default_prompt="question_only",
    prompt_evidence="VLMEvalKit and Moonshot's later OCRBench script; the report's own prompt is not published",
    protocols={
        "official": Protocol(
            score=partial(score, contains),
            notes=("containment rewards length: `cat` occurs in `concatenate`",),
            evidence="Moonshot's later script scores by the same rule",
        ),
        "official-exact": Protocol(
            score=partial(score, contains), notes=("the same as official: a missing prediction adds no point",)
        ),
        "vlmevalkit": Protocol(
            score=partial(score, contains), notes=("picks the formula rule by category; adds Final Score Norm",)
        ),
        "lmms-eval": Protocol(
            score=partial(score, contains_half_width),
            notes=("since 2026-08 full-width ASCII of ordinary text counts as half-width",),
        ),
        "lmms-eval-2025": Protocol(
            score=partial(score, contains_lower_formula),
            notes=("before 2026-04 a formula's prediction was lower-cased and its answers were not",),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="ocrbench"),
    groups=("ocr", "table3"),
    mini="ocrbench",
)
