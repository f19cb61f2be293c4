"""One row of results: which questions are settled, how sure a score is, and what repeats add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from kvl_eval.scorers.aggregate import by_question, summarise
from kvl_eval.scorers.statistics import interval, stderr, stderr_clustered
from kvl_eval.scoring.result_rows import decisive_rows, result_row
from kvl_eval.scoring.tally import Tally
from kvl_eval.store.result_records import ResultRow
from kvl_eval.types import Sample, Score, Scored, Summary
from tests.records import make_data, make_manifest
from tests.records import make_row as stored_row
from tests.tiny_task import tiny


def answer(name: str, value: float | None, repeat: int = 0, reason: str | None = None, **fields: Any) -> Scored:
    """An answer that was scored; `value` None is `not_scored`."""
    sample = Sample(id=name, question="?", row={}, **fields)
    score = Score.of(value, f"{value}") if value is not None else Score.not_scored(reason or "no_gold")
    return Scored(sample=sample, score=score, repeat=repeat)


def row_of(scored: Sequence[Scored], *, planned: int | None = None, groups: Any = (), **changes: Any) -> ResultRow:
    """The row of a tally in which each of `scored` was answered."""
    tally = Tally(None, None, planned=len(scored) if planned is None else planned, ok=len(scored), scored=list(scored))
    tally.groups = Counter(dict(groups))
    for name, value in changes.pop("tally", {}).items():
        setattr(tally, name, value)
    manifest = make_manifest("tiny", data={"tiny": make_data()})
    task = tiny(**{"aggregate": lambda scored, protocol: summarise(by_question(scored)), **changes})
    return result_row(tally, manifest, task, "official", "answer")


def test_a_question_of_several_samples_counts_once_it_is_lost_or_all_of_it_is_right() -> None:
    scored = [
        answer("right", 1.0, group="right"),
        answer("right-b", 1.0, group="right"),
        answer("lost", 0.0, group="lost"),
        answer("open", 1.0, group="open"),
        answer("unscored", None, group="unscored"),
    ]
    groups = {("right", 0): 2, ("lost", 0): 2, ("open", 0): 2, ("unscored", 0): 1}
    row = row_of(scored, planned=7, groups=groups)
    assert (row.n_questions, row.score) == (4, 0.5)
    assert (row.n_planned, row.n_scored, row.n_pending) == (7, 4, 2)
    assert row.bounds == (0.25, 0.75)


def test_repeats_of_a_question_of_several_samples_are_settled_each_for_itself() -> None:
    scored = [
        answer("a", 1.0, group="a"),
        answer("a-b", 1.0, group="a"),
        answer("a", 1.0, repeat=1, group="a"),
        answer("a-b", 0.0, repeat=1, group="a"),
    ]
    row = row_of(scored, groups={("a", 0): 2, ("a", 1): 2})
    assert (row.n_questions, row.score) == (2, 0.5)


def test_a_sample_of_no_group_is_settled_beside_groups() -> None:
    row = row_of([answer("alone", 1.0), answer("a", 1.0, group="a")], planned=3, groups={("a", 0): 2})
    assert (row.n_questions, row.score) == (2, 1.0)
    assert row_of([answer("alone", 1.0)]).n_questions is None


@pytest.mark.parametrize(
    ("reason", "complete"),
    [
        ("no_gold", True),
        ("scorer_error: ZeroDivisionError: boom", False),
        ("judge_missing", False),
        ("judge_error: refused", False),
    ],
)
def test_a_missing_score_that_can_be_mended_leaves_a_result_incomplete(reason: str, complete: bool) -> None:
    row = row_of([answer("1", 1.0), answer("2", None, reason=reason)])
    assert (row.complete, row.n_scored, row.bounds) == (complete, 1, (0.5, 1.0))


def test_a_pending_or_failed_answer_leaves_a_result_incomplete() -> None:
    assert row_of([answer("1", 1.0)]).complete
    row = row_of([answer("1", 1.0)], planned=3, tally={"failed": Counter(oom=1)})
    assert (row.complete, row.n_failed, row.n_pending) == (False, 1, 1)


def test_nothing_scored_is_no_score_and_every_bound() -> None:
    row = row_of([answer("1", None)], planned=2)
    assert (row.score, row.ci95, row.ci_method, row.bounds, row.stderr) == (None, None, None, (0.0, 1.0), None)


def test_shares_and_seconds_are_of_answers() -> None:
    counts = {"ok": 4, "truncated": 2, "unclosed": 1, "forced": 3, "seconds": 6.0}
    row = row_of([answer("1", 1.0)], planned=4, tally=counts)
    assert (row.truncated_share, row.unclosed_share, row.forced_share) == (0.5, 0.25, 0.75)
    assert (row.time.total, row.time.mean) == (6.0, 1.5)
    lone = row_of([answer("1", 1.0)], tally={"truncated": 1, "seconds": 6.0})
    assert (lone.truncated_share, lone.time.mean) == (1.0, 6.0)
    empty = row_of([], planned=4)
    assert (empty.truncated_share, empty.time.mean) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("counts", "spread"),
    [
        ([], (0.0, 0.0, 0.0)),
        ([7], (7.0, 7.0, 7.0)),
        ([3, 1], (2.0, 2.0, 3.0)),
        ([5, 1, 3], (3.0, 3.0, 5.0)),
        (list(range(1, 21)), (10.5, 10.5, 19.0)),
        (list(range(1, 22)), (11.0, 11.0, 20.0)),
    ],
)
def test_tokens_have_mean_median_and_nearest_rank(counts: list[int], spread: tuple[float, float, float]) -> None:
    tally = Tally(None, None)
    tally.tokens["answer"].extend(counts)
    row = row_of([], planned=1, tally={"tokens": tally.tokens})
    tokens = row.tokens["answer"]
    assert (tokens.mean, tokens.median, tokens.p95) == spread


def test_errors_and_intervals_know_which_answers_share_a_page() -> None:
    scored = [answer(f"{number}", value, cluster=f"{number // 2}") for number, value in enumerate((1, 1, 0, 0, 1, 0))]
    values, pages = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0], list("001122")
    row = row_of(scored)
    assert row.ci95 == interval(values, pages)[:2]
    assert (row.stderr, row.stderr_clustered) == (stderr(values), stderr_clustered(values, pages))
    alone = row_of([answer(f"{number}", value) for number, value in enumerate(values)])
    assert alone.stderr_clustered == stderr_clustered(values, list("abcdef"))


def test_a_category_has_an_interval_where_its_answers_make_its_score() -> None:
    scored = [answer(f"{n}", float(n % 2), categories={"kind": ("odd" if n % 2 else "even", "all")}) for n in range(6)]
    kinds = row_of(scored).categories["kind"]
    assert {name: (kind.n, kind.score) for name, kind in kinds.items()} == {
        "even": (3, 0.0),
        "odd": (3, 1.0),
        "all": (6, 0.5),
    }
    assert kinds["all"].ci95 == interval([0.0, 1.0] * 3)[:2]

    def other_counts(scored: Sequence[Scored], protocol: str) -> Summary:
        return summarise(scored[1:])

    assert row_of(scored, aggregate=other_counts).categories["kind"]["even"].ci95 is None


def repeated(*questions: str) -> list[Scored]:
    """Answers to `questions`, each a text of a mark for every repeat: right, wrong, or `?` for not scored."""
    values = {"r": 1.0, "w": 0.0, "?": None}
    return [
        answer(f"{number}", values[mark], repeat)
        for number, marks in enumerate(questions)
        for repeat, mark in enumerate(marks)
    ]


def test_repeats_give_pass_at_powers_of_two_and_a_majority() -> None:
    repeats = row_of(repeated("rww", "rrw", "www", "rrr")).repeats
    assert repeats is not None
    assert (repeats.n, repeats.questions, repeats.mean, repeats.majority) == (3, 4, 0.5, 0.5)
    assert repeats.pass_at == pytest.approx({"1": 0.5, "2": (2 / 3 + 1 + 0 + 1) / 4, "3": 0.75})


def test_of_repeats_only_questions_with_every_score_count() -> None:
    repeats = row_of(repeated("rr", "r?", "w")).repeats
    assert repeats is not None
    assert (repeats.n, repeats.questions, repeats.mean) == (2, 1, 1.0)
    assert row_of(repeated("r?", "?w")).repeats is None
    assert row_of(repeated("r", "w")).repeats is None


def test_of_several_judges_the_last_decides() -> None:
    rows = [stored_row(), stored_row(judge="a"), stored_row(judge="b"), stored_row(protocol="lenient")]
    assert [(row.protocol, row.judge) for row in decisive_rows(rows)] == [("official", "b"), ("lenient", None)]
    blind = [stored_row(), stored_row(blind=True), stored_row(thinking="raw"), stored_row(budget=8, policy="cut")]
    assert decisive_rows(blind) == blind
