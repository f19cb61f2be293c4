"""A reply of Moonshot's KimiAgent, read exactly as its own class reads it, faults included.

What must stay so that results mean the same: the last fenced block counts; "fail" anywhere in a terminating block wins
over "success"; only the seven functions of `PROJECTED` are projected where their coordinates have no names; a call is
cut at its first closing bracket; one call that is not Python leaves the whole block as it was; equal calls are all
replaced. The work is written so that no reply, however long, takes more than linear time in its length.

Source: OSWorld, mm_agents/kimi/kimi_agent.py, "Kimi k25 (#428)" (Apache-2.0); behavior compared on
tests/data/agents/kimi_parse.jsonl.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from kvl_eval.agent.actions import ScreenSize
from kvl_eval.agent.code import LONGEST_CODE, tree_of

ReplyKind = Literal["code", "wait", "done", "fail"]

_ANY_HEADING = re.compile(r"^[^\S\n]*+##", re.MULTILINE)
_FLUSH_HEADING = re.compile(r"^##", re.MULTILINE)
_FLUSH_ACTION = re.compile(r"^##\s*+Action\b", re.MULTILINE)
_ACTION = re.compile(r"^[^\S\n]*+##\s*+Action(\s*+)(:?)(\s*+)", re.MULTILINE)
_THOUGHT = re.compile(r"^##\s*+Thought(\s*+)(:?)([\n\r]*+)", re.MULTILINE)
_LANGUAGE = re.compile(r"(?:code|python)?", re.IGNORECASE)
_CALL = re.compile(r"(pyautogui\.\w++)\(")

PROJECTED: Mapping[str, tuple[str, ...]] = {
    "click": ("x", "y", "clicks", "interval", "button", "duration", "pause"),
    "rightClick": ("x", "y", "duration", "tween", "pause"),
    "middleClick": ("x", "y", "duration", "tween", "pause"),
    "doubleClick": ("x", "y", "interval", "button", "duration", "pause"),
    "tripleClick": ("x", "y", "interval", "button", "duration", "pause"),
    "moveTo": ("x", "y", "duration", "tween", "pause"),
    "dragTo": ("x", "y", "duration", "button", "mouseDownUp", "pause"),
}
"""Functions whose positional coordinates are projected: their parameters, in the order that class writes them."""


class UnreadableReply(ValueError):
    """The class would ask the model again.

    Attributes:
        thought: that of the reply.
    """

    def __init__(self, message: str, thought: str) -> None:
        super().__init__(message)
        self.thought = thought


@dataclass(frozen=True, slots=True)
class KimiReply:
    """What the class makes of a reply.

    Attributes:
        kind:    what the fenced block holds.
        code:    with coordinates in pixels; empty where `kind` is not `code`.
        action:  the sentence under `## Action`; None where the section is missing.
        thought: that of the model.
    """

    kind: ReplyKind
    code: str
    action: str | None
    thought: str


def read_reply(content: str, reasoning: str | None, screen: ScreenSize) -> KimiReply:
    """What a reply says. `reasoning` is the thought of a model with a thinking mode, None without one.

    Raises: UnreadableReply.
    """
    content = content.lstrip()
    if reasoning is None:
        thought = _section(content, _THOUGHT, _FLUSH_HEADING) or ""
    else:
        thought = reasoning.strip()
        start = _FLUSH_ACTION.search(content)
        content = content[start.start() :] if start else content
    action = _section(content, _ACTION, _ANY_HEADING)
    block = _last_block(content)
    if block is None:
        raise UnreadableReply("no fenced block", thought)
    lowered = block.lower()
    if "computer.wait" in lowered:
        if action is None:
            raise UnreadableReply("no Action section", thought)
        return KimiReply("wait", "", action, thought)
    if "computer.terminate" in lowered:
        if "fail" not in lowered and "success" not in lowered:
            raise UnreadableReply("terminates without a status", thought)
        return KimiReply("fail" if "fail" in lowered else "done", "", action, thought)
    try:
        code = project_code(block, screen)
    except ValueError as error:
        raise UnreadableReply(str(error), thought) from None
    if not code or not action:
        raise UnreadableReply("no Action section" if code else "an empty block", thought)
    return KimiReply("code", code, action, thought)


def _section(text: str, heading: re.Pattern[str], end: re.Pattern[str]) -> str | None:
    """The text below the first heading that ends its line, up to the next one; None without such a heading."""
    for match in heading.finditer(text):
        before, colon, after = match.groups()
        if _breaks(after if colon else before):
            start = match.end()
        elif colon and _breaks(before):
            start = match.end(1)
        else:
            continue
        following = end.search(text, start)
        return text[start : following.start() if following else len(text)].strip()
    return None


def _breaks(space: str) -> bool:
    return "\n" in space or "\r" in space


def _last_block(text: str) -> str | None:
    """What stands in the last pair of fences, without the name of its language."""
    pieces = text.split("```")
    last = (len(pieces) - 1) // 2 * 2 - 1
    if last < 1:
        return None
    block = pieces[last]
    language = _LANGUAGE.match(block)
    return block[language.end() if language else 0 :].strip()


def project_code(code: str, screen: ScreenSize) -> str:
    """Code for pyautogui with coordinates in pixels, as the class writes it.

    Code of more than `LONGEST_CODE` characters stays as it is: it will not be replayed.
    Raises: ValueError where the class stops with an exception.
    """
    if len(code) > LONGEST_CODE:
        return code
    projected = code
    for name, call in _calls(code):
        try:
            projected = projected.replace(call, _projected_call(name, call, screen))
        except (SyntaxError, _Odd):
            return code
        except (TypeError, OverflowError, RecursionError, MemoryError) as error:
            raise ValueError(f"{name}: {type(error).__name__}") from None
    return projected


class _Odd(Exception):
    """A keyword's value is not a constant: the class leaves the whole block as it was."""


