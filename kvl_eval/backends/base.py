"""What answers requests. Tasks, scorers, store and reports never know which backend did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kvl_eval.decode import Json
from kvl_eval.types import Completion, Generation, ImageStyle, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt, and which answers to it are wanted.

    Yields one Completion for each pair of `repeats` and budget (`generation.think_budgets`, or one without a limit).

    Attributes:
        key:     unique within a run; comes back with every completion.
        seeds:   one per entry of `repeats`; derived from (seed, task, sample id, repeat), never from the budget.
        repeats: which repeats are wanted (a resumed run may want only some).
        prefix:  text the answer starts with, already written; it is continued.
    """

    key: str
    messages: tuple[Message, ...]
    generation: Generation
    seeds: tuple[int, ...] = (0,)
    repeats: tuple[int, ...] = (0,)
    prefix: str = ""
    want_logprobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSize:
    """What a prompt with videos or documents takes.

    Attributes:
        pictures:     frames and pages.
        image_tokens: visual tokens of all of them.
        tokens:       of the whole prompt.
        limit:        most patches of a picture, where they are shrunk to fit the context.
        fits:         whether there is a limit under which it fits.
    """

    pictures: int
    image_tokens: int
    tokens: int
    limit: int | None
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What answering one prompt takes beyond the weights, estimated: most bytes of memory at a time, and seconds."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a backend can take.

    Attributes:
        context:      most tokens of prompt and answer together; None where unknown.
        image_tokens: (width, height) in pixels -> visual tokens; None where unknown.
        text_tokens:  text -> tokens; None where unknown.
        prompt_size:  (messages, generation) -> what a prompt with videos or documents takes, their files being looked
                      at; None where unknown. Raises SampleError, for files that cannot be used.
        cost:         (tokens of a prompt, those of its pictures among them, generation) -> what answering it alone
                      takes; None where unknown.
        supports:     any of `images`, `seeds`, `think_budget`, `prefix`, `logprobs`.
    """

    context: int | None = None
    image_tokens: Callable[[int, int], int] | None = None
    text_tokens: Callable[[str], int] | None = None
    prompt_size: Callable[[Sequence[Message], Generation], PromptSize] | None = None
    cost: Callable[[int, int, Generation], Cost] | None = None
    supports: frozenset[str] = frozenset({"images"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a backend is built. Those that can change an answer go into the run's fingerprint (`kvl_eval.run.plan`)."""

    model_args: Mapping[str, Json] = field(default_factory=dict)
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None
    family: str | None = None  # what `--family` says; None: found from the checkpoint
    offline: bool = False
    max_download: int | None = None  # bytes of a checkpoint that may be fetched; None means no limit
    batch_size: int | None = None  # None means auto
    kv_cache_gb: int | float | None = None  # of the latent cache, in 2**30 bytes; None means a share of free memory
    num_workers: int | None = None  # processes that prepare media; None: one, and a second for more than 16 images
    timeout: int | float = 300.0  # seconds to prepare the media of one sample
    image_prep: ImageStyle = "reference"
    blind: bool = False
    frames: int | None = None  # of a video; None means as the task says
    fps: int | float | None = None  # frames a second, instead or as a further limit
    max_pixels: int | None = None  # of a picture, frame or page as the model sees it
    video_decoder: str = "auto"
    cache_dir: str | None = None
    no_cache: bool = False  # decode again what an earlier run had decoded
    base_url: str | None = None  # of a server; this and what follows concern `--model endpoint` alone
    served_model: str | None = None
    api_key_env: str | None = None  # the variable's name; keys are stored nowhere
    max_connections: int | None = None
    max_retries: int | None = None
    request_timeout: int | float | None = None  # seconds of one try
    backend: str = "local"  # or `ray`: replicas over a cluster, which what follows concerns
    num_replicas: int = 1
    gpus_per_replica: int | float = 0
    ray_address: str | None = None  # None: a cluster on this machine


class Backend(Protocol):
    """Requests in, completions out, in any order."""

    @property
    def name(self) -> str:
        """As the run folder names it."""

    @property
    def family(self) -> str:
        """Name of a `ModelFamily`."""

    def describe(self) -> Mapping[str, Any]:
        """Facts for `run.json`: weights fingerprint, config and tokenizer hashes, dtype, device."""

    def limits(self) -> Limits:
        """What it can take."""

    def warm_up(self, images: int) -> None:
        """Start what preparing so many images in all will need, before the first request; may be called again."""

    def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer `requests`, pulled one by one as there is room; a sample's failure is a Completion, not an error."""

    async def close(self) -> None:
        """Let go of processes and memory."""
