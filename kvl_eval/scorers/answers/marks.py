"""Rank 1: places of a reply that are marked as its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kvl_eval.scorers.answers import languages as words
from kvl_eval.scorers.answers.dress import last_of
from kvl_eval.scorers.answers.reading import CharSpan
from kvl_eval.scorers.answers.view import View

CONTENT_LIMIT = 2_000  # characters of a mark that are read
MARKS_LIMIT = 60  # the last marks of a reply that are looked at
_LOOK_BACK = 240  # characters before a mark that are searched for the begin of its sentence


@dataclass(frozen=True, slots=True)
class Mark:
    """One marked place: `begin` of the mark itself, and the content from `start` to `end`."""

    how: str
    begin: int
    start: int
    end: int
    why_not: str = ""  # why it does not count

    @property
    def content(self) -> CharSpan:
        return self.start, self.end


KEYS = (
    r"final[_ ]?answer",
    r"answer",
    r"choice",
    r"option",
    r"(?:selected|correct|chosen|best)[_ ]?(?:option|answer|choice|letter)?",
    r"answer[_ ]?(?:letter|choice|option|text)",
    r"option[_ ]?letter",
    r"letter",
    r"prediction",
    r"final",
)
"""Keys of `json`: a row a family of names, without case."""

_LINE_AFTER = (
    r"[ \t]{0,3}[)\]】]?(?:\([^()\n]{0,30}\)[ \t]{0,3})?"
    r"(?:[:=](?!>)|[-=]{0,3}>{1,3}|[→»]|[ \t][-–—][ \t]|(?<=[ \t])[-–—][ \t])"
)
_FILL = rf"(?:[\s,:]{{0,3}}\b{words.ADVERBS}\b[,:]?){{0,4}}"
_PLACE = r"(?:[ ](?:to|for|of|in|from|here|based on|given)\b[^.:;!?\n]{0,120}?)?"
_NOUN = re.compile(rf"\b(?P<answer>{words.ANSWER_NOUN})\b|\b(?P<choice>{words.CHOICE_NOUN})\b", re.IGNORECASE)
_LINE = re.compile(_LINE_AFTER)
_IS = re.compile(rf"(?:{_PLACE}[,]?[ ]{words.COPULA}|['’]s)\b{_FILL}[ \t]*[:=,]?", re.IGNORECASE)
_BARE = re.compile(
    r"(?:[)\]】][ \t]*|[ \t]+|[ \t]*[;,.][ \t]*)(?=[(<\[]?[A-Z][)>\]]?(?:[.);,\s]*$|[.):]\s))", re.MULTILINE
)
_PRAISED = re.compile(rf"\b{words.PRAISE}(?: \w{{1,10}})? ?$", re.IGNORECASE)
DISPRAISES = (
    r"wrong|incorrect",
    r"other|another|alternative",
    r"possible|tempting|plausible",
    r"no|an?|any|each|every",
    r"given|all|sample|example",
    r"initial|first|previous|old",
    r"this|that|which|whose",
    r"your|user's|student's",
)
"""Words before "answer" with which it is another one than the reply's."""

