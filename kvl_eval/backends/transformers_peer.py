"""Other models through transformers: `--model hf:OWNER/NAME` or `hf:FOLDER`, any AutoModelForImageTextToText.

The same data, prompts, seeds and scores as for Kimi-VL, with the model's own processor and chat template. Answers are
computed in static batches of `--batch-size` (2 on a CPU, 8 elsewhere): simpler and slower than the bundled engine.
There are no thinking budgets; for these serve the model and use `--model endpoint`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvl_eval.backends.base import Limits, Request, Settings
from kvl_eval.backends.endpoint_answers import in_our_markers
from kvl_eval.backends.fingerprint import checkpoint_facts, files_sha256
from kvl_eval.backends.model_thread import ModelThread
from kvl_eval.errors import ConfigError, SampleError
from kvl_eval.media.encoded import EncodedPicture, EncodedTurns, encode_prompt
from kvl_eval.media.images import ImagePrep
from kvl_eval.media.layout import MediaPrep
from kvl_eval.media.pool import MediaPool
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.kimi_vl.families import OTHER
from kvl_eval.model.registry import SERVED_RULE
from kvl_eval.thinking import THINK_CLOSE, split_thinking
from kvl_eval.types import Completion, Message, TokenCounts

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


@dataclass(slots=True)
class _Row:
    """One answer wanted; `load` seconds went into its pictures."""

    request: Request
    repeat: int
    seed: int
    prompt: EncodedTurns
    pulled: float
    load: float

    def peer_row(self) -> PeerRow:
        """The row as the model takes it."""
        from PIL import Image

        from kvl_eval.backends.peer_model import PeerRow

        turns, pictures = [], []
        for role, parts in self.prompt.turns:
            pictures += [Image.open(BytesIO(part.png)) for part in parts if isinstance(part, EncodedPicture)]
            content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
            turns.append({"role": role, "content": content})
        return PeerRow(turns=turns, pictures=pictures, generation=self.request.generation, seed=self.seed)


Answered = tuple[str, Completion]


class TransformersPeer:
    """A checkpoint behind the `Backend` protocol, described without loading it.

    Raises: CheckpointError, if there is no such checkpoint; ConfigError, for model arguments, as there are none.
    """

    def __init__(self, path_or_repo: str, settings: Settings, *, name: str, fetch: bool = True) -> None:
        self.family = settings.family or OTHER.name
        if settings.model_args:
            raise ConfigError("config.model_args", f"{name} takes no model arguments")
        self.name = name
        self.settings = settings
        self._location = path_or_repo
        self._fetch = fetch
        self._model: PeerModel | None = None
        self._thread = ModelThread()
        self._halted = False
        self._prep = MediaPrep(
            images=ImagePrep(config=SERVED_RULE, style=settings.image_prep, blind=settings.blind),
            decoder=settings.video_decoder,
            frames=settings.frames,
            fps=settings.fps,
            max_pixels=settings.max_pixels,
            time_limit=settings.timeout,
        )
        self._pool: MediaPool[tuple[Message, ...], EncodedTurns] = MediaPool(
            partial(encode_prompt, prep=self._prep), workers=settings.num_workers, timeout=settings.timeout
        )

    # -- facts

    def describe(self) -> Mapping[str, Any]:
        """Hashes of weights, configuration and everything the processor reads; dtype, device, transformers' version."""
        from importlib.metadata import version

        from kvl_eval.model.weights import weight_files

        folder = self._folder(weights=self._fetch)
        here = self._fetch or any(folder.glob("*.safetensors"))
        return {
            "path": folder.name,
            **checkpoint_facts(folder, weight_files(folder) if here else []),
            "tokenizer_sha256": files_sha256(folder, (*FILES, "tokenizer_config.json")),
            "transformers": version("transformers"),
            "dtype": self._dtype(),
            "device": self._device(),
        }

    def limits(self) -> Limits:
        """Tokens are known to the model's own processor alone."""
        return Limits(supports=frozenset({"images", "seeds"}))

    def _folder(self, *, weights: bool = True) -> Path:
        settings = self.settings
        return checkpoint_folder(
            self._location,
            settings.revision,
            weights=weights,
            offline=settings.offline,
            max_download=settings.max_download,
        )

    def _device(self) -> str:
        if self.settings.device is not None:
            return self.settings.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _dtype(self) -> str:
        return self.settings.dtype or ("float32" if self._device() == "cpu" else "bfloat16")

    def load(self) -> PeerModel:
        """The model, loaded by the first call. Raises: CheckpointError."""
        from kvl_eval.backends.peer_model import PeerModel

        if self._model is None:
            self._model = PeerModel(self._folder(), self._dtype(), self._device())
        return self._model

    # -- answers

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._pool.expect(images)
        self._pool.warm_up()

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
        self._pool.close()
        self._thread.end()
        self._model = None

    def _rows(self) -> int:
        return self.settings.batch_size or (ROWS if self._device() == "cpu" else ROWS_ELSEWHERE)

    async def _prepared(self, pulled: Iterator[Request], rows: int) -> tuple[list[_Row], list[Answered]]:
        """The next requests as rows, and what failed of them."""
        chunk = list(islice(pulled, rows))
        found = await asyncio.gather(*map(self._prepare, chunk))
        ready = [row for made in found for row in made if isinstance(row, _Row)]
        return ready, [one for made in found for one in made if not isinstance(one, _Row)]

    async def _prepare(self, request: Request) -> list[_Row | Answered]:
        """A row for each repeat, or its failure."""
        if request.generation.think_budgets:
            raise ConfigError(
                "config.budget",
                f"{self.name} runs through transformers, which keeps no thinking budgets",
                fix="drop --think-budget, or serve the model and use --model endpoint",
            )
        if request.prefix:
            raise ConfigError(
                "config.prompt",
                f"{self.name} runs through transformers, which goes on with no reply that a prompt has begun",
                fix="choose another --prompt, or serve the model and use --model endpoint",
            )
        start = time.perf_counter()
        rows = [_Row(request, repeat, seed, EncodedTurns(()), start, 0.0) for repeat, seed in _repeats(request)]
        try:
            prompt = await asyncio.wrap_future(self._pool.submit(request.messages))
        except SampleError as error:
            return [_failed(row, error) for row in rows]
        for row in rows:
            row.prompt, row.load = prompt, time.perf_counter() - start
        return [*rows]

    def _answer(self, model: PeerModel, rows: Sequence[_Row]) -> list[Answered]:
        """The rows' answers; a batch that cannot be computed is halved until one row is to blame."""
        begun = time.perf_counter()
        try:
            outputs = model.answer([row.peer_row() for row in rows], lambda: self._halted)
        except ROW_ERRORS as error:
            if len(rows) == 1:
                return [_failed(rows[0], _row_error(error))]
            half = len(rows) // 2
            return self._answer(model, rows[:half]) + self._answer(model, rows[half:])
        seconds = time.perf_counter() - begun
        return [self._completion(model, row, output, seconds) for row, output in zip(rows, outputs, strict=True)]

    def _completion(self, model: PeerModel, row: _Row, output: PeerOutput, seconds: float) -> Answered:
        if output.failed is not None:
            return _failed(row, _output_error(output, model.context))
        kept = output.ids[:-1] if output.stopped else output.ids
        split = split_thinking(in_our_markers(model.text(kept, special=False)))
        thinking = 0 if not split.thinking else _tokens_until_closed(model, kept)
        completion = Completion(
            repeat=row.repeat,
            raw_output=model.text(output.ids, special=True),
            thinking=split.thinking,
            answer=split.answer,
            think_closed=split.closed,
            finish_reason="stop" if output.stopped else "length",
            tokens=TokenCounts(
                prompt=output.prompt_tokens,
                image=output.image_tokens,
                thinking=thinking,
                answer=len(kept) - thinking,
            ),
            media=row.prompt.media,
            prompt_text=output.prompt,
            seed=row.seed,
            time={"load": row.load, "decode": seconds, "total": time.perf_counter() - row.pulled},
            worker=f"{self._device()}:{os.getpid()}",
            extra={"stop_token": model.text(output.ids[-1:], special=True)} if output.stopped else {},
        )
        return row.request.key, completion


