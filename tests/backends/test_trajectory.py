"""What budgets make of one stream of tokens, with a scripted stream in place of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvl_eval.engine.trajectory import Alphabet, Output, Trajectory
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN, split_thought
from kvl_eval.types import Generation, Policy

STOP = 256
PIECES = ("◁", "think", "▷", "/", "◁/", "/think▷", "▷A", "b◁", "x◁/th", "ink", THINK_OPEN, THINK_CLOSE, "\n", "word ")
NAMES = {256: b"<|im_end|>", **{257 + i: piece.encode() for i, piece in enumerate(PIECES)}}
IDS = {name: number for number, name in NAMES.items()}

Next = Callable[[list[int], int], int]  # (tokens in the cache, number of the draw) -> next token


def token_bytes(token: int) -> bytes:
    return NAMES[token] if token in NAMES else bytes([token])


def encode(text: str) -> list[int]:
    """Bytes, with each marker's pieces as the real vocabulary has them: several tokens."""
    return list(text.encode())


ALPHABET = Alphabet(token_bytes, encode, frozenset({STOP}))


def ids(*pieces: str) -> list[int]:
    """Token ids of named pieces; anything else byte by byte; `STOP` is the stop id."""
    found: list[int] = []
    for piece in pieces:
        if piece == "STOP":
            found.append(STOP)
        else:
            found += [IDS[piece.encode()]] if piece.encode() in IDS else encode(piece)
    return found


def run(generation: Generation, following: Next, prefix: str = "") -> tuple[dict[int | None, Output], int]:
    """{budget: output} and tokens fed, as an engine drives a trajectory; checks what it says of the cache."""
    trajectory = Trajectory(generation, ALPHABET, prefix=prefix)
    cache: list[int] = []
    outputs: list[Output] = []
    fed = 0
    while not trajectory.finished:
        assert trajectory.line == cache + trajectory.pending
        assert trajectory.fed == cache
        if trajectory.pending:
            cache.append(trajectory.pending.pop(0))
            fed += 1
        if not trajectory.pending:
            trajectory.push(following(cache, trajectory.step))
            outputs += trajectory.outputs
            trajectory.outputs = []
            if trajectory.cut is not None:
                assert trajectory.cut <= len(cache)
                del cache[trajectory.cut :]
                trajectory.cut = None
    found = {output.budget: output for output in outputs}
    assert len(found) == len(outputs)
    return found, fed


def scripted(*tokens: int) -> Next:
    """A free run of these tokens; a forced answer is `A`, its draw's number as a digit, then the stop id."""

    def following(cache: list[int], step: int) -> int:
        if cache[: step + 1] == list(tokens[: min(step, len(cache))]) and len(cache) == step:
            return tokens[step]
        return {0: ord("A"), 1: ord(str(step % 10))}.get(len(cache) - forced_end(cache), STOP)

    return following


def forced_end(cache: list[int]) -> int:
    marker = encode(THINK_CLOSE)
    return max(i + len(marker) for i in range(len(cache)) if cache[i : i + len(marker)] == marker)


def parts(output: Output, alphabet: Alphabet = ALPHABET, prefix: str = "") -> tuple[str, str, str]:
    raw, thought = output.texts(alphabet, prefix)
    return raw, thought.thinking, thought.answer


def one(budget: int, policy: Policy, *tokens: int, answer_tokens: int = 8) -> tuple[Output, str, str, str]:
    generation = Generation(
        max_new_tokens=None, think_budgets=(budget,), budget_policy=policy, answer_tokens=answer_tokens
    )
    outputs, _ = run(generation, scripted(*tokens))
    return (outputs[budget], *parts(outputs[budget]))


THOUGHT = ids("◁", "think", "▷", "a", "b", "c", "◁/", "think", "▷A")  # 9 tokens, the last one holds an answer's byte
FULL = [*THOUGHT, *ids("B", "STOP")]


