"""Other models through transformers: `--model hf:OWNER/NAME` or `hf:FOLDER`, any AutoModelForImageTextToText.

The same data, prompts, seeds and scores as for Kimi-VL, with the model's own processor and chat template. Answers are
computed in static batches of `--batch-size` (2 on a CPU, 8 elsewhere): simpler and slower than the bundled engine.
There are no thinking budgets; for these serve the model and use `--model endpoint`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING

from kvl_eval.backends.base import Description, Limits, Request, Settings
from kvl_eval.backends.checkpoint import Checkpoint
from kvl_eval.backends.encoding import EncodedJob, PromptEncoder, chat_turn
from kvl_eval.backends.fingerprint import checkpoint_facts, files_sha256
from kvl_eval.backends.jobs import failed, finished
from kvl_eval.backends.model_thread import ModelThread
from kvl_eval.errors import ConfigError, SampleError
from kvl_eval.media.encoded import EncodedPicture
from kvl_eval.model.kimi_vl.families import OTHER
from kvl_eval.thinking import split_thought
from kvl_eval.types import Completion, TokenCounts

if TYPE_CHECKING:
    from kvl_eval.backends.peer_model import PeerModel, PeerOutput, PeerRow

ROWS, ROWS_ELSEWHERE = 2, 8
FILES = (
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
    *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.jinja", "chat_template.json"),
)
# What processors and models raise for a row they cannot take; the row is then tried alone.
ROW_ERRORS = (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError, MemoryError)


Answered = tuple[str, Completion]
AskedJob = tuple[EncodedJob, int]  # an answer: its request and its repeat


class TransformersPeer:
    """A checkpoint behind the `Backend` protocol, described without loading it.

    Raises: CheckpointError, if there is no such checkpoint; ConfigError, for model arguments, as there are none.
    """

    def __init__(self, path_or_repo: str, settings: Settings, *, name: str, fetch: bool = True) -> None:
        self.family = settings.engine.family or OTHER.name
        if settings.engine.model_args:
            raise ConfigError("config.model_args", f"{name} does not accept model arguments", fix="remove --model-args")
        self.name = name
        self.settings = settings.engine
        self._checkpoint = Checkpoint(location=path_or_repo, settings=settings.engine, fetch=fetch)
        self._encoder = PromptEncoder(settings.media)
        self._model: PeerModel | None = None
        self._thread = ModelThread()
        self._halted = False

    # -- facts

    def describe(self) -> Description:
        """Hashes of weights, configuration and everything the processor reads; dtype, device, transformers' version."""
        from importlib.metadata import version

        folder, weights = self._checkpoint.files()
        processor = files_sha256(folder, (*FILES, "tokenizer_config.json"))
        return Description(
            identity={
                **checkpoint_facts(folder, weights),
                "tokenizer_sha256": processor,
                "dtype": self._dtype(),
            },
            facts={"path": folder.name, "transformers": version("transformers"), "device": self._checkpoint.device()},
        )

    def limits(self) -> Limits:
        """Tokens are known to the model's own processor alone."""
        return Limits()

    def _dtype(self) -> str:
        return self._checkpoint.dtype(self._checkpoint.device(), "bfloat16")

    def load(self) -> PeerModel:
        """The model, loaded by the first call. Raises: CheckpointError."""
        from kvl_eval.backends.peer_model import PeerModel

        if self._model is None:
            self._model = PeerModel(self._checkpoint.folder(), self._dtype(), self._checkpoint.device())
        return self._model

    # -- answers

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._encoder.warm_up(images)

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[Answered]:
        """Answer `requests` batch by batch; the next one's pictures are prepared meanwhile.

        Raises: CheckpointError, if the model cannot be loaded; ConfigError, for thinking budgets.
        """
        model = await asyncio.wrap_future(self._thread.submit(self.load))
        pulled, rows = iter(requests), self._rows()
        ahead = asyncio.create_task(self._prepared(pulled, rows))
        try:
            while True:
                batch, failures = await ahead
                if not batch and not failures:
                    return
                ahead = asyncio.create_task(self._prepared(pulled, rows))
                for answered in failures:
                    yield answered
                for part in _alike(batch, rows):
                    for answered in await asyncio.wrap_future(self._thread.submit(partial(self._answer, model, part))):
                        yield answered
        finally:
            self._halted = True
            ahead.cancel()

    async def close(self) -> None:
        """End the worker processes and let go of the model; a batch under way ends at its next token."""
        self._halted = True
        self._encoder.close()
        self._thread.end()
        self._model = None

    def _rows(self) -> int:
        return self.settings.batch_size or (ROWS if self._checkpoint.device() == "cpu" else ROWS_ELSEWHERE)

    async def _prepared(self, pulled: Iterator[Request], rows: int) -> tuple[list[AskedJob], list[Answered]]:
        """The answers that the next requests want, and what failed of them."""
        jobs = [EncodedJob(request) for request in islice(pulled, rows)]
        failures = await asyncio.gather(*map(self._prepare, jobs))
        wanted = [(job, repeat) for job in jobs for repeat in job.request.repeats if job.open]
        return wanted, [answer for answers in failures for answer in answers]

    async def _prepare(self, job: EncodedJob) -> list[Answered]:
        """Have a job's prompt encoded; the failures of its answers where that cannot be."""
        request = job.request
        if request.generation.think_budgets:
            raise ConfigError(
                "config.budget",
                "the transformers backend does not support thinking budgets",
                fix="remove --think-budget, or serve the model and use --model endpoint",
            )
        if request.prefix:
            raise ConfigError(
                "config.prompt",
                "the transformers backend cannot continue a prefilled reply",
                fix="use another --prompt, or serve the model and use --model endpoint",
            )
        try:
            await self._encoder.encode(job)
        except SampleError as error:
            return [(request.key, completion) for completion in failed(job, error)]
        return []

    def _answer(self, model: PeerModel, wanted: Sequence[AskedJob]) -> list[Answered]:
        """The answers; a batch that cannot be computed is halved until one row is to blame."""
        begun = time.perf_counter()
        try:
            outputs = model.answer([_row(job, repeat) for job, repeat in wanted], lambda: self._halted)
        except ROW_ERRORS as error:
            if len(wanted) == 1:
                return [_failure(*wanted[0], _row_error(error))]
            half = len(wanted) // 2
            return self._answer(model, wanted[:half]) + self._answer(model, wanted[half:])
        seconds = time.perf_counter() - begun
        return [
            self._completion(model, job, repeat, output, seconds)
            for (job, repeat), output in zip(wanted, outputs, strict=True)
        ]

    def _completion(
        self, model: PeerModel, job: EncodedJob, repeat: int, output: PeerOutput, seconds: float
    ) -> Answered:
        if output.failed is not None:
            return _failure(job, repeat, _output_error(output, model.context))
        ids = output.ids[:-1] if output.stopped else output.ids
        written = model.text(ids, special=False)
        thought = split_thought(written)
        thinking = 0 if thought.closed is None else _tokens_of(model, ids, len(written[: thought.start].rstrip()))
        answer = Completion(
            raw_output=model.text(output.ids, special=True),
            thinking=thought.thinking,
            answer=thought.answer,
            think_closed=thought.closed,
            thought=thought.family,
            finish_reason="stop" if output.stopped else "length",
            tokens=TokenCounts(
                prompt=output.prompt_tokens,
                image=output.image_tokens,
                thinking=thinking,
                answer=len(ids) - thinking,
            ),
            time={"load": job.load, "decode": seconds, "total": job.seconds},
            worker=f"{self._checkpoint.device()}:{os.getpid()}",
            extra={"stop_token": model.text(output.ids[-1:], special=True)} if output.stopped else {},
        )
        return job.request.key, replace(finished(job, repeat, answer), prompt_text=output.prompt)


