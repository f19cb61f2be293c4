"""desktop-apps: nine small tasks in real applications, on a sandboxed desktop of Linux.

Data:    made by this project, in OSWorld's form: `config` brings files and starts programs, `evaluator` judges what
         the desktop has become. Three tasks in a terminal, one setting, two in an editor, three in LibreOffice Calc.
Agents:  the model is asked step by step; the default agent is that of its family. All can be done with the keyboard.
Metric:  the evaluator's value; 0 where the agent gave up.
Report:  none. Nothing here is comparable with OSWorld or WindowsAgentArena.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kvl_eval.scorers.episode import episode_score, episode_summary
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.rows import made_from
from kvl_eval.tasks.base import OFFICIAL, Protocol, Split, Task, TaskData
from kvl_eval.tasks.choices import one_label
from kvl_eval.tasks.episode import Episode, EpisodePrompt, Script
from kvl_eval.types import Sample

BUNDLED = Path(__file__).resolve().parent.parent / "data" / "desktop-apps"
KEPT = ("id", "level", "domain", "instruction", "config", "evaluator", "oracle", "wrong")
ROWS = {"rows": 9, "level=B": 9}


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order: those of the source's folder, else the bundled ones. Raises: DataError."""
    if source.data_dir is None:
        source = replace(source, data_dir=BUNDLED)
    rows = read_rows(source, split, Tables(task="desktop-apps", required=("id", "instruction", "evaluator")), reporter)
    yield from made_from(rows, _sample, reporter)


def _sample(row: Row) -> Sample:
    return Sample(
        id=row.text("id"),
        question=row.required_text("instruction"),
        row=row.keep(KEPT),
        answers=("DONE",),
        categories=one_label(domain=row.text("domain"), level=row.text("level")),
    )


def _script(name: str) -> Script:
    """The script that a row has under this name, a line for each step; then DONE."""

    def script(sample: Sample, number: int) -> str:
        lines = sample.row.get(name)
        return str(lines[number - 1]) if isinstance(lines, list) and number <= len(lines) else "DONE"

    return script


EPISODE = Episode(
    max_steps=15,
    screen=(1024, 768),
    provider="xvfb",
    providers=("xvfb",),
    has_programs=True,
    scripts={name: _script(name) for name in ("oracle", "wrong")},
)

TASK = Task(
    name="desktop-apps",
    title="desktop-apps",
    group_title="",
    doc=__doc__ or "",
    licence="made by this project, as the project itself",
    modality="images",
    access="none",
    download_bytes=0,
    download_source="nothing is downloaded: the tasks are bundled",
    splits={"test": Split(rows=9, note="level B")},
    default_split="test",
    load=load,
    sample=from_values(_sample),
    prompts={name: EpisodePrompt(name) for name in EPISODE.agents},
    default_prompt=EPISODE.agents[0],
    prompt_evidence="those of the agents; the first prompt of an episode alone can be planned",
    protocols={
        OFFICIAL: Protocol(
            score=episode_score,
            label="desktop-apps",
            summary="the evaluator's value",
            notes=("the evaluator's value, as the episode stored it",),
            evidence="none: a task of this project",
        )
    },
    aggregate=episode_summary,
    data=TaskData(
        files=("nothing: the tasks are bundled", "test.jsonl of the same fields"),
        row_layouts={"own": KEPT},
        count={"test": ROWS},
    ),
    max_new_tokens=4096,
    episode=EPISODE,
)
