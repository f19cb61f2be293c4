"""Files for people and services around the repository: citation, hooks, workflow, templates."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"
TRIGGERS = {"push", "pull_request", "workflow_dispatch", "schedule", "merge_group"}
STEP_KEYS = {"name", "id", "if", "uses", "run", "with", "env", "shell", "working-directory", "timeout-minutes"}
JOB_KEYS = {
    "name",
    "needs",
    "if",
    "runs-on",
    "steps",
    "env",
    "timeout-minutes",
    "permissions",
    "strategy",
    "continue-on-error",
}
TOP_KEYS = {"name", "on", "permissions", "env", "concurrency", "defaults", "jobs"}


def read_yaml(path: Path) -> Any:
    """The document, by YAML 1.2's reading of `on`, as GitHub has it."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(document, dict) and True in document:
        document["on"] = document.pop(True)
    return document


def faults(workflow: Mapping[str, Any]) -> list[str]:
    """Where a workflow departs from GitHub's schema, as far as ours need it."""
    texts = [f"unknown key {key}" for key in workflow.keys() - TOP_KEYS]
    texts += [f"missing key {key}" for key in {"on", "jobs"} - workflow.keys()]
    triggers = workflow.get("on", {})
    texts += [
        f"unknown trigger {name}"
        for name in ([triggers] if isinstance(triggers, str) else triggers)
        if name not in TRIGGERS
    ]
    for name, job in workflow.get("jobs", {}).items():
        texts += [f"{name}: unknown key {key}" for key in job.keys() - JOB_KEYS]
        texts += [f"{name}: missing key {key}" for key in {"runs-on", "steps"} - job.keys()]
        for number, step in enumerate(job.get("steps", ())):
            texts += [f"{name}, step {number}: unknown key {key}" for key in step.keys() - STEP_KEYS]
            if len({"uses", "run"} & step.keys()) != 1:
                texts.append(f"{name}, step {number}: exactly one of uses and run")
            if not re.fullmatch(r"[\w.-]+/[\w./-]+@[\w.-]+|", step.get("uses", "")):
                texts.append(f"{name}, step {number}: an action is owner/name@version")
    return texts


def commands(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    _, _, rest = (ROOT / "Makefile").read_text(encoding="utf-8").partition(f"\n{target}:")
    lines = rest.split("\n")[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("\t")), len(lines))
    return [line.strip() for line in lines[:end]]


def test_workflows_follow_the_schema_and_only_call_ci_run() -> None:
    (path,) = (GITHUB / "workflows").glob("*.yml")
    workflow = read_yaml(path)
    assert faults(workflow) == []
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs == ["bash .ci/run"]
    assert set(workflow["on"]) == {"push", "pull_request"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"job": {}}, "unknown key job"),
        ({"on": {"pushed": None}}, "unknown trigger pushed"),
        ({"jobs": {"a": {"steps": []}}}, "a: missing key runs-on"),
        (
            {"jobs": {"a": {"runs-on": "x", "steps": [{"uses": "a/b@v1", "run": "c"}]}}},
            "a, step 0: exactly one of uses and run",
        ),
        (
            {"jobs": {"a": {"runs-on": "x", "steps": [{"uses": "checkout"}]}}},
            "a, step 0: an action is owner/name@version",
        ),
    ],
)
def test_a_workflow_with_a_fault_is_refused(change: dict[str, Any], fault: str) -> None:
    workflow = {"on": "push", "jobs": {"a": {"runs-on": "x", "steps": [{"run": "true"}]}}}
    assert faults(workflow) == []
    assert faults(workflow | change) == [fault]


def test_hooks_are_the_commands_of_make_check() -> None:
    (repo,) = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"  # nothing is fetched
    assert [hook["entry"] for hook in repo["hooks"]] == commands("check")
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in repo["hooks"])


@pytest.mark.slow
def test_hooks_run(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files", "ruff-format"],
        **{"cwd": ROOT, "env": {**clean, "PATH": path, "PRE_COMMIT_HOME": str(tmp_path)}},
        **{"capture_output": True, "text": True},
    )
    assert re.search(r"^ruff format\.+(Passed|Failed)$", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_the_citation_has_what_the_format_requires() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "MIT"
    assert all(person.keys() & {"name", "family-names"} for person in citation["authors"])


def test_templates_ask_for_the_output_of_verify() -> None:
    templates = [*(GITHUB / "ISSUE_TEMPLATE").glob("*.md"), GITHUB / "pull_request_template.md"]
    assert len(templates) == 3
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert "`kvl-eval verify RUN`" in text, path.name
        if path.parent.name == "ISSUE_TEMPLATE":
            assert {"name", "about"} <= yaml.safe_load(text.split("---")[1]).keys(), path.name
