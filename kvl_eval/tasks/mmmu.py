r"""MMMU: college-level questions with up to seven pictures, in the text and in the options.

Data:    MMMU/MMMU, split validation (900 questions, 30 of each of 30 subjects; 847 multiple choice, 53 open)
Prompt:  question, options and the step-by-step instruction of VLMEvalKit's Kimi-VL class once at the end; pictures
         stand where their tags stand
Metric:  accuracy over all questions, and by subject and domain
Scorer:  the reader; beside it MMMU-Benchmark/MMMU mmmu/utils/eval_utils.py @ bb0b95a, which does not read `\boxed{B}`
Report:  Kimi-VL (arXiv 2504.07491), tables 3 and 4, row MMMU (Pass@1)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kvl_eval.cells import QUESTION_TYPES, gold_letter, list_or_text
from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import plain_sum, summarise
from kvl_eval.scorers.mmmu_protocols import (
    MULTIPLE_CHOICE,
    NO_LETTER,
    is_choice,
    score_exact,
    score_lmms_eval,
    score_official,
    score_reader,
    score_vlmevalkit,
)
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.reader_protocol import without_answer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows, rows_of_split
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.pictures import IMAGE_COLUMNS, pictured_samples, sample_maker, shared_cells
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
    OtherName,
    Prompt,
    Protocol,
    Reference,
    Split,
    Task,
    TaskData,
    TaskView,
    reader_protocol,
)
from kvl_eval.tasks.choices import (
    DIRECT,
    SELECT,
    STEP_BY_STEP,
    image_tags,
    interleaved,
    one_label,
    picture,
    vlmevalkit_text,
)
from kvl_eval.types import Extraction, ImageRef, Message, Part, Sample, Score, Scored, Summary

DOMAINS = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        *("Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy"),
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech and Engineering": (
        *("Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power"),
        *("Materials", "Mechanical_Engineering"),
    ),
}
DOMAIN_OF = {subject: domain for domain, subjects in DOMAINS.items() for subject in subjects}
SUBJECTS = tuple(sorted(DOMAIN_OF))  # the order of the data set's configurations and of the official draws
KEPT = (
    *("id", "index", "question", "options", "choices", "answer", "question_type", "img_type", "topic_difficulty"),
    *("subfield", "subject", "category", "l2-category", "split", "hint", "picture"),
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
)
DIRECT_OPEN = "Answer the question using a single word or phrase."


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples, subject by subject in the data set's order. Raises DataError."""
    patterns = [f"*{split}-*.parquet", f"*{split}.parquet", f"*{split}.jsonl"]
    found = fetch_files(source, patterns, task="mmmu", reporter=reporter)
    stems = ("MMMU_TEST",) if split == "test" else ("MMMU_DEV_VAL",)
    required = ("id|index", "question", "options|A|choices")
    rows = read_rows(found, split, Tables(task="mmmu", required=required, stems=stems), reporter)
    yield from pictured_samples(rows_of_split(shared_cells(rows), split), _sample, found, reporter, texts=())


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    name = row.identity("id", "index")
    if name is None:
        raise DataError("data.field", "mmmu: a row has no id and no index", where=row.where)
    choices = row.options()
    kind = _kind(row, choices)
    has_columns = any(name in row for name in ("options", "choices", "A"))
    if kind == MULTIPLE_CHOICE and has_columns and len(choices) < 2:
        raise DataError("data.field", f"mmmu: {len(choices)} options in a multiple-choice question", where=row.where)
    return Sample(
        id=name,
        question=row.text("question"),
        row={key: row.values[key] for key in KEPT if row.has(key) or (key == "choices" and key in row)},
        media=media,
        choices=choices,
        answers=_answers(row, choices if kind == MULTIPLE_CHOICE else ()),
        categories=_categories(row, choices, kind, name),
        cluster=row.optional_text("picture") or name,
    )


def _kind(row: Row, choices: Sequence[str]) -> str:
    """Of a layout without that column: multiple choice where there are options."""
    if "question_type" in row:
        return row.kind("question_type", QUESTION_TYPES)
    return MULTIPLE_CHOICE if choices else "open"


def _answers(row: Row, choices: Sequence[str]) -> tuple[str, ...]:
    """Accepted answers, of `choices` letters; lists of them are written as text by the hub."""
    gold = row.gold("answer")
    if gold is None or gold == "?":  # withheld on the test split
        return ()
    if isinstance(gold, str):
        answers = list_or_text(gold) if gold.startswith("[") and "choices" not in row else (gold,)
    else:
        answers = row.items("answer") if isinstance(gold, list | tuple) else row.gold_text("answer")
    letters = (gold_letter(answer, choices, row.where) for answer in answers) if choices else answers
    return tuple(letter for letter in letters if letter is not None)


