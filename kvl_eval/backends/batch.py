"""Continuous batching over the latent cache: streams of tokens enter and leave at every step.

A step prefills waiting prompts in chunks, gives a row of the cache to each stream of a finished prompt, and decodes one
token in every row. A prompt is prefilled once for all its repeats and budgets; the row of a stream that ends is taken
over by the next.

Where memory runs out, every stream gives up its row and waits; half as many rows are tried. What was generated is not
lost: it is prefilled behind its prompt. A stream that had the batch for itself is tried alone once more, then it fails.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from kvl_eval.backends.trajectory import Output, Trajectory
from kvl_eval.errors import SampleError
from kvl_eval.model.cache import LatentCache
from kvl_eval.model.generate import PREFILL_CHUNK, decode_step
from kvl_eval.model.kimi_vl import KimiVL
from kvl_eval.model.sampling import sample_rows

T = TypeVar("T")

AHEAD = 2  # streams whose prompts are prefilled before there is a row for them
FULL = ("allocate memory", "not enough memory", "out of memory")  # how torch says it in a plain RuntimeError


@dataclass(slots=True, eq=False)
class Prompt:
    """A prompt and the streams that continue it.

    Attributes:
        key:          what the caller knows it by.
        ids:          token ids, with the placeholders of visual tokens.
        pixel_values: gives the patches of all pictures, normalised; dropped once they are encoded as `features`.
        grids:        (rows, columns) in patches of each picture.
        streams:      one for each repeat.
        alone:        memory ran out while it was prefilled.
    """

    key: str
    ids: list[int]
    pixel_values: Callable[[], Tensor] | None = None
    grids: list[tuple[int, int]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    features: Tensor | None = None
    alone: bool = False
    queued: float = 0.0
    begun: float = 0.0
    prefill_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Stream:
    """One repeat of a prompt on its way through the batch; `alone`: memory ran out while nobody else had a row."""

    prompt: Prompt
    repeat: int
    seed: int
    trajectory: Trajectory
    alone: bool = False
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """A stream's next finished output, or its end in failure."""

    stream: Stream
    output: Output | None
    error: SampleError | None = None


@dataclass(slots=True)
class Counts:
    """What the model was asked to do; tests and benchmarks read it."""

    prefills: int = 0
    prefill_tokens: int = 0
    images: int = 0
    decode_steps: int = 0
    decoded_tokens: int = 0
    out_of_memory: int = 0


@dataclass(slots=True)
class _Filling:
    """A prefill under way: of a prompt, or of a prompt and what one stream had generated behind it."""

    prompt: Prompt
    stream: Stream | None
    embeds: Tensor
    cache: LatentCache
    place: int = 0


class _Ready(NamedTuple):
    """A stream that waits for a row, and where its beginning stands; repeats share `cache`."""

    stream: Stream
    cache: LatentCache
    logits: Tensor


