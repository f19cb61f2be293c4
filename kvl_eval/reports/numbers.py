"""How reports print numbers and foreign text. Stored values are fractions; only these functions round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from kvl_eval.families import DEMO_NOTE
from kvl_eval.printable import policy_name, printable
from kvl_eval.store.records import PlanEntry
from kvl_eval.store.result_records import PublishedRow, ResultRow
from kvl_eval.types import Interval

DEMO = DEMO_NOTE
MANY = 0.05  # share of truncated thoughts or failed extractions above which a warning is due
SMALL = 30  # groups of fewer samples are shown greyed


def plain(text: object, keep: str = "") -> str:
    r"""`text` as it can be shown anywhere: control characters other than `keep` become `\x1b`, `\u202e`."""
    return printable(text, keep)


def percent(value: float | None, digits: int = 1) -> str:
    """`67.9`, or an empty text."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def percent_interval(bounds: Interval | None) -> str:
    """`[65.0, 70.7]` in percent, or an empty text."""
    return "" if bounds is None else f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def share(part: float, whole: float) -> str:
    """`0.4%`; `-` where there is nothing to take a share of."""
    return f"{100 * part / whole:.1f}%" if whole else "-"


def in_points(row: ResultRow) -> bool:
    """Whether a result is printed in points: a points task, and the whole set was answered."""
    return row.unit == "points" and row.complete and not row.partial


def figure(value: float | None, points: bool = False, signed: bool = False) -> str:
    """A score without its unit: `67.9` percent, or `867` points out of 1,000."""
    if value is None:
        return ""
    text = f"{1000 * value:+.0f}" if points else f"{100 * value:+.1f}"
    return text if signed else text.lstrip("+")


def headline(row: ResultRow) -> str:
    """The score of a result as tables show it: `67.9`, `861/1000`, or `-` where nothing was scored."""
    if row.score is None:
        return "-"
    return f"{figure(row.score, True)}/1000" if in_points(row) else figure(row.score)


def interval(row: ResultRow) -> str:
    """`[65.0, 70.7]` of a result, or an empty text."""
    return "" if row.ci95 is None else "[" + ", ".join(figure(bound, in_points(row)) for bound in row.ci95) + "]"


def reference_mark(reference: PublishedRow | None) -> str:
    """`≈` no difference shown, `▲` score above, `▼` below; empty where nothing is compared.

    No difference is shown where the interval of the difference contains 0; results of earlier versions have none, and
    the published value in the score's interval stands for it.
    """
    if reference is None or reference.delta is None:
        return ""
    gap = reference.gap_ci95
    is_open = reference.inside_ci if gap is None else gap[0] <= 0 <= gap[1]
    return "≈" if is_open else "▲" if reference.delta > 0 else "▼"


def delta(row: ResultRow) -> str:
    """`-0.8 ≈`: the difference to the published result and its mark; empty where they cannot be compared."""
    if row.reference is None or row.reference.delta is None:
        return ""
    return f"{figure(row.reference.delta, in_points(row), signed=True)} {reference_mark(row.reference)}"


def no_answer_share(row: ResultRow) -> str:
    """`0.4%`: of the scored samples, those whose reply has no answer."""
    return share(row.verdicts.get("no_answer", 0), row.n_scored)


def counted(row: ResultRow) -> str:
    """`1000`, or `980/1000` where samples failed or are pending; `4329 (1164 questions)` where some are asked again."""
    text = f"{row.n_planned}" if row.n_scored == row.n_planned else f"{row.n_scored}/{row.n_planned}"
    return f"{text} ({row.n_questions} questions)" if row.n_questions else text


def budget(place: ResultRow | PlanEntry) -> str:
    """`none`, `8k cut`, `1000 force`, `4k approx`."""
    if place.budget is None:
        return "none"
    return f"{budget_label(place.budget)} {plain(policy_name(place.policy))}".rstrip()


def budget_label(tokens: int) -> str:
    """`8k`, `1000`, `0`."""
    return f"{tokens // 1024}k" if tokens and tokens % 1024 == 0 else f"{tokens}"


def task_name(row: ResultRow) -> str:
    """`mathvista/testmini`, with `blind` where the model saw grey pictures."""
    name = f"{row.task}/{row.split}" if row.split else row.task
    return plain(f"{name} blind" if row.blind else name)


def protocol_name(row: ResultRow) -> str:
    """`official-rule`; `official (raw)` where the scorer saw the thought too; `official (judge NAME)`."""
    marks: list[str] = [] if row.thinking == "split" else [row.thinking]
    marks += [f"judge {row.judge}"] if row.judge else []
    name = row.label or row.protocol
    return plain(f"{name} ({', '.join(marks)})" if marks else name)


def beside(row: ResultRow) -> str:
    """`official 61.3 [58.1, 64.4] -0.8 ≈`: a result that stands beside another of the same answers."""
    is_compared = row.reference is not None and row.reference.delta is not None
    texts = (protocol_name(row), headline(row), interval(row), delta(row) if is_compared else "")
    return " ".join(text for text in texts if text)


def reasons(failed: Mapping[str, int]) -> str:
    """`oom 2, media_corrupt 1`, most frequent first."""
    ordered = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{plain(reason)} {count}" for reason, count in ordered)


def columns(rows: Sequence[Sequence[str]], numeric: Sequence[bool] = ()) -> str:
    """Rows of cells as text columns, two spaces apart; those of `numeric` aligned right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    is_right = [*numeric, *[False] * (len(widths) - len(numeric))]
    return "\n".join(
        "  ".join(_padded(*cell) for cell in zip(row, widths, is_right, strict=True)).rstrip() for row in rows
    )


def _padded(text: str, width: int, is_right: bool) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if is_right else text + blanks
