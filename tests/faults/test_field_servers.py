"""What servers of other people send in a reply: the rows E14 to E19, E22, E23, R11 and S11, over real sockets."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.chat_client import Server, retry_after
from kvl_eval.backends.chat_models import list_models
from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import EndpointError
from kvl_eval.run.judge_stage import judge_run
from kvl_eval.run.plan import plan_run
from kvl_eval.run.progress import Silent
from kvl_eval.run.runner import start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.replies import reply_lines
from kvl_eval.tasks.base import Protocol
from kvl_eval.types import Completion, Generation, TokenCounts
from tests.faults.invariants import check_invariants
from tests.faults.server_runs import (
    GOOD,
    HUGE,
    answer,
    body_of,
    budgeted,
    by_question,
    check,
    quick,
    records,
    run,
    words,
)
from tests.faults.stub_server import MODEL, Answer, Stub, chat, failing, in_turn, models, serving
from tests.tiny_task import config_of, gold_answer, run_tiny, tiny
from tests.tiny_task import score as letter_score


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(in_turn(chat("B"))) as server:
        yield server


# -- wrong types ---------------------------------------------------------------------------------------------------

DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
WRONG: tuple[Any, ...] = (5, True, [], {}, "x", None, DEEP)


def with_value(path: tuple[str | int, ...], value: object) -> Any:
    """GOOD with another value at a path."""
    changed: Any = copy.deepcopy(dict(GOOD))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every field inside a value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from paths_of(inner, (*path, step))


@dataclass(frozen=True)
class Change:
    """A field of GOOD with another value."""

    path: tuple[str | int, ...]
    value: Any

    @property
    def name(self) -> str:
        """As errors name the field."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)[1:]


COUNTS = ("prompt_tokens", "completion_tokens", "reasoning_tokens")
CHANGES = [Change(path, value) for path in paths_of(GOOD) if path[-1] not in (*COUNTS, "role") for value in WRONG]
HARMLESS = {  # the value is one that servers may send
    "model": ("x", None),
    "choices[0].message.content": ("x",),
    "choices[0].message.reasoning_content": ("x", None),
    "choices[0].message.reasoning": ("x", None),
    "choices[0].message.refusal": (None,),
    "choices[0].finish_reason": ("x", None),
    "usage": ({}, None),
    "usage.completion_tokens_details": ({}, None),
}


def is_harmless(change: Change) -> bool:
    return any(type(change.value) is type(value) and change.value == value for value in HARMLESS.get(change.name, ()))


def test_E16_any_field_of_a_reply_with_a_wrong_type(tmp_path: Path, stub: Stub) -> None:
    replies = [chat("B"), *(body_of(with_value(change.path, change.value)) for change in CHANGES)]
    stub.script = by_question(replies)
    outcome, _, _ = run(tmp_path, stub.url, n=len(replies), max_retries=0)
    stored = records(outcome)
    assert len(stored) == len(replies) > 60, "the run goes on"
    for change, record in zip(CHANGES, [stored[number] for number in range(1, len(replies))], strict=True):
        if is_harmless(change):
            assert record.status == "ok", (change, record.message)
        elif change.name == "choices[0].message.refusal" and change.value == "x":
            assert record.reason == "content_filter"
        else:
            assert record.reason == "bad_response", (change, record.status)
            named = "nested too deeply" if change.value is DEEP else change.name.partition("[")[0]
            assert named in record.message, (change, record.message)
    check(outcome, len(replies))


