"""What pages show of a reply's facts, of its score under a protocol, and of the images that the model saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvl_eval.decode import Json
from kvl_eval.flags import meaning
from kvl_eval.reports.page_data import text
from kvl_eval.reports.thumbnails import picture_name, spread
from kvl_eval.store.records import Record, ScoreLine
from kvl_eval.types import MediaInfo


def reply_facts(record: Record, *, is_unclosed: bool) -> dict[str, str]:
    """What is known of how an answer came about, and what is odd about it."""
    facts = {
        "budget": record.budget,
        "policy": record.policy,
        "finish_reason": record.finish_reason,
        "seed": record.seed,
        "worker": record.worker,
        "ended_at": record.ended_at,
    }
    marks = {"thought": "closed at the budget"} if record.budget_forced else {}
    marks |= {"repeat": f"{record.repeat}"} if record.repeat != 0 else {}
    marks |= {"attempt": f"{record.attempt}"} if record.attempt != 1 else {}
    marks |= {"thought": "never closed"} if is_unclosed else {}
    marks |= {"flags": text("; ".join(map(meaning, record.flags)))} if record.flags else {}
    return {**{name: text(value) for name, value in facts.items() if value not in (None, "")}, **marks}


def protocol_score(protocol: str, line: ScoreLine) -> dict[str, object]:
    """What the page shows of a score; coordinates stay numbers."""
    return {
        "protocol": text(protocol),
        "verdict": text(line.verdict),
        "score": line.score,
        "extracted": None if line.extracted is None else text(line.extracted),
        "method": text(line.extract_method),
        "reason": text(line.reason),
        "detail": {text(name): value if is_numbers(value) else text(value) for name, value in line.detail.items()},
        "judge": text(None if line.judge is None else line.judge.reply),
    }


def is_numbers(value: Json) -> bool:
    """Coordinates stay numbers, for drawing."""
    return isinstance(value, list) and all(isinstance(part, int | float) for part in value)


def shown_media(media: Sequence[MediaInfo], stored: Mapping[str, str]) -> dict[str, object]:
    """The pictures that are shown, and, where that is not every one, how many there are and which, in words."""
    chosen = spread(media)
    return {"media": [_medium(medium, stored) for medium in chosen], "more": _more(media, len(chosen))}


def _medium(medium: MediaInfo, stored: Mapping[str, str]) -> dict[str, object]:
    file = stored.get(picture_name(medium) or "", "")
    number = f" {medium.index + 1}" if medium.index is not None and medium.kind == "page" else ""
    timed = medium.index is not None and medium.timestamp is not None
    at = f" {medium.index} at {medium.timestamp:.1f} s" if timed else ""
    return {
        "sha": "" if file else text(medium.sha256),
        "file": file,
        "kind": text(medium.kind),
        "label": text(f"{medium.kind}{at or number}" if at or number else ""),
        "size": [medium.w, medium.h],
        "seen": list(medium.resized_to),
        "tokens": medium.tokens,
        "note": text(medium.note),
    }


def _more(media: Sequence[MediaInfo], count: int) -> list[str]:
    """`64 frames were seen, 12 are shown` and `0 (0.0 s), 7 (0.3 s), ...`; nothing where all are shown."""
    if count == len(media):
        return []
    kinds = {medium.kind for medium in media}
    what = f"{kinds.pop()}s" if len(kinds) == 1 else "images"
    return [text(f"{len(media)} {what} seen, {count} shown"), text(", ".join(map(_place, media)))]


def _place(medium: MediaInfo) -> str:
    if medium.index is None:
        return medium.sha256[:12]
    return f"{medium.index} ({medium.timestamp:.1f} s)" if medium.timestamp is not None else f"{medium.index + 1}"
