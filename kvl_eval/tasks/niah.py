"""Needle in a haystack, text and video, to 131,072 tokens: is one code found wherever it lies in a long prompt?

Data:    generated here, nothing to download: design `kvl-niah 1`, seven bins of length, depths 0 to 100, seeded
Prompt:  the haystack (a text, or frames in order), and the question for the code of one key
Metric:  recall: the share of replies that hold the hidden number; by bin, length and depth
Scorer:  exact comparison of runs of digits (kvl_eval/scorers/needle.py)
Source:  our own design after gkamradt/LLMTest_NeedleInAHaystack @ 7b90d285 and EvolvingLMMs-Lab/LongVA @ f4c8781d; the
         report does not name haystack, needle, question or matching rule, so only the form compares
Report:  Kimi-VL (arXiv 2504.07491), Table 2: recall by length of the haystack

Lengths are tokens of the model's own tokenizer, haystack alone; 512 tokens of the longest ones are left for template,
question and answer. A frame of the video takes ceil(W/28) * ceil(H/28) tokens and the four marks around it. The code
stands on a banner, as text, so that it can be compared exactly: easier than a natural scene. `--data-version` changes
the design: `max-length=8192` leaves out longer bins; `width=448,height=448`, `distractors=3`, `reps=2`, `seed=7`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import plain_sum, summarise
from kvl_eval.scorers.needle import is_exact, is_recalled, numbers
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import Measure, Protocol, Reference, Split, Task, TaskData, TaskView
from kvl_eval.tasks.haystack import (
    CONTEXT,
    Design,
    NeedleCell,
    bin_of,
    grid,
    haystack,
    most_sentences,
    needle,
    target_of,
)
from kvl_eval.types import DrawnFrame, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

BIN, LENGTH, DEPTH = "haystack_tokens", "length", "depth"  # categories
MOST_FRAMES, MOST_SIDE, MOST_DISTRACTORS = 100_000, 16_384, 1_000  # of a row: each becomes a loop or an image
QUESTION = "What is the secret code of {key}? Answer with the number only."
SEEN = "One frame of this video shows a banner with a secret code. " + QUESTION
PROMPT = "Read the following text and answer the question at the end.\n\n<text>\n{haystack}\n</text>\n\n"


# -- samples ----------------------------------------------------------------------------------------------------


def load(
    source: Source, split: str, reporter: Reporter = STRICT, *, kind: str, count: Measure | None = None
) -> Iterator[Sample]:
    """The cells of a split, or those that a folder lists, as samples; frames undrawn.

    Args:
        kind:  `text` or `video`.
        count: text -> tokens of the model; without one a text haystack has no length yet, and no prompt.
    Raises: ConfigError, for a data version that describes no haystack; DataError.
    """
    design = Design.of(source.version)
    guesses: dict[int, int] = {}
    for length, depth, rep in _cells(source, split, design, kind, reporter):
        case, target = f"{kind}/{length}/{depth}/{rep}", target_of(length)
        row: dict[str, object] = {
            "case": case,
            "length": length,
            "depth": depth,
            "rep": rep,
            "seed": design.seed,
            "target": target,
        }
        if kind == "video":
            row |= _film(target, depth, design)
        else:
            row["distractors"] = design.distractors
            if count is not None:
                sentences, tokens = _counted(
                    case, target, design.seed, design.distractors, count, guesses.get(target, 0)
                )
                row |= {"sentences": sentences, "tokens": tokens}
                guesses[target] = sentences
        yield to_sample(Row(row))


def _cells(source: Source, split: str, design: Design, kind: str, reporter: Reporter) -> Iterator[NeedleCell]:
    if source.data_dir is None:
        yield from grid(split, design)
        return
    tables = Tables(task=f"niah-{kind}", required=("length", "depth", "rep"), stems=("cells",))
    for row in read_rows(source, split, tables, reporter):
        length, depth, rep = (row.required_integer(name) for name in ("length", "depth", "rep"))
        if not (0 < length <= CONTEXT and 0 <= depth <= 100 and rep >= 0):
            raise DataError(
                "data.field",
                f"niah-{kind}: no cell of length {length}, depth {depth}, rep {rep}",
                where=row.where,
                why=f"lengths are 1 to {CONTEXT}, depths 0 to 100, reps count from 0",
            )
        if length <= design.max_length:
            yield length, depth, rep


def _film(target: int, depth: int, design: Design) -> dict[str, object]:
    frames = max(1, target // design.frame_tokens)
    return {
        "width": design.width,
        "height": design.height,
        "frames": frames,
        "needle_frame": depth * (frames - 1) // 100,
        "tokens": frames * design.frame_tokens,
    }


@lru_cache(maxsize=1000)
def _counted(case: str, target: int, seed: int, distractors: int, count: Measure, guess: int) -> tuple[int, int]:
    """Sentences and tokens of a haystack, counted once however often the data is read."""
    _, _, depth, rep = case.split("/")
    codes = needle(case, seed, distractors)
    text_of = partial(haystack, depth=int(depth), codes=codes, seed=seed, rep=int(rep))
    return most_sentences(count, target, text_of, guess)


def to_sample(row: Row) -> Sample:
    """A row of ours, or of the vectors of this design (`key`, `value`, `distractor_values`), as a sample."""
    if "case" not in row:
        return _given(row)
    case, length = row.required_text("case"), row.required_integer("length")
    key, value = _codes(row)[0]
    is_video = case.startswith("video/")
    try:
        haystack_bin = bin_of(length)
    except ValueError as error:
        raise row.fault("length", str(error)) from None
    return Sample(
        id=case,
        question=(SEEN if is_video else QUESTION).format(key=key),
        row=dict(row.values),
        media=_frames(row, key, value) if is_video else (),
        answers=(value,),
        categories={BIN: (haystack_bin,), LENGTH: (str(length),), DEPTH: (str(row.required_integer("depth")),)},
    )


def _codes(row: Row) -> list[tuple[str, str]]:
    """Key and value of the needle, then of the distractors."""
    distractors = row.integer("distractors", most=MOST_DISTRACTORS) or 0
    return needle(row.required_text("case"), row.required_integer("seed"), distractors)


def _frames(row: Row, key: str, value: str) -> tuple[ImageRef, ...]:
    frame = DrawnFrame(
        seed=row.required_integer("seed"),
        rep=row.required_integer("rep"),
        index=0,
        width=row.required_integer("width", most=MOST_SIDE),
        height=row.required_integer("height", most=MOST_SIDE),
    )
    banner = {row.required_integer("needle_frame"): ("SECRET CODE", key, value)}
    return tuple(
        ImageRef(name=f"frame {index}", drawn=replace(frame, index=index, banner=banner.get(index, ())))
        for index in range(row.required_integer("frames", most=MOST_FRAMES))
    )


def _given(row: Row) -> Sample:
    """A needle alone, for scoring: its key, value and the distractors' values, in the row or below `inputs`."""
    inputs = Row(row.mapping("inputs") or row.values, row.where)
    key, value, name = inputs.text("key"), inputs.text("value"), row.optional_text("id")
    if not key or not value or name is None:
        raise DataError("data.field", "niah: a row has no case, and no id, key and value", where=row.where)
    wrong = list(inputs.items("distractor_values"))
    return Sample(
        id=name,
        question=QUESTION.format(key=key),
        row={"id": row.get("id"), **inputs.keep(("key", "value")), "distractor_values": wrong},
        answers=(value,),
    )


