"""Commands that a newcomer and a user of another harness type, with their exit codes and lines; and the README's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stub_server import chat, serving
from tests.forks import python
from tests.newcomer_commands import FIRST_HOUR, HABITS, NAMES, Step

ROOT = Path(__file__).resolve().parent.parent
ALL_PARTS = True  # set when positional tasks, names, habits, tables and lists are all merged; then remove it
pytestmark = [pytest.mark.slow, *([] if ALL_PARTS else [pytest.mark.skip(reason="other parts are under way")])]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command, comments=True)
    assert program == "kvl-eval"
    env = {name: value for name, value in os.environ.items() if not name.startswith("KVL_EVAL_")}
    return python("-m", "kvl_eval", *arguments, cwd=folder, env={**env, "HF_HUB_OFFLINE": "1", "COLUMNS": "120"})


def collapsed(text: str) -> list[str]:
    """The lines of a text with single blanks."""
    return [" ".join(line.split()) for line in text.splitlines()]


def fits(expected: str, line: str) -> bool:
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    return re.fullmatch(r"\s*.*\s*".join(parts), line) is not None


def faults(step: Step, done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """How a command departs from what is expected of it."""
    printed = collapsed(done.stdout + "\n" + done.stderr)
    if done.returncode != step.code:
        yield f"{step.command}: exit code {done.returncode}, not {step.code}\n{done.stdout}{done.stderr}"
        return
    if "Traceback" in done.stderr:
        yield f"{step.command}: a traceback"
    for expected in step.lines:
        if not any(fits(expected, line) for line in printed):
            yield f"{step.command}: no line {expected!r} in\n{done.stdout}{done.stderr}"


def test_the_first_hour_of_a_newcomer(tmp_path: Path) -> None:
    with serving(lambda asked: chat("A")) as stub:
        steps = [step._replace(command=step.command.replace("{stub}", stub.url)) for step in FIRST_HOUR]
        assert not "\n".join(fault for step in steps for fault in faults(step, run(step.command, tmp_path)))


@pytest.mark.parametrize("step", [*NAMES, *HABITS], ids=lambda step: step.command.removeprefix("kvl-eval "))
def test_names_and_habits_of_other_harnesses(step: Step, tmp_path: Path) -> None:
    done = run(step.command, tmp_path)
    assert not "\n".join(faults(step, done))
    assert "sk-123" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())  # a plan or a refusal leaves no folder
    if step.code:
        assert not done.stdout


def blocks(kind: str) -> list[list[str]]:
    """The lines of the README's fenced blocks of a kind."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [block.splitlines() for block in re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def test_the_first_command_of_the_readme_prints_its_table(tmp_path: Path) -> None:
    (command,) = [line for line in blocks("bash")[0] if line.startswith("kvl-eval")]
    *table, report = blocks("text")[0]
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == table
    assert " ".join(report.split()) in collapsed(done.stderr)


def test_the_second_command_of_the_readme_asks_a_server(tmp_path: Path) -> None:
    (command,) = blocks("bash")[1]
    with serving(lambda asked: chat("A")) as stub:
        command = command.replace("http://127.0.0.1:8000/v1", stub.url)
        done = run(f"{command} --split mini --limit 5", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:3]] == ["task", "mathvista/mini", "mmmu/mini"]
    assert len(stub.asked) == 10


def test_lines_with_and_without_gaps() -> None:
    assert fits("mathvista/mini 5 ...", "mathvista/mini 5 60.0 [23.1, 88.2] official-rule")
    assert fits("...nothing was run", "2 requests; nothing was run")
    assert not fits("mathvista", "mathvision")
