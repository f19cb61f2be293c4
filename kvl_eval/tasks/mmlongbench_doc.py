"""MMLongBench-Doc: questions about long PDF documents, a fifth of them not answerable.

Data:    yubo2333/MMLongBench-Doc, split train, with documents/<doc_id>; or the authors' samples.json with documents/.
         Three versions: 2024-07-09 (1,091 questions), 2024-07-15 (1,082; in force when Kimi-VL was reported), 2025-09
         (1,082, two of them edited); the version stands in every sample's id
Pages:   the first 120 at 144 dpi, one picture a page, in order; where the context is short fewer pixels, not pages
Metric:  mean score by type of answer ("Acc"), F1, also by evidence source, pages and kind of document
Scorer:  mayubo2333/MMLongBench-Doc eval/eval_score.py @ d73f0dc; the short answer is what the reader or a judge reads
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row MMLongBench-Doc (Acc)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from kvl_eval.cells import ANSWER_FORMATS
from kvl_eval.errors import DataError
from kvl_eval.rows import numbered
from kvl_eval.scorers.aggregate import mean, summarise
from kvl_eval.scorers.document_answer import extraction_prompt, judged_answer
from kvl_eval.scorers.document_f1 import (
    UNANSWERABLE,
    AnswerClaim,
    document_score,
    f1,
    lmms_eval_clean,
    lmms_eval_score,
    vlmevalkit_score,
)
from kvl_eval.scorers.document_protocols import NOT_COMPARABLE, document_scorer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.media_files import MediaFiles
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import Prompt, Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.choices import name_of_text
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import Message, PdfRef, Sample, Scored, Summary

DPI = 144
MAX_PAGES = 120
ROWS = {"2024-07-09": 1091, "2024-07-15": 1082, "2025-09": 1082}
CURRENT = "2024-07-15"
# sha256 over the version's sorted questions, to tell it from the one that has as many
CURRENT_SHA256 = "53ea8789df014b086b86c8fd1bb1d8bf8edb083bcbb28a0f0888d8bc807980a8"
FIELDS = ("doc_id", "question", "answer", "answer_format")
KINDS = ("Str", "Int", "Float", "List", "None")
KEPT = ("version", "number", "id", "index", *FIELDS, "doc_type", "evidence_pages", "evidence_sources")
VLMEVALKIT_SOURCES = {
    "text": "Pure-text (Plain-text)",
    "layout": "Generalized-text (Layout)",
    "table": "Table",
    "chart": "Chart",
    "image": "Figure",
}
SHORT_ANSWER = "Answer with a single word or phrase. If the answer is not in the document, answer 'Not answerable'."


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The questions in the data set's order, documents unopened.

    Raises: DataError; `data.version` where the rows found are not of the version asked for.
    """
    source = fetch_files(source, ["*.parquet", "documents/*"], task="mmlongbench-doc", reporter=reporter)
    tables = Tables(task="mmlongbench-doc", required=FIELDS, stems=("samples", "MMLongBench_DOC"))
    rows = partial(read_rows, source, split, tables, reporter)
    version = _version(rows(), source.version)
    versioned = (row.also({"version": version}) for row in numbered(_documents_in_cells(rows()), "number"))
    yield from made_from(versioned, partial(_loaded, MediaFiles(source.data_dir, ("documents", "."))), reporter)


def _version(rows: Iterable[Row], wanted: str | None) -> str:
    """Which version the rows are, by their number and content; rows of another number are taken for what was asked.

    Raises: DataError `data.version`.
    """
    if wanted is not None and wanted not in ROWS:
        raise DataError(
            "data.version",
            f"mmlongbench-doc: unknown version {wanted!r}",
            fix=f"use --data-version {' or '.join(ROWS)}",
        )
    lines = sorted("\t".join(" ".join(str(row.get(field)).split()) for field in FIELDS) for row in rows)
    known = [version for version, total in ROWS.items() if total == len(lines)]
    if not known:
        return wanted or "other"
    same = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest() == CURRENT_SHA256
    found = CURRENT if same else next(version for version in known if version != CURRENT)
    if wanted not in (None, found):
        raise DataError(
            "data.version",
            f"mmlongbench-doc: --data-version is {wanted!r} but the data are {found}",
            why=f"versions are {', '.join(ROWS)}; they differ in the number of rows ({len(lines)}) and their text",
            fix=f"name another revision with --data-repo OWNER/NAME@REVISION, or drop --data-version {wanted}",
        )
    return found


