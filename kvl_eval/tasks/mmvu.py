r"""MMVU (validation): 1,000 expert questions about videos of 27 subjects, 625 of them multiple choice.

Data:    yale-nlp/MMVU, validation.json, videos/<subject>/<n>.mp4; copies lmms-eval/MMVU and lmms-lab/MMVU
Prompt:  the authors', step by step
Frames:  32, first and last included, as the authors show GPT-4o
Metric:  accuracy in percent, by type of question, discipline and subject
Scorer:  a judge of every answer (`--judge`); without one the reader, under its own label
Source:  yale-nlp/MMVU utils/ @ 4d54223; lmms-eval tasks/mmvu @ 75571cf
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row MMVU (val); the judge and the prompt are not stated
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from kvl_eval.cells import QUESTION_TYPES
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.answers import Reading
from kvl_eval.scorers.mmvu import choice_correct, logged_letter, open_correct
from kvl_eval.scorers.open_answer import same_open_answer
from kvl_eval.scorers.reader_protocol import READER_NOTES, kind_wanted, reader_letter, reader_score
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.videos import Filming, filmed_samples
from kvl_eval.tasks.base import OtherName, Prompt, Protocol, Reference, Split, Task, TaskData
from kvl_eval.tasks.choices import one_label, row_id
from kvl_eval.tasks.judging import JudgeRule
from kvl_eval.types import GIVEN, MISSING, Extraction, Message, Sample, Score, Scored, Summary

FRAMES = 32
MINI_FRAMES = 4  # the bundled clips have four scenes
DISCIPLINES = {
    "Science": "Biology Chemistry Modern_Physics Astronomy Geography Materials_Science Neurobiology Electromagnetism "
    "Thermodynamics Mechanics",
    "Engineering": "Civil_Engineering Electrical_Engineering Mechanical_Engineering Biomedical_Engineering "
    "Electronics_and_Communication Computer_Science",
    "Healthcare": "Clinical_Medicine Basic_Medicine Preventive_Medicine Pharmacy Dentistry",
    "Humanities_and_Social_Science": "Art Literature History Law Economics Management",
}
DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects.split()}
CHOICE = "multiple-choice"
KEPT = ("id", "row", "question", "question_type", "choices", "answer", "video", "video_path", "youtube_url", "metadata")


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The split's samples in the data set's order, videos unopened. Raises: DataError."""
    required = ("question", "question_type", "choices", "video|video_path")
    rows = read_rows(source, split, Tables(task="mmvu", required=required), reporter)
    yield from filmed_samples(rows, to_sample, source, FILMING, reporter)


def _file(one: Sample) -> str:
    """`<subject>/<n>.mp4`, the end of the URL or path."""
    path = PurePosixPath(one.columns.text("video", "video_path"))
    return f"{path.parent.name}/{path.name}"


FILMING = Filming(file=_file, folders=("videos", "."), rule="linspace", frames=FRAMES)


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    kind = {"open": "open-ended"}.get(known := row.kind("question_type", QUESTION_TYPES), known)
    choices = row.required_options("choices") if kind == CHOICE else ()
    video = row.optional_text("video", "video_path")
    subject = PurePosixPath(video).parent.name if video else ""
    return Sample(
        id=row_id(row, "id", number=0),
        question=row.text("question"),
        row={**row.keep(KEPT), "question_type": kind},
        choices=choices,
        answers=row.gold_letter("answer", options=choices) if choices else row.gold_text("answer"),
        categories=one_label(type=kind, discipline=DISCIPLINE_OF.get(subject), subject=subject),
        cluster=video,
    )


def is_choice(one: Sample) -> bool:
    """Whether the row is a multiple-choice question."""
    return one.row.get("question_type") == CHOICE


def _choices(one: Sample) -> dict[str, str]:
    return dict(zip("ABCDE", one.choices, strict=False)) if is_choice(one) else {}


def _options(one: Sample) -> str:
    return "".join(f"{letter}: {text}\n" for letter, text in _choices(one).items())


# Prompts

