"""Lines of a reply that may be an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kvl_eval.scorers.answers.reading import CharSpan
from kvl_eval.scorers.answers.spellings import LABELLED_LINE

_LINE = re.compile(r"[^\n]*\S[^\n]*")
_NUMBERED = re.compile(r"\s*[(\[]?\d{1,3}[.)\]]\s+\S")


def answer_lines(text: str, options: int) -> list[CharSpan]:
    """The lines that are not blank, without copied lists of so many options; with 0 without numbered steps."""
    spans = [(match.start(), match.end()) for match in _LINE.finditer(text)]
    dropped = set(_copied(text, spans, options) if options else _steps(text, spans))
    return [span for index, span in enumerate(spans) if index not in dropped]


def _steps(text: str, spans: list[CharSpan]) -> list[int]:
    """Indices of numbered lines, where there are several."""
    numbered = [index for index, (start, end) in enumerate(spans) if _NUMBERED.match(text, start, end)]
    return numbered if len(numbered) > 1 else []


def _copied(text: str, spans: list[CharSpan], options: int) -> Iterator[int]:
    """Indices of adjoining labelled lines from A on, as many as there are options."""
    run: list[int] = []
    label = ""
    for index, (start, end) in enumerate(spans):
        match = LABELLED_LINE.match(text, start, end)
        letter = match[1].upper() if match else ""
        follows = bool(run) and letter != "" and ord(letter) == ord(label) + 1
        if run and not follows:
            if len(run) >= max(2, options):
                yield from run
            run = []
        if letter and (follows or letter == "A"):
            run.append(index)
        label = letter
    if len(run) >= max(2, options):
        yield from run
