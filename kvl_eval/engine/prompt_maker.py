"""From a request to token ids and prepared pictures, in worker processes: the part of the engine that needs no model.

A request with a video or a document is laid out first (which frames, which pages, which subtitles), its text counted,
and the largest pictures chosen that leave room for the answer; then they are decoded. A request with pictures alone is
prepared at once, and a second time with smaller ones only where the first do not fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kvl_eval.media.cache import MediaCache
from kvl_eval.media.fit import LADDER, fit_limit, limited, overflow, picture_tokens
from kvl_eval.media.frame_rules import DEFAULT_FRAMES
from kvl_eval.media.images import PreparedImage
from kvl_eval.media.layout import LayoutJob, MediaPrep, PictureJob, PromptLayout, run_media_job
from kvl_eval.media.pool import MediaPool
from kvl_eval.media.settings import MediaSettings
from kvl_eval.model.base import EncodedPrompt, TextProcessor, Turn
from kvl_eval.pictures import PictureRule, Size
from kvl_eval.request import PromptSize, Request
from kvl_eval.sources.media_files import cache_home
from kvl_eval.thinking import MARKERS
from kvl_eval.types import Generation, ImageRef, MediaRef, Message, PdfRef, SubtitleRef, VideoRef

USUAL_PAGES = 32  # of a document nobody has opened yet

Job = LayoutJob | PictureJob
Groups = tuple[tuple[PreparedImage, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class MadePrompt:
    """A prompt as the model takes it: ids, places of its visual tokens, pictures in order, and its text.

    In the text `<image:1>` stands where the first picture does.
    """

    ids: list[int]
    places: list[int]
    images: tuple[PreparedImage, ...]
    text: str


class PromptMaker:
    """Makes prompts of requests; owns the worker processes.

    Args:
        rule:     how the checkpoint's pictures become patches.
        text:     its tokenizer and chat template.
        context:  most tokens of prompt and answer together.
        settings: image preparation, `--blind`, sampling of frames, workers, time limit, cache.
        markers:  of a thought; the closing one is written where a budget is forced.
    Raises: ConfigError, for settings that no sample could be prepared with.
    """

    def __init__(
        self,
        rule: PictureRule,
        text: TextProcessor,
        context: int,
        settings: MediaSettings,
        markers: tuple[str, str] = MARKERS,
    ) -> None:
        self.prep = MediaPrep.of(rule, settings, _cache(settings))
        self._text = text
        self._context = context
        self._closing = markers[1]
        self._pool: MediaPool[Job, Any] = MediaPool(
            partial(run_media_job, prep=self.prep), workers=settings.num_workers, timeout=settings.timeout
        )
        self._asked = 0  # images so far

    @property
    def workers(self) -> int:
        """Worker processes."""
        return self._pool.workers

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._pool.expect(images)
        self._pool.warm_up()

    def close(self) -> None:
        """End them."""
        self._pool.close()

    async def make(self, request: Request) -> MadePrompt:
        """A request's ids and pictures; pictures that fit under no limit come as they are, for the caller to refuse.

        Raises: SampleError, for media that cannot be used; `context_overflow` for a video or document that never fits.
        """
        self._asked += self.pictures(request.messages)
        self._pool.expect(self._asked)
        if any(isinstance(part, VideoRef | PdfRef | SubtitleRef) for one in request.messages for part in one.parts):
            return await self._laid_out(request)
        refs = tuple(part for message in request.messages for part in message.media)
        images = _flat(await self._pictures(PictureJob(refs))) if refs else ()
        messages = [_chat_message(message.role, message.parts) for message in request.messages]
        made = self._made(request, messages, images)
        if not images or len(made.ids) + self.new_tokens(request.generation) <= self._context:
            return made
        text = len(made.ids) - sum(image.info.tokens for image in images)
        limit = self._limit(request.generation, [(image.info.w, image.info.h) for image in images], text)
        if limit is None:
            return made
        return self._made(request, messages, _flat(await self._pictures(PictureJob(refs, limit))))

    async def _laid_out(self, request: Request) -> MadePrompt:
        """Videos and documents as frames and pages under the largest limit of patches that fits."""
        layout: PromptLayout = await asyncio.wrap_future(self._pool.submit(LayoutJob(request.messages)))
        messages = [_chat_message(role, parts) for role, parts in layout.turns]
        text = len(self._encoded(request, messages, [0] * len(layout.places)).ids)
        limit = self._limit(request.generation, layout.sizes, text)
        if limit is None:
            raise overflow(layout.sizes, text, self.new_tokens(request.generation), self._context)
        groups = await self._pictures(PictureJob(layout.refs, limit))
        return self._made(request, messages, tuple(groups[place.ref][place.position] for place in layout.places))

    def size(self, messages: Sequence[Message], generation: Generation) -> PromptSize:
        """What a prompt takes, its files looked at by a worker process; no frame is decoded. Raises: SampleError."""
        layout: PromptLayout = self._pool.submit(LayoutJob(tuple(messages))).result()
        shown = [_chat_message(role, parts) for role, parts in layout.turns]
        text = len(self._text.encode_turns(shown, [0] * len(layout.places)).ids)
        limit = self._limit(generation, layout.sizes, text)
        tried = limited(self.prep.config, LADDER[-1] if limit is None else limit)
        tokens = picture_tokens(layout.sizes, tried)
        return PromptSize(
            pictures=len(layout.places),
            image_tokens=tokens,
            tokens=text + tokens,
            limit=tried.limit if tried.limit < self.prep.config.limit else None,
            fits=limit is not None,
        )

    def new_tokens(self, generation: Generation) -> int:
        """Most tokens an answer adds to the prompt."""
        forced = bool(generation.think_budgets) and generation.budget_policy == "force"
        return generation.limit + (len(self._text.encode(self._closing)) if forced else 0)

    def pictures(self, messages: Iterable[Message]) -> int:
        """How many pictures a prompt will have, as far as that can be said before its files are opened."""
        return sum(self._count(ref) for message in messages for ref in message.media)

    def _count(self, ref: MediaRef) -> int:
        ref = self.prep.sampled(ref)
        if isinstance(ref, VideoRef):
            return ref.frames or DEFAULT_FRAMES
        return 1 if isinstance(ref, ImageRef) else ref.max_pages or USUAL_PAGES

    def _limit(self, generation: Generation, sizes: Sequence[Size], text: int) -> int | None:
        return fit_limit(sizes, text, self.new_tokens(generation), self._context, self.prep.config)

    async def _pictures(self, job: PictureJob) -> Groups:
        groups: Groups = await asyncio.wrap_future(self._pool.submit(job))
        return groups

    def _encoded(self, request: Request, messages: Sequence[Turn], image_tokens: Sequence[int]) -> EncodedPrompt:
        ids, places = self._text.encode_turns(messages, image_tokens)
        return EncodedPrompt(ids + self._text.encode(request.prefix), places)

    def _made(self, request: Request, messages: Sequence[Turn], images: tuple[PreparedImage, ...]) -> MadePrompt:
        ids, places = self._encoded(request, messages, [image.info.tokens for image in images])
        return MadePrompt(ids, places, images, self._text.rendered(messages) + request.prefix)


def _cache(settings: MediaSettings) -> MediaCache | None:
    return None if settings.no_cache else MediaCache(cache_home(_path(settings.cache_dir)) / "media")


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _flat(groups: Groups) -> tuple[PreparedImage, ...]:
    return tuple(image for group in groups for image in group)


def _chat_message(role: str, parts: Iterable[object]) -> Turn:
    """A turn for the chat template; everything but text is an image."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
    return {"role": role, "content": content}
