"""The page "Why this number". Checks E1 to E4; the pages in a browser are in `test_explain_in_browser.py`."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from kvl_eval.cli.main import cli
from kvl_eval.reports.explain_file import explain_html
from kvl_eval.reports.pages.explain import ExplainPage, explain_page, explained_alone, part_causes
from kvl_eval.reports.pages.site import menu_of, page_views
from tests.explanation.small_runs import answered, explained, gold, says
from tests.reports.explained_reports import HOSTILE, explained_report, sample_ids
from tests.reports.page_reports import PageText, context
from tests.tiny_task import tiny

FORTY = tiny(40)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return explained_report(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(runs: list[Path]) -> ExplainPage:
    found = explain_page(context(*runs))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def against_a_number(tmp_path_factory: pytest.TempPathFactory) -> ExplainPage:
    said = (
        gold(40)
        | {f"q/{n}": {"response": ""} for n in range(6)}
        | {"q/7": {"fail": "oom"}, "q/8": says(8, right=False)}
    )
    folder = answered(tmp_path_factory.mktemp("number"), said, FORTY)
    return explained_alone(explained(folder, FORTY, to="90", as_="lenient"))


def test_report_e1_score_parts_and_rest_add_up_to_the_reference(
    page: ExplainPage, against_a_number: ExplainPage
) -> None:
    for section in (*page.sections, *against_a_number.sections):
        *steps, reference = [step.value for step in section.steps]
        assert len(steps) >= 3
        assert math.fsum(value or 0.0 for value in steps) == pytest.approx(reference, abs=0.05)


def test_report_e1_the_page_writes_the_values_that_add_up(against_a_number: ExplainPage, tmp_path: Path) -> None:
    said = gold(40) | {f"q/{n}": {"response": ""} for n in range(6)}
    file = tmp_path / "why.html"
    file.write_bytes(explain_html(explained(answered(tmp_path, said, FORTY), FORTY, to="90")))
    written = PageText(file)
    *steps, reference = [float(value) for value in written.attributes("td", "data-v")]
    assert math.fsum(steps) == pytest.approx(reference, abs=0.05)
    assert "85.0, reference 90: where 5.0 points go" in written.text
    assert "http:" not in written.source and "provenance.html" not in written.source


def test_report_e2_the_link_of_a_part_lists_exactly_its_samples(page: ExplainPage) -> None:
    causes = part_causes(page)
    parts = 0
    for section in page.sections:
        links = [step.link for step in section.steps if step.link]
        for link, samples in zip(links, section.samples.values(), strict=True):
            filters = {name: value for name, [value] in parse_qs(link.partition("#")[2]).items()}
            listed = {
                sample
                for (task, sample), names in causes.items()
                if filters["part"] in names and task == filters["task"]
            }
            assert filters["run"] == str(section.run)
            assert listed == set(samples) != set()
            parts += 1
    assert parts >= 4


def test_report_e2_the_sample_browser_holds_the_parts(page: ExplainPage, runs: list[Path], tmp_path: Path) -> None:
    found = sample_ids(runs, tmp_path / "out")
    for section in page.sections:
        for part, samples in section.samples.items():
            assert found[section.tags[part]] == set(samples)


def test_report_e3_every_command_parses(page: ExplainPage, against_a_number: ExplainPage, tmp_path: Path) -> None:
    commands = [line.text for section in (*page.sections, *against_a_number.sections) for line in section.commands]
    assert len(commands) >= 3
    assert not any(" /" in text for text in commands), "a page names no folder of the machine that it was made on"
    for text in commands:
        program, verb, *words = shlex.split(text)
        assert program == "kvl-eval"
        for run in words[: 2 if verb == "compare" else 1]:  # ids, which are looked up in the results folder
            (tmp_path / run).mkdir(exist_ok=True)
            (tmp_path / run / "run.json").touch()
        assert cli.commands[verb].make_context(verb, [*words, "--results-dir", str(tmp_path)]) is not None


def test_report_e4_a_protocol_is_the_references_only_where_it_was_read(tmp_path: Path) -> None:
    found = explained(answered(tmp_path, gold(), None), to="70")
    assert found.reference is not None
    published = replace(found.reference, kind="published", system="A-VLM", source="a table", protocol="official-rule")
    for evidence, is_named in (("read", True), ("default", False), ("inferred", False)):
        [section] = explained_alone(replace(found, reference=published, as_evidence=evidence)).sections
        assert ("scored with official-rule" in section.steps[-1].how) is is_named


def test_what_holds_0_is_called_no_cause(against_a_number: ExplainPage) -> None:
    [section] = against_a_number.sections
    [rest] = [step for step in section.steps if step.css == "open"]
    assert "this may be nothing" in rest.how or "holds 0" not in rest.how
    assert [step.name for step in section.steps if step.link] == ["No answer extracted", "Failed"]
    assert all("cause" not in step.how for step in section.steps)


def test_the_menu_names_the_page_only_where_there_is_one(runs: list[Path]) -> None:
    labels = [[entry.label for entry in menu_of(page_views(context(*some)))] for some in (runs, runs[:1])]
    assert ["Why this number" in found for found in labels] == [True, False]


def test_hostile_ids_are_escaped(page: ExplainPage, runs: list[Path]) -> None:
    samples = [sample for section in page.sections for ids in section.samples.values() for sample in ids]
    assert HOSTILE in samples
