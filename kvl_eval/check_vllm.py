"""`kvl-eval check vllm`: whether an installation of vLLM computes what the bundled engine computes, on the demo model.

Twenty greedy answers in float32. The demo model is sure of every token of them (SURE logits and more before the next
one), so that another order of sums changes none: what differs is a fault of kernels, of their options or of vLLM.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.backends import MODELS, make_backend
from kvl_eval.backends.base import Backend, EngineSettings, Request, ServerNeeds, Settings
from kvl_eval.backends.managed_vllm import ManagedVllm
from kvl_eval.decode import Json
from kvl_eval.sources import Source
from kvl_eval.tasks import get_task, open_split
from kvl_eval.types import Completion, Generation

MODEL = "kimi-vl-nano"
TASK = "mathvista"
SAMPLES = (
    *("3", "10", "12", "13", "24", "25", "26", "29", "40", "46"),
    *("50", "54", "55", "61", "63", "67", "76", "78", "79", "87"),
)
SURE = 1.0
NEW_TOKENS = 24
STOP = "<|im_end|>"  # which the bundled engine writes into `raw_output`, and a server does not
MOST_TEXT = 2000  # bytes of a prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A sample that was answered otherwise."""

    sample: str
    bundled: str
    vllm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmReport:
    """Whether an installation can be trusted. `asdict` gives what `check vllm --json` prints.

    Attributes:
        version, program: of what was checked.
        answers:          how many were compared.
        differences:      those that are not the bundled engine's.
        seconds:          that the check took, the start of the server included.
    """

    ok: bool
    version: str
    program: str
    answers: int
    differences: list[Difference]
    seconds: float


def check(arguments: Mapping[str, Json] | None = None) -> VllmReport:
    """Start the vLLM that is found, ask it, and compare. `arguments` are model arguments of `--backend vllm`.

    Raises: EndpointError, where none is found, or it does not start.
    """
    begun = time.monotonic()
    engine = EngineSettings(dtype="float32", model_args=arguments or {})
    served = ManagedVllm(MODELS[MODEL].location, Settings(engine=engine), name=MODEL, family="nano")
    served.take_plan(ServerNeeds(images=1, text=MOST_TEXT, answer=NEW_TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        served.log_into(Path(folder))
        theirs = asyncio.run(_answers(served))
    ours = asyncio.run(_answers(make_backend(MODEL, Settings(engine=EngineSettings(dtype="float32", device="cpu")))))
    differences = [
        Difference(sample=name, bundled=ours[name], vllm=theirs.get(name, "no answer"))
        for name in SAMPLES
        if ours[name] != theirs.get(name)
    ]
    return VllmReport(
        ok=not differences,
        version=served.installation.version,
        program=str(served.installation.program),
        answers=len(SAMPLES),
        differences=differences,
        seconds=round(time.monotonic() - begun, 1),
    )


def requests(names: Sequence[str] = SAMPLES) -> Iterator[Request]:
    """The questions of the check."""
    task = get_task(TASK)
    generation = Generation(max_new_tokens=NEW_TOKENS)
    for sample in open_split(task, Source(), "mini"):
        if sample.id in names:
            messages = tuple(task.prompts[task.default_prompt](sample))
            yield Request(key=sample.id, messages=messages, generation=generation, seeds=(0,))


def as_text(report: VllmReport) -> str:
    """A report a person can read."""
    equal = report.answers - len(report.differences)
    mark = "ok  " if report.ok else "FAIL"
    lines = [
        f"vLLM {report.version}, {report.program}",
        f"  {mark}  {equal} of {report.answers} answers of {MODEL} in float32 equal those of the bundled engine",
        f"        {report.seconds:g} s, mostly to start the server",
    ]
    for one in report.differences:
        lines.append(f"        {one.sample}: {one.bundled!r} from the bundled engine, {one.vllm!r} from vLLM")
    lines.append("usable" if report.ok else "not usable: its answers differ from the model's")
    return "\n".join(lines)


async def _answers(backend: Backend) -> dict[str, str]:
    """{sample: what was answered, or why nothing was}."""
    try:
        return {key: _said(completion) async for key, completion in backend.generate(requests())}
    finally:
        await backend.close()


def _said(completion: Completion) -> str:
    if completion.status != "ok":
        return f"failed: {completion.message or completion.reason}"
    return completion.raw_output.removesuffix(STOP)