def _calls(code: str) -> Iterator[tuple[str, str]]:
    """(`pyautogui.NAME`, the call up to its first closing bracket), in order."""
    end = 0
    while match := _CALL.search(code, end):
        end = code.find(")", match.end()) + 1
        if not end:
            return
        yield match[1], code[match.start() : end]


def _projected_call(name: str, call: str, screen: ScreenSize) -> str:
    """A call with its point in pixels; as it was where it has none.

    Raises: SyntaxError, _Odd, and for values that the class does not expect ValueError, TypeError, OverflowError.
    """
    tree = tree_of(f"f({call[len(name) + 1 : -1]})").body[0]
    parsed = tree.value if isinstance(tree, ast.Expr) else None
    if not isinstance(parsed, ast.Call):
        raise TypeError(call[:80])
    parameters = PROJECTED.get(name.partition(".")[2], ())
    values = {key: ast.literal_eval(node) for key, node in zip(parameters, parsed.args, strict=False)}
    try:
        values |= {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in parsed.keywords}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _Odd from error
    if not {"x", "y"} <= values.keys():
        return call
    try:
        values["x"], values["y"] = screen.projected(float(values["x"]), float(values["y"]))
    except ValueError:  # no number
        return call
    return f"{name}({', '.join(_written(parameters, parsed.keywords, values))})"


def _written(parameters: tuple[str, ...], keywords: list[ast.keyword], values: Mapping[str, object]) -> Iterator[str]:
    """Arguments as the class writes them: by position as far as all are there, the others by name."""
    count = next((number for number, key in enumerate(parameters) if key not in values), len(parameters))
    for key in parameters[:count]:
        yield _quoted(values[key])
    for keyword in keywords:
        if keyword.arg not in parameters[:count]:
            yield f"{keyword.arg}={_quoted(values[str(keyword.arg)])}"


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)
