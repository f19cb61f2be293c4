"""What every task promises of its default prompt and default protocol: full marks for a right answer in any dress.

A task brings how its gold is written as an answer, and a wrong answer. Rows are those of the bundled splits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from types import FrameType

import pytest

from kvl_eval.scorers.answers.forms import follows
from kvl_eval.scorers.reader_protocol import option_texts, read_letter
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.sources import Source
from kvl_eval.store.answers import Answer
from kvl_eval.tasks import TASKS, open_split
from kvl_eval.tasks.base import Task, answer_form
from kvl_eval.tasks.table_file import table_task
from kvl_eval.types import Sample, Score
from tests.scorers.answers.test_thoughts import PAIRS
from tests.tasks.test_contract_points import POINTERS

OWN = "file:own_table.jsonl"
ROWS = 5  # of each kind of question of a task that wear every dress


@dataclass(frozen=True)
class Speaker:
    """How a task's gold is written as an answer, and a wrong answer; for a choice between options both are letters."""

    right: Callable[[Sample], str]
    wrong: Callable[[Sample], str]


# Answers


def letter(sample: Sample) -> str:
    """Gold as a letter; some data sets write `(B)`, or an index."""
    gold = sample.answers[0].strip("()")
    return chr(ord("A") + int(gold)) if gold.isdigit() else gold


def other_letter(sample: Sample) -> str:
    """The first option whose text is not gold's."""
    options, gold = option_texts(sample), ord(letter(sample)) - ord("A")
    return next(
        chr(ord("A") + place)
        for place, text in enumerate(options)
        if place != gold and (not text or text != options[gold])
    )


def right_value(sample: Sample) -> str:
    return letter(sample) if sample.choices else sample.answers[0]


def wrong_value(sample: Sample) -> str:
    if sample.choices:
        return other_letter(sample)
    gold = sample.answers[0]
    if gold.lower() in ("yes", "no"):
        return "No" if gold.lower() == "yes" else "Yes"
    return "Abraham" if not gold.replace(".", "").isdigit() else str(3 * float(gold) + 50)


def right_text(sample: Sample) -> str:
    """Gold as a letter, where gold is an option's text."""
    return chr(ord("A") + sample.choices.index(sample.answers[0])) if sample.choices else sample.answers[0]


def wrong_text(sample: Sample) -> str:
    options = sample.choices
    return (
        wrong_value(sample)
        if not options
        else next(chr(ord("A") + place) for place, text in enumerate(options) if text != sample.answers[0])
    )


def letter_of_own(sample: Sample) -> str:
    """Gold of an own table, which may be an option's text."""
    gold = sample.answers[0]
    return chr(ord("A") + sample.choices.index(gold)) if gold in sample.choices else gold


def wrong_own(sample: Sample) -> str:
    if not sample.choices:
        return wrong_value(sample)
    return "B" if letter_of_own(sample) != "B" else "A"


def wrong_words(sample: Sample) -> str:
    """A wrong letter, or a text that no gold is like."""
    return other_letter(sample) if sample.choices else "Abraham"


