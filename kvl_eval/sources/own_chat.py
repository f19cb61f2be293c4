"""A conversation in a cell of an own table: at most one system, one user and one assistant turn.

The user turn is the question, the assistant turn the answer. A turn's content is a text, or a list of parts as chat
servers take them: texts, and images that stand in the part or, in order, in the row's own image column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvl_eval.cells import is_gap, shortened, written_value
from kvl_eval.errors import DataError
from kvl_eval.sources.own_columns import RoleCells

FORM = 'expected [{"role": "user", "content": "..."}, ...]: at most one system, one user and one assistant turn'
IMAGE = "<image>"
_TURNS = {"system": "system", "user": "question", "assistant": "answer"}


@dataclass(slots=True)
class Chat:
    """What a conversation holds: {system, question or answer: text}, and images that stand in it."""

    texts: dict[str, str] = field(default_factory=dict)
    images: list[object] = field(default_factory=list)


def with_chat(cells: RoleCells) -> tuple[RoleCells, str | None]:
    """The cells with question, answer and images of the conversation, if there is one, and its system turn.

    Raises: DataError `data.field` for another form, `data.column` where a column of the same role differs.
    """
    if "chat" not in cells.columns or is_gap(cells.get("chat")):
        return cells, None
    chat = _chat(cells)
    values: dict[str, object] = {role: text for role, text in chat.texts.items() if role != "system"}
    if chat.images:
        values["image"] = chat.images
    columns = dict(cells.columns)
    added: dict[str, object] = {}
    for role, value in values.items():
        own = cells.get(role)
        if not is_gap(own) and str(own).strip() != str(value).strip():
            message = f"columns {cells.name('chat')} and {cells.name(role)} are both read as {role} and differ"
            raise DataError(
                "data.column", message, where=cells.row.where, fix=f"--fields ignore={cells.name('chat')}, or {role}"
            )
        if is_gap(own):
            columns[role] = f"{cells.name('chat')} ({role})"
            added[columns[role]] = value
    return replace(cells, row=cells.row.also(added), columns=columns), chat.texts.get("system")


def _chat(cells: RoleCells) -> Chat:
    value = cells.get("chat")
    turns = written_value(value) if isinstance(value, str) else value
    if hasattr(turns, "tolist"):
        turns = turns.tolist()
    if not isinstance(turns, list | tuple) or not turns:
        raise cells.fault("chat", FORM)
    chat = Chat()
    for turn in turns:
        role = _TURNS.get(str(turn.get("role"))) if isinstance(turn, Mapping) else None
        if role is None or role in chat.texts:
            raise cells.fault("chat", FORM)
        chat.texts[role] = _text(turn.get("content"), cells, chat)
    if "question" not in chat.texts:
        raise cells.fault("chat", FORM)
    return chat


def _text(content: object, cells: RoleCells, chat: Chat) -> str:
    """A turn's content as text, `<image>` where an image stands."""
    if hasattr(content, "tolist"):
        content = content.tolist()
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise cells.fault("chat", f"{FORM}; content {shortened(content, 40)}")
    return "".join(_part(part, cells, chat) for part in content)


def _part(part: object, cells: RoleCells, chat: Chat) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(part, Mapping) and kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if isinstance(part, Mapping) and kind in ("image", "image_url"):
        image = part.get("image_url") or part.get("image") or part.get("url") or part.get("path")
        if not is_gap(image):
            chat.images.append(image)
        return IMAGE
    raise cells.fault("chat", f"{FORM}; a part is a text or an image, not {shortened(part, 40)}")
