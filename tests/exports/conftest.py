"""A run with everything an export has to cope with: repeats, budgets, protocols, a failure, a missing answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.evaluation import evaluate
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.sources import Source
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task, open_split
from tests.faults.stub_server import chat, in_turn, serving

HOSTILE = "=1+1 \x00 </script> \u202e | \U0001f600"


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six MathVista questions, two answers each at two budgets, under every protocol; one request fails."""
    done = evaluate(
        model="fake",
        tasks=["mathvista"],
        limit=6,
        repeats=2,
        think_budget=(16, 1024),
        model_args={"think": 60, "fail": "oom:1"},
        output_dir=str(tmp_path_factory.mktemp("sweep")),
    )
    rescore(RunReader.open(done.path), "all")
    return done.path


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks whose every answer is hostile; the last three answers of one were never given."""
    done = evaluate(
        model="fake",
        tasks=["infovqa", "screenspot"],
        limit=8,
        backend=FakeBackend(answer=lambda request, repeat: HOSTILE),
        output_dir=str(tmp_path_factory.mktemp("hostile")),
    )
    records = RunFolder.open(done.path).samples_path("infovqa")
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-3]))
    rescore(RunReader.open(done.path))
    return done.path


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MathVista's answers read by the rule and by a judge, and a task that no judge reads."""
    first = next(iter(open_split(get_task("mathvista"), Source(), "mini")))
    with serving(in_turn(chat(first.answers[0]))) as stub:
        done = evaluate(
            model="fake",
            tasks=["mathvista", "screenspot"],
            limit=8,
            backend=FakeBackend(answer=lambda request, repeat: "I would rather not say"),
            judge="endpoint",
            judge_base_url=stub.url,
            judge_model="umpire",
            output_dir=str(tmp_path_factory.mktemp("judged")),
        )
    return done.path
