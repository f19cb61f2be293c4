"""How much memory the KV cache may take: `--kv-cache-gb`, or a share of what is free after the weights."""

from __future__ import annotations

from collections import Counter

import torch

from kvl_eval.errors import ConfigError
from kvl_eval.model.memory import free_bytes
from kvl_eval.model.pages import PagePool

GIB = 2**30
SHARE = 0.5  # of free main memory, which others want too; pages there take memory only once they are used
SHARE_OF_DEVICE = 0.8  # of an accelerator's; the rest is for what a step computes


def page_limit(pool: PagePool, context: int, gigabytes: float | None = None) -> int:
    """Most pages of the cache, for a pool that may still be empty.

    Args:
        context:   most tokens of a sequence.
        gigabytes: budget in 2**30 bytes; None means a share of the memory that is free now, but at least one context.
    Raises: ConfigError, for a budget that holds no page.
    """
    page = sum(layer.shape[1:].numel() * layer.itemsize for layer in pool.layers)
    if gigabytes is None:
        share = Counter(layer.device for layer in pool.layers)
        layer = page // len(pool.layers)
        room = min(_room(device) // (layer * count) for device, count in share.items())
        return max(pool.pages_for(context), room)
    pages = int(gigabytes * GIB) // page
    if pages < 1:
        raise ConfigError(
            "config.kv_cache_gb",
            f"--kv-cache-gb {gigabytes:g} is too small for one page of the KV cache",
            why=f"{pool.page_size} tokens take {page:,} bytes",
            fix="raise --kv-cache-gb or remove it",
        )
    return pages


def _room(device: torch.device) -> int:
    """Bytes of a device that pages may take."""
    return int((SHARE if device.type == "cpu" else SHARE_OF_DEVICE) * free_bytes(device))