def _repeats(request: Request) -> list[tuple[int, int]]:
    return list(zip(request.repeats, request.seeds, strict=True))


def _alike(rows: Sequence[_Row], most: int) -> Iterator[Sequence[_Row]]:
    """Rows that can be computed together: of one limit, with pictures or without, at most so many."""
    groups: dict[Any, list[_Row]] = {}
    for row in rows:
        groups.setdefault((row.request.generation.limit, bool(row.prompt.media)), []).append(row)
    for group in groups.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def _tokens_until_closed(model: PeerModel, ids: Sequence[int]) -> int:
    """Tokens up to the one that completes the closing marker; all where none closes."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        closed = THINK_CLOSE in in_our_markers(model.text(ids[:middle], special=False))
        low, high = (low, middle) if closed else (middle + 1, high)
    return low


def _failed(row: _Row, error: SampleError) -> Answered:
    completion = Completion(
        repeat=row.repeat,
        status="failed",
        reason=error.reason,
        message="; ".join(part for part in (error.message, error.where, error.why) if part),
        finish_reason="error",
        media=row.prompt.media,
        prompt_text=row.prompt.text,
        seed=row.seed,
        time={"load": row.load, "total": time.perf_counter() - row.pulled},
    )
    return row.request.key, completion


def _row_error(error: Exception) -> SampleError:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "out of memory" in text:
        return SampleError("oom", "not enough memory for this sample, even alone", why=text)
    return SampleError(
        "peer_failed", f"the model's processor or code fails on this sample: {type(error).__name__}: {text}"
    )


def _output_error(output: PeerOutput, context: int | None) -> SampleError:
    if output.failed == "nan":
        return SampleError("nan", "the model computed NaN or infinite logits", fix="try --dtype float32")
    return SampleError(
        "context_overflow",
        f"a prompt of {output.prompt_tokens} tokens and its answer exceed the context of {context}",
        fix="lower --max-new-tokens or --max-pixels, or leave the sample out",
    )
