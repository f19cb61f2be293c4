"""How often a run touches what it works on: passes over the data, samples made, pictures read, prompts, scores."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import kvl_eval
from kvl_eval import thinking
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.engine import trajectory
from kvl_eval.media import images
from kvl_eval.run.draft import ChosenSamples, PlanLines
from kvl_eval.run.plan import plan_run
from kvl_eval.run.progress import Lines, Progress
from kvl_eval.run.runner import start_run
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store import answers
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.base import Task
from kvl_eval.types import DrawnFrame, ImageRef, Message, PdfRef, Sample, Score, ScoreView, SubtitleRef, VideoRef
from tests.tiny_task import config_of, make_fake, run_tiny, tiny

PER_PASS = 2  # passes over the data that a run may take


@dataclass
class Counts:
    """What happened, by sample where it concerns one."""

    passes: int = 0
    made: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    scores: Counter[tuple[str, str]] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)


def counted(task: Task, counts: Counts) -> Task:
    """The task, each of its functions counting its calls."""

    def load(*arguments: Any) -> Iterator[Sample]:
        counts.passes += 1
        for sample in task.load(*arguments):
            counts.made[sample.id] += 1
            yield sample

    def prompt(sample: Sample) -> list[Message]:
        counts.prompts[sample.id] += 1
        return task.prompts[task.default_prompt](sample)

    def scorer(name: str) -> Callable[..., Score]:
        def score(sample: Sample, *rest: Any) -> Score:
            counts.scores[name, sample.id] += 1
            return task.protocols[name].score(sample, *rest)

        return score

    return replace(
        task,
        load=load,
        prompts={task.default_prompt: prompt},
        protocols={name: replace(rule, score=scorer(name)) for name, rule in task.protocols.items()},
    )


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Counts whose reads of pictures and splits of thoughts are counted already."""
    found = Counts()
    read, split = images.read_bytes, thinking.split_thought

    def read_bytes(ref: ImageRef) -> bytes:
        found.reads[ref.name] += 1
        return read(ref)

    def split_thought(raw: str) -> thinking.Thought:
        found.splits[raw] += 1
        return split(raw)

    monkeypatch.setattr(images, "read_bytes", read_bytes)
    for module in (trajectory, answers):  # where an answer ends, and where one is scored
        monkeypatch.setattr(module, "split_thought", split_thought)
    return found


def run(task: Task, folder: Path, progress: Progress | None = None, **options: Any) -> int:
    """How many samples were planned and answered."""
    config = config_of(task, folder, **options)
    backend = make_fake(config)
    plan = plan_run(config, backend, [task])
    start_run(plan, backend, progress)
    return plan.tasks[0].n


def test_nano_reads_each_picture_for_its_hash_and_for_its_request(tmp_path: Path, counts: Counts) -> None:
    task = counted(TASKS["mathvista"], counts)
    kvl_eval.evaluate("kimi-vl-nano", [task], limit=4, num_workers=0, output_dir=str(tmp_path))
    assert counts.passes <= PER_PASS
    assert counts.reads.total() == 8 and set(counts.reads.values()) == {2}
    assert len(counts.prompts) == 4 and set(counts.prompts.values()) == {2}
    protocols = {name for name, _ in counts.scores}
    assert len(counts.scores) == 4 * len(protocols) and set(counts.scores.values()) == {1}
    assert counts.splits.total() == 4


@pytest.mark.parametrize("limit", [4, 0.05, 0.3, None])
@pytest.mark.parametrize("split", ["mini", None])
def test_a_run_goes_twice_over_the_data_at_most(
    tmp_path: Path, counts: Counts, limit: float | None, split: str | None
) -> None:
    task = counted(TASKS["mathvista"] if split else tiny(40), counts)
    planned = run(task, tmp_path, limit=limit, split=split)
    assert len(counts.prompts) == planned
    assert counts.passes <= PER_PASS
    assert max(counts.made.values()) <= PER_PASS
    assert set(counts.prompts.values()) == {2} and set(counts.scores.values()) == {1}
    assert counts.splits.total() == planned


