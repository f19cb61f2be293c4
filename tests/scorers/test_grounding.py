from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvl_eval.scorers.grounding import READERS, PointReading, WrongFormat, hits, read_given, read_point
from tests.scorers.growth import is_linear

SIZE = (1000, 500)
fractions = st.integers(0, 1000).map(lambda value: value / 1000)


def point(mode: str, text: str, size: tuple[int, int] = SIZE) -> tuple[float, float] | str:
    try:
        reading = READERS[mode](text, size)
    except WrongFormat as error:
        return str(error)
    return reading.x, reading.y


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("pyautogui.click(x=0.5, y=0.25)", (0.5, 0.25), id="keyword-call"),
        pytest.param(
            "## Action:\nClick.\n\n## Code:\n```python\nclick(x = .5,y=.25)\n```", (0.5, 0.25), id="code-block"
        ),
        pytest.param('{"X": "0.5", "y" : 0.25}', (0.5, 0.25), id="json-keys-any-case-quoted-numbers"),
        pytest.param("x: 0.5 and y: 0.25", (0.5, 0.25), id="words-between"),
        pytest.param("x=0.5，\ny=0.25", (0.5, 0.25), id="full-width-comma"),
        pytest.param("click(y=0.25, x=0.5)", (0.5, 0.25), id="y-first"),
        pytest.param("x=0.5, y=0.25 then x=0.1, y=0.1", "two_answers", id="two-points"),
        pytest.param("(0.1, 0.1) no: click(x=0.5, y=0.25)", (0.5, 0.25), id="names-go-before-brackets"),
        pytest.param("pyautogui.doubleClick(500, 125, 2)", (0.5, 0.25), id="positional-call-in-pixels"),
        pytest.param("[0.9, 0.9] click(0.5, 0.25)", (0.5, 0.25), id="a-call-goes-before-brackets"),
        pytest.param("[[0.5,0.25]]", (0.5, 0.25), id="double-bracket"),
        pytest.param("the point (50%, 25%)", (0.5, 0.25), id="percent"),
        pytest.param("(150%, 25%)", (1.5, 0.25), id="percent-is-never-pixels"),
        pytest.param("[500, 125]", (0.5, 0.25), id="bare-numbers-above-one-are-pixels"),
        pytest.param("(1, 1)", (1.0, 1.0), id="ones-are-normalised"),
        pytest.param("[0.4, 0.2, 0.6, 0.3]", (0.5, 0.25), id="box-in-one-bracket"),
        pytest.param("[0.6, 0.3, 0.4, 0.2]", (0.5, 0.25), id="reversed-corners"),
        pytest.param("[400, 100, 600, 150]", (0.5, 0.25), id="box-in-pixels"),
        pytest.param("<box>(400,200),(600,300)</box>", (0.5, 0.25), id="box-tag-is-thousandths"),
        pytest.param("<|box_start|>(400,200),(600,300)<|box_end|>", (0.5, 0.25), id="box-tokens"),
        pytest.param("<|box_start|>(500,250)<|box_end|>", (0.5, 0.25), id="point-in-box-tokens"),
        pytest.param("<bbox>0.4, 0.2, 0.6, 0.3</bbox>", (0.5, 0.25), id="normalised-in-a-tag"),
        pytest.param('{"bbox_2d": [400, 200, 600, 300]}', (0.5, 0.25), id="bbox_2d"),
        pytest.param("bbox: 400 100 600 150", (0.5, 0.25), id="labelled-box-in-pixels"),
        pytest.param("<point>500 125</point>", (0.5, 0.25), id="point-tag-is-pixels"),
        pytest.param("CLICK <point>[[500,125]]</point>", (0.5, 0.25), id="brackets-in-a-point-tag"),
        pytest.param('{"point_2d": [500, 250], "label": "ok"}', (0.5, 0.25), id="point_2d"),
        pytest.param('{"action": "left_click", "coordinate": [500, 125]}', (0.5, 0.25), id="coordinate-is-pixels"),
        pytest.param("(0.5, 0.25) or <box>(0,0),(9,9)</box>", "two_answers", id="a-point-and-another-box"),
        pytest.param("0.5 0.25", (0.5, 0.25), id="two-bare-numbers"),
        pytest.param("x = int(0.5 * w)\ny = int(0.25 * h)\nclick(x, y)", (0.5, 0.25), id="computed-in-code"),
        pytest.param("x=-0.5, y=0.25", (-0.5, 0.25), id="negative"),
        pytest.param("x=0.5, y=700", (0.0005, 1.4), id="one-above-one-makes-both-pixels"),
        pytest.param("", "empty", id="empty"),
        pytest.param("I cannot find it.", "refusal", id="words"),
        pytest.param("x=nan, y=0.5", "none", id="nan-is-no-number"),
        pytest.param("x=5e-1, y=0.5", "none", id="exponents-are-not-read"),
        pytest.param("0.1 0.2 0.3", "none", id="three-bare-numbers"),
        pytest.param("(0.5, 0.5, 0.5)", "none", id="three-in-a-bracket"),
        pytest.param("x=0.5", "none", id="half-a-point"),
    ],
)
def test_reader(text: str, expected: tuple[float, float] | str) -> None:
    found = point("reader", text)
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected))


def test_pixels_are_those_of_the_picture_as_it_was_sent() -> None:
    assert point("reader", "click(250, 125)", (500, 250)) == (0.5, 0.5)


def test_bare_numbers_as_thousandths_are_a_mode_of_their_own() -> None:
    assert point("reader-thousand", "[500, 250]") == (0.5, 0.25)
    assert point("reader-thousand", "[0.5, 0.25]") == (0.5, 0.25)


