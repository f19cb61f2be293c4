"""A random Kimi-VL on the device, and how near its steps come to the least time there is for them.

Nothing is loaded: the model is built on the device, and the cache of a decode step is filled with random latents, so
that long contexts need no prefill. Models are driven as `kvl_eval.model.generate` drives them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from benchmarks.gpu_check.card import Card, begin_peak, peak, seconds_of, synchronize
from benchmarks.gpu_check.limits import Weights, decode_seconds, prefill_seconds, tower_seconds
from benchmarks.gpu_check.page import Work, sentence
from benchmarks.gpu_check.size import Size
from kvl_eval.model import KimiVL, KimiVLConfig
from kvl_eval.model.generate import decode_step
from kvl_eval.model.memory import GIB, free_bytes
from kvl_eval.model.pages import PagePool, PageTable
from kvl_eval.model.regions import compile_for
from kvl_eval.model.rows import PromptRows, StepRows
from kvl_eval.model.sampling import sample_rows

WORKING = 6 * GIB  # left beside the weights of a model on an accelerator
SHARE = 0.85  # of free memory that a cache may take here; the rest is for what a step computes
WARM = 3  # calls before those that count


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A random model on a device, with its weights counted."""

    card: Card
    size: Size
    model: KimiVL
    weights: Weights

    @property
    def config(self) -> KimiVLConfig:
        return self.model.config

    @property
    def device(self) -> torch.device:
        return self.card.device

    def token_bytes(self) -> int:
        """What the cache takes of one token."""
        text = self.config.text_config
        return text.latent_size * text.num_hidden_layers * self.weights.itemsize


def built(work: Work, card: Card, size: Size) -> Bench:
    """The random model, with fewer layers where the device does not hold all of them."""
    begin_peak(card.device)
    begin = time.monotonic()
    config = _fitting(work, card, size)
    model = _on_meta(config, size.dtype).to_empty(device=card.device).eval()
    _fill(model)
    compile_for(card.device, sum(parameter.numel() for parameter in model.parameters()))
    bench = Bench(card=card, size=size, model=model, weights=Weights.of(model))
    total = sum(parameter.nbytes for parameter in model.parameters())
    work.page.line()
    work.page.line(
        f"{sum(value.numel() for value in model.parameters()) / 1e9:.2f} billion parameters in "
        f"{config.text_config.num_hidden_layers} layers, {str(size.dtype).removeprefix('torch.')}, "
        f"{total / GIB:.1f} GiB, built in {time.monotonic() - begin:.1f} s; "
        f"{free_bytes(card.device) / GIB:.1f} GiB stay free."
    )
    return bench


def decode(work: Work, bench: Bench) -> None:
    """A table of decode steps by batch and context, sampling and its one read by the host included."""
    names = ("ms a step (median)", "slowest", "tokens a second", "limit, ms", "share of limit", "peak GiB")
    work.page.table("sequences", "context", *names)
    cells = [(batch, context) for context in bench.size.contexts for batch in bench.size.batches]
    notes = []
    for number, (batch, context) in enumerate(cells):
        needed, free = bench.token_bytes() * batch * context, free_bytes(bench.device)
        if needed > SHARE * free:
            notes.append(f"{batch} x {context:,}: {needed / GIB:.0f} GiB of latents, {free / GIB:.0f} GiB are free.")
            continue
        until = time.monotonic() + work.left / (len(cells) - number)
        problem = _attempt(
            lambda batch=batch, context=context, until=until: _decode(work, bench, batch, context, until)
        )
        if problem is not None:
            work.page.row(batch, f"{context:,}", problem, *[""] * 5)
            work.page.gaps.append(f"{work.title}: {batch} x {context:,}: {problem}")
    for note in notes:
        work.page.line()
        work.page.line(f"Not measured, {note}")