@pytest.mark.parametrize("view", ["answer", "raw"])
def test_scoring_again_makes_no_prompt_and_scores_each_answer_once(
    tmp_path: Path, counts: Counts, view: ScoreView
) -> None:
    path = run_tiny(tmp_path, model_args={"think": 3}).folder.path
    for counter in (counts.reads, counts.splits):
        counter.clear()
    rescore(RunReader.open(path, [counted(tiny(10), counts)]), view=view)
    assert (counts.passes, counts.prompts, counts.made, counts.reads) == (0, {}, {}, {})
    assert len(counts.scores) == 10 and set(counts.scores.values()) == {1}
    assert counts.splits.total() == (10 if view == "raw" else 0)  # a record holds thought and answer apart


def test_of_a_count_no_more_is_read_than_asked_for(tmp_path: Path, counts: Counts) -> None:
    run(counted(tiny(40), counts), tmp_path, limit=4)
    assert counts.made.total() == 2 * (4 + 1)  # one more each time, at which reading ends


def test_of_a_share_every_sample_is_made_once_to_count_it(tmp_path: Path, counts: Counts) -> None:
    run(counted(tiny(40), counts), tmp_path, limit=0.1)
    assert counts.made.total() == 40 + (4 + 1)


@pytest.mark.parametrize("options", [{"limit": 0.2}, {"limit": 4}, {"sample_ids": ("q/3", "q/31")}])
@pytest.mark.parametrize("shard", [None, (1, 2)])
def test_what_is_asked_is_what_is_planned(
    tmp_path: Path, counts: Counts, options: dict[str, Any], shard: tuple[int, int] | None
) -> None:
    planned = run(counted(tiny(40), counts), tmp_path, shard=shard, **options)
    assert sum(1 for times in counts.prompts.values() if times == 2) == planned
    assert counts.passes <= PER_PASS


def test_where_a_score_is_shown_an_answer_is_scored_twice(tmp_path: Path, counts: Counts) -> None:
    stream = StringIO()
    run(counted(tiny(10), counts), tmp_path, Lines(stream, seconds=0))
    assert set(counts.scores.values()) == {2} and set(counts.prompts.values()) == {2}
    assert counts.splits.total() == 10
    assert " so far " in stream.getvalue()


def test_samples_that_cannot_be_put_aside_are_read_again(tmp_path: Path, counts: Counts) -> None:
    own = tiny(40)

    def load(*arguments: Any) -> Iterator[Sample]:
        for sample in own.load(*arguments):
            object.__setattr__(sample, "categories", Local(sample.categories))
            yield sample

    class Local(dict[str, tuple[str, ...]]):
        """A class that no other module can name."""

    assert run(counted(replace(own, load=load), counts), tmp_path, limit=0.1) == 4
    assert counts.passes == 3 and len(counts.prompts) == 4


def test_a_plan_leaves_nothing_behind(tmp_path: Path) -> None:
    task = tiny(40)
    config = config_of(task, tmp_path / "not" / "there", limit=0.2)
    plan = plan_run(config, FakeBackend(config.settings), [task])
    assert b"".join(plan.lines.chunks()) == b"".join(plan.lines.chunks()) != b""
    assert plan.lines.size == len(b"".join(plan.lines.chunks()))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_can_be_made_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = tempfile.TemporaryFile

    def full(dir: Path) -> Any:
        if dir == tmp_path:
            raise PermissionError
        return make(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    lines = PlanLines(tmp_path)
    lines.add(b"one\n")
    assert lines.folder != tmp_path and b"".join(lines.chunks()) == b"one\n"


def test_samples_put_aside_come_back_whole_and_as_often_as_wanted(tmp_path: Path) -> None:
    chosen = ChosenSamples(tmp_path)
    spoken = SubtitleRef(video="v", rule="lmms-eval", path="s.srt", offset=0.1)
    media = (
        VideoRef(name="v", path="v.mp4", fps=0.1, subtitles=spoken),
        PdfRef(name="d", path="d.pdf", data=bytes(range(256))),
        ImageRef(name="f", drawn=DrawnFrame(seed=1, rep=2, index=3, width=4, height=5, banner=("b",))),
    )
    row = {"text": "\ud800 \n", "list": [1, 1.0, None, {"deep": [True]}], "nan": float("inf"), "tuple": ((), [()])}
    samples = [
        Sample(id=str(n), question="?", row={"n": n, **row}, media=(*media, ImageRef(name="p", data=b"x" * n)))
        for n in range(5)
    ]
    for sample in samples:
        chosen.add(sample)
    assert list(chosen) == samples == list(chosen)
    assert repr(list(chosen)) == repr(samples)  # 1 is no 1.0, a list no tuple
    assert chosen.is_complete
