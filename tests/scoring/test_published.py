"""The published figure beside a result: whose it is, and each thing that forbids a distance to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvl_eval.reports.numbers import reference_mark
from kvl_eval.scorers.statistics import newcombe
from kvl_eval.scoring.published import published_row
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.result_records import PublishedRow, ResultRow
from kvl_eval.tasks import get_task
from tests.records import make_data, make_manifest, make_row

TASK = get_task("mathvista")
FIGURE = 0.687


def manifest_of(family: str = "instruct", data: dict[str, Any] | None = None, **changes: Any) -> Manifest:
    facts = changes.pop("facts", {})
    about = make_data(**{"split": "testmini", "total": 1000, **(data or {})})
    manifest = make_manifest("mathvista", data={"mathvista": about}, **changes)
    return replace(manifest, model=replace(manifest.model, family=family, others=facts))


def row_of(**changes: Any) -> ResultRow:
    return make_row(
        "mathvista", **{"split": "testmini", "complete": True, "score": 0.7, "ci95": (0.68, 0.72), **changes}
    )


def beside(row: ResultRow | None = None, manifest: Manifest | None = None) -> PublishedRow:
    found = published_row(TASK, row or row_of(), manifest or manifest_of())
    assert found is not None
    return found


def test_a_whole_run_of_the_published_split_has_a_distance() -> None:
    found = beside()
    assert (found.value, found.note, found.inside_ci) == (FIGURE, None, True)
    assert found.delta == pytest.approx(0.7 - FIGURE)


@pytest.mark.parametrize(
    ("ci95", "inside"),
    [((FIGURE, 0.8), True), ((0.6, FIGURE), True), ((0.688, 0.8), False), ((0.6, 0.686), False), (None, None)],
)
def test_a_figure_at_the_end_of_an_interval_is_inside(ci95: tuple[float, float] | None, inside: bool | None) -> None:
    assert beside(row_of(ci95=ci95)).inside_ci is inside


# -- the interval of the difference (explain.md 3.1) ------------------------------------------------------------


def share(right: int, n: int = 1000, **changes: Any) -> ResultRow:
    verdicts = {"correct": right, "wrong": n - right}
    error = (right / n * (1 - right / n) / n) ** 0.5
    fields = {"n_scored": n, "score": right / n, "verdicts": verdicts, "stderr": error, "stderr_clustered": error}
    return row_of(**{**fields, **changes})


def half(row: ResultRow) -> float:
    low, high = beside(row).gap_ci95 or (0.0, 0.0)
    return (high - low) / 2


def test_a_share_has_newcombes_interval_with_what_rounding_took() -> None:
    assert beside(share(700)).gap_ci95 == newcombe(FIGURE, 1000, 0.7, 1000, 0.001)


def test_clusters_widen_it_by_their_design_effect() -> None:
    row = share(700)
    assert row.stderr is not None
    clustered = replace(row, stderr_clustered=2 * row.stderr)
    assert beside(clustered).gap_ci95 == newcombe(FIGURE, 250, 0.7, 250, 0.001)
    narrower = replace(row, stderr_clustered=row.stderr / 2)
    assert beside(narrower).gap_ci95 == beside(row).gap_ci95


def test_a_score_that_is_no_share_has_a_normal_interval() -> None:
    row = share(700, verdicts={"correct": 600, "partial": 200, "wrong": 200}, stderr_clustered=0.014)
    low, high = beside(row).gap_ci95 or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(FIGURE - 0.7)
    assert half(row) == pytest.approx(1.96 * 2**0.5 * 0.014, rel=1e-3)


def test_without_an_error_nothing_is_known() -> None:
    row = share(700, verdicts={"partial": 1000}, stderr_clustered=None)
    assert beside(row).gap_ci95 == (FIGURE - 1, FIGURE)


def test_nothing_is_compared_with_an_interval_where_there_is_no_distance() -> None:
    assert beside(share(700, split="mini")).gap_ci95 is None


@pytest.mark.parametrize(("right", "mark"), [(679, "≈"), (640, "▼"), (740, "▲"), (650, "≈"), (720, "≈")])
def test_a_published_result_outside_our_interval_may_still_be_no_difference(right: int, mark: str) -> None:
    assert reference_mark(beside(share(right))) == mark


@pytest.mark.parametrize(
    ("row", "manifest", "note"),
    [
        ({}, {"demo": True}, "demo model, not Kimi-VL-A3B"),
        ({}, {"facts": {"scripted": True}}, "scripted answers"),
        ({"blind": True}, {}, "blind run: images were replaced with gray"),
        ({"split": "mini"}, {}, "the mini split"),
        ({"split": "test"}, {}, "split test; the published result is on testmini"),
        ({"partial": "limit 5"}, {}, "partial: limit 5"),
        ({}, {"data": {"total": 999}}, "the data are not the published testmini (999 rows, expected 1,000)"),
        ({"complete": False}, {}, "incomplete"),
        ({"thinking": "raw"}, {}, "other protocol"),
        ({"protocol": "vlmevalkit"}, {}, "other protocol"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_compared_has_a_note_and_no_distance(
    row: dict[str, Any], manifest: dict[str, Any], note: str
) -> None:
    found = beside(row_of(**row), manifest_of(**manifest))
    assert (found.note, found.delta, found.inside_ci) == (note, None, None)


def test_data_of_unknown_size_are_compared() -> None:
    assert beside(manifest=manifest_of(data={"total": None})).note is None
    assert beside(manifest=replace(manifest_of(), data={})).note is None


def test_a_result_without_a_score_has_no_distance() -> None:
    found = beside(row_of(score=None, ci95=None))
    assert (found.value, found.delta, found.inside_ci) == (FIGURE, None, None)


@pytest.mark.parametrize("manifest", [{"facts": {"family_rule": "origin"}}, {"family": "nano-of-nobody"}])
def test_a_model_that_may_be_another_has_no_figure(manifest: dict[str, Any]) -> None:
    assert published_row(TASK, row_of(), manifest_of(**manifest)) is None


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_packed_weights_are_another_model_than_the_published_one(kind: str) -> None:
    facts = {"family_rule": "registered", "weights": kind}
    assert published_row(TASK, row_of(), manifest_of(facts=facts)) is None
    assert published_row(TASK, row_of(), manifest_of(facts={"family_rule": "registered"})) is not None


def test_a_figure_that_is_a_mean_of_tasks_has_no_distance_to_one_of_them() -> None:
    task = get_task("mmmu-pro")
    manifest = make_manifest("mmmu-pro", data={"mmmu-pro": make_data(split="test", total=None)})
    manifest = replace(manifest, model=replace(manifest.model, family="thinking-2506"))
    row = make_row("mmmu-pro", split=task.published_split, protocol=task.default_protocol)
    found = published_row(task, row, manifest)
    assert found is not None and found.delta is None
    assert (found.note or "").endswith("mmmu-pro and mmmu-pro-vision")


def test_a_figure_of_a_known_protocol_is_compared_under_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvl_eval.scoring.published.protocol_of", lambda figure: "vlmevalkit")
    found = beside()
    assert (found.delta, found.note) == (None, "other protocol; the published result uses vlmevalkit")
    assert beside(row_of(protocol="vlmevalkit")).delta == pytest.approx(0.7 - FIGURE)
    assert beside(row_of(protocol="vlmevalkit", thinking="raw")).delta is None


def test_D34_data_that_are_not_the_published_split_have_a_note_and_no_distance() -> None:
    note = "the data are not the published testmini (question_type=multi_choice: 0, expected 540)"
    found = beside(manifest=manifest_of(data={"other_data": note}))
    assert (found.note, found.delta, found.inside_ci) == (note, None, None)
