"""Prompts for models that prepare pictures themselves: every picture as PNG, made by worker processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from kvl_eval.backends.jobs import Job
from kvl_eval.media.encoded import EncodedPicture, EncodedTurns, encode_prompt
from kvl_eval.media.layout import MediaPrep
from kvl_eval.media.pool import MediaPool
from kvl_eval.media.settings import MediaSettings
from kvl_eval.model.base import Turn
from kvl_eval.model.registry import served_rule
from kvl_eval.types import Message, Role

NO_PROMPT = EncodedTurns(())


@dataclass(slots=True)
class EncodedJob(Job):
    """A request under way whose prompt has been encoded."""

    prompt: EncodedTurns = NO_PROMPT


def chat_turn(role: Role, parts: Sequence[str | EncodedPicture]) -> Turn:
    """A turn as chat templates take it."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
    return {"role": role, "content": content}


class PromptEncoder:
    """Encodes the prompts of jobs; owns the worker processes. Raises: ConfigError, for unusable settings."""

    def __init__(self, settings: MediaSettings) -> None:
        self._prep = MediaPrep.of(served_rule(), settings)
        self._pool: MediaPool[tuple[Message, ...], EncodedTurns] = MediaPool(
            partial(encode_prompt, prep=self._prep), workers=settings.num_workers, timeout=settings.timeout
        )

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._pool.expect(images)
        self._pool.warm_up()

    def close(self) -> None:
        """End them."""
        self._pool.close()

    async def encode(self, job: EncodedJob) -> None:
        """Fill in a job's prompt and its description in records. Raises: SampleError, for unusable media."""
        messages = job.request.messages
        if all(isinstance(part, str) for message in messages for part in message.parts):
            job.prompt = encode_prompt(messages, self._prep)
        else:
            job.prompt = await asyncio.wrap_future(self._pool.submit(messages))
        job.media, job.prompt_text, job.load = job.prompt.media, job.prompt.text, job.seconds