# -- prompts ----------------------------------------------------------------------------------------------------


def text_prompt(one: Sample) -> list[Message]:
    """The text between its tags, and the question. Raises: DataError, for a haystack that was never measured."""
    row = one.columns
    if "sentences" not in row:
        raise DataError(
            "data.unmeasured",
            f"{one.id}: the haystack has no length",
            why="it is cut by the tokenizer of the model that a run names",
            fix="`kvl-eval run --dry-run` plans it with a model",
        )
    sentences = row.required_integer("sentences", most=CONTEXT)
    depth, seed, rep = (row.required_integer(name) for name in ("depth", "seed", "rep"))
    text = haystack(sentences, depth, _codes(row), seed, rep)
    return [Message.user(PROMPT.format(haystack=text) + one.question)]


def video_prompt(one: Sample) -> list[Message]:
    """All frames in order, and the question."""
    return [Message.user(*one.media, one.question)]


# -- scores -----------------------------------------------------------------------------------------------------


def recall(one: Sample, reply: str, extraction: Extraction) -> Score:
    """1 if the reply holds the needle's value and no distractor's."""
    found = numbers(extraction if isinstance(extraction, str) else reply)
    if not found:
        return Score.no_answer("no number", method="digits")
    return Score.of(float(is_recalled(found, one.answers[0], _distractors(one))), found, "digits")


