"""MMStar: 1500 multiple-choice questions that cannot be answered without the picture, 250 of each of six abilities.

Data:    hub Lin-Chen/MMStar, config and split val; or VLMEvalKit's MMStar.tsv
Prompt:  question and options, and the step-by-step instruction of VLMEvalKit's Kimi-VL class
Metric:  right answers over all questions, by ability and by its three axes
Scorer:  the reader; beside it the authors' own, which looks at the first letter
Source:  MMStar-Benchmark/MMStar eval/vlmeval/evaluate/mmstar.py @ 88f243a; VLMEvalKit @ e8e78f0; lmms-eval @ 75571cf
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row MMStar; the Thinking-2506 model card
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from kvl_eval.scorers.aggregate import plain_sum, summarise
from kvl_eval.scorers.option_letter import inferred_score, letter_score, ranked_letter
from kvl_eval.scorers.reader_protocol import reader_letter
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
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
    SELECT,
    STEP_BY_STEP,
    one_label,
    option_lines,
    row_id,
    split_options,
    vlmevalkit_text,
)
from kvl_eval.types import CategoryScore, ImageRef, Message, Sample, Scored, Summary

AXES = {
    "coarse perception": {"image scene and topic": 141, "image style & quality": 78, "image emotion": 31},
    "fine-grained perception": {"object counting": 92, "recognition": 118, "localization": 40},
    "instance reasoning": {
        "single-instance reasoning": 99,
        "cross-instance attribute reasoning": 89,
        "cross-instance relation reasoning": 62,
    },
    "logical reasoning": {"code & sequence reasoning": 39, "diagram reasoning": 110, "common reasoning": 101},
    "science & technology": {
        "biology & chemistry & physics": 146,
        "electronics & energy & mechanical eng.": 46,
        "geography & earth science & agriculture": 58,
    },
    "math": {"geometry": 116, "numeric commonsense and calculation": 48, "statistical reasoning": 86},
}
ABILITY_ROWS, ROWS = 250, 1500  # the official script divides by these, whatever was answered
KEPT = (
    *("index", "id", "row", "question", "choices", "A", "B", "C", "D", "answer", "category", "l2_category"),
    *("l2-category", "picture"),
)
WITHOUT_TEXT = ("",) * 4  # the letters A to D, where a row has no options
_HINTED = re.compile(r"(?:Hint: [^\n]*\n)?Question: (?P<question>.*?)\nChoices:\n(?P<choices>.*)", re.DOTALL)
LMMS_SUFFIX = "\nAnswer with the option's letter from the given choices directly"


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, pictures unopened. Raises: DataError."""
    tables = Tables(task="mmstar", config="val", stems=("MMStar", "mmstar"), required=("question", "answer"))
    yield from pictured_samples(read_rows(source, split, tables, reporter), _sample, source, reporter)


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    question = row.text("question")
    choices = row.options() or _parts(question)[1] or WITHOUT_TEXT
    return Sample(
        id=row_id(row, "index", "id"),
        question=question,
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=row.gold_letter("answer", options=choices),
        categories=one_label(ability=row.get("category"), axis=row.optional_text("l2_category", "l2-category")),
        cluster=row.optional_text("picture"),
    )


def _parts(text: str) -> tuple[str, tuple[str, ...]]:
    """The bare question, and the options that the hub's text ends in: in 7 of the 1,500 rows there are none.

    1,154 rows end in a line `Options: A: red, B: blue, C: green`; 339 are `Question: ..`, most with a hint before it,
    and end in `Choices:` with a line `(A) red` for each.
    """
    before, mark, listed = text.rpartition("\nOptions: A: ")
    if mark:
        return before, split_options(f", A: {listed}", ", {}: ")[1]
    asked = _HINTED.fullmatch(text)
    if asked is None:
        return text, ()
    return asked["question"].strip(), split_options("\n" + asked["choices"].strip(), "\n({}) ")[1]


sample = sample_maker(_sample)


# Prompts


def kimi_cot(one: Sample) -> list[Message]:
    """VLMEvalKit's question and options, and its Kimi-VL class's instruction in place of the general one."""
    text = vlmevalkit_text(one, _bare(one)).replace(SELECT, "")
    return [Message.user(*one.media, text + STEP_BY_STEP)]


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's question, options and general instruction."""
    return [Message.user(*one.media, vlmevalkit_text(one, _bare(one)))]


def lmms_eval(one: Sample) -> list[Message]:
    """The question with its options inside, and the request for a letter."""
    question = one.question
    if _bare(one) == question and any(one.choices):
        question += "\nOptions: " + ", ".join(option_lines(one.choices).replace(". ", ": ").splitlines())
    return [Message.user(*one.media, question + LMMS_SUFFIX)]