LETTER, VALUE = Speaker(letter, other_letter), Speaker(right_value, wrong_value)
SPEAKERS = {
    **dict.fromkeys(("mmmu", "realworldqa", "videommmu", "vsi-bench"), VALUE),
    **dict.fromkeys(("mmmu-pro", "mmmu-pro-vision", "mmstar", "vstar", "ai2d", "blink", "mmbench-en-v11"), LETTER),
    **dict.fromkeys(("videomme", "videomme-subs", "longvideobench", "longvideobench-nosubs"), LETTER),
    **dict.fromkeys(("egoschema", "mlvu", "tomato"), LETTER),
    "mathvista": Speaker(right_text, wrong_text),
    "mmvu": VALUE,
    "mmlongbench-doc": VALUE,
    "infovqa": Speaker(right_value, wrong_words),
    "mathvision": VALUE,
    OWN: Speaker(letter_of_own, wrong_own),
}
NOT_THE_DEFAULT = ("infovqa", "mathvision")  # the authors read the whole answer, or a box; `reader` stands beside
ASKED_FORMS = {
    "boxed": "Answer: $\\boxed{X}$",
    "answer_line": "I look at it.\n\nAnswer: X",
    "tag": "<answer>X</answer>",
}
DRESSES = {
    "bare": "X",
    "dot": "X.",
    "bold": "**X**",
    "code": "`X`",
    "quotes": '"X"',
    "dollars": "$X$",
    "box": "\\boxed{X}",
    "box with text": "So it is \\boxed{\\text{X}}.",
    "framed": "\\fbox{X}",
    "box in dollars": "Answer: $\\boxed{X}$",
    "line": "Answer: X",
    "bold line": "**Answer:** X",
    "final line": "Final answer: X",
    "line of capitals": "I compared them.\nANSWER: X",
    "heading": "### Answer\n\nX",
    "tag": "<answer>X</answer>",
    "json": '{"answer": "X"}',
    "sentence": "The answer is X.",
    "final sentence": "So, the final answer is X.",
    "gsm": "I compared them.\n#### X",
    "chinese": "答案：X",
    "german": "Die richtige Antwort ist X.",
    "french": "Réponse : X",
    "spanish": "Respuesta: X",
    "japanese": "答えは X です。",
    "last line": "I look at the picture first. Then I compare what it shows.\n\nX",
    "first line": "X\n\nThe picture shows it clearly.",
    "note": "X\n\nExplanation: the picture shows it; option A and 7 others do not fit.",
    "special token": "X<|im_end|>",
    "line ends": "I look at it.\r\n\r\nAnswer: X\r\n",
    "no-break space": "\u00a0X\u00a0",
}
REFUSALS = (
    "I cannot determine the answer from this.",
    "I don't know.",
    "I'm not sure.",
    "I am unable to tell.",
    "It is impossible to say.",
    "Sorry, I can't help with that.",
    "There is not enough information to answer.",
    "The image did not load, so I cannot see it.",
    "As an AI, I cannot view it.",
    "It is too dark to make out.",
    "N/A",
    "我无法确定。",
    "Ich weiß nicht.",
    "Je ne sais pas.",
)
JOINS = (
    *("X or Y", "X and Y", "X/Y", "X, Y", "X & Y", "either X or Y", "Answer: X or Y", "The answer is X or Y."),
    *("Answer: X\nAnswer: Y", "\\boxed{X} \\boxed{Y}", "X 或 Y", "The answer is either X or Y."),
)
UNANSWERABLE = "Not answerable"
BY_THE_AUTHORS = {  # what a parser of the authors, which goes before the reader, makes of a reply: (task, reply)
    ("mmbench-en-v11", "The answer is X or Y."),
}


@cache
def named(task: str) -> Task:
    """A task of the list, or that of the own table beside these tests."""
    return table_task(Path(__file__).parents[1] / "data" / "own_table.jsonl") if task == OWN else TASKS[task]


def protocol(task: str) -> str:
    return "reader" if task in NOT_THE_DEFAULT else named(task).default_protocol


@cache
def bundled(task: str) -> tuple[Sample, ...]:
    split = "all" if task == OWN else "mini"
    return tuple(sample for sample in open_split(named(task), Source(), split) if sample.answers)


def few(task: str) -> list[Sample]:
    """Some samples of each kind of question."""
    choices, others = (
        [sample for sample in bundled(task) if bool(sample.choices) is is_choice] for is_choice in (True, False)
    )
    return [*choices[:ROWS], *others[:ROWS]]


def scores(task: str, replies: list[tuple[Sample, str]]) -> list[Score]:
    items = [Item(sample, Answer.of(reply)) for sample, reply in replies]
    return score_outputs(named(task), protocol(task), items)


def dressed(dress: str, value: str) -> str:
    return dress.replace("X", value) if "boxed{X}" not in dress else dress.replace("{X}", f"{{{value}}}")


each_task = pytest.mark.parametrize("task", SPEAKERS)


# What holds


@each_task
def test_gold_in_the_form_that_the_default_prompt_asks_for_is_right(task: str) -> None:
    form = ASKED_FORMS.get(answer_form(named(task).prompts[named(task).default_prompt]), "X")
    replies = [(sample, dressed(form, SPEAKERS[task].right(sample))) for sample in bundled(task)]
    assert replies
    missed = [
        (sample.id, reply)
        for (sample, reply), score in zip(replies, scores(task, replies), strict=True)
        if score.value != 1
    ]
    assert missed == []


