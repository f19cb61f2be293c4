"""The comparison page: sentences, differences, causes, flips. Checks C1, C2, C4, C5."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from kvl_eval.audit.compare import compare
from kvl_eval.evaluation import evaluate
from kvl_eval.explanation.against_run import explain_against
from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.flip_causes import ReplyFacts, flip_cause
from kvl_eval.reports.pages.compare import ComparePage, PairSettings, compare_page, sample_causes
from kvl_eval.scoring.run_reader import RunReader
from tests.reports.page_reports import PageText, context, sweep_run, three_runs, write
from tests.reports.report_folders import VERDICTS, make_run

OTHER = ("wrong", "correct", "no_answer", "correct", "partial")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("compare")
    return [
        make_run(folder, n=25, model="old"),
        make_run(folder, name="run-b", model="new", n=25, failed=2, missing=1, verdicts=OTHER),
    ]


@pytest.fixture(scope="module")
def page(runs: list[Path]) -> ComparePage:
    settings = [PairSettings(a=0, b=1, settings=("seed 1 → 2",), circumstances=("device cpu → cuda",))]
    made = compare_page(context(*runs), settings)
    assert made is not None
    return made


def test_report_c1_models_are_not_called_first_and_second(tmp_path: Path, runs: list[Path]) -> None:
    source = PageText(write(tmp_path / "out", *runs) / "compare.html")
    assert not re.search(r"\b(first|second)\b", source.text)


def test_report_c2_causes_sum_to_the_difference_and_the_changed_verdicts(page: ComparePage) -> None:
    [section] = page.sections
    assert section.causes is not None
    points = sum(line.points for line in section.causes.lines)
    assert points == pytest.approx(float(section.rows[0].difference.replace("−", "-")), abs=0.05)
    assert sum(line.changed for line in section.causes.lines) == section.rows[0].flips


def test_report_c4_a_sweep_against_one_run_names_the_budget(tmp_path: Path) -> None:
    sweep = sweep_run(tmp_path, "run-b", "thinker", {1024: ("correct", "wrong"), 4096: ("correct", "correct", "wrong")})
    runs = [make_run(tmp_path, model="old", n=60), sweep]
    page = compare_page(context(*runs), [])
    assert page is not None
    assert [section.names for section in page.sections] == [("old", "thinker at 4k")]
    source = (write(tmp_path / "out", *runs) / "compare.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h[1-4][^>]*>(.*?)</h[1-4]>", source, re.DOTALL)
    assert any("thinker" in heading for heading in headings)
    assert all("thinker at 4k" in heading for heading in headings if "thinker" in heading)


def test_report_c5_no_p_value_is_printed_as_zero(tmp_path: Path, runs: list[Path]) -> None:
    source = PageText(write(tmp_path / "out", *runs) / "compare.html").source
    assert "after Holm" in source and not re.search(r"p = 0\.0000?\b", source)


def test_what_differs_is_listed_and_circumstances_are_folded(page: ComparePage) -> None:
    [section] = page.sections
    assert section.settings.settings == ("seed 1 → 2",)
    assert section.settings.circumstances == ("device cpu → cuda",)


def test_flips_show_both_replies(page: ComparePage) -> None:
    [section] = page.sections
    assert section.causes is not None
    flips = [flip for line in section.causes.lines for flip in line.flips]
    assert len(flips) == section.causes.flips > 0
    assert all(len(flip.sides) == 2 and flip.sides[0].text and flip.link for flip in flips)


def test_samples_outside_the_pairs_are_counted(page: ComparePage) -> None:
    [section] = page.sections
    assert section.left_out == ("MathVista: 3 only old has a score",)


def test_more_than_two_models_have_a_matrix(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=f"run-{n}", model=f"m{n}", n=20) for n in range(3)]
    page = compare_page(context(*runs), [])
    assert page is not None and len(page.matrix) == 3
    assert [cells[place] for place, (_, cells) in enumerate(page.matrix)] == [None, None, None]
    assert {section.key for section in page.sections} == {"model-1-model-3", "model-2-model-3", "model-1-model-2"}


def test_with_three_models_causes_and_flips_lead_to_the_samples_of_their_pair(tmp_path: Path) -> None:
    shifted = [VERDICTS, OTHER, (*VERDICTS[2:], *VERDICTS[:2])]
    runs = [make_run(tmp_path, name=f"run-{n}", model=f"m{n}", n=20, verdicts=v) for n, v in enumerate(shifted)]
    page = compare_page(context(*runs), [])
    assert page is not None and len(page.sections) == 3
    causes = sample_causes(page)

    def listed(link: str) -> int:
        [(_, task), (_, cause)] = parse_qsl(link.partition("#")[2])
        return sum(place == task and cause in names for (place, _), names in causes.items())

    for section in page.sections:
        assert section.causes is not None
        assert [listed(row.link) for row in section.rows] == [row.flips for row in section.rows]
        assert [listed(line.link) for line in section.causes.lines] == [line.changed for line in section.causes.lines]
        assert sum(line.changed for line in section.causes.lines) == section.rows[0].flips > 0


def test_one_model_has_no_such_page(tmp_path: Path) -> None:
    assert compare_page(context(make_run(tmp_path)), []) is None
    assert not (write(tmp_path / "out", three_runs(tmp_path)[0]) / "compare.html").exists()


def facts(**changes: object) -> ReplyFacts:
    fields = {"truncated": False, "unclosed": False, "no_answer": False, "text": "a"}
    return ReplyFacts(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("losing", "winning", "expected"),
    [
        (facts(truncated=True, no_answer=True), facts(text="b"), "truncated"),
        (facts(unclosed=True, no_answer=True), facts(text="b"), "unclosed"),
        (facts(no_answer=True), facts(text="b", truncated=True), "no_answer"),
        (facts(), facts(), "extraction"),
        (facts(reader_score=1.0), facts(text="b"), "extraction"),
        (facts(), facts(text="b"), "content"),
        (facts(), facts(text="b", truncated=True), "truncated"),
    ],
)
def test_a_flip_has_the_first_cause_that_fits(losing: ReplyFacts, winning: ReplyFacts, expected: str) -> None:
    assert flip_cause(losing, winning) == expected


@pytest.mark.shared
@pytest.mark.slow
def test_report_c6_causes_have_the_points_that_were_planted(shared: Path, tmp_path: Path) -> None:
    """Two runs of 900 questions that differ in truncation, in boxes that `official` does not read, and in content."""
    scenario = shared / "explain/paired"
    common: dict[str, Any] = {
        "tasks": ["mmmu"],
        "split": "validation",
        "data_dir": str(shared / "explain/data"),
        "max_new_tokens": 60,
        "protocol": "official",
        "output_dir": str(tmp_path),
    }
    runs = [
        evaluate(model="fake", model_args={"answers": str(scenario / f"answers_{side}.jsonl")}, **common).path
        for side in "ba"
    ]
    page = compare_page(context(*runs), [])
    assert page is not None
    table = page.sections[0].causes
    expected = json.loads((scenario / "scenario.json").read_text(encoding="utf-8"))["expected"]
    assert table is not None
    points = {line.cause: line.points for line in table.lines}
    assert sum(points.values()) == pytest.approx(expected["gap"], abs=0.05)
    planted = {"content" if name == "answers" else name: part["points"] for name, part in expected["parts"].items()}
    assert points == pytest.approx(planted, abs=0.005)
    b, a = map(RunReader.open, runs)
    [compared] = compare(b, a, protocols=("official", "official")).comparisons
    assert {cause.cause: 100 * cause.value for cause in compared.causes} == pytest.approx(points)
    explained = explain_against(b, a, ExplainOptions(task="mmmu", protocol="official")).parts
    parts = {"content" if part.name == "answers" else part.name: 100 * part.value for part in explained}
    assert parts == pytest.approx(points)
