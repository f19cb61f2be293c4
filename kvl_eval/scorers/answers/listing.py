"""A list as an answer: items in every writing, in their order."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers import languages as words
from kvl_eval.scorers.answers.dress import QUOTES, folded, trimmed, unwrapped
from kvl_eval.scorers.answers.number import NumberReader
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue, Kind, ListItem
from kvl_eval.scorers.answers.wordings import refuses

_CELL = re.compile(r"\s{0,8}\|([^|\n]+)\|\s{0,8}")
_LIMIT = 20_000  # characters of a list
_ITEMS_LIMIT = 1_000
_BULLET = re.compile(r"^[ \t]*(?:[-*•·‣▪◦–]|[(\[]?\d{1,3}[.)\]])[ \t]+", re.MULTILINE)
_INLINE = re.compile(r"(?:^|[\s,;])[(\[]?\d{1,2}[)\]]\s*|(?:^|\s)\d{1,2}\.\s+(?=\D)")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.){0,300})\"|'((?:[^'\\]|\\.|'(?=\w)){0,300})'(?!\w)|“([^”]*)”|‘([^’]*)’(?!\w)")
_PAGE = re.compile(
    r"\s*[(\[]\s*(?:see |on )?(?:p|pp|page|pages|figure|table|slide)s?\.?\s*[\d\s,–-]+[)\]]\s*\.?$"
    r"|,?\s+(?:on|from|see) (?:page|pages|slide|table|figure) [\d\s,–-]+\.?$",
    re.IGNORECASE,
)
_NOTE = re.compile(r"\s*\([^()]{0,200}\)\s*\.?$")
_COLON_NOTE = re.compile(r":\s+\S.*$", re.DOTALL)
_SEPARATORS = (
    re.compile(r"\s*(?:;|；)\s*(?:and\s+|und\s+)?"),
    re.compile(r"\s+\|\s+|\s*\|\s*"),
    re.compile(r"\s*[、，]\s*(?:和|以及)?"),
    re.compile(
        r"(?<!\d),\s*(?:(?:and|und|et|y|e|&)\s+)?|,\s+(?:(?:and|und|et|y|e|&)\s+)?|,(?!\d{3}(?!\d))(?:and\s+)?"
        r"|(?<=\d{4}),(?=\d)"
    ),
)
_AND = re.compile(r"\s+(?:and|&|und|et|y)\s+|\s*(?:和|以及|及)\s*", re.IGNORECASE)
_INTRO = re.compile(r"^[^\n:,]{0,160}:\s+")
_VERB = re.compile(
    r"^(?:the|these|those|its|their|they|there)\b[^\n.,:;]{0,120}?\b(?:are|is|were|was|include|includes)(?:"
    r" listed as)?:?\s+",
    re.IGNORECASE,
)


class ListReader:
    """Reads a list of texts or of numbers."""

    def __init__(self, items: Kind = "text", bolds: tuple[tuple[int, int], ...] = ()) -> None:
        self.items = items
        self.bolds = bolds
        self._numbers = NumberReader()

    def lead(self, text: str, start: int, end: int) -> Attempt:
        """The list of a mark: the lines up to a blank one, or up to an explanation."""
        return self._read(text, start, min(end, start + _LIMIT))

    def alone(self, text: str, start: int, end: int) -> Attempt:
        """The list of a text that is nothing but one."""
        line = text[start:end].strip()
        if not line or len(line) > _LIMIT or (words.FILLER_LINE.match(line) and "\n" not in line):
            return None
        return self._read(text, start, end)

    def stated(self, text: str, start: int, end: int) -> Attempt:
        """A sentence's list reads like any other."""
        return None

    concluded = stated

    def contained(self, text: str, start: int, end: int) -> Attempt:
        """What a reply holds when nothing in it is marked: all of it."""
        return self._read(text, start, min(end, start + _LIMIT))

    def _read(self, text: str, start: int, end: int) -> Attempt:
        first, last = trimmed(text, start, end, ends=".。 ")
        page = _PAGE.search(text[first:last])
        if page and page.start() > 0:
            last = first + page.start()
        if first >= last:
            return None
        body = text[first:last]
        if refuses(body) and len(body.split()) <= 40 and body[0] not in "[({":
            return Fault("refusal")
        parts = self._parts(body, first)
        values: list[ListItem] = []
        for part in parts[:_ITEMS_LIMIT]:
            value = self._item(part)
            if value is None:
                return None
            if value != "":
                values.append(value)
        return FoundValue(tuple(values), first, last) if values else None

    def _parts(self, body: str, offset: int) -> list[str]:
        """The items of a text as they stand."""
        lines = [_cell(line) for line in body.split("\n") if line.strip()]
        bullets = [line for line in lines if _BULLET.match(line)]
        if len(lines) == 1 and (numbered := _numbered(lines[0])):
            return numbered
        if len(bullets) > 1 or (len(bullets) == 1 and len(lines) <= 2 and _BULLET.match(lines[-1])):
            return [_BULLET.sub("", line, count=1) for line in bullets]
        for opening, closing in ("[]", "()", "{}"):
            inner = _bracketed(body, opening, closing)
            if inner is not None:
                return self._bracket_items(inner)
        if len(lines) > 1:
            if lines[0].rstrip().endswith(":"):
                lines = lines[1:]
            if len(lines) > 1:
                return lines
        line = self._after_intro(lines[0].strip() if lines else "")
        inner = _bracketed(line, "[", "]")
        return self._line_items(line) if inner is None else self._bracket_items(inner)

    def _after_intro(self, line: str) -> str:
        intro = _INTRO.match(line) or _VERB.match(line)
        if intro and line[intro.end() :].strip() and line[:1] not in "\"'":
            return line[intro.end() :].rstrip(".")
        return line

    def _bracket_items(self, inner: str) -> list[str]:
        quoted = [next(group for group in match.groups() if group is not None) for match in _QUOTED.finditer(inner)]
        rest = _QUOTED.sub("", inner)
        if quoted and not re.sub(r"[\s,;]|\bor\b|\band\b", "", rest):
            return quoted
        if "," in inner or ";" in inner or "，" in inner or "、" in inner:
            return self._separated(inner)
        if re.fullmatch(r"\s*[-+\d.eE]+(?:\s+[-+\d.eE]+)+\s*", inner):
            return inner.split()
        return self._line_items(inner)

    def _line_items(self, line: str) -> list[str]:
        quoted = [next(group for group in match.groups() if group is not None) for match in _QUOTED.finditer(line)]
        rest = _QUOTED.sub("", line)
        if len(quoted) > 1 and not re.sub(r"[\s,;|&、，]|\band\b", "", rest):
            return quoted
        return self._separated(line)

    def _separated(self, line: str) -> list[str]:
        for separator in _SEPARATORS:
            if separator.search(line):
                parts = separator.split(line)
                last = _AND.split(parts[-1])
                return [*parts[:-1], *(last if len(last) == 2 and separator is not _SEPARATORS[0] else parts[-1:])]
        return _AND.split(line)

    def _item(self, part: str) -> ListItem | None:
        """An item without dress and note; "" where nothing is left; None where it should be a number but is not."""
        part = re.sub(r"^(?:and|und|et)\s+", "", part.strip())
        part = _NOTE.sub("", part) if _NOTE.search(part) and _NOTE.sub("", part).strip() else part
        start, end = trimmed(part, 0, len(part), ends=".。,;")
        part = part[start:end]
        colon = _COLON_NOTE.search(part)
        if colon and colon.start() and len(part[colon.start() :].split()) > 2:
            part = part[: colon.start()]
        start, end = unwrapped(part, 0, len(part))
        part = " ".join(part[start:end].strip(QUOTES).split())
        if self.items in ("integer", "float"):
            outcome = self._numbers.lead(part, 0, len(part))
            return outcome.value if isinstance(outcome, FoundValue) and isinstance(outcome.value, int | float) else None
        return part

    def same(self, one: FoundValue, other: FoundValue) -> bool:
        """Whether two readings are one answer."""
        first, second = one.value, other.value
        if not isinstance(first, tuple) or not isinstance(second, tuple):
            return first == second
        return [folded(str(item)) for item in first] == [folded(str(item)) for item in second]


def _cell(line: str) -> str:
    """The text of a table's line with one cell; other lines as they are."""
    cell = _CELL.fullmatch(line)
    return cell[1] if cell else line


def _numbered(line: str) -> list[str]:
    """The items of a line like `1) red 2) blue`; none where it is no such line."""
    line = line.strip()
    inline = list(_INLINE.finditer(line))
    if len(inline) < 2 or inline[0].start():
        return []
    cuts = [*(match.start() for match in inline[1:]), len(line)]
    return [line[match.end() : cut].strip(" ,;") for match, cut in zip(inline, cuts, strict=True)]


def _bracketed(body: str, opening: str, closing: str) -> str | None:
    """What stands in the brackets that hold a whole body, or that a body begins with; None where there are none."""
    if not body.startswith(opening):
        return None
    end = body.rfind(closing)
    if end <= 0 or "\n\n" in body[:end]:
        return None
    if body[end + 1 :].strip(" .;") and not re.match(
        r"\s*[\[(,.\n]|\s+(?:on|because|as|which|are|from)\b", body[end + 1 :]
    ):
        return None
    inner = body[1:end]
    return None if opening == "(" and inner.count("(") != inner.count(")") else inner
