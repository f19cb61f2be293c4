"""Damaged run folders end with an error of ours or an explanation, never with a traceback; and time grows in line."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from kvl_eval.errors import KvlEvalError
from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.explanation.explaining import explain_run
from kvl_eval.explanation.ledger import Ledger
from kvl_eval.explanation.parts import parts_of
from kvl_eval.explanation.resampling import replicates
from kvl_eval.explanation.units import AnswerUnit, plain_weights
from kvl_eval.scoring.run_reader import RunReader
from tests.tiny_task import run_tiny, tiny

FILES = ("run.json", "plan.jsonl", "samples/tiny.jsonl", "scores/tiny@official-*.jsonl", "results.json")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one fault: a byte changed, a piece removed or repeated, or the end cut off."""
    place = rng.randrange(max(1, len(data)))
    length = rng.randint(1, 40)
    kind = rng.randrange(5)
    if kind == 0:
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if kind == 1:
        return data[:place] + data[place + length :]
    if kind == 2:
        return data[:place] + data[place : place + length] * 2 + data[place + length :]
    if kind == 3:
        return data[:place]
    return b""


@pytest.mark.slow
def test_explain_x9_mutated_run_folders_never_end_in_a_traceback(tmp_path: Path) -> None:
    rng, task = random.Random(0), tiny()
    source = run_tiny(tmp_path / "source", task).folder.path
    outcomes = set()
    for number in range(200):
        folder = tmp_path / f"run-{number}"
        shutil.copytree(source, folder)
        [path] = folder.glob(rng.choice(FILES))
        path.write_bytes(mutated(path.read_bytes(), rng))
        try:
            explanation = explain_run(RunReader.open(folder, [task]), ExplainOptions(to="70"))
        except KvlEvalError as error:
            outcomes.add(error.code)
        else:
            outcomes.add("explained")
            assert json.dumps(explanation.as_json()) and str(explanation)
        shutil.rmtree(folder)
    assert "explained" in outcomes and len(outcomes) > 2


def seconds(n: int) -> float:
    """CPU time of the parts of `n` answers of a hundred types."""
    rng = random.Random(0)
    weights = plain_weights([True] * n)
    units = [
        AnswerUnit(
            id=f"{number:06}",
            cluster=f"c/{number}",
            stratum=str(number % 30),
            tokens=rng.randrange(500),
            finish="length" if rng.random() < 0.1 else "stop",
            v0="wrong" if rng.random() < 0.5 else "no_answer",
            y0=0.0,
            y1=float(rng.random() < 0.5),
            weight=weights[number][0],
            share=weights[number][1],
        )
        for number in range(n)
    ]
    start = time.process_time()
    ledger = Ledger(units)
    parts_of(ledger, replicates(ledger))
    return time.process_time() - start


@pytest.mark.slow
def test_twice_the_answers_take_less_than_three_times_the_time() -> None:
    assert seconds(40_000) < 3 * seconds(20_000)
