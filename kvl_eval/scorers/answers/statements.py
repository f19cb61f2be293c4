"""Ranks 3 and 4 for letters: what a reply states of its options, and the only option that it names."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.comparison import is_denied, turns
from kvl_eval.scorers.answers.letter import LabelReader
from kvl_eval.scorers.answers.number import NumberReader
from kvl_eval.scorers.answers.reading import Attempt, Fault, FoundValue

_RIGHT = (
    r"(?:the |a |an |my |most |more |clearly |also |therefore |thus |definitely |indeed |likely |only |one |that is )*"
    r"(?:correct|right|best|true|answer|accurate|appropriate|suitable|valid|most likely|chosen|proper|closest|ideal)"
    r"(?!\s+(?:angle|angled|triangle|side|hand|lane|now|away|after|before)\b)"
)
_LETTER = r"[(\[\"']?(?P<{name}>[A-Z])[)\]\"']?"
_IS_RIGHT = re.compile(
    rf"(?:(?:\b(?:option|choice|answer|statement|letter)\s+|(?<![\w'’.-])){_LETTER.format(name='letter')}"
    r"(?P<text>[.):]?\s(?:(?!\b(?:is|are|was|were|would|not)\b)[^.\n]){0,100}?)?\s*"
    rf"\b(?:is|are|would be|must be|seems|appears|looks|should be|was)\s+(?P<not>not\s+|n't\s+|in)?(?:to"
    rf" be\s+)?{_RIGHT}\b)",
)
_NAMED = re.compile(
    r"(?P<not>\b(?:not|never|n't|cannot|can't)\s+)?"
    r"\b(?:is|be|are|to|with|matches|match|say|as|points? to|favou?rs?|supports?|leaves?|left with|chose|see"
    r"|c'est|ist|est|es)\s+"
    r"(?:(?:only|most likely|likely|probably|clearly|definitely|therefore|the|option|choice|answer|letter"
    r"|l'option|also|correct)\s+){0,3}"
    + _LETTER.format(name="letter")
    + r"(?=[.!,;:)\n]|\s*$|\s+(?:because|since|as|which|due|based|given|for|in the)\b)"
)
_FITS = re.compile(
    r"\b(?:[Oo]nly\s+)?(?:[Oo]ption|[Cc]hoice|[Aa]nswer)?\s*"
    + _LETTER.format(name="letter")
    + r"\s+(?:fits|matches|satisfies|is consistent|works|describes|corresponds|best (?:fits|matches|describes))\b"
)
_CHINESE = re.compile(r"(?<![A-Za-z])(?P<letter>[A-Z])\s?(?:项|选项|選項)?(?:是|为)?(?P<not>不|错)?(?:正确|对的?)")
_ELSEWHERE = re.compile(
    r"(?<![A-Za-z'’.-])(?P<letter>(?-i:[A-Z]))[)\]]?"
    r"(?:\s(?:ist|est|es|è|é|is)\s(?P<not>nicht |pas |non |no )?(?:la |die |a |o |het )?(?:bonne |richtige |juiste )?"
    r"(?:richtig|korrekt|juist|correcte?|correct[ao]|corret[ao]|corrett[ao]|réponse|antwort|antwoord|respuesta|resposta"
    r"|risposta)\b|\s?(?:が|は)(?:最も)?(?:正しい|正解|適切)|を選|\s?(?:가|이)\s?(?:정답|맞|옳)|번(?=\s?(?:$|[.]|이|입|가)))",
    re.IGNORECASE,
)
_NEGATED_TEXT = re.compile(
    r"(?:\b(?:not|isn't|n't|nor|neither|without|rather than|instead of|unlike|than|excluding|except|whether|if)"
    r"|不是)\s+(?:\w+\s+)?$",
    re.IGNORECASE,
)
_CALLED_WRONG = re.compile(
    r"\s(?:is|are|would be|looks|seems)\s(?:\w+ly )?(?:wrong|incorrect|false|not|excluded|ruled out)\b"
)
_COMPARED = re.compile(
    r"\b(?:label?led|marked|circled|named|annotated|denoted|than|compared|similar|closer?|next|relative|opposite)"
    r"(?: (?:to|with|as|by))? (?:the )?(?:\w{1,12} ){0,2}[(\[\"']?$",
    re.IGNORECASE,
)
_OPERATOR = re.compile(r"(?<=[\s\d°%)])[+×*/÷·−-] ?$")
_OPERATION = re.compile(r" ?[+×*/÷·−=-] ?[\d(∠]")
_DETERMINER = re.compile(r" (?!(?:because|since|as|and|but|for|if|it|the|there)\b)[a-z]")
_NEITHER = re.compile(r"[\s,]*neither\b", re.IGNORECASE)
_ASKED = re.compile(r"[^.!?\n]{0,120}\?")
_LISTED = re.compile(r"[)\]]?\s*(?:,|/|&|,?\s*and\b|,?\s*or\b)\s*[(\[]?[A-Z]\b(?!\.?\s+[a-z])")
_LAST_WORD = re.compile(r"(?<=[.!?。:])\s+[(\[]?(?P<letter>[A-Z])[)\]]?[.]?\s*$")
_CALLED = re.compile(
    r"(?P<word>\b(?:[Oo]ptions?|[Cc]hoices?|[Ll]etters?"
    r"|[Aa]nswers?)\s+)?(?P<open>[(\[])?(?<![A-Za-z0-9'’.-])(?P<letter>[A-Z])"
    r"(?(open)[)\]]|(?![A-Za-z0-9'’-]))"
)
_DENIED = re.compile(
    r"\b(?:not|cannot|can't|never|n't|rather than|instead of|rule out|eliminate|exclude|if|neither|nor)\b[^.\n]*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[^.\n]{0,60}?\b(?:is|are|would be|seems|does|was)(?:n't| not|\s+(?:in)correct\b| wrong| false)|\s*(?:,|and"
    r"|or|/|&)\s*[(\[]?[A-Z]\b"
)
_NAMED_LIMIT = 1_500  # characters of a reply whose first sentence may name the answer
_STATED_LIMIT = 20_000  # characters at the end of a reply in which it states
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def stated(reader: LabelReader, text: str, start: int, end: int) -> Attempt:
    """The one option that a reply calls right; two that it calls right are two answers."""
    start = max(start, end - _STATED_LIMIT)
    hits: list[FoundValue] = []
    denied: set[str] = set()
    for pattern in (_IS_RIGHT, _NAMED, _FITS, _CHINESE, _ELSEWHERE):
        for match in list(pattern.finditer(text, start, end))[-60:]:
            letter = match["letter"]
            if ord(letter) - ord("A") >= reader.options.count or _is_word(text, match):
                continue
            if _COMPARED.search(text[max(start, match.start("letter") - 40) : match.start("letter")]):
                continue
            if _ASKED.match(text, match.end(), end) or _LISTED.match(text, match.end("letter"), end):
                continue
            if match.groupdict().get("not"):
                denied.add(letter)
            else:
                hits.append(FoundValue(letter, match.start("letter"), match.start("letter") + 1))
    last = _LAST_WORD.search(text, max(start, end - 40), end)
    if last and ord(last["letter"]) - ord("A") < reader.options.count and not _is_word(text, last):
        hits.append(FoundValue(last["letter"], last.start("letter"), last.start("letter") + 1))
    hits = [hit for hit in hits if hit.value not in denied]
    values = {hit.value for hit in hits}
    if len(values) == 1:
        return hits[-1]
    return Fault("two_answers") if values else _only_named(reader, text, start, end)


def _only_named(reader: LabelReader, text: str, start: int, end: int) -> Attempt:
    """The one option that a reply calls by its letter, with the word for it, in brackets or beside its text."""
    hits: list[FoundValue] = []
    for match in list(_CALLED.finditer(text, start, end))[-60:]:
        at = match.start("letter")
        if _ASKED.match(text, match.end(), end):
            continue
        if _DENIED.search(text[max(start, at - 60) : at]) or _DENIED_AFTER.match(text, match.end(), end):
            return None
        if _COMPARED.search(text[max(start, at - 40) : at]):
            continue
        label = reader.label(text, at, end)
        has_word = match["word"] is not None or match["open"] is not None
        if (
            label is None
            or label.index >= reader.options.count
            or not (has_word or (reader.has_own_text(text, label, end) and not _ends(reader, text, start, at)))
        ):
            continue
        hits.append(FoundValue(match["letter"], at, at + 1))
    return hits[-1] if len({hit.value for hit in hits}) == 1 else None


def _ends(reader: LabelReader, text: str, start: int, at: int) -> bool:
    """Whether a letter ends an option's text: the "A" of "Box A"."""
    places = reader.options.inside(text, max(start, at - reader.options.longest), at + 1)
    return any(first < at < last for _, first, last in places)


