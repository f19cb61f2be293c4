"""How long the engine waits for pictures: `python -m benchmarks.idle`.

Requests with a picture of their own each, prepared by one worker process while the tiny random checkpoint decodes so
many tokens that the model needs at least twice as long a sample as the preparation. The share is of wall time from the
first answer on, so this is the one script that needs a quiet machine. Answers must equal those of pictures prepared
in the engine's own process.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.engine import engine, random_checkpoint
from benchmarks.measure import Row, main
from kvl_eval.backends.base import Request
from kvl_eval.types import Completion, Generation, ImageRef, Message


def measure(tiny: bool = False) -> Sequence[Row]:
    """Rows; raises AssertionError if worker processes change an answer."""
    count, tokens = (3, 4) if tiny else (96, 96)
    requests = [asked(number, tokens) for number in range(count)]
    with random_checkpoint() as folder:
        here, _, _ = timed(engine(folder, batch_size=4), requests[:8])
        backend = engine(folder, batch_size=4, num_workers=1)
        found, seconds, idle = timed(backend, requests)
    assert {key: found[key].raw_output for key in here} == {key: one.raw_output for key, one in here.items()}
    preparing = sum(one.time["load"] for one in found.values()) / count
    working = (seconds - idle) / count
    share = idle / seconds
    return [
        Row(
            what=f"engine idle, {count} samples with an image each",
            against="the whole run after its first answer",
            ours=f"{100 * share:.1f} % ({idle:.2f} s)",
            theirs=f"{seconds:.1f} s; per sample: model {working * 1000:.0f} ms, preparation {preparing * 1000:.0f} ms",
            figure=100 * share,
            unit=" %",
            at_most=None if tiny else 5.0,
        )
    ]


def timed(backend: Any, requests: Iterable[Request]) -> tuple[dict[str, Completion], float, float]:
    """Answers, and the seconds after the first one: all, and those in which the engine waited."""

    async def collect() -> tuple[dict[str, Completion], float, float]:
        found: dict[str, Completion] = {}
        begin = waited = 0.0
        async for key, completion in backend.generate(requests):
            if not found:
                begin, waited = time.perf_counter(), backend.idle_seconds
            found[key] = completion
        seconds = time.perf_counter() - begin
        await backend.close()
        return found, seconds, backend.idle_seconds - waited

    return asyncio.run(collect())


def asked(number: int, tokens: int) -> Request:
    """A question about a picture that no other question shows."""
    from PIL import Image

    file = io.BytesIO()
    Image.effect_noise((160, 120), 20.0 + number).convert("RGB").save(file, "PNG")
    picture = ImageRef(name=f"picture {number}", data=file.getvalue())
    generation = Generation(max_new_tokens=tokens, temperature=1.0)
    message = Message.user(picture, "What is it?")
    return Request(key=f"q/{number}", messages=(message,), generation=generation, seeds=(number,))


if __name__ == "__main__":
    main(__doc__, measure)
