"""Journals of episodes: read whole, in order, and what is missing or damaged is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.decode import encode_object
from kvl_eval.errors import DataError, StorageError
from kvl_eval.store.journal import encode_line
from kvl_eval.store.trajectories import StoredTrajectory, read_trajectory, screen_path, trajectories, trajectory_name
from tests.hand_made_trajectories import DIED, EPISODES, FOLDER, SOLVED, hand_made, write_episodes


def test_the_episodes_written_by_hand_are_read() -> None:
    died, solved = hand_made(FOLDER)
    assert (died.head.task, died.head.sample_id, died.head.repeat) == ("desktop-mini", "files-2", 0)
    assert died.outcome is not None and (died.outcome.ended_by, died.outcome.value) == ("desktop_died", None)
    assert solved.head.screen == (960, 600) and len(solved.steps) == 6
    assert solved.steps[0].actions[0].point == (830, 115)
    assert solved.outcome is not None and solved.outcome.evaluator[0].found == "47"
    assert solved.damage == died.damage == ()


def test_they_are_written_as_an_agent_writes_its_own() -> None:
    for name, lines in EPISODES.items():
        parts = read_trajectory(FOLDER / trajectory_name("desktop-mini", name, 0))
        written = [encode_object(part) for part in (parts.head, *parts.steps, parts.outcome) if part is not None]
        assert [json.loads(json.dumps(line)) for line in written] == list(lines)


def test_every_screen_of_theirs_is_stored() -> None:
    for episode in hand_made(FOLDER):
        for step in episode.steps:
            path = screen_path(FOLDER, step.screenshot_sha256)
            assert path is not None and path.is_file()
    assert screen_path(FOLDER, "../../etc/passwd") is None


def test_an_episode_that_was_stopped_has_no_outcome(tmp_path: Path) -> None:
    write_episodes(tmp_path, {"menu-1": SOLVED[:3]})
    (episode,) = hand_made(tmp_path)
    assert episode.outcome is None and len(episode.steps) == 2


def test_abandoned_attempts_are_left_out(tmp_path: Path) -> None:
    write_episodes(tmp_path, {"menu-1": SOLVED})
    folder = tmp_path / "trajectories" / "desktop-mini" / "menu-1"
    (folder / "0.1.jsonl").write_bytes((folder / "0.jsonl").read_bytes())
    assert len(list(trajectories(tmp_path))) == 1


def test_episodes_come_by_task_sample_and_repeat_with_numbers_by_their_size(tmp_path: Path) -> None:
    write_episodes(tmp_path, {name: SOLVED for name in ("menu-10", "menu-2", "menu-1")})
    folder = tmp_path / "trajectories" / "desktop-mini" / "menu-2"
    for repeat in (2, 10):
        (folder / f"{repeat}.jsonl").write_bytes(
            encode_line({**SOLVED[0], "sample_id": "menu-2", "repeat": repeat}) + encode_line(SOLVED[1])
        )
    assert [(episode.head.sample_id, episode.head.repeat) for episode in hand_made(tmp_path)] == [
        ("menu-1", 0),
        ("menu-2", 0),
        ("menu-2", 2),
        ("menu-2", 10),
        ("menu-10", 0),
    ]


def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = write_episodes(tmp_path, {"menu-1": SOLVED}) / "trajectories" / "desktop-mini" / "menu-1" / "0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"doubleClick", b"tripleClick")
    path.write_bytes(b"".join(lines))
    (episode,) = hand_made(tmp_path)
    assert [step.n for step in episode.steps] == [1, 3, 4, 5, 6]
    assert episode.damage == ("line 3: its checksum does not match",)
    with pytest.raises(DataError):
        read_trajectory(path)


def test_a_line_out_of_place_is_named(tmp_path: Path) -> None:
    write_episodes(tmp_path, {"menu-1": [*SOLVED, SOLVED[1]]})
    (episode,) = hand_made(tmp_path)
    assert len(episode.steps) == 6 and episode.damage == ("line 9: it is out of place",)


def test_a_torn_last_line_belongs_to_an_episode_that_goes_on(tmp_path: Path) -> None:
    path = write_episodes(tmp_path, {"menu-1": SOLVED[:3]}) / "trajectories" / "desktop-mini" / "menu-1" / "0.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    (episode,) = hand_made(tmp_path)
    assert episode.outcome is None and len(episode.steps) == 1 and episode.damage == ()


def test_a_journal_without_a_head_is_refused_and_hides_no_other(tmp_path: Path) -> None:
    write_episodes(tmp_path, {"files-2": DIED[1:], "menu-1": SOLVED})
    error, episode = trajectories(tmp_path)
    assert isinstance(error, DataError) and isinstance(episode, StoredTrajectory)
    assert error.code == "run.trajectory" and str(error.where).endswith("files-2/0.jsonl line 1")


def test_a_journal_that_leads_out_of_the_run_is_refused(tmp_path: Path) -> None:
    other = write_episodes(tmp_path / "other", {"menu-1": SOLVED})
    run = tmp_path / "run"
    (run / "trajectories").mkdir(parents=True)
    (run / "trajectories" / "desktop-mini").symlink_to(other / "trajectories" / "desktop-mini")
    with pytest.raises(StorageError) as caught:
        list(trajectories(run))
    assert caught.value.code == "storage.outside"