def _is_word(text: str, match: re.Match[str]) -> bool:
    """Whether A or I is the article or the pronoun, or a letter ends a name like "Vitamin C"."""
    at = match.start("letter")
    before, after = text[max(0, at - 1) : at], text[at + 1 : at + 12]
    if match["letter"] in "AI" and before not in ("(", "["):
        is_option = (
            re.search(r"(?:option|choice|answer|letter)\s+$", text[max(0, at - 10) : at], re.IGNORECASE) is not None
        )
        if not is_option and re.match(
            r"\s+(?!is\b|are\b|ist\b|est\b|es\b|because|since|as\b|fits|matches|satisf|works|best)[a-z]", after
        ):
            return True
    return re.search(r"(?:[Vv]itamin|[Dd]r\.|[Mm]r\.|[A-Z]\.)\s?$", text[max(0, at - 8) : at]) is not None


def concluded(reader: LabelReader, text: str, start: int, end: int) -> Attempt:
    """The option that a concluding sentence begins with or calls right."""
    if _NEITHER.match(text, start, end):
        return Fault("none")
    outcome = reader.lead(text, start, end)
    if isinstance(outcome, FoundValue) and _CALLED_WRONG.match(text, outcome.end, end):
        return None
    if isinstance(outcome, FoundValue) or (
        isinstance(outcome, Fault) and outcome.reason in ("two_answers", "not_an_option")
    ):
        return outcome
    stop = _sentence_end(text, start, end)
    return stated(reader, text, start, stop) or contained(reader, text, start, stop)


