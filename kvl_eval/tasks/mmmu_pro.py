"""MMMU-Pro: MMMU's hardest questions with up to twelve options, and the same as pictures of the whole question.

Data:    hub MMMU/MMMU_Pro, configurations `standard (10 options)` and `vision`, split test, 1730 questions each; or
         VLMEvalKit's MMMU_Pro_10c.tsv and MMMU_Pro_V.tsv
Prompt:  the authors' step-by-step prompt; pictures stand where their tags stand
Metric:  accuracy over all questions, by subject and domain. The published result is the mean of the two sets
Scorer:  the reader; beside it MMMU-Benchmark/MMMU mmmu-pro/evaluate.py @ bb0b95a, without its draw
Report:  Kimi-VL (arXiv 2504.07491 v3), Table 4, row MMMU-Pro; the Thinking-2506 model card
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from kvl_eval.cells import LETTERS, list_or_text
from kvl_eval.scorers.aggregate import plain_sum, summarise
from kvl_eval.scorers.mmmu_pro import listed_letter, official_letter, vlmevalkit_cot, whole_reply
from kvl_eval.scorers.option_letter import NO_LETTER, inferred_score, letter_score, undecided
from kvl_eval.scorers.reader_protocol import reader_letter, without_answer
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import IMAGE_COLUMNS, pictured_samples, sample_maker
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
    OtherName,
    Prompt,
    PromptFunction,
    Protocol,
    Reference,
    Split,
    Task,
    TaskData,
    TaskView,
    reader_protocol,
)
from kvl_eval.tasks.choices import (
    image_tags,
    interleaved,
    one_label,
    option_lines,
    picture,
    row_id,
)
from kvl_eval.tasks.mmmu import DOMAIN_OF, DOMAINS
from kvl_eval.types import ImageRef, Message, Sample, Scored, Summary

NESTED = ()  # validation_Accounting_29 holds its options as a list in a list, and is scored as the authors read it
KEPT = (
    *("id", "index", "row", "question", "options", "choices", "answer", "img_type", "topic_difficulty", "subject"),
    *("category", "picture", *LETTERS),
)
LAST_LINE = (
    "The last line of your response should be of the following format: 'Answer: $LETTER' (without quotes) where "
    "LETTER is one of options."
)
DIRECT = "Answer with the option letter from the given choices directly."
STEPS = f"{LAST_LINE} Think step by step before answering."
VLM_DIRECT = "Answer directly with the option letter from the given choices. "
VLM_STEPS = STEPS.replace("one of options", "one of the options") + " "
IN_IMAGE = "Answer the following multiple-choice question in the image. "


# Loading


def load(
    configs: Mapping[str, str], stem: str, source: Source, split: str, reporter: Reporter = STRICT
) -> Iterator[Sample]:
    """The samples of one configuration in the data set's order, pictures unopened. Raises: DataError."""
    required = ("id|index", "options|A")
    tables = Tables(task="mmmu-pro", config=configs[split], stems=(stem,), required=required)
    rows = read_rows(source, "test", tables, reporter)
    yield from pictured_samples(rows, _sample, source, reporter, texts=())


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    name = row_id(row, "id", "index")
    choices = row.required_options()
    subject = (row.text("subject", "category") or "_".join(name.split("_")[1:-1])).replace(" ", "_")
    labels = one_label(subject=subject, domain=DOMAIN_OF.get(subject), difficulty=row.get("topic_difficulty"))
    kinds = row.get("img_type")
    if isinstance(kinds, str):
        labels["image_type"] = list_or_text(kinds)
    return Sample(
        id=name,
        question=row.text("question"),
        row=row.keep(KEPT),
        media=media,
        choices=choices,
        answers=row.gold_letter("answer", options=choices if len(choices) > 1 else NESTED),
        categories={**labels, "options": (str(len(choices)),)},
        cluster=row.optional_text("picture"),
    )


sample = sample_maker(_sample)


# Prompts


def official(suffix: str, one: Sample) -> list[Message]:
    """The authors' question, options and instruction."""
    return [Message.user(*interleaved(one, f"{one.question}\n{option_lines(one.choices)}{suffix}"))]


def lmms_eval(suffix: str, one: Sample) -> list[Message]:
    """lmms-eval: the tagged pictures in numeric order, then text that keeps its tags, a blank line before the end."""
    text = f"{one.question}\n{option_lines(one.choices)}\n{suffix}"
    tags = sorted(image_tags(text))
    return [Message.user(*(picture(one, number) for number in tags), *(() if tags else one.media), text)]


def vlmevalkit(suffix: str, one: Sample) -> list[Message]:
    """VLMEvalKit's question and options, pictures at their tags, and its instruction."""
    return [Message.user(*interleaved(one, f"Question: {one.question}\nOptions:\n{option_lines(one.choices)}{suffix}"))]


def seen(text: str, one: Sample) -> list[Message]:
    """The picture of the whole question, and an instruction."""
    return [Message.user(*one.media, text)]


def _last_line(write: Callable[[str, Sample], list[Message]], instruction: str) -> Prompt:
    return Prompt(partial(write, instruction), "answer_line")


def _letter(write: Callable[[str, Sample], list[Message]], instruction: str) -> Prompt:
    return Prompt(partial(write, instruction), "letter")