def _categories(row: Row, choices: Sequence[str], kind: str, name: str) -> dict[str, tuple[str, ...]]:
    subject = _subject(row, name)
    tags = image_tags("\n".join([row.text("question"), *choices]))
    return {
        **one_label(
            subject=subject,
            domain=DOMAIN_OF.get(subject or ""),
            question_type=kind,
            difficulty=row.get("topic_difficulty"),
        ),
        **({"image_type": _labels(row)} if row.get("img_type") else {}),
        "pictures": (str(max(len(tags), 1)),),
    }


def _subject(row: Row, name: str) -> str | None:
    """The id without its first and last part; where that is not a subject, the row's own column."""
    named = row.text("subject", "category")
    for subject in ("_".join(name.split("_")[1:-1]), named.replace(" ", "_")):
        if subject in DOMAIN_OF:
            return subject
    return named or None


def _labels(row: Row) -> tuple[str, ...]:
    kinds = row.get("img_type")
    names = list_or_text(kinds) if isinstance(kinds, str) else row.items("img_type")
    return tuple(dict.fromkeys(names))


sample = sample_maker(_sample)
"""One row of any layout as a Sample, with images where the row has them. Raises DataError."""


# Prompts


def official_llava(one: Sample) -> list[Message]:
    """The authors' recipe for LLaVA: the first picture, then text that keeps its tags."""
    options = "".join(f"({letter}) {text}\n" for letter, text in lettered(one.choices).items())
    text = f"{one.question}\n{options}\n{DIRECT}" if is_choice(one) else f"{one.question}\n{DIRECT_OPEN}"
    return [Message.user(*one.media[:1], text)]


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's `mmmu_val`: the tagged pictures in numeric order, then text that keeps its tags."""
    options = "\n".join(f"{letter}. {text}" for letter, text in lettered(one.choices).items())
    text = f"{one.question}\n{options}\n\n{DIRECT}" if is_choice(one) else f"{one.question}\n\n{DIRECT_OPEN}"
    return [Message.user(*(picture(one, number) for number in sorted(image_tags(text))), text)]


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's text, cut at its tags, each replaced by its picture."""
    return [Message.user(*_interleaved(one))]


def vlmevalkit_kimi(one: Sample) -> list[Message]:
    """VLMEvalKit's Kimi-VL class as it is: the instruction after every piece of text."""
    return [Message.user(*(_instructed(part) for part in _interleaved(one)))]


def kimi_cot(one: Sample) -> list[Message]:
    """As `vlmevalkit_kimi`, the instruction once at the end, and no empty pieces of text."""
    *before, last = _interleaved(one)
    return [Message.user(*(part for part in before if part), _instructed(last))]


def _instructed(part: Part) -> Part:
    return part.replace(SELECT, "") + STEP_BY_STEP if isinstance(part, str) else part


def _interleaved(one: Sample) -> list[Part]:
    """VLMEvalKit's text and pictures in turn, ending in text."""
    return interleaved(one, vlmevalkit_text(one, one.question))


# Scoring


def score_run_exact(items: Sequence[tuple[Sample, str, Extraction]]) -> list[Score]:
    """A whole run with the authors' draws, in their order of subjects."""
    return score_exact(items, SUBJECTS)


