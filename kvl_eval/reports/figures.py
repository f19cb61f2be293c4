"""How reports print numbers and foreign text. Stored values are fractions; only these functions round."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from kvl_eval.families import DEMO_NOTE

DEMO = DEMO_NOTE
MANY = 0.05  # share of truncated thoughts or failed extractions above which a warning is due
SMALL = 30  # groups of fewer samples are shown greyed
ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format (bidirectional marks), surrogate, separators
_ODD = re.compile(r"[^ -~]")  # all but printable ASCII
JOINERS = "\u200c\u200d"  # needed inside words of some scripts and inside emoji

Row = Mapping[str, Any]


def plain(text: object, keep: str = "") -> str:
    r"""`text` as it can be shown anywhere: control and direction characters other than `keep` become `\x1b`, `\u202e`.

    Terminal escapes, NUL, right-to-left overrides and lone surrogates cannot act any more and stay readable.
    """
    return _ODD.sub(lambda found: found[0] if found[0] in keep else _shown(found[0]), str(text))


@cache
def _shown(char: str) -> str:
    if char in JOINERS or unicodedata.category(char) not in ESCAPED:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def percent(value: float | None, digits: int = 1) -> str:
    """`67.9`, or an empty text."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def share(part: float, whole: float) -> str:
    """`0.4 %`; `-` where there is nothing to take a share of."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def in_points(row: Row) -> bool:
    """Whether a result is printed in points: a points task, and the whole set was answered."""
    return row.get("unit") == "points" and bool(row.get("complete")) and not row.get("partial")


def figure(value: float | None, points: bool = False, signed: bool = False) -> str:
    """A score without its unit: `67.9` percent, or `867` points out of 1,000."""
    if value is None:
        return ""
    text = f"{1000 * value:+.0f}" if points else f"{100 * value:+.1f}"
    return text if signed else text.lstrip("+")


def with_demo(results: Row) -> dict[str, Any]:
    """results.json, each row of which says as `demo` whether its run is of a demo model."""
    demo = bool(results.get("demo"))
    return {**results, "rows": [{**row, "demo": demo} for row in results.get("rows") or []]}


def headline(row: Row) -> str:
    """The score of a result as tables show it: `67.9`, `861/1000`, or `-` where nothing was scored."""
    if row.get("score") is None:
        return "-"
    return f"{figure(row['score'], True)}/1000" if in_points(row) else figure(row["score"])


def interval(row: Row) -> str:
    """`[65.0, 70.7]` of a result, or an empty text."""
    bounds = row.get("ci95")
    return "" if not bounds else "[" + ", ".join(figure(bound, in_points(row)) for bound in bounds) + "]"


def reference_mark(reference: Row | None) -> str:
    """`≈` reference inside the interval, `▲` `▼` our score outside it, `?` not comparable, or nothing to compare."""
    if not reference or reference.get("value") is None:
        return ""
    if reference.get("delta") is None:
        return "?"
    return "≈" if reference.get("inside_ci") else "▲" if reference["delta"] > 0 else "▼"


def delta(row: Row) -> str:
    """`-0.8 ≈`: the difference to the published figure and its mark; `?` where they cannot be compared."""
    reference = row.get("reference")
    mark = reference_mark(reference)
    if not reference or mark in ("", "?"):
        return mark
    return f"{figure(reference['delta'], in_points(row), signed=True)} {mark}"


def published_value(row: Row) -> str:
    """The published figure of a result's reference, in the unit of the result.

    Empty beside the demo model and the mini splits: a figure of another model or other questions would only mislead.
    """
    reference = row.get("reference")
    if row.get("split") == "mini" or row.get("demo"):
        return ""
    return figure(reference["value"], in_points(row)) if reference and reference.get("value") is not None else ""


def counted(row: Row) -> str:
    """`1000`, or `980/1000` where samples failed or are pending; `4329 (1164 questions)` where some are asked again."""
    scored, planned = row.get("n_scored", 0), row.get("n_planned", 0)
    text = f"{planned}" if scored == planned else f"{scored}/{planned}"
    return f"{text} ({row['n_questions']} questions)" if row.get("n_questions") else text


def budget(row: Row) -> str:
    """`none`, `8k cut`, `1000 force`."""
    tokens = row.get("budget")
    return "none" if tokens is None else f"{budget_label(int(tokens))} {plain(row.get('policy') or '')}".rstrip()


def budget_label(tokens: int) -> str:
    """`8k`, `1000`, `0`."""
    return f"{tokens // 1024}k" if tokens and tokens % 1024 == 0 else f"{tokens}"


def task_name(row: Row) -> str:
    """`mathvista/testmini`, with `blind` where the model saw grey pictures."""
    name = f"{row.get('task')}/{row.get('split')}" if row.get("split") else f"{row.get('task')}"
    return plain(f"{name} blind" if row.get("blind") else name)


def protocol_name(row: Row) -> str:
    """`official-rule`; `official (raw)` where the scorer saw the thought too; `official (judge NAME)`."""
    name = row.get("label") or row.get("protocol") or ""
    marks = [] if row.get("thinking", "split") == "split" else [str(row["thinking"])]
    marks += [f"judge {row['judge']}"] if row.get("judge") else []
    return plain(f"{name} ({', '.join(marks)})" if marks else name)


def reasons(failed: Mapping[str, int]) -> str:
    """`oom 2, media_corrupt 1`, most frequent first."""
    ordered = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{plain(reason)} {count}" for reason, count in ordered)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as left-aligned text columns, two spaces apart."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _width(text: str) -> int:
    """Terminal columns of `text`: wide East Asian characters take two, combining marks none."""
    marks = sum(unicodedata.combining(char) > 0 for char in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(char) in "WF" for char in text)
