"""Train the embedded demo model kimi-vl-nano from nothing on drawings, on one core.

    python -m tools.train_nano --out DIR --minutes 90     # the whole recipe, see tools/README.md
    python -m tools.train_nano --smoke                    # one minute: shows that the loss falls

Interrupted runs go on from their last state when started again with the same --out.
"""

import argparse
import json
import math
import queue
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kvl_eval.model.config import KimiVLConfig, PreprocessorConfig, TextConfig, VisionConfig
from kvl_eval.model.kimi_vl import KimiVL
from kvl_eval.model.moe import Router
from kvl_eval.model.tokenizer import KimiTokenizer
from tools.nano.encoding import IGNORED, Batch, Encoded, collate, encode
from tools.nano.mini import mini_digests
from tools.nano.mixture import SOURCES, Example, example
from tools.nano.muon import Muon
from tools.nano.tokenizer import build
from tools.nano.words import BUTTONS, GOODS, NAMES

PREPROCESSOR = PreprocessorConfig(in_token_limit=1024)
# Prompts of tasks that nano does not train on yet: their words get tokens, for a later training to start from here.
FURTHER_PROMPTS = (
    "Select the best answer to the following multiple-choice question based on the video and the subtitles. Respond "
    "with only the letter (A, B, C, or D) of the correct option.\nThese are the frames of a video. This video's "
    "subtitles are listed below:\n",
    "Answer with the option's letter from the given choices directly.\nThere are several options:\n",
    "Please answer directly with only the letter of the correct option and nothing else. The best answer is:",
    "Answer with a single word or phrase. If the answer is not in the document, answer 'Not answerable'.",
    "One frame of this video shows a banner with a secret code. What is the secret code of Kim? Answer with the number "
    "only. Which page of the document shows it?",
    "Step one: first add, then carry. So the total is, therefore the final answer is",
)
EARLY = {"read": 0.55, "match": 0.15, "mathvista": 0.3}
MAIN = {
    "mathvista": 0.4,
    "read": 0.15,
    "match": 0.05,
    "ocrbench": 0.1,
    "infovqa": 0.1,
    "screenspot": 0.1,
    "mmmu": 0.05,
    "mathvision": 0.05,
}


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; fractions are of `minutes`."""

    minutes: float = 80.0
    batch: int = 32
    lr: float = 1e-3
    muon_lr: float = 2e-3
    warmup: int = 100  # steps
    early: float = 0.08  # until here the EARLY shares hold
    widening: float = 0.35  # until here the difficulty ceiling rises to 1
    decay: float = 0.35  # the last part of the time, in which the rate falls to zero
    dense: float = 0.3  # share of conversations with a second, dense turn
    brief: float = 0.5  # share of prompts whose constant instructions are cut short, after `early`
    check_minutes: float = 4.0
    save_minutes: float = 3.0


def model_config(tokenizer: KimiTokenizer) -> KimiVLConfig:
    """The architecture of Kimi-VL at about five million parameters."""
    special, size = tokenizer.special_tokens, tokenizer.num_base + 256
    ids = {"bos_token_id": special["[BOS]"], "eos_token_id": special["[EOS]"], "pad_token_id": tokenizer.pad_id}
    vision = VisionConfig(
        init_pos_emb_height=16,
        init_pos_emb_width=16,
        num_attention_heads=5,
        num_hidden_layers=4,
        hidden_size=160,
        intermediate_size=480,
    )
    text = TextConfig(
        vocab_size=size,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        moe_intermediate_size=96,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        kv_lora_rank=512,
        qk_nope_head_dim=32,
        qk_rope_head_dim=64,
        v_head_dim=32,
        rms_norm_eps=1e-6,
        **ids,
    )
    return KimiVLConfig(
        vision_config=vision, text_config=text, media_placeholder_token_id=tokenizer.media_pad_id, **ids
    )


def corpus(count: int = 6000) -> Counter[str]:
    """Weighted texts the tokenizer learns from: prompts and replies of all tasks, names, the markers' letters."""
    shares = {name: 1.0 for name in SOURCES if name not in ("read", "match")}
    texts: Counter[str] = Counter()
    for n in range(count):
        drawn = example(f"tokenizer/{n}", shares, 1.0)
        for turn in drawn.turns:
            texts.update(part for part in turn.parts if isinstance(part, str))
    for word in (*NAMES, *GOODS, *BUTTONS):
        texts[word] += 30
        texts[f" {word}"] += 30
    texts.update({"system": 500, "user": 500, "assistant": 500, "image": 500, "You are a helpful assistant": 500})
    texts["think"] += 500
    texts.update(dict.fromkeys(FURTHER_PROMPTS, 60))
    return texts