def _documents_in_cells(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows of VLMEvalKit's table with the document itself in `image`, where a cell gives the index of a row before.

    Only the last document is kept: questions about one stand together.
    """
    last: tuple[str, str] | None = None
    for row in rows:
        cell, index = row.get("image"), str(row.get("index"))
        if isinstance(cell, str) and len(cell) > 64:
            last = (index, cell)
        elif isinstance(cell, str):
            held = last[1] if last is not None and last[0] == cell else None
            row = row.also({"image": held})
        yield row


def _loaded(documents: MediaFiles, row: Row) -> Sample:
    made = to_sample(row)
    name = row.text("doc_id")
    document = PdfRef(
        name=f"document {name}",
        path=documents.find(name) or documents.expected(name),
        root=documents.root,
        dpi=DPI,
        max_pages=MAX_PAGES,
        data=_pdf(row.get("image")),
    )
    return replace(made, media=(document,))


def _pdf(cell: object) -> bytes | None:
    """A document written as base64; other text becomes bytes that are not a PDF, noticed where they are opened."""
    if not isinstance(cell, str) or not cell:
        return None
    try:
        return base64.b64decode("".join(cell.split()), validate=True)
    except (binascii.Error, ValueError):
        return cell[:64].encode(errors="replace")


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its document. Raises DataError."""
    kind = row.kind("answer_format", ANSWER_FORMATS)
    answers = row.gold_written("answer", is_whole=kind == "Int")
    answer = answers[0] if answers else None
    document = row.get("doc_id")
    return Sample(
        id=_identity(row),
        question=row.text("question"),
        row={name: _plain(cell) for name, cell in row.keep(KEPT).items()},
        answers=answers,
        categories={
            "evidence_source": row.items("evidence_sources"),
            "pages": _page_kinds(row.items("evidence_pages"), answer) if row.has("evidence_pages") else (),
            "doc_type": (str(row.get("doc_type")),) if row.has("doc_type") else (),
            "answer_format": (kind,),
        },
        cluster=None if document is None else str(document),
    )


def _identity(row: Row) -> str:
    """`{version}/{row}`; of a row outside a whole data set its own id, or a name made of its text."""
    if row.has("version") and row.has("number"):
        return f"{row.get('version')}/{row.get('number')}"
    return row.identity("id", "index") or name_of_text("\t".join(str(row.get(field)) for field in FIELDS))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple | list) else value if isinstance(value, int | float) else str(value)


def _page_kinds(pages: Sequence[str], answer: object) -> tuple[str, ...]:
    """How the authors group a question: one page, other answerable ones, unanswerable; a few are in two groups."""
    single = ("single-page",) if len(pages) == 1 else ()
    if answer == UNANSWERABLE:
        return (*single, "unanswerable")
    return single or ("cross-page",)


# Prompts


def pages_first(one: Sample) -> list[Message]:
    """Pages, then the bare question: VLMEvalKit's order."""
    return [Message.user(*one.media, one.question)]


def question_first(one: Sample) -> list[Message]:
    """The bare question, then pages: the authors' script for models behind an interface."""
    return [Message.user(one.question, *one.media)]


def short_answer(one: Sample) -> list[Message]:
    """Pages, question, and a request for a word or phrase: lmms-eval's text (it shows the evidence pages only)."""
    return [Message.user(*one.media, f"{one.question.strip()}\n{SHORT_ANSWER}")]


# Scoring


def judge_prompt(one: Sample, answer: str) -> str | None:
    """What the official extraction asks its model; None for an empty response."""
    return extraction_prompt(one.question, answer) if answer.strip() else None


