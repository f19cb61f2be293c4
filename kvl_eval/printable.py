r"""Foreign text made printable, where it leaves: control and direction characters are spelled out, `\x1b`, `\u202e`.

    visible(text)    several lines stay several lines, long words are cut       what terminal and log.txt are given
    whole(text)      the same, never cut                                        the user's own paths and commands
    one_line(text)   one line of at most 200 characters, the rest counted        a name or a body among our own words

What is printable already stays as it is, so that nothing is spelled out twice.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

LONGEST = 200  # characters of one foreign field
ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format (bidirectional marks), surrogate, separators
JOINERS = "\u200c\u200d"  # needed inside words of some scripts and inside emoji
_ODD = re.compile(r"[^ -~]")  # all but printable ASCII
_LONG_WORD = re.compile(rf"\S{{{LONGEST + 1},}}")


def printable(text: object, keep: str = "\n") -> str:
    r"""`text` as it can be shown anywhere: control and direction characters other than `keep` become `\x1b`, `\u202e`.

    Terminal escapes, NUL, right-to-left overrides and lone surrogates cannot act any more and stay readable.
    """
    return _ODD.sub(lambda match: match[0] if match[0] in keep else _visible(match[0]), str(text))


def one_line(text: object) -> str:
    """A foreign text as one printable line of at most 200 characters; how many more there were is said."""
    return cut(printable(text, keep=""))


def cut(text: str) -> str:
    """The first 200 characters, and how many more there were."""
    rest = len(text) - LONGEST
    return text if rest <= 0 else f"{text[:LONGEST]}... ({rest:,} more characters)"


def cut_middle(text: str, width: int) -> str:
    """`text` in at most `width` cells of a terminal, with a `…` for what is left out of its middle."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    head, tail = text[: width // 2], text[-(width // 2) :]
    while cell_len(head) + cell_len(tail) > width - 1:
        head, tail = (head[:-1], tail) if cell_len(head) >= cell_len(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def policy_name(policy: str | None) -> str:
    """What views print for a budget policy: `cut`, `force` or `approx`; empty without one."""
    return "approx" if policy == "approximate" else policy or ""


def short_words(text: str) -> str:
    """`text` with every word of more than 200 characters cut: a sentence of ours has none."""
    return _LONG_WORD.sub(lambda match: cut(match[0]), text)


def visible(text: str) -> str:
    """`text` for a person: printable, with short words; what `json_line` and `whole` made stays as it is."""
    return text if isinstance(text, Whole) else printable(short_words(text))


def whole(text: object) -> Whole:
    """A text of the user's own, printable and never cut: a path, a command to be copied."""
    return Whole(printable(text))


def how_many(count: int, noun: str) -> str:
    """`1 row`, `1,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Whole(str):
    """A text that is printable already and shown whole."""

    __slots__ = ()


def json_line(value: object, default: Callable[[object], object] | None = None) -> Whole:
    """A value as JSON in printable ASCII, its texts without lone surrogates."""
    script = json.dumps(value, default=default)
    if "\\ud" in script:
        script = json.dumps(without_surrogates(json.loads(script)))
    return Whole(script.replace("\x7f", "\\u007f"))


def without_surrogates(value: Any) -> Any:
    r"""A JSON value with every lone surrogate in its texts and names written as six characters, `\ud800`."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {without_surrogates(name): without_surrogates(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    return value


@cache
def _visible(char: str) -> str:
    if char in JOINERS or unicodedata.category(char) not in ESCAPED:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size_text(size: int) -> str:
    """Bytes for people: `101.3 GB`, `7.5 MB`, `12 kB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{-(-size // 1000)} kB"
