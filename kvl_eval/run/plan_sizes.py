"""How many tokens the prompts of a plan take, and what answering the longest ones will cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kvl_eval.backends.base import Cost, Limits, PromptSize, ServerNeeds
from kvl_eval.errors import MediaError, SampleError
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.tasks.base import Task
from kvl_eval.types import MediaRef, Message, PdfRef, Sample, VideoRef

MANY_PICTURES = 16  # above which the marks around pictures count, too


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """The samples that carry one value of the category by which a task's figures were published.

    Attributes:
        tokens: of its longest prompt; None where the backend cannot tell.
        media:  pictures, videos and documents of that prompt.
        cost:   of answering that prompt, where the backend can tell.
    """

    name: str
    n: int
    tokens: int | None
    media: int
    cost: Cost | None


class PlannedPrompt(NamedTuple):
    """A prompt as messages and as text, and the sizes of pictures whose bytes were read (None: no header in them)."""

    messages: tuple[Message, ...]
    text: str
    sizes: Mapping[MediaRef, tuple[int, int] | None]

    @property
    def media(self) -> list[MediaRef]:
        """Pictures, videos and documents in order."""
        return [ref for message in self.messages for ref in message.media]


@dataclass(slots=True)
class LongestPrompt:
    """Samples met so far, and the prompt among theirs that has most pictures, or else the longest text."""

    n: int = 0
    prompt: PlannedPrompt = field(default_factory=lambda: PlannedPrompt((), "", {}))
    media: int = -1

    def take(self, prompt: PlannedPrompt) -> None:
        self.n += 1
        media = len(prompt.media)
        if (media, len(prompt.text)) > (self.media, len(self.prompt.text)):
            self.prompt, self.media = prompt, media


@dataclass(slots=True)
class LargestPrompt:
    """Bounds of the prompts met so far, one by one; None where a prompt's own files decide.

    Attributes:
        text:   bytes of text.
        images: pictures and frames.
    """

    text: int | None = 0
    images: int | None = 0

    def take(self, prompt: PlannedPrompt, frames: int | None) -> None:
        """Count a prompt; `frames` of a video, where that is said for the run."""
        media = prompt.media
        counts = [_images_of(ref, frames) for ref in media]
        images = None if None in counts else sum(count or 0 for count in counts)
        is_spoken = any(isinstance(ref, VideoRef) for ref in media)  # lines of subtitles may come with it
        self.text = _larger(self.text, None if is_spoken else len(prompt.text.encode("utf-8", "replace")))
        self.images = _larger(self.images, images)


def _larger(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _images_of(ref: MediaRef, frames: int | None) -> int | None:
    """Most pictures that a medium becomes; None for a document of unknown length."""
    if isinstance(ref, VideoRef):
        return frames or ref.frames
    return ref.max_pages if isinstance(ref, PdfRef) else 1


def server_needs(largest: Sequence[LargestPrompt], config: RunConfig) -> ServerNeeds:
    """What tasks with such prompts want of a server that is started for them."""
    text: int | None = 0
    images: int | None = 0
    for bounds in largest:
        text, images = _larger(text, bounds.text), _larger(images, bounds.images)
    answer = max((task.generation.limit for task in config.tasks), default=0)
    return ServerNeeds(text=text, images=images, answer=answer, seed=config.seed)


def parts_of(task: Task, sample: Sample) -> tuple[str, ...]:
    by = task.reference.by if task.reference is not None else None
    return () if by is None else sample.categories.get(by, ())


def plan_part(name: str, part: LongestPrompt, limits: Limits, config: TaskConfig) -> PlanPart:
    counted = count_tokens(part.prompt, limits, config)
    tokens = counted.tokens if isinstance(counted, PromptSize) else counted
    pictures = counted.image_tokens if isinstance(counted, PromptSize) else 0
    cost = None
    if limits.cost is not None and tokens is not None:
        cost = limits.cost(tokens, pictures, config.generation)
    return PlanPart(name=name, n=part.n, tokens=tokens, media=part.media, cost=cost)


def count_tokens(prompt: PlannedPrompt, limits: Limits, config: TaskConfig) -> int | PromptSize | None:
    """Tokens of text and pictures of one prompt; None where the backend cannot tell, or files cannot be used."""
    media = prompt.media
    if limits.prompt_size is not None and (
        len(media) > MANY_PICTURES or any(isinstance(ref, VideoRef | PdfRef) for ref in media)
    ):
        try:
            return limits.prompt_size(prompt.messages, config.generation)
        except SampleError:
            return None  # it stays planned, and fails when its turn comes
    if limits.text_tokens is None:
        return None
    count = limits.text_tokens(prompt.text)
    for ref in media:
        size = prompt.sizes[ref] if ref in prompt.sizes else image_size(ref)
        if size is None or limits.image_tokens is None:
            return None
        count += limits.image_tokens(*size)
    return count


def image_size(ref: MediaRef) -> tuple[int, int] | None:
    if isinstance(ref, VideoRef | PdfRef):
        return None
    from kvl_eval.media.images import header_size

    try:
        return header_size(ref)
    except MediaError:
        return None
