"""Train the embedded demo model kimi-vl-nano on drawings, on one core; recipe and results in tools/README.md.

    python -m tools.train_nano --out DIR                            # from nothing: reading, then MathVista
    python -m tools.train_nano --out DIR2 --start CHECKPOINT --wider  # go on from a checkpoint, over all tasks
    python -m tools.train_nano --out DIR --export CHECKPOINT        # write the state as a checkpoint folder
    python -m tools.train_nano --smoke                              # one minute: shows that the loss falls

Interrupted runs go on from their last state when started again with the same --out.
"""

import argparse
import json
import math
import queue
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from tools.nano.corpus import corpus
from tools.nano.encoding import Batch, Encoded, collate, encode
from tools.nano.exam import accuracy, held_out, thoughtful
from tools.nano.export import export
from tools.nano.learner import Trainer
from tools.nano.mini import mini_digests
from tools.nano.mixture import SOURCES, Example, example
from tools.nano.network import PREPROCESSOR, initialised, model_config
from tools.nano.plan import FROM_NOTHING, ONWARD, THINKING, WIDER, Plan, phase, rate
from tools.nano.thinking import THINKING as THINKING_SOURCES
from tools.nano.tokenizer import build


def stream(
    tokenizer: KimiTokenizer, plan: Plan, first: int, done: "Clock", forbidden: frozenset[str]
) -> Iterator[list[Encoded]]:
    """Endless batches of similar length; example n depends on n and on how far training is."""
    n, sources = first, THINKING_SOURCES if plan.thinking else SOURCES
    while True:
        shares, ceiling, brief = phase(plan.phases, done.fraction)
        pool: list[Encoded] = []
        for _ in range(4 * plan.batch):
            drawn = example(f"train/{n}", shares, ceiling, plan.dense, forbidden, brief, sources)
            pool.append(encode(drawn, tokenizer, PREPROCESSOR))
            n += 1
        pool.sort(key=lambda row: len(row.ids))
        batches = _batches(pool, plan)
        random.Random(f"order/{n}").shuffle(batches)
        yield from batches


def _batches(pool: list[Encoded], plan: Plan) -> list[list[Encoded]]:
    """Batches of a pool sorted by length: of so many rows, fewer where those would be too many tokens."""
    batches: list[list[Encoded]] = [[]]
    for row in pool:
        full = len(batches[-1]) == plan.batch
        if full or (plan.tokens and (len(batches[-1]) + 1) * len(row.ids) > plan.tokens):
            batches.append([])
        batches[-1].append(row)
    return batches


class Clock:
    """Training time spent, over runs."""

    def __init__(self, minutes: float, spent: float) -> None:
        self.total, self.spent, self.last = 60 * minutes, spent, time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self.spent, self.last = self.spent + now - self.last, now

    def pause(self) -> None:
        """Forget the time since the last tick (checks and saving)."""
        self.last = time.monotonic()

    @property
    def fraction(self) -> float:
        return self.spent / self.total


def prefetched(batches: Iterator[list[Encoded]], pad_id: int, depth: int = 12) -> Iterator[Batch]:
    """The batches, prepared by one thread ahead of their use."""
    ready: queue.Queue[Batch] = queue.Queue(depth)

    def work() -> None:
        for rows in batches:
            ready.put(collate(rows, pad_id))

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield ready.get()