def exact(one: Sample, reply: str, extraction: Extraction) -> Score:
    """1 if the reply is the needle's value and nothing else."""
    told = extraction if isinstance(extraction, str) else reply
    found = numbers(told)
    if not found:
        return Score.no_answer("no number", method="exact")
    return Score.of(float(is_exact(told, one.answers[0])), found, "exact")


def _distractors(one: Sample) -> list[str]:
    if "case" not in one.row:
        return list(one.columns.items("distractor_values"))
    return [value for _, value in _codes(one.columns)[1:]]


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Recall over all runs, by bin, length and depth; beside it the mean over bins. A bin without runs is absent."""
    del protocol
    plain = summarise(scored)
    bins = plain.categories.get(BIN, {})
    official = {"design": design} if (design := _told(one.sample.row for one in scored)) else {}
    for name, one in bins.items():
        official[f"recall {name}"] = f"{100 * one.score:.1f} ({round(one.n * one.score)} of {one.n})"
    if bins:
        official["mean over bins"] = f"{100 * plain_sum(one.score for one in bins.values()) / len(bins):.1f}"
    return replace(plain, official=official)


def _told(rows: Iterable[Mapping[str, object]]) -> str:
    """What runs have in common, in words; empty for needles that were given."""
    facts = {
        (
            row["seed"],
            f"frames {row['width']} x {row['height']}" if "width" in row else f"{row['distractors']} distractors",
        )
        for row in rows
        if "case" in row
    }
    return "; ".join(f"kvl-niah 1, seed {seed}, {rest}" for seed, rest in sorted(facts))


# -- the tasks --------------------------------------------------------------------------------------------------

_DESIGN = "design kvl-niah 1, not the report's own haystack, which is unpublished"
_PROTOCOLS = {
    "official": Protocol(
        score=recall,
        label="kvl-niah 1",
        notes=(
            _DESIGN,
            "numbers may be grouped by a comma, `_`, `'` or a blank; digits glued to others do not count",
            "a number given beside the right one does no harm, unless it is a distractor's",
        ),
        evidence="the caption of Table 2 says recall accuracy, and no more",
    ),
    "exact": Protocol(
        score=exact,
        label="kvl-niah 1 exact",
        notes=(_DESIGN, "the reply must be the number alone, marks of emphasis and a final dot apart"),
        evidence="none; stricter than the report's words",
    ),
}


FILES = ("nothing: haystacks are generated", "cells.parquet, .jsonl or .json (length, depth, rep): other cells")
CELL = ("case", "length", "depth", "rep", "seed", "target")  # columns of every haystack
GOLDEN = ("id", "inputs (key, value, distractor_values)")


def _task(kind: str, **own: Any) -> Task:
    return Task(
        name=f"niah-{kind}",
        title=f"Needle in a haystack, {kind}",
        group_title="",
        doc=__doc__ or "",
        repos=(),
        licence="generated by this project, as the project itself",
        access="none",
        download_bytes=0,
        download_source="nothing is downloaded: haystacks are generated",
        splits={
            "full": Split(rows=308, note="four lengths a bin, eleven depths"),
            "quick": Split(rows=35, note="the longest of each bin, five depths"),
        },
        default_split="full",
        load=partial(load, kind=kind),
        sample=from_values(to_sample),
        default_prompt="plain",
        prompt_evidence="our own words; the report names none",
        protocols=_PROTOCOLS,
        aggregate=aggregate,
        reference=Reference(benchmark=f"niah_{kind}", by=BIN),
        groups=("needle",),
        view=TaskView(heatmap=(DEPTH, LENGTH)),
        mini="niah",
        max_new_tokens=32,
        **own,
    )


def text_task(count: Measure | None = None) -> Task:
    """The text haystack, measured by `count` where the model is known."""
    task = _task(
        "text",
        modality="text",
        prompts={"plain": text_prompt},
        data=TaskData(
            files=FILES,
            row_layouts={"own": (*CELL, "distractors", "sentences", "tokens"), "golden": GOLDEN},
            has_media=False,
            measured=text_task,
        ),
    )
    return task if count is None else replace(task, load=partial(load, kind="text", count=count))


TEXT = text_task()
VIDEO = _task(
    "video",
    modality="video",
    prompts={"plain": video_prompt},
    data=TaskData(
        files=FILES,
        row_layouts={"own": (*CELL, "width", "height", "frames", "needle_frame", "tokens"), "golden": GOLDEN},
    ),
)
