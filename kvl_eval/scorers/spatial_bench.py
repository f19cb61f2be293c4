r"""What VLMEvalKit reads from replies to VSI-Bench: a letter in seven steps, or a number.

Source: open-compass/VLMEvalKit vlmeval/dataset/utils/spatial_bench/ @ e8e78f0. Its patterns that look back over long
runs of blanks are written here so that time is linear in the reply; what they find is the same.
"""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Iterator, Sequence

LINES = 6  # of the reply's end that may hold the letter
WINDOW = 800  # characters of the end that a closing tag must lie in

_INVISIBLE = re.compile("[\u200b\u200c\u200d\ufeff]")
_ANSWER_TAG = re.compile(r"<\s*+answer\b", re.IGNORECASE)
_ANSWER_END = re.compile(r"<\s*+/\s*+answer\s*+>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</\s*+think\s*+>", re.IGNORECASE)
_THOUGHT = re.compile(r"<\s*+think\s*+>", re.IGNORECASE)

# Letters: A to J in a block, A to F elsewhere.
_IN_BLOCK = re.compile(r"\s*+([A-J])", re.IGNORECASE)
_BEFORE_END = re.compile(r"(?<![A-Za-z])([A-F])\s*+[)\]}）】]?+\s*+</\s*+answer\s*+>", re.IGNORECASE)
_BEFORE_THOUGHT_END = re.compile(_BEFORE_END.pattern.replace("answer", "think"), re.IGNORECASE)
_NAMES_OPTION = re.compile(r"[*_>\-\s]*+(?:option|选项)\s++[A-J]\s*+[:：]", re.IGNORECASE)
_ALONE = re.compile(r"[*_`>（）\[\]【】()]*+\s*+([A-Fa-f])\s*+[*_`（）\[\]【】()]*+\s*+")
_LABEL = re.compile(r"([A-F])\s*+[.．:：)\]】、-]\s", re.IGNORECASE)
_INLINE = re.compile(r"(?<![A-Za-z])([A-F])(?=\s|$|[*_`）\]})]*+$|[*_`）\]})]*[\s.,:;!?)\]】》」』，。；、：）])")
_PHRASE = re.compile(
    r"(?:final\s*+answer|the\s*+answer\s*+is|answer(?:\s*+is)?|correct\s*+answer|最终答案|答案|结论|所以|因此|我选择?|选择|选)"
    r"\s*+[:：>＝=]?+\s*+[(\[{（【]?+\s*+([A-F])(?!\w)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"(?<![A-Za-z])([A-F])(?![A-Za-z])")

# Numbers
_NUMBER = re.compile(r"[-+]?(?:\d*+\.\d+|\d+)(?:[eE][-+]?\d+)?")
_IN_BLOCK_NUMBER = re.compile(rf"\s*+({_NUMBER.pattern})")
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_VALUES = {word: str(number) for number, word in enumerate(_WORDS)}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)


def matched_option(reply: str) -> str | None:
    """The letter a reply settles on, by the first of seven steps that finds one; None without any.

    An `<answer>` block that opens with a letter; a letter before a closing tag; in the last lines, from the bottom, a
    line that is a letter, opens like `B. ` or names one capital alone (after the thought, then of everything); a
    phrase such as `final answer`; the only capital A to F that stands alone anywhere.
    """
    text = _INVISIBLE.sub("", reply.strip())
    tail = text[-WINDOW:]
    return (
        _block_letter(text)
        or _letter(_BEFORE_END.search(tail))
        or _letter(_BEFORE_THOUGHT_END.search(tail))
        or _of_lines(_after_thought(text).splitlines()[-LINES:])
        or _of_lines(tail.splitlines()[-LINES:])
        or _letter(_PHRASE.search(text))
        or _only_capital(text)
    )


def matched_number(reply: str) -> float | None:
    """The number of an `<answer>` block, else the last one after the thought, else the last anywhere; or None.

    Words from zero to twenty count as digits, each for itself (`twenty-one` ends in -1); of a list its first item
    counts, and what only looks like a list has no number.
    """
    first = _first_item(reply)
    if first is None:
        return None
    text = _INVISIBLE.sub("", first.strip())
    text = _WORD.sub(lambda word: _VALUES[word[0].lower()], text)
    found = _block_number(text) or _last_number(_after_thought(text)) or _last_number(text)
    return None if found is None else float(found)


def _blocks(text: str) -> Iterator[int]:
    """Where the content of each `<answer ...>` begins."""
    begin = 0
    for tag in _ANSWER_TAG.finditer(text):
        if tag.start() < begin:
            continue
        begin = text.find(">", tag.end()) + 1
        if begin == 0:
            return
        yield begin


def _block_letter(text: str) -> str | None:
    last = max((end.start() for end in _ANSWER_END.finditer(text)), default=-1)
    for begin in _blocks(text):
        found = _IN_BLOCK.match(text, begin)
        if found and found.end() <= last:
            return found[1].upper()
    return None


def _block_number(text: str) -> str | None:
    for begin in _blocks(text):
        found = _IN_BLOCK_NUMBER.match(text, begin)
        close = text.find("<", found.end()) if found else -1
        if found and close >= 0 and _ANSWER_END.match(text, close):
            return found[1]
    return None


def _after_thought(text: str) -> str:
    """What follows the last end of a thought, or without any the last beginning of one."""
    for mark in (_THOUGHT_END, _THOUGHT):
        ends = [found.end() for found in mark.finditer(text)]
        if ends:
            return text[ends[-1] :].strip()
    return text


def _of_lines(lines: Sequence[str]) -> str | None:
    for line in filter(None, (line.strip() for line in reversed(lines))):
        if _NAMES_OPTION.match(line):
            continue
        found = _ALONE.fullmatch(line) or _LABEL.match(line)
        if found:
            return found[1].upper()
        capitals = set(_INLINE.findall(line))
        if len(capitals) == 1:
            return str(capitals.pop())
    return None


def _letter(found: re.Match[str] | None) -> str | None:
    return found and found[1].upper()


def _only_capital(text: str) -> str | None:
    lines = (line for line in text.splitlines() if not _NAMES_OPTION.match(line))
    capitals = {letter for line in lines for letter in _CAPITAL.findall(line)}
    return capitals.pop() if len(capitals) == 1 else None


def _first_item(reply: str) -> str | None:
    """The reply, or the first item of a list that it is; None where it looks like a list and is none."""
    text = reply.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return reply
    try:
        items = ast.literal_eval(reply)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return str(items[0]) if isinstance(items, list) and items else reply


def _last_number(text: str) -> str | None:
    found = deque(_NUMBER.finditer(text), maxlen=1)
    return found[0][0] if found else None
