"""How often nano's replies are exactly right on held-out drawings."""

from collections import defaultdict
from dataclasses import replace

import torch
from PIL import Image

from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.kimi_vl.tokenizer import KimiTokenizer
from kvl_eval.thinking import THINK_CLOSE
from tools.nano.encoding import collate, encode
from tools.nano.mixture import Example, example
from tools.nano.network import PREPROCESSOR
from tools.nano.thinking import THINKING, THOUGHT

OTHERS = ("infovqa", "ocrbench", "screenspot", "mmmu", "mathvision", "video", "document")


@torch.no_grad()
def accuracy(
    model: KimiVL, tokenizer: KimiTokenizer, examples: list[Example], *, blind: bool = False
) -> dict[str, float]:
    """Share of replies (first turn) said exactly, apart from any thought, by kind and by kind/detail."""
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
            row = encode(Example("", (replace(turn, parts=parts, reply="", cut=None),)), tokenizer, PREPROCESSOR)
            rows.append(replace(row, ids=row.ids[:-1], labels=row.labels[:-1]))
            wanted.append(turn.reply.rpartition(THINK_CLOSE)[2])
        batch = collate(rows, tokenizer.pad_id)
        mask = torch.tensor([[1] * len(row.ids) + [0] * (batch.input_ids.shape[1] - len(row.ids)) for row in rows])
        outputs = model.generate(
            batch.input_ids,
            batch.pixel_values,
            batch.grids,
            mask,
            max_new_tokens=max(48, *(len(tokenizer.encode(drawn.turns[0].reply)) + 16 for drawn in chunk)),
            stop_token_ids=tokenizer.stop_ids,
        )
        for drawn, reply, ids in zip(chunk, wanted, outputs, strict=True):
            said = tokenizer.decode(ids, skip_special_tokens=True).rpartition(THINK_CLOSE)[2]
            right[drawn.kind].append(said == reply)
            if drawn.detail:
                right[f"{drawn.kind}/{drawn.detail}"].append(said == reply)
    return {kind: sum(hits) / len(hits) for kind, hits in sorted(right.items())}


def held_out(count: int, level: float = 0.4) -> list[Example]:
    """Fresh drawings, of MathVista most and of each other task half as many."""
    drawn = [example(f"held-out/{n}", {"mathvista": 1.0}, level) for n in range(count)]
    for name in OTHERS:
        drawn += [example(f"held-out/{name}/{n}", {name: 1.0}, level) for n in range(count // 2)]
    return drawn


def thoughtful(count: int) -> list[Example]:
    """Fresh drawings to think about, a fifth as many of every kind, short thoughts first."""
    drawn = [
        example(f"held-out/thinking/{name}/{n}", {name: 1.0}, 1.0, sources=THINKING)
        for name in THOUGHT
        for n in range(count // 5)
    ]
    return sorted(drawn, key=lambda one: len(one.turns[0].reply))
