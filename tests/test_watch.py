"""`watch`: judging nights, and whole nights with a scripted model."""

from __future__ import annotations

import json
import os
import random
import socket
from pathlib import Path
from typing import Literal

import pytest

from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.paired import paired_test
from kvl_eval.store.records import ScoreLine
from kvl_eval.watch.document import REGRESSION, exit_code
from kvl_eval.watch.judging import NightGap, drift, judged, one_sided
from kvl_eval.watch.settings import read_settings
from tests.cli.conftest import Kvl
from tests.cli.conftest import kvl as kvl
from tests.cli.test_same_command import killed
from tests.cli.test_schemas import validate
from tests.refusals import refused

DROP, ALPHA = 0.01, 0.01


def lines(verdicts: list[bool]) -> dict[tuple[str, int], ScoreLine]:
    return {
        (str(number), 0): ScoreLine(
            sample_id=str(number),
            repeat=0,
            budget=None,
            policy=None,
            extracted="A",
            extract_ok=True,
            extract_method="exact",
            gold=("A",),
            score=float(verdict),
            verdict="correct" if verdict else "wrong",
            reason=None,
            detail={},
            categories={},
            cluster=None,
            scorer="t@official",
            scorer_version="0",
        )
        for number, verdict in enumerate(verdicts)
    }


def night(rng: random.Random, n: int, *, drop: float = 0.0) -> list[bool]:
    """Verdicts of a model that is right on 60 % of the questions, and answers 6 % of them by chance."""
    steady = [number % 5 < 3 for number in range(n)]
    moved = [rng.random() < 0.6 if rng.random() < 0.06 else verdict for verdict in steady]
    return [verdict and rng.random() >= drop / 0.6 for verdict in moved]


def compared(pin: list[bool], before: list[bool], now: list[bool]) -> list[NightGap]:
    gaps = []
    against: Literal["baseline", "last"]
    for against, old in (("baseline", pin), ("last", before)):
        test = paired_test(lines(old), lines(now), frozenset())
        assert test is not None
        p_value = one_sided(test.difference, test.p_value)
        gaps.append(
            NightGap(
                run="main",
                task="t",
                against=against,
                old="old",
                new="new",
                n=len(now),
                difference=test.difference,
                ci95=(-1.0, 1.0),
                p_value=p_value,
            )
        )
    return judged(gaps, DROP, ALPHA)


def test_watch_x13_chance_alone_is_no_regression_over_40_nights() -> None:
    rng = random.Random(7)
    pin = before = night(rng, 500)
    alarms = 0
    for _ in range(40):
        now = night(rng, 500)
        alarms += any(gap.regression for gap in compared(pin, before, now))
        before = now
    assert alarms <= 2


def test_watch_x13_a_planted_drop_of_3_points_is_a_regression() -> None:
    rng = random.Random(1)
    pin, before = night(rng, 2000), night(rng, 2000)
    gaps = compared(pin, before, night(rng, 2000, drop=0.03))
    assert any(gap.regression for gap in gaps)
    assert exit_code([], gaps, [4]) == REGRESSION  # wins over errors and gaps


def test_a_significant_gain_and_a_small_drop_are_no_regressions() -> None:
    steady = [number % 5 < 3 for number in range(2000)]
    better = [verdict or number % 20 == 4 for number, verdict in enumerate(steady)]
    slightly = [verdict and number not in range(0, 90, 5) for number, verdict in enumerate(steady)]  # 0.9 points
    assert not any(gap.regression for gap in compared(steady, steady, better))
    small = compared(steady, steady, slightly)
    assert small[0].p_holm < ALPHA and not small[0].regression


def test_p_values_are_one_sided_and_corrected_for_all_comparisons() -> None:
    assert (one_sided(-0.1, 0.02), one_sided(0.1, 0.02)) == (0.01, 0.99)
    gap = NightGap(
        run="a", task="t", against="last", old="o", new="n", n=9, difference=-0.1, ci95=(-0.2, 0.0), p_value=0.006
    )
    assert [found.regression for found in judged([gap], DROP, ALPHA)] == [True]
    assert [found.regression for found in judged([gap, gap], DROP, ALPHA)] == [False, False]


