"""What answers requests. Tasks, scorers, store and reports never know which backend did."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from kvl_eval.backends.chat_reply import Reply
from kvl_eval.decode import Json, inlined, omitted
from kvl_eval.media.settings import MediaSettings
from kvl_eval.request import Cost as Cost
from kvl_eval.request import PromptSize as PromptSize
from kvl_eval.request import Request as Request
from kvl_eval.request import RequestQueue
from kvl_eval.types import Completion, Generation, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a backend can take.

    Attributes:
        image_tokens: (width, height) in pixels -> visual tokens; None where unknown.
        text_tokens:  text -> tokens; None where unknown.
        prompt_size:  (messages, generation) -> what a prompt with videos or documents takes, their files being looked
                      at; None where unknown. Raises SampleError, for files that cannot be used.
        cost:         (tokens of a prompt, those of its pictures among them, generation) -> what answering it alone
                      takes; None where unknown.
    """

    image_tokens: Callable[[int, int], int] | None = None
    text_tokens: Callable[[str], int] | None = None
    prompt_size: Callable[[Sequence[Message], Generation], PromptSize] | None = None
    cost: Callable[[int, int, Generation], Cost] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Which checkpoint answers, with which arguments, and how it is computed."""

    model_args: Mapping[str, Json] = field(default_factory=dict)
    device: str | None = None
    dtype: str | None = None
    weights: str | None = omitted(None)  # int8 or int4: packed; None or bf16: as `dtype` says
    revision: str | None = None
    family: str | None = None  # what `--family` says; None: found from the checkpoint
    offline: bool = False
    max_download: int | None = None  # bytes of a checkpoint that may be fetched; None means no limit
    batch_size: int | None = None  # None means auto
    kv_cache_gb: int | float | None = None  # of the KV cache, in 2**30 bytes; None means a share of free memory


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Which server answers `--model endpoint`, and how it is asked."""

    base_url: str | None = None
    served_model: str | None = None
    api_key_env: str | None = None  # the variable's name; keys are stored nowhere
    max_connections: int | None = None
    max_retries: int | None = None
    request_timeout: int | float | None = None  # seconds of one try


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Where a backend runs: in this process, as a vLLM server of its own, or (`ray`) as replicas over a cluster."""

    backend: str = "local"  # or vllm, ray; `auto` is one of the first two, see `kvl_eval.backends.chosen_backend`
    num_replicas: int = 1
    gpus_per_replica: int | float = 0
    ray_address: str | None = None  # None: a cluster on this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a backend is built, by concern; as JSON all names stand in one object.

    Those that can change an answer go into the run's fingerprint (`kvl_eval.run.fingerprint`).
    """

    engine: EngineSettings = inlined(EngineSettings)
    media: MediaSettings = inlined(MediaSettings)
    server: ServerSettings = inlined(ServerSettings)
    cluster: ClusterSettings = inlined(ClusterSettings)

    @staticmethod
    def of(**values: Any) -> Settings:
        """Settings by name, whatever their concern. Raises TypeError for a name that none has."""
        parts = {
            concern: kind(**{option.name: values.pop(option.name) for option in fields(kind) if option.name in values})
            for concern, kind in CONCERNS.items()
        }
        return Settings(**parts, **values)


CONCERNS: Mapping[str, type] = {
    "engine": EngineSettings,
    "media": MediaSettings,
    "server": ServerSettings,
    "cluster": ClusterSettings,
}
SETTINGS = tuple(option.name for kind in CONCERNS.values() for option in fields(kind))
"""Names of all settings, as options have them."""


WEIGHTS = ("bf16", "int8", "int4")
"""What `--weights` may say."""


def is_packed(weights: str | None) -> bool:
    """Whether `--weights` asks for packed ones."""
    return weights not in (None, "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What a model needs of a device's memory, in bytes.

    Attributes:
        device:  such as `cpu`.
        weights: all of them.
        token:   the cache of one token.
        context: most tokens of a sequence.
        free:    what is free now.
        kept_in: the folder of packed weights, which is made by the first run.
    """

    device: str
    weights: int
    token: int
    context: int
    free: int
    kept_in: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a backend says of its model.

    Attributes:
        identity: what can change an answer: hashes of weights, configuration and tokenizer, dtype.
        facts:    circumstances: path, device, threads, address of a server.
        memory:   what is needed and free, where that is known before the model is loaded.
    """

    identity: Mapping[str, Json]
    facts: Mapping[str, Json] = field(default_factory=dict)
    memory: MemoryNeed | None = None


@runtime_checkable
class Probing(Protocol):
    """A backend that is tried before a run."""

    async def probe(self, generations: Iterable[Generation]) -> None:
        """Find out whether requests of these kinds are taken. Raises: EndpointError, where they are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNeeds:
    """What a plan wants of a server that is started for it.

    Attributes:
        images: most pictures, frames and pages of a prompt; None where unknown.
        text:   most bytes of a prompt's text, and so more than its tokens; None where unknown.
        answer: most new tokens.
        seed:   of the run.
    """

    images: int | None = None
    text: int | None = None
    answer: int = 0
    seed: int = 0


@runtime_checkable
class Idling(Protocol):
    """A backend that knows for how many seconds its model had nothing to do but wait for media."""

    @property
    def idle_seconds(self) -> float: ...


@runtime_checkable
class FreelyAsked(Protocol):
    """A backend whose server can be asked with fields that no run sends."""

    async def ask_freely(self, text: str, limit: int, sent: Mapping[str, Json]) -> Reply:
        """The reply to a question without images, with at most `limit` new tokens and these fields in the request.

        Raises: EndpointError, where the server cannot be used; SampleError, where this question gets no reply.
        """


@runtime_checkable
class Managed(Protocol):
    """A backend that starts a server for a run, and ends it in `close`."""

    def take_plan(self, needs: ServerNeeds) -> None:
        """Choose the server's options for a plan; before `describe`."""

    def log_into(self, folder: Path) -> Path:
        """Let the server write its log into a run folder; the log's path."""

    async def ready(self) -> None:
        """Start the server, unless it runs, and wait until it answers. Raises: EndpointError, where it does not."""


class Backend(Protocol):
    """Requests in, completions out, in any order."""

    @property
    def name(self) -> str:
        """As the run folder names it."""

    @property
    def family(self) -> str:
        """Name of a `ModelFamily`."""

    def describe(self) -> Description:
        """What `run.json` says of the model."""

    def limits(self) -> Limits:
        """What it can take."""

    def warm_up(self, images: int) -> None:
        """Start what preparing so many images in all will need, before the first request; may be called again."""

    def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer `requests`, pulled one by one as there is room; a sample's failure is a Completion, not an error."""

    async def close(self) -> None:
        """Let go of processes and memory."""


@runtime_checkable
class LiveBackend(Protocol):
    """A backend that takes requests while it answers others."""

    def answer_queue(self, queue: RequestQueue) -> AsyncGenerator[tuple[str, Completion]]:
        """Answer what is put into the queue, as there is room, until it is closed and empty."""
