"""How a task's judge is asked, and what makes a reply usable: the part of the seam that belongs to a task.

`Task.judge_prompt` writes the prompt, `JudgeRule` says how often and how it is asked and what is read from a reply,
`Protocol.judged` names the protocols whose scores the reply enters: as the `extraction` of their `score`.
`docs/guide/judge.md` tells the whole story.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kvl_eval.errors import ConfigError
from kvl_eval.types import Message, Sample

JudgePrompt = str | tuple[Message, ...]
"""One user turn, or several turns of text."""

ReadReply = Callable[[Sample, str], str | None]
"""(sample, reply) -> what the reply says, which is the `extraction`, or None where it says nothing usable."""

_REFUSAL = re.compile(
    r"\W*(?:i['’]?m (?:very )?sorry|i am sorry|sorry\b|i (?:can['’]?t|cannot|can not|am unable|am not able|won['’]?t)\b"
    r"|as an ai\b|unable to (?:help|assist|comply))",
    re.IGNORECASE,
)


def refuses(reply: str) -> bool:
    """Whether a reply opens like a refusal ("I'm sorry, but ...")."""
    return _REFUSAL.match(reply) is not None


def read_text(_: Sample, reply: str) -> str | None:
    """The reply, stripped; None where it is empty or a refusal."""
    text = reply.strip()
    return text if text and not refuses(text) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRule:
    """How a judge is asked about one answer.

    Attributes:
        read:         what a reply says; one that cannot be read is asked for again, and never becomes a score.
        temperatures: of the calls about one prompt, in order: as many calls as there are temperatures at most.
        max_tokens:   of a reply.
        again:        text put behind the last turn from the second call on.
        runs:         judge runs whose scores are averaged; each asks every prompt once more.
        extra:        further fields of the request, such as a `response_format`.
    """

    read: ReadReply = read_text
    temperatures: tuple[float, ...] = (0.0, 0.5, 1.0)
    max_tokens: int = 256
    again: str = ""
    runs: int = 1
    extra: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if not self.temperatures or self.max_tokens < 1 or self.runs < 1:
            raise ConfigError(
                "config.judge", f"a judge cannot be asked by {self}", fix="use at least one temperature, token and run"
            )
