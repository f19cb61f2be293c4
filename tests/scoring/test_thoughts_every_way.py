"""A thought in any family's markers costs and gives the same, by whichever way the reply comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import RunOutcome, start_run
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.scoring.predictions import score_predictions
from kvl_eval.scoring.rescore import rescore
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.answers import answer_of
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Task
from kvl_eval.thinking import FAMILIES
from tests.faults.stub_server import Asked, chat, serving
from tests.scorers.answers.test_thoughts import PAIRS
from tests.tiny_task import config_of, sample_of, tiny

THOUGHT = "The answer is A."  # wrong
Outcome = tuple[str, str | None]  # verdict, reason


def replies() -> dict[str, tuple[str, Outcome]]:
    """{name: (reply, what becomes of it)}: gold is B."""
    found: dict[str, tuple[str, Outcome]] = {"none": ("B", ("correct", None)), "wrong": ("A", ("wrong", None))}
    for family, (opening, closing) in PAIRS.items():
        found[f"{family} closed"] = (f"{opening}{THOUGHT}{closing}\nB", ("correct", None))
        found[f"{family} wrong"] = (f"{opening}The answer is B.{closing}A", ("wrong", None))
        if family != "harmony_bare":
            found[f"{family} swallowed"] = (f"{THOUGHT}{closing}B", ("correct", None))
        found[f"{family} unclosed"] = (f"{opening}The answer is B.", ("no_answer", "thought_unclosed"))
    return found


REPLIES = replies()


def task() -> Task:
    content = [{"id": name, "number": 1, "question": f"Question <{name}>?", "answer": "B"} for name in REPLIES]
    return tiny(content=content)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """A run of the fake backend, which says the replies."""
    folder = tmp_path_factory.mktemp("fake")
    script = folder / "answers.jsonl"
    script.write_text(
        "".join(json.dumps({"id": name, "response": reply}) + "\n" for name, (reply, _) in REPLIES.items())
    )
    config = config_of(task(), folder, model_args={"answers": str(script)})
    return started(config, FakeBackend(config.settings))


def started(config: RunConfig, backend: Any) -> RunOutcome:
    return start_run(plan_run(config, backend, [task()]), backend)


def outcomes(folder: RunFolder) -> Mapping[str, Outcome]:
    return {line.sample_id: (line.verdict, line.reason) for line in folder.scores("tiny", "official")}


EXPECTED = {name: outcome for name, (_, outcome) in REPLIES.items()}


def test_by_a_run(run: RunOutcome) -> None:
    assert outcomes(run.folder) == EXPECTED
    counted = {family.name: 3 if family.name == "harmony_bare" else 4 for family in FAMILIES}
    assert run.results.rows[0].thoughts == counted


def test_by_a_stored_run(run: RunOutcome) -> None:
    for stored in (run.folder.path / "scores").iterdir():
        stored.unlink()
    results = rescore(RunReader.open(run.folder.path, [task()]))
    assert outcomes(run.folder) == EXPECTED
    assert results.rows[0].thoughts == run.results.rows[0].thoughts


def test_by_a_run_that_an_earlier_version_stored(run: RunOutcome) -> None:
    """It knew Kimi's markers only, and took other thoughts for answers."""
    for record in run.folder.records("tiny"):
        if record.extra.thought not in ("", "kimi"):
            record = replace(record, thinking="", answer=record.raw_output, think_closed=None)
        answer = answer_of(replace(record, extra=replace(record.extra, thought=None)), "answer")
        (score,) = score_outputs(tiny(), "official", [Item(sample_of(row(record.sample_id)), answer)])
        assert (score.verdict, score.reason) == EXPECTED[record.sample_id], record.sample_id
        assert answer.is_split_again == (record.think_closed is None and answer.family != "")


def row(name: str) -> dict[str, Any]:
    return {"id": name, "number": 1, "question": "?", "answer": "B"}


def test_by_a_predictions_file() -> None:
    lines = [("here", {"id": name, "row": row(name), "response": reply}) for name, (reply, _) in REPLIES.items()]
    scored = score_predictions(tiny(), lines, protocol="official").first
    assert {one["id"]: (one["verdict"], one["reason"]) for one in scored.rows} == EXPECTED


def test_by_a_server(tmp_path: Path) -> None:
    def script(asked: Asked) -> Any:
        return chat(REPLIES[asked.texts.partition("<")[2].partition(">?")[0]][0])

    with serving(script) as stub:
        config = config_of(task(), tmp_path, base_url=stub.url, max_connections=4, num_workers=0)
        outcome = started(config, Endpoint(config.settings))
    assert outcomes(outcome.folder) == EXPECTED
