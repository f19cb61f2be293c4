"""A tiny checkpoint that thinks: it opens a thought at once, and its thoughts close by themselves.

After some tokens it writes the closing marker, after others it stops. Everything else is the golden tiny checkpoint's,
so what it writes still depends on all that stands before.
"""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import torch

from kvl_eval.model import KimiTokenizer, KimiVL, save_checkpoint
from kvl_eval.model.kimi_vl import chat
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN

LOUD = 3.0  # how much more a token's own embedding weighs in what follows
SURE = 14.0  # logit that a wanted successor gains


@torch.no_grad()
def make_thinker(source: Path, folder: Path, *, closers: int = 200, stoppers: int = 400) -> Path:
    """Write the checkpoint: about one token in `closers` begins the closing marker, one in `stoppers` the end."""
    shutil.copytree(source, folder)
    for stale in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
        stale.unlink()
    model, tokenizer = KimiVL.from_pretrained(source), KimiTokenizer.from_folder(source)
    text = model.language_model
    text.model.embed_tokens.weight *= LOUD
    # what the head sees of a token if nothing else spoke
    seen = text.model.norm(text.model.embed_tokens.weight)
    seen /= seen.pow(2).sum(-1, keepdim=True)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(seen), generator=generator).tolist()
    marker = tokenizer.encode(THINK_CLOSE)
    opening = [
        chat.encode_messages(tokenizer, [{"role": "user", "content": "?"}], [])[-1],
        *tokenizer.encode(THINK_OPEN),
    ]
    plain = [token for token in order if token not in {*marker, *opening}]
    first, later = plain[: len(seen) // closers], plain[len(seen) // closers :][: len(seen) // stoppers]
    successors = [*((token, marker[0]) for token in first), *pairwise(opening), *pairwise(marker)]
    successors += [(token, min(model.stop_token_ids)) for token in later]
    for token, successor in successors:
        text.lm_head.weight[successor] += SURE * seen[token]
    save_checkpoint(model, folder)
    return folder
