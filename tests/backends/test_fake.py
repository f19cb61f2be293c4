from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.thinking import split_thought
from kvl_eval.types import Completion, Generation, Message


def request(key: str = "tiny/q/1", text: str = "How many?", **fields: Any) -> Request:
    generation = fields.pop("generation", Generation(max_new_tokens=100))
    return Request(key=key, messages=(Message.user(text),), generation=generation, **fields)


def answers(requests: list[Request], **args: Any) -> list[tuple[str, Completion]]:
    async def collect() -> list[tuple[str, Completion]]:
        return [found async for found in FakeBackend(Settings.of(model_args=args)).generate(iter(requests))]

    return asyncio.run(collect())


def one(requested: Request, **args: Any) -> Completion:
    [(_, completion)] = answers([requested], **args)
    return completion


@pytest.mark.parametrize(
    ("script", "expected"),
    [("constant:B", "B"), ("empty", ""), ("echo", "last line"), ("constant:two words", "two words")],
)
def test_scripts(script: str, expected: str) -> None:
    assert one(request(text="first\nlast line\n"), answers=script).answer == expected


def test_the_default_answer_depends_on_the_seed_alone() -> None:
    def answer(key: str, seed: int) -> str:
        return one(request(key, seeds=(seed,))).answer

    assert answer("tiny/a", 1) == answer("tiny/b", 1)
    assert len({answer("tiny/a", seed) for seed in range(50)}) > 5


