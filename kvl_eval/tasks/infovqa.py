"""InfoVQA: short answers to questions about infographics.

Data:    InfographicVQA: hub lmms-lab/DocVQA, config InfographicVQA (validation 2801, test 3288 questions); or the
         challenge's JSON with a folder of pictures; or VLMEvalKit's InfoVQA_VAL.tsv / InfoVQA_TEST.tsv.
Prompt:  picture, then the question and "Answer the question using a single word or phrase." (VLMEvalKit, lmms-eval).
Metric:  ANLS, threshold 0.5, mean over questions; the challenge's break-down by answer type, evidence and operation.
         The test split's answers are not public: `kvl-eval export` writes the file for the challenge's server.
Source:  the challenge's script as copied in QwenLM/Qwen-VL eval_mm/infographicsvqa_eval.py @ aa00ed0.
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row InfoVQA; labelled "Acc", most plausibly the test split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from kvl_eval.errors import DataError, UsageError
from kvl_eval.scorers.aggregate import mean, summarise
from kvl_eval.scorers.anls import anls
from kvl_eval.scorers.answers import Reading
from kvl_eval.scorers.reader_protocol import kind_wanted, reader_score
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.pictures import NamedPictures, from_values, one_picture, own_picture, picture_key, shared_cells
from kvl_eval.tasks.base import READER, OtherName, Prompt, Protocol, Reference, Split, Task, TaskData, TaskView
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

INSTRUCTION = "Answer the question using a single word or phrase."
HUB_SPLITS = {"val": "validation", "test": "test"}
STEMS = {
    "val": ("val", "infographicsVQA_val_v1.0_withQT", "infographicsVQA_val*", "InfoVQA_VAL"),
    "test": ("infographicsVQA_test*", "InfoVQA_TEST"),
}
FOLDERS = ("images", "infographicsvqa_images", "infographicVQA_images")
KEPT = (
    "questionId",
    "index",
    "question",
    "answers",
    "answer",
    "answer_type",
    "evidence",
    "operation/reasoning",
    "image_url",
    "image_local_name",
    "picture",
    "split",
    "category",
)

# The data set's labels, and the names under which the challenge's script prints them.
LABELS = {
    "answer_type": {
        "image span": "Image-Span",
        "question span": "Question-Span",
        "multiple spans": "Multi-Span",
        "non span": "None span",
    },
    "evidence": {
        "table/list": "Table/list",
        "textual": "Text",
        "photo/pciture/visual_objects": "Visual/Layout",  # the data set's own spelling
        "figure": "Figure",
        "map": "Map",
    },
    "operation/reasoning": {"comparison": "Sorting", "arithmetic": "Arithmetic", "counting": "Counting"},
}


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples of a split in the data set's order, pictures unopened. Raises: DataError."""
    tables = Tables(
        task="infovqa", config="InfographicVQA", stems=STEMS[split], required=("question", "questionId|index")
    )
    rows = shared_cells(read_rows(source, HUB_SPLITS[split], tables, reporter))
    yield from made_from(rows, partial(_loaded, NamedPictures(source.data_dir, FOLDERS)), reporter)


def _loaded(pictures: NamedPictures, row: Row) -> Sample:
    picture = one_picture(row, pictures, row.optional_text("image_local_name"))
    return to_sample(row if _picture_name(row) else row.also({"picture": picture_key(picture)}), picture)


def to_sample(row: Row, picture: ImageRef | None = None) -> Sample:
    """A row of any layout as a sample, with or without its picture. Raises: DataError `data.field`."""
    number = row.get("questionId", "index")
    if not isinstance(row.values.get("question"), str) or number is None:
        raise DataError(
            "data.field",
            "a question needs `question` and `questionId` (or `index`)",
            where=row.where,
            why=f"found {', '.join(map(str, row.values)) or 'nothing'}",
        )
    picture = picture or own_picture(row)
    return Sample(
        id=str(number),
        question=row.required_text("question"),
        row=row.keep(KEPT),
        media=() if picture is None else (picture,),
        answers=row.gold_texts("answers", "answer"),
        categories={
            field: tuple(names.get(label, label) for label in row.items_or_text(field))
            for field, names in LABELS.items()
            if row.has(field)
        },
        cluster=_picture_name(row) or row.optional_text("picture"),
    )


def _picture_name(row: Row) -> str | None:
    return row.optional_text("image_local_name", "image_url")


def short_answer(sample: Sample) -> list[Message]:
    """Picture, question, and the request for a word or phrase."""
    return [Message.user(*sample.media, f"{sample.question}\n{INSTRUCTION}")]


def question_only(sample: Sample) -> list[Message]:
    """Picture and bare question, for models that need no instruction."""
    return [Message.user(*sample.media, sample.question)]


