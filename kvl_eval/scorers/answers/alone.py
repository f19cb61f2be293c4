"""Rank 2: places of a reply that are nothing but an answer: all of it, a line, a bold span."""

from __future__ import annotations

import re
from typing import Protocol

from kvl_eval.scorers.answers import languages as words
from kvl_eval.scorers.answers.letter import LabelReader
from kvl_eval.scorers.answers.lines import answer_lines
from kvl_eval.scorers.answers.number import NumberReader
from kvl_eval.scorers.answers.reading import Attempt, CharSpan, Fault, FoundValue, Wanted
from kvl_eval.scorers.answers.text import TextReader

_LINES_LIMIT = 2_000  # lines of a reply in which the one that answers is looked for, from both ends
_LABEL = re.compile(r"[*_\s]*(?:\(([A-Za-z])\)|([A-Za-z])[.):])(?=\s)")
_STRONG = ("two_answers", "not_an_option", "letter_and_text_differ", "range", "bound")


class KindReader(Protocol):
    """Reads one kind of value at the places that ranks 1 to 4 offer."""

    def lead(self, text: str, start: int, end: int) -> Attempt: ...
    def alone(self, text: str, start: int, end: int) -> Attempt: ...
    def stated(self, text: str, start: int, end: int) -> Attempt: ...
    def concluded(self, text: str, start: int, end: int) -> Attempt: ...
    def contained(self, text: str, start: int, end: int) -> Attempt: ...
    def same(self, one: FoundValue, other: FoundValue) -> bool: ...


class Alone:
    """The places of one reply."""

    def __init__(self, text: str, wanted: Wanted, kind: KindReader, bolds: list[CharSpan]) -> None:
        self.text = text
        self.wanted = wanted
        self.kind = kind
        self.bolds = bolds

    def outcome(self) -> tuple[Attempt, str]:
        """What was read, or why nothing was, and at which of the places; (None, "") where none is an answer alone."""
        whole = self._whole()
        if whole is not None:
            return whole, "whole"
        lines = [span for span in answer_lines(self.text, self._count_of_options()) if not self._is_filler(span)]
        if not lines:
            return None, ""
        lines = lines[self._size_of_list(lines) :] or lines
        working = self._working(lines)
        first = self._line_outcome(lines[0]) if lines[0] not in working else None
        last = self._line_outcome(lines[-1]) if len(lines) > 1 and self._is_exact(lines[-1]) else None
        if isinstance(self.kind, TextReader) and len(lines) > 2 and not self._is_apart(lines[-1]):
            last = None  # the last of several lines that belong together
        if isinstance(first, FoundValue):
            if isinstance(last, FoundValue) and self._is_barer(lines[-1], lines[0]):
                return last, "last_line"
            if isinstance(last, FoundValue) and not self.kind.same(first, last) and self._is_bare(lines[-1]):
                if not are_apart_by_word(self.text, first.end, last.start):
                    return Fault("two_answers"), ""
                return last, "last_line"
            return first, "first_line"
        final = self.kind.final(self.text, 0, len(self.text)) if isinstance(self.kind, NumberReader) else None
        if isinstance(final, FoundValue) and not isinstance(last, FoundValue):
            return final, "statement"
        for outcome, how in (
            (last, "last_line"),
            (self._own_line([line for line in lines if line not in working]), "own_line"),
            (self._bold(), "bold"),
        ):
            if isinstance(outcome, FoundValue):
                return outcome, how
        for outcome in (first, last):
            if isinstance(outcome, Fault) and outcome.reason in _STRONG:
                return outcome, ""
        return None, ""

    def _working(self, lines: list[CharSpan]) -> list[CharSpan]:
        """The equations of a working of several lines: none of them but the last line is an answer alone."""
        if not isinstance(self.kind, NumberReader):
            return []
        equations = [span for span in lines if self.kind.equations(self.text, *span)]
        return [span for span in equations if self.kind.is_formula(self.text, *span)] if len(equations) > 1 else []

    def _size_of_list(self, lines: list[CharSpan]) -> int:
        """How many lines at the beginning go through options, a line each; 0 where it is less than two."""
        letters: list[str] = []
        for number, span in enumerate(lines if self.wanted.kind == "letter" else ()):
            label = _LABEL.match(self.text, *span)
            if label is None or (number and span[0] - lines[number - 1][1] > 1):
                break
            letters.append((label[1] or label[2]).upper())
        return len(letters) if len(set(letters)) > 1 else 0

    def _is_barer(self, span: CharSpan, other: CharSpan) -> bool:
        """Whether a line is a number or a phrase alone, and another one says more."""
        if not isinstance(self.kind, NumberReader | TextReader):
            return False
        return self.kind.is_bare(self.text, *span) and not self.kind.is_bare(self.text, *other)

    def _is_apart(self, span: CharSpan) -> bool:
        """Whether a blank line stands before a line."""
        return self.text[: span[0]].rstrip(" \t").endswith("\n\n")

    def _is_exact(self, span: CharSpan) -> bool:
        return not isinstance(self.kind, LabelReader) or self.kind.is_exact(self.text, *span)

    def _is_bare(self, span: CharSpan) -> bool:
        """Whether a line is a letter or yes or no and nothing else."""
        return self.wanted.kind in ("letter", "yesno") and len(re.findall(r"\w+", self.text[span[0] : span[1]])) <= 2

    def _whole(self) -> Attempt:
        if "\n" in self.text.strip() and self.wanted.kind not in ("list", "letters"):
            return None
        return self.kind.alone(self.text, 0, len(self.text))

    def _line_outcome(self, span: CharSpan) -> Attempt:
        if self.wanted.kind == "list":
            return None
        return self.kind.alone(self.text, *span)

    def _own_line(self, lines: list[CharSpan]) -> Attempt:
        """The one line that is nothing but an answer."""
        only: FoundValue | None = None
        for span in [*lines[:_LINES_LIMIT], *lines[max(_LINES_LIMIT, len(lines) - _LINES_LIMIT) :]]:
            outcome = self._line_outcome(span) if self._is_exact(span) else None
            if isinstance(outcome, FoundValue):
                if only is not None and not self.kind.same(only, outcome):
                    return None
                only = only or outcome
        return only

    def _bold(self) -> Attempt:
        """The one bold span that is nothing but an answer."""
        only: FoundValue | None = None
        for start, end in self.bolds[-_LINES_LIMIT:]:
            if self.text[end : end + 1] == ":" or self.text[start:end].rstrip().endswith(":"):
                continue
            outcome = self.kind.alone(self.text, start, end) if self.wanted.kind != "list" else None
            if isinstance(outcome, FoundValue):
                if only is not None and not self.kind.same(only, outcome):
                    return Fault("two_answers") if self.wanted.kind == "text" else None
                only = only or outcome
        return only

    def _count_of_options(self) -> int:
        return len(self.wanted.options) if self.wanted.kind in ("letter", "letters") else 0

    def _is_filler(self, span: CharSpan) -> bool:
        line = self.text[span[0] : min(span[1], span[0] + 80)]
        return self.wanted.kind == "text" and words.FILLER_LINE.match(line) is not None


def are_apart_by_word(text: str, start: int, end: int) -> bool:
    """Whether a word of correction stands between two places."""
    return words.CORRECTION.search(text, start, end) is not None