@each_task
def test_explain_x8_a_perfect_model_has_full_marks_under_every_prompt(task: str) -> None:
    forms = sorted({answer_form(prompt) for prompt in named(task).prompts.values()})
    said = [
        (sample, dressed(ASKED_FORMS.get(form, "X"), SPEAKERS[task].right(sample)))
        for form in forms
        for sample in bundled(task)
    ]
    made = [(score.value, score.verdict) for score in scores(task, said)]
    missed = [(sample.id, reply) for (sample, reply), got in zip(said, made, strict=True) if got != (1.0, "correct")]
    assert missed == []  # so `no_answer` and `extraction` are nothing


@each_task
def test_gold_in_that_form_follows_the_prompt(task: str) -> None:
    asked = answer_form(named(task).prompts[named(task).default_prompt])
    form = ASKED_FORMS.get(asked, "The answer is X." if asked == "answer_is" else "X")
    replies = [(sample, dressed(form, SPEAKERS[task].right(sample))) for sample in bundled(task)]
    assert [reply for sample, reply in replies if not follows(reply, asked, sample.choices)] == []


@each_task
def test_the_dress_of_an_answer_does_not_count(task: str) -> None:
    wearers = [(sample, name) for sample in few(task) for name in DRESSES]
    for say, expected in ((SPEAKERS[task].right, (1.0, "correct")), (SPEAKERS[task].wrong, (0.0, "wrong"))):
        replies = [(sample, dressed(DRESSES[name], say(sample))) for sample, name in wearers]
        missed = [
            (name, sample.answers, reply, score.extracted, score.reason)
            for (sample, name), (_, reply), score in zip(wearers, replies, scores(task, replies), strict=True)
            if (score.value, score.verdict) != expected
        ]
        assert missed == []


@each_task
def test_a_refusal_is_no_answer(task: str) -> None:
    replies = [(sample, text) for sample in few(task) for text in REFUSALS]
    misread = [
        (reply, score)
        for (sample, reply), score in zip(replies, scores(task, replies), strict=True)
        if (score.value, score.verdict, score.extracted) != refused(task, sample)
    ]
    assert misread == []


def refused(task: str, sample: Sample) -> tuple[float, str, str | None]:
    """What a refusal is worth: nothing; where a question may have no answer, full marks where it has none."""
    if task != "mmlongbench-doc":
        return 0, "no_answer", None
    return (1, "correct", UNANSWERABLE) if sample.answers == (UNANSWERABLE,) else (0, "wrong", UNANSWERABLE)


@each_task
def test_two_answers_are_no_answer(task: str) -> None:
    replies = [
        (sample, join.replace("X", SPEAKERS[task].right(sample)).replace("Y", SPEAKERS[task].wrong(sample)))
        for sample in few(task)
        if sample.choices
        for join in JOINS
        if (task, join) not in BY_THE_AUTHORS
    ]
    read = [
        (sample.choices, reply, score.extracted)
        for (sample, reply), score in zip(replies, scores(task, replies), strict=True)
        if score.verdict != "no_answer"
    ]
    assert read == []


@each_task
def test_options_in_another_order_change_nothing(task: str) -> None:
    for sample in few(task):
        if not sample.choices:
            continue
        gold = ord(SPEAKERS[task].right(sample)) - ord("A")
        for turn in range(1, len(sample.choices)):
            moved = replace(sample, choices=(*sample.choices[turn:], *sample.choices[:turn]))
            place = (gold - turn) % len(sample.choices)
            read = read_letter(moved, f"The answer is ({chr(ord('A') + place)}).")
            assert read is not None and moved.choices[ord(read) - ord("A")] == sample.choices[gold]


@each_task
@pytest.mark.parametrize("value", ["{}", "({})", "（{}）", "[{}]", "{}."])
def test_small_letters_and_brackets_do_not_count(task: str, value: str) -> None:
    choices = [sample for sample in few(task) if sample.choices]
    right = SPEAKERS[task].right
    replies = [(sample, value.format(name)) for sample in choices for name in (right(sample), right(sample).lower())]
    assert [score.verdict for score in scores(task, replies)] == ["correct"] * len(replies)


