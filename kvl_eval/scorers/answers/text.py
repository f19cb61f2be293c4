"""A text as an answer: a name, a word, a phrase."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers import languages as words
from kvl_eval.scorers.answers.dress import QUOTES, folded, unwrapped
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue
from kvl_eval.scorers.answers.wordings import declines, hedges, refuses

SHORT = 12  # words of a reply that is an answer whole
_CAUSE = re.compile(
    r"[,;]?\s+(?:because|since|as (?:shown|seen|stated|indicated|mentioned|can be)|according to|based"
    r" on|weil|parce que"
    r"|porque)\b|\s[-–—]\s(?=(?:it|this|the|that|as)\b)|因为|由于",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?<=[^\W\d_]{2})[.!?](?=\s+[A-Z\"'(])|(?<=[\d%)\]\"'”])[.!?](?=\s+[A-Z])|[。！？]|;\s(?=[a-z])"
)
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Inc|Ltd|Co|Corp|Jr|Sr|vs|No|Vol|Fig|Gen|Gov|Sen|Rep|Rev|Col|Lt|Mt|Ft|approx|etc"
    r"|e\.g|i\.e|U\.S)$"
)
_NOTE = re.compile(
    r"\s*[(\[](?:see|cf|page|p\.|pp\.|figure|table|section|from|as|on|in|source|pages)\b[^()\[\]]*[)\]]\s*\.?$",
    re.IGNORECASE,
)
_PAGE = re.compile(r",?\s+(?:on|in|from|at) (?:page|slide|figure|table|section) \d+\.?$", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:it|that|this|he|she|they)(?: is|'s|’s| was| are| were)\s+(?!not\b|no\b)(?:called\s+|named\s+)?|(?:most"
    r" likely|probably)\s+",
    re.IGNORECASE,
)
_OR = re.compile(
    r"^(?:either\s+)?(?P<one>[^,.;\n]{1,60}?)\s+(?:or|oder)\s+(?P<two>[^,.;\n]{1,60})$|^[^,。\n]{1,30}或者?[^,。\n]{1,30}$",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^\s*(?:[^\s:]{1,24}[ ]){0,2}[^\s:]{1,24}:\s+(?=\S)")
_COPULA = re.compile(
    r"^(?:the|this|that|its|his|her|their)\s+(?:[^\s,.:;]+\s+){1,8}?(?:is|are|was|were|reads|says|shows"
    r"|states)(?: called| named)?:?\s+(?=\S)",
    re.IGNORECASE,
)
_READS = re.compile(
    r"(?:^|:|\b(?:is|are|was|were|be|reads?|says?|said|states?|called|named|titled|label(?:l?ed)?|written|shows?"
    r"|displays?|spells?"
    r"|the words?|the text|the phrase|as))\s*$",
    re.IGNORECASE,
)
_PARTICIPLE = re.compile(
    r"(?:(?:also|first|originally|sometimes|usually|widely|then|later|commonly|generally|often|most|primarily"
    r"|mainly|not|now|still|being|been) )*"
    r"(?:[a-z]{2,14}ed|known|given|made|written|set|found|shown|sung|won|built|born|done|seen|held|taken|driven"
    r"|in|on|at|by|from"
    r"|of|to|for|with|located|about|when|where|that)\b"
)
_QUOTED = re.compile(
    r"\"([^\"\n]{1,200})\"|“([^”\n]{1,200})”|«([^»\n]{1,200})»|「([^」\n]{1,200})」|(?<!\w)['‘]([^'’\n]{1,200})['’](?!\w)"
)
_COURTESY = re.compile(
    r"[\s,]*(?:let me know|i hope|hope (?:this|that)|feel free|please|explanation|reason|note|is there anything)\b",
    re.IGNORECASE,
)


class TextReader:
    """Reads a text without its dress."""

    def __init__(self, bolds: tuple[tuple[int, int], ...] = (), question: str = "") -> None:
        self.bolds = bolds
        self.question = folded(question)

    def lead(self, text: str, start: int, end: int) -> Attempt:
        """The text of a mark: its first line, without explanation and notes."""
        stop = _line_end(text, start, end)
        return self._bare(text, start, self._claim_end(text, start, stop))

    def _claim_end(self, text: str, start: int, end: int) -> int:
        cause = _CAUSE.search(text, start + 1, end)
        end = cause.start() if cause else end
        for sentence in _SENTENCE.finditer(text, start + 1, end):
            if not _ABBREVIATION.search(text[max(start, sentence.start() - 8) : sentence.start()]):
                return sentence.start() if text[sentence.start()] == ";" else sentence.end()
        return end

    def _bare(self, text: str, start: int, end: int) -> Attempt:
        """A span without quotes, notes, a leading "it is" and a full stop that is not its own."""
        inner = [(first, last) for first, last in self.bolds if start <= first and last <= end]
        if len({folded(text[first:last]) for first, last in inner}) == 1 and not _is_label(text, *inner[0]):
            start, end = inner[0]
        for pattern in (words.COPULA_AFTER, _NOTE, _PAGE):
            match = pattern.search(text[start:end])
            end = start + match.start() if match else end
        start, end = self._outer(text, start, end)
        if leading := _LEADING.match(text, start, end):
            start, end = self._outer(text, leading.end(), end)
        if start >= end:
            return None
        value = " ".join(text[start:end].split())
        if declines(value) or (len(value.split()) <= 3 * SHORT and refuses(value)):
            return Fault("refusal")
        if _OR.match(value) and len(value.split()) <= SHORT:
            return Fault("two_answers")
        if re.match(r"either\b", value, re.IGNORECASE) or value.casefold() in ("maybe", "it depends"):
            return Fault("hedge")
        return FoundValue(value, start, end)

    def _outer(self, text: str, start: int, end: int) -> tuple[int, int]:
        full_stop = text[start:end].rstrip().endswith(".")
        first, last = unwrapped(text, start, end)
        is_own = (
            full_stop
            and re.search(r"(?:\b[A-Z]|\.\w|\b(?:Inc|Ltd|Co|Corp|Jr|Sr|St|Dr|etc))$", text[first:last]) is not None
        )
        return first, last + 1 if is_own and last < end and text[last] == "." else last

    def alone(self, text: str, start: int, end: int) -> Attempt:
        """The text of a line that is a phrase and no sentence."""
        line = text[start:end].strip()
        if not line or len(line.split()) > SHORT or line.endswith((":", "?")) or words.FILLER_LINE.match(line):
            return None
        if _LABEL.match(line) or _COPULA.match(line) or _COURTESY.match(line):
            return None
        return self._bare(text, start, self._claim_end(text, start, end))

    def stated(self, text: str, start: int, end: int) -> Attempt:
        """`Label: VALUE` and "The .. is VALUE", where one line is all there is."""
        first, last = start, end
        while first < last and text[first].isspace():
            first += 1
        while last > first and text[last - 1].isspace():
            last -= 1
        if "\n" in text[first:last] or last - first > 400:
            return None
        match = _LABEL.match(text[first:last]) or _COPULA.match(text[first:last])
        if match is None:
            return None
        stop = self._claim_end(text, first + match.end(), last)
        value = text[first + match.end() : stop]
        if text[stop:last].strip(" .") or len(value.split()) > SHORT or _PARTICIPLE.match(value):
            return None  # more is said, or something is said of the subject
        return self._bare(text, first + match.end(), stop)

    def concluded(self, text: str, start: int, end: int) -> Attempt:
        """A concluding sentence says no more of a text than the reply does."""
        return None

    def contained(self, text: str, start: int, end: int) -> Attempt:
        """The only quoted span, where it ends a short reply; else the whole reply."""
        reply = text[start:end].strip()
        if len(reply.split()) <= 3 * SHORT:
            quoted = [match for match in _QUOTED.finditer(text, start, end) if not self._is_copied(match.group())]
            values = {folded(match.group()) for match in quoted}
            if len(values) > 1 and len(reply.split()) <= SHORT:
                return Fault("two_answers")
            is_last = bool(quoted) and not text[quoted[-1].end() : end].strip(" .!\n")
            if (
                len(values) == 1
                and is_last
                and _READS.search(text[max(start, quoted[-1].start() - 40) : quoted[-1].start()])
            ):
                return self._bare(text, quoted[-1].start(), quoted[-1].end())
        if hedges(reply) and len(reply.split()) <= SHORT:
            return Fault("hedge")
        return self._bare(text, start, end)

    def _is_copied(self, quoted: str) -> bool:
        """Whether a quoted span is a copy from the question."""
        return folded(quoted) in self.question

    def is_bare(self, text: str, start: int, end: int) -> bool:
        """Whether a line is a phrase and no sentence."""
        line = text[start:end].rstrip()
        return not line.endswith((".", "!")) or len(line.split()) <= 4

    def same(self, one: FoundValue, other: FoundValue) -> bool:
        """Whether two readings are one answer."""
        return folded(str(one.value)) == folded(str(other.value))


def _is_label(text: str, start: int, end: int) -> bool:
    """Whether a bold span is a heading and no value: a colon in or behind it."""
    return text[end : end + 1] == ":" or text[start:end].rstrip(QUOTES + " ").endswith(":")


def _line_end(text: str, start: int, end: int) -> int:
    line = text.find("\n", start, end)
    return end if line < 0 else line
