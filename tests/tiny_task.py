"""A benchmark of ten questions for tests of plan, run folder and runner; as a script, a run that can be killed.

python tests/tiny_task.py run OUTPUT_DIR OPTIONS_JSON
python tests/tiny_task.py resume RUN OPTIONS_JSON
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kvl_eval.backends.base import Request
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.run.config import RunConfig, resolve
from kvl_eval.run.plan import plan_run
from kvl_eval.run.progress import Lines
from kvl_eval.run.runner import RunOutcome, resume_run, start_run
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import STRICT, Reporter, Source
from kvl_eval.store.journal import Disk
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol, Split, Task
from kvl_eval.types import Extraction, ImageRef, Message, Sample, Score


def sample_of(row: Mapping[str, Any]) -> Sample:
    number = int(row["number"])
    return Sample(
        id=str(row["id"]),
        question=str(row["question"]),
        row={name: value for name, value in row.items() if name != "picture"},
        media=(ImageRef(name=f"picture of {row['id']}", data=b"not a picture"),) if number % 3 == 0 else (),
        choices=("A", "B"),
        answers=(str(row["answer"]),),
        categories={"parity": ("even" if number % 2 == 0 else "odd",), "all": ("yes", "really")},
        cluster=f"page {number // 2}" if row.get("pages") else None,
    )


def rows(n: int = 10, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q/{number}",
            "number": number,
            "question": f"Wieviel ist {number}?",
            "answer": "AB"[number % 2],
            **more,
        }
        for number in range(n)
    ]


def score(sample: Sample, answer: str, extraction: Extraction) -> Score:
    letter = answer.strip()[:1]
    if not letter:
        return Score.no_answer("empty")
    return Score.of(float(letter == sample.answers[0]), letter, "letter")


def prompt(sample: Sample) -> list[Message]:
    return [Message.user(*sample.media, f"{sample.question}\nAnswer A or B.")]


def tiny(n: int = 10, name: str = "tiny", content: list[dict[str, Any]] | None = None, **changes: Any) -> Task:
    found = rows(n) if content is None else content

    def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
        return (sample_of(row) for row in found)

    fields: dict[str, Any] = {
        "name": name,
        "title": "Tiny",
        "doc": "Ten questions.",
        "repos": (),
        "licence": "MIT",
        "splits": {"test": Split(rows=n)},
        "default_split": "test",
        "load": load,
        "sample": sample_of,
        "prompts": {"plain": prompt, "short": lambda sample: [Message.user(sample.question)]},
        "default_prompt": "plain",
        "protocols": {"official": Protocol(score=score), "lenient": Protocol(score=score, label="lenient rule")},
        "aggregate": lambda scored, protocol: summarise(scored),
    }
    return Task(**{**fields, **changes})


def gold_answer(request: Request, repeat: int) -> str:
    """Right for three samples in four, by the seed alone."""
    number = int(request.key.rpartition("/")[2])
    right = request.seeds[request.repeats.index(repeat)] % 4 != 0
    return "AB"[number % 2] if right else "BA"[number % 2]


def config_of(task: Task, output_dir: Path, **options: Any) -> RunConfig:
    return resolve("fake", "fake", [task], {"output_dir": str(output_dir), **options})


def run_tiny(output_dir: Path, task: Task | None = None, disk: Disk | None = None, **options: Any) -> RunOutcome:
    task = task or tiny()
    config = config_of(task, output_dir, **options)
    backend = FakeBackend(
        config.settings, answer=None if "answers" in config.settings.engine.model_args else gold_answer
    )
    plan = plan_run(config, backend, [task])
    return start_run(plan, backend, disk=disk)


def rescored(folder: RunFolder, own: Sequence[Task], *options: Any, **more: Any) -> dict[str, Any]:
    """results.json as it is written when a run is scored again."""
    rescore(RunReader(folder, own), *options, **more)
    return dict(json.loads((folder.path / "results.json").read_bytes()))


def make_fake(config: RunConfig) -> FakeBackend:
    return FakeBackend(config.settings, answer=None if "answers" in config.settings.engine.model_args else gold_answer)


def comparable(outcome_or_path: RunOutcome | Path) -> dict[str, Any]:
    """results.json without what may differ between two runs of the same plan."""
    path = outcome_or_path if isinstance(outcome_or_path, Path) else outcome_or_path.folder.path
    found = json.loads((path / "results.json").read_text())
    for name in ("run_id", "created"):
        found.pop(name)
    found["rows"] = [
        {name: value for name, value in row.items() if name not in ("time", "seconds")} for row in found["rows"]
    ]
    return found


class Deadly(Disk):
    """Kills this process with SIGKILL when it has written `after` records, whole or, with `torn`, half of the next."""

    def __init__(self, after: int, torn: bool = False) -> None:
        self.after, self.torn = after, torn

    def append(self, descriptor: int, data: bytes, path: Path) -> None:
        if self.after == 0:
            if self.torn:
                os.write(descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        self.after -= 1
        super().append(descriptor, data, path)


def main(verb: str, where: str, options_json: str) -> int:
    options = json.loads(options_json)
    task = tiny(options.pop("n", 10))
    disk = Deadly(options.pop("die_after"), options.pop("torn", False)) if "die_after" in options else None
    progress = Lines(seconds=0.01)
    if verb == "resume":
        outcome = resume_run(
            RunReader(RunFolder.open(Path(where), disk), [task]), make_fake, progress, handle_signals=True
        )
    else:
        config = config_of(task, Path(where), **options)
        backend = make_fake(config)
        plan = plan_run(config, backend, [task])
        outcome = start_run(plan, backend, progress, disk=disk, handle_signals=True)
    print(outcome.message)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