def test_E16_any_field_of_a_judges_reply_with_a_wrong_type(tmp_path: Path, stub: Stub) -> None:
    changes = [change for change in CHANGES if change.value is not DEEP]
    replies = [body_of(with_value(change.path, change.value)) for change in changes]
    content = [{"id": f"q/{n}", "number": 1, "question": f"{n}?", "answer": "B"} for n in range(len(replies))]
    task = tiny(content=content, judge_prompt=lambda sample, text: sample.question)
    outcome = run_tiny(tmp_path, task)
    stub.script = by_question(replies)
    server = Server(base_url=stub.url, model=MODEL, max_retries=0)
    came = judge_run(RunReader(outcome.folder, [task]), server, "answer", Silent())
    assert came.answered + came.failed == len(replies) and came.error is None
    lines = {int(line.sample_id.removeprefix("q/")): line for line in reply_lines(outcome.folder, "tiny")}
    for number, change in enumerate(changes):
        if not is_harmless(change) and (change.name, change.value) != ("choices[0].message.refusal", "x"):
            assert lines[number].reason == "judge_error", change
            assert change.name.partition("[")[0] in lines[number].message, lines[number]


def test_E16_a_field_is_named_by_its_whole_path(stub: Stub) -> None:
    stub.script = in_turn(body_of(with_value(("choices", 0, "message", "refusal"), 5)))
    completion = answer(stub)
    assert completion.reason == "bad_response"
    assert "choices[0].message.refusal: 5, expected text or null" in (completion.message or "")


# -- counts ----------------------------------------------------------------------------------------------------------

ODD_COUNTS = (HUGE, -1, 1.5, float("nan"), True, "3", {}, [], 2**53 + 1)


def test_E14_R11_counts_that_are_none(tmp_path: Path, stub: Stub) -> None:
    usual = {"prompt_tokens": 11, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}
    usages: list[Any] = []
    for value in ODD_COUNTS:
        usages += [{**usual, "prompt_tokens": value}, {**usual, "completion_tokens": value}]
        usages.append({**usual, "completion_tokens_details": {"reasoning_tokens": value}})
    thought = {"message": {"reasoning_content": "so"}}
    stub.script = by_question(
        [chat("B", usage=usual, **copy.deepcopy(thought))]
        + [chat("B", usage=usage, **copy.deepcopy(thought)) for usage in usages]
    )
    outcome, _, _ = run(tmp_path, stub.url, n=len(usages) + 1)
    assert outcome.exit_code == 0 and outcome.results.rows[0].score == 1.0, "the answers stand"
    stored = records(outcome)
    assert stored[0].extra.flags == () and "tokens_split" not in stored[0].extra.others
    for number, usage in enumerate(usages, 1):
        record = stored[number]
        assert record.extra.flags == ("count_unusable",), usage
        counts = [record.tokens.prompt, record.tokens.thinking + record.tokens.answer]
        usable = [value == 11 or value == 3 for value in (usage["prompt_tokens"], usage["completion_tokens"])]
        assert counts == [11 * usable[0], 3 * usable[1]], usage
        if usable[0]:
            assert record.extra.others["tokens_split"] == "by characters"
    check(outcome, len(usages) + 1)  # `score` and `report` read the folder


def test_E14_the_largest_count_is_one(stub: Stub) -> None:
    stub.script = in_turn(chat("B", usage={"prompt_tokens": 2**53, "completion_tokens": 0}))
    completion = answer(stub)
    assert completion.tokens.prompt == 2**53 and "flags" not in completion.extra


@pytest.mark.parametrize("value", ODD_COUNTS, ids=range(len(ODD_COUNTS)))
def test_E14_a_context_length_that_is_none(stub: Stub, value: object) -> None:
    stub.models = models(MODEL, max_model_len=value, owned_by="me")
    [model] = list_models(Server(base_url=stub.url)).models
    assert model.circumstances == {"owned_by": "me"}


