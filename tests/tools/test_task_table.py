"""docs/tasks.md is what the tasks say; a task of the report that has none here is named with its reason."""

import re

from kvl_eval.reports.leaderboard import LIVE, printed_table
from kvl_eval.tasks import TASKS
from tools.task_table import FILE, text


def test_the_file_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run: python tools/task_table.py"


def test_every_task_has_a_row_and_a_section() -> None:
    lines = text().splitlines()
    for name, task in TASKS.items():
        (row,) = [line for line in lines if line.startswith(f"| [{name}]")]
        assert row.count("|") == 10 and task.default_split in row
        heading = f"## {task.title} (`{name}`)"
        assert heading in lines
        anchor = re.sub(r"[^\w -]", "", heading.removeprefix("## ").lower()).replace(" ", "-")
        assert f"(#{anchor})" in row
        section = text().partition(heading)[2].partition("\n## ")[0]
        assert all(repo in section for repo in task.repos) and task.licence in section
        assert all(protocol in section for protocol in task.protocols)


def test_what_needs_a_live_desktop_says_so() -> None:
    for name in ("OSWorld", "WindowsAgentArena"):
        assert f"{name}: {LIVE}" in printed_table("table3", [])
        assert re.search(rf"- {name} \(.*\): {LIVE}", text())
    assert "needs a live desktop" not in printed_table("thinking", [])
