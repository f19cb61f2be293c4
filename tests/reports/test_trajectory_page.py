"""The page of episodes: what stands there without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval.errors import DataError
from kvl_eval.reports.action_marks import ActionDrawer, said
from kvl_eval.reports.image_copies import ImageCache
from kvl_eval.reports.trajectory_page import EpisodeOfRun, write_trajectory_page
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.trajectories import StoredTrajectory, trajectories
from kvl_eval.store.trajectory_records import StoredAction, StoredCheck
from tests.hand_made_trajectories import DIED, SOLVED, hand_made, write_episodes


def written(folder: Path, *chosen: StoredTrajectory | DataError) -> str:
    """The page of these episodes, without screens."""
    of_runs = [EpisodeOfRun(folder / "none", "my-model", one) for one in chosen]
    page = write_trajectory_page(of_runs, OutputFolder(folder), ImageCache(folder / "cache"))
    assert page is not None
    return page.read_text(encoding="utf-8")


def test_without_episodes_there_is_no_page(tmp_path: Path) -> None:
    assert write_trajectory_page([], OutputFolder(tmp_path), ImageCache(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_report_r4_an_episode_without_a_result_shows_its_state_and_no_value(tmp_path: Path) -> None:
    died, solved = hand_made()
    head = re.search(r'<p class="outcome.*?</p>', written(tmp_path, died), re.DOTALL)
    assert head and "desktop died" in head[0] and "<b>" not in head[0]
    stopped = re.search(r'<p class="outcome.*?</p>', written(tmp_path, replace(solved, outcome=None)), re.DOTALL)
    assert stopped and "not finished" in stopped[0] and "<b>" not in stopped[0]
    ended = re.search(r'<p class="outcome.*?</p>', written(tmp_path, solved), re.DOTALL)
    assert ended and "<b>1.0</b>" in ended[0] and "exact_match: expected 47, found the same" in ended[0]


def test_an_evaluator_that_failed_is_shown_as_such_and_not_as_0(tmp_path: Path) -> None:
    _, solved = hand_made()
    assert solved.outcome is not None
    failed = StoredCheck(
        function="exact_match", expected="47", found="", error="FileNotFoundError: notes.txt", seconds=2.0
    )
    page = written(tmp_path, replace(solved, outcome=replace(solved.outcome, evaluator=(failed,), value=None)))
    row = page[page.index("<tbody>") : page.index("</tbody>")]
    assert "error: FileNotFoundError: notes.txt" in row and ">·<" in row and ">0" not in row


def test_foreign_texts_are_text_and_nothing_has_a_style(tmp_path: Path) -> None:
    _, solved = hand_made()
    hostile = '<script>alert(1)</script> \x1b[31m \u202e"onload='
    action = StoredAction(kind="write", text=hostile, point=(5, 5))
    step = replace(solved.steps[0], thinking=hostile, source=hostile, actions=(action,))
    page = written(tmp_path, replace(solved, head=replace(solved.head, instruction=hostile), steps=(step,)))
    assert "<script>alert" not in page and "\x1b" not in page and "\u202e" not in page
    assert re.search(r"\sstyle=|\son[a-z]+=\"", page) is None


def test_report_r3_a_hundred_steps_stay_below_3_000_nodes(tmp_path: Path) -> None:
    _, solved = hand_made()
    steps = tuple(replace(solved.steps[place % 6], n=place + 1) for place in range(100))
    page = written(tmp_path, replace(solved, steps=steps))
    assert page.count('<article class="step"') == 100
    assert len(re.findall(r"<[a-z]", page)) < 3000


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    _, solved = hand_made()
    long = replace(solved, steps=solved.steps * 200)
    page = written(tmp_path, long, long)
    assert "not on this page: desktop-mini menu-1" in page


def test_a_reply_that_was_asked_for_again_is_a_step_of_its_own_but_counts_once(tmp_path: Path) -> None:
    _, solved = hand_made()
    unread = replace(solved.steps[0], parse="unparsable", note="no code block", actions=())
    page = written(tmp_path, replace(solved, steps=(unread, replace(solved.steps[0], attempt=2), *solved.steps[1:])))
    assert "6 steps" in page and "unreadable: nothing was done: no code block" in page
    anchors = re.findall(r'id="([^"]*)"', page)
    assert "t1-step-1-2" in anchors and len(anchors) == len(set(anchors))


def test_damage_is_shown_beside_what_can_be_read(tmp_path: Path) -> None:
    run = write_episodes(tmp_path / "run", {"files-2": DIED[1:], "menu-1": [*SOLVED, SOLVED[1]]})
    page = written(tmp_path, *trajectories(run))
    assert "This episode cannot be shown: trajectories/desktop-mini/files-2/0.jsonl line 1: " in page
    assert "line 9: it is out of place" in page and page.count('<article class="step"') == 6
    alone = written(tmp_path, *list(trajectories(run))[:1])
    assert "This episode cannot be shown" in alone and "<article" not in alone


@pytest.mark.parametrize(
    ("action", "words", "label"),
    [
        ({"kind": "click", "point": (82, 11)}, "click at 82, 11", ""),
        ({"kind": "click", "point": (1, 2), "count": 2}, "double click at 1, 2", ""),
        ({"kind": "click", "point": (1, 2), "button": "right"}, "right click at 1, 2", ">right<"),
        ({"kind": "drag", "start": (1, 2), "point": (3, 4)}, "drag from 1, 2 to 3, 4", ""),
        ({"kind": "scroll", "point": (1, 2), "amount": -5}, "scroll down 5 at 1, 2", ">-5<"),
        ({"kind": "scroll", "point": (1, 2), "amount": 3, "sideways": True}, "scroll right 3 at 1, 2", ">3<"),
        ({"kind": "button_down", "point": (1, 2), "button": "left"}, "hold left button at 1, 2", ""),
        ({"kind": "write", "text": "a\nb"}, 'type "a b"', ">a b<"),
        ({"kind": "hotkey", "keys": ("ctrl", "s")}, "press ctrl+s", ">ctrl+s<"),
        ({"kind": "key_down", "keys": ("shift",)}, "hold shift", ">shift<"),
        ({"kind": "sleep", "seconds": 1.5}, "pause 1.5 s", ""),
        ({"kind": "wait"}, "wait", ">wait<"),
        ({"kind": "fail"}, "fail", ">fail<"),
    ],
)
def test_actions_in_words_and_drawn(action: dict[str, object], words: str, label: str) -> None:
    made = StoredAction(**action)  # type: ignore[arg-type]
    assert said(made) == words
    _, large = ActionDrawer(screen=(960, 600)).drawn([made])
    assert label in large
    assert bool(large) == (made.kind != "sleep")


def test_what_is_typed_in_one_step_shares_a_box() -> None:
    typed = [StoredAction(kind="write", text="abc"), StoredAction(kind="hotkey", keys=("ctrl", "s"))]
    _, large = ActionDrawer(screen=(960, 600)).drawn(typed)
    assert large.count("<rect") == 1 and ">abc, ctrl+s<" in large


def test_typed_text_stands_at_the_last_point() -> None:
    drawer = ActionDrawer(screen=(960, 600))
    drawer.drawn([StoredAction(kind="click", point=(300, 200))])
    _, large = drawer.drawn([StoredAction(kind="write", text="abc")])
    box = re.search(r'class="mark-box" x="([\d.]+)" y="([\d.]+)"', large)
    assert box and 300 < float(box[1]) < 340 and 200 < float(box[2]) < 260