def score_one_exact(one: Sample, answer: str, extraction: Extraction) -> Score:
    """A run of one question."""
    return score_run_exact([(one, answer, extraction)])[0]


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy, and the table that the official script prints: domains, their subjects, and overall.

    Where replies without a letter count as wrong, also how many there are and what guessing would be expected to add.
    """
    plain = summarise(scored)
    subjects = plain.categories.get("subject", {})
    digits = 5 if protocol == "lmms-eval" else 3
    official: dict[str, str] = {}
    for domain, members in DOMAINS.items():
        present = {subject: subjects[subject] for subject in members if subject in subjects}
        if present:
            n = sum(group.n for group in present.values())
            total = plain_sum(group.score * group.n for group in present.values())
            official[f"Overall-{domain}"] = str(round(total / n, digits))
            official |= {subject: str(round(group.score, digits)) for subject, group in present.items()}
    if plain.score is not None:
        official["Overall"] = str(round(plain.score, digits))
    unread = without_answer(scored, None if protocol == READER else NO_LETTER)
    luck = [1 / len(one.choices) for one in unread if is_choice(one) and one.choices]
    if luck:
        official["replies without a letter"] = str(len(luck))
        official["expected right by guessing"] = f"{plain_sum(luck):.2f}"
    return replace(plain, official=official)


_NO_GUESS = "a reply without a letter is wrong (no_answer) instead of a random letter; an empty open reply is no_answer"

TASK = Task(
    name="mmmu",
    title="MMMU",
    group_title="College-level",
    doc=__doc__ or "",
    repos=("MMMU/MMMU", "lmms-lab/MMMU", "lmms-lab-encoder/MMMU"),
    licence="Apache-2.0",
    modality="images",
    access="open",
    other_names=(
        OtherName("lmms-eval", "mmmu_val", "validation"),
        OtherName("lmms-eval", "mmmu_test", "test"),
        OtherName("VLMEvalKit", "MMMU_DEV_VAL", "validation"),
        OtherName("VLMEvalKit", "MMMU_TEST", "test"),
    ),
    splits={
        "validation": Split(rows=900),
        "dev": Split(rows=150),
        "test": Split(rows=10_500, has_gold=False, note="answers are withheld"),
    },
    default_split="validation",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "hub": (
                *("id", "question", "options", "explanation", *IMAGE_COLUMNS, "img_type", "answer", "topic_difficulty"),
                *("question_type", "subfield"),
            ),
            "JSON": ("id", "question", "options", "answer", "question_type", "image_1 ... image_7 or images"),
            "VLMEvalKit TSV": (
                "index",
                "question",
                "A ... I",
                "answer",
                "image",
                "split",
                "category",
                "l2-category",
                "hint",
            ),
            "golden": ("id", "subject", "question_type", "choices", "answer"),
        },
        files=(
            "{subject}/validation-*.parquet in 30 folders, or validation-*.parquet (hub copies)",
            "validation.jsonl or validation.json, images as paths, in images/ or a zip",
            "MMMU_DEV_VAL.tsv, MMMU_TEST.tsv (VLMEvalKit)",
        ),
        count={
            "validation": {
                "question_type=multiple-choice": 847,
                "question_type=open": 53,
                **{f"subject={subject}": 30 for subject in SUBJECTS},
            },
            "dev": {f"subject={subject}": 5 for subject in SUBJECTS},
        },
    ),
    prompts={
        "kimi_cot": Prompt(kimi_cot, "boxed"),
        "official_llava": Prompt(official_llava, "short"),
        "lmms_eval": Prompt(lmms_eval, "short"),
        "vlmevalkit": vlmevalkit,
        "vlmevalkit_kimi": Prompt(vlmevalkit_kimi, "boxed"),
    },
    default_prompt="kimi_cot",
    wanted=("letter", "float", "text"),
    prompt_evidence=(
        "the report names no prompt; VLMEvalKit's Kimi-VL class carries this instruction for MMMU, and a terse prompt "
        "was measured at 50.6 against the report's 57.0"
    ),
    protocols={
        "official": Protocol(
            score=score_official,
            notes=(
                _NO_GUESS,
                "the thought is split off first",
                r"the authors' parser does not read `\boxed{B}`",
            ),
            evidence="unknown: the report names no scorer",
        ),
        "official-exact": Protocol(
            score=score_one_exact,
            score_run=score_run_exact,
            notes=(
                "a reply without a letter gets the script's own draw: random.seed(42), replayed over the whole run",
                "equal to the script only over a complete split",
            ),
        ),
        "vlmevalkit": Protocol(
            score=score_vlmevalkit,
            label="vlmevalkit-rule",
            notes=(
                "open questions become a choice between the gold (A) and Other Answers (B)",
                "an open question whose gold is a capital letter other than A can never be right",
                "what its matcher leaves undecided goes to a judge there, and is no_answer here",
            ),
        ),
        "lmms-eval": Protocol(
            score=score_lmms_eval,
            notes=(
                "`X ` without a blank before it and `X.` count as letters",
                "no open answer can be right, so that 94.1 is its ceiling",
                "a reply without a letter is no_answer instead of a random letter",
            ),
        ),
        READER: reader_protocol(score_reader, "open answers: a number or a text, compared as the authors compare"),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mmmu"),
    groups=("table3", "thinking"),
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    mini="mmmu",
    max_new_tokens=4096,
)
