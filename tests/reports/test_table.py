"""The terminal tables: layout, marks, counts, foreign text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kvl_eval.reports.numbers import budget, columns, plain
from kvl_eval.reports.table import ProtocolView, final_table, find_flips, protocol_table
from kvl_eval.store.records import ScoreLine
from tests.records import make_score
from tests.reports.report_rows import HOSTILE, make_results, make_row


def test_the_final_table_has_score_interval_published_figure_and_failures_of_each_task() -> None:
    reference = {"value": 0.368, "delta": -0.037, "inside_ci": False, "note": ""}
    budgeted = make_row(
        task="mathvision",
        split="test",
        budget=8192,
        policy="cut",
        label="official",
        n_planned=3040,
        n_scored=3040,
        score=0.331,
        ci95=[0.3145, 0.3479],
        verdicts={"correct": 1006, "wrong": 1849, "no_answer": 185},
        reference=reference,
    )
    ocrbench = make_row(
        task="ocrbench",
        split="test",
        unit="points",
        score=0.861,
        ci95=[0.8382, 0.8811],
        label="official",
        verdicts={},
        reference={"value": 0.867, "delta": -0.006, "inside_ci": True},
    )
    assert final_table(make_results(make_row(), budgeted, ocrbench)).splitlines() == [
        "task                budget  n     score     95 % CI       paper  Δ       no-answer  failed  protocol",
        "mathvista/testmini  none    1000  67.9      [64.9, 70.7]  68.7   -0.8 ≈  0.4 %      0       official-rule",
        "mathvision/test     8k cut  3040  33.1      [31.4, 34.8]  36.8   -3.7 ▼  6.1 %      0       official",
        "ocrbench/test       none    1000  861/1000  [838, 881]    867    -6 ≈    0.0 %      0       official",
    ]


@pytest.mark.parametrize(
    ("reference", "cell"),
    [
        pytest.param({"value": 0.6, "delta": 0.079, "inside_ci": False}, "+7.9 ▲", id="above"),
        pytest.param({"value": 0.687, "delta": None, "inside_ci": None, "note": "other protocol"}, "?", id="unlike"),
        pytest.param(None, "0.4 %", id="no-reference"),
    ],
)
def test_marks(reference: dict[str, object] | None, cell: str) -> None:
    line = final_table(make_results(make_row(reference=reference))).splitlines()[1]
    assert cell in line


def test_a_missing_comparison_says_why() -> None:
    reference = {"value": 0.687, "delta": None, "inside_ci": None, "note": "another split than the published figure"}
    assert "no Δ: another split than the published figure" in final_table(make_results(make_row(reference=reference)))


def test_incomplete_results_say_what_is_missing_and_give_bounds() -> None:
    row = make_row(
        complete=False,
        n_ok=990,
        n_failed=7,
        n_pending=3,
        failed={"media_corrupt": 2, "oom": 5},
        n_scored=990,
        bounds=[0.669, 0.679],
    )
    text = final_table(make_results(row))
    assert "990/1000" in text
    assert "incomplete, 7 failed (oom 5, media_corrupt 2), 3 pending of 1000; between 66.9 and 67.9" in text


def test_partial_results_get_no_rank_and_no_points() -> None:
    row = make_row(partial="limit 20 of 1000", n_planned=20, n_scored=20, unit="points", score=0.85, reference=None)
    text = final_table(make_results(row))
    assert "partial, limit 20 of 1000; no rank" in text
    assert "850" not in text


def test_nothing_scored_is_a_dash_and_not_a_zero() -> None:
    row = make_row(score=None, ci95=None, n_scored=0, complete=False, verdicts={"not_scored": 1000}, reference=None)
    text = final_table(make_results(row))
    assert " - " in text.splitlines()[1]
    assert "1000 not scored" in text


def test_demo_and_blind_are_marked() -> None:
    text = final_table(make_results(make_row(blind=True, reference=None), demo=True))
    assert "demo model, not Kimi-VL-A3B" in text
    assert "mathvista/testmini blind" in text


def test_no_rows_is_said() -> None:
    assert final_table(make_results()) == "no results"


def test_foreign_text_cannot_act_in_a_terminal() -> None:
    text = final_table(make_results(make_row(task=HOSTILE, label=HOSTILE, failed={HOSTILE: 1}, complete=False)))
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert "\\x1b[31mred" in text
    assert "\\u202egnp.exe" in text


def test_plain_keeps_ordinary_scripts_and_emoji() -> None:
    kept = "größer 数学 עברית हिन्दी 👩\u200d🏫 ◁think▷"
    assert plain(kept) == kept
    assert plain("a\nb\tc", keep="\n") == "a\nb\\x09c"
    assert plain("\ud800") == "\\ud800"


def test_columns_allow_for_wide_characters() -> None:
    assert columns([("数学", "x"), ("abcd", "y")]) == "数学  x\nabcd  y"


def line(sample_id: str, verdict: str, score: float | None, extracted: object = "A") -> ScoreLine:
    return make_score(sample_id, verdict=verdict, score=score, extracted=extracted)


def test_protocols_differ_where_verdict_or_score_does() -> None:
    default = [line("1", "correct", 1.0), line("2", "wrong", 0.0), line("3", "partial", 0.5), line("4", "wrong", 0.0)]
    other = [line("4", "wrong", 0.0, "B"), line("3", "partial", 0.6), line("2", "correct", 1.0), line("9", "wrong", 0)]
    assert [flip.key.sample_id for flip in find_flips(default, other)] == ["3", "2"]


def test_protocol_table_lists_flips() -> None:
    default = [line(f"{i}", "no_answer", 0.0, None) for i in range(3)]
    other = [line(f"{i}", "correct", 1.0, HOSTILE) for i in range(3)]
    views = [
        ProtocolView(row=make_row(), flips=()),
        ProtocolView(row=make_row(protocol="vlmevalkit", label="vlmevalkit"), flips=find_flips(default, other)),
    ]
    text = protocol_table(views, most=2)
    assert text.splitlines()[1].endswith("default")
    assert text.splitlines()[2].endswith("3")
    assert "no_answer → correct  nothing → <script>" in text
    assert "... and 1 more" in text
    assert "\x1b" not in text


def test_tables_need_no_heavy_module() -> None:
    code = (
        "import sys; import kvl_eval.reports.table;"
        "assert not {'numpy', 'pandas', 'torch', 'PIL', 'datasets', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("tokens", "policy", "expected"),
    [
        (None, None, "none"),
        (8192, "cut", "8k cut"),
        (8192, "force", "8k force"),
        (1000, "cut", "1000 cut"),
        (0, "cut", "0 cut"),
    ],
)
def test_a_budget_is_named_with_its_policy(tokens: int | None, policy: str | None, expected: str) -> None:
    assert budget(make_row(budget=tokens, policy=policy)) == expected


def test_no_published_figure_stands_beside_a_demo_or_a_mini_split() -> None:
    reference = {"system": "x", "value": 0.687, "delta": None, "inside_ci": None, "note": "any"}
    assert "68.7" in final_table(make_results(make_row(reference=reference)))
    assert "68.7" not in final_table(make_results(make_row(split="mini", reference=reference)))
    demo = final_table(make_results(make_row(reference=reference), demo=True))
    assert "68.7" not in demo and "no Δ" not in demo


def test_what_holds_for_several_results_is_said_once() -> None:
    rows = [make_row(task=task, blind=True) for task in ("mathvista", "mmmu")]
    lines = [line for line in final_table(make_results(*rows, demo=True)).splitlines() if "grey" in line]
    assert len(lines) == 1
    assert lines[0].startswith("mathvista/testmini blind, mmmu/testmini blind: every picture was grey")


def test_the_default_protocol_of_a_task_comes_first() -> None:
    rows = [
        make_row(task=task, protocol=name, label=name)
        for task in ("mmmu", "mathvista")
        for name in ("official", "reader")
    ]
    lines = final_table(make_results(*rows)).splitlines()[1:5]
    assert [line.split()[0].partition("/")[0] + " " + line.split()[-1] for line in lines] == [
        "mmmu reader",
        "mmmu official",
        "mathvista official",
        "mathvista reader",
    ]
