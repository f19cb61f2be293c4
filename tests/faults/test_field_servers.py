"""What servers of other people send: the rows E14 to E25, each over a real socket on 127.0.0.1."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.chat_client import ChatClient, Server, retry_after
from kvl_eval.backends.chat_models import list_models
from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import ConfigError, EndpointError
from kvl_eval.run.judge_stage import judge_run
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.run.progress import Silent
from kvl_eval.run.runner import start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.replies import reply_lines
from kvl_eval.tasks.base import Protocol
from kvl_eval.types import Completion, Generation, Message, TokenCounts
from tests.faults.invariants import check_invariants
from tests.faults.server_runs import check, quick, records, run, words
from tests.faults.stub_server import MODEL, Answer, Asked, Stub, chat, failing, in_turn, models, serving
from tests.tiny_task import config_of, gold_answer, run_tiny, tiny
from tests.tiny_task import score as letter_score

HUGE = 10**400


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(in_turn(chat("B"))) as server:
        yield server


def body_of(value: object) -> Answer:
    """A success with that body."""
    return Answer(body=json.dumps(value).encode())


def by_question(replies: list[Answer]) -> Callable[[Asked], Answer]:
    """The reply to the question `N?` is the Nth."""
    return lambda asked: replies[int(asked.texts.partition("?")[0].split()[-1])]


def answer(stub: Stub, generation: Generation | None = None, **settings: Any) -> Completion:
    """One answer of the backend."""
    request = Request(key="tiny/q", messages=(Message.user("0?"),), generation=generation or Generation())

    async def collect() -> list[tuple[str, Completion]]:
        backend = Endpoint(Settings.of(**{"base_url": stub.url, "num_workers": 0, "max_retries": 0, **settings}))
        backend.client = ChatClient(replace(backend.server, pause=0.01))
        try:
            return [item async for item in backend.generate([request])]
        finally:
            await backend.close()

    [(_, completion)] = asyncio.run(collect())
    return completion


def budgeted() -> Generation:
    return Generation(max_new_tokens=None, think_budgets=(3,), budget_policy="cut", answer_tokens=4)


# -- wrong types ---------------------------------------------------------------------------------------------------

GOOD: Mapping[str, Any] = {
    "model": MODEL,
    "choices": [
        {
            "message": {
                "role": "assistant",
                "content": "B",
                "reasoning_content": None,
                "reasoning": None,
                "refusal": None,
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 0}},
}
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
    assert "choices[0].message.refusal: 5, wanted text or null" in (completion.message or "")


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
    outcome, _, progress = run(tmp_path, stub.url, n=3)
    assert outcome.results.rows[0].verdicts == {"correct": 2, "no_answer": 1}
    advice = "in 1 of 3 replies the server put all text into reasoning_content; start it without its reasoning parser"
    assert f"notice: {advice}" in progress.texts
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


# -- errors ----------------------------------------------------------------------------------------------------------

VLLM = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."
OVERFLOWS = {
    "vllm": (400, {"object": "error", "message": VLLM, "type": "BadRequestError", "code": 400}),
    "llamacpp-400": (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
            }
        },
    ),
    "llamacpp-500": (
        500,
        {"error": {"code": 500, "message": "the request exceeds the available context size", "type": "server_error"}},
    ),
    "hosted": (
        400,
        {
            "error": {
                "message": "Input is too long (9000 > 4096)",
                "code": "context_length_exceeded",
                "param": "messages",
            }
        },
    ),
    "sglang": (
        400,
        {
            "object": "error",
            "message": "The input (9000 tokens) is longer than the model's context length (4096 tokens).",
        },
    ),
    "inside-200": (200, {"error": {"code": 400, "message": VLLM}}),
}


def test_E20_prompts_longer_than_the_servers_context(tmp_path: Path, stub: Stub) -> None:
    long = [Answer(status=status, body=json.dumps(body).encode()) for status, body in OVERFLOWS.values()]
    stub.script = by_question([chat("B"), *long])
    n = 1 + len(long)
    outcome, _, _ = run(tmp_path, stub.url, n=n)
    stored = records(outcome)
    assert {number: record.reason for number, record in stored.items()} == {0: None} | dict.fromkeys(
        range(1, n), "context_overflow"
    )
    assert len(stub.asked) == n, "no second try"
    for number, (_, body) in enumerate(OVERFLOWS.values(), 1):
        said = stored[number].message or ""
        assert "longer than the server's context" in said
        assert ("9000" in said) == ("9000" in json.dumps(body)), "the server's numbers"
    hint = "6 prompts were longer than the server's context; --max-pixels, --frames or a longer context"
    assert hint in outcome.message and outcome.exit_code == 3
    check(outcome, n)


def test_E20_too_many_tokens_a_minute_is_no_long_prompt(stub: Stub) -> None:
    stub.script = in_turn(
        failing(429, "Request too large: tokens per min (TPM): Limit 30000, Requested 40000"), chat("B")
    )
    assert answer(stub, max_retries=1).answer == "B"


INSIDE: tuple[tuple[object, int], ...] = (
    ({"code": 429, "message": "slow"}, 429),
    ({"code": "429", "message": "slow"}, 429),
    ({"code": 503, "message": "model overloaded"}, 503),
    ({"code": "overloaded", "message": "model overloaded"}, 500),
    ({"code": None, "message": "oh"}, 500),
    ({"code": 200, "message": "oh"}, 500),
    ({"code": 10**400}, 500),
    ({}, 500),
    ("oh", 500),
    (["oh"], 500),
)


@pytest.mark.parametrize(("error", "status"), INSIDE)
@pytest.mark.parametrize("in_choice", [False, True], ids=["body", "choice"])
def test_E21_an_error_inside_a_success_is_tried_again(stub: Stub, error: object, status: int, in_choice: bool) -> None:
    choice = {"message": {"content": ""}, "finish_reason": "error", "error": error}
    broken = body_of({"choices": [choice]} if in_choice else {"error": error})
    stub.script = in_turn(broken, chat("B"))
    completion = answer(stub, max_retries=1)
    assert (completion.answer, completion.attempt) == ("B", 2)
    stub.asked.clear()
    stub.script = in_turn(broken)
    completion = answer(stub)
    assert completion.reason == "endpoint_error" and f"HTTP {status}" in (completion.message or "")


def test_E21_a_request_that_is_refused_inside_a_success(stub: Stub) -> None:
    stub.script = in_turn(body_of({"error": {"code": 400, "message": "too many pictures"}, "choices": []}))
    completion = answer(stub, max_retries=2)
    assert completion.reason == "rejected_request" and "too many pictures" in (completion.message or "")
    assert len(stub.asked) == 1


@pytest.mark.parametrize("code", [401, 403, 404])
def test_E21_a_server_that_refuses_everybody_inside_a_success(stub: Stub, code: int) -> None:
    stub.script = in_turn(body_of({"error": {"code": code, "message": "no"}}))
    with pytest.raises(EndpointError, match=str(code)):
        answer(stub, max_retries=2)


@pytest.mark.parametrize("error", [None, "a warning", {"code": 503}])
def test_E21_an_error_beside_a_usable_answer_is_none(stub: Stub, error: object) -> None:
    stub.script = in_turn(body_of({**GOOD, "error": error}))
    assert answer(stub).answer == "B"


# -- fields that are refused -----------------------------------------------------------------------------------------


def openai(name: str) -> Answer:
    error = {"message": f"Unknown parameter: '{name}'", "type": "invalid_request_error", "param": name}
    return Answer(status=400, body=json.dumps({"error": {**error, "code": "unknown_parameter"}}).encode())


def vllm(name: str) -> Answer:
    message = f"[{{'type': 'extra_forbidden', 'loc': ('body', '{name}'), 'msg': 'Extra inputs are not permitted'}}]"
    return Answer(status=400, body=json.dumps({"object": "error", "message": message, "code": 400}).encode())


def fastapi(name: str) -> Answer:
    detail = [{"loc": ["body", name], "msg": "extra fields not permitted", "type": "value_error.extra"}]
    return Answer(status=422, body=json.dumps({"detail": detail}).encode())


def plain(name: str) -> Answer:
    return Answer(status=400, body=f"{name} is not supported by this model".encode())


def refusing(name: str, wording: Callable[[str], Answer]) -> Callable[[Asked], Answer]:
    return lambda asked: wording(name) if name in asked.body else chat("B")


REFUSED = {
    "seed": "--model-args omit=seed",
    "temperature": "--model-args omit=temperature",
    "max_tokens": "--model-args limit_field=max_completion_tokens",
}


@pytest.mark.parametrize("wording", [openai, vllm, fastapi, plain])
@pytest.mark.parametrize("name", REFUSED)
def test_E24_a_refused_field_is_found_before_the_run(
    tmp_path: Path, stub: Stub, name: str, wording: Callable[[str], Answer]
) -> None:
    stub.script = stub.probe = refusing(name, wording)
    with pytest.raises(EndpointError) as caught:
        run(tmp_path, stub.url, n=3)
    assert (caught.value.code, caught.value.exit_code) == ("endpoint.field", 4)
    assert caught.value.fix == f"add {REFUSED[name]}"
    assert name in (caught.value.why or ""), "the server is quoted"
    assert not stub.asked and not list(tmp_path.iterdir()), "nothing was asked, no folder was made"


@pytest.mark.parametrize("name", REFUSED)
def test_E24_the_advice_works(tmp_path: Path, stub: Stub, name: str) -> None:
    stub.script = stub.probe = refusing(name, openai)
    option, _, value = REFUSED[name].partition(" ")[2].partition("=")
    outcome, _, progress = run(tmp_path, stub.url, n=2, model_args={option: value})
    assert outcome.exit_code == 0 and all(name not in asked.body for asked in (*stub.asked, *stub.probes))
    flags = records(outcome)[0].extra.flags
    assert flags == (("fields_omitted",) if option == "omit" else ())
    assert any(f"{name} not sent" in text for text in progress.texts) == (option == "omit")


def test_E24_at_the_first_sample(tmp_path: Path, stub: Stub) -> None:
    stub.script = refusing("seed", openai)
    with pytest.raises(EndpointError) as caught:
        run(tmp_path, stub.url, n=30)
    assert caught.value.code == "endpoint.field" and "omit=seed" in (caught.value.fix or "")
    assert len(stub.asked) < 10


def test_E24_after_an_answer_it_costs_its_sample(tmp_path: Path, stub: Stub) -> None:
    stub.script = by_question([chat("B"), chat("B"), openai("seed"), chat("B")])
    outcome, _, _ = run(tmp_path, stub.url, n=4, max_connections=1)
    assert [records(outcome)[number].reason for number in range(4)] == [None, None, "rejected_request", None]


@pytest.mark.parametrize(
    ("message", "code", "fix"),
    [
        (
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported.",
            "unsupported_value",
            "--temperature 1",
        ),
        (
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            "unsupported_parameter",
            "--model-args limit_field=max_completion_tokens",
        ),
        ("max_tokens is too large: 9. This model supports at most 8.", "invalid_value", "a smaller --max-new-tokens"),
        ("property 'seed' is unsupported", "", "--model-args omit=seed"),
        ("invalid temperature: only 0.6 is allowed for this model", "", "--temperature 0.6"),
        ("[{'loc': ('body', 'seed'), 'input': {'temperature': 0, 'seed': 5}}]", "", "--model-args omit=seed"),
    ],
)
def test_E24_other_wordings(stub: Stub, message: str, code: str, fix: str) -> None:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    stub.script = in_turn(Answer(status=400, body=body))
    with pytest.raises(EndpointError) as caught:
        answer(stub)
    assert caught.value.fix == f"add {fix}"


@pytest.mark.parametrize(
    "text",
    [
        "too many pictures",
        "stop it",
        "Could not finish because max_tokens was reached",
        "[{'loc': ('body', 'messages'), 'input': {'temperature': 0, 'seed': 5}}]",
    ],
)
def test_E24_a_request_that_is_refused_for_another_reason(stub: Stub, text: str) -> None:
    stub.script = in_turn(failing(400, text))
    assert answer(stub).reason == "rejected_request"


def test_E24_what_is_left_out_adds_up(stub: Stub) -> None:
    stub.script = refusing("temperature", openai)
    with pytest.raises(EndpointError) as caught:
        answer(stub, model_args={"omit": "seed"})
    assert caught.value.fix == "add --model-args omit=seed+temperature"


def test_E24_what_is_left_out_is_part_of_the_runs_identity(tmp_path: Path, stub: Stub) -> None:
    every = "seed+temperature+top_p+top_k+max_tokens+stop+logprobs"
    fingerprints = set()
    for omit in ("seed", "temperature+seed", "seed+temperature", every, None):
        task = words(1)
        args = {} if omit is None else {"omit": omit}
        config = config_of(task, tmp_path, base_url=stub.url, num_workers=0, model_args=args)
        plan = plan_run(config, quick(config), [task])
        fingerprints.add(plan.fingerprint)
        assert ("seed not sent: answers cannot be repeated" in plan_text(plan)) == (omit is not None)
        assert ("temperature" in plan_text(plan).partition("not sent: the server's own")[0]) == ("temp" in (omit or ""))
    assert len(fingerprints) == 4, "the order says nothing"
    answer(stub, Generation(top_p=0.5, top_k=3), model_args={"omit": every})
    assert set(stub.asked[-1].body) == {"model", "messages"}


def test_E24_a_field_that_cannot_be_left_out(stub: Stub) -> None:
    with pytest.raises(ConfigError, match="'messages' is no field that can be left out"):
        Endpoint(Settings.of(base_url=stub.url, model_args={"omit": "seed+messages"}))


@pytest.mark.parametrize("reply", [failing(503), failing(400, "too short"), body_of({}), chat("", finish=None)])
def test_E24_whatever_else_is_wrong_with_the_probe_is_left_to_the_samples(
    tmp_path: Path, stub: Stub, reply: Answer
) -> None:
    stub.probe = in_turn(reply)
    outcome, _, _ = run(tmp_path, stub.url, n=1)
    assert outcome.exit_code == 0 and len(stub.probes) == 1


def test_E24_a_server_that_refuses_everybody_is_found_by_the_probe(tmp_path: Path, stub: Stub) -> None:
    stub.probe = in_turn(failing(401))
    with pytest.raises(EndpointError, match="401"):
        run(tmp_path, stub.url, n=1)
    assert not list(tmp_path.iterdir())


# -- habits ----------------------------------------------------------------------------------------------------------

NO_PROJECTOR = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
HABITS = {
    "ollama-body": (
        body_of({"model": "m", "message": {"role": "assistant", "content": "cat"}, "done": True}),
        "bad_response",
        "give the address up to /v1",
    ),
    "events": (Answer(body=b'data: {"choices": []}\n\n'), "bad_response", "turn streaming off"),
    "llamacpp-projector": (failing(400, NO_PROJECTOR), "rejected_request", "start llama.cpp with --mmproj FILE"),
    "llamacpp-loading": (failing(503, "Loading model"), "endpoint_error", "wait until it has"),
    "lmstudio-unloaded": (failing(400, "Model unloaded."), "rejected_request", "load it there first"),
}


@pytest.mark.parametrize(("reply", "reason", "fix"), HABITS.values(), ids=HABITS)
def test_E25_habits_of_known_servers(stub: Stub, reply: Answer, reason: str, fix: str) -> None:
    stub.script = in_turn(reply)
    completion = answer(stub)
    assert completion.reason == reason and fix in (completion.message or "")


FOR_ALL = {
    "openrouter": (failing(404, "No endpoints found that support image input"), "name another one"),
    "ollama": (failing(404, 'model "m" not found, try pulling it first'), "`ollama pull` it"),
    "lmstudio-path": (body_of({"error": "Unexpected endpoint or method. (POST /chat)"}), "the address up to /v1"),
}


@pytest.mark.parametrize(("reply", "fix"), FOR_ALL.values(), ids=FOR_ALL)
def test_E25_habits_that_concern_every_sample(stub: Stub, reply: Answer, fix: str) -> None:
    stub.script = in_turn(reply)
    with pytest.raises(EndpointError) as caught:
        answer(stub)
    assert fix in (caught.value.fix or "")


def test_E25_a_server_that_is_still_loading_is_waited_for(stub: Stub) -> None:
    stub.script = in_turn(failing(503, "Loading model"), chat("B"))
    assert answer(stub, max_retries=1).answer == "B"


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
