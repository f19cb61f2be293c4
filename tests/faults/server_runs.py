"""Runs and answers of a few questions without pictures, by a stub server, with pauses that a test can wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.chat_client import ChatClient
from kvl_eval.backends.endpoint import Endpoint
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import RunOutcome, start_run
from kvl_eval.store.records import Record
from kvl_eval.types import Completion, Generation, Message
from tests.faults.invariants import Notices, check_invariants
from tests.faults.stub_server import MODEL, Answer, Asked, Stub
from tests.tiny_task import config_of, tiny

HUGE = 10**400

GOOD: Mapping[str, Any] = {
    "model": MODEL,
    "choices": [
        {
            "message": {
                "role": "assistant",
                "content": "B",
                "reasoning_content": None,
                "reasoning": None,
                "refusal": None,
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 0}},
}


def words(n: int = 10) -> Any:
    """Questions without pictures: `0?`, `1?`, ..."""
    content = [{"id": f"q/{number}", "number": 1, "question": f"{number}?", "answer": "B"} for number in range(n)]
    return tiny(content=content)


def quick(config: RunConfig) -> Endpoint:
    """The backend of a run, with pauses that a test can wait for."""
    backend = Endpoint(config.settings)
    backend.server = replace(backend.server, pause=0.01)
    backend.client = ChatClient(backend.server)
    return backend


def run(tmp_path: Path, url: str, n: int = 10, **options: Any) -> tuple[RunOutcome, Endpoint, Notices]:
    task = words(n)
    config = config_of(task, tmp_path, **{"base_url": url, "max_connections": 4, "num_workers": 0, **options})
    backend, progress = quick(config), Notices()
    plan = plan_run(config, backend, [task])
    return start_run(plan, backend, progress), backend, progress


def records(outcome: RunOutcome) -> dict[int, Record]:
    """{number of the question: its record}."""
    return {int(record.sample_id.removeprefix("q/")): record for record in outcome.folder.records("tiny")}


def failures(outcome: RunOutcome) -> dict[str, str | None]:
    return {record.sample_id: record.reason for record in outcome.folder.records("tiny") if record.status == "failed"}


def check(outcome: RunOutcome, n: int = 10) -> None:
    check_invariants(outcome.folder.path, words(n), exit_code=outcome.exit_code, resumable=False)


def body_of(value: object) -> Answer:
    """A success with that body."""
    return Answer(body=json.dumps(value).encode())


def by_question(replies: list[Answer]) -> Callable[[Asked], Answer]:
    """The reply to the question `N?` is the Nth."""
    return lambda asked: replies[int(asked.texts.partition("?")[0].split()[-1])]


def answer(stub: Stub, generation: Generation | None = None, **settings: Any) -> Completion:
    """One answer of the backend."""
    request = Request(key="tiny/q", messages=(Message.user("0?"),), generation=generation or Generation())

    async def collect() -> list[tuple[str, Completion]]:
        backend = Endpoint(Settings.of(**{"base_url": stub.url, "num_workers": 0, "max_retries": 0, **settings}))
        backend.client = ChatClient(replace(backend.server, pause=0.01))
        try:
            return [item async for item in backend.generate([request])]
        finally:
            await backend.close()

    [(_, completion)] = asyncio.run(collect())
    return completion


def budgeted() -> Generation:
    return Generation(max_new_tokens=None, think_budgets=(3,), budget_policy="cut", answer_tokens=4)
