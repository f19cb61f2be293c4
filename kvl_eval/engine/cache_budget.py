"""How much memory the latent cache may take: `--kv-cache-gb`, or a share of what is free after the weights."""

from __future__ import annotations

from collections import Counter

import torch

from kvl_eval.errors import ConfigError
from kvl_eval.model.kimi_vl.model import KimiVL
from kvl_eval.model.memory import free_bytes

GIB = 2**30
SHARE = 0.5  # of free main memory, which others want too; pages there take memory only once they are used
SHARE_OF_DEVICE = 0.8  # of an accelerator's; the rest is for what a step computes


def page_limit(model: KimiVL, page_size: int, gigabytes: float | None = None) -> int:
    """Most pages of the latent cache.

    Args:
        gigabytes: budget in 2**30 bytes; None means a share of the memory that is free now, but at least one context.
    Raises: ConfigError, for a budget that holds no page.
    """
    config = model.config.text_config
    layer = page_size * config.latent_size * model.dtype.itemsize
    page = layer * config.num_hidden_layers
    if gigabytes is None:
        layers = Counter(model.layer_devices) or {model.device: config.num_hidden_layers}
        context = -(-config.max_position_embeddings // page_size)
        return max(context, min(_room(device) // (layer * count) for device, count in layers.items()))
    pages = int(gigabytes * GIB) // page
    if pages < 1:
        raise ConfigError(
            "config.kv_cache_gb",
            f"--kv-cache-gb {gigabytes:g} holds no page of the latent cache",
            why=f"{page_size} tokens take {page:,} bytes",
            fix="give more, or leave it out",
        )
    return pages


def _room(device: torch.device) -> int:
    """Bytes of a device that pages may take."""
    return int((SHARE if device.type == "cpu" else SHARE_OF_DEVICE) * free_bytes(device))
