"""Find the final answer in free text: boxes, cues, conclusions, numbers, lists. Every scan is linear in the text."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

_CUE = re.compile(
    r"(?:answers?|choice|option)\*{0,2}\s?(?:is|are|was|would be|should be|will be|must be)\b|answer\*{0,2}\s?[:：]"
    r"|答案(?:应该)?(?:是|为|為)?[:：]?",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"(?:^|(?<=[.!?] ))(?:so|thus|hence|therefore|in conclusion|as a result|因此|所以)(?!\w)",
    re.IGNORECASE | re.MULTILINE,
)
_LINE_OR_SENTENCE = re.compile(r"[.!?](?=\s|$)|\n")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_NUMBER = re.compile(r"(?:(?<![\w.])[-−])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s?\{([^{}]*)\}")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_OPENING = re.compile(r"there (?:is|are|were|was) (?:only |a total of |exactly )?(\S+)", re.IGNORECASE)
_DECLINES = re.compile(
    r"\bn/a\b|\bnot (?:provided|possible|applicable|enough|among|listed|given)\b|\bcannot\b|\bcan['’]t\b|\bunable\b"
    r"|\bimpossible\b|\bunknown\b|\bmore information\b|\bnone of the\b|\bdoes not provide\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|no|none|neither|never)\b|n['’]t\b", re.IGNORECASE)
_NUMBER_WORDS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty"
)
_WORD = re.compile(rf"\b(?:{_NUMBER_WORDS})\b", re.IGNORECASE)


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{...}` whose braces balance, or None."""
    opened: list[int] = []
    best: tuple[int, int] | None = None
    for match in re.finditer(r"[{}]", text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            if text.endswith("\\boxed", 0, start) and (best is None or start > best[0]):
                best = (start, match.start())
    return None if best is None else text[best[0] + 1 : best[1]]


def after_cue(text: str) -> str | None:
    """The line after the last "the answer is", "Answer:", "correct option is" or alike; None without a cue."""
    cue = _last(_CUE.finditer(text))
    return None if cue is None else text[cue.end() :].strip(" *:：\t\r\n").partition("\n")[0]


def conclusion(text: str) -> str | None:
    """The last sentence that opens with "So", "Thus", "Therefore" or alike, without that word; None without one."""
    opening = _last(_CONCLUSION.finditer(text))
    if opening is None:
        return None
    end = _LINE_OR_SENTENCE.search(text, opening.end())
    return text[opening.end() : end.start() if end else len(text)]


def plain(text: str) -> str:
    r"""`text` without bold marks, dollar signs and `\text{}` wrappers."""
    bare = _MARKUP.sub(r"\1", text)
    for mark in ("**", "$", "\\(", "\\)"):
        bare = bare.replace(mark, "")
    return bare.strip()


def declines(text: str) -> bool:
    """Whether the text says that there is no answer."""
    return _DECLINES.search(text) is not None


def is_negated(text: str) -> bool:
    """Whether the text holds a negation."""
    return _NEGATION.search(text) is not None


def num_sentences(text: str) -> int:
    """How many sentences the text has, one without a full stop included; 0 for blank text."""
    ends = sum(1 for _ in _SENTENCE_END.finditer(text))
    return ends + (bool(text.strip()) and text.rstrip()[-1] not in ".!?")


def numbers_in(text: str) -> Iterator[str]:
    """Numbers of `text` in order, as `float` reads them: no thousands separators, ASCII minus."""
    for match in _NUMBER.finditer(text):
        yield match[0].replace(",", "").replace("−", "-")


def first_number(text: str) -> str | None:
    """The first number of `text`, or None."""
    return next(numbers_in(text), None)


def last_number(text: str) -> str | None:
    """The last number of `text`, or None."""
    return _last(numbers_in(text))


def stated_number(text: str) -> str | None:
    """The first number set in bold, else the count of an opening "There are ..."; None without either."""
    for match in _BOLD.finditer(text):
        found = last_number(match[1])
        if found is not None:
            return found
    opening = _OPENING.match(text.lstrip())
    return (first_number(opening[1]) or number_word(opening[1])) if opening else None


def number_word(text: str) -> str | None:
    """The last number from zero to twenty that is written as a word, in digits; None without one."""
    word = _last(_WORD.finditer(text))
    return None if word is None else str(_NUMBER_WORDS.split("|").index(word[0].lower()))


def last_list(text: str) -> str | None:
    """The last `[...]` without brackets inside, or None."""
    end = text.rfind("]")
    start = text.rfind("[", 0, end) if end >= 0 else -1
    return text[start : end + 1] if start >= 0 else None


def _last(found: Iterator[T]) -> T | None:
    return next(iter(deque(found, maxlen=1)), None)
