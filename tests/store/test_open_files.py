"""Readers of a run folder let go of its files, also where whoever reads stops early or fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.run.judge_stage import open_questions
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import score_run
from kvl_eval.scoring.stored_answers import planned_answers
from kvl_eval.store.replies import JudgeView, Replies, ReplyKey, reply_lines
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Protocol, Task
from tests.records import make_reply
from tests.tiny_task import run_tiny, score, tiny

DESCRIPTORS = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the system does not list open files")
UMPIRE = JudgeView("umpire", "answer")


def open_files(folder: Path) -> list[str]:
    """The files below `folder` that this process holds open."""
    links = [os.readlink(path) for path in DESCRIPTORS.iterdir() if path.is_symlink()]
    return [link for link in links if link.startswith(str(folder))]


def judged() -> Task:
    """Its judge is asked about every answer."""
    official = Protocol(score=score, judged="official")
    return tiny(4, protocols={"official": official}, judge_prompt=lambda sample, answer: f"{sample.id}? {answer}")


@pytest.fixture
def run(tmp_path: Path) -> RunReader:
    """A finished run with one reply of a judge, to the first question."""
    run = RunReader.open(run_tiny(tmp_path, judged()).folder.path, [judged()])
    question, key = next(open_questions(run, judged(), UMPIRE, Replies(run.folder, "tiny"), again=True))
    replies = Replies(run.folder, "tiny")
    replies.append(make_reply(question.sample.id, prompt_sha256=key.prompt_sha256, verdict="A"))
    replies.close()
    return RunReader.open(run.folder.path, [judged()])


READERS: dict[str, Callable[[RunReader], Iterator[Any]]] = {
    "plan": lambda run: run.folder.plan(),
    "records": lambda run: run.folder.records("tiny"),
    "scores": lambda run: run.folder.scores("tiny", "official"),
    "replies": lambda run: reply_lines(run.folder, "tiny"),
    "answers": lambda run: planned_answers(run, judged(), "answer"),
    "questions": lambda run: open_questions(run, judged(), UMPIRE, Replies(run.folder, "tiny"), again=True),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_that_stops_early_closes_its_files(run: RunReader, name: str) -> None:
    items = READERS[name](run)
    next(items)
    assert open_files(run.folder.path), "the reader reads line by line"
    del items
    assert open_files(run.folder.path) == []


@pytest.mark.parametrize("name", READERS)
def test_a_fault_of_who_reads_leaves_no_file_open(run: RunReader, name: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        for _ in READERS[name](run):
            raise ZeroDivisionError
    assert caught.value.__traceback__ is not None, "whose frames are still there"
    assert open_files(run.folder.path) == []


def test_opening_scoring_and_indexing_leave_no_file_open(run: RunReader) -> None:
    folder = RunFolder.open(run.folder.path)
    folder.index("tiny")
    folder.results()
    scored = score_run(run, judged(), "official", "answer", UMPIRE)
    assert [line.judge is not None and line.judge.reply for line in scored.lines] == ["4", None, None, None]
    assert open_files(run.folder.path) == []


def test_replies_that_were_read_are_closed_with_their_reader(run: RunReader) -> None:
    replies = Replies(run.folder, "tiny")
    [stored] = reply_lines(run.folder, "tiny")
    assert replies.reply(ReplyKey(stored.judge, stored.prompt_sha256, stored.run)) == stored
    assert open_files(run.folder.path)
    replies.close()
    assert open_files(run.folder.path) == []