def test_a_budget_is_forced_with_the_markers_of_the_family() -> None:
    alphabet = Alphabet(token_bytes, encode, frozenset({STOP}), ("<think>", "</think>"))
    generation = Generation(max_new_tokens=None, think_budgets=(10,), budget_policy="force", answer_tokens=2)
    trajectory = Trajectory(generation, alphabet)
    for token in (*encode("<think>ab<"), *ids("B", "STOP")):
        trajectory.push(token)
    (output,) = trajectory.outputs
    assert trajectory.finished and output.forced
    assert parts(output, alphabet) == ("<think>ab</think>B<|im_end|>", "ab", "B")


# Budgets exactly reached, one below, one above


@pytest.mark.parametrize("policy", ["cut", "force"])
@pytest.mark.parametrize("budget", [9, 10, 500])
def test_a_thought_that_closes_within_the_budget_is_left_alone(policy: Policy, budget: int) -> None:
    output, raw, thinking, answer = one(budget, policy, *FULL)
    assert (raw, thinking, answer) == ("◁think▷abc◁/think▷AB<|im_end|>", "abc", "AB")
    assert (output.thinking, output.answer) == (9, 1)
    assert (output.closed, output.forced, output.finish) == (True, False, "stop")


def test_cut_one_token_early_leaves_no_answer() -> None:
    output, raw, thinking, answer = one(8, "cut", *FULL)
    assert (raw, thinking, answer) == ("◁think▷abc◁/think", "abc◁/think", "")
    assert (output.thinking, output.answer, output.closed, output.finish) == (8, 0, False, "budget")


@pytest.mark.parametrize("budget", [8, 7, 6])
def test_force_takes_back_an_unfinished_marker(budget: int) -> None:
    output, raw, thinking, answer = one(budget, "force", *FULL)
    assert raw == f"◁think▷abc◁/think▷A{budget + 1}<|im_end|>"
    assert (thinking, answer) == ("abc", f"A{budget + 1}")
    assert (output.thinking, output.answer) == (6, 2)
    assert (output.closed, output.forced, output.finish) == (True, True, "stop")


def test_force_keeps_the_text_of_a_token_that_ends_with_the_markers_first_bytes() -> None:
    output, raw, thinking, _ = one(5, "force", *ids("◁", "think", "▷", "a", "b◁", "c", "c", "c"))
    assert (raw, thinking) == ("◁think▷ab◁/think▷A6<|im_end|>", "ab")
    assert output.thinking == 5
    output, _, thinking, _ = one(4, "force", *ids("◁", "think", "▷", "x◁/th", "c", "c"))
    assert (thinking, output.thinking) == ("x", 4)


def test_force_drops_half_a_character() -> None:
    _, raw, thinking, _ = one(4, "force", *ids("◁", "think", "▷"), 0xE2, 0x97, 0x8B, *ids("c", "c"))
    assert (raw, thinking) == ("◁think▷◁/think▷A5<|im_end|>", "")


def test_budget_zero() -> None:
    output, raw, thinking, answer = one(0, "cut", *FULL)
    assert (raw, thinking, answer) == ("", "", "")
    assert (output.thinking, output.closed, output.finish) == (0, False, "budget")
    output, raw, thinking, answer = one(0, "force", *FULL)
    assert (raw, thinking, answer) == ("◁/think▷A1<|im_end|>", "", "A1")
    assert (output.thinking, output.answer, output.closed, output.forced) == (0, 2, True, True)


@pytest.mark.parametrize("budget", [1, 2])
def test_a_budget_that_ends_inside_the_opening_marker_cuts_a_thought(budget: int) -> None:
    output, raw, thinking, answer = one(budget, "cut", *FULL)
    assert (raw, thinking, answer) == ("◁think"[: [1, 6][budget - 1]], raw, "")
    assert (output.thinking, output.closed, output.finish) == (budget, False, "budget")


# The answer's own allowance


