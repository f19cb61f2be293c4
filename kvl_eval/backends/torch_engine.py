"""The bundled model as a backend: pictures prepared by worker processes, prompts batched continuously.

    requests -> MediaPool (worker processes) -> Batch (one thread of this process) -> completions

Weights are loaded by the first `generate`, in float32 on a CPU and in the checkpoint's own dtype elsewhere. Which
tokens a request gets depends neither on its neighbours nor on batch size or order, as far as numbers allow: in float32
on a CPU logits move by about 1e-6 with the shape of a batch, so that a draw or an argmax closer than that may flip (in
float64 by 1e-15: the tests run there).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval.backends.base import Description, Limits, Request, Settings, is_packed
from kvl_eval.backends.checkpoint import Checkpoint
from kvl_eval.backends.engine_args import engine_args
from kvl_eval.backends.fingerprint import checkpoint_facts
from kvl_eval.backends.jobs import Job, failed, finished_output
from kvl_eval.backends.model_thread import ModelThread
from kvl_eval.backends.model_weights import ModelWeights
from kvl_eval.decode import Json
from kvl_eval.engine.cost import CostRule
from kvl_eval.engine.prompt_maker import PromptMaker
from kvl_eval.engine.requests import Event, Prompt, Stream
from kvl_eval.engine.trajectory import Alphabet, Output, Trajectory
from kvl_eval.errors import PromptError, SampleError
from kvl_eval.media.fit import tokens_of
from kvl_eval.media.images import PreparedImage
from kvl_eval.model.files import read_json
from kvl_eval.model.forms import refuse_form
from kvl_eval.model.registry import architecture_of, stored_family
from kvl_eval.request import RequestQueue
from kvl_eval.sources.media_files import cache_home
from kvl_eval.thinking import MARKERS
from kvl_eval.types import Completion, Generation

if TYPE_CHECKING:
    from torch import Tensor

    from kvl_eval.engine.batch import Batch
    from kvl_eval.engine.requests import BatchCounts
    from kvl_eval.model.base import VisionLanguageModel

AUTO_ROWS = {"cpu": 32}  # streams decoded together where nothing was asked for
AUTO_ROWS_ELSEWHERE = 64
SLICE = 0.05  # seconds the model may work before the event loop gets its turn
log = logging.getLogger(__name__)

MEDIA_AHEAD = 64  # pictures being prepared at a time, and at least one request for each worker
BYTES_AHEAD = 512 * 2**20  # of prepared patches that wait for the model


@dataclass(slots=True)
class EngineJob(Job):
    """A request under way in the bundled engine; `bytes` are those of patches that the model has not taken."""

    bytes: int = 0
    prompt: Prompt | None = None


class TorchEngine:
    """The bundled engine behind the `Backend` protocol.

    Args:
        path_or_repo: a checkpoint folder or a hub repository; described and limited without loading its weights.
        settings:     `model_args` knows `prefill_chunk` (prompt tokens per step), `page_size` (tokens per page of the
                      cache) and `threads` (of a CPU).
        name, family: as the run folder names the model, and which generation defaults it takes.
        fetch:        whether `describe` may fetch a repository's weights; without them they have no fingerprint.
    Raises: CheckpointError, if the folder is unusable; ConfigError, for unknown arguments.
    """

    def __init__(
        self, path_or_repo: str | Path, settings: Settings, *, name: str, family: str, fetch: bool = True
    ) -> None:
        self.name = f"{name}-{settings.engine.weights}" if is_packed(settings.engine.weights) else name
        self.family = family
        self.settings = settings.engine
        self.idle_seconds = 0.0  # in which the model waited for pictures
        self._args = engine_args(settings.engine.model_args)
        self._checkpoint = Checkpoint(location=path_or_repo, settings=settings.engine, fetch=fetch)
        folder = self._checkpoint.folder(weights=False)
        refuse_form(folder)
        self.architecture = architecture_of(folder)
        self._weights = ModelWeights(
            checkpoint=self._checkpoint,
            architecture=self.architecture,
            home=cache_home(Path(settings.media.cache_dir) if settings.media.cache_dir else None) / "packed",
            small=stored_family(family).is_demo,
        )
        self._weights.check()
        self.architecture.check(folder)
        unknown = self.architecture.field_notes(read_json(folder / "config.json")).unknown
        if unknown:
            log.warning("%s: config.json has unknown fields: %d (see `kvl-eval check model`)", name, len(unknown))
        self.rule = self.architecture.picture_rule(folder)
        self.text = self.architecture.processor(folder)
        self.context = self.architecture.context(folder)
        self._own_dtype = self.architecture.dtype(folder)
        self._cost_shape = self.architecture.cost_shape(folder)
        self._markers = stored_family(family).think or MARKERS
        self._prompts = PromptMaker(self.rule, self.text, self.context, settings.media, self._markers)
        self._thread = ModelThread()
        self._hashes: Mapping[str, Json] | None = None
        self._form: str | None = None  # of the tensors' names, where not as published
        self._model: VisionLanguageModel | None = None
        self._counts: BatchCounts | None = None
        self._alphabet: Alphabet | None = None
        self._jobs: dict[str, EngineJob] = {}

    # -- facts

    def describe(self) -> Description:
        """Hashes of the checkpoint and dtype; device and how attention is computed; a repository's weights are fetched.

        Raises: CheckpointError, if weight files are missing or broken, or need more memory than there is.
        """
        import torch

        folder, weights = self._checkpoint.files()
        if self._hashes is None:
            if weights:
                self._form = self.architecture.check_weights(folder)
            if self._model is None:
                self._weights.require_room(folder, weights, self._own_dtype)
            self._hashes = checkpoint_facts(folder, weights)
        device = self._device()
        return Description(
            identity={**self._hashes, **self._weights.identity(self._own_dtype)},
            facts={
                "path": folder.name,
                "device": device,
                "device_name": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
                "attention": architecture_of(folder).attention,
                **({"tensor_names": self._form} if self._form else {}),
                "threads": self._args.threads or torch.get_num_threads(),
            },
            memory=self._weights.memory(folder, weights, self._own_dtype),
        )

    def limits(self) -> Limits:
        """Context, tokens of a picture by its size (pre-shrunk where the processor would refuse it) and of a text."""
        return Limits(
            image_tokens=partial(tokens_of, config=self._prompts.prep.config),
            text_tokens=lambda text: len(self.text.encode(text)),
            prompt_size=self._prompts.size,
            cost=CostRule(
                shape=self._cost_shape,
                dtype=self._dtype(),
                device=self._device(),
                chunk=self._args.chunk_on(self._device()),
            ),
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """What the model was asked to do in the last `generate`: prefills, images, decode steps and so on."""
        return asdict(self._counts) if self._counts else {}

    def _device(self) -> str:
        return self._weights.device()

    def _dtype(self) -> str:
        return self._weights.dtype(self._own_dtype)

    # -- answers

    async def probe(self, generations: Iterable[Generation]) -> None:
        """Pack and load weights that are to be packed: that takes long, and a run has not begun yet.

        Raises: CheckpointError, StorageError.
        """
        if self._weights.kind is not None:
            await asyncio.wrap_future(self._thread.submit(self.load))

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._prompts.warm_up(images)

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer `requests` as they finish; one call at a time.

        Raises: CheckpointError, if the weights cannot be loaded.
        """
        async with aclosing(self.answer_queue(RequestQueue(requests))) as answers:
            async for answer in answers:
                yield answer

    async def answer_queue(self, queue: RequestQueue) -> AsyncGenerator[tuple[str, Completion]]:
        """The same of requests that arrive meanwhile: they join the batch that is being decoded."""
        batch = await asyncio.wrap_future(self._thread.submit(self._new_batch))
        preparing: dict[asyncio.Task[Prompt], EngineJob] = {}
        try:
            while True:
                wants_more = self._wants_more(batch, preparing.values())
                while wants_more and (request := queue.take()) is not None:
                    job = self._jobs[request.key] = EngineJob(request)
                    preparing[asyncio.create_task(self._prepare(job))] = job
                    wants_more = self._wants_more(batch, preparing.values())
                if not batch.busy and (preparing or not queue.closed):
                    start = time.perf_counter()
                    await queue.wait(preparing.keys(), arrivals=wants_more)
                    self.idle_seconds += time.perf_counter() - start
                for task in [task for task in preparing if task.done()]:
                    job = preparing.pop(task)
                    error = task.exception()
                    if isinstance(error, SampleError):
                        del self._jobs[job.request.key]
                        for completion in failed(job, error, worker=self._worker()):
                            yield job.request.key, completion
                    else:
                        batch.add(task.result())
                if batch.busy:
                    for event in await asyncio.wrap_future(self._thread.submit(partial(_run_a_while, batch))):
                        for answer in self._answers(event):
                            yield answer
                elif queue.closed and not preparing:
                    return
        finally:
            for task in preparing:
                task.cancel()
            self._jobs.clear()

    async def close(self) -> None:
        """End the worker processes and let go of the model; a step of the model that is under way is not waited for."""
        self._prompts.close()
        self._thread.end()
        self._model = None

    def load(self) -> VisionLanguageModel:
        """The model with its weights, loaded by the first call. Raises: CheckpointError, StorageError."""
        if self._args.threads:
            import torch

            torch.set_num_threads(self._args.threads)
        if self._model is None:
            self._model = self._weights.load(self._own_dtype)
        return self._model

    def _new_batch(self) -> Batch:
        from kvl_eval.engine.batch import Batch
        from kvl_eval.engine.cache_budget import page_limit

        model = self.load()
        self._alphabet = Alphabet(
            self.text.token_bytes,
            self.text.encode,
            frozenset(self.architecture.stop_ids(self._checkpoint.folder())),
            self._markers,
        )
        rows = self.settings.batch_size or AUTO_ROWS.get(model.device.type, AUTO_ROWS_ELSEWHERE)
        page_size = self._args.page_on(model.device.type)
        pages = page_limit(
            model.new_pool(page_size=page_size),
            self.context,
            self.settings.kv_cache_gb,
        )
        chunk = self._args.chunk_on(model.device.type)
        batch = Batch(model, rows=rows, chunk=chunk, pages=pages, page_size=page_size, prepare=self.rule.normalized)
        batch.reserve()
        self._counts = batch.counts
        return batch

    def _wants_more(self, batch: Batch, preparing: Iterable[EngineJob]) -> bool:
        """Whether there is room for another request: in the batch, in memory and in the workers' queue."""
        jobs = list(preparing)
        waiting = sum(job.bytes for job in self._jobs.values() if not job.prompt or job.prompt.pixel_values)
        streams = sum(len(job.request.repeats) for job in jobs)
        if batch.room <= streams:
            return False
        if not jobs:
            return waiting < BYTES_AHEAD or not batch.busy
        pictures = sum(max(1, self._prompts.pictures(job.request.messages)) for job in jobs)
        return waiting < BYTES_AHEAD and (pictures < MEDIA_AHEAD or len(jobs) < self._prompts.workers)

    async def _prepare(self, job: EngineJob) -> Prompt:
        """Pictures and ids of one request. Raises: SampleError."""
        request = job.request
        prepared = await self._prompts.make(request)
        job.load = job.seconds
        job.media = tuple(image.info for image in prepared.images)
        job.bytes = sum(image.patches.nbytes for image in prepared.images)
        job.prompt_text = prepared.text
        job.prompt_tokens = len(prepared.ids)
        self._check_context(job)
        prompt = Prompt(
            request.key,
            prepared.ids,
            prepared.places,
            grids=[image.grid for image in prepared.images],
            pictures=job.media,
        )
        if prepared.images:
            prompt.pixel_values = self._pixels(prepared.images)
        assert self._alphabet is not None
        for repeat, seed in zip(request.repeats, request.seeds, strict=True):
            trajectory = Trajectory(request.generation, self._alphabet, prefix=request.prefix)
            prompt.streams.append(Stream(prompt, repeat, seed, trajectory))
        job.prompt = prompt
        return prompt

    def _pixels(self, images: Sequence[PreparedImage]) -> Callable[[], Tensor]:
        """Brings all patches to the model's device when it is ready for them, as bytes: a quarter of float32."""

        def pixel_values() -> Tensor:
            import torch

            assert self._model is not None
            return torch.cat([torch.from_numpy(image.patches) for image in images]).to(self._model.device)

        return pixel_values

    def _check_context(self, job: EngineJob) -> None:
        context, new = self.context, self._prompts.new_tokens(job.request.generation)
        if job.prompt_tokens + new > context:
            pictures = sum(info.tokens for info in job.media)
            raise PromptError(
                "context_overflow",
                f"a prompt of {job.prompt_tokens} tokens ({pictures} of images) and {new} new tokens exceed the "
                f"context of {context}",
                fix="lower --max-new-tokens or --answer-tokens, or skip the sample",
            )

    # -- completions

    def _answers(self, event: Event) -> Iterator[tuple[str, Completion]]:
        key, stream = event.stream.prompt.key, event.stream
        job = self._jobs[key]
        if event.output is not None:
            yield key, self._completion(job, stream, event.output)
        elif event.error is not None:
            for completion in failed(job, event.error, repeat=stream.repeat, worker=self._worker()):
                yield key, completion
        if not job.open:
            del self._jobs[key]

    def _completion(self, job: EngineJob, stream: Stream, output: Output) -> Completion:
        assert self._alphabet is not None
        prompt = stream.prompt
        seconds = {
            "queue": prompt.begun - job.pulled - job.load,
            "load": job.load,
            "prefill": prompt.prefill_seconds,
            "decode": time.perf_counter() - stream.started,
            "total": job.seconds,
        }
        completion = finished_output(job, stream.repeat, output, self._alphabet)
        extra = output.ended_by(self._alphabet)
        return replace(completion, time=seconds, worker=self._worker(), extra=extra)

    def _worker(self) -> str:
        return f"{self._device()}:{os.getpid()}"


def _run_a_while(batch: Batch) -> list[Event]:
    """Steps until something finished or some time has passed."""
    end = time.perf_counter() + SLICE
    events: list[Event] = []
    while batch.busy and not events and time.perf_counter() < end:
        events = batch.step()
    return events
