"""`--budget-policy approximate`: a policy of its own, for servers, compared with nothing that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval.reports import numbers
from kvl_eval.reports.pages.context import context_of
from kvl_eval.reports.runs import open_runs
from tests.cli.conftest import Kvl
from tests.records import make_row

BUDGETS = ("run", "mathvista", "--limit", "2", "--think-budget", "16,32", "--model")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kvl: Kvl) -> list[Path]:
    """A run with each of two policies."""
    monkeypatch.chdir(tmp_path)
    for policy in ("cut", "approximate"):
        answer = kvl(*BUDGETS, "fake", "--budget-policy", policy)
        assert answer.code == 0, answer.err
        assert (" approx" in answer.out) == (policy == "approximate")
    return sorted(path.parent for path in Path("results").glob("*/run.json"))


def test_it_is_a_curve_of_its_own_and_named_as_one(runs: list[Path]) -> None:
    sweeps = context_of(open_runs(runs)).sweeps
    assert [{row.policy for row in sweep.rows} for sweep in sweeps] == [{"cut"}, {"approximate"}]
    assert {len(sweep.rows) for sweep in sweeps} == {2}
    assert [sweep.series.name for sweep in sweeps] == ["fake (cut)", "fake (approximate)"]


def test_it_is_not_compared_with_measured_budgets(runs: list[Path], kvl: Kvl) -> None:
    answer = kvl("compare", str(runs[0]), str(runs[1]))
    assert answer.code == 2
    assert "16 (cut)" in answer.err and "16 (approx)" in answer.err


def test_its_label_is_short() -> None:
    assert numbers.budget(make_row(budget=4096, policy="approximate")) == "4k approx"


def test_a_model_whose_tokens_can_be_counted_has_no_need_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kvl: Kvl
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = kvl(*BUDGETS, "kimi-vl-nano-thinking", "--budget-policy", "approximate")
    assert (answer.code, "error[config.budget_policy]" in answer.err) == (2, True), answer.err
    assert not (tmp_path / "results").exists()


def test_help_does_not_show_it(kvl: Kvl) -> None:
    assert "approximate" not in kvl("run", "--help-all").out
