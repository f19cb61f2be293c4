from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kvl_eval import EvaluationResult, open_run
from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.evaluation import evaluate
from kvl_eval.options import RunOptions
from kvl_eval.tasks.base import Protocol
from kvl_eval.types import Completion, Extraction, Sample, Score
from tests.refusals import refused
from tests.tiny_task import gold_answer, tiny


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    found = evaluate("fake", [tiny()], limit=4, output_dir=tmp_path, backend=FakeBackend(answer=gold_answer))
    assert found.exit_code == 0
    [row] = found.results["rows"]
    assert (row["task"], row["n_ok"], row["partial"]) == ("tiny", 4, "limit 4 of 10")
    assert found.path.parent == tmp_path
    assert "tiny" in found.table()


def test_a_model_by_name(tmp_path: Path) -> None:
    found = evaluate(model="fake", tasks=[tiny()], model_args={"answers": "constant:A"}, output_dir=tmp_path)
    assert found.results["rows"][0]["score"] == 0.5


def test_unknown_options_are_answered_with_the_nearest() -> None:
    with refused(UsageError, "usage.option", "'limt'") as caught:
        evaluate(limt=3)  # type: ignore[call-arg]
    assert "did you mean 'limit'?" in str(caught.value) and "help(kvl_eval.evaluate)" in str(caught.value)
    with refused(UsageError, "usage.option") as caught:
        evaluate(zzz=3)  # type: ignore[call-arg]
    assert "did you mean" not in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"limit": "5"}, 5),
        ({"limit": 0.5}, 5),
        ({"limit": "50%"}, 5),
        ({"limit": "100%"}, 10),
        ({"sample_ids": "q/1,q/2"}, 2),
        ({"sample_ids": ["q/1", "q/2", "q/3"]}, 3),
        ({"shard": "1/2"}, None),
        ({"think_budget": "1k,4k"}, 20),
        ({"think_budget": [1024]}, 10),
        ({"think_budget": 1024}, 10),
        ({"think_budget": ["1k", 2048]}, 20),
        ({"repeats": "2"}, 20),
        ({"temperature": "0.5", "batch_size": "auto", "seed": None}, 10),
        ({"model_args": "answers=constant:A,delay=0"}, 10),
        ({"split": {"tiny": "test"}}, 10),
    ],
)
def test_options_are_texts_as_flags_or_typed_values(tmp_path: Path, options: dict[str, Any], sizes: int | None) -> None:
    result = evaluate("fake", tiny(), output_dir=tmp_path, **options)
    planned = sum(score.n_planned for score in result.scores.values())
    assert planned == sizes if sizes is not None else 0 < planned < 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "many"),
        ("limit", [1]),
        ("limit", "0%"),
        ("limit", True),
        ("think_budget", "1x"),
        ("think_budget", 1.5),
        ("think_budget", {"a": 1}),
        ("shard", 3),
        ("repeats", 1.5),
        ("repeats", "two"),
        ("temperature", "warm"),
        ("seed", None.__class__),
        ("split", 3),
        ("blind", "yes"),
        ("offline", 1),
        ("output_dir", 3),
        ("data_dir", 3),
        ("protocol", ["official"]),
        ("judge", True),
        ("model_args", 3),
        ("prompt_file", 3),
        ("fields", 3),
        ("num_workers", "some"),
        ("max_pixels", "1.5"),
        ("timeout", ()),
    ],
)
def test_a_value_of_a_wrong_type_names_the_option(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate("fake", tiny(), **{"output_dir": tmp_path, name: value})  # type: ignore[arg-type]
    assert isinstance(caught.value, ConfigError)
    assert name in caught.value.message.replace("-", "_")
    assert not list(tmp_path.iterdir())


def test_help_lists_every_option() -> None:
    text = inspect.getdoc(evaluate) or ""
    names = [name for name in RunOptions.__annotations__ if name not in ("prompt_text", "max_download")]
    assert [name for name in names if f"\n    {name}: " not in text] == []


def test_several_tasks_are_one_text_or_a_list(tmp_path: Path) -> None:
    options: dict[str, Any] = {"limit": 1, "output_dir": tmp_path}
    assert list(evaluate("fake", "mathvista,mmmu", **options).scores) == ["mathvista", "mmmu"]
    assert list(evaluate("fake", [tiny(), "mmmu"], **options).scores) == ["tiny", "mmmu"]


class Counted(FakeBackend):
    """Counts its answers."""

    answered = 0

    def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        def counted() -> Iterator[Request]:
            for request in requests:
                self.answered += 1
                yield request

        return super().generate(counted())


def test_the_same_call_returns_the_same_result_at_once(tmp_path: Path) -> None:
    backend = Counted()
    first, second = (evaluate(backend, tiny(), output_dir=tmp_path) for _ in range(2))
    assert (second.path, second.scores, backend.answered) == (first.path, first.scores, 10)
    third = evaluate(backend, tiny(), output_dir=tmp_path, resume=False)
    assert third.path != first.path and backend.answered == 20


def test_the_same_call_continues_an_unfinished_run(tmp_path: Path) -> None:
    backend = Counted()
    first = evaluate(backend, tiny(), output_dir=tmp_path)
    records = first.folder.samples_path("tiny")
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-3]))
    first.folder.save_status("interrupted")
    second = evaluate(backend, tiny(), output_dir=tmp_path)
    assert (second.path, second.scores, backend.answered) == (first.path, first.scores, 13)


