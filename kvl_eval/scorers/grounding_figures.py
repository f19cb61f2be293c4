"""Figures of grounding runs as the scripts of ScreenSpot-Pro, SeeClick, VLMEvalKit and lmms-eval print them.

All take scored samples whose categories hold `type` (text or icon), and `platform`, `group`, `application` where known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvl_eval.scorers.aggregate import mean, plain_sum
from kvl_eval.types import Scored

PLATFORMS = ("mobile", "desktop", "web")
KINDS = ("text", "icon")
Figures = Mapping[str, "float | Figures"]
"""{name: figure}, nested as a script's result file has them."""


def lmms_eval_figures(scored: Sequence[Scored], prefix: str) -> dict[str, str]:
    """lmms-eval's three accuracies, over all targets and those of one kind."""
    parts = {"action": scored, **{kind: _with(scored, "type", kind) for kind in KINDS}}
    return {f"{prefix}_{name}_acc": str(_share(part)) for name, part in parts.items()}


def _share(scored: Sequence[Scored]) -> float:
    """Mean value; of nothing the number that the scripts print, 0."""
    found = mean(scored)
    return 0 if found is None else found


def _with(scored: Sequence[Scored], field: str, label: str) -> list[Scored]:
    return [one for one in scored if label in one.sample.categories.get(field, ())]


def seeclick_figures(scored: Sequence[Scored]) -> dict[str, str]:
    """Per platform what SeeClick's script logs, then the unweighted mean of the cells and the mean over targets."""
    figures: dict[str, str] = {}
    cells: list[float] = []
    for platform in PLATFORMS:
        part = _with(scored, "platform", platform)
        if not part:
            continue
        figures[f"{platform} Action Acc"] = str(mean(part))
        figures[f"{platform} Total num"] = str(len(part))
        figures[f"{platform} Wrong format num"] = str(_wrong_formats(part))
        for kind in KINDS:
            cells.append(_share(_with(part, "type", kind)))
            figures[f"{platform} {kind.title()} Acc"] = str(cells[-1])
    if cells:
        figures["Average of cells"] = str(plain_sum(cells) / len(cells))
    figures["Average of targets"] = str(mean(scored))
    return figures


def _wrong_formats(scored: Sequence[Scored]) -> int:
    return sum(one.score.verdict == "no_answer" for one in scored)


def pro_metrics(scored: Sequence[Scored]) -> Mapping[str, Figures]:
    """The `metrics` block of the Pro repository's result file: counts and fractions, {block: {key: {figure: value}}}.

    The block `overall` has no keys, {figure: value}, and comes first here; the longest blocks come last.
    """
    tail = "inst_style:{instruction_style} gt_type:{gt_type}"
    blocks = {
        "leaderboard_simple_style": "group:{group}",
        "leaderboard_detailed_style": "app:{application}",
        "seeclick_style": f"plat:{{platform}} {tail}",
        "fine_grained": f"plat:{{platform}} app:{{application}} {tail}",
    }
    defaults = {"instruction_style": "instruction", "gt_type": "positive"}
    defaults |= dict.fromkeys(("platform", "application", "group"), "unknown")
    found: dict[str, dict[str, list[Scored]]] = {block: {} for block in blocks}
    for one in scored:
        for block, template in blocks.items():
            key = template.format_map({**defaults, **one.sample.row})
            found[block].setdefault(key, []).append(one)
    parts = {block: {key: _pro_figures(part) for key, part in entries.items()} for block, entries in found.items()}
    return {"overall": _pro_figures(scored), **parts}


def flattened(metrics: Figures, prefix: str = "") -> dict[str, str]:
    """Nested figures as {path: text}, `leaderboard_simple_style/group:Dev/text_acc`, numbers as Python prints them."""
    found: dict[str, str] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found


def _pro_figures(scored: Sequence[Scored]) -> dict[str, float]:
    return {
        "num_correct_action": sum(one.score.verdict == "correct" for one in scored),
        "num_total": len(scored),
        "wrong_format_num": _wrong_formats(scored),
        "action_acc": _share(scored),
        "text_acc": _share(_with(scored, "type", "text")),
        "icon_acc": _share(_with(scored, "type", "icon")),
    }


def vlmevalkit_figures(scored: Sequence[Scored], field: str) -> dict[str, str]:
    """VLMEvalKit's figures, `field` naming the parts where rows have no `category`.

    Overall is right; in text, icon and category figures each part weighs by the square of its size, a fault of theirs:
    they repeat each part's verdicts as often as it has any.
    """
    parts: dict[tuple[str, str], list[Scored]] = {}
    for one in scored:
        label = one.sample.columns.text("category") or one.sample.categories.get(field, ("all",))[0]
        parts.setdefault((label, one.sample.categories["type"][0]), []).append(one)
    figures = {f"{label}:{kind}:cnt": str(len(part)) for (label, kind), part in parts.items()}
    figures["Overall_Accuracy"] = str(_share(scored) * 100)
    figures["Format_Err_Rate"] = str(_wrong_formats(scored) / max(1, len(scored)) * 100)
    for kind in KINDS:
        figures[f"{kind.title()}_Accuracy"] = str(_squared([part for (_, one), part in parts.items() if one == kind]))
    for label in dict.fromkeys(label for label, _ in parts):
        figures[f"{label}_Accuracy"] = str(_squared([part for (one, _), part in parts.items() if one == label]))
    return figures


def _squared(parts: Sequence[Sequence[Scored]]) -> float:
    weight = sum(len(part) ** 2 for part in parts)
    return 100 * plain_sum(len(part) ** 2 * _share(part) for part in parts) / weight if weight else 0.0
