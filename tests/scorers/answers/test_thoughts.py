"""Thoughts of every family: closed, swallowed, unclosed, one after another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.scorers.answers import Wanted, read
from kvl_eval.thinking import FAMILIES, THINK_CLOSE, THINK_OPEN, split_thought

PAIRS = {
    "kimi": ("◁think▷", "◁/think▷"),
    "think": ("<think>", "</think>"),
    "thinking": ("<thinking>", "</thinking>"),
    "thought": ("<thought>", "</thought>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "reflection": ("<reflection>", "</reflection>"),
    "analysis": ("<analysis>", "</analysis>"),
    "scratchpad": ("<scratchpad>", "</scratchpad>"),
    "magistral": ("[THINK]", "[/THINK]"),
    "seed": ("<seed:think>", "</seed:think>"),
    "begin_of_thought": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "gemma": ("<|channel>thought\n", "<channel|>"),
    "harmony": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "harmony_bare": ("analysis", "assistantfinal"),
}
OPTIONS = ("kettle", "ladder", "pump", "hat")
LETTER = Wanted(kind="letter", options=OPTIONS)
PIECES = st.sampled_from([*(marker for pair in PAIRS.values() for marker in pair), "A", " B. ", "\n", "x", "\ufeff"])
OUTPUTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=8).map("".join))


def test_every_family_has_a_pair_here() -> None:
    assert list(PAIRS) == [family.name for family in FAMILIES]


@pytest.mark.parametrize("family", PAIRS)
def test_a_thought_goes_and_the_answer_stays(family: str) -> None:
    opening, closing = PAIRS[family]
    for before in ("", "\n ", "\ufeff", "<|start|>assistant" if family == "harmony" else ""):
        thought = split_thought(f"{before}{opening}The answer is B.{closing}\n\nC ")
        assert (thought.answer, thought.closed, thought.family) == ("C", True, family)
        assert "The answer is B." in thought.thinking
    reading = read(f"{opening}The answer is B.{closing}C", LETTER)
    assert (reading.value, reading.span) == ("C", (len(opening + closing) + 16, len(opening + closing) + 17))


@pytest.mark.parametrize("family", [name for name in PAIRS if name != "harmony_bare"])
def test_a_swallowed_opening_marker_changes_nothing(family: str) -> None:
    thought = split_thought(f"it may be B{PAIRS[family][1]}\nC")
    assert (thought.answer, thought.closed, thought.family) == ("C", True, family)


@pytest.mark.parametrize("family", PAIRS)
def test_an_unclosed_thought_is_no_answer(family: str) -> None:
    output = f"{PAIRS[family][0]}The answer is C."
    assert split_thought(output).closed is False
    reading = read(output, LETTER)
    assert (reading.value, reading.reason) == (None, "thought_unclosed")


def test_case_and_attributes_of_a_marker_do_not_matter() -> None:
    for output in (
        "<THINK>B</THINK>C",
        '<think time="3">B</think>C',
        "<Thinking mode='x'>B</thinking>C",
        "[think]B[/Think]C",
    ):
        assert split_thought(output).answer == "C"


def test_thoughts_one_after_another_all_go() -> None:
    assert split_thought("<think>a</think>\n<reflection>b</reflection>C").answer == "C"
    assert split_thought("a</think><reflection>b</reflection>C").answer == "C"
    assert split_thought("<think>a</think><reflection>b").closed is False


def test_harmony_answers_after_its_last_final_channel() -> None:
    final = "<|start|>assistant<|channel|>final<|message|>"
    output = f"<|channel|>analysis<|message|>say {final}A<|end|><|channel|>commentary<|message|>x{final}C<|return|>"
    assert split_thought(output).answer == "C<|return|>"
    assert read(output, LETTER).value == "C"


def test_what_a_solution_stands_in_is_dropped() -> None:
    output = "<|begin_of_thought|>B<|end_of_thought|>\n<|begin_of_solution|>\nC\n<|end_of_solution|>\n"
    thought = split_thought(output)
    assert thought.answer == "C"
    assert output[thought.start : thought.end] == "C"


def test_a_marker_after_the_answer_began_is_text() -> None:
    assert split_thought("C. The tag <think> opens a thought.").answer == "C. The tag <think> opens a thought."
    assert split_thought("<think>a</think>C <think>b</think> d").answer == "C <think>b</think> d"
    assert split_thought("analysis of the chart: C").closed is None


@given(OUTPUTS)
def test_the_answer_is_a_part_of_the_output(output: str) -> None:
    thought = split_thought(output)
    assert output[thought.start : thought.end] == thought.answer
    if thought.closed is None:
        assert thought.answer == output
    elif thought.closed:
        assert thought.answer == thought.answer.strip()
    else:
        assert thought.answer == ""


@given(st.lists(st.sampled_from([THINK_OPEN, THINK_CLOSE, "A", " (B) ", "\n", "◁", "é"]), max_size=8).map("".join))
def test_the_first_closing_marker_ends_a_thought(output: str) -> None:
    thought = split_thought(output)
    _, closing, after = output.partition(THINK_CLOSE)
    if not after.lstrip().startswith(THINK_OPEN):  # blocks that follow one another at the start all go
        expected = after.strip() if closing else "" if output.lstrip().startswith(THINK_OPEN) else output
        assert (thought.answer, thought.closed is True) == (expected, bool(closing))
