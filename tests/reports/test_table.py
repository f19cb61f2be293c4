"""The terminal tables: layout, marks, counts, foreign text."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.cells import cell_len

from kvl_eval.reports.columns import cells, filled
from kvl_eval.reports.numbers import budget, columns, plain
from kvl_eval.reports.table import ProtocolView, final_table, find_flips, protocol_table
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import ResultRow
from tests.records import make_score
from tests.reports.report_rows import HOSTILE, make_results, make_row


def test_the_final_table_has_score_interval_published_result_and_difference_of_each_task() -> None:
    reference = {"value": 0.368, "delta": -0.037, "inside_ci": False, "gap_ci95": [0.013, 0.061], "note": ""}
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
        reference={"value": 0.867, "delta": -0.006, "inside_ci": True, "gap_ci95": [-0.02, 0.03]},
    )
    assert final_table(make_results(make_row(), budgeted, ocrbench)).splitlines() == [
        "task        budget     n     score  95% CI        published       Δ  no answer  protocol",
        "mathvista           1000      67.9  [64.9, 70.7]       68.7  -0.8 ≈       0.4%  official-rule",
        "mathvision  8k cut  3040      33.1  [31.4, 34.8]       36.8  -3.7 ▼       6.1%  official",
        "ocrbench            1000  861/1000  [838, 881]          867    -6 ≈       0.0%  official",
        "≈ no difference shown (95% interval of the difference contains 0), ▲ above, ▼ below",
    ]


def test_a_row_that_fills_nothing_more_has_six_columns() -> None:
    row = make_row(split="mini", n_planned=90, n_scored=90, verdicts={"correct": 57}, reference=None)
    assert final_table(make_results(row, demo=True)).splitlines() == [
        "task             n  score  95% CI        protocol",
        "mathvista/mini  90   67.9  [64.9, 70.7]  official-rule",
    ]


LISTED = ["task", "budget", "n", "score", "95% CI", "published", "Δ", "no answer", "failed", "protocol"]


@pytest.mark.parametrize(
    "row",
    [
        make_row(),
        make_row(budget=8192, policy="cut"),
        make_row(failed={"oom": 3}, n_failed=3, n_ok=997, n_scored=997, complete=False),
        make_row(reference=None, verdicts={"correct": 1000}, score=1.0),
        make_row(reference={"value": 0.687, "delta": None, "inside_ci": None, "note": "other protocol"}),
    ],
    ids=["compared", "budget", "failed", "alone", "unlike"],
)
def test_the_head_is_a_part_of_the_list_in_its_order_and_every_column_says_something(row: ResultRow) -> None:
    columns = filled("terminal", [row])
    titles = [column.title for column in columns]
    assert titles == [title for title in LISTED if title in titles]
    assert all(cells(columns, row))
    text = final_table(make_results(row))
    assert "?" not in text and "paper" not in text and "none" not in text


@pytest.mark.parametrize(
    ("gap", "cell"),
    [
        pytest.param([-0.12, -0.04], "+7.9 ▲", id="above"),
        pytest.param([-0.16, 0.001], "+7.9 ≈", id="contains-0"),
        pytest.param([-0.16, 0.0], "+7.9 ≈", id="touches-0"),
    ],
)
def test_marks_say_whether_the_interval_of_the_difference_contains_0(gap: list[float], cell: str) -> None:
    reference = {"value": 0.6, "delta": 0.079, "inside_ci": True, "gap_ci95": gap}
    assert cell in final_table(make_results(make_row(reference=reference))).splitlines()[1]


def test_results_of_earlier_versions_keep_their_mark() -> None:
    reference = {"value": 0.6, "delta": 0.079, "inside_ci": False}
    assert "+7.9 ▲" in final_table(make_results(make_row(reference=reference)))


def test_partial_results_get_no_points() -> None:
    row = make_row(partial="limit 20 of 1000", n_planned=20, n_scored=20, unit="points", score=0.85, reference=None)
    assert "850" not in final_table(make_results(row))


def test_samples_without_a_score_are_counted() -> None:
    row = make_row(complete=False, n_ok=990, n_failed=7, n_pending=3, failed={"oom": 7}, n_scored=990)
    head, line = final_table(make_results(row)).splitlines()[:2]
    assert "990/1000" in line and "failed" in head


def test_nothing_scored_is_a_dash_and_not_a_zero() -> None:
    row = make_row(score=None, ci95=None, n_scored=0, complete=False, verdicts={"not_scored": 1000}, reference=None)
    assert final_table(make_results(row)).splitlines()[1].split() == ["mathvista", "0/1000", "-", "official-rule"]


def test_a_blind_result_and_an_own_table_have_names_of_their_own() -> None:
    assert "mathvista blind" in final_table(make_results(make_row(blind=True, reference=None)))
    own = make_row(task="file:data/my.jsonl", title="my.jsonl", split="all", reference=None)
    assert final_table(make_results(own)).splitlines()[1].startswith("my.jsonl  ")


def test_no_rows_is_said() -> None:
    assert final_table(make_results()) == "no results"


def test_a_narrow_terminal_drops_the_interval_then_no_answer_then_cuts_names() -> None:
    rows = [make_row(split="mini", reference=None), make_row(task="mmlongbench-doc", split="extra", reference=None)]

    def at(width: int | None) -> list[str]:
        return final_table(make_results(*rows), width).splitlines()

    assert "95% CI" in at(None)[0] and "95% CI" in at(80)[0]
    assert "95% CI" not in at(70)[0] and "no answer" in at(70)[0]
    assert "no answer" not in at(55)[0] and "mmlongbench-doc/extra" in at(55)[2]
    assert "…" in at(45)[2]
    for width in (45, 55, 70, 80):
        assert max(map(cell_len, at(width))) <= width


def test_further_protocols_are_indented_under_the_default_one() -> None:
    rows = [
        make_row(task="mmmu", split="mini", protocol=name, label=name, reference=None)
        for name in ("official", "reader")
    ]
    lines = final_table(make_results(*rows)).splitlines()
    assert [(line[:2], line.split()[-1]) for line in lines[1:]] == [("mm", "reader"), ("  ", "official")]


def test_foreign_text_cannot_act_in_a_terminal() -> None:
    text = final_table(
        make_results(make_row(task=HOSTILE, label=HOSTILE, failed={HOSTILE: 1}, n_failed=1, complete=False))
    )
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
    assert "official-rule (default)" in text.splitlines()[1]
    assert text.splitlines()[2].endswith("3")
    assert "no answer → correct  nothing → <script>" in text
    assert "... and 1 more" in text
    assert "\x1b" not in text


def test_flips_are_one_line_unless_more_are_asked_for() -> None:
    default = [line(f"{i}", "no_answer", 0.0, None) for i in range(7)]
    other = [line(f"{i}", "correct", 1.0, "B") for i in range(7)]
    changed = ProtocolView(row=make_row(protocol="b", label="b"), flips=find_flips(default, other))
    text = protocol_table([ProtocolView(row=make_row(), flips=()), changed])
    names = ", ".join(f"{i} (no answer → correct)" for i in range(5))
    assert text.splitlines()[3:] == [f"b differs: {names}, and 2 more; --flips N shows N with their answers"]


def test_a_protocol_that_waits_for_a_judge_is_one_line() -> None:
    waiting = make_row(protocol="b", label="b-exact", n_planned=1000, n_scored=388, verdicts={"not_scored": 612})
    plain = make_row(verdicts={"correct": 3})
    views = [ProtocolView(row=plain, flips=()), ProtocolView(row=waiting, flips=(), unjudged=612)]
    lines = protocol_table(views).splitlines()
    assert lines[2:] == ["b-exact  needs a judge for 612 of 1,000 samples"]
    assert "differs" not in lines[0] and "budget" not in lines[0] and "no answer" not in lines[0]


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


def test_only_a_result_that_is_compared_has_a_published_one_beside_it() -> None:
    reference = {"system": "x", "value": 0.687, "delta": None, "inside_ci": None, "note": "any"}
    assert "68.7" not in final_table(make_results(make_row(reference=reference)))
    assert "68.7" in final_table(make_results(make_row(reference={**reference, "delta": -0.008})))


def test_the_default_protocol_of_a_task_comes_first() -> None:
    rows = [
        make_row(task=task, split=None, protocol=name, label=name)
        for task in ("mmmu", "mathvista")
        for name in ("official", "reader")
    ]
    lines = final_table(make_results(*rows)).splitlines()[1:5]
    assert [f"{line.split()[0]} {line.split()[-1]}" for line in lines] == [
        "mmmu reader",
        "mmmu official",
        "mathvista official",
        "mathvista reader",
    ]
