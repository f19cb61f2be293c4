"""A vLLM server that kvl-eval starts for a run and ends with it: `--backend vllm`.

    kvl-eval run --task mmmu --model kimi-vl-instruct --backend vllm [-a vllm_args='--gpu-memory-utilization 0.8']

It is asked as any server is (`endpoint.py`). Model arguments: `budget` as there, and

    vllm_args       further options of `vllm serve`
    start_timeout   seconds until it must be ready (1200)

Of a checkpoint whose processor transformers lacks (Kimi-VL) a folder is served that holds our own processor file, the
only code that the server is allowed to run from it (`--trust-remote-code`). Every other one is served as it lies,
without that option.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kvl_eval import __version__
from kvl_eval.backends.base import Description, Limits, Request, ServerNeeds, Settings
from kvl_eval.backends.chat_client import REQUEST_SECONDS, RETRIES
from kvl_eval.backends.chat_reply import Reply
from kvl_eval.backends.checkpoint import Checkpoint
from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.backends.fingerprint import checkpoint_facts
from kvl_eval.backends.vllm_flags import ServedModel, ServerOptions, server_options, vllm_args
from kvl_eval.backends.vllm_host import LABEL, SERVED_NAME, OwnClient, OwnServer, ServerHost
from kvl_eval.backends.vllm_installation import Installation, find_installation
from kvl_eval.backends.vllm_server import GRACE, ServerCommand, server_environment
from kvl_eval.decode import Json
from kvl_eval.errors import CheckpointError, EndpointError
from kvl_eval.media.fit import tokens_of
from kvl_eval.model.base import Architecture
from kvl_eval.model.files import read_json
from kvl_eval.model.registry import architecture_of, stored_family
from kvl_eval.request import RequestQueue
from kvl_eval.sources.media_files import cache_home
from kvl_eval.types import Completion

LOG, FAILED_LOG = "vllm.log", "vllm-failed.log"
WORKER = "vllm"
CONNECTIONS, CONNECTIONS_CPU = 256, 32
WIDEST = 20_000  # pixels of a side: such a picture takes as many tokens as any


class ManagedVllm:
    """A checkpoint behind a vLLM server of this process's own.

    Args:
        location:     a folder or a hub repository.
        name, family: as the run folder names the model, and which generation defaults it takes.
        fetch:        whether `describe` may fetch a repository's weights.
        grace:        seconds that the server gets to end by itself.
    Raises: EndpointError, where no vLLM is found; CheckpointError; ConfigError, for arguments that it does not take.
    """

    def __init__(
        self, location: str, settings: Settings, *, name: str, family: str, fetch: bool = True, grace: float = GRACE
    ) -> None:
        self.name = name
        self.family = family
        self.installation: Installation = find_installation()
        self.settings = settings.engine
        self._grace = grace
        self._args = vllm_args(settings.engine.model_args)
        self._checkpoint = Checkpoint(location=location, settings=settings.engine, fetch=fetch)
        self.folder = self._checkpoint.folder(weights=False)
        self._architecture = _architecture(self.folder)
        self._cache = cache_home(Path(settings.media.cache_dir) if settings.media.cache_dir else None)
        self._needs = ServerNeeds()
        self._log_folder: Path | None = None
        self._host = ServerHost(self._command)
        connections = settings.server.max_connections
        server = OwnServer(
            base_url=LABEL,
            model=SERVED_NAME,
            max_connections=connections or (CONNECTIONS_CPU if self.installation.is_cpu else CONNECTIONS),
            request_timeout=settings.server.request_timeout or REQUEST_SECONDS,
            max_retries=RETRIES if settings.server.max_retries is None else settings.server.max_retries,
            host=self._host,
        )
        counted = {} if self._architecture is None else {"checkpoint": str(self.folder)}
        asked = replace(settings.engine, family=family, model_args={**self._args.endpoint, **counted})
        self._endpoint = Endpoint(replace(settings, engine=asked), OwnClient(self._host, server))

    # -- facts

    @property
    def runs_own_code(self) -> bool:
        """Whether the server is allowed to run our processor file."""
        return self._architecture is not None and self._architecture.served_form is not None

    def take_plan(self, needs: ServerNeeds) -> None:
        """Choose the server's options for a plan."""
        self._needs = needs

    def log_into(self, folder: Path) -> Path:
        """Let the server write its log into a run folder; the log's path."""
        self._log_folder = folder
        return folder / LOG

    def describe(self) -> Description:
        """Hashes of the checkpoint, vLLM's version, and the options that can change an answer; weights are fetched.

        Neither port nor key are known yet, and never get into it. Raises: CheckpointError, ConfigError.
        """
        folder, weights = self._checkpoint.files()
        facts = checkpoint_facts(folder, weights)
        options = self._options(sum(path.stat().st_size for path in weights))
        numerical: list[Json] = [*options.numerical]
        own_code = ["--trust-remote-code"] if self.runs_own_code else []
        return Description(
            identity={**facts, "dtype": options.dtype, "vllm": self.installation.version, "vllm_options": numerical},
            facts={
                "path": folder.name,
                "device": "cpu" if self.installation.is_cpu else "cuda",
                "server_options": [*options.words, *own_code],
                "own_code": self.runs_own_code,
                "budget_by": str(self._args.endpoint.get("budget", "tokens")),
            },
        )

    def _options(self, weight_bytes: int) -> ServerOptions:
        model = replace(self._served(), bytes=weight_bytes)
        return server_options(self.installation, self.settings, self._args, model, self._needs)

    def _served(self) -> ServedModel:
        think = stored_family(self.family).think
        if self._architecture is None:
            fields = _ConfigFacts.of(self.folder)
            model = ServedModel(dtype=fields.dtype, context=fields.context)
        else:
            rule = self._architecture.picture_rule(self.folder)
            model = ServedModel(
                dtype=self._architecture.dtype(self.folder),
                context=self._architecture.context(self.folder),
                image_tokens=tokens_of(WIDEST, WIDEST, config=rule),
                is_latent="latent" in self._architecture.attention,
            )
        return model if think is None else replace(model, think=think)

    def limits(self) -> Limits:
        """Tokens as our own tokenizer counts them, where it knows the architecture."""
        return self._endpoint.limits()

    # -- answers

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._endpoint.warm_up(images)

    async def ready(self) -> None:
        """Start the server, unless it runs, and wait until it answers. Raises: EndpointError, where it does not."""
        try:
            await self._host.ready()
        except EndpointError as error:
            error.where = self._kept_log() or error.where
            raise

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Start the server and answer `requests` as they finish. Raises: EndpointError, where it does not start."""
        async with aclosing(self.answer_queue(RequestQueue(requests))) as answers:
            async for answer in answers:
                yield answer

    async def answer_queue(self, queue: RequestQueue) -> AsyncGenerator[tuple[str, Completion]]:
        """The same of requests that arrive meanwhile."""
        await self.ready()
        async with aclosing(self._endpoint.answer_queue(queue)) as stream:
            async for key, completion in stream:
                yield key, replace(completion, worker=WORKER)

    async def ask_freely(self, text: str, limit: int, sent: Mapping[str, Json]) -> Reply:
        """The reply to a question without images; `sent` are further fields. Raises: EndpointError, SampleError."""
        await self._host.ready()
        return await self._endpoint.ask_freely(text, limit, sent)

    async def close(self) -> None:
        """End the server and the worker processes."""
        try:
            await self._endpoint.close()
        finally:
            await self._host.end()

    # -- the server

    async def _command(self) -> ServerCommand:
        return await asyncio.to_thread(self._prepared_command)

    def _kept_log(self) -> str | None:
        """Where the log of a server that did not start lies also when the run folder is gone; None where nowhere."""
        kept = self._cache / FAILED_LOG
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._log(), kept)
        except OSError:
            return None
        return str(kept)

    def _log(self) -> Path:
        self._log_folder = self._log_folder or Path(tempfile.mkdtemp(prefix="kvl-eval-vllm-"))
        return self._log_folder / LOG

    def _prepared_command(self) -> ServerCommand:
        """How the server is started, its checkpoint ready to be served."""
        folder, weights = self._checkpoint.files()
        options = self._options(sum(path.stat().st_size for path in weights))
        served = self._served_folder(folder)
        trust = ("--trust-remote-code",) if self.runs_own_code else ()
        return ServerCommand(
            words=(str(self.installation.program), "serve", str(served), *options.words, *trust),
            environment=server_environment(os.environ, options.environment),
            log=self._log(),
            patience=self._args.patience,
            grace=self._grace,
        )

    def _served_folder(self, folder: Path) -> Path:
        """The folder that vLLM reads: the checkpoint's, or one of our own making in the cache."""
        write = None if self._architecture is None else self._architecture.served_form
        if write is None:
            return folder
        facts = checkpoint_facts(*self._checkpoint.files())
        told = [__version__, str(folder.resolve()), *(str(facts[name]) for name in sorted(facts))]
        shelf = self._cache / "served"
        target = shelf / hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
        if target.is_dir():
            return target
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".", dir=shelf))
        try:
            write(folder, hidden)
            with suppress(OSError):  # another process was first
                hidden.rename(target)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        return target


def _architecture(folder: Path) -> Architecture | None:
    """The record of a checkpoint's architecture; None for one that the bundled engine does not run."""
    try:
        return architecture_of(folder)
    except CheckpointError as error:
        if error.code != "model.config":
            raise
        return None


@dataclass(frozen=True, slots=True)
class _ConfigFacts:
    """What any checkpoint's config.json says; `context` is None where it is not stated."""

    dtype: str
    context: int | None

    @classmethod
    def of(cls, folder: Path) -> _ConfigFacts:
        """The facts of a folder, those of its language model before its own. Raises: CheckpointError."""
        config = read_json(folder / "config.json")
        text = config.get("text_config")
        sections = [text, config] if isinstance(text, dict) else [config]
        stated = [section.get(name) for section in sections for name in ("dtype", "torch_dtype")]
        lengths = [section.get("max_position_embeddings") for section in sections]
        dtype = next((value for value in stated if isinstance(value, str)), "bfloat16")
        return cls(
            dtype.removeprefix("torch."),
            next((value for value in lengths if isinstance(value, int) and not isinstance(value, bool)), None),
        )