class Batch:
    """Prompts in, outputs out.

    Args:
        rows:  most streams decoded together.
        chunk: most prompt tokens prefilled in one step.
    """

    def __init__(self, model: KimiVL, *, rows: int, chunk: int = PREFILL_CHUNK) -> None:
        self.model = model
        self.configured_rows = rows
        self.rows = rows
        self.chunk = chunk
        self.counts = Counts()
        self._waiting: deque[tuple[Prompt, Stream | None]] = deque()
        self._filling: _Filling | None = None
        self._ready: deque[_Ready] = deque()
        self._active: list[Stream | None] = []  # one per row of the cache
        self._cache = model.new_cache()
        self._events: list[Event] = []

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._filling or self._ready or self._running)

    @property
    def room(self) -> int:
        """Streams that can be added until all rows and the short queue before them are taken."""
        waiting = sum(1 if stream else len(prompt.streams) for prompt, stream in self._waiting)
        filling = len(self._filling.prompt.streams) if self._filling else 0
        return self.rows + AHEAD - len(self._running) - len(self._ready) - filling - waiting

    def add(self, prompt: Prompt) -> None:
        """Queue a prompt with its streams."""
        prompt.queued = time.perf_counter()
        self._waiting.append((prompt, None))

    @torch.no_grad()
    def step(self) -> list[Event]:
        """Do a little of everything there is to do; what came of it."""
        self._prefill_some()
        if _unless_full(self._fill_rows) is None:
            self._give_up_rows()
        if self._active:
            self._decode()
        events, self._events = self._events, []
        return events

    @property
    def _running(self) -> list[Stream]:
        return [stream for stream in self._active if stream is not None]

    # -- prefill

    def _prefill_some(self) -> None:
        budget = self.chunk
        while budget > 0 and self._may_prefill():
            prompt, stream = (self._filling.prompt, self._filling.stream) if self._filling else self._waiting.popleft()
            start = time.perf_counter()
            try:
                done = _unless_full(partial(self._prefill_chunk, prompt, stream, budget))
            except SampleError as error:
                self._fail_prefill(prompt, stream, error)
                continue
            finally:
                prompt.prefill_seconds += time.perf_counter() - start
            if done is None:
                self._no_memory_to_prefill(prompt, stream)
                return
            budget -= done

    def _may_prefill(self) -> bool:
        if self._filling or not self._waiting:
            return self._filling is not None
        prompt, stream = self._waiting[0]
        taken = len(self._running) + len(self._ready)
        alone = prompt.alone or (stream is not None and stream.alone)
        if alone or any(one.alone for one in self._running) or any(one.stream.alone for one in self._ready):
            return taken == 0
        return taken < self.rows + AHEAD

    def _prefill_chunk(self, prompt: Prompt, stream: Stream | None, budget: int) -> int:
        """Begin or continue a prefill with at most `budget` tokens; how many they were."""
        if self._filling is None:
            prompt.begun = prompt.begun or time.perf_counter()
            embeds = self._embeddings(prompt, stream)
            self._filling = _Filling(prompt, stream, embeds, self.model.new_cache(rows=1))
            self.counts.prefills += 1
        filling = self._filling
        part = filling.embeds[:, filling.place : filling.place + budget]
        logits = self.model.forward_cached(part, filling.cache)
        filling.place += part.shape[1]
        self.counts.prefill_tokens += part.shape[1]
        if filling.place == filling.embeds.shape[1]:
            self._filling = None
            if not bool(logits.isfinite().all()):
                raise _nan()
            streams = prompt.streams if stream is None else [stream]
            self._ready.extend(_Ready(one, filling.cache, logits) for one in streams)
        return part.shape[1]

    def _embeddings(self, prompt: Prompt, stream: Stream | None) -> Tensor:
        """(1, S, H) of the prompt, its pictures encoded on first use, and of what a stream had generated."""
        if prompt.pixel_values is not None:
            prompt.features = self.model.image_features(prompt.pixel_values(), prompt.grids)
            prompt.pixel_values = None
            self.counts.images += len(prompt.grids)
        embeds = self.model.embed(self._tensor(prompt.ids), prompt.features)
        if stream is None or not stream.trajectory.fed:
            return embeds
        return torch.cat([embeds, self.model.embed(self._tensor(stream.trajectory.fed))], dim=1)

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([ids], dtype=torch.long, device=self.model.device)

    def _fail_prefill(self, prompt: Prompt, stream: Stream | None, error: SampleError) -> None:
        self._filling = None
        self._events += [Event(one, None, error) for one in ([stream] if stream else prompt.streams)]

    def _no_memory_to_prefill(self, prompt: Prompt, stream: Stream | None) -> None:
        """Wait until nothing else runs, then try once more; fail after that."""
        self.counts.out_of_memory += 1
        self._filling = None
        self._release()
        flagged = stream or prompt
        if flagged.alone:
            self._fail_prefill(prompt, stream, _oom(len(prompt.ids)))
            self.rows = self.configured_rows
        else:
            flagged.alone = True
            self._waiting.appendleft((prompt, stream))

    # -- rows

    def _fill_rows(self) -> bool:
        """Give rows to streams that wait for one; rows that nobody wants are given back."""
        free = [row for row, stream in enumerate(self._active) if stream is None]
        wanted = min(len(self._ready), self.rows - len(self._running))
        if wanted > len(free):
            new = wanted - len(free)
            self._cache.add_rows(new)
            free += range(len(self._active), len(self._active) + new)
            self._active += [None] * new
        for row in free[: max(0, wanted)]:
            self._cache.put(row, self._ready[0].cache)
            self._start(row, self._ready.popleft())
        kept = [row for row, stream in enumerate(self._active) if stream is not None]
        if len(kept) < len(self._active):
            self._cache.keep(kept)
            self._active = [self._active[row] for row in kept]
        return True

    def _start(self, row: int, ready: _Ready) -> None:
        """Sample the first token of a new stream; one that was interrupted knows its next tokens."""
        stream = ready.stream
        self._active[row] = stream
        stream.started = stream.started or time.perf_counter()
        if not stream.trajectory.pending:
            (token,) = _sample([stream], ready.logits)
            self._push(row, stream, token)

    def _give_up_rows(self) -> None:
        """Empty the cache; its streams wait to be prefilled again, half as many at a time."""
        self.counts.out_of_memory += 1
        running = self._running or [self._ready.popleft().stream]  # rows are made only where somebody waits for one
        self._active = []
        self._release()
        if len(running) > 1:
            self.rows = len(running) // 2
        elif running[0].alone:
            self._events.append(Event(running[0], None, _oom(len(running[0].prompt.ids))))
            self.rows = self.configured_rows
            return
        else:
            running[0].alone = True
        self._waiting.extendleft((stream.prompt, stream) for stream in reversed(running))

    def _release(self) -> None:
        """Give memory back, and the cache too if no row is in use."""
        if not self._running:
            self._active, self._cache = [], self.model.new_cache()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # -- decoding

    def _decode(self) -> None:
        streams = self._running
        logits = _unless_full(
            lambda: decode_step(self.model, [one.trajectory.pending[0] for one in streams], self._cache)
        )
        if logits is None:
            self._give_up_rows()
            return
        self.counts.decode_steps += 1
        self.counts.decoded_tokens += len(streams)
        for one in streams:
            one.trajectory.pending = one.trajectory.pending[1:]
        due = [row for row, one in enumerate(streams) if not one.trajectory.pending]
        if due:
            tokens = _sample([streams[row] for row in due], logits if len(due) == len(streams) else logits[due])
            for row, token in zip(due, tokens, strict=True):
                self._push(row, streams[row], token)

    def _push(self, row: int, stream: Stream, token: int | None) -> None:
        """Hand a sampled token to its trajectory and do what it wants next."""
        trajectory = stream.trajectory
        if token is None:
            self._events.append(Event(stream, None, _nan()))
            self._active[row] = None
            return
        trajectory.push(token)
        self._events += [Event(stream, output) for output in trajectory.outputs]
        trajectory.outputs = []
        if trajectory.finished:
            self._active[row] = None
        elif trajectory.cut is not None:
            self._cache.truncate(row, len(stream.prompt.ids) + trajectory.cut)
            trajectory.cut = None


def _sample(streams: Sequence[Stream], logits: Tensor) -> list[int | None]:
    settings = [one.trajectory.generation for one in streams]
    return sample_rows(
        logits,
        temperature=[one.temperature for one in settings],
        top_p=[one.top_p for one in settings],
        top_k=[one.top_k for one in settings],
        seed=[one.seed for one in streams],
        step=[one.trajectory.step for one in streams],
    )


def _unless_full(action: Callable[[], T]) -> T | None:
    """What the action returns, or None where memory ran out, on a device or in this machine."""
    try:
        return action()
    except MemoryError:
        return None
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in FULL):
            return None
        raise


def _oom(tokens: int) -> SampleError:
    return SampleError(
        "oom",
        f"not enough memory for a prompt of {tokens} tokens, even alone and a second time",
        fix="use smaller pictures, a smaller --max-new-tokens or --dtype bfloat16, or a device with more memory",
    )


def _nan() -> SampleError:
    return SampleError(
        "nan",
        "the model computed NaN or infinite logits",
        why="the weights are damaged or a number format overflowed",
        fix="`kvl-eval check model`, or try --dtype float32",
    )
