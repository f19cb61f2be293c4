"""What servers of other people refuse, and how they say it: the rows E20, E21, E24 and E25, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvl_eval.backends.base import Settings
from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.errors import ConfigError, EndpointError
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_notes
from kvl_eval.types import Generation
from tests.faults.server_runs import (
    GOOD,
    answer,
    body_of,
    by_question,
    check,
    quick,
    records,
    run,
    words,
)
from tests.faults.stub_server import Answer, Asked, Stub, chat, failing, in_turn, models, serving
from tests.tiny_task import config_of


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(in_turn(chat("B"))) as server:
        yield server


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
    hint = "6 prompts were longer than the server's context; use --max-pixels, --frames or a longer context"
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
    outcome, _, _ = run(tmp_path, stub.url, n=2, model_args={option: value})
    assert outcome.exit_code == 0 and all(name not in asked.body for asked in (*stub.asked, *stub.probes))
    flags = records(outcome)[0].extra.flags
    assert flags == (("fields_omitted",) if option == "omit" else ())
    said = {"seed": "no seed was sent", "temperature": "temperature not sent"}.get(name, f"{name} not sent")
    assert any(said in text for _, text in outcome.folder.warnings) == (option == "omit")


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
        texts = [note.text for note in plan_notes(plan)]
        assert ("no seed was sent: replies are not reproducible" in texts) == (omit is not None)
        assert any("temperature" in text and "not sent" in text for text in texts) == ("temp" in (omit or ""))
    assert len(fingerprints) == 4, "the order says nothing"
    answer(stub, Generation(top_p=0.5, top_k=3), model_args={"omit": every})
    assert set(stub.asked[-1].body) == {"model", "messages"}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (("a", "b"), "the server does not list mine; it lists a, b"),
        (tuple("abcdefg"), "the server does not list mine; it lists a, b, c, d, e, and 2 more"),
        ((*(f"model-{number}" for number in range(300)), "mine"), None),
        ((), None),
    ],
)
def test_a_model_that_the_server_does_not_list_is_noted_before_the_run(
    tmp_path: Path, stub: Stub, listed: tuple[str, ...], expected: str | None
) -> None:
    """It is asked all the same: hosted services know names that they do not list."""
    stub.models = models(*listed)
    config = config_of(words(1), tmp_path, base_url=stub.url, num_workers=0, served_model="mine")
    notes = [note.text for note in plan_notes(plan_run(config, quick(config), [words(1)]))]
    assert [text for text in notes if "does not list" in text] == ([] if expected is None else [expected])


def test_E24_a_field_that_cannot_be_left_out(stub: Stub) -> None:
    with pytest.raises(ConfigError, match="the field 'messages' cannot be omitted"):
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
        "the URL must end in /v1",
    ),
    "events": (Answer(body=b'data: {"choices": []}\n\n'), "bad_response", "turn streaming off"),
    "llamacpp-projector": (failing(400, NO_PROJECTOR), "rejected_request", "start llama.cpp with --mmproj FILE"),
    "llamacpp-loading": (failing(503, "Loading model"), "endpoint_error", "wait for it"),
    "lmstudio-unloaded": (failing(400, "Model unloaded."), "rejected_request", "load it first"),
}


@pytest.mark.parametrize(("reply", "reason", "fix"), HABITS.values(), ids=HABITS)
def test_E25_habits_of_known_servers(stub: Stub, reply: Answer, reason: str, fix: str) -> None:
    stub.script = in_turn(reply)
    completion = answer(stub)
    assert completion.reason == reason and fix in (completion.message or "")


FOR_ALL = {
    "openrouter": (failing(404, "No endpoints found that support image input"), "choose another one"),
    "ollama": (failing(404, 'model "m" not found, try pulling it first'), "run `ollama pull`"),
    "lmstudio-path": (body_of({"error": "Unexpected endpoint or method. (POST /chat)"}), "the URL must end in /v1"),
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
