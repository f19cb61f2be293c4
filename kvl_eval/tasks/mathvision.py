r"""MathVision (MATH-V): problems of mathematics contests with one picture each, five options or a free answer.

Data:    MathLLMs/MathVision, splits test (3,040 problems) and testmini (304 of them)
Prompt:  the picture, the authors' text for Qwen-VL, the question with its tags as text, the options
Metric:  accuracy, and by level, subject, and both; printed as `correct/total=percent%`
Scorer:  mathllm/MATH-V evaluation/ @ a1f5cc3, rules only; equality by our own evaluator of LaTeX arithmetic
Report:  Kimi-VL (arXiv 2504.07491), table 3 row MathVision, table 4 row MathVision (full), Pass@1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.mathvision_protocols import score_exact, score_official, score_reader, score_vlmevalkit
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.reader_protocol import READER_NOTES
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, image_ref, made_from, read_rows
from kvl_eval.sources.pictures import NamedPictures, found_picture, from_values, picture_key, shared_cells
from kvl_eval.tasks.base import READER, OtherName, Prompt, Protocol, Reference, Split, Task, TaskData, TaskView
from kvl_eval.types import ImageRef, Message, Sample, Scored, Summary

BARE_OPTIONS = ("A", "B", "C", "D", "E")  # where the choices are in the picture
KEPT = (
    *("id", "index", "question", "options", "choices", "answer", "level", "subject", "category", "solution"),
    "picture",
)
BOXED_LETTER = r'If it is a multiple choice question, only one letter is allowed in the "\boxed{}".'
QWEN_VL = rf'Please solve the problem step by step and put your answer in one "\boxed{{}}". {BOXED_LETTER}'
GPT4V = rf'Please solve the problem and put your answer in one "\boxed{{}}". {BOXED_LETTER}'
GEMINI_COT = (
    "Please first solve the problem step by step, then put your final answer or a single letter "
    r'(if it is a multiple choice question) in one "\boxed{}". '
)
LMMS_EVAL = r'Please solve the problem step by step and put your answer in one "\boxed{}".'
LMMS_CHOICE = "Answer the question with the option's letter from the given choices directly."


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order. Raises DataError."""
    stems = ("MathVision",) if split == "test" else ("MathVision_MINI",)
    required = ("id|index", "question", "answer", "options|choices")
    tables = Tables(task="mathvision", required=required, stems=stems)
    rows = shared_cells(read_rows(source, split, tables, reporter))
    yield from made_from(rows, partial(_loaded, pictures=NamedPictures(source.data_dir, ("images",))), reporter)


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, with its picture where the row holds it. Raises DataError."""
    cell = _cell(row)
    row = Row(row.values, f"row {row.identity('id', 'index') or ''}")
    media = () if cell is None else (image_ref(cell, name="image:1", root=None, where=row.where),)
    return _sample(row, media)


def _loaded(row: Row, pictures: NamedPictures) -> Sample:
    picture = found_picture(_cell(row), pictures, "image:1", row.where)
    named = row.get("image") if row.get("decoded_image") else picture.path
    return _sample(row.also({"picture": named or picture_key(picture)}), (picture,))


def _cell(row: Row) -> object:
    return row.get("decoded_image") or row.get("image")


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    name = row.identity("id", "index")
    if name is None:
        raise DataError("data.field", "mathvision: a row has no id and no index", where=row.where)
    choices = row.options("options", "choices") or row.options("choices")
    return Sample(
        id=name,
        question=row.text("question"),
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=row.gold_letter("answer", options=choices) if choices else row.gold_text("answer"),
        categories=_categories(row, choices),
        cluster=row.optional_text("picture") or name,
    )


def _categories(row: Row, choices: Sequence[str]) -> dict[str, tuple[str, ...]]:
    fields = {
        "question_type": "multi_choice" if choices else "free_form",
        "level": row.get("level"),
        "subject": row.optional_text("subject", "category"),
    }
    return {name: (str(value),) for name, value in fields.items() if value is not None}


# Prompts


def official_qwen_vl(one: Sample) -> list[Message]:
    """The authors' text for Qwen-VL; options that are just letters are left out."""
    options = "" if one.choices == BARE_OPTIONS else _options(one)
    return _after_picture(one, f"{QWEN_VL}\n{one.question}\n{options}")


def official_gpt4v(one: Sample) -> list[Message]:
    """The authors' text for GPT-4V."""
    return _after_picture(one, f"{GPT4V}\n{one.question}\n{_options(one)}")


def official_gemini_cot(one: Sample) -> list[Message]:
    """The authors' text for Gemini with chain of thought."""
    return _after_picture(one, f"{GEMINI_COT}\n{one.question}\n{_options(one)}")


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's text, whose last sentence contradicts its first for multiple choice."""
    options = "\n".join(f"{letter}. {text}" for letter, text in lettered(one.choices).items())
    tail = f"\nChoices: {options}\n{LMMS_CHOICE}" if one.choices else ""
    return _after_picture(one, f"{LMMS_EVAL}{one.question}{tail}")


def question_only(one: Sample) -> list[Message]:
    """The question alone, as VLMEvalKit sends it (whether its table repeats the choices there is unverified)."""
    return _after_picture(one, one.question)


def _options(one: Sample) -> str:
    return "".join(f"({letter}) {text}\n" for letter, text in lettered(one.choices).items())