def prefill(work: Work, bench: Bench) -> None:
    """A table of prefill by batch, prompt and pass, and one of the vision tower."""
    names = ("prompts", "tokens each", "tokens a pass", "tokens a second", "share of limit", "peak GiB")
    work.page.table(*names)
    cells = [
        (batch, context, chunk)
        for context in bench.size.contexts
        for chunk in bench.size.chunks
        for batch in bench.size.batches
        if batch == 1 or context < chunk
    ]
    slots = len(cells) + 2 * len(bench.size.pictures)
    for number, (batch, context, chunk) in enumerate(cells):
        until = time.monotonic() + work.left / (slots - number)
        problem = _attempt(
            lambda batch=batch, context=context, chunk=chunk, until=until: _prefill(
                work, bench, batch, context, chunk, until
            )
        )
        if problem is not None:
            work.page.row(batch, f"{context:,}", f"{chunk:,}", problem, "", "")
            work.page.gaps.append(f"{work.title}: {batch} x {context:,}: {problem}")
    work.page.line()
    work.page.line("Prompts as long as a pass go one after the other: a batch of them has the rate of one.")
    _tower(work, bench)


def filled(bench: Bench, batch: int, context: int) -> tuple[PagePool, list[PageTable]]:
    """A cache of random latents: sequences of about `context` tokens, so that they take new pages in turn."""
    pool = bench.model.new_pool(page_size=bench.size.page)
    tables = [PageTable() for _ in range(batch)]
    room = pool.pages_for(context + bench.size.rounds + WARM) * batch
    pool.reserve(room)
    for number, table in enumerate(tables):
        length = max(1, context - number % pool.page_size)
        pool.extend([table], length)
        table.length = length
    for layer in pool.layers:
        layer.normal_()
    return pool, tables


def stepper(bench: Bench, pool: PagePool, tables: list[PageTable]) -> Callable[[], object]:
    """A call that decodes and samples the next token of every sequence."""
    rows, count = StepRows(pool, tables), len(tables)
    vocabulary = bench.config.text_config.vocab_size
    tokens = torch.randint(0, vocabulary, (count,)).tolist()
    step = 0

    def call() -> None:
        nonlocal tokens, step
        logits = decode_step(bench.model, tokens, rows)
        drawn = sample_rows(
            logits,
            temperature=[0.0] * count,
            top_p=[1.0] * count,
            top_k=[0] * count,
            seed=[0] * count,
            step=[step] * count,
        )
        if None in drawn:
            raise AssertionError("a decode step gave logits that are not finite")
        # Random ids in place of the drawn ones, so that rows stay unlike and their experts spread.
        tokens, step = torch.randint(0, vocabulary, (count,)).tolist(), step + 1

    return call