def test_slow_drift_adds_up_and_noise_does_not() -> None:
    total, limit = drift([-0.012] * 10, 0.012, DROP)
    assert (total, limit) == (pytest.approx(0.07), pytest.approx(0.06))
    assert drift([0.004, -0.004] * 20, 0.012, DROP)[0] == 0.0


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("runs: []", ConfigError, "watch.run"),
        ("min_drop: 1", ConfigError, "watch.value"),
        ("runs: [{task: t}]\nbaselin: last", UsageError, "watch.key"),
        ("runs: [{task: t}, {task: u}]", ConfigError, "watch.run"),
        ("runs: [{task: t, name: ../x}]", ConfigError, "watch.run"),
        ("runs: [{task: t, output-dir: x}]", ConfigError, "watch.run"),
        ("runs: [{task: t}]\nsamples: 400", ConfigError, "watch.run"),
        ("runs: [{task: t}]\nbaseline: best", ConfigError, "watch.value"),
        ("- a", ConfigError, "watch.file"),
        ("runs: [", ConfigError, "watch.file"),
    ],
)
def test_files_that_make_no_sense_are_refused(text: str, kind: type[UsageError], code: str, tmp_path: Path) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text(text)
    with refused(kind, code):
        read_settings(path)


def answers(folder: Path, right: int) -> None:
    """Scripted answers of a table of 60 questions, of which `right` are right."""
    file = "".join(json.dumps({"id": str(n), "response": "yes" if n < right else "no"}) + "\n" for n in range(60))
    (folder / "answers.jsonl").write_text(file)


@pytest.fixture
def nightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"id": str(n), "question": f"Is {n} <b>so</b>?", "answer": "yes"}) for n in range(60)]
    (tmp_path / "table.jsonl").write_text("\n".join(rows))
    (tmp_path / "nightly.yaml").write_text(
        "output_dir: nightly\nruns:\n"
        "  - {task: 'file:table.jsonl', model: fake, model_args: ['answers=answers.jsonl'], name: main}\n"
    )
    answers(tmp_path, 50)
    return tmp_path


def test_watch_x13_nights_are_run_skipped_and_judged(nightly: Path, kvl: Kvl) -> None:
    said = kvl("watch", "nightly.yaml", "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    validate("watch", document)
    assert [run["status"] for run in document["runs"]] == ["complete"]
    again = json.loads(kvl("watch", "nightly.yaml", "--json").out)
    assert again["runs"][0] == {**document["runs"][0], "status": "skipped"}
    answers(nightly, 38)
    said = kvl("watch", "nightly.yaml")
    assert said.code == REGRESSION, said.out + said.err
    last = said.out.strip().splitlines()[-1]
    assert "regression: main" in last and "−20.0 [" in last and "kvl-eval explain nightly/runs/main/" in last
    assert "changed since the night before: model" in said.out
    assert Path("nightly/why.md").read_text().startswith("#")
    page = Path("nightly/index.html").read_text()
    assert page.count("<circle") >= 8 and "<script" not in page and "<b>" not in page and "12 lost, 0 gained" in page
    state = Path("nightly/state.json")
    before = state.read_text()
    assert len(json.loads(before)["differences"]) == 1  # of the night since the change
    state.write_text("{")
    assert kvl("watch", "nightly.yaml", "-q").code == REGRESSION  # skipped, and judged as before
    assert state.read_text() == before


def test_watch_x13_a_second_watch_is_refused_and_a_run_is_resumed(nightly: Path, kvl: Kvl) -> None:
    Path("nightly").mkdir()
    holder = {"pid": os.getppid(), "host": socket.gethostname(), "start": None, "ticks": None}
    Path("nightly/lock").write_text(json.dumps(holder))
    said = kvl("watch", "nightly.yaml")
    assert (said.code, said.out) == (2, "") and said.err.startswith("error[watch.busy]")
    Path("nightly/lock").unlink()
    assert kvl("watch", "nightly.yaml", "-q").code == 0
    [run] = Path("nightly/runs/main").glob("2*")
    [samples] = run.glob("samples/*.jsonl")
    killed(run, 20)
    said = kvl("watch", "nightly.yaml")
    assert said.code == 0, said.err
    assert [path.name for path in Path("nightly/runs/main").glob("2*")] == [run.name]
    assert len(samples.read_bytes().splitlines()) == 60


def test_errors_of_a_run_end_with_their_code_and_write_the_page(nightly: Path, kvl: Kvl) -> None:
    (nightly / "answers.jsonl").write_text("{")
    said = kvl("watch", "nightly.yaml", "--json")
    assert said.code in (2, 4), said.err
    document = json.loads(said.out)
    assert document["runs"][0]["status"] == "failed" and document["exit_code"] == said.code
    assert Path("nightly/index.html").exists()