def _after_picture(one: Sample, text: str) -> list[Message]:
    return [Message.user(*one.media, text)]


# Scoring


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy, and the lines of the official script: all, levels, subjects, and their crosses."""
    correct: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for one in scored:
        if one.score.value is not None:
            keys = _keys(one.sample) if protocol != "vlmevalkit" else _vlmevalkit_keys(one.sample)
            total.update(keys)
            correct.update(keys if one.score.value >= 1 else ())
    official = {key: _printed(correct[key], total[key]) for key in sorted(total)}
    return replace(summarise(scored), official=official)


def _keys(one: Sample) -> list[str]:
    level, subject = (one.categories.get(name, ("",))[0] for name in ("level", "subject"))
    keys = ["-all"]
    keys += [f"-level{level}"] if level else []
    keys += [subject] if subject else []
    return keys + ([f"{subject}_level{level}", f"-level{level}_{subject}"] if level and subject else [])


def _vlmevalkit_keys(one: Sample) -> list[str]:
    return ["Overall", *one.categories.get("subject", ())]


def _printed(correct: int, total: int) -> str:
    return f"{correct}/{total}={round(correct / total * 100, 2)}%"


TASK = Task(
    name="mathvision",
    title="MathVision",
    group_title="Math",
    doc=__doc__ or "",
    repos=("MathLLMs/MathVision",),
    licence="MIT",
    modality="image",
    access="open",
    other_names=(
        OtherName("lmms-eval", "mathvision_test", "test"),
        OtherName("lmms-eval", "mathvision_testmini", "testmini"),
        OtherName("VLMEvalKit", "MathVision_MINI", "testmini"),
    ),
    splits={"test": Split(rows=3040), "testmini": Split(rows=304, note="a subset of test")},
    default_split="test",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub": ("id", "question", "options", "image", "decoded_image", "answer", "solution", "level", "subject"),
            "JSON Lines of the authors' repository": (
                *("id", "question", "options", "image", "answer", "solution", "level", "subject"),
            ),
            "VLMEvalKit TSV": ("index", "question", "choices", "answer", "category", "image"),
            "golden": ("id", "question_type", "options", "answer", "level", "subject"),
        },
        files=(
            "test-*.parquet, testmini-*.parquet (hub)",
            "test.jsonl, testmini.jsonl with images/ beside them (the authors' repository)",
            "MathVision.tsv, MathVision_MINI.tsv (VLMEvalKit)",
        ),
        count={
            "test": {
                "question_type=multi_choice": 1532,
                "question_type=free_form": 1508,
                **{f"level={level}": n for level, n in zip(range(1, 6), (237, 738, 551, 830, 684), strict=True)},
                **{
                    "subject=metric geometry - area": 500,
                    "subject=metric geometry - length": 449,
                    "subject=algebra": 345,
                },
                **{"subject=combinatorial geometry": 308, "subject=solid geometry": 244},
                **{"subject=metric geometry - angle": 173, "subject=transformation geometry": 168},
                **{"subject=combinatorics": 168, "subject=arithmetic": 140, "subject=logic": 119},
                **{"subject=descriptive geometry": 104, "subject=graph theory": 90, "subject=analytic geometry": 84},
                **{"subject=counting": 67, "subject=statistics": 58, "subject=topology": 23},
            },
            "testmini": {
                "question_type=multi_choice": 190,
                "question_type=free_form": 114,
                **{f"level={level}": n for level, n in zip(range(1, 6), (53, 82, 56, 45, 68), strict=True)},
            },
        },
    ),
    prompts={
        "official_qwen_vl": Prompt(official_qwen_vl, "boxed"),
        "official_gpt4v": Prompt(official_gpt4v, "boxed"),
        "official_gemini_cot": Prompt(official_gemini_cot, "boxed"),
        "lmms_eval": Prompt(lmms_eval, "boxed"),
        "vlmevalkit": question_only,
    },
    default_prompt="official_qwen_vl",
    wanted=("letter", "text"),
    prompt_evidence="the report names no prompt; this is the authors' own for an open model",
    protocols={
        "official": Protocol(
            score=score_official,
            notes=(
                "the thought is split off first; an answer of which nothing is left is no_answer",
                "equality by our own evaluator of LaTeX arithmetic, to two decimals; equations have no value",
                r"`\boxed{\text{Sunday}}` keeps its braces and matches nothing: the authors' rule",
            ),
            evidence="unknown: the report names no scorer; this is the benchmark's only one",
        ),
        READER: Protocol(
            score=score_reader,
            notes=(*READER_NOTES, "a letter, or the text of the answer, goes into the authors' equality"),
        ),
        "official-exact": Protocol(score=score_exact, notes=("as official; an empty answer is wrong",)),
        "vlmevalkit": Protocol(
            score=score_vlmevalkit,
            label="vlmevalkit-rule",
            notes=(
                "its judge is left out: choices count where its matcher finds a letter, free answers only as a whole",
                "only the letter counts, not the option's value; numbers are equal within 1e-6, so 0.33 is not 1/3",
            ),
        ),
        "lmms-eval": Protocol(
            score=score_exact,
            notes=("a copy of the authors' rules, faults included: same verdicts; its prompt differs",),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mathvision"),
    groups=("math", "table3", "thinking"),
    view=TaskView(beside=(READER,)),
    mini="mathvision",
    max_new_tokens=4096,
)
