"""Small runs with scripted answers, and what `explain` finds out about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.explanation.document import Explanation
from kvl_eval.explanation.explaining import explain_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from tests.tiny_task import run_tiny, tiny


def answered(folder: Path, said: dict[str, Any], task: Task | None = None, **options: Any) -> RunFolder:
    folder.mkdir(exist_ok=True)
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps({"id": name, **line}) + "\n" for name, line in said.items()))
    return run_tiny(folder, task, model_args={"answers": str(file)}, **options).folder


def says(number: int, *, right: bool = True, **more: Any) -> dict[str, Any]:
    return {"response": "AB"[number % 2] if right else "BA"[number % 2], **more}


def gold(n: int = 10) -> dict[str, Any]:
    return {f"q/{number}": says(number) for number in range(n)}


def explained(folder: RunFolder, task: Task | None = None, **options: Any) -> Explanation:
    return explain_run(RunReader(folder, [task or tiny()]), ExplainOptions(**options))
