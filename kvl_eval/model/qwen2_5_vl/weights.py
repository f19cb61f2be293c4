"""Names of a checkpoint's tensors: the published ones, and those that transformers gives them in memory."""

from collections.abc import Iterable

RENAMED = (("model.language_model.", "model."), ("model.visual.", "visual."))
HEAD = "lm_head.weight"


def published_name(name: str) -> str:
    """The name as the published checkpoints and this package have it."""
    for written, published in RENAMED:
        if name.startswith(written):
            return published + name.removeprefix(written)
    return name


def wanted(names: Iterable[str], is_tied: bool) -> list[str]:
    """The names of those tensors that the model reads: a tied head is the embedding table, whatever else is there."""
    return [name for name in names if not (is_tied and published_name(name) == HEAD)]