# -- headers, tokens, names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999999", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 -0000", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("9" * 400, None),
        ("1_0", None),
        ("٣", None),
        ("[1]", None),
        (None, None),
        (" 7 ", 7.0),
    ],
)
def test_E15_retry_after_that_cannot_be_read(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_E15_the_run_goes_on(tmp_path: Path, stub: Stub) -> None:
    odd = failing(429, retry_after="Wed, 21 Oct 2015 07:28:00 +99999999999999999999")
    stub.script = in_turn(odd, chat("B"))
    outcome, _, _ = run(tmp_path, stub.url, n=2)
    assert outcome.exit_code == 0


ODD_BYTES = (400_000_000_000, 3, True, "x", {}, [256], [-1], [1.5], [0] * 4097, [None], HUGE)


def with_bytes(value: object) -> Answer:
    reply = json.loads(chat("B", logprobs=["B"]).body)
    reply["choices"][0]["logprobs"]["content"][0]["bytes"] = value
    return body_of(reply)


@pytest.mark.parametrize("value", ODD_BYTES, ids=range(len(ODD_BYTES)))
def test_E17_K7_bytes_of_tokens_that_are_none(stub: Stub, value: object) -> None:
    stub.script = in_turn(with_bytes(value))
    assert answer(stub).answer == "B", "nobody needs them"
    stub.script = lambda asked: chat("yes", logprobs=["yes"]) if "Say yes" in asked.texts else with_bytes(value)
    completion = answer(stub, budgeted())
    assert completion.reason == "bad_response"
    assert "choices[0].logprobs.content[0].bytes" in (completion.message or "")


def test_K7_a_body_of_too_many_values_is_not_read(stub: Stub) -> None:
    stub.script = in_turn(Answer(body=b'{"x": [' + b"{}," * 2**21 + b"{}]}"))
    begun = time.monotonic()
    completion = answer(stub)
    assert completion.reason == "bad_response" and "more than 1,048,576 values" in (completion.message or "")
    assert time.monotonic() - begun < 5


def test_E18_names_that_cannot_be_used(stub: Stub) -> None:
    odd = ("\ud800", "", 5, None, "m" * 2**20, "m" * 513, ["m"])
    stub.models = body_of({"data": [{"id": name} for name in odd] + [{}, "m", {"id": "fine"}]})
    listed = list_models(Server(base_url=stub.url))
    assert ([model.id for model in listed.models], listed.unusable) == (["fine"], len(odd) + 2)
    assert Endpoint(Settings.of(base_url=stub.url)).name == "fine"


def test_E18_odd_names_that_can(stub: Stub) -> None:
    stub.models = models("..", "m" * 512, "a/b")
    assert [model.id for model in list_models(Server(base_url=stub.url)).models] == ["..", "m" * 512, "a/b"]


def test_E18_the_error_says_how_many_cannot(stub: Stub) -> None:
    stub.models = body_of({"data": [{"id": "\ud800"}, {"id": ""}, {"id": None}]})
    with pytest.raises(EndpointError) as caught:
        Endpoint(Settings.of(base_url=stub.url)).describe()
    assert "3 entries of /v1/models have no usable id" in caught.value.render()


@pytest.mark.parametrize("name", ["\ud800", "m" * 2**20])
def test_E18_a_reply_by_a_model_of_no_usable_name(stub: Stub, name: str) -> None:
    stub.script = in_turn(chat("B", model=name))
    completion = answer(stub)
    assert completion.reason == "bad_response" and "model: " in (completion.message or "")
    assert len(completion.message or "") < 500


# -- words and forms of answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["stop", "eos", "end_turn", "stop_sequence", "complete"])
def test_E22_words_for_an_answer_that_ended(stub: Stub, word: str) -> None:
    stub.script = in_turn(chat("B", finish=word))
    completion = answer(stub)
    assert (completion.answer, completion.finish_reason, "flags" in completion.extra) == ("B", "stop", False)


@pytest.mark.parametrize("word", ["length", "max_tokens", "model_length"])
def test_E22_words_for_an_answer_that_was_cut(stub: Stub, word: str) -> None:
    stub.script = in_turn(chat("B", finish=word))
    completion = answer(stub)
    assert (completion.answer, completion.finish_reason, "flags" in completion.extra) == ("B", "length", False)


@pytest.mark.parametrize("word", [None, "", "done", "STOP!"])
@pytest.mark.parametrize(("limit", "reason"), [(100, "unknown"), (3, "length")])
def test_E22_an_answer_whose_end_is_unknown_is_kept(stub: Stub, word: str | None, limit: int, reason: str) -> None:
    stub.script = in_turn(chat("B", finish=word))  # of three tokens
    completion = answer(stub, Generation(max_new_tokens=limit))
    assert (completion.status, completion.answer, completion.finish_reason) == ("ok", "B", reason)
    assert completion.extra["flags"] == ["finish_unknown"]


def test_E22_without_the_field(tmp_path: Path, stub: Stub) -> None:
    reply = json.loads(chat("B").body)
    del reply["choices"][0]["finish_reason"]
    stub.script = in_turn(body_of(reply))
    outcome, _, _ = run(tmp_path, stub.url, n=2)
    assert (outcome.exit_code, outcome.results.rows[0].score) == (0, 1.0)
    stored = records(outcome)[0]
    assert (stored.finish_reason, stored.extra.flags) == ("unknown", ("finish_unknown",))
    check(outcome, 2)


def test_E22_under_a_budget(stub: Stub) -> None:
    stub.script = lambda asked: chat("yes" if "Say yes" in asked.texts else "B", logprobs=["B"], finish=None)
    completion = answer(stub, budgeted())
    assert (completion.answer, completion.finish_reason) == ("B", "unknown")
    assert completion.extra["flags"] == ["finish_unknown"]


@pytest.mark.parametrize("word", [None, "done"])
def test_E22_no_text_and_no_end(stub: Stub, word: str | None) -> None:
    stub.script = in_turn(chat("", finish=word))
    assert answer(stub).reason == "bad_response"


@pytest.mark.parametrize("word", ["error", "abort"])
def test_E22_an_answer_that_was_given_up_is_asked_for_again(stub: Stub, word: str) -> None:
    stub.script = in_turn(chat("B", finish=word), chat("A"))
    assert answer(stub, max_retries=1).answer == "A"


def part(text: object, kind: str = "text", field: str = "text") -> dict[str, object]:
    return {"type": kind, field: text}


@pytest.mark.parametrize(
    ("content", "thinking", "text"),
    [
        ([part("c"), part("at")], "", "cat"),
        ([part("c", "output_text"), part("at")], "", "cat"),
        ([part("so", "thinking", "thinking"), part("cat")], "so", "cat"),
        ([part([part("s"), part("o")], "thinking", "thinking"), part("cat")], "so", "cat"),
        ([part("so", "reasoning", "reasoning"), part("cat")], "so", "cat"),
        ([part("so", "reasoning"), part("cat")], "so", "cat"),
    ],
)
def test_E23_content_in_parts(stub: Stub, content: object, thinking: str, text: str) -> None:
    stub.script = in_turn(chat(content))  # type: ignore[arg-type]
    completion = answer(stub)
    assert (completion.status, completion.thinking, completion.answer) == ("ok", thinking, text)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([part("x", "image_url")], 'content[0].type: "image_url"'),
        ([part("x"), {"text": "x"}], "content[1].type is missing"),
        ([part(5)], "content[0].text: 5"),
        ([part(None)], "content[0].text: null"),
        ([part([part("x", "tool")], "thinking", "thinking")], 'content[0].thinking[0].type: "tool"'),
        (["B"], "content[0]"),
        ([], "content: a list"),
    ],
)
def test_E23_parts_that_are_no_answer(stub: Stub, content: object, named: str) -> None:
    stub.script = in_turn(chat(content))  # type: ignore[arg-type]
    completion = answer(stub)
    assert completion.reason == "bad_response" and named in (completion.message or "")