@each_task
def test_a_thought_does_not_count(task: str) -> None:
    for sample in few(task)[:2]:
        right, wrong = SPEAKERS[task].right(sample), SPEAKERS[task].wrong(sample)
        thought = f"Maybe {wrong}? The answer is {wrong}."
        replies, verdicts = [], []
        for family, (opening, closing) in PAIRS.items():
            replies += [(sample, f"{opening}{thought}{closing}{right}"), (sample, f"{opening}{thought}")]
            verdicts += ["correct", "no_answer"]
            if family != "harmony_bare":  # whose markers are words
                replies.append((sample, f"{thought}{closing}{right}"))
                verdicts.append("correct")
        assert [score.verdict for score in scores(task, replies)] == verdicts


@each_task
def test_a_value_that_was_read_stands_where_the_score_says(task: str) -> None:
    for sample in few(task)[:3]:
        reply = f"I look at it. Answer: {SPEAKERS[task].right(sample)}"
        (score,) = scores(task, [(sample, reply)])
        span = score.detail.get("span")
        assert score.method in ("pre_parsed", "official", "can_infer") or isinstance(span, list)
        assert not isinstance(span, list) or SPEAKERS[task].right(sample) in reply[slice(*span)]


@pytest.mark.parametrize("task", [task for task in SPEAKERS if task != OWN and task not in NOT_THE_DEFAULT])
def test_the_reader_is_the_default_with_the_authors_scorer_beside_it(task: str) -> None:
    found = TASKS[task]
    assert found.protocol_named("reader") == found.protocol_named("assumed") == found.default_protocol
    label = found.protocols[found.default_protocol].label
    assert label == ("official-rule" if found.default_protocol == "official" else "")
    beside = () if found.default_protocol == "official" or task == "vstar" else ("official",)
    assert found.view.beside == beside, "V*'s authors compare likelihoods and read no replies"
    assert found.protocol_named("no such protocol") is None


@pytest.mark.parametrize(
    ("task", "older", "name"),
    [
        ("mmmu", "assumed", "reader"),
        ("screenspot-pro", "assumed-0-1000", "reader-0-1000"),
        ("osworld-g", "refusal-text", "reader"),
    ],
)
def test_older_names_of_protocols_are_understood(task: str, older: str, name: str) -> None:
    assert TASKS[task].protocol_named(older) == name


NOT_BUNDLED = {"desktop-apps", "osworld", "osworld-local"}  # played on a desktop


def test_no_task_that_reads_is_left_out() -> None:
    """Points are spoken for in `test_contract_points`; OCRBench, MMVet and the needles look for gold in the reply, and
    what an episode stored is not a reply.
    """
    reading = {name for name, task in TASKS.items() if task.protocol_named("reader") is not None}
    by_containment = {"ocrbench", "mmvet", "niah-text", "niah-video", "desktop-mini", *NOT_BUNDLED}
    assert reading - set(SPEAKERS) - set(POINTERS) <= by_containment


UNITS = ("A ", "The answer is B. ", "12, (0.5, 0.3) or no ", "\\boxed{", "x\n")


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("task", [*SPEAKERS, *POINTERS])
def test_every_task_takes_steps_in_proportion(task: str, unit: str) -> None:
    grows_in_proportion(task, unit, 100_000)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "unit"), list(zip([*SPEAKERS, *POINTERS], cycle(UNITS), strict=False)))
def test_a_megabyte_takes_steps_in_proportion(task: str, unit: str) -> None:
    """Each task with one unit: they were all tried with each other at a tenth of it."""
    grows_in_proportion(task, unit, 1_000_000)


def grows_in_proportion(task: str, unit: str, most: int) -> None:
    sample = bundled(task)[0]
    short, long = (calls(task, sample, unit * (length // len(unit))) for length in (most // 10, most))
    assert long <= 20 * short


def calls(task: str, sample: Sample, reply: str) -> int:
    """Calls, of functions of any kind, that scoring a reply takes."""
    count = 0

    def counted(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        scores(task, [(sample, reply)])
    finally:
        sys.setprofile(None)
    return count
