"""What a reply holds besides an answer: a program, and a next question that the model asks itself."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.reading import CharSpan, Wanted

_LINE = re.compile(r"[^\n]+")
_CERTAIN = re.compile(
    r"[ \t]{0,40}(?:print\(|import [\w.]{1,40}\s*$|import [\w.]{1,40} as \w|from [\w.]{1,40} import \w|def \w{1,60}\("
    r"|for \w{1,40}(?:, ?\w{1,40})? in \S[^\n]{0,200}:\s*$|return \S)"
)
_POSSIBLE = re.compile(
    r"[ \t]{0,40}(?:print\(|import \w|from [\w.]{1,40} import|def \w|class \w{1,60}[:(]|return\b|for \w|while \S|if \S"
    r"|elif \S|else:|try:|except\b|#|['\"\[\](){}]|\w[\w.\[\]'\"]{0,80} ?(?:[-+*/]?=)(?!=)|[\w.]{1,80}\(|[-\d.]{1,20},)"
)
_LITERAL = r"[-\d.]{1,20}|\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'"
_PRINT = re.compile(rf"^print\((?:(?P<literal>{_LITERAL})|(?P<name>\w{{1,80}}))\)[ \t]*$", re.MULTILINE)
_INDENTED = re.compile(r"(?: {2,40}|\t{1,8})\S")
_NEXT_QUESTION = re.compile(
    r"\n[ \t]*(?:#{1,6}[ \t]*)?(?:(?:new |next |another )?(?:question|problem|q)(?:[ \t]?\d{1,3})?|human|user"
    r"|instruction|hint|问题|问)[ \t]{0,3}[:：]|\n?<\|(?:im_start\|>)?user\b",
    re.IGNORECASE,
)
_ECHOED = 24  # characters of a question by which a reply that repeats it is told
_ONE_LINE = 12  # words of a text that can be an answer before a next question


def without_program(text: str) -> str:
    """The text with the lines of a program blank, as long as before; a text that holds no program as it is.

    What a program assigns and compares does not answer: the model did not run it. A value that it prints as it stands
    does.
    """
    lines = [match.span() for match in _LINE.finditer(text)]
    code = [span for span in lines if _POSSIBLE.match(text, *span) or _INDENTED.match(text, *span)]
    if len(code) < 2 or not any(_CERTAIN.match(text, *span) for span in code):
        return text
    parts, position = [], 0
    for start, end in code:
        parts += [text[position:start], " " * (end - start)]
        position = end
    blank = "".join([*parts, text[position:]])
    printed = _printed(text)
    return blank if printed is None else blank[: printed[0]] + text[slice(*printed)] + blank[printed[1] :]


def _printed(text: str) -> CharSpan | None:
    """Where the value stands that a program prints and does not work out; None where it does."""
    if text.count("print(") != 1 or (call := _PRINT.search(text)) is None:
        return None
    if call["literal"]:
        return call.span("literal")
    changes = list(re.finditer(rf"^[ \t]*{call['name']}\b[^=\n]{{0,40}}=", text, re.MULTILINE))
    value = re.compile(rf"^{call['name']} ?= ?(?P<literal>{_LITERAL})[ \t]*$", re.MULTILINE).search(text)
    return value.span("literal") if value and len(changes) == 1 else None


def next_question(text: str, span: CharSpan, wanted: Wanted) -> int | None:
    """Where a model asks itself a next question once it has answered; None where it does not.

    The question asked may be repeated.
    """
    start, end = span
    first = start + len(text[start:end]) - len(text[start:end].lstrip())
    for match in _NEXT_QUESTION.finditer(text, first + 1, end):
        said = text[match.end() : match.end() + 2 * _ECHOED].strip()[:_ECHOED]
        if wanted.question and said and said in wanted.question:
            continue
        if wanted.kind == "text" and len(text[first : match.start()].split()) > _ONE_LINE:
            return None
        return match.start()
    return None