def _bare(one: Sample) -> str:
    """The question without the options that the hub's text holds."""
    return _parts(one.question)[0]


# Scoring


def official_letter(one: Sample, reply: str) -> str | None:
    """The letter that the reply begins with, as `B`, `(B`, `option B` or `the answer is B`, be it part of a word.

    So `A photo of` is an A, `Both` a B, and `**B**` and `Answer: B` are nothing.
    """
    del one
    text = reply.lower().strip()
    for opening in ("", "(", "option ", "the answer is "):
        letter = text.removeprefix(opening)[:1].replace("\n", " ")
        if text.startswith(opening) and letter in ("a", "b", "c", "d"):
            return letter.upper()
    return None


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Share of right answers, and the figures as the protocol's own script names them."""
    plain = summarise(scored)
    if plain.score is None:
        return plain
    exact = protocol == "official-exact"
    right = sum(one.score.value or 0 for one in scored)
    axes = plain.categories.get("axis", {})
    official: dict[str, str] = {}
    if protocol == "lmms-eval":
        official = _unweighted(axes)
    else:
        official["final score"] = str(right / ROWS if exact else plain.score)
        for ability, group in plain.categories.get("ability", {}).items():
            official[ability] = str(group.score * group.n / ABILITY_ROWS if exact else group.score)
            for axis, rows in AXES.get(ability, {}).items():
                if axis in axes:
                    part = axes[axis]
                    official[f"{ability}({axis})"] = str(part.score * part.n / rows if exact else part.score)
    return Summary(score=plain.score, official=official, categories=plain.categories)


def _unweighted(axes: Mapping[str, CategoryScore]) -> dict[str, str]:
    """lmms-eval's values: means of the axes, each counting the same whatever its size."""
    present = {name: [axes[axis].score for axis in parts if axis in axes] for name, parts in AXES.items()}
    found = {name: str(plain_sum(values) / len(values)) for name, values in present.items() if values}
    every = [value for values in present.values() for value in values]
    return found | ({"average": str(plain_sum(every) / len(every))} if every else {})


def _lmms_letter(one: Sample, reply: str) -> str | None:
    del one
    return ranked_letter(reply, "ABCD")


_FIRST = "the reply's first letter counts, be it part of a word; a sentence that names its letter later is wrong"

TASK = Task(
    name="mmstar",
    title="MMStar",
    group_title="General",
    doc=__doc__ or "",
    repos=("Lin-Chen/MMStar",),
    licence="not stated in the authors' repository",
    modality="image",
    access="open",
    splits={"val": Split(rows=ROWS)},
    default_split="val",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "hub": ("index", "question", "image", "answer", "category", "l2_category", "meta_info"),
            "VLMEvalKit TSV": ("index", "image", "question", "A ... D", "answer", "category", "l2_category"),
            "golden": ("id", "index", "question", "choices", "answer", "category", "l2_category"),
        },
        files=("mmstar.parquet or val-*.parquet (hub copy)", "MMStar.tsv (VLMEvalKit)"),
        count={
            "val": {
                **{f"ability={ability}": ABILITY_ROWS for ability in AXES},
                **{f"axis={axis}": rows for parts in AXES.values() for axis, rows in parts.items()},
            }
        },
    ),
    prompts={
        "kimi_cot": Prompt(kimi_cot, "boxed"),
        "vlmevalkit": vlmevalkit,
        "lmms_eval": Prompt(lmms_eval, "letter"),
    },
    default_prompt="kimi_cot",
    wanted=("letter",),
    prompt_evidence=(
        "the report names no prompt; VLMEvalKit's Kimi-VL class carries this instruction for MMStar, and another "
        "prompt was measured to cost ten points"
    ),
    protocols={
        READER: reader_protocol(reader_letter()),
        "vlmevalkit": Protocol(
            score=inferred_score,
            label="vlmevalkit-rule",
            notes=("a reply that its matcher leaves undecided goes to a judge there, and is no_answer here",),
        ),
        "official": Protocol(score=letter_score(official_letter), notes=("the thought is split off first", _FIRST)),
        "official-exact": Protocol(
            score=letter_score(official_letter),
            notes=(_FIRST, "its figures divide by 250 and 1500, whatever part was answered"),
        ),
        "lmms-eval": Protocol(
            score=letter_score(_lmms_letter, method="ranked"),
            notes=("abilities and `average` are unweighted means of axes; the score is the mean over questions",),
        ),
    },
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    aggregate=aggregate,
    reference=Reference(benchmark="mmstar"),
    groups=("table3",),
    mini="mmstar",
    max_new_tokens=4096,
)