def stream(
    tokenizer: KimiTokenizer, plan: Plan, first: int, done: "Clock", forbidden: frozenset[str]
) -> Iterator[list[Encoded]]:
    """Endless batches of similar length; example n depends on n and on how far training is."""
    n = first
    while True:
        part = done.fraction
        brief = 0.9 if part < plan.early else plan.brief
        shares, ceiling = (EARLY if part < plan.early else MAIN), min(1.0, 0.15 + 0.85 * part / plan.widening)
        pool: list[Encoded] = []
        for _ in range(4 * plan.batch):
            drawn = example(f"train/{n}", shares, ceiling, plan.dense, forbidden, brief)
            pool.append(encode(drawn, tokenizer, PREPROCESSOR))
            n += 1
        pool.sort(key=lambda row: len(row.ids))
        batches = [pool[k : k + plan.batch] for k in range(0, len(pool), plan.batch)]
        random.Random(f"order/{n}").shuffle(batches)
        yield from batches


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


def loss_of(model: KimiVL, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the reply tokens."""
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel is slower on pictures this small
        logits = model(batch.input_ids, batch.pixel_values, batch.grids).logits
    targets = batch.labels[:, 1:]
    kept = targets != IGNORED
    return F.cross_entropy(logits[:, :-1][kept].float(), targets[kept])


class Trainer:
    """The model in bfloat16, its master weights in float32, Muon for most matrices and AdamW for everything else."""

    def __init__(self, model: KimiVL, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self.masters = {name: nn.Parameter(p.detach().float().clone()) for name, p in model.named_parameters()}
        self.biases = [name for name in self.masters if name.endswith("e_score_correction_bias")]
        matrices = [p for name, p in self.masters.items() if plan.muon_lr and _for_muon(name, p)]
        kept = {id(p) for p in matrices} | {id(self.masters[name]) for name in self.biases}
        rest = [p for p in self.masters.values() if id(p) not in kept]
        adam = torch.optim.AdamW(rest, lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.tools: list[torch.optim.Optimizer] = [adam]
        if matrices:
            self.tools.append(Muon(matrices, lr=plan.muon_lr))
        self.rates = (plan.lr, plan.muon_lr)
        self.balance = Balance(model)
        model.bfloat16()
        self.copy_down()

    @torch.no_grad()
    def copy_down(self) -> None:
        """Round the master weights into the model."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(self.masters[name])

    def step(self, batch: Batch, factor: float) -> float:
        """One update at the given factor on the learning rates; returns the loss."""
        loss = loss_of(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in self.model.named_parameters():
            self.masters[name].grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        for name in self.biases:
            self.masters[name].grad = None
        nn.utils.clip_grad_norm_(self.masters.values(), 1.0)
        for tool, base in zip(self.tools, self.rates, strict=False):
            tool.param_groups[0]["lr"] = base * factor
            tool.step()
        self.balance.step([self.masters[name] for name in self.biases])
        self.copy_down()
        return loss.item()

    def state(self) -> dict[str, object]:
        """Everything that resuming needs."""
        masters = {name: p.detach() for name, p in self.masters.items()}
        return {"masters": masters, "tools": [tool.state_dict() for tool in self.tools]}

    @torch.no_grad()
    def restore(self, masters: dict[str, torch.Tensor], tools: list[dict[str, object]] | None = None) -> None:
        """Go on from saved master weights and, where given, optimizer states."""
        for name, value in masters.items():
            self.masters[name].copy_(value)
        for tool, saved in zip(self.tools, tools or [], strict=False):
            tool.load_state_dict(saved)
        self.copy_down()


def _for_muon(name: str, parameter: torch.Tensor) -> bool:
    """The matrices of attention, MLPs and experts; not tables, heads, routers, the patch map or the projector."""
    return (
        parameter.ndim in (2, 3)
        and any(part in name for part in ("self_attn", ".mlp.experts", ".mlp.", "blocks"))
        and (not name.endswith("gate.weight"))
    )


def rate(plan: Plan, step: int, part: float) -> float:
    """Factor on the learning rates: warm-up by steps, then constant, then linear to a fiftieth."""
    return min(1.0, (step + 1) / plan.warmup) * min(1.0, max(0.02, (1 - part) / plan.decay))


class Balance:
    """Nudges the routers' correction biases so that every expert is used (arXiv 2412.19437, section 2.1.2)."""

    def __init__(self, model: KimiVL, speed: float = 1e-3) -> None:
        self.speed = speed
        self.routers = [module for module in model.modules() if isinstance(module, Router)]
        self.counts = [torch.zeros(router.weight.shape[0]) for router in self.routers]
        for router, count in zip(self.routers, self.counts, strict=True):
            router.register_forward_hook(self._counter(count))

    @staticmethod
    def _counter(count: torch.Tensor):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, inputs: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
            if torch.is_grad_enabled():
                count.add_(torch.bincount(output[0].flatten(), minlength=len(count)))

        return hook

    @torch.no_grad()
    def step(self, biases: list[nn.Parameter]) -> None:
        for bias, count in zip(biases, self.counts, strict=True):
            bias += self.speed * torch.sign(count.mean() - count)
            count.zero_()


@torch.no_grad()
def accuracy(
    model: KimiVL, tokenizer: KimiTokenizer, examples: list[Example], *, blind: bool = False
) -> dict[str, float]:
    """Share of replies (first turn) said exactly, by kind and by kind/detail."""
    from PIL import Image

    right: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(examples), 32):
        chunk = examples[start : start + 32]
        rows, wanted = [], []
        for drawn in chunk:
            turn = drawn.turns[0]
            parts = tuple(
                Image.new("RGB", part.size, (128, 128, 128)) if blind and isinstance(part, Image.Image) else part
                for part in turn.parts
            )
            row = encode(Example("", (replace(turn, parts=parts, reply=""),)), tokenizer, PREPROCESSOR)
            rows.append(replace(row, ids=row.ids[:-1], labels=row.labels[:-1]))
            wanted.append(turn.reply)
        batch = collate(rows, tokenizer.pad_id)
        mask = torch.tensor([[1] * len(row.ids) + [0] * (batch.input_ids.shape[1] - len(row.ids)) for row in rows])
        outputs = model.generate(
            batch.input_ids,
            batch.pixel_values,
            batch.grids,
            mask,
            max_new_tokens=48,
            stop_token_ids=tokenizer.stop_ids,
        )
        for drawn, reply, ids in zip(chunk, wanted, outputs, strict=True):
            said = tokenizer.decode(ids, skip_special_tokens=True)
            right[drawn.kind].append(said == reply)
            if drawn.detail:
                right[f"{drawn.kind}/{drawn.detail}"].append(said == reply)
    return {kind: sum(hits) / len(hits) for kind, hits in sorted(right.items())}


def held_out(count: int, level: float = 0.6) -> list[Example]:
    """Fresh drawings, as many of MathVista as of all others together."""
    others = {name: 1.0 for name in SOURCES if name != "mathvista"}
    return [example(f"held-out/{n}", {"mathvista": 1.0}, level) for n in range(count)] + [
        example(f"held-out/other/{n}", others, level) for n in range(count)
    ]


def train(out: Path, plan: Plan, *, checks: int = 128, start: Path | None = None) -> list[float]:
    """Train until the plan's time is spent; returns the losses of this run."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tokenizer = _tokenizer(out)
    model = KimiVL(model_config(tokenizer)).init_weights(torch.Generator().manual_seed(0))
    trainer = Trainer(model, plan)
    step, seen, clock = _resume(out, trainer, start)
    batches = prefetched(stream(tokenizer, plan, seen, clock, mini_digests()), tokenizer.pad_id)
    exam, losses = held_out(checks), []
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


def _tokenizer(out: Path) -> KimiTokenizer:
    if not (out / "tiktoken.model").exists():
        build(corpus()).save(out)
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
    """One minute from nothing; fails unless the loss fell to less than two thirds."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        losses = train(Path(folder), Plan(minutes=1.0, warmup=30), checks=0)
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    print(f"loss {first:.3f} -> {last:.3f} in {len(losses)} steps")
    if not math.isfinite(last) or last > first * 2 / 3:
        raise SystemExit("the loss did not fall")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="folder for state, log and tokenizer")
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="training time of one core")
    parser.add_argument("--lr", type=float, default=Plan.lr)
    parser.add_argument("--muon-lr", type=float, default=Plan.muon_lr, help="0 for AdamW alone")
    parser.add_argument("--start", type=Path, help="checkpoint folder to start from")
    parser.add_argument("--smoke", action="store_true", help="one minute, no files kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.smoke:
        smoke()
    elif options.out is None:
        parser.error("--out is needed")
    else:
        train(options.out, Plan(minutes=options.minutes, lr=options.lr, muon_lr=options.muon_lr), start=options.start)


if __name__ == "__main__":
    main()
