"""Published figures: counts and cells named in references/README.md, and which of two is shown."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from kvl_eval import references
from kvl_eval.errors import UsageError
from kvl_eval.model.registry import stored_family
from kvl_eval.references.protocols import facts, protocol_of
from kvl_eval.tasks import TASKS
from kvl_eval.tasks.base import Reference
from tests.refusals import refused

MATHVISTA = Reference(benchmark="mathvista", split="testmini")


def test_all_rows_are_read() -> None:
    scores = references.load()
    assert len(scores) == 416
    assert Counter(score.table for score in scores)["instruct_main"] == 151
    assert {score.table for score in scores} == set(references.TABLES)
    assert all(0 < score.value <= 1 for score in scores)


def test_values_are_fractions_of_their_unit() -> None:
    ocrbench = references.kimi_value(Reference(benchmark="ocrbench"), "kimi-vl-a3b-instruct")
    assert ocrbench is not None
    assert (ocrbench.value, ocrbench.printed, ocrbench.unit) == (0.867, "867", "points")
    mathvista = references.kimi_value(MATHVISTA, "kimi-vl-a3b-instruct")
    assert mathvista is not None
    assert (mathvista.value, mathvista.printed) == (0.687, "68.7")


@pytest.mark.parametrize(
    ("family", "budget", "printed"),
    [
        ("instruct", None, "68.7"),
        ("thinking", None, "71.3"),
        ("thinking-2506", None, "80.1"),
        ("thinking", 4096, "70.9"),
        pytest.param("thinking", 3000, None, id="no-point-at-this-budget"),
        pytest.param("instruct", 1024, None, id="figure-13-is-not-of-this-model"),
        ("other", None, None),
    ],
)
def test_the_figure_a_run_is_compared_with(family: str, budget: int | None, printed: str | None) -> None:
    found = references.kimi_value(MATHVISTA, stored_family(family).published, budget)
    assert (found and found.printed) == printed


def test_no_reference_no_figure() -> None:
    assert references.kimi_value(None, "kimi-vl-a3b-instruct") is None


def test_one_figure_a_system_without_a_table() -> None:
    found = {score.system: score.printed for score in references.published(MATHVISTA)}
    assert found["gpt-4o-mini"] == "52.5", "Table 3, not Table 4's 56.7"
    assert len(references.published(MATHVISTA)) == len(found)
    assert "human" not in found, "independent figures are never shown by default"


def test_a_table_shows_what_it_prints() -> None:
    (found,) = references.published(MATHVISTA, system="gpt-4o-mini", table="thinking_table4")
    assert found.printed == "56.7"


def test_settings_are_rows_of_their_own() -> None:
    without = references.published(Reference(benchmark="videomme", setting="w/o subs"), system="kimi-vl-a3b-instruct")
    with_subs = references.published(Reference(benchmark="videomme", setting="w/ subs"), system="kimi-vl-a3b-instruct")
    assert [score.printed for score in (*without, *with_subs)] == ["67.8", "72.6"]
    assert without[0].row_label == "Video-MME (w/o subs)"


def test_unknown_table_is_refused() -> None:
    with refused(UsageError, "usage.table", "table9"):
        references.published(MATHVISTA, table="table9")


def test_disagreements_name_the_other_value_and_its_source() -> None:
    (shown,) = references.published(Reference(benchmark="mmmu", split="val"), system="qwen2.5-vl-72b")
    assert shown.printed == "70.2"
    text = references.disagreement(shown)
    assert text is not None
    assert text.startswith("elsewhere 74.8 (report, Table 4")
    assert "likely copying error" in text


def test_the_same_number_in_another_unit_is_no_disagreement() -> None:
    (shown,) = references.published(Reference(benchmark="ocrbench"), system="deepseek-vl2")
    assert references.disagreement(shown) is None
    (kimi,) = references.published(Reference(benchmark="ocrbench"), system="kimi-vl-a3b-instruct")
    text = references.disagreement(kimi)
    assert text is not None
    assert text.startswith("elsewhere 864 (Thinking-2506 model card")


def test_agreeing_sources_have_no_note() -> None:
    (shown,) = references.published(Reference(benchmark="egoschema", split="full"), system="kimi-vl-a3b-instruct")
    assert references.disagreement(shown) is None


def test_loading_needs_no_numpy() -> None:
    code = (
        "import sys; from kvl_eval import references; references.load();"
        "assert not {'numpy', 'pandas', 'torch', 'kvl_eval.tasks'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_kimi_vl_no_protocol_is_known() -> None:
    """The report and the cards name none: a result is compared under the default protocol, by its label."""
    ours = [score for score in references.load() if score.system.startswith("kimi-vl")]
    assert ours and {protocol_of(score) for score in ours} == {None}


def test_on_the_authors_own_list_a_result_is_official() -> None:
    listed = [score for score in references.load() if protocol_of(score) == "official"]
    assert {(score.benchmark, score.system, score.printed) for score in listed} >= {
        ("mathvista", "gpt-4o", "63.8"),
        ("mathvision", "gpt-4o", "30.39"),
        ("mmlongbench_doc", "gpt-4o", "44.9"),
    }
    assert all(score.table == "independent" for score in listed)


def test_facts_are_of_known_systems_and_say_how_they_are_known() -> None:
    scores = references.load()
    for fact in facts():
        assert fact.system in {score.system for score in scores}
        assert fact.benchmark == "*" or fact.benchmark in {score.benchmark for score in scores}
        assert fact.evidence in ("read", "inferred", "unknown") and fact.source
        assert bool(fact.value) is (fact.evidence != "unknown")
    assert {fact.value for fact in facts() if fact.field == "protocol"} <= {"", *TASKS["mmmu"].protocols}
