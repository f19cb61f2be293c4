r"""MATH-V's answer extraction, and its verdict on what was extracted. Rules only, no judge.

The extraction is a fixed sequence of text repairs; each quirk is kept because it moves verdicts. Time is linear in the
response. Source: mathllm/MATH-V evaluation/evaluate.py and evaluation/utils.py @ a1f5cc3.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from kvl_eval.scorers.math_equal import equal, value

Match = Literal["gold", "gold_numeric", "option_value", "option_value_numeric"]

_FLAGS = tuple(
    flag
    for lower in ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
    for flag in (lower, lower.replace("the", "The"))
)
_BOX = "oxed{"
_DELETED_FIRST = (
    (" ", ""),
    (r"\,", ""),
    ("∞", r"\infty"),
    (r"+\infty", r"\infty"),
    (r"\\", "\\"),
    ("\n", ""),
    (r"\text", ""),
    (r"\mbox", ""),
    ("bmatrix", "pmatrix"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    ("{m}^3", ""),
    ("m^3", ""),
    ("{units}", ""),
    ("units", ""),
    ("{km}", ""),
    ("km", ""),
)
_DELETED_NEXT = (
    ("\n", ""),
    (r"\!", ""),
    (r"\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    (r"\$", ""),
    ("$", ""),
)
_LETTERS = tuple((f"({letter})", letter) for letter in "abcde") + tuple((f"{{{letter}}}", letter) for letter in "abcde")
_BARE_ROOT = re.compile(r"\\sqrt(?!\\sqrt)([^{])", re.DOTALL)
_SLASH = re.compile(r"(0|-?[1-9][0-9]{0,4299})/(0|-?[1-9][0-9]{0,4299})")


class Extracted(NamedTuple):
    """The answer read from a response, lower case, and how: `boxed`, `cue`, `letter`, `number` or `text`."""

    text: str
    method: str


def extract(response: str) -> Extracted:
    """What the official script compares with gold; an empty text where nothing is left after its repairs."""
    text, method = _answer_part(response)
    cleaned = _replaced(_strip(_content(text)), _LETTERS)
    return Extracted(cleaned.rstrip(".").lstrip(":").strip(), method)


def matched_by(extracted: str, answer: str, options: Sequence[str]) -> Match | None:
    """What of the gold the extracted text equals: the answer itself, or the value of the option it names.

    Raises: ValueError, if there are options and `answer` is the letter of none.
    """
    if equal(answer, extracted):
        return "gold" if _same_text(answer, extracted) else "gold_numeric"
    named = option_value(answer, options)
    if named is not None and equal(named, extracted):
        return "option_value" if _same_text(named, extracted) else "option_value_numeric"
    return None


def option_value(answer: str, options: Sequence[str]) -> str | None:
    """The text of the option that `answer` names; None where there are no options. Raises ValueError."""
    if not options:
        return None
    index = ord(answer) - ord("A") if len(answer) == 1 else -1
    if not 0 <= index < len(options):
        raise ValueError(f"answer {answer!r} is the letter of none of {len(options)} options")
    return options[index]


def _same_text(gold: str, extracted: str) -> bool:
    return gold.lower().strip() == extracted.lower().strip()


def _replaced(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _answer_part(response: str) -> tuple[str, str]:
    """Steps 1 to 5: a letter at either end, a number after the last "is ", a box, or the text after a cue."""
    text, method = response.strip(), "text"
    for letter in "ABCDE":
        if text.endswith((f" {letter}.", f" ({letter}).")) or text.startswith(
            (f"{letter}\n", f"({letter})\n", f"({letter}) {letter}\n")
        ):
            text, method = letter, "letter"
    number = text.rsplit("is ", 1)[-1].rstrip(".")
    if _is_float(number):
        text, method = number, "number"
    boxes = text.count(_BOX)
    if boxes:
        return (text if boxes == 1 else "\\boxed{" + text.rsplit(_BOX, 1)[-1]), "boxed"
    for flag in _FLAGS:
        found = flag in text
        text = text.rsplit(flag, 1)[-1].strip()
        if found:
            text, method = text.split("\n", 1)[0].split(". ", 1)[0], "cue"
    return text, method


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _content(text: str) -> str:
    """Steps 6 to 10: lower case, the content of the box up to the last brace of the text, and deletions."""
    text = text.lower().replace("{}", "")
    start, end = text.find(_BOX), text.rfind("}")
    if start >= 0 and start + len(_BOX) <= end:
        text = text[start + len(_BOX) : end]
    close, opened = text.find("}"), text.find("{")
    if close >= 0 and (opened < 0 or close < opened):
        text = text[:close]
    text = text.rsplit("=", 1)[-1].rsplit(r"\approx", 1)[-1]
    return _replaced(text, _DELETED_FIRST)


def _strip(text: str) -> str:
    """Steps 11 to 13: more deletions, and repairs of decimals, roots and fractions."""
    text = _replaced(text, _DELETED_NEXT).split(r"\text{ ", 1)[0].replace(r"\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = f"0{text}" if text.startswith(".") else text
    for sign in ("=", r"\approx"):
        if text.count(sign) == 1:
            text = text.split(sign)[1]
    has_root = "sqrt" in text
    if has_root:
        text = _BARE_ROOT.sub(r"\\sqrt{\1}", text)
    text = text.replace(" ", "")
    if has_root:  # fractions are repaired only beside a root
        text = _braced_fractions(text)
    text = r"\frac{1}{2}" if text == "0.5" else text
    slash = _SLASH.fullmatch(text)
    return rf"\frac{{{slash[1]}}}{{{slash[2]}}}" if slash else text


def _braced_fractions(text: str) -> str:
    r"""`text` with `\frac12` as `\frac{1}{2}`; unchanged if one of the fractions has fewer than two characters left."""
    head, *tails = text.split(r"\frac")
    repaired = [head]
    for tail in tails:
        if tail.startswith("{"):
            repaired.append(tail)
        elif len(tail) < 2:
            return text
        else:
            rest = tail[1:] if tail[1] == "{" else f"{{{tail[1]}}}{tail[2:]}"
            repaired.append(f"{{{tail[0]}}}{rest}")
    return r"\frac".join(repaired)


def vlmevalkit_equal(answer: str, found: str) -> bool:
    """VLMEvalKit's equality: the same text without case, or numbers closer than 1e-6, as Python or as LaTeX.

    Source: open-compass/VLMEvalKit vlmeval/dataset/utils/mathv.py @ e8e78f0, without its `eval`.
    """
    gold, reply = answer.lower().strip(), found.lower().strip()
    if gold == reply:
        return True
    for read in (_python_value, value):
        wanted = read(gold)
        got = None if wanted is None else read(reply)
        if wanted is not None and got is not None and _near(wanted, got):
            return True
    return False


def _near(one: complex, other: complex) -> bool:
    try:
        return abs(one - other) < 1e-6
    except OverflowError:  # a whole number beyond floats beside a float
        return False


_LONGEST_PYTHON = 200  # characters; longer text is no number anybody writes
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def _python_value(text: str) -> int | float | None:
    """The value of Python arithmetic over numbers without powers, read from its syntax tree; else None."""
    if len(text) > _LONGEST_PYTHON:
        return None
    try:
        return _walk(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return None


def _walk(node: ast.AST) -> int | float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_walk(node.left), _walk(node.right))  # type: ignore[no-any-return]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_walk(node.operand))  # type: ignore[no-any-return]
    raise ValueError("not arithmetic")
