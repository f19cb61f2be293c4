"""Options that a reply sets against one another: the one it answers with, and the one it merely compares that with."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.options import OptionTexts
from kvl_eval.scorers.answers.polarity import is_negative
from kvl_eval.scorers.answers.reading import CharSpan, FoundValue

AGAINST = (
    r"whereas|while|whilst|although|though",
    r"unlike|as opposed to|in contrast (?:to|with)|contrary to",
    r"rather than|instead of|than",
    r"(?:as )?compared (?:to|with)|in comparison (?:to|with)|relative to",
)
"""Words before what an option is compared with."""

TURNS = (
    r"in contrast|by contrast|conversely",
    r"on the other hand",
    r"in comparison|by comparison",
    r"whereas|while|although|though",
)
"""Words of a sentence that turns from the answer to what is not."""

_STOP = frozenset((
    "the", "and", "are", "was", "were", "has", "have", "had", "does", "did", "can", "could", "will", "would", "this",
    "that", "there", "these", "those", "its", "his", "her", "their", "with", "for", "from", "than", "then", "but",
    "not", "any", "all", "which", "what", "who", "whom", "whose", "how", "when", "where", "why", "into", "onto", "one",
    "two", "three", "four", "you", "your", "please", "tell", "select", "choose", "following", "options", "latter",
    "given", "image", "picture", "photo", "video", "option", "choice", "answer", "correct",
))  # fmt: skip
_WORD = re.compile(r"[^\W\d_]{3,}")
_END = re.compile(r"[.!?](?=\s|$)|, (?=but\b)|\n|$")
_WORKING = re.compile(r"\s*(?:[-*•]\s|to \w+|let's|let us|if\b|in order to)", re.IGNORECASE)
_DENIED = re.compile(
    r"[^.;\n]{0,100}?\b(?:not|cannot|neither|less|least|lacks?|fails?|unlikely)\b|[^.;\n]{0,100}?n't\b"
)
_AGAINST = re.compile(rf"(?:,\s*)?\b(?:{'|'.join(AGAINST)})\b", re.IGNORECASE)
_TURN = re.compile(rf"\b(?:{'|'.join(TURNS)})\b", re.IGNORECASE)
_CALLED = re.compile(
    r"\b(?:point|box|image|picture|photo|region|option|choice|object|figure|circle|dot|line|person|position|area|panel"
    r"|letter|candidate|labell?ed|marked|circled)\s{1,2}[\"'(]?(?P<letter>[A-Z])\b[\")']?",
    re.IGNORECASE,
)
_SHORT = 200  # characters of a reply whose last sentence may end without a full stop
_LABEL_BEHIND = re.compile(r" ?[(\[]([A-Z])[)\]]")
_CLAUSES_LIMIT = 20_000  # characters of a reply whose options are looked for
_LIMIT = 1_500  # characters of a reply that may restate a question
_QUESTION_LIMIT = 2_000  # characters of a question that are looked at, from its end


def turns(text: str, start: int, end: int) -> bool:
    """Whether a sentence turns to what is compared with an answer given before."""
    return _TURN.search(text, start, end) is not None


def without_clauses(options: OptionTexts, text: str) -> str:
    """A text without what its sentences say of the options that they name: "The left one does not show a car"."""
    for _, start, stop in reversed(options.inside(text, 0, min(len(text), _CLAUSES_LIMIT))):
        end = _END.search(text, stop)
        text = text[:start] + (text[end.start() :] if end else "")
    return text


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether what stands before a place is denied behind it, in the same clause."""
    return _DENIED.match(text, start, end) is not None


def restated(options: OptionTexts, text: str, start: int, end: int, question: str) -> FoundValue | None:
    """The one option of which a short reply says what the question asks: "The left one is nearer, the right one not".

    What an option is compared with does not count, nor a sentence that denies.
    """
    asked = _words(_asked(question)) - {word for option in options.texts for word in _words(option)}
    if end - start > _LIMIT or not asked:
        return None
    hit: FoundValue | None = None
    for sentence in _sentences(text, start, end):
        if _WORKING.match(text, *sentence) or not (end - start <= _SHORT or text[sentence[1] - 1] in ".!, "):
            continue
        first, last = _main_clause(text, *sentence)
        clause = text[first:last]
        if turns(text, first, last):
            continue
        if 2 * len(asked & _words(clause)) < len(asked) or is_negative(clause) != is_negative(question):
            continue
        named = _named(options, text, (first, last))
        if len({index for index, _, _ in named}) > 1:
            return None
        if not named:
            continue
        index, begin, stop = named[0]
        if (label := _LABEL_BEHIND.match(text, stop)) and ord(label[1]) - ord("A") != index:
            return None
        value = chr(ord("A") + index)
        if hit is not None and hit.value != value:
            return None
        hit = hit or FoundValue(value, begin, stop)
    return hit


def _asked(question: str) -> str:
    """The last question of a text, or all of it."""
    question = question[-_QUESTION_LIMIT:]
    asked = [question[start:end] for start, end in _sentences(question, 0, len(question))]
    return next((sentence for sentence in reversed(asked) if sentence.endswith("?")), question)


def _sentences(text: str, start: int, end: int) -> list[CharSpan]:
    """The sentences of a text, without empty ones."""
    spans, first = [], start
    for match in _END.finditer(text, start, end):
        if text[first : match.end()].strip():
            spans.append((first, match.end()))
        first = match.end()
    return spans


def _words(text: str) -> set[str]:
    """The words that carry a sentence, without the plural's s."""
    stems = {word.removesuffix("s") if len(word) > 4 else word for word in map(str.casefold, _WORD.findall(text))}
    return stems - _STOP


def _main_clause(text: str, start: int, end: int) -> CharSpan:
    """A sentence without what its subject is compared with."""
    start += len(text[start:end]) - len(text[start:end].lstrip())
    against = _AGAINST.search(text, start, end)
    if against is not None and against.start() <= start:
        comma = text.find(",", start, end)
        if comma < 0:
            return start, start
        start = comma + 1
        against = _AGAINST.search(text, start, end)
    return start, against.start() if against else end


def _named(options: OptionTexts, text: str, span: CharSpan) -> list[tuple[int, int, int]]:
    """(option, start, end) of the options that a clause names by text, or by a letter that their texts hold."""
    places = options.inside(text, *span)
    for match in _CALLED.finditer(text, *span):
        letter = match["letter"]
        index = ord(letter.upper()) - ord("A")
        if letter.isupper() and index < options.count and re.search(rf"\b{letter.lower()}\b", options.texts[index]):
            places.append((index, *match.span("letter")))
    return sorted(places, key=lambda place: place[1])