@torch.no_grad()
def prefilled(bench: Bench, batch: int, context: int, chunk: int, until: float | None = None) -> int:
    """Prefill prompts of random ids, many in a pass or one in many; how many tokens, as no prompt begins late."""
    model, vocabulary, device = bench.model, bench.config.text_config.vocab_size, bench.device
    pool, done, at_once = model.new_pool(page_size=bench.size.page), 0, max(1, chunk // context)
    for first in range(0, batch, at_once):
        if until is not None and done and time.monotonic() > until:
            break
        tables = [PageTable() for _ in range(min(at_once, batch - first))]
        for start in range(0, context, chunk):
            size = min(chunk, context - start)
            ids = torch.randint(0, vocabulary, (1, size * len(tables)), device=device)
            positions = torch.arange(start, start + size, device=device).repeat(len(tables))[None]
            rows = PromptRows(pool, tables, [size] * len(tables), positions)
            model.forward_cached(model.embed(ids).embeds, rows)
            done += size * len(tables)
        for table in tables:
            pool.release(table)
    return done


def _decode(work: Work, bench: Bench, batch: int, context: int, until: float) -> None:
    begin_peak(bench.device)
    call = stepper(bench, *filled(bench, batch, context))
    seconds_of(call, bench.device, WARM)
    spent = seconds_of(call, bench.device, bench.size.rounds, until)
    if not spent:
        spent = seconds_of(call, bench.device, 1)
    limit = decode_seconds(bench.weights, bench.config, bench.card.rates, batch, context)
    middle, mean = statistics.median(spent), statistics.fmean(spent)
    work.page.row(
        batch,
        f"{context:,}",
        f"{1e3 * middle:.3g}",
        f"{1e3 * max(spent):.3g}",
        f"{batch / mean:,.0f}",
        f"{1e3 * limit:.3g}",
        f"{limit / mean:.1%}",
        peak(bench.device),
    )


def _prefill(work: Work, bench: Bench, batch: int, context: int, chunk: int, until: float) -> None:
    begin_peak(bench.device)
    prefilled(bench, 1, min(context, chunk), chunk)  # to warm up
    synchronize(bench.device)
    tokens, seconds = 0, 0.0
    while not tokens or (time.monotonic() < until and tokens < 4 * chunk):
        begin = time.perf_counter()
        tokens += prefilled(bench, batch, context, chunk, until)
        synchronize(bench.device)
        seconds += time.perf_counter() - begin
    limit = prefill_seconds(bench.weights, bench.config, bench.card.rates, batch, context) / (batch * context)
    rate = tokens / seconds
    work.page.row(batch, f"{context:,}", f"{chunk:,}", f"{rate:,.0f}", f"{limit * rate:.1%}", peak(bench.device))


@torch.no_grad()
def _tower(work: Work, bench: Bench) -> None:
    """The vision tower and the projector on pictures of equal size."""
    work.page.table("pictures", "patches each", "ms", "pictures a second", "share of limit", "peak GiB")
    side, patch = bench.size.side, bench.config.vision_config.patch_size
    for number, count in enumerate(bench.size.pictures):
        until = time.monotonic() + work.left / (len(bench.size.pictures) - number)
        begin_peak(bench.device)
        pixels = torch.randn(count * side**2, 3, patch, patch, device=bench.device, dtype=bench.size.dtype)
        grids = [(side, side)] * count
        call = lambda pixels=pixels, grids=grids: bench.model.image_features(pixels, grids)  # noqa: E731
        seconds_of(call, bench.device, 2)
        seconds = statistics.median(seconds_of(call, bench.device, 10, until) or seconds_of(call, bench.device, 1))
        limit = tower_seconds(bench.weights, bench.config, bench.card.rates, count, side**2)
        cells = (f"{1e3 * seconds:.3g}", f"{count / seconds:,.1f}", f"{limit / seconds:.1%}", peak(bench.device))
        work.page.row(count, f"{side**2:,}", *cells)


def _attempt(measure: Callable[[], None]) -> str | None:
    """Why a measurement ran out of memory; None where it did not."""
    try:
        measure()
    except (torch.OutOfMemoryError, MemoryError) as error:
        return sentence(error)
    return None


def _on_meta(config: KimiVLConfig, dtype: torch.dtype) -> KimiVL:
    with torch.device("meta"):
        return KimiVL(config).to(dtype)


def _fitting(work: Work, card: Card, size: Size) -> KimiVLConfig:
    """The configuration with as many layers as the device holds; the page says where these are not all."""
    room = free_bytes(card.device) - (WORKING if card.device.type == "cuda" else 0)
    config = fitting(size.config, size.dtype, room)
    if config != size.config:
        work.gap(
            f"The model of {size.config.text_config.num_hidden_layers} layers takes "
            f"{_bytes(size.config, size.dtype) / GIB:.1f} GiB, {room / GIB:.1f} GiB can be had: what follows is of "
            f"{config.text_config.num_hidden_layers} layers, and so are its limits."
        )
    return config


def fitting(config: KimiVLConfig, dtype: torch.dtype, room: int) -> KimiVLConfig:
    """The configuration with as many layers as fit into so many bytes, at least two."""
    while config.text_config.num_hidden_layers > 2 and _bytes(config, dtype) > room:
        layers = config.text_config.num_hidden_layers - 1
        config = replace(config, text_config=replace(config.text_config, num_hidden_layers=layers))
    return config


def _bytes(config: KimiVLConfig, dtype: torch.dtype) -> int:
    return dtype.itemsize * sum(group.count * group.size for group in config.tensor_groups())


@torch.no_grad()
def _fill(model: KimiVL) -> None:
    """Values of the size that a released model has: norms are one, biases zero."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0.0, 0.02)
        else:
            parameter.fill_(0.0 if "bias" in name else 1.0)
