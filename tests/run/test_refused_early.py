"""A run that is refused before it begins ends what its backend had started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import DataError, EndpointError
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from kvl_eval.run.warm_plan import plan_warm
from kvl_eval.types import Generation
from tests.tiny_task import config_of, tiny


class Refusing(FakeBackend):
    """Says no when it is probed, and remembers whether it was closed."""

    is_closed = False

    async def probe(self, generations: Sequence[Generation]) -> None:
        raise EndpointError("endpoint.budget", "this server does not support thinking budgets")

    async def close(self) -> None:
        self.is_closed = True


def test_a_probe_that_fails_closes_the_backend_and_leaves_no_folder(tmp_path: Path) -> None:
    backend, config = Refusing(), config_of(tiny(), tmp_path)
    plan = plan_run(config, backend, [tiny()])
    with pytest.raises(EndpointError):
        start_run(plan, backend)
    assert backend.is_closed
    assert not list(tmp_path.iterdir())


def test_a_plan_that_fails_closes_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise DataError("data.missing", "no data")

    monkeypatch.setattr("kvl_eval.run.warm_plan.plan_run", fails)
    backend = Refusing()
    with pytest.raises(DataError):
        plan_warm(config_of(tiny(), tmp_path), backend)
    assert backend.is_closed
