"""Whether a device computes what the CPU computes in float32, on small checkpoints of both architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.engine import Place
from benchmarks.gpu_check.page import Work
from benchmarks.gpu_check.size import Size
from benchmarks.gpu_check.small import Case, Checkpoint, Reply, cases, reply, requests, written
from kvl_eval.model.base import VisionLanguageModel
from kvl_eval.types import Generation, Policy

CLOSE = 1e-3  # of the logits' spread: float32 on two devices; prompts with closer margins are left out of greedy ids
ROUNDING = (2.0, 0.01)  # bfloat16 on a device: so many times the error of bfloat16 on the CPU, and so much more
HEADER = ("holds", "figures")
POLICIES: tuple[Policy, ...] = ("cut", "force")
Answers = Mapping[Place, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A checkpoint on a device."""

    work: Work
    checkpoint: Checkpoint
    device: torch.device
    size: Size

    def model(self, place: str | torch.device, dtype: str) -> VisionLanguageModel:
        """The checkpoint, loaded."""
        checkpoint = self.checkpoint
        return checkpoint.architecture.load(checkpoint.folder, dtype=dtype, device=str(place))

    def replies(
        self, model: VisionLanguageModel, prompts: Sequence[Case], scripts: Sequence[Reply] | None = None
    ) -> list[Reply]:
        """What a model writes, or the logits that it gives to what another one wrote."""
        texts = [None] * len(prompts) if scripts is None else [script.ids for script in scripts]
        pairs = zip(prompts, texts, strict=True)
        return [reply(self.checkpoint, model, case, self.size.steps, script) for case, script in pairs]

    def answers(self, generation: Generation, place: torch.device | None = None, **settings: Any) -> Answers:
        """What the engine writes, on the device or at another place; in float32 and eight rows unless told."""
        repeats = 1 if generation.think_budgets else self.size.repeats
        asked = requests(self.checkpoint, generation, self.size.prompts, repeats)
        return written(self.checkpoint, asked, place or self.device, **settings)


def numbers(work: Work, models: Sequence[Checkpoint], device: torch.device, size: Size) -> None:
    """Greedy ids and logits against the CPU in float32, prompt by prompt."""
    for checkpoint in models:
        work.page.table(checkpoint.name, *HEADER)
        trial = Trial(work=work, checkpoint=checkpoint, device=device, size=size)
        prompts = cases(checkpoint, size.prompts)
        expected = trial.replies(trial.model("cpu", "float32"), prompts)
        _float32(trial, prompts, expected)
        _bfloat16(trial, prompts, expected)


def answers(work: Work, models: Sequence[Checkpoint], device: torch.device, size: Size) -> None:
    """Answers of the engine: alone and together, twice the same, greedy and drawn, with both policies of budgets."""
    greedy = Generation(max_new_tokens=size.steps)
    drawn = Generation(max_new_tokens=size.steps, temperature=0.8, top_p=0.95)
    for checkpoint in models:
        work.page.table(checkpoint.name, *HEADER)
        trial = Trial(work=work, checkpoint=checkpoint, device=device, size=size)
        _independent(trial, "greedy", greedy)
        _independent(trial, "drawn", drawn)
        _repeatable(trial, greedy)
        for policy in POLICIES:
            _budgets(trial, policy)


def _float32(trial: Trial, prompts: Sequence[Case], expected: Sequence[Reply]) -> None:
    model = trial.model(trial.device, "float32")
    pairs = list(zip(trial.replies(model, prompts, expected), expected, strict=True))
    apart = max(float((ours.logits - theirs.logits).abs().max() / theirs.logits.std()) for ours, theirs in pairs)
    detail = f"largest difference {apart:.1e} of their spread (at most {CLOSE:g})"
    trial.work.check("float32: logits", apart <= CLOSE, detail)
    clear = [number for number, answer in enumerate(expected) if answer.margin > CLOSE * float(answer.logits.std())]
    greedy = trial.replies(model, prompts)
    equal = [number for number in clear if greedy[number].ids == expected[number].ids]
    narrow = f"; {len(prompts) - len(clear)} with a narrow choice left out" if len(clear) < len(prompts) else ""
    detail = f"{len(equal)} of {len(clear)} prompts, {trial.size.steps} ids each{narrow}"
    trial.work.check("float32: greedy ids", len(clear) > 0 and equal == clear, detail)


def _bfloat16(trial: Trial, prompts: Sequence[Case], expected: Sequence[Reply]) -> None:
    cpu = trial.replies(trial.model("cpu", "bfloat16"), prompts, expected)
    ours = trial.replies(trial.model(trial.device, "bfloat16"), prompts, expected)
    own, other = _relative_error(ours, expected), _relative_error(cpu, expected)
    most = ROUNDING[0] * other + ROUNDING[1]
    mine, theirs = ([token for answer in each for token in answer.ids] for each in (ours, expected))
    same = sum(token == wanted for token, wanted in zip(mine, theirs, strict=True))
    detail = f"relative error {own:.3f} (CPU in bfloat16 {other:.3f}, at most {most:.3f}); "
    detail += f"{same} of {len(theirs)} best ids equal"
    trial.work.check("bfloat16: logits", own <= most, detail)  # NaN is at most nothing


def _relative_error(ours: Sequence[Reply], expected: Sequence[Reply]) -> float:
    mine, theirs = (torch.cat([answer.logits for answer in each]) for each in (ours, expected))
    return float((mine - theirs).norm() / theirs.norm())


def _independent(trial: Trial, name: str, generation: Generation) -> None:
    """Answers together, alone, and on the CPU."""
    together, alone = trial.answers(generation), trial.answers(generation, rows=1)
    detail = _agreement(together, alone)
    trial.work.check(f"float32, {name}: batch 8 as one by one", together == alone, detail)
    _as_on_cpu(trial, f"float32, {name}", generation, together)


def _repeatable(trial: Trial, generation: Generation) -> None:
    """Two runs of the same in bfloat16; whether batches agree there is a figure and no check."""
    first, second = (trial.answers(generation, dtype=torch.bfloat16) for _ in range(2))
    alone = trial.answers(generation, dtype=torch.bfloat16, rows=1)
    detail = f"{_agreement(first, second)}; batch 8 as one by one: {_agreement(first, alone)}"
    trial.work.check("bfloat16, greedy: two runs", first == second, detail)


def _budgets(trial: Trial, policy: Policy) -> None:
    """A sweep of budgets against a run for each, and against the CPU."""
    budgets = trial.size.budgets
    generations = [
        Generation(max_new_tokens=None, think_budgets=some, budget_policy=policy, answer_tokens=trial.size.answer)
        for some in (budgets, *((budget,) for budget in budgets))
    ]
    sweep, *apart = (trial.answers(generation) for generation in generations)
    singles = {place: text for answers in apart for place, text in answers.items()}
    detail = _agreement(sweep, singles)
    trial.work.check(f"budgets, {policy}: one sweep as a run for each", sweep == singles, detail)
    _as_on_cpu(trial, f"budgets, {policy}", generations[0], sweep)


def _as_on_cpu(trial: Trial, name: str, generation: Generation, ours: Answers) -> None:
    if trial.device.type != "cpu":
        theirs = trial.answers(generation, torch.device("cpu"))
        trial.work.check(f"{name}: as on the CPU", ours == theirs, _agreement(ours, theirs))


def _agreement(ours: Answers, theirs: Answers) -> str:
    return f"{sum(theirs.get(place) == text for place, text in ours.items())} of {len(ours)} equal"
