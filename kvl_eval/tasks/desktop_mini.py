"""desktop-mini: small tasks on drawn desktops, bundled, for checks of agents and of everything around them.

Data:    drawn by this project (tools/nano/desktop.py): boards, one after the other, each a screen like those of the
         bundled screenspot split. Level A: twelve tasks of one, two or three boards that all hold the named thing.
         Level C: three tasks whose thing is missing. (Level B, real applications, is the task desktop-apps.)
Agents:  the model is asked step by step; the default agent is that of its family.
Metric:  1 where every board was clicked on the named thing, or, where it is missing, the last action was FAIL; else 0.
         A click anywhere leads to the next board; after the last one the episode ends.
Report:  none. Nothing here is comparable with OSWorld or WindowsAgentArena.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kvl_eval.scorers.episode import episode_score, episode_summary
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import OFFICIAL, Protocol, Split, Task, TaskData
from kvl_eval.tasks.boards import BOXES, MOST_BOARDS, OTHERS, Corners, corners, is_feasible, targets
from kvl_eval.tasks.choices import one_label
from kvl_eval.tasks.episode import Episode, EpisodePrompt
from kvl_eval.types import ImageRef, Sample

BUNDLED = Path(__file__).resolve().parent.parent / "data" / "mini" / "desktop-mini"
KEPT = ("id", "level", "domain", "instruction", "feasible", *BOXES, *OTHERS)
SCREEN = (168, 140)
LARGEST = 2**31  # of a coordinate


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order: those of the source's folder, else the bundled ones. Raises: DataError."""
    if source.data_dir is None:
        source = replace(source, data_dir=BUNDLED)
    rows = read_rows(source, split, Tables(task="desktop-mini", required=("id", "instruction")), reporter)
    yield from pictured_samples(rows, _sample, source, reporter, texts=("instruction",))


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    columns = row.keep(KEPT)
    columns |= {name: _box(row, name) for name in (*BOXES, *OTHERS) if row.has(name)}
    return Sample(
        id=row.text("id"),
        question=row.required_text("instruction"),
        row=columns,
        media=media,
        answers=("DONE" if row.get("feasible") else "FAIL",),
        categories=one_label(domain=row.text("domain"), level=row.text("level")),
    )


def _box(row: Row, name: str) -> list[int]:
    """A cell with a box. Raises: DataError `data.field`."""
    numbers = row.numbers(name)
    if len(numbers) != 4 or not all(abs(number) < LARGEST for number in numbers):
        raise row.fault(name, "expected four whole numbers")
    return [int(number) for number in numbers]


def _click(box: Corners) -> str:
    return f"pyautogui.click({(box[0] + box[2]) // 2}, {(box[1] + box[3]) // 2})"


def solution(sample: Sample, number: int) -> str:
    """What solves a step: a click on the named thing, or FAIL where it is missing."""
    boxes = targets(sample.row)
    if not is_feasible(sample.row):
        return "FAIL"
    return _click(boxes[number - 1]) if number <= len(boxes) else "DONE"


def mistake(sample: Sample, number: int) -> str:
    """What misses a step: a click on another thing."""
    box = corners(sample.row.get(f"other_{number}"))
    return "DONE" if box is None else _click(box)


EPISODE = Episode(max_steps=8, screen=SCREEN, scripts={"oracle": solution, "wrong": mistake})

TASK = Task(
    name="desktop-mini",
    title="desktop-mini",
    group_title="",
    doc=__doc__ or "",
    licence="drawn by this project, as the project itself",
    modality="images",
    access="none",
    download_bytes=0,
    download_source="nothing is downloaded: the boards are bundled",
    splits={"test": Split(rows=15, note="levels A and C")},
    default_split="test",
    load=load,
    sample=sample_maker(_sample),
    prompts={name: EpisodePrompt(name) for name in EPISODE.agents},
    default_prompt=EPISODE.agents[0],
    prompt_evidence="those of the agents; the first prompt of an episode alone can be planned",
    protocols={
        OFFICIAL: Protocol(
            score=episode_score,
            label="desktop-mini",
            summary="the evaluator's value",
            notes=("the evaluator's value, as the episode stored it",),
            evidence="none: a task of this project",
        )
    },
    aggregate=episode_summary,
    data=TaskData(
        files=("nothing: the boards are bundled", "test.parquet of the same columns"),
        row_layouts={"own": (*KEPT, *(f"image_{number}" for number in range(1, MOST_BOARDS + 1)))},
        count={"test": {"rows": 15, "level=A": 12, "level=C": 3}},
    ),
    mini="desktop-mini",
    max_new_tokens=4096,
    episode=EPISODE,
)
