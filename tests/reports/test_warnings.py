"""The one list of warnings, and how runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvl_eval.reports.origins import differences
from kvl_eval.reports.runs import open_runs
from kvl_eval.reports.warnings import (
    CODES,
    ResultWarning,
    WarningCode,
    planned_warnings,
    warning_lines,
    warnings_of,
)
from tests.reports.report_folders import DATA, make_run
from tests.reports.report_rows import make_row

CLEAN = make_row()


def warned(tmp_path: Path, row: dict[str, Any] | None = None, **changes: Any) -> list[ResultWarning]:
    return warnings_of(open_runs([make_run(tmp_path, rows=[row or CLEAN], **changes)]))


def found(tmp_path: Path, row: dict[str, Any] | None = None, **changes: Any) -> list[tuple[str, str]]:
    return [(warning.code, str(warning)) for warning in warned(tmp_path, row, **changes)]


def test_a_whole_clean_run_needs_no_warning(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "code", "text"),
    [
        (
            {"complete": False, "n_failed": 3, "failed": {"oom": 3}, "n_scored": 997, "bounds": [0.609, 0.612]},
            "failed",
            "mathvista: incomplete: 3 failed of 1,000 (oom 3); the score lies between 60.9 and 61.2",
        ),
        (
            {"complete": False, "n_pending": 588, "n_ok": 412, "n_scored": 412, "bounds": [0.25, 0.84]},
            "unfinished",
            "mathvista: run not finished: 588 of 1,000 samples pending; the score lies between 25.0 and 84.0",
        ),
        (
            {"verdicts": {"not_scored": 12}, "n_scored": 988},
            "not_scored",
            "mathvista: 12 of 1,000 replies not scored (a judge or gold answers are missing); "
            "the score lies between 67.9 and 67.9",
        ),
        ({"partial": "limit 20 of 1000"}, "partial", "mathvista: partial run (limit 20 of 1000): not ranked"),
        ({"blind": True}, "blind", "blind run (gray images): not compared with published results"),
        (
            {"verdicts": {"no_answer": 96}, "n_ok": 120, "n_scored": 120},
            "no_answer",
            "mathvista: no answer found in 96 of 120 replies (80.0%)",
        ),
        (
            {"n_followed": 900, "n_followed_unread": 21},
            "format",
            "mathvista: 21 of 1,000 replies (2.1%) follow the requested form, but no answer was extracted",
        ),
        (
            {"truncated_share": 0.07, "budget": 4096, "policy": "cut", "thoughts": {"kimi": 900}},
            "truncated",
            "mathvista at 4k cut: 70 of 1,000 replies (7.0%) truncated at their budget",
        ),
        (
            {"truncated_share": 0.07},
            "truncated",
            "mathvista: 70 of 1,000 replies (7.0%) truncated at the token limit",
        ),
        ({"flags": {"uniform": 12}}, "media", "mathvista: 12 of 1,000 samples: image decoded to a single color"),
        (
            {"flags": {"answer_in_reasoning": 3}},
            "server",
            "mathvista: 3 of 1,000 samples: the server put all text into reasoning_content",
        ),
        (
            {"answered_by": {"other": 5}},
            "server",
            "mathvista: the server answered with another model than the one asked for: other (5)",
        ),
        (
            {"budget": 4096, "policy": "cut"},
            "no_thought",
            "1,000 samples: --think-budget had no effect: no reply contains a thought",
        ),
        (
            {"split": "test", "reference": {"value": 0.6, "note": "split test"}},
            "split",
            "mathvista: split test: published results are of testmini",
        ),
        (
            {"split": "mini", "reference": {"value": 0.6, "note": "the bundled mini split"}},
            "split",
            "mathvista: mini split: not compared with published results",
        ),
        (
            {"reference": {"value": 0.6, "note": "other protocol; the published result uses reader"}},
            "protocol",
            "mathvista: no Δ: other protocol; the published result uses reader",
        ),
        (
            {"protocol": "vlmevalkit", "label": "vlmevalkit"},
            "protocol",
            "mathvista: scored with vlmevalkit, which is not the default protocol",
        ),
        (
            {"thinking": "raw"},
            "protocol",
            "mathvista: scored with official-rule (raw), which is not the default protocol",
        ),
    ],
)
def test_results_that_need_one(tmp_path: Path, row: dict[str, Any], code: str, text: str) -> None:
    assert found(tmp_path, make_row(**row)) == [(code, text)]


@pytest.mark.parametrize(
    "row",
    [
        {"verdicts": {"no_answer": 50}},
        {"truncated_share": 0.05},
        {"n_followed": 900, "n_followed_unread": 20},
        {"budget": 4096, "policy": "cut", "thoughts": {"kimi": 1}},
    ],
)
def test_small_shares_are_quiet(tmp_path: Path, row: dict[str, Any]) -> None:
    assert found(tmp_path, make_row(**row)) == []


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"demo": True}, "demo", "demo model: do not compare these scores with published results"),
        (
            {"family": "fake"},
            "demo",
            "scripted answers: do not compare these scores with published results",
        ),
        ({"status": "interrupted"}, "unfinished", "run not finished: scores are preliminary"),
        (
            {"code": {"version": "0.1.0", "commit": "abc", "dirty": True}},
            "versions",
            "kvl-eval had uncommitted changes (commit abc)",
        ),
        (
            {"resumes": [{"time": "2026-08-12T00:00:00Z", "code": {"version": "0.2.0", "commit": "fedcba987654"}}]},
            "versions",
            "resumed with another version of kvl-eval: 0.1.0 0123456 → 0.2.0 fedcba9",
        ),
        (
            {"data": {"mathvista": {**DATA, "other_data": "the data are not the published testmini (rows: 9)"}}},
            "data",
            "mathvista: the data are not the published testmini (rows: 9)",
        ),
        (
            {"data": {"mathvista": {**DATA, "n": 90, "total": 1000, "partial": "limit 90 of 1000"}}},
            "partial",
            "mathvista: partial run (90 of 1,000 samples): not ranked",
        ),
        ({"blind": True}, "blind", "blind run (gray images): not compared with published results"),
    ],
)
def test_runs_that_need_one(tmp_path: Path, changes: dict[str, Any], code: str, text: str) -> None:
    assert found(tmp_path, **changes) == [(code, text)]


def test_what_is_known_before_a_run_is_said_in_the_same_words_after_it(tmp_path: Path) -> None:
    data = {**DATA, "n": 90, "total": 1000, "partial": "limit 90", "other_data": "the data are not the published"}
    run = make_run(tmp_path, rows=[make_row(blind=True, partial="limit 90")], blind=True, data={"mathvista": data})
    (opened,) = open_runs([run])
    before = planned_warnings(opened.manifest)
    assert [warning.code for warning in before] == ["data", "blind", "partial"]
    assert before == warnings_of([opened])


def test_what_a_process_learned_of_the_answers_is_among_them(tmp_path: Path) -> None:
    (run,) = open_runs([make_run(tmp_path, rows=[CLEAN])])
    run.folder.warnings.append(("device", "resumed on another device (cpu → cuda): results may differ slightly"))
    assert [warning.code for warning in warnings_of([run])] == ["device"]


def test_warnings_come_in_the_order_of_the_list_whatever_their_tasks(tmp_path: Path) -> None:
    rows = [
        make_row(task="mathvista", protocol="vlmevalkit", flags={"uniform": 1}, partial="limit 1"),
        make_row(task="mmmu", verdicts={"no_answer": 900}, n_failed=1, failed={"oom": 1}, complete=False),
    ]
    codes = [warning.code for warning in warnings_of(open_runs([make_run(tmp_path, rows=rows, demo=True)]))]
    assert codes == sorted(codes, key=CODES.index)  # type: ignore[arg-type]
    assert codes == ["demo", "failed", "no_answer", "media", "partial", "protocol", "protocol"]


def test_as_json_a_warning_has_code_task_and_sentence(tmp_path: Path) -> None:
    (warning,) = warned(tmp_path, make_row(verdicts={"no_answer": 96}))
    text = "mathvista: no answer found in 96 of 1,000 replies (9.6%)"
    assert warning.as_json() == {"code": "no_answer", "task": "mathvista", "text": text}


def test_a_damaged_manifest_is_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path, rows=[CLEAN])
    path = folder / "run.json"
    path.write_text(path.read_text().replace("float32", "float16"))
    assert any("checksum does not match" in warning.text for warning in warnings_of(open_runs([folder])))


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"code": {"version": "0.2.0"}}, "versions", "different versions of kvl-eval: 0.1.0, 0.2.0"),
        (
            {"data": {"mathvista": {**DATA, "source": None, "split": "testmini", "n": 10, "fingerprint": "other"}}},
            "data",
            "mathvista: these runs used different data",
        ),
        (
            {"prompt": {"mathvista": {"name": "default", "sha256": "other", "mean_tokens": None}}},
            "protocol",
            "mathvista: these runs used different prompts",
        ),
        (
            {"generation": {"mathvista": {"max_new_tokens": 4096, "temperature": 0.8}}},
            "protocol",
            "different generation settings",
        ),
    ],
)
def test_runs_unlike_each_other(tmp_path: Path, changes: dict[str, Any], code: str, text: str) -> None:
    runs = open_runs([make_run(tmp_path, rows=[CLEAN]), make_run(tmp_path, name="run-b", rows=[CLEAN], **changes)])
    assert any(warning.code == code and text in str(warning) for warning in warnings_of(runs))
    assert any(name.split(".")[0] in changes for name, _ in differences(runs))


def test_equal_runs_have_no_differences(tmp_path: Path) -> None:
    runs = open_runs([make_run(tmp_path), make_run(tmp_path, name="run-b", created="2026-09-01T00:00:00Z")])
    assert differences(runs) == []


def test_a_warning_of_one_run_among_several_names_its_model(tmp_path: Path) -> None:
    blind = make_row(blind=True)
    runs = [make_run(tmp_path, rows=[CLEAN]), make_run(tmp_path, name="run-b", model="other", rows=[blind])]
    (line,) = warning_lines(warnings_of(open_runs(runs)))
    assert line == "other: blind run (gray images): not compared with published results"


# -- lines ----------------------------------------------------------------------------------------------------------


def share(task: str, detail: str, code: WarningCode = "no_answer") -> ResultWarning:
    text = f"no answer found in {detail}"
    return ResultWarning(code=code, task=task, name=task, text=text, summary="no answer found", detail=detail)


def test_one_task_has_its_sentence() -> None:
    assert warning_lines([share("mmmu", "8 of 120 replies (6.7%)")]) == [
        "mmmu: no answer found in 8 of 120 replies (6.7%)"
    ]


def test_a_kind_is_one_line_whatever_the_number_of_tasks() -> None:
    warnings = [share(f"task-{number}", f"{number} of 9") for number in range(8)]
    assert warning_lines(warnings) == [
        "no answer found: task-0 0 of 9, task-1 1 of 9, task-2 2 of 9, task-3 3 of 9, task-4 4 of 9, and 3 more"
    ]


def test_equal_sentences_of_several_tasks_are_one() -> None:
    warnings = [ResultWarning(code="split", name=name, text="mini split") for name in ("mathvista", "mmmu")]
    assert warning_lines(warnings) == ["mathvista, mmmu: mini split"]


def test_sentences_that_share_no_summary_are_joined() -> None:
    warnings = [ResultWarning(code="data", text="first"), ResultWarning(code="data", name="mmmu", text="second")]
    assert warning_lines(warnings) == ["first; mmmu: second"]