_STEPS = "step by step. Begin by explaining your reasoning process clearly. Conclude by stating the final answer using "
_COT = (
    f"Answer the given multiple-choice question {_STEPS}the following format: 'Therefore, the final answer is: "
    "$LETTER' (without quotes), where $LETTER is one of the options. Think step by\nstep before answering.",
    f"Answer the given question {_STEPS}the following format: 'Therefore, the final answer is: 'Answer: $ANSWER' "
    "(without quotes), where $ANSWER is the final answer of the question. Think step by step\nbefore answering.",
)
_NO_STEPS = "Do not generate any intermediate reasoning process. "
_DIRECT = (
    f"{_NO_STEPS}Answer directly with the option letter from the given choices.\n",
    f"{_NO_STEPS}Directly output the final short answer.\n",
)
_LMMS_COT = (
    "Answer the given multiple-choice question step by step. Begin by explaining your reasoning process\nclearly. "
    'Conclude by stating the final answer using the following format: "Therefore, the final answer\nis: $LETTER" '
    "(without quotes), where $LETTER is one of the options. Think step by step before\nanswering.\n",
    "Answer the given question step by step. Begin by explaining your reasoning process clearly. Conclude\nby stating "
    'the final answer using the following format: "Therefore, the final answer is: "Answer:\n$ANSWER" (without '
    "quotes), where $ANSWER is the final answer of the question. Think step by\nstep before answering.\n",
)
_LMMS_DIRECT = (
    f"{_NO_STEPS}Answer directly with the option letter from the\ngiven choices.\n",
    f"{_NO_STEPS}Directly output the final answer.\n",
)


def _prompt(endings: tuple[str, str], form: str) -> Callable[[Sample], list[Message]]:
    def prompt(one: Sample) -> list[Message]:
        text = form.format(question=one.question, options=_options(one), ending=endings[0 if is_choice(one) else 1])
        return [Message.user(*one.media, text)]

    return prompt


_OFFICIAL_FORM = "\nQuestion: {question}\n{options}\n{ending}"
_LMMS_FORM = "\nQuestion:{question}\n{options}Visual Information: processed video\n{ending}"


# Scoring


def judge_prompt(one: Sample, answer: str) -> tuple[Message, ...]:
    """The authors' request: system text by type, then question, options, gold and reply."""
    form, exact = '"A" "B" "C" "D" "E", should be a single character', ""
    if not is_choice(one):
        form = (
            "the short final answer extracted from the model's response, do not hallucinate one that is not present in "
            "the response"
        )
        exact = (
            "The final answer generated by the model does not need to match the ground-truth answer word-for-word. "
            "However, it should only be considered correct if it demonstrates the exact same technique or concept "
            "explicitly and unambiguously equivalent to the ground-truth answer.\n"
        )
    comma = " " if is_choice(one) else ", "
    system = (
        "Evaluate whether the model's final answer is correct by comparing it to the ground-truth answer provided for "
        "the given question.\n\nYou should first extract the final answer from the model's response, and then compare "
        f"the extracted answer with the ground-truth answer to determine its accuracy.\n{exact}Output your response in "
        f'the following structured format:\n{{\n    "extracted_answer": // str value{comma}{form}\n    "correct": // '
        "boolean value, True if the answer is correct, False otherwise\n}\n"
    )
    options = f"Options:\n{_options(one)}\n" if is_choice(one) else ""
    user = (
        f"Question: {one.question}\n\n{options}Ground Truth Answer: {one.answers[0]}\n\n"
        f"Model Response to the Question: {answer}"
    )
    return Message.system(system), Message.user(user)


