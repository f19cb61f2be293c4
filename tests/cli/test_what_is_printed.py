"""What a run prints, where it prints it, and how often."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.cli import run, terminal
from kvl_eval.reports.pages.warning_table import KINDS
from kvl_eval.reports.warnings import CODES, ResultWarning
from kvl_eval.run.config import resolve
from kvl_eval.run.plan import Plan, plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.scoring.result_rows import result_label
from kvl_eval.tasks import TASKS
from tests.cli.conftest import Kvl
from tests.tiny_task import config_of, tiny

FAKE = ("run", "mathvista", "--model", "fake")
EIGHT = ("mathvista", "mmmu", "mathvision", "infovqa", "ocrbench", "screenspot", "screenspot-v2", "screenspot-pro")
COLUMNS = ["task", "budget", "n", "score", "95% CI", "published", "Δ", "no answer", "failed", "protocol"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KVL_EVAL_RESULTS_DIR", raising=False)
    yield
    terminal.set_verbosity(0)


def heads(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


# -- the plan ---------------------------------------------------------------------------------------------------


def test_a_plan_is_one_line_per_task_without_hashes(kvl: Kvl) -> None:
    done = kvl("run", "--dry-run", *EIGHT, "--limit", "1", "--model", "fake")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == 10
    assert heads(lines[0]) == ["task", "split", "samples", "prompt", "generation", "scoring"]
    assert [line.split()[0] for line in lines[1:-1]] == list(EIGHT)
    assert lines[-1] == "8 requests; nothing was run"
    assert not re.search("[0-9a-f]{8}", done.out)


def test_hashes_come_under_v(kvl: Kvl) -> None:
    done = kvl(*FAKE, "--dry-run", "--limit", "1", "-v")
    assert re.search("fingerprint  [0-9a-f]{64}", done.out)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    config = config_of(tiny(), tmp_path_factory.mktemp("plan"))
    return plan_run(config, FakeBackend(config.settings), [tiny()])


@pytest.mark.parametrize("name", TASKS)
def test_the_plan_calls_every_protocol_what_results_call_it(name: str, plan: Plan) -> None:
    task = TASKS[name]
    for protocol in task.protocols:
        config = resolve("fake", "instruct", [task], {"protocol": protocol})
        planned = replace(plan.tasks[0], task=task, config=config.tasks[0])
        line = plan_text(replace(plan, config=config, tasks=(planned,))).splitlines()[-1]
        assert line.removesuffix(" (needs a judge)").endswith(f"  {result_label(task, protocol, None)}")


def test_warnings_known_before_the_run_come_before_the_plan(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    different = "the data are not the published testmini (rows: 9, expected 1,000)"
    run.show_plan(replace(plan, tasks=(replace(plan.tasks[0], other_data=different),)), dry=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"warning: tiny: {different}"
    assert [line[:5] for line in lines if not line.startswith("warning: ")] == ["task ", "tiny "]


# -- a run ------------------------------------------------------------------------------------------------------


def test_a_run_prints_plan_progress_warnings_and_where_it_is_around_the_table(kvl: Kvl) -> None:
    done = kvl(*FAKE, "--limit", "2")
    assert done.code == 0
    head, row = done.out.splitlines()
    assert [name for name in COLUMNS if name in heads(head)] == heads(head)
    assert len(heads(row)) == len(heads(head))
    assert not {"?", "paper", "budget", "none"} & {*heads(head), *heads(row)}
    (folder,) = (path for path in Path("results").iterdir() if path.is_dir())
    passing = ("reading ", "warning: kvl-eval had uncommitted changes")  # a slow machine's, a checkout's
    lines = [line for line in done.err.splitlines() if not line.startswith(passing)]
    assert lines[0] == "warning: scripted answers: do not compare these scores with published results"
    assert lines[1] == "warning: mathvista: partial run (2 of 90 samples): not ranked"
    assert lines[2].startswith("task ") and lines[3].startswith("mathvista  mini   2 of 90  query")
    assert lines[4] == f"2 requests; {folder}"
    assert re.fullmatch(r"mathvista  2/2  100%  done \d+s  \d+\.0  \[.*\].*", lines[5])
    assert lines[-2:] == ["report:  kvl-eval report latest", f"folder:  {folder}"]
    assert len(lines) == len(set(lines)), "a sentence is printed once"


def test_quiet_runs_print_the_table_and_warnings_then_nothing(kvl: Kvl) -> None:
    done = kvl(*FAKE, "--limit", "2", "-q")
    assert len(done.out.splitlines()) == 2
    assert done.err and all(line.startswith("warning: ") for line in done.err.splitlines())
    done = kvl(*FAKE, "--limit", "2", "-qq", "--no-resume")
    assert (done.code, done.out, done.err) == (0, "", "")
    failing = kvl("run", "nope", "-qq")
    assert failing.code == 2 and failing.err.startswith("error[")


def test_json_has_the_warnings_of_the_terminal_and_the_page(kvl: Kvl) -> None:
    done = kvl("run", "mathvista", "mmmu", "--model", "fake", "--limit", "2", "--json")
    document = json.loads(done.out)
    codes = [warning["code"] for warning in document["warnings"]]
    assert codes == sorted(codes, key=CODES.index)
    assert {"demo", "no_answer", "partial"} <= set(codes)
    for warning in document["warnings"]:
        assert {*warning} == {"code", "task", "text"}
        assert warning["task"] in (None, "mathvista", "mmmu")
    page = kvl("report", document["folder"], "--images", "none")
    assert page.code == 0
    text = unescape((Path(document["folder"]) / "report" / "index.html").read_text())
    places = [text.index(KINDS[code][0]) for code in dict.fromkeys(codes)]
    assert places == sorted(places)


def test_a_sweep_of_a_model_that_writes_no_thought_says_so(kvl: Kvl) -> None:
    done = kvl("sweep", "mathvista", "--model", "fake", "--limit", "2", "--think-budget", "1k,2k")
    assert "warning: 2 samples: --think-budget had no effect: no reply contains a thought" in done.err.splitlines()
    assert heads(done.out.splitlines()[0])[1] == "budget"


def test_failed_samples_are_counted_and_the_next_command_repeats_them(kvl: Kvl) -> None:
    done = kvl(*FAKE, "--limit", "4", "--model-args", "fail=oom:1")
    assert done.code == 3
    assert "failed" in heads(done.out.splitlines()[0])
    assert "warning: mathvista: incomplete: 1 failed of 4 (oom 1); the score lies between" in done.err
    assert done.err.splitlines()[-3] == "next:    kvl-eval resume latest --rerun failed"


def test_verbose_runs_print_every_failure_and_others_the_first_of_each_kind(kvl: Kvl) -> None:
    failing = (*FAKE, "--limit", "4", "--model-args", "fail=oom:3", "--no-resume")
    for options, times in (((), 1), (("-v",), 3), (("-q",), 0)):
        done = kvl(*failing, *options)
        assert done.err.count("failed[oom] mathvista ") == times


def test_at_most_five_warnings_are_printed_most_harmful_first(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.set_verbosity(0)
    terminal.warn("blind")
    run.show_warnings([ResultWarning(code=code, text=code) for code in CODES[:9]])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "warning: blind"
    assert lines[1:] == [
        *(f"warning: {code}" for code in ("data", "demo", "versions", "unfinished", "failed")),
        "... and 3 more in the report",
    ]


def test_a_run_stopped_before_it_began_says_that_nothing_was_run(kvl: Kvl, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kvl_eval.run.plan.plan_tasks", stopped)
    done = kvl(*FAKE, "--limit", "2")
    assert (done.code, done.out, done.err.splitlines()[-1]) == (130, "", "stopped: nothing was run")
    assert not Path("results").exists()


def test_a_report_ends_with_its_page(kvl: Kvl) -> None:
    kvl(*FAKE, "--limit", "2")
    done = kvl("report", "latest", "--no-pictures")
    assert done.code == 0, done.err
    assert re.fullmatch(r"report: /\S+/results/\S+/report/index\.html", done.out.splitlines()[-1])
    assert done.err.splitlines()[-1] == "open it, or run: kvl-eval view latest"