def test_a_box_keeps_its_corners() -> None:
    reading = read_point("<box>(600,300),(400,200)</box>", SIZE)
    assert reading.box == pytest.approx((0.4, 0.2, 0.6, 0.3))


def test_numbers_too_large_for_a_point_are_none() -> None:
    assert point("reader", f"x={'9' * 400}, y=2") == "none"


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("screenspot_pro_kimivl", "x=0.5, y=12", (0.5, 1.0)),
        ("screenspot_pro_kimivl", "x=0.5,y=0.5", "wrong_format"),
        ("screenspot_pro_kimivl", "x=.5, y=.5", "wrong_format"),
        ("screenspot_pro_kimivl", "◁think▷x=0.5, y=0.5", "think_unclosed"),
        ("screenspot_pro_kimivl", "◁/think▷x=0.5, y=0.5", "think_unopened"),
        ("vlmevalkit", "no point here", (0.0, 0.0)),
        ("vlmevalkit", "x=0.5.5, y=0.5", "not_a_number"),
        ("vlmevalkit", "x=500, y=0.5", (0.5, 0.001)),
        ("lmms_eval", "<bbox>0.4, 0.2, 0.6, 0.3</bbox> [0.9, 0.9]", (0.5, 0.25)),
        ("lmms_eval", "[0.9 0.8] x=0.5, y=0.25", (0.9, 0.8)),
        ("lmms_eval", "[0.6, 0.6, 0.4, 0.4]", (0.6, 0.6)),
        ("lmms_eval", "rect: 400 200 600 300", (0.5, 0.5)),
        ("lmms_eval", "x=.5, y=.25", (0.005, 0.05)),
        ("lmms_eval", "x is 3; x=0.5 ... y=0.25", (0.5, 0.25)),
        ("lmms_eval", "<bbox>1 2 3</bbox>", (0.001, 0.004)),
        ("seeclick", "<box>(400,200),(600,300)</box>", (0.5, 0.25)),
        ("seeclick", "box x=0.5, y=0.5", "wrong_format"),
        ("seeclick", "1. click 0.5 0.5", "wrong_format"),
        ("seeclick", "0.4 0.2 0.6 0.3", (0.5, 0.25)),
    ],
)
def test_reference_modes_keep_their_quirks(mode: str, text: str, expected: tuple[float, float] | str) -> None:
    found = point(mode, text)
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected))


def test_borders_belong_to_the_box_and_nan_lies_nowhere() -> None:
    box = (0.4, 0.2, 0.6, 0.3)
    assert hits(0.4, 0.3, box)
    assert not hits(0.39999, 0.25, box)
    assert not hits(math.nan, 0.25, box)


@pytest.mark.parametrize("text", ["[0.5, 0.25]", "0.5,0.25", "(5e-1 .25)"])
def test_a_given_point_is_normalised(text: str) -> None:
    assert read_given(text) == PointReading(0.5, 0.25, "given")


@pytest.mark.parametrize("text", [None, "", "0.5", "1 2 3", ["0.5", "0.5"]])
def test_a_given_text_without_two_numbers_is_no_point(text: object) -> None:
    with pytest.raises(WrongFormat):
        read_given(text)


pieces = st.sampled_from(
    (
        *("x=", "y=", "0.5", "1e9", "-3", "%", ", ", "\n", "[", "]", "(", ")", "<box>", "</box>", "<|box_start|>"),
        *("<point>", "bbox_2d", ":", '"', "click(", "◁think▷", "◁/think▷", "９", "nan", "9" * 400, "<bbox", ">", "./"),
    )
)


@pytest.mark.parametrize("mode", READERS)
@given(st.one_of(st.text(max_size=60), st.lists(pieces, max_size=12).map("".join)))
@example("x=0.5, y=0.5.")
def test_no_response_crashes_a_reader(mode: str, text: str) -> None:
    try:
        reading = READERS[mode](text, SIZE)
    except WrongFormat as error:
        assert str(error)
    else:
        assert isinstance(reading.x, float)
        assert isinstance(reading.y, float)


@given(fractions, fractions)
def test_every_reader_agrees_on_the_models_own_form(x: float, y: float) -> None:
    for mode in READERS:
        assert point(mode, f"pyautogui.click(x={x}, y={y})") == (x, y)


@given(st.integers(2, 999), st.integers(2, 499), st.sampled_from(["click({}, {})", "[{}, {}]", "x={} y={}", "{} {}"]))
def test_pixels_and_fractions_of_the_same_point_agree(x: int, y: int, form: str) -> None:
    assert point("reader", form.format(x, y)) == pytest.approx(point("reader", form.format(x / 1000, y / 500)))


UNITS = (
    *("x=", "x=1, ", "x= ", "x=0.", "x:1 and ", "y=0.5 ", "(1", "(1 ", "[", "[1,", "[1 ,", "click(", "click(1"),
    *("<bbox>", "<bbox", "< bbox", "<point>", "<box>(1,2),", "bbox: ", "bbox: 1 ", "1", "1.", "-", " ", '"', "，"),
)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("mode", [mode for mode in READERS if mode != "reader-thousand"])
def test_growth_is_linear_in_the_response(mode: str, unit: str) -> None:
    assert is_linear(lambda text: point(mode, text), unit)


@pytest.mark.parametrize("mode", READERS)
def test_growth_is_linear_after_a_prefix(mode: str) -> None:
    for prefix in ("[1,", "x=1,", "x=", "<bbox>", "click("):
        assert is_linear(lambda text, prefix=prefix: point(mode, prefix + text), " ")