def test_a_file_speaks_for_samples_with_or_without_their_task(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [
        {"id": "tiny/q/1", "response": ["first", "second"], "thinking": "hm"},
        {"id": "q/2", "response": "for two"},
        {"id": "q/3", "fail": "media_corrupt"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = answers(
        [request(repeats=(0, 1), seeds=(5, 6)), request("tiny/q/2"), request("tiny/q/3"), request("tiny/q/4")],
        answers=str(path),
    )
    assert [(completion.answer, completion.reason) for _, completion in found[:-1]] == [
        ("first", None),
        ("second", None),
        ("for two", None),
        ("", "media_corrupt"),
    ]
    assert found[0][1].raw_output == "◁think▷hm◁/think▷first"
    assert found[-1][1].answer


def test_a_file_speaks_for_samples_of_a_table_whose_path_has_folders(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"id": "q/1", "response": "yes"}))
    assert one(request("file:/some/where/table.jsonl/q/1"), answers=str(file)).raw_output == "yes"
    assert one(request("file:/some/where/table.jsonl/q/2"), answers=str(file)).raw_output != "yes"


def test_repeats_and_budgets_each_get_an_answer() -> None:
    generation = Generation(max_new_tokens=None, think_budgets=(4, 8), answer_tokens=5)
    found = answers([request(repeats=(1, 3), seeds=(7, 9), generation=generation)], answers="constant:B")
    assert [(completion.repeat, completion.budget, completion.seed) for _, completion in found] == [
        (1, 8, 7),
        (1, 4, 7),
        (3, 8, 9),
        (3, 4, 9),
    ]


@pytest.mark.parametrize(
    ("budget", "policy", "closed", "forced", "finish", "thinking", "answer"),
    [
        (7, "cut", True, False, "stop", 7, "B"),
        (8, "cut", True, False, "stop", 7, "B"),
        (6, "cut", False, False, "budget", 6, ""),
        (1, "cut", False, False, "budget", 1, ""),
        (0, "cut", False, False, "budget", 0, ""),
        (7, "force", True, False, "stop", 7, "B"),
        (6, "force", True, True, "stop", 6, "B"),
        (0, "force", True, True, "stop", 0, "B"),
    ],
)
def test_a_thought_of_seven_tokens_at_its_budget(
    budget: int, policy: Any, closed: bool, forced: bool, finish: str, thinking: int, answer: str
) -> None:
    generation = Generation(max_new_tokens=None, think_budgets=(budget,), budget_policy=policy, answer_tokens=5)
    found = one(request(generation=generation), think=5, answers="constant:B")
    assert (found.think_closed, found.budget_forced, found.finish_reason) == (closed, forced, finish)
    assert (found.tokens.thinking, found.answer) == (thinking, answer)
    if budget:
        split = split_thought(found.raw_output)
        assert (split.thinking, split.answer, split.closed) == (found.thinking, found.answer, closed)


def test_budgets_of_one_answer_share_a_trajectory_and_a_prefix() -> None:
    generation = Generation(max_new_tokens=None, think_budgets=(3, 5, 50), answer_tokens=5)
    found = [completion for _, completion in answers([request(generation=generation)], think=10)]
    assert len({completion.trajectory_id for completion in found}) == 1
    assert [completion.budget for completion in found] == [50, 5, 3]
    assert found[0].raw_output.startswith(found[1].raw_output)
    assert found[1].raw_output.startswith(found[2].raw_output)


def test_a_file_may_give_whole_outputs_cut_into_tokens(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    split = ["◁thi", "nk▷", "hm ", "◁/th", "ink▷B"]
    lines = [
        {"id": "split", "tokens": split, "response": "C"},
        {"id": "each", "tokens": [["first"], ["◁think▷", "never"]]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    generation = Generation(max_new_tokens=None, think_budgets=(4, 5), budget_policy="force", answer_tokens=3)
    free, forced = (found for _, found in answers([request("tiny/split", generation=generation)], answers=str(path)))
    assert (forced.raw_output, forced.budget_forced, forced.tokens.thinking) == ("◁think▷hm ◁/think▷C", True, 3)
    assert (free.raw_output, free.answer, free.tokens.thinking) == ("◁think▷hm ◁/think▷B", "B", 5)
    plain, unclosed = (
        found for _, found in answers([request("tiny/each", repeats=(0, 1), seeds=(1, 2))], answers=str(path))
    )
    assert (plain.answer, plain.think_closed) == ("first", None)
    assert (unclosed.answer, unclosed.think_closed, unclosed.finish_reason) == ("", False, "stop")


def test_the_limit_cuts_answer_and_thought() -> None:
    short = Generation(max_new_tokens=2)
    cut = one(request(generation=short), answers="constant:one two three")
    assert (cut.answer, cut.finish_reason, cut.tokens.answer) == ("one two ", "length", 2)
    endless = one(request(generation=short), think=10)
    assert (endless.think_closed, endless.finish_reason, endless.answer) == (False, "length", "")


def test_failures_by_count_share_and_id() -> None:
    requests = [request(f"tiny/{number}") for number in range(100)]
    counted = answers(requests, fail="oom:3+worker_died:5")
    reasons = [completion.reason for _, completion in counted]
    assert reasons[:6] == ["oom", "oom", "oom", "worker_died", "worker_died", None]
    shared = [key for key, completion in answers(requests, fail="timeout:20%") if completion.reason]
    assert shared == [key for key, completion in answers(requests[::-1], fail="timeout:20%") if completion.reason][::-1]
    assert 5 < len(shared) < 40
    assert [key for key, found in answers(requests, fail="nan:@42") if found.reason == "nan"] == ["tiny/42"]
    failed = counted[0][1]
    assert (failed.status, failed.finish_reason, failed.answer) == ("failed", "error", "")


def test_answers_finish_out_of_order_and_stay_the_same() -> None:
    requests = [request(f"tiny/{number}", seeds=(number,)) for number in range(20)]
    in_order = answers(requests)
    mixed = answers(requests, concurrency=8, delay=0.01, jitter=1.0)
    assert [key for key, _ in mixed] != [key for key, _ in in_order]
    said = {key: completion.raw_output for key, completion in in_order}
    assert {key: completion.raw_output for key, completion in mixed} == said


def test_requests_are_pulled_one_by_one() -> None:
    pulled = []

    async def first() -> None:
        def requests() -> Any:
            for number in range(100):
                pulled.append(number)
                yield request(f"tiny/{number}")

        async for _ in FakeBackend(Settings.of(model_args={"concurrency": 4, "delay": 0.001})).generate(requests()):
            return

    asyncio.run(first())
    assert len(pulled) <= 5


def test_an_answer_may_start_with_a_prefix() -> None:
    assert one(request(prefix="The answer is "), answers="constant:B").raw_output == "The answer is B"


def test_what_answers_differently_has_another_fingerprint() -> None:
    def weights(**args: Any) -> Any:
        return FakeBackend(Settings.of(model_args=args)).describe().identity["weights_sha256"]

    assert weights() != weights(answers="empty")
    assert weights() == weights(delay=1, concurrency=3)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"answer": "hash"}, UsageError),
        ({"answers": "no such file"}, ConfigError),
        ({"think": "many"}, ConfigError),
        ({"think": -1}, ConfigError),
        ({"concurrency": 0}, ConfigError),
        ({"fail": "oom"}, UsageError),
        ({"fail": "oom:often"}, UsageError),
    ],
)
def test_arguments_that_cannot_be(args: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        FakeBackend(Settings.of(model_args=args))
