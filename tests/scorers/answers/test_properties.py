"""What must hold for any content: dress does not matter, refusals and double answers give nothing, nothing is lost."""

from __future__ import annotations

import importlib
import pkgutil
import re
import string
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from types import FrameType

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import kvl_eval.scorers.answers as package
from kvl_eval import thinking
from kvl_eval.scorers.answers import HOWS, REASONS, Kind, NotAnswerable, Reading, Wanted, read
from tests.scorers.answers import patterns

DRESSES: dict[str, Callable[[str], str]] = {
    "bare": lambda x: x,
    "dot": lambda x: f"{x}.",
    "bold": lambda x: f"**{x}**",
    "italic": lambda x: f"*{x}*",
    "code": lambda x: f"`{x}`",
    "quotes": lambda x: f'"{x}"',
    "dollars": lambda x: f"${x}$" if not x[0].isdigit() else f"$ {x} $".replace("$ ", "$").replace(" $", "$"),
    "box": lambda x: f"\\boxed{{{x}}}",
    "box with text": lambda x: f"\\boxed{{\\text{{{x}}}}}",
    "framed": lambda x: f"\\fbox{{{x}}}",
    "box in dollars": lambda x: f"Answer: $\\boxed{{{x}}}$",
    "line": lambda x: f"Answer: {x}",
    "line bold": lambda x: f"**Answer:** {x}",
    "line all bold": lambda x: f"**Answer: {x}**",
    "line next": lambda x: f"Answer:\n{x}",
    "final": lambda x: f"**Final Answer**: {x}",
    "heading": lambda x: f"### Answer\n\n{x}",
    "tag": lambda x: f"<answer>{x}</answer>",
    "json": lambda x: f'{{"answer": "{x}"}}',
    "sentence": lambda x: f"The answer is {x}.",
    "correct": lambda x: f"So the correct answer is **{x}**.",
    "therefore": lambda x: f"Therefore, the final answer is: {x}",
    "gsm": lambda x: f"We look closely.\n#### {x}",
    "chinese": lambda x: f"答案是{x}。",
    "german": lambda x: f"Die richtige Antwort ist {x}.",
    "french": lambda x: f"La bonne réponse est {x}.",
    "spanish": lambda x: f"La respuesta correcta es {x}.",
    "japanese": lambda x: f"答え：{x}",
    "last line": lambda x: f"Looking closely, one thing stands out from the rest.\n\n{x}",
    "explained": lambda x: f"{x}\n\nExplanation: the picture shows it clearly.",
    "note": lambda x: f"The answer is {x}\n\nNote that the picture is a little dark.",
    "token": lambda x: f"Answer: {x}<|im_end|>",
    "line ends": lambda x: f"Let us see.\r\n\r\nAnswer: {x}\r\n",
    "odd blank": lambda x: f"Answer:\u00a0{x}\u200b",
    "thought": lambda x: f"<think>maybe A, or 3?</think>\n\n{x}",
}
REFUSED = (
    "I cannot determine the answer from the picture.",
    "Unable to tell.",
    "I don't know.",
    "Sorry, I can't help with that.",
    "There is not enough information to answer.",
    "The image did not load.",
    "As an AI language model, I am not able to view images.",
    "None of the options is correct.",
    "无法确定。",
    "No puedo determinar la respuesta.",
)
JOINS = (
    "{} or {}", "Either {} or"
                " {}.", "The answer is {} or {}.", "Answer: {} or {}", "Answer: {}\nAnswer: {}", "Both {} and {}.",
    "\\boxed{{{}}} or"
    " \\boxed{{{}}}", "It could be {} or {}.", "I am torn between {} and {}.", "{}/{}", "{}, {}", "{} and {}",
)  # fmt: skip
LETTERS = string.ascii_uppercase
WORDS = st.sampled_from(
    [
        "kettle",
        "ladder",
        "pump",
        "hat",
        "river",
        "bridge",
        "tower",
        "lamp",
        "violin",
        "garden",
        "north gate",
        "old mill",
    ]
)
CHOICES = st.lists(WORDS, min_size=2, max_size=10, unique=True)
NUMBERS = st.one_of(st.integers(0, 10**7), st.integers(-999, -1))
FEW = 25  # examples of each of many parameters: a property of all dresses is tried 900 times
KINDS: tuple[Kind, ...] = ("letter", "letters", "yesno", "integer", "float", "text", "list", "point", "box")


def asked(kind: Kind, options: tuple[str, ...] = ("red", "dark red", "blue", "yes")) -> Wanted:
    return Wanted(kind=kind, options=options, size=(640, 480), unanswerable=kind == "text", question="Is it red?")


def value_of(reply: str, wanted: Wanted) -> object:
    return read(reply, wanted).value


