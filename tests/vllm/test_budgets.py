"""Budget sweeps through genuine vLLM, by our own counting and by vLLM's own field, beside the bundled engine.

Greedy. Answers are compared where the model is sure of every token: another order of sums may turn a near-tie.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import kvl_eval
from kvl_eval.backends import MODELS
from kvl_eval.errors import EndpointError
from kvl_eval.media.images import read_bytes
from kvl_eval.model import KimiVL, KimiVLProcessor
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
from kvl_eval.thinking import THINK_CLOSE, unfinished_close
from kvl_eval.types import ImageRef, Policy
from tests.vllm.conftest import Server

pytestmark = pytest.mark.vllm
BUDGETS = (8, 16, 32, 64)
LIMIT = 10
ANSWER_TOKENS = 24
SURE = 0.01  # logits between the best token and the next one; sums differ by some 1e-5
STOP = "<|im_end|>"  # which the bundled engine writes into `raw_output`, and a server does not

Records = Mapping[tuple[str, int], Mapping[str, Any]]


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
    return {(record["sample_id"], record["budget"]): record for record in found.folder.records("mathvista")}


def through(server: Server, folder: Path, policy: Policy, **args: str) -> Records:
    return sweep(folder, "endpoint", policy, base_url=server.url, served_model="nano", model_args=args)


def said(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a budget made of an answer."""
    same = ("thinking", "answer", "think_closed", "budget_forced", "finish_reason", "status", "policy")
    tokens = [record["tokens"][name] for name in ("prompt", "thinking", "answer")]
    return {"raw": record["raw_output"].removesuffix(STOP), "tokens": tokens, **{name: record[name] for name in same}}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> dict[Policy, Records]:
    folder = tmp_path_factory.mktemp("bundled")
    policies: tuple[Policy, ...] = ("cut", "force")
    return {policy: sweep(folder / policy, "kimi-vl-nano-thinking", policy) for policy in policies}


@pytest.fixture(scope="module")
def sure(bundled: dict[Policy, Records]) -> set[tuple[str, int]]:
    """The samples and budgets whose every token the model chose by a clear margin."""
    location = MODELS["kimi-vl-nano-thinking"].location
    model, processor = KimiVL.from_pretrained(location, dtype="float32"), KimiVLProcessor.from_pretrained(location)
    task = get_task("mathvista")
    samples = {sample.id: sample for _, sample in zip(range(LIMIT), open_split(task, Source(), "mini"), strict=False)}
    prompts = {name: _inputs(processor, task.prompts[task.default_prompt](one)[0]) for name, one in samples.items()}
    found = {
        key
        for key, record in bundled["force"].items()
        if _margin(model, processor, prompts[key[0]], record["raw_output"], record["budget_forced"]) > SURE
    }
    assert len(found) > LIMIT * len(BUDGETS) / 2
    return found


def _inputs(processor: KimiVLProcessor, message: Any) -> dict[str, Any]:
    images = [
        Image.open(io.BytesIO(read_bytes(part))).convert("RGB") for part in message.parts if isinstance(part, ImageRef)
    ]
    pictures = iter(images)
    content = [
        {"type": "image", "image": next(pictures)} if isinstance(part, ImageRef) else {"type": "text", "text": part}
        for part in message.parts
    ]
    return dict(processor.encode([{"role": "user", "content": content}], images))


@torch.no_grad()
def _margin(model: KimiVL, processor: KimiVLProcessor, inputs: Mapping[str, Any], raw: str, forced: bool) -> float:
    """By how much the least certain token of an output was chosen; a forced marker was not chosen.

    Negative where these tokens are not the ones that were sampled, so that nothing can be told.
    """
    thought, marker, answer = raw.partition(THINK_CLOSE)
    parts = [(thought, True), (marker, not forced), (answer, True)]
    encode = processor.tokenizer.encode
    written = [(token, chosen) for text, chosen in parts for token in encode(text, allow_special=True)]
    ids = torch.tensor([[*inputs["input_ids"][0].tolist(), *(token for token, _ in written)]])
    logits = model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0]
    margins = []
    for (token, chosen), step in zip(written, logits[-len(written) - 1 : -1], strict=True):
        if chosen:
            others = step.clone()
            others[token] = -torch.inf
            margins.append(float(step[token] - others.max()))
    return min(margins, default=-1.0)


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
    ends = {record["finish_reason"] for record in served.values()}
    forced = sum(record["budget_forced"] for record in served.values())
    assert (ends == {"stop", "budget"} and not forced) if policy == "cut" else forced > LIMIT


def test_vllms_own_budget_closes_a_thought_where_ours_does(
    thinking_server: Server, tmp_path: Path, bundled: dict[Policy, Records], sure: set[tuple[str, int]]
) -> None:
    """Equal but for one thing: behind a closing marker that the model had begun vLLM writes the whole marker."""
    served = through(thinking_server, tmp_path, "force", budget="thinking_token_budget")
    assert served.keys() == bundled["force"].keys()
    for (name, budget), record in served.items():
        ours = said(bundled["force"][name, budget])
        assert record["tokens"]["thinking"] <= budget
        assert record["raw_output"].count(THINK_CLOSE) == 1
        if record.get("extra", {}).get("unfinished_marker"):
            surplus = unfinished_close(record["thinking"].encode())
            assert record["budget_forced"] and surplus
            assert record["tokens"]["thinking"] == budget
            assert record["thinking"].encode()[:-surplus].decode() == ours["thinking"]
        elif (name, budget) in sure:
            assert said(record) == ours, (name, budget)
    assert sum(record["budget_forced"] for record in served.values()) > LIMIT


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