def _sentence_end(text: str, start: int, end: int) -> int:
    match = re.compile(r"[.!?](?=\s)|\n").search(text, start, end)
    return match.start() if match else end


def _named_first(reader: LabelReader, text: str, start: int, end: int, first: int) -> Attempt:
    """The option that the first sentence names, where the reply names no other one."""
    if end - start > _NAMED_LIMIT:
        return None
    places = reader.options.inside(text, start, end)
    if len({index for index, _, _ in places}) != 1 or len(reader.options.texts[places[0][0]]) < 3:
        return None
    index, begin, last = places[0]
    is_first = begin < start + first + 2 and not _NEGATED_TEXT.search(text[max(start, begin - 24) : begin])
    return reader.hit(index, begin, last) if is_first else None


def contained(reader: LabelReader, text: str, start: int, end: int) -> Attempt:
    """The only option whose text a short reply names, or the last sentence of a longer one."""
    whole = (start, end)
    sentences = [part for part in _SENTENCES.split(text[max(start, end - 4_000) : end]) if part.strip()]
    if not sentences:
        return None
    if len(sentences) > 2 or end - start > 600:
        if not re.search(r"[.!?。！？)\"'”]\s*$", sentences[-1]):
            return None  # cut off
        first = text.rfind(sentences[-1], start, end)
        start = max(start, first)
        if turns(text, start, end):
            return None
    if end - start > 1_000:
        return None
    hits: list[tuple[int, int, int]] = []
    for index, first, last in reader.options.inside(text, start, end):
        is_long = len(reader.options.texts[index]) > 1 or reader.options.texts[index].isdigit()
        if is_long and (_CALLED_WRONG.match(text, last, end) or (start > whole[0] and is_denied(text, last, end))):
            return None
        if text[first].isdigit() and (
            _OPERATOR.search(text[max(start, first - 3) : first]) or _OPERATION.match(text, last, end)
        ):
            continue  # part of a sum
        if reader.options.texts[index] in ("yes", "no") and _DETERMINER.match(text, last, end):
            continue
        if is_long and not _NEGATED_TEXT.search(text[max(start, first - 24) : first]):
            hits.append((index, first, last))
    if not hits and start > whole[0]:
        return _named_first(reader, text, *whole, len(sentences[0]))
    if not hits:
        numbers = NumberReader()
        number = numbers.stated(text, start, end) or numbers.contained(text, start, end)
        return reader.numbered(text, start, end, number)
    if len({index for index, _, _ in hits}) != 1:
        return None
    index, first, last = hits[-1]
    return reader.hit(index, first, last)