def test_the_answer_has_the_same_allowance_at_every_budget() -> None:
    tokens = [*THOUGHT, *ids(*"BCDEFGHIJKLM")]
    generation = Generation(max_new_tokens=None, think_budgets=(9, 20, 300), answer_tokens=4)
    outputs, _ = run(generation, scripted(*tokens))
    for output in outputs.values():
        assert parts(output)[2] == "ABCDE"
        assert (output.thinking, output.answer, output.finish) == (9, 4, "length")


def test_a_forced_answer_ends_at_its_allowance() -> None:
    output, raw, _, answer = one(5, "force", *ids("◁", "think", "▷"), *ids(*"abcdefgh"), answer_tokens=1)
    assert (raw, answer, output.finish, output.answer) == ("◁think▷ab◁/think▷A", "A", "length", 1)


@pytest.mark.parametrize("policy", ["cut", "force"])
@pytest.mark.parametrize("budget", [0, 1, 100])
def test_output_without_a_thought_has_no_budget(policy: Policy, budget: int) -> None:
    output, raw, thinking, answer = one(budget, policy, *ids(*"Blue", "STOP"))
    assert (raw, thinking, answer) == ("Blue<|im_end|>", "", "Blue")
    assert (output.thinking, output.answer, output.closed, output.finish) == (0, 4, None, "stop")
    output, _, _, answer = one(budget, policy, *ids(*"Blue", "STOP"), answer_tokens=2)
    assert (answer, output.finish, output.answer, output.stop_id) == ("Bl", "length", 2, None)


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_a_thought_that_ends_by_itself_unclosed_has_no_answer(policy: Policy) -> None:
    output, raw, thinking, answer = one(50, policy, *ids("◁", "think", "▷", *"abc", "STOP"))
    assert (raw, thinking, answer) == ("◁think▷abc<|im_end|>", "abc", "")
    assert (output.thinking, output.closed, output.forced, output.finish) == (6, False, False, "stop")


# Without budgets


@pytest.mark.parametrize(
    ("tokens", "limit", "expected"),
    [
        pytest.param(ids("STOP"), 9, ("<|im_end|>", "", "", None, "stop", 0, 0), id="stop-at-once"),
        pytest.param(ids(*"  \n", "STOP"), 9, ("  \n<|im_end|>", "", "  \n", None, "stop", 0, 3), id="white-space"),
        pytest.param(ids(*"abc"), 3, ("abc", "", "abc", None, "length", 0, 3), id="length"),
        pytest.param(
            FULL, 99, ("◁think▷abc◁/think▷AB<|im_end|>", "abc", "AB", True, "stop", 9, 1), id="thought-and-answer"
        ),
        pytest.param(FULL[:9], 9, ("◁think▷abc◁/think▷A", "abc", "A", True, "length", 9, 0), id="answer-in-marker"),
        pytest.param(FULL[:5], 5, ("◁think▷ab", "ab", "", False, "length", 5, 0), id="never-closed"),
        pytest.param(
            ids(THINK_OPEN, "a", THINK_CLOSE, "b", THINK_CLOSE, "c", "STOP"),
            99,
            ("◁think▷a◁/think▷b◁/think▷c<|im_end|>", "a", "b◁/think▷c", True, "stop", 3, 3),
            id="two-closings",
        ),
        pytest.param(
            ids("a", THINK_CLOSE, "b", "STOP"), 99, ("a◁/think▷b<|im_end|>", "a", "b", True, "stop", 2, 1), id="no-open"
        ),
        pytest.param([0xFF, 0xE2, STOP], 99, ("��<|im_end|>", "", "��", None, "stop", 0, 2), id="invalid-utf-8"),
    ],
)
def test_records_without_a_budget(tokens: list[int], limit: int, expected: tuple[object, ...]) -> None:
    outputs, _ = run(Generation(max_new_tokens=limit), scripted(*tokens))
    output = outputs[None]
    found = (*parts(output), output.closed, output.finish, output.thinking, output.answer)
    assert found == expected