def train(out: Path, plan: Plan, *, checks: int = 64, start: Path | None = None) -> list[float]:
    """Train until the plan's time is spent; returns the losses of this run."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tokenizer = _tokenizer(out, start)
    model = initialised(KimiVL(model_config(tokenizer)), torch.Generator().manual_seed(0))
    trainer = Trainer(model, plan)
    step, seen, clock = _resume(out, trainer, start)
    batches = prefetched(stream(tokenizer, plan, seen, clock, mini_digests()), tokenizer.pad_id)
    exam, losses = thoughtful(checks) if plan.thinking else held_out(checks), []
    last_check = last_save = time.monotonic()
    clock.pause()
    while clock.fraction < 1:
        factor = rate(plan, step, clock.fraction)
        batch = next(batches)
        losses.append(trainer.step(batch, factor))
        step, seen = step + 1, seen + len(batch.input_ids)
        clock.tick()
        if step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            _log(out, step=step, minutes=round(clock.spent / 60, 2), loss=round(mean, 4), rate=round(factor, 3))
        if time.monotonic() - last_save > 60 * plan.save_minutes:
            _save(out, trainer, step, seen, clock)
            last_save = time.monotonic()
        if checks and time.monotonic() - last_check > 60 * plan.check_minutes:
            _check(out, step, model, tokenizer, exam)
            last_check = time.monotonic()
        clock.pause()
    _save(out, trainer, step, seen, clock)
    if checks:
        _check(out, step, model, tokenizer, exam)
    return losses


def _check(out: Path, step: int, model: KimiVL, tokenizer: KimiTokenizer, exam: list[Example]) -> None:
    found = accuracy(model, tokenizer, exam)
    _log(out, step=step, accuracy={kind: round(value, 3) for kind, value in found.items()})


def _tokenizer(out: Path, start: Path | None) -> KimiTokenizer:
    if not (out / "tiktoken.model").exists():
        (KimiTokenizer.from_folder(start) if start else build(corpus())).save(out)
    return KimiTokenizer.from_folder(out)


def _resume(out: Path, trainer: Trainer, start: Path | None) -> tuple[int, int, Clock]:
    path = out / "state.pt"
    if path.exists():
        state = torch.load(path, weights_only=True)
        trainer.restore(state["masters"], state["tools"])
        return state["step"], state["seen"], Clock(trainer.plan.minutes, state["spent"])
    if start is not None:
        trainer.restore({name: p.float() for name, p in KimiVL.from_pretrained(start).named_parameters()})
    return 0, 0, Clock(trainer.plan.minutes, 0.0)


def _save(out: Path, trainer: Trainer, step: int, seen: int, clock: Clock) -> None:
    """Keep the state for resuming; the file is replaced only when complete."""
    torch.save(trainer.state() | {"step": step, "seen": seen, "spent": clock.spent}, out / "state.tmp")
    (out / "state.tmp").replace(out / "state.pt")


def _log(out: Path, **values: object) -> None:
    line = json.dumps({"time": time.strftime("%H:%M:%S"), **values})
    print(line, flush=True)
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def smoke() -> None:
    """One minute from nothing; fails unless the loss fell clearly, which a few dozen steps on a busy core do."""
    with tempfile.TemporaryDirectory() as folder:
        losses = train(Path(folder), Plan(minutes=1.0, warmup=30), checks=0)
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    print(f"loss {first:.3f} -> {last:.3f} in {len(losses)} steps")
    if not math.isfinite(last) or last > 0.85 * first:
        raise SystemExit("the loss did not fall")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="folder for state, log and tokenizer")
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="training time of one core")
    parser.add_argument("--lr", type=float, default=Plan.lr)
    parser.add_argument("--muon-lr", type=float, default=Plan.muon_lr, help="0 for AdamW alone")
    parser.add_argument("--start", type=Path, help="checkpoint folder to start from")
    parser.add_argument("--wider", action="store_true", help="the mixture over all tasks, for a run with --start")
    parser.add_argument("--thinking", action="store_true", help="replies that think first, for a run with --start")
    parser.add_argument("--export", type=Path, help="write the state in --out as a checkpoint folder, train nothing")
    parser.add_argument("--smoke", action="store_true", help="one minute, no files kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if options.smoke:
        smoke()
    elif options.out is None:
        parser.error("--out is needed")
    elif options.export:
        shape = KimiVL(model_config(KimiTokenizer.from_folder(options.out)))
        export(options.out, options.export, PREPROCESSOR, shape, thinking=options.thinking)
    else:
        phases = WIDER if options.wider else ONWARD if options.start else FROM_NOTHING
        plan = Plan(phases=phases, minutes=options.minutes, lr=options.lr, muon_lr=options.muon_lr)
        if options.thinking:
            plan = replace(plan, phases=THINKING, thinking=True, tokens=4500, check_minutes=10.0)
        elif options.wider:
            plan = replace(plan, batch=16, decay=0.25)
        train(options.out, plan, start=options.start)


if __name__ == "__main__":
    main()
