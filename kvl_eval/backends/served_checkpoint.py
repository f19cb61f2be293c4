"""The checkpoint that a server is said to serve: what our own tokenizer and picture rules make of its prompts.

With `--model-args checkpoint=kimi-vl-nano` (a name, a folder or `owner/name`) a plan can count tokens, and every record
notes where the server counted otherwise: another template, another resizing rule, or another model than was thought.
"""

from __future__ import annotations

from functools import partial

from kvl_eval.backends.base import EngineSettings, Limits
from kvl_eval.backends.encoding import chat_turn
from kvl_eval.media.encoded import EncodedTurns
from kvl_eval.media.fit import tokens_of
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.registry import architecture_of


class ServedCheckpoint:
    """Counts tokens as a checkpoint would. Raises: CheckpointError, if there is no such one."""

    def __init__(self, location: str, settings: EngineSettings) -> None:
        folder = checkpoint_folder(location, settings.revision, weights=False, offline=settings.offline)
        architecture = architecture_of(folder)
        self._pictures = architecture.picture_rule(folder)
        self._text = architecture.processor(folder)

    def limits(self) -> Limits:
        """Tokens of a picture by its size, tokens of a text."""
        return Limits(
            image_tokens=partial(tokens_of, config=self._pictures),
            text_tokens=lambda text: len(self._text.encode(text)),
        )

    def count(self, prompt: EncodedTurns) -> int:
        """Tokens of a prompt, template and pictures included."""
        sizes = [tokens_of(*info.resized_to, self._pictures) for info in prompt.media]
        return len(self._text.encode_turns([chat_turn(role, parts) for role, parts in prompt.turns], sizes).ids)
