"""`--backend vllm` with vLLM itself: the check of an installation, and sweeps with both policies, by the command line.

Answers are compared where the model is sure of every token: another order of sums may turn a near-tie.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kvl_eval
from kvl_eval.check_vllm import NEW_TOKENS, SAMPLES, SURE
from kvl_eval.cli.main import main
from kvl_eval.store.records import Record
from kvl_eval.store.run_folder import RunFolder
from tests.vllm.conftest import check_program
from tests.vllm.margins import Margins

pytestmark = pytest.mark.vllm
STOP = "<|im_end|>"  # which the bundled engine writes into `raw_output`, and a server does not


@pytest.fixture(autouse=True)
def _installed() -> None:
    check_program()


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


def sweep(folder: Path, backend: str, policy: str, *more: str) -> dict[tuple[str, int | None], Record]:
    asked = ("--task", "mathvista", "--limit", "6", "--think-budget", "16,48", "--answer-tokens", "16")
    sampling = ("--temperature", "0", "--budget-policy", policy, "--backend", backend, "--output-dir", str(folder))
    assert code_of("sweep", "--model", "kimi-vl-nano-thinking", *asked, *sampling, "--no-progress", *more) == 0
    [path] = [path for path in folder.iterdir() if path.is_dir()]
    assert (path / "vllm.log").is_file() == (backend == "vllm")
    return {(record.sample_id, record.budget): record for record in RunFolder.open(path).records("mathvista")}


def said(record: Record) -> tuple[Any, ...]:
    tokens = record.tokens
    return (record.raw_output.removesuffix(STOP), record.finish_reason, tokens.prompt, tokens.thinking, tokens.answer)


def test_check_vllm_finds_the_bundled_engines_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("check", "vllm", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and report["answers"] == len(SAMPLES) == 20 and report["differences"] == []
    assert report["version"].startswith("0.")


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_sweeps_through_a_server_of_their_own_are_the_bundled_engines(tmp_path: Path, policy: str) -> None:
    bundled = sweep(tmp_path / "bundled", "local", policy)
    served = sweep(tmp_path / "served", "vllm", policy)
    margins = Margins("kimi-vl-nano-thinking")
    sure = {key for key, record in bundled.items() if margins.sure("mathvista", record)}
    assert served.keys() == bundled.keys() and len(sure) > len(bundled) / 2
    for key in sure:
        assert said(served[key]) == said(bundled[key]), key


def test_the_demo_model_is_sure_of_the_answers_that_are_compared(tmp_path: Path) -> None:
    asked = {"sample_ids": SAMPLES, "max_new_tokens": NEW_TOKENS, "output_dir": tmp_path, "backend": "local"}
    records = list(kvl_eval.evaluate("kimi-vl-nano", ["mathvista"], **asked).folder.records("mathvista"))
    margins = Margins("kimi-vl-nano")
    assert len(records) == len(SAMPLES) and all(margins.sure("mathvista", record, SURE) for record in records)
