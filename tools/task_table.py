"""Write docs/tasks.md: every task with data, licence, size, metric, protocols, judge and published results.

python tools/task_table.py          # writes it
python tools/task_table.py --check  # exit code 1 where the file is not current
"""

import sys
from pathlib import Path

from kvl_eval import references
from kvl_eval.model.kimi_vl.families import FAMILIES
from kvl_eval.references import ReferenceScore
from kvl_eval.reports.leaderboard import NOT_RUN
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.base import Task

SYSTEMS = tuple(str(family.published) for family in FAMILIES.published)
FILE = Path(__file__).resolve().parent.parent / "docs" / "tasks.md"
HEAD = """\
# Tasks

Written by `python tools/task_table.py` from the tasks themselves; `kvl-eval describe TASK` shows more, such as prompts.
Sizes are of the default split; `mini` is bundled and drawn by this project. Published results are Kimi-VL's
(Instruct, Thinking, Thinking-2506), in percent unless another unit is given, with their sources in
`kvl_eval/references/reference_scores.csv`. How an answer is extracted from a reply, and what `reader` and `official`
mean, is in [answers.md](answers.md).
"""


def text() -> str:
    """The whole file."""
    head = "| task | split | samples | metric | default protocol | judge | Instruct | Thinking | 2506 |"
    lines = [HEAD, head, "| --- " * 9 + "|", *(_row(task) for task in TASKS.values()), ""]
    lines += ["## Published without a task here", "", *_unrun(), ""]
    for task in TASKS.values():
        lines += [f"## {task.title} (`{task.name}`)", "", *_facts(task), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(task: Task) -> str:
    rows = task.splits[task.default_split].rows
    protocol = task.protocols[task.default_protocol]
    figures = (_figure(task, system) for system in SYSTEMS)
    cells = [
        f"[{task.name}](#{_anchor(task)})",
        task.default_split,
        f"{rows:,}" if rows else "by version",
        _metric(task).split(";")[0].split(":")[0],
        protocol.label or task.default_protocol,
        _judge(task).split(":")[0],
        *figures,
    ]
    return f"| {' | '.join(cells)} |"


def _anchor(task: Task) -> str:
    """As GitHub makes it of the heading."""
    kept = [char for char in f"{task.title} ({task.name})".lower() if char.isalnum() or char in " -_"]
    return "".join(kept).replace(" ", "-")


def _metric(task: Task) -> str:
    """What the task's description says after `Metric:`, on one line."""
    _, _, rest = task.doc.partition("Metric:")
    found = []
    for line in rest.splitlines():
        if found and (not line.startswith(" ") or not line.strip()):
            break
        found.append(line.strip())
    return " ".join(found)


def _judge(task: Task) -> str:
    if task.judge_prompt is None:
        return "none"
    judged = [name for name, one in task.protocols.items() if one.judged]
    runs = f", {task.judge.runs} runs averaged" if task.judge.runs > 1 else ""
    if task.protocols[task.default_protocol].needs_judge:
        return f"required: {', '.join(judged)}{runs}"
    return f"optional: {', '.join(judged)}{runs}; a rule without it" if judged else "a rule in its place"


def _published(task: Task) -> list[ReferenceScore]:
    wanted = task.reference
    if wanted is not None and wanted.by is not None:
        return [
            one for one in references.load() if one.benchmark == wanted.benchmark and f"{wanted.by}=" in one.setting
        ]
    return [] if wanted is None else references.published(wanted)


def _figure(task: Task, system: str) -> str:
    found = [score for score in _published(task) if score.system == system]
    if task.reference is not None and task.reference.by is not None and found:
        ordered = sorted(found, key=lambda score: score.value)
        return f"{ordered[0].printed} to {ordered[-1].printed}"
    return "" if not found else found[0].printed + (" points" if found[0].unit == "points" else "")


def _facts(task: Task) -> list[str]:
    facts = {
        "data": ", ".join(task.repos) or "generated here, nothing to download",
        "license": task.licence,
        "splits": "; ".join(_split(name, task) for name in task.splits) + ("; mini (bundled)" if task.mini else ""),
        "files for --data-dir": "; ".join(task.data.files),
        "metric": _metric(task),
        "protocols": ", ".join(_protocol(name, task) for name in task.protocols),
        "prompts": ", ".join(f"**{name}**" if name == task.default_prompt else name for name in task.prompts),
        "judge": _judge(task),
        "groups": ", ".join(task.groups),
    }
    if task.reference is not None and task.reference.mean_of:
        facts["published result"] = f"the mean of {' and '.join(task.reference.mean_of)}"
    if task.reference is not None and task.reference.by is not None:
        shown = (f"{one.setting.partition('=')[2]} {one.printed}" for one in _published(task))
        facts[f"published by {task.reference.by}"] = ", ".join(shown)
    return [f"- {name}: {fact}" for name, fact in facts.items() if fact]


def _split(name: str, task: Task) -> str:
    split = task.splits[name]
    rows = "" if split.rows is None else f" {split.rows:,}"
    gold = "" if split.has_gold else ", answers withheld"
    return f"{name}{rows}{gold}" + (f" ({split.note})" if split.note else "")


def _protocol(name: str, task: Task) -> str:
    return f"**{name}**" if name == task.default_protocol else name


def _unrun() -> list[str]:
    """Benchmarks of the report that nothing here runs, and why."""
    ours = {task.reference.benchmark for task in TASKS.values() if task.reference is not None}
    systems = set(SYSTEMS)
    found: dict[str, list[ReferenceScore]] = {}
    for score in references.load():
        if score.benchmark not in ours and score.system in systems and score.is_default:
            found.setdefault(score.benchmark, []).append(score)
    return [
        f"- {scores[0].benchmark_label} ({_printed(scores)}): {NOT_RUN[name].why if name in NOT_RUN else 'no task yet'}"
        for name, scores in found.items()
    ]


def _printed(scores: list[ReferenceScore]) -> str:
    return f"{len(scores)} figures" if len(scores) > 3 else ", ".join(f"{s.system_label} {s.printed}" for s in scores)


def main() -> int:
    """Write the file, or say whether it is current."""
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text(encoding="utf-8") == text() else 1
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