def read_reply(_: Sample, reply: str) -> str | None:
    """The whole reply, whose two lines `given_answer` takes apart; None where they hold no answer."""
    return reply if judged_answer(reply) else None


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean score, and the figures that the script behind the protocol prints."""
    plain = summarise(scored)
    with_value = [one for one in scored if one.score.value is not None]
    if not with_value:
        return plain
    figures = {"vlmevalkit": _vlmevalkit_figures, "lmms-eval": _lmms_eval_figures}.get(protocol, _official_figures)
    return replace(plain, official=figures(with_value))


def _official_figures(scored: Sequence[Scored]) -> dict[str, str]:
    pairs = [_pair(one) for one in scored]
    figures = {"Overall Acc": str(mean(scored)), "Overall F1-score": str(f1(pairs) or 0.0)}
    for name, label in (("Single-page", "single-page"), ("Cross-page", "cross-page"), ("Unanswerable", "unanswerable")):
        figures[name] = str(mean(_within(scored, "pages", label)) or 0.0)
    for title, field in (("Evidence Sources", "evidence_source"), ("Document Type", "doc_type")):
        values = dict.fromkeys(value for one in scored for value in one.sample.categories.get(field, ()))
        figures |= {f"{title}: {value}": str(mean(_within(scored, field, value))) for value in values}
    return figures


def _vlmevalkit_figures(scored: Sequence[Scored]) -> dict[str, str]:
    """Its own groups: several pages are more than one, and unanswerable is a question without an evidence page."""
    pages = [(one, len(one.sample.columns.items("evidence_pages"))) for one in scored]
    groups = {name: _within(scored, "evidence_source", label) for name, label in VLMEVALKIT_SOURCES.items()}
    groups["single-page"] = [one for one, number in pages if number == 1]
    groups["multi-page"] = [one for one, number in pages if number > 1]
    groups["unanswerable"] = [one for one, number in pages if number == 0]
    value = f1([_pair(one) for one in scored], over_answered=True)
    return {
        "overall_f1": "division by zero" if value is None else str(value),
        "overall_acc": str(mean(scored)),
        **{name: str(mean(part) or 0.0) for name, part in groups.items()},
    }


def _lmms_eval_figures(scored: Sequence[Scored]) -> dict[str, str]:
    refused = UNANSWERABLE.lower()
    pairs = [
        AnswerClaim(
            one.score.value or 0.0,
            lmms_eval_clean(one.sample.answers[0]) != refused,
            lmms_eval_clean(one.score.extracted) != refused,
        )
        for one in scored
    ]
    return {"mmlongbench_doc_acc": str(mean(scored)), "mmlongbench_doc_f1": str(f1(pairs, over_answered=True) or 0.0)}


def _pair(one: Scored) -> AnswerClaim:
    """F1 compares texts exactly: an answer "not answerable" scores 1 and yet counts as answered.

    So does one that raised: the authors' driver then records that nothing was extracted.
    """
    answers = one.score.extracted != UNANSWERABLE or one.score.reason == NOT_COMPARABLE
    return AnswerClaim(one.score.value or 0.0, one.sample.answers[0] != UNANSWERABLE, answers)


def _within(scored: Sequence[Scored], field: str, value: str) -> list[Scored]:
    return [one for one in scored if value in one.sample.categories.get(field, ())]


_RULE = (
    "a model's extraction is replaced by the reader: what the response says, as a number, a list or a text by the type "
    "of gold, or that the document has no answer"
)
_LEAK = "the reader knows the type of gold, which no judge sees"
_LITERAL = "lists are read as literals; the authors evaluate them as code"

TASK = Task(
    name="mmlongbench-doc",
    title="MMLongBench-Doc",
    group_title="Long document",
    doc=__doc__ or "",
    repos=("yubo2333/MMLongBench-Doc",),
    licence="CC BY-NC 4.0",
    modality="document",
    access="open",
    splits={"train": Split(rows=None, note="the only one; 1,091 or 1,082 rows, by version")},
    default_split="train",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub, authors' samples.json": ("doc_id", "doc_type", "question", "answer", *KEPT[-2:], "answer_format"),
            "VLMEvalKit TSV": ("index", "doc_id", "doc_type", "question", "answer", "...", "image (the PDF in base64)"),
            "golden": ("doc_id", "question", "answer", "answer_format"),
        },
        files=(
            "data/train-*.parquet (hub), samples.json (the authors' repository) or MMLongBench_DOC.tsv (VLMEvalKit)",
            "documents/<doc_id>: the PDFs; VLMEvalKit's table holds them itself",
        ),
        count={
            "train": {
                "rows": 1082,
                **{"pages=single-page": 494, "pages=cross-page": 372, "pages=unanswerable": 223},
                **{"answer_format=Int": 299, "answer_format=Str": 250, "answer_format=None": 223},
                **{"answer_format=Float": 159, "answer_format=List": 151},
            }
        },
    ),
    prompts={
        "pages_first": pages_first,
        "question_first": question_first,
        "short_answer": Prompt(short_answer, "short"),
    },
    default_prompt="pages_first",
    wanted=("integer", "float", "text", "list", "unanswerable"),
    prompt_evidence="the report names none; the authors and VLMEvalKit send the bare question",
    protocols={
        "official": Protocol(
            score=document_scorer(document_score, reads=True),
            label="official-rule",
            judged="official",
            notes=(
                _RULE,
                _LEAK,
                "a given extraction (a judge's reply, or the short answer) replaces the reader",
                "the thought is split off first",
                _LITERAL,
                "F1 compares `Not answerable` letter by letter, the score does not",
            ),
            evidence="Acc is the metric the card names; the model that extracted answers is not named",
        ),
        "official-exact": Protocol(
            score=document_scorer(document_score, reads=False),
            judged="official-exact",
            notes=("without an extraction the whole response is compared, which suits short answers only", _LITERAL),
        ),
        "vlmevalkit": Protocol(
            score=document_scorer(vlmevalkit_score, reads=True),
            label="vlmevalkit-rule",
            notes=(
                _RULE,
                _LEAK,
                "unanswerable questions are compared as lists; several pages are more than one; a question without "
                "evidence page is unanswerable; precision sums over answered questions and may divide by zero",
            ),
        ),
        "lmms-eval": Protocol(
            score=document_scorer(lambda gold, text, kind: lmms_eval_score(gold, text.strip(), kind), reads=False),
            notes=(
                "no extraction: the whole response is compared, of numbers the first one in it",
                "its own runs show the model the evidence pages only and are not comparable",
            ),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mmlongbench_doc"),
    groups=("table3", "documents"),
    mini="mmlongbench-doc",
    judge_prompt=judge_prompt,
    judge=JudgeRule(read=read_reply),
)