def test_E23_markers_in_the_answer_decide(stub: Stub) -> None:
    stub.script = in_turn(chat("<think>so</think>B", message={"reasoning_content": "something else"}))
    completion = answer(stub)
    assert (completion.thinking, completion.answer) == ("so", "B")
    assert completion.extra["flags"] == ["answer_in_reasoning"]


def test_E19_an_answer_that_the_reasoning_parser_took(tmp_path: Path, stub: Stub) -> None:
    taken = chat(None, message={"reasoning_content": "the answer is B"})
    stub.script = by_question([chat("B"), taken, chat("B", message={"reasoning": "so"})])
    outcome, _, _ = run(tmp_path, stub.url, n=3)
    assert outcome.results.rows[0].verdicts == {"correct": 2, "no_answer": 1}
    advice = "in 1 of 3 replies all text was in reasoning_content; start the server without its reasoning parser"
    assert ("server", advice) in outcome.folder.warnings
    assert [records(outcome)[number].extra.flags for number in range(3)] == [(), ("answer_in_reasoning",), ()]
    check(outcome, 3)


def test_E19_a_few_are_no_habit(tmp_path: Path, stub: Stub) -> None:
    taken = chat(None, message={"reasoning_content": "the answer is B"})
    stub.script = by_question([taken, *[chat("B")] * 19])
    _, _, progress = run(tmp_path, stub.url, n=20)
    assert not [text for text in progress.texts if "reasoning parser" in text]