def read_verdict(_: Sample, reply: str) -> str | None:
    """`true` or `false`, the field `correct` of the judge's object; None where there is no such object."""
    start, end = reply.find("{"), reply.rfind("}")
    try:
        value = json.loads(reply[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None
    verdict = value.get("correct") if isinstance(value, dict) else None
    return str(verdict).lower() if isinstance(verdict, bool) else None


def score_rule(one: Sample, answer: str, extraction: Extraction) -> Score:
    """What the reader reads, compared with gold; an extraction other than MISSING is the answer to compare."""
    return _CHOICE(one, answer, extraction) if is_choice(one) else _OPEN(one, answer, extraction)


def _compared(one: Sample, reading: Reading) -> Score:
    said = str(reading.value)
    return Score.of(same_open_answer(said, one.answers[0]), said)


_CHOICE = reader_letter()
_OPEN = reader_score(kind_wanted("text"), _compared)
BY_READER = "reader"  # who decided a row, where neither a judge nor lmms-eval's rule did


def score_official(one: Sample, answer: str, extraction: Extraction) -> Score:
    """The judge's verdict; the reader's without one."""
    if not one.answers:
        return Score.not_scored("no_gold")
    if extraction in ("true", "false"):
        return Score.of(extraction == "true", extraction, "judge")
    return score_rule(one, answer, extraction) if extraction is not None else Score.not_scored("judge_error")


def score_lmms_eval(one: Sample, answer: str, extraction: Extraction) -> Score:
    """lmms-eval's rule; what it rejects of open answers is as its judge says, where one was asked."""
    if not one.answers:
        return Score.not_scored("no_gold")
    if extraction in ("true", "false") and left_to_judge(one, answer):
        return Score.of(extraction == "true", extraction, "judge")
    text = answer if extraction is MISSING or extraction in ("true", "false") else str(extraction or "")
    if is_choice(one):
        return Score.of(choice_correct(text, one.answers[0], _choices(one)), logged_letter(text), "rule")
    return Score.of(open_correct(text, one.answers[0]), text, "rule")


def left_to_judge(one: Sample, answer: str) -> bool:
    """Whether lmms-eval asks its judge: about open answers that its rule rejects, about choices never."""
    return not is_choice(one) and not open_correct(answer, one.answers[0])


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Accuracy, of lmms-eval over subjects of its table only, and who decided how many rows."""
    summary = summarise(scored)
    if summary.score is None:
        return summary
    counted = scored if protocol != "lmms-eval" else [one for one in scored if "discipline" in one.sample.categories]
    accuracy = summarise(counted).score or 0.0
    official = {"accuracy": str(100 * accuracy)}
    for name, group in summary.categories.get("discipline", {}).items():
        official[name] = f"{100 * group.score:.1f}"
    decided = Counter(_decider(one.score.method) for one in scored)
    official |= {f"rows decided by {name}": str(n) for name, n in sorted(decided.items())}
    return replace(summary, official=official)


def _decider(method: str) -> str:
    return method if method in ("judge", "rule", GIVEN) else BY_READER if method else "nobody"


TASK = Task(
    name="mmvu",
    title="MMVU (val)",
    group_title="College-level",
    doc=__doc__ or "",
    repos=("yale-nlp/MMVU", "lmms-eval/MMVU", "lmms-lab/MMVU"),
    licence="not stated on the data set's page",
    modality="video",
    access="open",
    other_names=(OtherName("lmms-eval", "mmvu_val", "validation"),),
    splits={"validation": Split(rows=1000)},
    default_split="validation",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "authors' JSON": (
                "id",
                "video (a URL)",
                "question_type",
                "metadata",
                "question",
                "choices {A..E}",
                "answer",
            ),
            "hub copies": ("the same with video_path",),
            "golden": ("question_type", "question", "choices", "answer"),
        },
        mini_frames=MINI_FRAMES,
        files=("validation.json (authors) or validation-*.parquet (copies)", "videos/<subject>/<n>.mp4"),
        archives=("videos.zip|videos/*.mp4",),
        count={"validation": {"rows": 1000, "type=multiple-choice": 625, "type=open-ended": 375}},
    ),
    prompts={
        "official_cot": Prompt(_prompt(_COT, _OFFICIAL_FORM), "answer_is"),
        "official_direct": Prompt(_prompt(_DIRECT, _OFFICIAL_FORM), "short"),
        "lmms_eval": Prompt(_prompt(_LMMS_DIRECT, _LMMS_FORM), "short"),
        "lmms_eval_cot": Prompt(_prompt(_LMMS_COT, _LMMS_FORM), "answer_is"),
    },
    default_prompt="official_cot",
    wanted=("letter", "text"),
    prompt_evidence="the report names no prompt; its GPT-4o figure is what the authors give for this one (unverified)",
    protocols={
        "official": Protocol(
            score=score_official,
            label="official-rule",
            judged="official",
            notes=(
                "the authors have gpt-4o judge every row; without a judge the reader decides, and its "
                "figure is not comparable with theirs",
                "the thought is split off first",
                "a judge that fails is asked again; there a failed call is wrong, here the row is not scored",
            ),
            evidence="unknown: the report names no judge",
        ),
        "rule": Protocol(
            score=score_rule,
            notes=(
                *READER_NOTES,
                "open answers: equal; or gold's number in gold's unit; or gold, its abbreviation or its long form as "
                "whole words, not negated",
            ),
        ),
        "lmms-eval": Protocol(
            score=score_lmms_eval,
            label="lmms-eval-rule",
            judged="lmms-eval",
            asks=left_to_judge,
            notes=(
                "open answers that its rule rejects go to a judge, choices never; without one the rule decides alone",
                "that judge is asked by the authors' prompt here; where it fails the rule's verdict counts there, and "
                "the row is not scored here",
                "fault kept: a list of all letters is right for every gold, and an empty reply is right for open rows",
            ),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="mmvu", split="val"),
    groups=("table3", "video"),
    judge_prompt=judge_prompt,
    judge=JudgeRule(read=read_verdict, temperatures=(0.0, 0.0, 0.0), max_tokens=128),
    mini="mmvu",
    max_new_tokens=1024,
)