@pytest.mark.parametrize("dress", DRESSES)
@settings(max_examples=FEW)
@given(st.data())
def test_a_right_answer_is_read_in_every_dress(dress: str, data: st.DataObject) -> None:
    options = tuple(data.draw(CHOICES))
    letter = data.draw(st.sampled_from(LETTERS[: len(options)]))
    number = data.draw(NUMBERS)
    said = data.draw(st.sampled_from(["yes", "no", "Yes", "No"]))
    put = DRESSES[dress]
    text = options[LETTERS.index(letter)]
    wanted = Wanted(kind="letter", options=options)
    for content in (letter, f"({letter})", f"{letter}. {text}", text):
        assert value_of(put(content), wanted) == letter, put(content)
    assert value_of(put(str(number)), Wanted(kind="integer")) == number
    assert value_of(put(f"{number / 8}"), Wanted(kind="float")) == number / 8
    assert value_of(put(said), Wanted(kind="yesno")) == said.lower()
    assert value_of(put(text), Wanted(kind="text")) == text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reply", REFUSED)
def test_a_refusal_says_nothing(kind: Kind, reply: str) -> None:
    reading = read(reply, Wanted(kind=kind, options=("red", "green", "blue"), size=(640, 480)))
    assert (reading.value, reading.reason) == (None, "refusal")


@pytest.mark.parametrize("join", JOINS)
@settings(max_examples=FEW)
@given(CHOICES, st.data())
def test_two_answers_are_none(join: str, options: list[str], data: st.DataObject) -> None:
    one, other = data.draw(st.permutations(LETTERS[: len(options)]))[:2]
    wanted = Wanted(kind="letter", options=tuple(options))
    assert value_of(join.format(one, other), wanted) is None
    assert value_of(join.format(f"({one})", f"({other})"), wanted) is None


@pytest.mark.parametrize("join", [join for join in JOINS if "/" not in join and join != "{}, {}"])
@settings(max_examples=FEW)
@given(st.integers(2, 400), st.integers(2, 400))
def test_two_numbers_are_none(join: str, one: int, other: int) -> None:
    assume(one != other)
    assert value_of(join.format(one, other), Wanted(kind="integer")) is None


@given(CHOICES, st.randoms(use_true_random=False), st.sampled_from(sorted(DRESSES)))
def test_permuted_options_give_the_same_text(options: list[str], random: object, dress: str) -> None:
    shuffled = sorted(options, key=lambda text: (len(text), text[::-1]))
    for text in options:
        readings = [
            read(DRESSES[dress](f"({LETTERS[order.index(text)]}) {text}"), Wanted(kind="letter", options=tuple(order)))
            for order in (options, shuffled)
        ]
        texts = [order[LETTERS.index(str(r.value))] for order, r in zip((options, shuffled), readings, strict=True)]
        assert texts == [text, text]


@given(CHOICES, st.data())
def test_the_spelling_of_a_letter_does_not_matter(options: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(options) - 1))
    letter = LETTERS[index]
    wide = chr(ord("Ａ") + index)
    for content in (
        letter,
        letter.lower(),
        f"({letter.lower()})",
        wide,
        f"（{letter}）",
        f"[{letter}]",
        f"Option {letter}",
        f"{letter})",
    ):
        assert value_of(content, Wanted(kind="letter", options=tuple(options))) == letter, content


@given(NUMBERS)
def test_a_number_is_read_back_from_its_own_writing(number: int) -> None:
    for content in (str(number), f"{number:,}", f"{number:_}", str(float(number)), f"{number} cm", f"about {number}"):
        reading = read(content, Wanted(kind="integer"))
        assert reading.value == number, content
        assert value_of(str(reading.value), Wanted(kind="integer")) == number


@given(st.floats(0.002, 1), st.floats(0.002, 1))  # thousandths above 1: what is at most 1 is a fraction
def test_a_point_is_read_back_in_every_scale(x: float, y: float) -> None:
    for content, coords in (
        (f"({x:.4f}, {y:.4f})", "auto"),
        (f"click(x={x:.4f}, y={y:.4f})", "auto"),
        (f'{{"point_2d": [{round(x * 1000)}, {round(y * 1000)}]}}', "thousand"),
        (f'<point x="{x * 100:.2f}" y="{y * 100:.2f}">it</point>', "auto"),
    ):
        value = value_of(content, Wanted(kind="point", size=(640, 480), coords=coords))  # type: ignore[arg-type]
        assert isinstance(value, tuple)
        assert all(abs(float(a) - b) <= 0.002 for a, b in zip(value, (x, y), strict=True)), content


