"""MM-Vet (v1): 218 open questions that need several capabilities at once, graded by a language model.

Data:    mm-vet.json of the authors' archive with pictures in images/; hub lmms-lab/MMVet, split test; or VLMEvalKit's
         MMVet.tsv
Prompt:  picture, then the bare question
Metric:  mean of the grades from 0.0 to 1.0, over all questions, by capability and by combination of capabilities; five
         grading runs are averaged, as in the paper
Scorer:  a judge (`--judge`); without one nothing official is scored. The rule beside it (`proxy`) is this project's own
Source:  yuweihao/MM-Vet mm-vet_evaluator.py @ acde843; VLMEvalKit vlmeval/dataset/utils/mmvet.py @ e8e78f0
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row MMVet; the judge is not stated, and totals move with it
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.mmvet import AGAIN, official_table, prefix, proxy, read_grade, tail, vlmevalkit_table, wording
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import UNJUDGED, Protocol, Reference, Split, Task, TaskData, TaskView
from kvl_eval.tasks.choices import row_id
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

STEPS = "First please perform reasoning, and think step by step to provide best answer to the following question: \n\n"
KEPT = (
    *("question_id", "id", "index", "row", "imagename", "question", "answer", "capability", "category"),
    *("imagesource", "picture"),
)


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, pictures unopened. Raises: DataError."""
    required = ("question", "answer", "capability|category")
    tables = Tables(task="mmvet", required=required, stems=("mm-vet", "MMVet"))
    yield from pictured_samples(read_rows(source, split, tables, reporter), _sample, source, reporter)


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    names = _capabilities(row)
    return Sample(
        id=row_id(row, "question_id", "id", "index"),
        question=row.text("question"),
        row=row.keep(KEPT),
        media=media,
        answers=row.gold_text("answer"),
        categories={"capability": names, "integration": ("_".join(sorted(names)),)} if names else {},
        cluster=row.optional_text("imagename", "picture"),
    )


def _capabilities(row: Row) -> tuple[str, ...]:
    """A list, or its items in one text with commas between them."""
    column = "category" if row.has("category") and not row.has("capability") else "capability"
    joined = row.get(column)
    names = joined.split(",") if isinstance(joined, str) else row.items(column)
    if not names:
        raise row.fault(column, "expected the capabilities that the question needs")
    return tuple(name.strip() for name in names)


sample = sample_maker(_sample)


def question_only(one: Sample) -> list[Message]:
    """Picture and bare question."""
    return [Message.user(*one.media, one.question)]


def lmms_eval(one: Sample) -> list[Message]:
    """lmms-eval's request for reasoning, then the question."""
    return [Message.user(*one.media, STEPS + one.question)]


# Scoring


def judge_prompt(one: Sample, answer: str) -> str:
    """The few-shot table, and the row to be graded."""
    return prefix() + tail(one.question, one.answers[0], answer)


def score_official(one: Sample, answer: str, extraction: Extraction) -> Score:
    """The judge's grade; nothing without one."""
    del answer
    if not one.answers:
        return Score.not_scored("no_gold")
    if not isinstance(extraction, str):
        return Score.not_scored("judge_missing")
    grade = read_grade(one, extraction)
    if grade is None:
        return Score.not_scored(f"judge_error: {extraction[:40]!r} is not a grade from 0 to 1")
    return Score.of(float(grade), grade, "judge")