def _row(job: EncodedJob, repeat: int) -> PeerRow:
    """An answer as the model is asked for it."""
    from PIL import Image

    from kvl_eval.backends.peer_model import PeerRow

    parts = [part for _, parts in job.prompt.turns for part in parts]
    return PeerRow(
        turns=[chat_turn(role, parts) for role, parts in job.prompt.turns],
        pictures=[Image.open(BytesIO(part.png)) for part in parts if isinstance(part, EncodedPicture)],
        generation=job.request.generation,
        seed=job.seeds[repeat],
    )


def _alike(wanted: Sequence[AskedJob], most: int) -> Iterator[Sequence[AskedJob]]:
    """Answers that can be computed together: of one limit, with pictures or without, at most so many."""
    groups: dict[tuple[int, bool], list[AskedJob]] = {}
    for job, repeat in wanted:
        groups.setdefault((job.request.generation.limit, bool(job.media)), []).append((job, repeat))
    for group in groups.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def _tokens_of(model: PeerModel, ids: Sequence[int], characters: int) -> int:
    """Tokens up to the one that completes so many characters of the text."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        complete = len(model.text(ids[:middle], special=False)) >= characters
        low, high = (low, middle) if complete else (middle + 1, high)
    return low


def _failure(job: EncodedJob, repeat: int, error: SampleError) -> Answered:
    (completion,) = failed(job, error, repeat=repeat)
    return job.request.key, completion


def _row_error(error: Exception) -> SampleError:
    from kvl_eval.engine.shortage import is_shortage

    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_shortage(error)):
        return SampleError("oom", "not enough memory for this sample, even in a batch of one", why=text)
    return SampleError(
        "peer_failed", f"the model's processor or code failed on this sample: {type(error).__name__}: {text}"
    )


def _output_error(output: PeerOutput, context: int | None) -> SampleError:
    if output.failed == "nan":
        return SampleError("nan", "the model computed NaN or infinite logits", fix="use --dtype float32")
    return SampleError(
        "context_overflow",
        f"a prompt of {output.prompt_tokens} tokens and its answer exceed the context of {context}",
        fix="lower --max-new-tokens or --max-pixels, or skip the sample",
    )