PIECES = st.sampled_from(
    [
        "A",
        "B)",
        "(C)",
        "answer",
        " is ",
        ": ",
        "\\boxed{",
        "}",
        "**",
        "*",
        "$",
        "12",
        "1,5",
        "-",
        "yes",
        "no",
        "or",
        "\n",
        "\n\n",
        "{",
        "[",
        "]",
        "<answer>",
        "<think>",
        "</think>",
        "\\frac",
        "red",
        "not",
        "cannot",
        "'",
        '"',
        "`",
        "一",
        "½",
        "10^",
        "e9",
        "(0.5, 0.3)",
        "x=1",
        "maybe",
        "so ",
        "\\text{",
        "｜",
        "Ⓒ",
        "\u200b",
        "\r\n",
        "#### ",
        "The ",
        ".",
        ",",
        "%",
        "|",
        "=",
        "999999999999999999999",
    ]
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=2 * FEW)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map("".join)))
@example("\\boxed{" * 30)
@example("9" * 5000)
@example("10^99999")
def test_any_text_gives_a_lawful_reading(kind: Kind, reply: str) -> None:
    reading = read(reply, asked(kind))
    is_lawful(reading, kind, reply)
    assert reading == read(reply, asked(kind))


def is_lawful(reading: Reading, kind: Kind, reply: str) -> None:
    """A value with how and where, or a reason; letters only of the options; passed places inside the reply."""
    assert len(reading.passed) <= 8
    assert all(0 <= start <= end <= len(reply) for (start, end), _, _ in reading.passed)
    if reading.value is None:
        assert reading.reason in REASONS
        assert (reading.how, reading.span) == ("", None)
        return
    assert reading.how in HOWS
    assert reading.reason == ""
    assert reading.span is not None
    assert 0 <= reading.span[0] <= reading.span[1] <= len(reply)
    if kind == "letter":
        assert reading.value in ("A", "B", "C", "D")
    elif kind == "letters":
        assert isinstance(reading.value, tuple)
        assert set(reading.value) <= set("ABCD")
    elif kind == "yesno":
        assert reading.value in ("yes", "no")
    elif kind in ("integer", "float"):
        assert isinstance(reading.value, int | float)
    elif kind == "text":
        assert isinstance(reading.value, str | NotAnswerable)
    elif kind in ("point", "box"):
        assert isinstance(reading.value, tuple)
        assert len(reading.value) == (2 if kind == "point" else 4)


UNITS = (
    "A ",
    "(A) ",
    "\\boxed{",
    "{",
    "answer is ",
    "7",
    "-",
    "[",
    "1,",
    "◁think▷",
    "no ",
    "Answer: A\n",
    "**",
    "a'",
    "cannot ",
    "x=1 ",
)
SHORT, LONG = 1_500, 15_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", UNITS)
def test_steps_grow_no_faster_than_the_reply(kind: Kind, unit: str) -> None:
    short, long = (steps(unit * (length // len(unit)), asked(kind)) for length in (SHORT, LONG))
    assert long <= 2 * (LONG // SHORT) * short + 5_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", UNITS)
def test_steps_grow_no_faster_in_every_kind_of_every_unit(kind: Kind, unit: str) -> None:
    grows_in_proportion(kind, unit, 100_000)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "unit"), list(zip(cycle(KINDS), UNITS, strict=False)))
def test_steps_grow_no_faster_up_to_a_megabyte(kind: Kind, unit: str) -> None:
    """Every kind and every unit once or twice: they were all tried together at a tenth of it."""
    grows_in_proportion(kind, unit, 1_000_000)


def grows_in_proportion(kind: Kind, unit: str, most: int) -> None:
    short, long = (steps(unit * (length // len(unit)), asked(kind)) for length in (most // 10, most))
    assert long <= 20 * short


def steps(reply: str, wanted: Wanted) -> int:
    """Calls, of functions of any kind, that one reading takes."""
    count = 0

    def counted(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        read(reply, wanted)
    finally:
        sys.setprofile(None)
    return count


def all_patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    for module in [*modules, thinking]:
        for name, value in vars(module).items():
            for pattern in value if isinstance(value, tuple) else (value,):
                pattern = pattern[0] if isinstance(pattern, tuple) else pattern
                if isinstance(pattern, re.Pattern):
                    yield f"{module.__name__} {name}", pattern


def test_no_pattern_repeats_a_repeat() -> None:
    """What calls do not count, the steps of patterns: a repeat without a limit inside another one may take for ever."""
    named = list(all_patterns())
    assert len(named) > 60
    assert [name for name, pattern in named if patterns.nests(patterns.tree(pattern))] == []
    assert patterns.nests(patterns.tree(re.compile(r"(?:a+)+b")))


def test_long_blanks_are_short_for_every_pattern() -> None:
    """Many patterns begin with blanks, so no run of them may reach a pattern."""
    from kvl_eval.scorers.answers.view import undress

    for blank in (" ", "\n", "\t", " \n", "\u00a0", "\u3000 "):
        assert re.search(r"\s{9}", undress(f"a{blank * 5_000}b").text) is None