def test_a_task_of_ones_own_is_scored_again(tmp_path: Path) -> None:
    """Its rule may have changed since, and nobody counts its versions."""

    def wrong(sample: Sample, answer: str, extraction: Extraction) -> Score:
        return Score.of(0.0, answer, "none")

    backend = FakeBackend(answer=gold_answer)
    first = evaluate(backend, tiny(), output_dir=tmp_path)
    second = evaluate(backend, tiny(protocols={"official": Protocol(score=wrong)}), output_dir=tmp_path)
    assert float(first.score()) > 0 == float(second.score()) and second.path == first.path


async def in_a_loop(tmp_path: Path) -> EvaluationResult:
    return evaluate("fake", tiny(), output_dir=tmp_path)


def test_it_works_inside_an_event_loop_and_in_a_thread(tmp_path: Path) -> None:
    assert asyncio.run(in_a_loop(tmp_path / "loop")).exit_code == 0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(evaluate, "fake", tiny(), output_dir=tmp_path / "thread").result().exit_code == 0


def interrupting(after: int, times: int = 1) -> FakeBackend:
    """Answers, and sends SIGINT to this process as a kernel's interrupt does."""
    seen = iter(range(1000))

    def answer(request: Request, repeat: int) -> str:
        if next(seen) == after:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
        return "A"

    return FakeBackend(Settings.of(model_args={"delay": 0.02}), answer=answer)


@pytest.mark.parametrize("in_loop", [False, True], ids=["script", "notebook"])
def test_an_interrupt_leaves_a_run_that_the_same_call_continues(tmp_path: Path, in_loop: bool) -> None:
    backend = interrupting(after=3)

    async def call() -> EvaluationResult:
        return evaluate(backend, tiny(), output_dir=tmp_path)

    with pytest.raises(KeyboardInterrupt, match="continues the run"):
        asyncio.run(call()) if in_loop else evaluate(backend, tiny(), output_dir=tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    stored = open_run("latest", results_dir=tmp_path)
    assert stored.status == "interrupted" and 3 <= stored.to_pandas().n[0] < 10
    assert not any(thread.name == "kvl-eval run" for thread in threading.enumerate())
    assert evaluate(backend, tiny(), output_dir=tmp_path).path == stored.path
    assert open_run(stored.path).status == "finished"


@pytest.mark.parametrize("in_loop", [False, True], ids=["script", "notebook"])
def test_a_second_interrupt_stops_at_once(tmp_path: Path, in_loop: bool) -> None:
    backend = interrupting(after=2, times=2)

    async def call() -> EvaluationResult:
        return evaluate(backend, tiny(), output_dir=tmp_path)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(call()) if in_loop else evaluate(backend, tiny(), output_dir=tmp_path)
    assert open_run("latest", results_dir=tmp_path).status == "interrupted"
    assert not any(thread.name == "kvl-eval run" for thread in threading.enumerate())
    assert evaluate(backend, tiny(), output_dir=tmp_path).exit_code == 0


def test_where_it_runs_is_an_option_like_the_others(tmp_path: Path) -> None:
    result = evaluate("fake", ["mathvista"], backend="local", limit=2, output_dir=str(tmp_path))
    assert result.folder.manifest.config["settings"]["backend"] == "local"
    with refused(UsageError, "usage.backend") as caught:
        evaluate("fake", ["mathvista"], backend="vlm", limit=2, output_dir=str(tmp_path))
    assert caught.value.suggestions == ("vllm",)
