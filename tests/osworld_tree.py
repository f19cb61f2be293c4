"""A small tree of task files in OSWorld's layout, written for tests; no file of OSWorld is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvl_eval.tasks.osworld import FILES

RENAME, SUM, LIGHT, MAIL, PAGE = "rename-1", "sum-2", "light-3", "mail-4", "page-5"
URL = f"https://huggingface.co/datasets/{FILES}/resolve/main"
TASKS: dict[str, dict[str, Any]] = {
    f"os/{RENAME}": {
        "instruction": "Rename the folder old to new.",
        "config": [{"type": "execute", "parameters": {"command": "mkdir ~/Desktop/old", "shell": True}}],
        "evaluator": {
            "func": "exact_match",
            "result": {"type": "vm_command_line", "command": "ls ~/Desktop"},
            "expected": {"type": "rule", "rules": {"expected": "new\n"}},
        },
    },
    f"libreoffice_calc/{SUM}": {
        "instruction": "Put the sum into B6.",
        "config": [
            {
                "type": "download",
                "parameters": {"files": [{"url": f"{URL}/a%20b/in.xlsx", "path": "/home/user/x.xlsx"}]},
            }
        ],
        "evaluator": {
            "func": ["compare_table", "compare_table"],
            "conj": "or",
            "result": [{"type": "vm_file", "path": "/home/user/x.xlsx", "dest": "x.xlsx"}, None],
            "expected": [{"type": "cloud_file", "path": f"{URL}/gold.xlsx", "dest": "gold.xlsx"}, {}],
            "options": [{"rules": []}, None],
        },
    },
    f"os/{LIGHT}": {"instruction": "Turn on the lamp on my desk.", "evaluator": {"func": "infeasible"}},
    f"multi_apps/{MAIL}": {
        "instruction": "Send it.",
        "related_apps": ["thunderbird"],
        "config": [{"type": "login", "parameters": {"platform": "googledrive"}}],
        "evaluator": {"func": "exact_match", "result": {"type": "rule", "rules": {}}},
    },
    f"chrome/{PAGE}": {
        "instruction": "Open the second page.",
        "config": [{"type": "chrome_open_tabs", "parameters": {"urls_to_open": ["https://example.org"]}}],
        "evaluator": {"func": "exact_match", "result": {"type": "active_tab_info"}},
    },
}


def write_tree(folder: Path, tasks: Mapping[str, Mapping[str, Any]] = TASKS) -> Path:
    """A clone of OSWorld with these tasks, {DOMAIN/ID: what the file holds besides its id}."""
    root = folder / "evaluation_examples"
    lists: dict[str, list[str]] = {}
    for name, task in tasks.items():
        domain, _, number = name.partition("/")
        lists.setdefault(domain, []).append(number)
        path = root / "examples" / domain / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": number, **task}))
    for name in ("test_all", "test_nogdrive", "test_small"):
        (root / f"{name}.json").write_text(json.dumps(lists))
    infeasible = {"os": [LIGHT]} if f"os/{LIGHT}" in tasks else {}
    (root / "test_infeasible.json").write_text(json.dumps(infeasible))
    return folder
