"""What goes through a batch: prompts, the streams that continue them, what comes of them, and why one fails."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kvl_eval.engine.trajectory import Output, Trajectory
from kvl_eval.errors import SampleError
from kvl_eval.types import MediaInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kvl_eval.model.base import Embedded
    from kvl_eval.model.pages import PagePool, PageTable


@dataclass(slots=True, eq=False)
class Prompt:
    """A prompt and the streams that continue it.

    Attributes:
        key:          what the caller knows it by.
        ids:          token ids, with the placeholders of visual tokens.
        places:       where in `ids` the visual tokens stand.
        pixel_values: gives the patches of all pictures; None where there are none or they were encoded.
        grids:        (rows, columns) in patches of each picture.
        pictures:     what they show: prompts with the same ones share their features.
        pages:        names of its full pages: prompts with the same ones share them.
        streams:      one for each repeat.
        order:        the older, the smaller.
        open:         streams that have not ended.
    """

    key: str
    ids: list[int]
    places: Collection[int] = ()
    pixel_values: Callable[[], Tensor] | None = None
    grids: list[tuple[int, int]] = field(default_factory=list)
    pictures: tuple[MediaInfo, ...] = ()
    pages: list[bytes] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    order: int = 0
    open: int = 0
    begun: float = 0.0
    prefill_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Stream:
    """One repeat of a prompt on its way through the batch.

    Attributes:
        table: its pages, from the end of its prefill until it ends or has to wait.
        alone: memory ran out on its account: it has the batch for itself from then on, and fails the next time.
    """

    prompt: Prompt
    repeat: int
    seed: int
    trajectory: Trajectory
    table: PageTable | None = None
    alone: bool = False
    started: float = 0.0

    @property
    def age(self) -> tuple[int, int]:
        """The older, the smaller."""
        return self.prompt.order, self.repeat


@dataclass(frozen=True, slots=True)
class Event:
    """A stream's next finished output, or its end in failure."""

    stream: Stream
    output: Output | None
    error: SampleError | None = None


@dataclass(slots=True)
class BatchCounts:
    """What the model was asked to do; tests and benchmarks read it."""

    prefills: int = 0
    prefill_passes: int = 0
    prefill_tokens: int = 0
    images: int = 0
    vision_calls: int = 0
    decode_steps: int = 0
    decoded_tokens: int = 0
    copied_pages: int = 0
    preempted: int = 0
    out_of_memory: int = 0


class Waiting(NamedTuple):
    """A prompt that was not prefilled yet, or a stream that had to give its pages back."""

    prompt: Prompt
    stream: Stream | None = None

    @property
    def age(self) -> tuple[int, int]:
        return self.stream.age if self.stream else (self.prompt.order, -1)

    @property
    def streams(self) -> list[Stream]:
        return [self.stream] if self.stream else self.prompt.streams

    @property
    def alone(self) -> bool:
        """Whether it is tried while nothing else runs, since memory ran out."""
        return any(stream.alone for stream in self.streams)

    @property
    def tokens(self) -> int:
        """What has to stand in the cache before the next token can be drawn."""
        return len(self.prompt.ids) + (len(self.stream.trajectory.fed) if self.stream else 0)


@dataclass(slots=True)
class Filling:
    """A prefill under way: of a prompt, or of a prompt and what one stream had generated behind it."""

    waiting: Waiting
    embedded: Embedded
    table: PageTable

    @property
    def left(self) -> int:
        """Tokens that are not prefilled yet."""
        return self.embedded.embeds.shape[1] - self.table.length

    def part(self, count: int) -> tuple[Tensor, Tensor]:
        """Embeddings and positions of the next tokens."""
        part = slice(self.table.length, self.table.length + count)
        return self.embedded.embeds[:, part], self.embedded.positions[..., part]


class Ready(NamedTuple):
    """A stream that waits for a row, and the logits behind its beginning."""

    stream: Stream
    logits: Tensor


def overflow(tokens: int, pool: PagePool, prompt: int | None = None) -> SampleError:
    """`tokens` are more than the whole cache holds, in a prompt, or in an answer to one of `prompt` tokens."""
    assert pool.limit is not None
    what = f"a prompt of {tokens} tokens" if prompt is None else f"a prompt of {prompt} tokens and its answer"
    return SampleError(
        "context_overflow",
        f"{what} takes more than the {pool.limit * pool.page_size} tokens of the KV cache",
        why=f"the sample needs {tokens} tokens even with the cache to itself",
        fix="raise --kv-cache-gb, lower --max-pixels or lower --max-new-tokens",
    )


def out_of_memory(tokens: int) -> SampleError:
    return SampleError(
        "oom",
        f"out of memory for a prompt of {tokens} tokens, even when retried alone",
        fix="lower --max-pixels or --max-new-tokens, use --dtype bfloat16 or a device with more memory",
    )


def not_finite() -> SampleError:
    return SampleError(
        "nan",
        "the model computed NaN or infinite logits",
        why="the weights are damaged, or the data type overflowed",
        fix="run `kvl-eval check model`, or use --dtype float32",
    )
