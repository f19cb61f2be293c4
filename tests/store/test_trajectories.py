"""Journals of episodes: read whole, in order, and what is missing or damaged is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.errors import DataError
from kvl_eval.store.trajectories import read_trajectory, screen_path, trajectories
from tests.hand_made_trajectories import DIED, FOLDER, SOLVED, write_episodes


def test_the_episodes_written_by_hand_are_read() -> None:
    died, solved = trajectories(FOLDER)
    assert (died.task, died.sample_id, died.repeat) == ("desktop-mini", "files-2", 0)
    assert died.outcome is not None and (died.outcome.ended_by, died.outcome.value) == ("desktop_died", None)
    assert solved.head.screen == (960, 600) and len(solved.steps) == 6
    assert solved.steps[0].actions[0].point == (830, 115)
    assert solved.outcome is not None and solved.outcome.evaluator[0].found == "47"
    assert solved.damage == died.damage == ()


def test_every_screen_of_theirs_is_stored() -> None:
    for episode in trajectories(FOLDER):
        for step in episode.steps:
            path = screen_path(FOLDER, step.screenshot_sha256)
            assert path is not None and path.is_file()
    assert screen_path(FOLDER, "../../etc/passwd") is None


def test_an_episode_that_was_stopped_has_no_outcome(tmp_path: Path) -> None:
    write_episodes(tmp_path, {"menu-1": SOLVED[:3]})
    (episode,) = trajectories(tmp_path)
    assert episode.outcome is None and len(episode.steps) == 2


def test_abandoned_attempts_are_left_out(tmp_path: Path) -> None:
    write_episodes(tmp_path, {"menu-1": SOLVED})
    folder = tmp_path / "trajectories" / "desktop-mini" / "menu-1"
    (folder / "0.1.jsonl").write_bytes((folder / "0.jsonl").read_bytes())
    assert len(list(trajectories(tmp_path))) == 1


def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = write_episodes(tmp_path, {"menu-1": SOLVED}) / "trajectories" / "desktop-mini" / "menu-1" / "0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"doubleClick", b"tripleClick")
    path.write_bytes(b"".join(lines))
    episode = read_trajectory(path)
    assert [step.n for step in episode.steps] == [1, 3, 4, 5, 6]
    assert episode.damage == ("line 3: its checksum does not match",)


def test_a_journal_without_a_head_is_refused(tmp_path: Path) -> None:
    path = write_episodes(tmp_path, {"files-2": DIED[1:]}) / "trajectories" / "desktop-mini" / "files-2" / "0.jsonl"
    with pytest.raises(DataError) as caught:
        read_trajectory(path)
    assert caught.value.code == "run.damaged"


def test_a_journal_that_leads_out_of_the_run_is_refused(tmp_path: Path) -> None:
    other = write_episodes(tmp_path / "other", {"menu-1": SOLVED})
    run = tmp_path / "run"
    (run / "trajectories").mkdir(parents=True)
    (run / "trajectories" / "desktop-mini").symlink_to(other / "trajectories" / "desktop-mini")
    with pytest.raises(DataError) as caught:
        list(trajectories(run))
    assert caught.value.code == "run.file"
