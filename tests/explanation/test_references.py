"""References: how a number is read, whether it can be a share, and what is known of a published result."""

from __future__ import annotations

import pytest

from kvl_eval.errors import UsageError
from kvl_eval.explanation.references import (
    GapTarget,
    is_feasible,
    is_number,
    known_of,
    number,
    published_target,
    reproductions,
    setting_lines,
    system_named,
    unknowable,
)
from kvl_eval.store.manifest import Manifest
from kvl_eval.tasks import TASKS
from kvl_eval.types import Generation, Unit


@pytest.mark.parametrize(
    ("text", "unit", "value", "step"),
    [
        ("57", "percent", 0.57, 0.01),
        ("57.0", "percent", 0.57, 0.001),
        ("57.0%", "percent", 0.57, 0.001),
        ("57,0", "percent", 0.57, 0.001),
        ("0", "percent", 0.0, 0.01),
        ("867", "points", 0.867, 0.001),
    ],
)
def test_a_number_is_in_the_unit_that_the_task_prints(text: str, unit: Unit, value: float, step: float) -> None:
    target = number(text, unit)
    assert is_number(text)
    assert (target.value, target.step) == (pytest.approx(value), pytest.approx(step))
    assert bool(target.note) is ("," in text)


@pytest.mark.parametrize(
    ("text", "unit"), [("570", "percent"), ("-3", "percent"), ("nan", "percent"), ("1001", "points")]
)
def test_a_number_outside_the_range_is_refused(text: str, unit: Unit) -> None:
    with pytest.raises(UsageError, match="from 0 to"):
        number(text, unit)


def test_what_may_be_a_fraction_is_asked() -> None:
    with pytest.raises(UsageError, match=r"0\.57 percent, or 57\?"):
        number("0.57", "percent")


@pytest.mark.parametrize("text", ["latest", "20261130-1200", "kimi-vl-a3b-instruct", "runs/57"])
def test_names_are_no_numbers(text: str) -> None:
    assert not is_number(text)


@pytest.mark.parametrize(("n", "expected"), [(900, True), (1000, True), (304, False), (191, False)])
def test_fifty_seven_percent_is_a_share_of_some_numbers_of_questions(n: int, expected: bool) -> None:
    assert is_feasible(GapTarget(value=0.57, printed="57.0", step=0.001), n) is expected


def test_a_published_result_brings_what_is_known_of_it() -> None:
    task = TASKS["mmmu"]
    target = published_target(task, "kimi-vl-a3b-instruct", None)
    assert (target.value, target.printed, target.protocol) == (0.57, "57.0", None)
    generation = {"mmmu": Generation(temperature=0.2)}
    lines = {
        line.name: line for line in setting_lines(task, Manifest(generation=generation), "reader", known_of(target))
    }
    assert (lines["temperature"].reference, lines["temperature"].evidence) == ("0.0", "read")
    assert lines["temperature"].differs is True
    assert (lines["protocol"].reference, lines["protocol"].differs) == (None, None)
    assert "prompt wording" in unknowable(list(lines.values()))


def test_the_same_number_in_another_form_is_no_difference() -> None:
    task = TASKS["mmmu"]
    known = known_of(published_target(task, "kimi-vl-a3b-instruct", None))
    lines = setting_lines(task, Manifest(generation={"mmmu": Generation(temperature=0)}), "reader", known)
    assert next(line.differs for line in lines if line.name == "temperature") is False


def test_reproductions_are_of_the_same_system_and_benchmark() -> None:
    assert [one.printed for one in reproductions(TASKS["mmmu"], "qwen2.5-vl-7b")] != []
    assert reproductions(TASKS["mmmu"], None) == ()


def test_systems_are_named_by_id_and_by_label() -> None:
    assert system_named("Kimi-VL-A3B-Instruct") == "kimi-vl-a3b-instruct" == system_named("kimi_vl_a3b_instruct")
    assert system_named("no such system") is None


def test_a_system_without_a_result_of_the_task_lists_those_with_one() -> None:
    with pytest.raises(UsageError, match=r"explain\.figure") as caught:
        published_target(TASKS["vstar"], "llama-3.2-11b-inst", None)
    assert "kimi-vl-a3b-thinking-2506" in str(caught.value.why)