def test_a_prefix_is_part_of_the_output_and_of_no_count() -> None:
    generation = Generation(max_new_tokens=None, think_budgets=(2,), answer_tokens=8)
    outputs, _ = run(generation, scripted(*ids(*"abcdef")), prefix=THINK_OPEN + "x")
    assert parts(outputs[2], prefix=THINK_OPEN + "x") == ("◁think▷xab", "xab", "")
    assert (outputs[2].thinking, outputs[2].closed) == (2, False)


# One trajectory gives what separate runs give


def drawn(seed: int) -> Next:
    """A model whose next token depends on everything in its cache and on the draw's number."""

    def following(cache: list[int], step: int) -> int:
        digest = hashlib.sha256(repr((seed, cache, step)).encode()).digest()
        if not cache and digest[1] < 200:
            return IDS[THINK_OPEN.encode()] if digest[2] < 128 else IDS["◁".encode()]
        if cache == [IDS["◁".encode()]] and digest[1] < 220:
            return IDS[b"think"]
        if cache == ids("◁", "think") and digest[1] < 220:
            return IDS["▷".encode()]
        choices = [STOP, *range(257, 257 + len(PIECES)), 0xE2, 0x97, 0x81, *b"abcdefghijklmnop\n"]
        return choices[digest[0] % len(choices)]

    return following


def budgets() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6), wanted=budgets(), policy=st.sampled_from(["cut", "force"]), answer=st.integers(1, 20)
)
def test_a_sweep_equals_separate_runs(seed: int, wanted: list[int], policy: Policy, answer: int) -> None:
    def generation(*values: int) -> Generation:
        return Generation(max_new_tokens=None, think_budgets=values, budget_policy=policy, answer_tokens=answer)

    together, fed = run(generation(*wanted), drawn(seed))
    apart = {}
    for budget in wanted:
        found, _ = run(generation(budget), drawn(seed))
        apart |= found
    assert together == apart
    longest = max(wanted) + answer
    forced = [output for output in together.values() if output.forced]
    assert fed <= max(longest, 16) + sum(output.answer + 1 + len(encode(THINK_CLOSE)) + 4 for output in forced)
    for budget, output in together.items():
        assert budget is not None
        check(output, budget, answer)


def check(output: Output, budget: int, answer_tokens: int) -> None:
    raw, thinking, answer = parts(output)
    if raw.lstrip().startswith(THINK_OPEN):
        assert output.thinking <= budget
    assert output.answer <= answer_tokens
    if output.closed is False:
        assert answer == ""
        assert output.answer == 0
    else:
        kept = raw if output.stop_id is None else raw.removesuffix("<|im_end|>")
        split = split_thought(kept)
        assert (split.thinking, split.answer) == (thinking, answer)
        has_second_thought = kept.partition(THINK_CLOSE)[2].lstrip().startswith(THINK_OPEN)
        assert split.closed == output.closed or has_second_thought


@given(seed=st.integers(0, 10**6), small=st.integers(1, 60), large=st.integers(1, 60))
def test_a_longer_run_begins_with_the_shorter_one(seed: int, small: int, large: int) -> None:
    runs = [run(Generation(max_new_tokens=limit), drawn(seed))[0][None].ids for limit in sorted((small, large))]
    assert runs[1][: len(runs[0])] == runs[0]


def test_five_budgets_cost_the_longest_and_their_answers() -> None:
    """Cut costs nothing; force feeds, for each budget, its marker and its answer, and no thought again."""
    tokens = ids("◁", "think", "▷", *("word " for _ in range(200)))
    sweep = (10, 20, 40, 80, 160)
    _, cut = run(Generation(max_new_tokens=None, think_budgets=sweep), scripted(*tokens))
    assert cut == 159
    _, force = run(Generation(max_new_tokens=None, think_budgets=sweep, budget_policy="force"), scripted(*tokens))
    marker = len(encode(THINK_CLOSE))
    assert force == 159 + 1 + 5 * (marker + 2)