def score_proxy(one: Sample, answer: str, extraction: Extraction = MISSING) -> Score:
    """Share of the gold answer's parts that the reply holds; long gold answers come out near 0."""
    if not one.answers:
        return Score.not_scored("no_gold")
    text = answer if extraction is MISSING else extraction
    if not isinstance(text, str) or not text.strip():
        return Score.no_answer("empty", text)
    return Score.of(proxy(one.answers[0], text), text, "whole")


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Mean grade, and the tables of the protocol's own script; beside the rule how many answers should be long."""
    plain = summarise(scored)
    if plain.score is None:
        return plain
    known = [one for one in scored if one.score.value is not None]
    graded = [(one.sample.categories.get("capability", ()), _runs(one.score)) for one in known]
    if protocol == "proxy":
        long = sum("gen" in names for names, _ in graded)
        return replace(plain, official={"questions that ask for long answers": f"{long} of {len(graded)}"})
    if protocol == "lmms-eval":
        return replace(plain, official={"gpt_eval_score": str(100 * plain.score)})
    table = vlmevalkit_table(graded) if protocol == "vlmevalkit" else official_table(graded)
    return replace(plain, official={**table, "words of the judge's prompt": wording()})


def _runs(score: Score) -> list[float]:
    runs = score.detail.get("judge_runs")
    return [float(value) for value in runs] if isinstance(runs, list | tuple) and runs else [score.value or 0.0]


_ASKS = "not scored without a judge; a reply that is not a number from 0 to 1 is asked for again, then a failure"
_WORDS = (
    "the judge's prompt has this project's words; KVL_EVAL_MMVET_PREFIX=FILE puts the authors' in, and the result says "
    "which"
)

TASK = Task(
    name="mmvet",
    title="MM-Vet",
    group_title="General",
    doc=__doc__ or "",
    repos=("whyu/mm-vet", "lmms-lab/MMVet", "lmms-lab-encoder/MMVet"),
    licence="CC BY-NC 4.0 (data), Apache-2.0 (code)",
    modality="image",
    access="open",
    splits={"test": Split(rows=218)},
    default_split="test",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "authors' JSON": ("v1_0: imagename, question, answer, capability (a list), imagesource",),
            "hub": ("question_id", "image", "question", "answer", "image_source", "capability (joined by commas)"),
            "VLMEvalKit TSV": ("index", "image", "question", "answer", "category (joined by commas)"),
            "golden": ("id", "question", "answer", "capability"),
        },
        files=(
            "mm-vet.json with images in images/ or a zip (the authors' archive)",
            "test-*.parquet or data/test-*.parquet (hub copies)",
            "MMVet.tsv (VLMEvalKit)",
        ),
        count={"test": {"rows": 218}},
    ),
    prompts={"question_only": question_only, "lmms_eval": lmms_eval},
    default_prompt="question_only",
    prompt_evidence="the authors' and VLMEvalKit's; the report names no prompt",
    protocols={
        "official": Protocol(
            score=score_official,
            label=UNJUDGED,
            needs_judge=True,
            judged="official",
            notes=(_ASKS, "the mean of five grading runs; a failed grade is never 0", _WORDS),
            evidence="the report names no judge; its other figures look like a board graded by gpt-4-turbo-1106",
        ),
        "official-exact": Protocol(
            score=score_official,
            label=UNJUDGED,
            needs_judge=True,
            judged="official-exact",
            notes=("the same as official: where the script gives up it writes 0.0, here the answer is not scored",),
        ),
        "vlmevalkit": Protocol(
            score=score_official,
            label=UNJUDGED,
            needs_judge=True,
            judged="vlmevalkit",
            notes=(
                "the same grades in VLMEvalKit's tables, over the first run",
                "a question of one capability counts twice for it; integrations in another order are others",
            ),
        ),
        "lmms-eval": Protocol(
            score=score_official,
            label=UNJUDGED,
            needs_judge=True,
            judged="lmms-eval",
            notes=("the same grades; their mean alone",),
        ),
        "proxy": Protocol(
            score=score_proxy,
            notes=("never compared with tables: whole words of the gold answer in the reply", "needs no judge"),
            evidence="none: a rule of this project, to see that a run works",
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mmvet"),
    groups=("table3",),
    view=TaskView(beside=("proxy",)),
    judge_prompt=judge_prompt,
    judge=JudgeRule(read=read_grade, temperatures=(0.0, 0.0, 0.5, 1.0, 1.5), max_tokens=3, again=AGAIN, runs=5),
    mini="mmvet",
    max_new_tokens=1024,
)
