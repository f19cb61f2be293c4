"""Asking the bundled engine about the golden cases of the tiny checkpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kvl_eval.backends.base import Request
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.engine.prompt_maker import MadePrompt
from kvl_eval.types import Completion, Generation, ImageRef, Message

GOLDEN = Path(__file__).resolve().parent.parent / "data" / "kimi_vl"
TINY = GOLDEN / "tiny_checkpoint"
CASES: dict[str, Any] = json.loads((GOLDEN / "cases.json").read_text("utf-8"))
GREEDY = Generation(max_new_tokens=24)
WARM = Generation(max_new_tokens=20, temperature=0.9, top_p=0.95)

Answers = dict[tuple[str, int, int | None], Completion]


def answers(engine: TorchEngine, requests: Iterable[Request]) -> Answers:
    async def collect() -> Answers:
        found: Answers = {}
        async for key, completion in engine.generate(requests):
            place = (key, completion.repeat, completion.budget)
            assert place not in found
            found[place] = completion
        return found

    return asyncio.run(collect())


def answers_at_once(engine: TorchEngine, requests: Sequence[Request]) -> Answers:
    """The same where no request reaches the model before all are prepared, so that counts depend on no clock."""
    make, waiting, complete = engine._prompts.make, set(requests), asyncio.Event()

    async def wait_for_all(request: Request) -> MadePrompt:
        made = await make(request)
        waiting.discard(request)
        if not waiting:
            complete.set()
        await complete.wait()
        return made

    engine._prompts.make = wait_for_all  # type: ignore[method-assign]
    try:
        return answers(engine, requests)
    finally:
        engine._prompts.make = make  # type: ignore[method-assign]


def only(found: Answers) -> Completion:
    (completion,) = found.values()
    return completion


def golden(name: str, generation: Generation = GREEDY, **options: Any) -> Request:
    """A golden case's prompt as a request; its pictures are files."""
    case = CASES[name]
    names = iter(case["images"])
    messages = []
    for message in case["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages.append(
            Message(
                message["role"],
                tuple(
                    part["text"]
                    if part["type"] == "text"
                    else ImageRef(name="picture", path=f"images/{next(names)}.png", root=str(GOLDEN))
                    for part in parts
                ),
            )
        )
    return Request(key=name, messages=tuple(messages), generation=generation, **options)


def ask(key: str, *parts: Any, generation: Generation = GREEDY, **options: Any) -> Request:
    return Request(key=key, messages=(Message.user(*parts),), generation=generation, **options)


def all_golden(generation: Generation = GREEDY, **options: Any) -> list[Request]:
    return [golden(name, generation, **options) for name in CASES]


def texts(found: Answers) -> dict[tuple[str, int, int | None], str]:
    return {place: completion.raw_output for place, completion in found.items()}


def varied(generation: Generation) -> list[Request]:
    """Requests of different length, with and without pictures, each with two repeats."""
    plain = [
        ask(f"q{i}", "word " * (3 * i + 1) + "?", generation=generation, seeds=(i, 100 + i), repeats=(0, 1))
        for i in range(7)
    ]
    return [*plain, *(golden(name, generation, seeds=(5, 6), repeats=(0, 1)) for name in ("one_image", "two_images"))]