def score(sample: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """ANLS of the whole answer, or of a given extraction."""
    if not sample.answers:
        return Score.not_scored("no_gold")
    text = answer if extraction is MISSING else extraction
    if not isinstance(text, str):
        return Score.no_answer("nothing_extracted", method="given")
    method = "whole" if extraction is MISSING else "given"
    value = anls(text, sample.answers)
    if not text.strip() and value == 0:
        return Score.no_answer("empty", extracted=text, method=method)
    return Score.of(value, text, method, anls=value)


def _compared(sample: Sample, reading: Reading) -> Score:
    text = str(reading.value)
    value = anls(text, sample.answers)
    return Score.of(value, text, anls=value)


score_reader = reader_score(kind_wanted("text"), _compared)
"""ANLS of what the reply says, where an answer is marked; of the whole reply where none is."""


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean ANLS; printed as the challenge's script, VLMEvalKit or lmms-eval prints it."""
    overall = mean(scored)
    summary = summarise(scored)
    if overall is None:
        return summary
    official: dict[str, str] = {}
    if protocol == "vlmevalkit":
        parts = {one.sample.columns.text("split") for one in scored if "split" in one.sample.row}
        for name in sorted(parts):
            part = mean([one for one in scored if one.sample.columns.text("split") == name])
            official[name] = str((part or 0.0) * 100)
        official["Overall"] = str(overall * 100)
    elif protocol == "lmms-eval":
        official["anls"] = str(overall)
    else:
        official["Overall ANLS"] = f"{overall:.4f}"
        for field, names in LABELS.items():
            for label in names.values():
                cell = summary.categories.get(field, {}).get(label)
                if cell is not None:  # the script divides by zero where a label has no question
                    official[label] = f"{cell.score:.4f}"
    return Summary(score=overall, official=official, categories=summary.categories)


def submission(answers: Sequence[tuple[Sample, str]]) -> Mapping[str, str]:
    """The file that the challenge's server takes: each question once, its id a number, its answer one text.

    Raises: UsageError `submission.id`, for an id that is not a number or comes twice.
    """
    rows: dict[int, str] = {}
    for sample, answer in answers:
        try:
            number = int(sample.id)
        except ValueError:
            raise UsageError(
                "submission.id", f"infovqa: question id {sample.id!r} is not a number", fix="use the data set's ids"
            ) from None
        if number in rows:
            raise UsageError(
                "submission.id", f"infovqa: question {number} is answered twice", fix="submit one repeat only"
            )
        rows[number] = answer
    listed = [{"questionId": number, "answer": answer} for number, answer in rows.items()]
    return {"infovqa_submission.json": json.dumps(listed, ensure_ascii=False, indent=1) + "\n"}


TASK = Task(
    name="infovqa",
    title="InfoVQA",
    group_title="OCR",
    doc=__doc__ or "",
    repos=("lmms-lab/DocVQA", "lmms-lab-encoder/DocVQA"),
    licence="apache-2.0 (hub copy); the infographics are web images under the challenge's terms",
    modality="image",
    access="open",
    other_names=(
        OtherName("lmms-eval", "infovqa_val", "val"),
        OtherName("lmms-eval", "infovqa_test", "test"),
        OtherName("VLMEvalKit", "InfoVQA_VAL", "val"),
        OtherName("VLMEvalKit", "InfoVQA_TEST", "test"),
    ),
    splits={
        "val": Split(rows=2801),
        "test": Split(rows=3288, has_gold=False, note="answers not public: needs the challenge's server"),
    },
    default_split="val",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub": ("questionId", "question", "answers", "answer_type", "image", "image_url", "operation/reasoning"),
            "challenge JSON": (
                "questionId",
                "question",
                "answers",
                "image_local_name",
                "answer_type",
                "evidence",
                "operation/reasoning",
            ),
            "VLMEvalKit TSV": ("index", "image", "question", "answer", "split"),
            "predictions": ("questionId", "question", "answers"),
        },
        files=(
            "InfographicVQA/validation-*.parquet, InfographicVQA/test-*.parquet (hub copy)",
            "infographicsVQA_val_v1.0_withQT.json or infographicsVQA_test_v1.0.json, images in images/ or a zip",
            "InfoVQA_VAL.tsv, InfoVQA_TEST.tsv (VLMEvalKit)",
        ),
        count={"val": {"rows": 2801}, "test": {"rows": 3288}},
    ),
    prompts={"short_answer": Prompt(short_answer, "short"), "question_only": question_only},
    default_prompt="short_answer",
    wanted=("text",),
    prompt_evidence="VLMEvalKit and lmms-eval agree on it; the report's own prompt is not published",
    protocols={
        "official": Protocol(
            score=score,
            notes=("a wrong answer with white space around it scores higher: lengths are of the raw texts",),
            evidence="the card says Acc; the benchmark's only metric is ANLS",
        ),
        READER: Protocol(
            score=score_reader,
            notes=("ANLS of the answer that the reply marks, of the whole reply where nothing is marked",),
        ),
        "official-exact": Protocol(score=score, notes=("the same as official: the script draws nothing",)),
        "vlmevalkit": Protocol(
            score=score,
            notes=("same scores on every vector known; reports per `split` where the table has that column",),
        ),
        "lmms-eval": Protocol(
            score=score, notes=("same scores on every vector known; its runs stop at 32 new tokens",)
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="infovqa"),
    view=TaskView(beside=(READER,)),
    groups=("documents", "table3"),
    submission=submission,
    mini="infovqa",
)
