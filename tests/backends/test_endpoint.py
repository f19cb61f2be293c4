"""The endpoint backend against a stub on 127.0.0.1: what is sent, and what is made of replies."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.errors import ConfigError, EndpointError, KvlEvalError, UsageError
from kvl_eval.request import RequestQueue
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.run.runner import start_run
from kvl_eval.tasks import get_task
from kvl_eval.types import Completion, Generation, ImageRef, Message
from tests.clips import write_clip
from tests.faults.stub_server import MODEL, Asked, Stub, chat, failing, in_turn, models, serving

OPEN, CLOSE = "◁think▷", "◁/think▷"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(in_turn(chat("B"))) as found:
        yield found


def picture(mode: str = "RGB", size: tuple[int, int] = (30, 20), **save: Any) -> ImageRef:
    buffer = BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(buffer, "PNG", **save)
    return ImageRef(name="a picture", data=buffer.getvalue())


def answers(stub: Stub, requests: Iterable[Request] | Request, **settings: Any) -> list[Completion]:
    """All completions, in order of key, repeat and budget."""
    requests = [requests] if isinstance(requests, Request) else requests

    async def collect() -> list[tuple[str, Completion]]:
        backend = Endpoint(Settings.of(**{"base_url": stub.url, "num_workers": 0, **settings}))
        try:
            return [one async for one in backend.generate(requests)]
        finally:
            await backend.close()

    found = asyncio.run(collect())
    return [one for _, one in sorted(found, key=lambda pair: (pair[0], pair[1].repeat, pair[1].budget or 0))]


def asking(*parts: Any, **fields: Any) -> Request:
    return Request(**{"key": "tiny/q", "messages": (Message.user(*parts),), "generation": Generation(), **fields})


def test_what_is_sent(stub: Stub) -> None:
    shown = picture()
    messages = (Message.system("Be brief."), Message.user("Look: ", shown, "what is ", "it?"))
    generation = Generation(max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=4)
    [found] = answers(stub, asking(messages=messages, generation=generation, seeds=(2**52 + 5,)))
    body = dict(stub.asked[0].body)
    system, user = body.pop("messages")
    assert body == {"model": MODEL, "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "seed": 5}
    assert system == {"role": "system", "content": "Be brief."}
    first, second, third = user["content"]
    assert (first["text"], third["text"]) == ("Look: ", "what is it?")
    head, _, data = second["image_url"]["url"].partition(",")
    sent = Image.open(BytesIO(base64.b64decode(data)))
    assert head == "data:image/png;base64"
    assert (sent.mode, sent.tobytes()) == ("RGB", Image.open(BytesIO(shown.data or b"")).convert("RGB").tobytes())
    assert (found.answer, found.finish_reason, found.tokens.prompt, found.tokens.answer) == ("B", "stop", 11, 3)
    assert found.prompt_text == "[system]\nBe brief.\n[user]\nLook: <image:1>what is it?"
    assert (found.seed, found.media[0].resized_to, found.attempt) == (2**52 + 5, (30, 20), 1)


def test_pictures_are_upright_rgb_whatever_the_file_holds(stub: Stub) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    answers(stub, asking(picture("LA"), picture("RGB", exif=exif.tobytes()), "?"))
    sent = [Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in stub.asked[0].pictures]
    assert [(one.mode, one.size, one.info.get("exif")) for one in sent] == [
        ("RGB", (30, 20), None),
        ("RGB", (20, 30), None),
    ]


@pytest.mark.parametrize(
    ("settings", "size", "colour"),
    [({"max_pixels": 600}, (30, 20), None), ({"blind": True}, (60, 40), (128, 128, 128))],
    ids=["max-pixels", "blind"],
)
def test_settings_that_change_pictures(stub: Stub, settings: Any, size: Any, colour: Any) -> None:
    [found] = answers(stub, asking(picture(size=(60, 40)), "?"), **settings)
    sent = Image.open(BytesIO(base64.b64decode(stub.asked[0].pictures[0].partition(",")[2])))
    assert (sent.size, found.media[0].resized_to) == (size, size)
    assert colour is None or set(sent.get_flattened_data()) == {colour}


def test_a_broken_picture_fails_its_sample_alone(stub: Stub) -> None:
    broken = asking(ImageRef(name="x", data=b"nothing"), "?", repeats=(0, 1), seeds=(1, 2))
    found = answers(stub, [broken, asking("?", key="tiny/r")])
    assert [(one.status, one.reason) for one in found] == [("failed", "media_corrupt")] * 2 + [("ok", None)]
    assert len(stub.asked) == 1


def test_frames_of_a_video_are_pictures(stub: Stub, tmp_path: Path) -> None:
    from kvl_eval.types import VideoRef

    made = write_clip(tmp_path / "clip.mp4", 12)
    ref = VideoRef(name="clip", path=made.name, root=str(tmp_path), frames=3)
    [found] = answers(stub, asking(ref, "?"), no_cache=True)
    assert len(stub.asked[0].pictures) == 3
    assert [one.kind for one in found.media] == ["frame"] * 3
    assert [one.index for one in found.media] == [0, 5, 11]


def test_repeats_have_requests_and_seeds_of_their_own(stub: Stub) -> None:
    stub.script = lambda asked: chat(str(asked.body["seed"]))
    found = answers(stub, asking("?", repeats=(0, 3), seeds=(8, 9)))
    assert [(one.repeat, one.seed, one.answer) for one in found] == [(0, 8, "8"), (3, 9, "9")]


@pytest.mark.parametrize(
    ("reply", "thinking", "answer", "closed", "finish"),
    [
        (chat("B"), "", "B", None, "stop"),
        (chat("B", finish="length"), "", "B", None, "length"),
        (chat(f"{OPEN}so{CLOSE}B"), "so", "B", True, "stop"),
        (chat(f"{OPEN}so and", finish="length"), "so and", "", False, "length"),
        (chat("<think>so</think>\n\nB"), "so", "B", True, "stop"),
        (chat("so</think>B"), "so", "B", True, "stop"),
        (chat("<think>so and", finish="length"), "so and", "", False, "length"),
        (chat("B", message={"reasoning_content": "so"}), "so", "B", True, "stop"),
        (chat("B", message={"reasoning": "so"}), "so", "B", True, "stop"),
        (chat(None, message={"reasoning_content": "so and"}, finish="length"), "so and", "", False, "length"),
        (chat(""), "", "", None, "stop"),
    ],
)
def test_thoughts_wherever_the_server_puts_them(
    stub: Stub, reply: Any, thinking: str, answer: str, closed: bool | None, finish: str
) -> None:
    stub.script = in_turn(reply)
    [found] = answers(stub, asking("?"))
    assert (found.thinking, found.answer, found.think_closed, found.finish_reason) == (thinking, answer, closed, finish)
    assert found.tokens.thinking + found.tokens.answer == 3
    assert (found.tokens.thinking > 0) == bool(thinking)


def test_the_servers_own_count_of_a_thought(stub: Stub) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}}
    stub.script = in_turn(chat("B", message={"reasoning_content": "so"}, usage=usage))
    [found] = answers(stub, asking("?"))
    assert (found.tokens.thinking, found.tokens.answer, found.extra["thinking_field"]) == (7, 2, "reasoning_content")


def test_no_more_requests_under_way_than_asked_for(stub: Stub) -> None:
    stub.script = lambda asked: chat("B", delay=0.03)
    found = answers(stub, [asking("?", key=f"tiny/{number}") for number in range(12)], max_connections=3)
    assert len(found) == 12
    assert stub.most_under_way <= 3


# -- thinking budgets

THOUGHT = [OPEN, "a ", "b ", "c ", "d", CLOSE]  # six tokens as the server cuts them
ANSWER = ["so", " B"]


def test_a_request_that_arrives_is_sent_while_another_waits_for_its_answer(stub: Stub) -> None:
    """The stub answers the first only when the second has come."""
    second = threading.Event()

    def script(asked: Asked) -> Any:
        if "slow" in json.dumps(asked.body):
            assert second.wait(10)
        else:
            second.set()
        return chat("B")

    stub.script = script

    async def live() -> list[str]:
        queue, found = RequestQueue(), []
        backend = Endpoint(Settings.of(base_url=stub.url, num_workers=0, max_retries=0))
        queue.put(replace(asking("slow"), key="slow"))
        asyncio.get_running_loop().call_later(0.1, queue.put, replace(asking("late"), key="late"))
        try:
            async for key, completion in backend.answer_queue(queue):
                found.append(f"{key} {completion.answer}")
                if len(found) == 2:
                    queue.close()
        finally:
            await backend.close()
        return found

    assert sorted(asyncio.run(asyncio.wait_for(live(), 20))) == ["late B", "slow B"]


def counting(tokens: list[str], **fields: Any) -> Any:
    return chat("".join(tokens), logprobs=tokens, **fields)


def budgeted(*budgets: int, policy: Any = "cut", answer_tokens: int = 4) -> Request:
    generation = Generation(
        max_new_tokens=None, think_budgets=budgets, budget_policy=policy, answer_tokens=answer_tokens
    )
    return asking("?", generation=generation)


def test_budgets_are_counted_on_the_servers_own_tokens(stub: Stub) -> None:
    stub.script = in_turn(counting(["yes"]), counting([*THOUGHT, *ANSWER]))
    small, exact = answers(stub, budgeted(5, 6))
    assert (small.budget, small.finish_reason, small.answer, small.think_closed) == (5, "budget", "", False)
    assert (small.tokens.thinking, small.raw_output) == (5, "".join(THOUGHT[:5]))
    assert (exact.budget, exact.answer, exact.think_closed) == (6, "so B", True)
    assert (exact.tokens.thinking, exact.tokens.answer, exact.policy) == (6, 2, "cut")
    probe, asked = stub.asked
    assert probe.body["logprobs"] is True and asked.body["logprobs"] is True
    assert asked.body["max_tokens"] == 6 + 4


def test_a_forced_answer_continues_the_closed_thought(stub: Stub) -> None:
    def script(asked: Asked) -> Any:
        last = asked.body["messages"][-1]
        if asked.body.get("echo"):
            return chat(last["content"] + "!")
        if asked.body.get("continue_final_message"):
            return counting(["forced"])
        return counting([*THOUGHT, *ANSWER]) if asked.number else counting(["yes"])

    stub.script = script
    two, three, whole = answers(stub, budgeted(2, 3, 6, policy="force"))
    assert (two.raw_output, two.answer, two.budget_forced) == (f"{OPEN}a {CLOSE}forced", "forced", True)
    assert (three.raw_output, three.tokens.thinking) == (f"{OPEN}a b {CLOSE}forced", 3)
    assert (whole.answer, whole.budget_forced) == ("so B", False)
    last = stub.asked[-1].body
    assert last["messages"][-1] == {"role": "assistant", "content": f"{OPEN}a {CLOSE}"}
    assert (last["max_tokens"], last["add_generation_prompt"]) == (4, False)


def vllm_like(*thought: str, answer: tuple[str, ...] = ("so", " B"), more: bool = False) -> Any:
    """A server that closes thoughts by its own budget, which does not count the opening marker."""

    def script(asked: Asked) -> Any:
        budget = len(thought) if more else asked.body["thinking_token_budget"]
        return counting([*MARKER, *thought[:budget], *MARKER_END, *answer][: asked.body["max_tokens"]])

    return script


MARKER, MARKER_END = ["◁", "think▷"], ["◁", "/think▷"]  # two tokens each
SERVED = {"model_args": {"budget": "thinking_token_budget"}}


def test_an_own_field_of_the_server_for_budgets(stub: Stub) -> None:
    stub.script = vllm_like("a ", "b ", "c")
    four, five, nine = answers(stub, budgeted(4, 5, 9, policy="force"), **SERVED)
    assert (four.raw_output, four.budget_forced) == (f"{OPEN}a b {CLOSE}so B", True)
    assert (five.raw_output, five.budget_forced) == (f"{OPEN}a b c{CLOSE}so B", True)  # closed at 7
    assert (nine.raw_output, nine.budget_forced) == (f"{OPEN}a b c{CLOSE}so B", False)
    assert [(one.tokens.thinking, one.tokens.answer) for one in (four, five, nine)] == [(4, 2), (5, 2), (7, 2)]
    assert [asked.body["thinking_token_budget"] for asked in stub.asked] == [1, 4, 2, 3, 7]  # the marker is learned


def test_the_answer_after_a_served_budget_is_no_longer_than_allowed(stub: Stub) -> None:
    stub.script = vllm_like("a ", "b ", "c", answer=("1", "2", "3", "4", "5"))
    [found] = answers(stub, budgeted(9, policy="force", answer_tokens=3), **SERVED)
    assert (found.answer, found.tokens.answer, found.finish_reason) == ("123", 3, "length")


def test_a_marker_that_the_server_cut_in_two_is_noted(stub: Stub) -> None:
    stub.script = vllm_like("a ", "◁")
    [found] = answers(stub, budgeted(4, policy="force"), **SERVED)
    assert (found.thinking, found.tokens.thinking, found.extra["unfinished_marker"]) == ("a ◁", 4, True)


def test_a_thought_of_a_reasoning_parser_is_counted_on_the_tokens(stub: Stub) -> None:
    tokens = ["<think>", "a ", "b ", "</think>", "so", " B", "<|im_end|>"]
    stub.script = in_turn(counting(["yes"]), chat("so B", message={"reasoning": "a b "}, logprobs=tokens))
    [found] = answers(stub, budgeted(3, policy="force", answer_tokens=1), **SERVED)
    assert (found.thinking, found.answer, found.budget_forced) == ("a b ", "so", True)
    assert (found.tokens.thinking, found.tokens.answer) == (3, 1)


def test_a_server_that_ignores_its_own_field_fails_the_sample(stub: Stub) -> None:
    stub.script = vllm_like("a ", "b ", "c", more=True)
    [found] = answers(stub, budgeted(4, policy="force"), **SERVED)
    assert (found.status, found.reason) == ("failed", "budget")
    assert "5 tokens, budget 4" in (found.message or "")


def ignoring(asked: Asked) -> Any:
    """A server that knows log-probabilities and nothing else."""
    return counting(["yes"])


@pytest.mark.parametrize(
    ("script", "policy", "args", "why"),
    [
        (in_turn(chat("yes")), "cut", {}, "returns no log-probabilities"),
        (in_turn(chat("yes")), "force", {}, "returns no log-probabilities"),
        (ignoring, "force", {}, "cannot continue a prefilled reply"),
        (
            in_turn(failing(400, "no reasoning config")),
            "force",
            {"budget": "thinking_token_budget"},
            "no reasoning config",
        ),
        (in_turn(chat("yes")), "cut", {"budget": "thinking_token_budget"}, "budget-policy force"),
        (in_turn(chat("yes")), "force", {"budget": "thinking_token_budget"}, "returns no log-probabilities"),
        (
            in_turn(counting(["◁", "think", "▷", "a", CLOSE, "B"])),
            "force",
            {"budget": "thinking_token_budget"},
            "a budget of 2 is too small",
        ),
        (
            in_turn(counting(["yes"]), chat("B", message={"reasoning": "so"}, logprobs=["so", "B"])),
            "cut",
            {},
            "reasoning",
        ),
    ],
)
def test_a_server_without_means_for_budgets_is_refused(
    stub: Stub, script: Any, policy: str, args: dict[str, str], why: str
) -> None:
    stub.script = script
    with pytest.raises(EndpointError) as caught:
        answers(stub, budgeted(2, policy=policy), model_args=args)
    assert caught.value.code == "endpoint.budget" and why in caught.value.render()
    assert caught.value.message.endswith(f"with --budget-policy {policy}") or "budget of 2" in why or "reasoning" in why


def test_tokens_that_do_not_spell_the_text_fail_the_sample(stub: Stub) -> None:
    stub.script = in_turn(counting(["yes"]), chat("so B", logprobs=["so", "A"]))
    [found] = answers(stub, budgeted(3))
    assert found.reason == "bad_response" and "do not match its text" in (found.message or "")


# -- names and flags


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"base_url": None}, ConfigError, "needs --base-url"),
        ({"base_url": "localhost:8000"}, ConfigError, "not a URL"),
        ({"model_args": {"budgets": "tokens"}}, UsageError, "unknown model argument"),
        ({"model_args": {"budget": "guess"}}, ConfigError, "budget='guess'"),
        ({"api_key_env": "KVL_EVAL_NO_SUCH_KEY"}, UsageError, "no API key in"),
    ],
)
def test_flags_that_name_no_server(stub: Stub, settings: Any, error: type[KvlEvalError], text: str) -> None:
    with pytest.raises(error, match=text):
        Endpoint(Settings.of(**{"base_url": stub.url, **settings}))


def test_the_only_model_listed_is_taken_and_of_several_one_must_be_named(stub: Stub) -> None:
    assert Endpoint(Settings.of(base_url=stub.url)).name == MODEL
    stub.models = models("a", "b")
    with pytest.raises(EndpointError, match="lists several models") as caught:
        Endpoint(Settings.of(base_url=stub.url)).describe()
    assert "a, b" in (caught.value.why or "")
    assert Endpoint(Settings.of(base_url=stub.url, served_model="b")).name == "b"


def test_what_the_server_says_of_its_model_is_its_identity(stub: Stub) -> None:
    stub.models = models(MODEL, root="/models/a", max_model_len=4096)
    backend = Endpoint(Settings.of(base_url=stub.url))
    description = backend.describe()
    assert description.identity == {"weights_served": {"id": MODEL, "root": "/models/a"}, "dtype": None}
    assert description.facts["server"] == {"max_model_len": 4096}


def test_a_known_checkpoint_counts_tokens_and_notices_other_counts(stub: Stub) -> None:
    settings = {"model_args": {"checkpoint": "kimi-vl-nano"}}
    backend = Endpoint(Settings.of(base_url=stub.url, **settings))
    limits = backend.limits()
    assert limits.image_tokens is not None and limits.text_tokens is not None
    request = asking(picture(size=(56, 56)), "Where?")
    ours = answers(stub, request, **settings)[0].extra["prompt_tokens_ours"]
    assert limits.image_tokens(56, 56) == 4 < ours < 40
    stub.script = in_turn(chat("B", usage={"prompt_tokens": ours, "completion_tokens": 1}))
    assert "prompt_tokens_ours" not in answers(stub, request, **settings)[0].extra


def test_mini_splits_from_end_to_end(stub: Stub, tmp_path: Path) -> None:
    def script(asked: Asked) -> Any:
        return chat("x: 0.5, y: 0.5" if "point" in asked.texts.lower() else "7")

    stub.script = script
    tasks = [get_task("mathvista"), get_task("screenspot-v2")]
    given = {"base_url": stub.url, "split": "mini", "limit": 5, "output_dir": str(tmp_path), "num_workers": 0}
    config = resolve("endpoint", "other", tasks, given)
    backend = Endpoint(config.settings)
    plan = plan_run(config, backend)
    assert "prompt tokens unknown" in plan_text(plan, details=True)
    outcome = start_run(plan, backend)
    assert outcome.exit_code == 0
    assert [(row.task, row.n_scored) for row in outcome.results.rows[:2]] == [
        ("mathvista", 5),
        ("screenspot-v2", 5),
    ]
    assert all(len(asked.pictures) == 1 for asked in stub.asked) and len(stub.asked) == 10
    manifest = json.loads((outcome.folder.path / "run.json").read_text())
    assert (manifest["model"]["name"], manifest["model"]["family"]) == (MODEL, "other")
    assert outcome.results.rows[0].reference is None


def test_approximate_budgets_bound_thought_and_answer_by_max_tokens(stub: Stub) -> None:
    stub.script = in_turn(chat("yes"))
    found = answers(stub, budgeted(2, policy="approximate"))
    assert [(one.budget, one.policy, one.budget_forced) for one in found] == [(2, "approximate", False)]
    assert [asked.body["max_tokens"] for asked in stub.asked] == [2 + budgeted(2).generation.answer_tokens]
    assert "logprobs" not in stub.asked[0].body