STANDARD_PROMPTS: dict[str, PromptFunction] = {
    "official_cot": _last_line(official, f"Answer the preceding multiple choice question. {STEPS}"),
    "official_direct": _letter(official, DIRECT),
    "lmms_eval_cot": _last_line(lmms_eval, f"Answer the following multiple choice question. {STEPS}"),
    "lmms_eval_direct": _letter(lmms_eval, DIRECT),
    "vlmevalkit_cot": _last_line(vlmevalkit, f"Answer the following multiple-choice question. {VLM_STEPS}"),
    "vlmevalkit_direct": _letter(vlmevalkit, VLM_DIRECT),
}
VISION_PROMPTS: dict[str, PromptFunction] = {
    "official_cot": _last_line(seen, f"Write out the multiple-choice question in the image and then solve it. {STEPS}"),
    "official_direct": _last_line(seen, f"{DIRECT} {LAST_LINE}"),
    "vlmevalkit_cot": _last_line(seen, IN_IMAGE + VLM_STEPS),
    "vlmevalkit_direct": _letter(seen, IN_IMAGE + VLM_DIRECT),
}


# Scoring


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy in percent as the authors print it, by domain and subject; how many replies had no letter, and the luck.

    The luck is what guessing those would be expected to add.
    """
    plain = summarise(scored)
    if plain.score is None:
        return plain
    subjects = plain.categories.get("subject", {})
    official = {"Overall": f"{100 * plain.score:.2f}"}
    for domain, members in DOMAINS.items():
        if domain in plain.categories.get("domain", {}):
            official[domain] = f"{100 * plain.categories['domain'][domain].score:.2f}"
            official |= {name: f"{100 * subjects[name].score:.2f}" for name in members if name in subjects}
    unread = without_answer(scored, None if protocol == READER else NO_LETTER)
    luck = plain_sum(1 / len(one.choices) for one in unread if one.choices)
    return summarise(
        scored,
        {**official, "replies without a letter": str(len(unread)), "expected right by guessing": f"{luck:.3f}"},
    )


_NO_GUESS = "a reply without a letter is wrong (no_answer) instead of a random one, drawn without a seed"
_ANYWHERE = "after the last `Answer:` one option letter anywhere counts: `Answer: Insufficient` is an I"


def _protocols(vision: bool) -> dict[str, Protocol]:
    lmms = letter_score(whole_reply if vision else listed_letter)
    return {
        READER: reader_protocol(reader_letter()),
        "official": Protocol(
            score=letter_score(official_letter),
            notes=("the thought is split off first", _NO_GUESS, _ANYWHERE),
            evidence="unknown: the report names no scorer",
        ),
        "official-exact": Protocol(
            score=letter_score(official_letter),
            notes=("the same as official: the script's draws have no seed and cannot be replayed", _NO_GUESS),
        ),
        "vlmevalkit": Protocol(
            score=letter_score(vlmevalkit_cot, unread=undecided, method="can_infer"),
            label="vlmevalkit-rule",
            notes=("what its matcher leaves undecided goes to a judge there, and is no_answer here",),
        ),
        "vlmevalkit-direct": Protocol(
            score=inferred_score,
            label="vlmevalkit-direct-rule",
            notes=("the matcher over the whole reply, as for its runs without reasoning",),
        ),
        "lmms-eval": Protocol(
            score=lmms,
            notes=("compares the whole reply with the letter" if vision else "without the step after `Answer:`",),
        ),
    }


STANDARD_COLUMNS = (
    *("id", "question", "options", *IMAGE_COLUMNS),
    *("img_type", "answer", "topic_difficulty", "subject"),
)


def _task(
    name: str,
    title: str,
    configs: Mapping[str, str],
    stem: str,
    splits: Mapping[str, Split],
    other_names: tuple[OtherName, ...],
) -> Task:
    vision = name.endswith("vision")
    return Task(
        name=name,
        title=title,
        group_title="College-level",
        doc=__doc__ or "",
        repos=("MMMU/MMMU_Pro",),
        licence="Apache-2.0",
        modality="image" if vision else "images",
        access="open",
        other_names=other_names,
        splits=splits,
        default_split="test",
        load=partial(load, configs, stem),
        sample=sample,
        data=TaskData(
            row_layouts={
                "hub": ("id", "image", "options", "answer", "subject") if vision else STANDARD_COLUMNS,
                "VLMEvalKit TSV": ("index", "image", "question", "A ... L", "answer", "category"),
                "golden": ("id", "subject", "question", "options", "answer"),
            },
            files=(
                *(f"{config}/test-*.parquet (hub copy)" for config in configs.values()),
                f"{stem}.tsv (VLMEvalKit)",
            ),
            count={"test": {"rows": 1730}},
        ),
        prompts=VISION_PROMPTS if vision else STANDARD_PROMPTS,
        default_prompt="official_cot",
        wanted=("letter",),
        prompt_evidence="the authors' own; the report names no prompt",
        protocols=_protocols(vision),
        default_protocol=READER,
        view=TaskView(beside=(OFFICIAL,)),
        aggregate=aggregate,
        reference=Reference(benchmark="mmmu_pro", mean_of=("mmmu-pro", "mmmu-pro-vision")),
        groups=("thinking",),
        mini=name,
        max_new_tokens=4096,
    )


MMMU_PRO = _task(
    "mmmu-pro",
    "MMMU-Pro (standard)",
    {"test": "standard (10 options)", "4-options": "standard (4 options)"},
    "MMMU_Pro_10c",
    {"test": Split(rows=1730), "4-options": Split(rows=1730, note="not among the published results")},
    (
        OtherName("lmms-eval", "mmmu_pro_standard", "test"),
        OtherName("VLMEvalKit", "MMMU_Pro_10c", "test"),
        OtherName("VLMEvalKit", "MMMU_Pro_10c_COT", "test"),
    ),
)
MMMU_PRO_VISION = _task(
    "mmmu-pro-vision",
    "MMMU-Pro (vision)",
    {"test": "vision"},
    "MMMU_Pro_V",
    {"test": Split(rows=1730)},
    (OtherName("VLMEvalKit", "MMMU_Pro_V"), OtherName("VLMEvalKit", "MMMU_Pro_V_COT")),
)