def test_E19_a_thought_that_the_limit_ended_is_none(stub: Stub) -> None:
    stub.script = in_turn(chat(None, message={"reasoning_content": "so and"}, finish="length"))
    assert "flags" not in answer(stub).extra


# -- what is stored --------------------------------------------------------------------------------------------------


class Counting(FakeBackend):
    """Gives a count that no record can hold for one question."""

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        async for key, completion in super().generate(requests):
            if key.endswith("q/3"):
                completion = replace(completion, tokens=TokenCounts(prompt=HUGE))
            yield key, completion


def test_R11_a_count_that_could_not_be_read_again_costs_its_sample(tmp_path: Path) -> None:
    task = tiny(5)
    config = config_of(task, tmp_path)
    backend = Counting(config.settings, answer=gold_answer)
    outcome = start_run(plan_run(config, backend, [task]), backend)
    assert outcome.exit_code == 3
    stored = {record.sample_id: record for record in outcome.folder.records("tiny")}
    assert [record.reason for name, record in stored.items() if name != "q/3"] == [None] * 4
    assert stored["q/3"].reason == "unusable_answer"
    assert "tokens.prompt: about 10^400" in (stored["q/3"].message or "")
    check_invariants(outcome.folder.path, task, exit_code=3)


STOPS = ("</s>", "<|eot_id|>", "<end_of_turn>", "<|im_end|>")


@pytest.mark.parametrize("view", ["answer", "raw"])
def test_S11_scorers_never_see_a_servers_stop_token(tmp_path: Path, stub: Stub, view: Literal["answer", "raw"]) -> None:
    stub.script = by_question([chat(f"<think>so</think>B{stop}") for stop in STOPS])
    seen: list[str] = []

    def note(sample: Any, text: str, extraction: Any) -> Any:
        seen.append(text)
        return letter_score(sample, text, extraction)

    task = replace(words(len(STOPS)), protocols={"official": Protocol(score=note)})
    config = config_of(task, tmp_path, base_url=stub.url, num_workers=0, score_view=view)
    backend = quick(config)
    outcome = start_run(plan_run(config, backend, [task]), backend)
    assert len(seen) >= len(STOPS)
    assert not [text for text in seen for stop in STOPS if stop in text]
    for number, record in records(outcome).items():
        assert (record.extra.stop_token, record.answer) == (STOPS[number], "B")
        assert record.raw_output.endswith(STOPS[number]), "stored as it came"


@pytest.mark.parametrize("text", ["<s>B</s>", "B</s>."])
def test_S11_what_only_looks_like_a_stop_token_stays(stub: Stub, text: str) -> None:
    stub.script = in_turn(chat(text))
    assert answer(stub).answer == text


def test_E16_a_lone_surrogate_in_an_answer(tmp_path: Path, stub: Stub) -> None:
    stub.script = in_turn(chat("B \ud800", logprobs=["B \ud800"]))
    assert answer(stub).answer == "B \ud800"
    stub.script = lambda asked: chat("yes", logprobs=["yes"]) if "Say yes" in asked.texts else chat("B\ud800")
    assert answer(stub, budgeted()).reason in ("bad_response", None)
