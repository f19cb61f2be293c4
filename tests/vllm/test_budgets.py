"""Budget sweeps through genuine vLLM, by our own counting and by vLLM's own field, beside the bundled engine.

Greedy. Answers are compared where the model is sure of every token: another order of sums may turn a near-tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import kvl_eval
from kvl_eval.errors import EndpointError
from kvl_eval.store.records import Record
from kvl_eval.thinking import THINK_CLOSE, unfinished_close
from kvl_eval.types import Policy
from tests.vllm.conftest import Server
from tests.vllm.margins import Margins

pytestmark = pytest.mark.vllm
BUDGETS = (8, 16, 32, 64)
LIMIT = 10
ANSWER_TOKENS = 24
STOP = "<|im_end|>"  # which the bundled engine writes into `raw_output`, and a server does not

Records = Mapping[tuple[str, int], Record]


def sweep(folder: Path, model: str, policy: Policy, **options: Any) -> Records:
    found = kvl_eval.evaluate(
        model,
        ["mathvista"],
        limit=LIMIT,
        split="mini",
        think_budget=BUDGETS,
        budget_policy=policy,
        answer_tokens=ANSWER_TOKENS,
        temperature=0.0,
        output_dir=folder,
        **options,
    )
    assert found.exit_code == 0, found.message
    return {(record.sample_id, record.budget): record for record in found.folder.records("mathvista")}


def through(server: Server, folder: Path, policy: Policy, **args: str) -> Records:
    return sweep(folder, "endpoint", policy, base_url=server.url, served_model="nano", model_args=args)


def said(record: Record) -> dict[str, Any]:
    """What a budget made of an answer."""
    same = ("thinking", "answer", "think_closed", "budget_forced", "finish_reason", "status", "policy")
    tokens = [getattr(record.tokens, name) for name in ("prompt", "thinking", "answer")]
    fields = {name: getattr(record, name) for name in same}
    return {"raw": record.raw_output.removesuffix(STOP), "tokens": tokens, **fields}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> dict[Policy, Records]:
    folder = tmp_path_factory.mktemp("bundled")
    policies: tuple[Policy, ...] = ("cut", "force")
    return {policy: sweep(folder / policy, "kimi-vl-nano-thinking", policy) for policy in policies}


@pytest.fixture(scope="module")
def sure(bundled: dict[Policy, Records]) -> set[tuple[str, int]]:
    """The samples and budgets whose every token the model chose by a clear margin."""
    margins = Margins("kimi-vl-nano-thinking")
    found = {key for key, record in bundled["force"].items() if margins.sure("mathvista", record)}
    assert len(found) > LIMIT * len(BUDGETS) / 2
    return found


@pytest.mark.parametrize("policy", ["cut", "force"])
def test_budgets_counted_on_vllms_tokens_are_the_bundled_engines(
    thinking_server: Server,
    tmp_path: Path,
    bundled: dict[Policy, Records],
    sure: set[tuple[str, int]],
    policy: Policy,
) -> None:
    served = through(thinking_server, tmp_path, policy)
    assert served.keys() == bundled[policy].keys()
    for key in sure:
        assert said(served[key]) == said(bundled[policy][key]), key
    ends = {record.finish_reason for record in served.values()}
    forced = sum(record.budget_forced for record in served.values())
    assert (ends == {"stop", "budget"} and not forced) if policy == "cut" else forced > LIMIT


def test_vllms_own_budget_closes_a_thought_where_ours_does(
    thinking_server: Server, tmp_path: Path, bundled: dict[Policy, Records], sure: set[tuple[str, int]]
) -> None:
    """Equal but for one thing: behind a closing marker that the model had begun vLLM writes the whole marker."""
    served = through(thinking_server, tmp_path, "force", budget="thinking_token_budget")
    assert served.keys() == bundled["force"].keys()
    for (name, budget), record in served.items():
        ours = said(bundled["force"][name, budget])
        assert record.tokens.thinking <= budget
        assert record.raw_output.count(THINK_CLOSE) == 1
        if record.extra.others.get("unfinished_marker"):
            surplus = unfinished_close(record.thinking.encode())
            assert record.budget_forced and surplus
            assert record.tokens.thinking == budget
            assert record.thinking.encode()[:-surplus].decode() == ours["thinking"]
        elif (name, budget) in sure:
            assert said(record) == ours, (name, budget)
    assert sum(record.budget_forced for record in served.values()) > LIMIT


@pytest.mark.parametrize(
    ("policy", "budget", "why"),
    [("cut", 16, "--budget-policy force"), ("force", 3, "a budget of 3 is too small")],
)
def test_what_vllms_own_budget_cannot_do_is_refused(
    thinking_server: Server, tmp_path: Path, policy: Policy, budget: int, why: str
) -> None:
    with pytest.raises(EndpointError) as caught:
        kvl_eval.evaluate(
            "endpoint",
            ["mathvista"],
            limit=1,
            split="mini",
            think_budget=(budget,),
            budget_policy=policy,
            temperature=0.0,
            output_dir=tmp_path,
            base_url=thinking_server.url,
            served_model="nano",
            model_args={"budget": "thinking_token_budget"},
        )
    assert caught.value.code == "endpoint.budget" and why in caught.value.render()
