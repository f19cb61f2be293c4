"""Several letters as an answer."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.dress import QUOTES, after_bullet, unwrapped
from kvl_eval.scorers.answers.letter import LabelReader
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue
from kvl_eval.scorers.answers.wordings import refuses

_ONE = rf"(?:(?:options?|choices?|选项)\s+)?[(\[{{]?[{QUOTES}]?(?P<letter>[A-Z])[{QUOTES}]?[)\]}}.]?"
_LETTER = re.compile(_ONE + r"(?![A-Za-z0-9_'’])")
_JOIN = re.compile(r"\s*(?:[/&+,;、|]|\n)?\s*(?:\b(?:and|AND|und|et|y)\b|&|和|及|[-*•])?\s*")
_TO = re.compile(r"\s*(?:-|–|—|\bto\b|\bthrough\b)\s*")
_RUN = re.compile(r"[A-Z]{2,26}(?![A-Za-z0-9_'’])")
_INTRO = re.compile(
    r"\s*(?:(?:both|the|only|correct|right|options?|choices?|answers?|letters?|all of (?:them|the above)|are|is"
    r"|选项)\b[\s:]*){0,5}[\[({]?\s*",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"[\s\])}.。!*\"'”]*(?:$|\n|(?:are|is|because|since|as|which|both|all|only|were)\b|[,;]\s|[-–—(]|正确|都)",
    re.IGNORECASE,
)
_SAID = re.compile(r"\b(?:are|is)\s+(?:all |both |also |the )*(?:correct|right|true|the answers?|valid)", re.IGNORECASE)


class LettersReader:
    """Reads a set of letters, sorted."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self.one = LabelReader(options)
        self.count = self.one.options.count

    def lead(self, text: str, start: int, end: int) -> Attempt:
        """The letters that a content begins with."""
        start = after_bullet(text, start, end)
        intro = _INTRO.match(text, start, end)
        for first in (start, *([intro.end()] if intro and intro.end() > start else [])):
            outcome = self._letters(text, first, end)
            if outcome is not None:
                return outcome
        single = self.one.lead(text, start, end)
        if isinstance(single, FoundValue):
            return FoundValue((str(single.value),), single.start, single.end)
        return Fault("refusal") if refuses(text[start:end]) else None

    def _letters(self, text: str, start: int, end: int) -> Attempt:
        run = _RUN.match(text, start, end)
        if (
            run
            and all(ord(letter) - ord("A") < self.count for letter in run.group())
            and len(set(run.group())) == len(run.group())
        ):
            return (
                FoundValue(tuple(sorted(run.group())), start, run.end()) if _AFTER.match(text, run.end(), end) else None
            )
        found: list[str] = []
        position = last = start
        is_range = False
        while len(found) < 27 and (match := _LETTER.match(text, position, end)) is not None:
            if found and (position == last or is_range):
                if not is_range and text[last - 1 : last + 1] not in (")(", "]["):
                    break
                if not is_range:
                    found.append(match["letter"])
                    last = match.end()
                    join = _JOIN.match(text, last, end)
                    position = join.end() if join else last
                    continue
                found += [chr(code) for code in range(ord(found[-1]) + 1, ord(match["letter"]) + 1)]
            else:
                found.append(match["letter"])
            last = match.end()
            to = _TO.match(text, last, end)
            is_range = to is not None and _LETTER.match(text, to.end(), end) is not None and "\n" not in to.group()
            join = to if is_range else _JOIN.match(text, last, end)
            position = join.end() if join else last
        if not found or not _AFTER.match(text, last, end):
            return None
        if any(ord(letter) - ord("A") >= self.count for letter in found):
            return Fault("not_an_option")
        if (
            found in (["A"], ["I"])
            and re.match(r"\s+[a-z]", text[last:end])
            and not re.match(r"\s+(?:is|because|since|as)\b", text[last:end])
        ):
            return None
        return FoundValue(tuple(sorted(set(found))), start, last)

    def alone(self, text: str, start: int, end: int) -> Attempt:
        """The letters of a text that is nothing but them, or that says which are correct."""
        if end - start > 800:
            return None
        bare = text[start:end].strip()
        if re.fullmatch(r"\[.*\]", bare, re.DOTALL) or re.fullmatch(r"\(.*\)", bare, re.DOTALL):
            inner = unwrapped(text, start, end)
            outcome = self._letters(text, *inner)
            if isinstance(outcome, FoundValue) and outcome.end >= inner[1] - 2:
                return outcome
        if listed := self._labelled_lines(text, start, end):
            return listed
        outcome = self.lead(text, start, end)
        if isinstance(outcome, FoundValue):
            rest = text[outcome.end : end].strip(" .。)]}*" + QUOTES)
            single = isinstance(outcome.value, tuple) and len(outcome.value) == 1
            return (
                outcome
                if not rest or _SAID.match(rest) or (single and "\n" not in rest and self._one_alone(text, start, end))
                else None
            )
        return outcome if isinstance(outcome, Fault) and outcome.reason == "not_an_option" else None

    def _labelled_lines(self, text: str, start: int, end: int) -> FoundValue | None:
        """The letters of two lines or more, each a letter with its own text, that are not all options."""
        letters: list[str] = []
        position = start
        for line in text[start:end].splitlines(keepends=True):
            first, last = position, position + len(line)
            position = last
            if not line.strip():
                continue
            first = after_bullet(text, first, last)
            label = self.one.label(text, first, last)
            if label is None or not label.is_set or label.index >= self.count:
                return None
            if not self.one.has_own_text(text, label, last):
                return None
            letters.append(chr(ord("A") + label.index))
        if not 1 < len(set(letters)) < self.count:
            return None
        return FoundValue(tuple(sorted(set(letters))), start, end)

    def _one_alone(self, text: str, start: int, end: int) -> bool:
        return isinstance(self.one.alone(text, start, end), FoundValue)

    def stated(self, text: str, start: int, end: int) -> Attempt:
        """The letters behind a colon: "All of them: A, B, C"; or before "are correct"."""
        for match in _SAID.finditer(text, start, end):
            line = max(text.rfind("\n", start, match.start()), text.rfind(". ", start, match.start())) + 1
            outcome = self.lead(text, max(start, line), match.start())
            if isinstance(outcome, FoundValue):
                return outcome
        colon = text.rfind(": ", start, end)
        return self._letters(text, colon + 2, end) if colon >= 0 else None

    def concluded(self, text: str, start: int, end: int) -> Attempt:
        """The letters of a concluding sentence."""
        return self.lead(text, start, end)

    def contained(self, text: str, start: int, end: int) -> Attempt:
        """Letters are never looked for inside sentences."""
        return None

    def same(self, one: FoundValue, other: FoundValue) -> bool:
        """Whether two readings are one answer."""
        return one.value == other.value
