"""How often nano's replies are exactly right on held-out drawings."""

from collections import defaultdict
from dataclasses import replace

import torch
from PIL import Image

from kvl_eval.model.kimi_vl import KimiVL
from kvl_eval.model.tokenizer import KimiTokenizer
from tools.nano.encoding import collate, encode
from tools.nano.mixture import SOURCES, Example, example
from tools.nano.network import PREPROCESSOR


@torch.no_grad()
def accuracy(
    model: KimiVL, tokenizer: KimiTokenizer, examples: list[Example], *, blind: bool = False
) -> dict[str, float]:
    """Share of replies (first turn) said exactly, by kind and by kind/detail."""
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
