"""A run of agents in the layout of OSWorld's own result folders, which the official script sums up.

    pyautogui/screenshot/MODEL/DOMAIN/ID/traj.jsonl          a line for each step
                                        /step_N_TIME.png     the screen after it
                                        /result.txt          the value; not there where the episode failed

A repeat after the first has a folder of its own, `MODEL-repeat1`. Results of a local sandbox are not official,
whatever the layout: MODEL begins with the task's name, unless that is `osworld`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from kvl_eval.errors import UsageError
from kvl_eval.exports.answers import ExportedAnswer, TaskAnswers, clean, parts
from kvl_eval.store.names import file_name
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_files import open_run_file
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.store.trajectories import MEDIA, StoredTrajectory, read_trajectory, screen_name, trajectory_path
from kvl_eval.store.trajectory_records import TrajectoryStep
from kvl_eval.tasks import known_task

ACTION_SPACE, OBSERVATION = "pyautogui", "screenshot"
WORDS = {"done": "DONE", "fail": "FAIL", "wait": "WAIT"}
CHUNK = 1 << 20  # bytes


def write_osworld(folder: RunFolder, out: OutputFolder) -> list[Path]:
    """Write the episodes of every task of agents and return the files' paths.

    Raises: UsageError `export.osworld` for a run without such a task; DataError, StorageError.
    """
    played = [
        part for part in parts(folder) if (task := known_task(part.task)) is not None and task.episode is not None
    ]
    if not played:
        raise UsageError(
            "export.osworld",
            "no task of this run is played by agents",
            where=str(folder.path),
            fix="use a run of osworld, osworld-local or desktop-mini",
        )
    return [path for part in played for answer in part.answers() for path in _episode(folder, out, part, answer)]


def _episode(folder: RunFolder, out: OutputFolder, part: TaskAnswers, answer: ExportedAnswer) -> Iterator[Path]:
    """The files of one episode; none where it was not played."""
    name = None if answer.record is None else answer.record.extra.trajectory
    if name is None:
        return
    trajectory = read_trajectory(trajectory_path(folder.path, name))
    place = (
        ACTION_SPACE,
        OBSERVATION,
        _model(folder, part.task, answer.key.repeat),
        *_place(part.task, answer.entry.sample_id),
    )
    lines = []
    for fields, screen in _lines(trajectory):
        lines.append(json.dumps(clean(fields), ensure_ascii=False))
        if screen is not None:
            yield _copied(folder, out, screen, (*place, str(fields["screenshot_file"])))
    outcome = trajectory.outcome
    if outcome is None or outcome.value is None:
        reason = "abandoned" if outcome is None else outcome.message or outcome.ended_by
        lines.append(json.dumps(clean({"Error": reason}), ensure_ascii=False))
    else:
        yield out.write([f"{outcome.value}\n".encode()], *place, "result.txt")
    yield out.write(["".join(f"{line}\n" for line in lines).encode()], *place, "traj.jsonl")


def _model(folder: RunFolder, task: str, repeat: int) -> str:
    model = str(folder.manifest.model.name or "unknown")
    label = model if task == "osworld" else f"{task}-{model}"
    return file_name(label + (f"-repeat{repeat}" if repeat else ""))


def _place(task: str, sample_id: str) -> tuple[str, str]:
    """Domain and id of a sample; the task takes the place of a domain where there is none."""
    domain, slash, number = sample_id.partition("/")
    return (file_name(domain), file_name(number)) if slash else (file_name(task), file_name(sample_id))


def _lines(trajectory: StoredTrajectory) -> Iterator[tuple[dict[str, object], str | None]]:
    """(line of `traj.jsonl`, screen after the step) of every step that could be read."""
    steps = [step for step in trajectory.steps if step.parse != "unparsable"]
    outcome = trajectory.outcome
    last = None if outcome is None else outcome.screenshot_sha256
    after = [*(step.screenshot_sha256 for step in steps[1:]), last]
    moment = datetime.fromisoformat(trajectory.head.started_at)
    for step, screen in zip(steps, after, strict=False):
        moment += timedelta(seconds=sum(seconds or 0.0 for seconds in step.time.values()))
        stamp = f"{moment:%Y%m%d@%H%M%S%f}"
        is_last = outcome is not None and step is steps[-1]
        info: dict[str, object] = {} if step.parse == "ok" else {"unsupported": step.note}
        if is_last and outcome is not None:
            info["ended_by"] = outcome.ended_by
        line: dict[str, object] = {
            "step_num": step.n,
            "action_timestamp": stamp,
            "action": _action(step),
            "response": step.raw_output,
            "reward": 0,
            "done": is_last,
            "info": info,
            "screenshot_file": f"step_{step.n}_{stamp}.png",
        }
        yield line, screen


def _action(step: TrajectoryStep) -> str:
    """The step as written, or the word that ends an episode or waits."""
    kind = step.actions[-1].kind if step.actions else ""
    return WORDS.get(kind, step.source) if len(step.actions) == 1 else step.source


def _copied(folder: RunFolder, out: OutputFolder, sha256: str, place: tuple[str, ...]) -> Path:
    with open_run_file(OutputFolder(folder.path).path(MEDIA, screen_name(sha256))) as file:
        return out.write(iter(partial(file.read, CHUNK), b""), *place)