_DISPRAISED = re.compile(rf"\b{words.any_of(DISPRAISES)} ?$", re.IGNORECASE)
_NO_SUCH = re.compile(
    rf"\b(?:no|not the|neither|isn't the|never the)(?: (?:{words.PRAISE}|single|definitive|one|clear)){{0,3}} ?$",
    re.IGNORECASE,
)
_CHOOSING = re.compile(rf"{words.CHOOSING}{_FILL}[ \t]*:?|{words.CONCLUDING}[ \t]*:?", re.IGNORECASE)
_OTHER_LINE = re.compile(
    rf"(?:{'|'.join(words.LINES)})(?:[ \t]{{0,3}}[】\])]?[ \t]{{0,3}}[:=]|】"
    r"|[ \t]?(?=[(\[]?(?-i:[A-Z])[)\]]?[\s.,;。]*$))",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_SENTENCE = re.compile(rf"(?:{'|'.join(words.SENTENCES)})[ \t]*[:,]?", re.IGNORECASE)
_FOREIGN = re.compile(
    r"[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0400-\u1fff\u2e80-\uffdc]"
)  # letters of other languages; no signs, no Greek
_HEADING = re.compile(
    rf"^[ \t]*(?:#{{1,6}}[ \t]*)?(?:(?:the |my )?(?:{words.PRAISE} ){{0,2}}{words.ANSWER_NOUN}|{'|'.join(words.LINES)})"
    r"[ \t]*[:.]?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_GSM = re.compile(r"^[ \t]*#{4}[ \t]*(?=\S)", re.MULTILINE)
_JSON = re.compile(
    rf"[\"'](?:{'|'.join(KEYS)})[\"'][ \t]*:\s{{0,4}}",
    re.IGNORECASE,
)
_NEXT_LINE = re.compile(r"\s*\n\s*")
_SENTENCE_END = re.compile(r"[.!?。！？;\n]|, (?=but\b|so\b)")
ECHOES = (
    r"one of",
    r"your|\[(?:letter|your)",
    r"LETTER|the (?:option )?letter|option letter|a single",
    r"X\b|xxx",
    r"\.\.\.|_{2,}",
    r"yes/no",
    r"<(?!\(?[A-Za-z]\)?>)",
    r"the correct option['’]s",
)
"""Contents that stand in a prompt for the answer."""

UNSAID = (
    r"answerable|applicable|possible",
    r"mentioned|stated|listed",
    r"given|provided|specified|included|available",
    r"found|contained|shown|visible|clear",
    r"enough",
    r"certain|sure|known",
)
"""What "not" is said before in a content that denies no value: "Answer: not mentioned" says something of the answer."""

_ECHO = re.compile(rf"[\s\"'(\[<{{]*{words.any_of(ECHOES)}")
HEADING = "a heading of how it was found"
_HOW = re.compile(r"\bhow (?:i|we|you|to)\b[^.:\n]{0,60}$", re.IGNORECASE)
_NOT_FIRST = re.compile(r"[\s:]*\b(?:not|neither|never|nicht|pas|不是)\b", re.IGNORECASE)
_NOT_SAID = re.compile(rf"[\s:]*not {words.any_of(UNSAID)}\b", re.IGNORECASE)
_NOT_BUT = re.compile(r"[\s:]*not\b[^.\n]{0,60}?\bbut\b(?: rather)?", re.IGNORECASE)


def marks(view: View, question: str = "") -> list[Mark]:
    """The marks of a reply by their places, also those that do not count; of each sort the last MARKS_LIMIT."""
    candidates = [Mark("boxed", start, start, end) for start, end in view.boxes[-MARKS_LIMIT:]]
    candidates += [Mark("tag", start, start, end) for start, end in view.tags[-MARKS_LIMIT:]]
    for sort in (_json, _gsm, _headings, _nouns, _choosing, _others):
        candidates += list(sort(view.text))[-MARKS_LIMIT:]
    candidates.sort(key=lambda mark: (mark.start, mark.begin))
    return [_judged(mark, view.text, question) for mark in candidates]


def _json(text: str) -> Iterator[Mark]:
    for match in _JSON.finditer(text):
        end = _json_end(text, match.end())
        yield Mark("json", match.start(), match.end(), end)


def _json_end(text: str, start: int) -> int:
    quote = text[start : start + 1]
    limit = min(len(text), start + CONTENT_LIMIT)
    if quote and quote in "\"'":
        close = re.compile(rf"(?<!\\){quote}\s*(?:[,}}\]]|$)").search(text, start + 1, limit)
        return close.start() + 1 if close else limit
    if quote == "[":
        close_at = text.find("]", start, limit)
        return close_at + 1 if close_at >= 0 else limit
    end = re.compile(r"[,}\n]").search(text, start, limit)
    return end.start() if end else limit


def _gsm(text: str) -> Iterator[Mark]:
    for match in _GSM.finditer(text):
        if _HEADING.match(text, match.start()):
            continue
        yield Mark("gsm", match.start(), match.end(), _line_end(text, match.end()))


def _headings(text: str) -> Iterator[Mark]:
    for match in _HEADING.finditer(text):
        start = _content_start(text, match.end())
        yield Mark("heading", match.start(), start, _paragraph_end(text, start))


def _nouns(text: str) -> Iterator[Mark]:
    for noun in _NOUN.finditer(text):
        before = text[max(0, noun.start() - 30) : noun.start()].rpartition("\n")[2]
        praised = _PRAISED.search(before) is not None
        if noun["choice"] and not praised:
            continue
        if (not praised and _DISPRAISED.search(before)) or _NO_SUCH.search(before):
            continue
        if after := _LINE.match(text, noun.end()):
            how = "answer_line"
        elif after := _IS.match(text, noun.end()):
            how = "answer_is"
        elif noun["answer"] and (praised or not before.strip("[(【 \t")) and (after := _BARE.match(text, noun.end())):
            how = "answer_line"
        else:
            continue
        start = _content_start(text, after.end())
        yield Mark(how, noun.start(), start, _paragraph_end(text, start))


def _choosing(text: str) -> Iterator[Mark]:
    for match in _CHOOSING.finditer(text):
        start = _content_start(text, match.end())
        yield Mark("answer_is", match.start(), start, _paragraph_end(text, start))


def _others(text: str) -> Iterator[Mark]:
    lowered = text.lower()
    if not _FOREIGN.search(text) and not any(word in lowered for word in words.ASCII_WORDS):
        return
    for how, pattern in (("answer_line", _OTHER_LINE), ("answer_is", _OTHER_SENTENCE)):
        for match in pattern.finditer(text):
            start = _content_start(text, match.end())
            yield Mark(how, match.start(), start, _paragraph_end(text, start))


def _content_start(text: str, position: int) -> int:
    """Where the content begins: after blanks of the line, else on the next line that is not blank."""
    match = re.compile(r"[ \t]*").match(text, position)
    start = match.end() if match else position
    next_line = _NEXT_LINE.match(text, start)
    return next_line.end() if next_line else start


def _line_end(text: str, start: int) -> int:
    limit = min(len(text), start + CONTENT_LIMIT)
    end = text.find("\n", start, limit)
    return limit if end < 0 else end


def _paragraph_end(text: str, start: int) -> int:
    limit = min(len(text), start + CONTENT_LIMIT)
    end = text.find("\n\n", start, limit)
    return limit if end < 0 else end


def _judged(mark: Mark, text: str, question: str) -> Mark:
    """The mark with the reason why it does not count, or with its content after "not .. but"."""
    but = _NOT_BUT.match(text, mark.start, mark.end)
    if but:
        return Mark(mark.how, mark.begin, _content_start(text, but.end()), mark.end)
    why = _why_not(mark, text, question)
    return Mark(mark.how, mark.begin, mark.start, mark.end, why) if why else mark


def _why_not(mark: Mark, text: str, question: str) -> str:
    if _ECHO.match(text, mark.start, min(mark.end, mark.start + 60)):
        return "echo"
    if mark.how in ("tag", "json", "gsm", "heading"):
        return ""
    if _NOT_FIRST.match(text, mark.start, mark.end) and not _NOT_SAID.match(text, mark.start, mark.end):
        return "negated"
    sentence = text[_sentence_start(text, mark.begin) : mark.begin]
    tail = text[mark.begin : mark.start]
    last_but = last_of(words.BUT.finditer(sentence))
    if last_but is not None:
        sentence = sentence[last_but.end() :]
    if question and len(sentence + tail) > 20 and (sentence + tail).strip() in question:
        return "echo"
    if _HOW.search(sentence):
        return HEADING
    if words.OTHERS.search(sentence):
        return "somebody else's"
    if words.SUPPOSED.search(sentence) and words.UNREAL.search(sentence + tail) and not words.LOOKING.search(sentence):
        return "hypothetical"
    if re.search(r"\b(?:not|isn't|n't) (?:that )?$", sentence):
        return "negated"
    return ""


def _sentence_start(text: str, position: int) -> int:
    start = max(0, position - _LOOK_BACK)
    last = start
    for match in _SENTENCE_END.finditer(text, start, position):
        last = match.end()
    return last


def sentence_end(text: str, start: int, end: int) -> int:
    """Where the sentence that a mark's content begins with ends."""
    match = _SENTENCE_END.search(text, start, end)
    return match.end() if match else end


def are_apart(text: str, first_end: int, second_begin: int) -> bool:
    """Whether two marks cannot be a conflict: a blank line or a word of correction lies between them."""
    between = text[first_end : min(second_begin, first_end + CONTENT_LIMIT)]
    return re.search(r"\n[ \t]*\n", between) is not None or words.CORRECTION.search(between) is not None
