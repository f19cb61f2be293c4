"""How many tokens the prompts of a plan take, and what answering the longest ones will cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kvl_eval.backends.base import Cost, Limits, PromptSize
from kvl_eval.errors import MediaError, SampleError
from kvl_eval.run.config import TaskConfig
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
