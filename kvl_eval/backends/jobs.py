"""What every backend keeps of a request under way, and the completions that come of it: answers and failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kvl_eval.backends.base import Request
from kvl_eval.engine.trajectory import Alphabet, Output
from kvl_eval.errors import DecodeError, SampleError
from kvl_eval.types import Completion, MediaInfo, Policy, TokenCounts


@dataclass(slots=True)
class Job:
    """A request under way.

    Attributes:
        pulled:        when it was taken, on the clock of `time.perf_counter`.
        load:          seconds that its pictures took.
        prompt_tokens: of the whole prompt, where the backend counts them.
        open:          (repeat, budget) of the answers that it still waits for.
    """

    request: Request
    pulled: float = field(default_factory=time.perf_counter)
    load: float = 0.0
    media: tuple[MediaInfo, ...] = ()
    prompt_text: str = ""
    prompt_tokens: int = 0
    open: set[tuple[int, int | None]] = field(init=False)

    def __post_init__(self) -> None:
        budgets = self.request.generation.think_budgets or (None,)
        self.open = {(repeat, budget) for repeat in self.request.repeats for budget in budgets}

    @property
    def seconds(self) -> float:
        """Since the request was taken."""
        return time.perf_counter() - self.pulled

    @property
    def seeds(self) -> dict[int, int]:
        """{repeat: its seed}."""
        return dict(zip(self.request.repeats, self.request.seeds, strict=True))

    def policy(self, budget: int | None) -> Policy | None:
        """What happens to a thought at its budget; None without one."""
        return None if budget is None else self.request.generation.budget_policy

    def tokens(self, thinking: int = 0, answer: int = 0) -> TokenCounts:
        """Counts of an answer to this prompt."""
        image = sum(info.tokens for info in self.media)
        return TokenCounts(prompt=self.prompt_tokens, image=image, thinking=thinking, answer=answer)


def finished(job: Job, repeat: int, answer: Completion) -> Completion:
    """What a model wrote, with what its job knows; the job waits for it no longer."""
    job.open.discard((repeat, answer.budget))
    return replace(
        answer,
        repeat=repeat,
        policy=job.policy(answer.budget),
        media=job.media,
        prompt_text=job.prompt_text,
        seed=job.seeds[repeat],
    )


def finished_output(job: Job, repeat: int, output: Output, alphabet: Alphabet) -> Completion:
    """The same of a trajectory's output."""
    raw, thought = output.texts(alphabet, job.request.prefix)
    thinking = output.thinking_tokens(alphabet, thought, job.request.prefix)
    answer = Completion(
        budget=output.budget,
        raw_output=raw,
        thinking=thought.thinking,
        answer=thought.answer,
        think_closed=thought.closed,
        thought=thought.family,
        budget_forced=output.forced,
        finish_reason=output.finish,
        tokens=job.tokens(thinking, output.thinking + output.answer - thinking),
        trajectory_id=None if output.budget is None else f"{job.request.key}/{repeat}",
    )
    return finished(job, repeat, answer)


def failed(job: Job, error: SampleError, *, repeat: int | None = None, worker: str = "") -> Iterator[Completion]:
    """A failed completion for each answer that the job still waits for, of one repeat or of all; none is left then."""
    text = "; ".join(part for part in (error.message, error.where, error.why) if part)
    seeds = job.seeds
    slots = sorted((slot for slot in job.open if repeat in (None, slot[0])), key=lambda slot: (slot[0], slot[1] or 0))
    for slot in slots:
        job.open.discard(slot)
        yield Completion(
            repeat=slot[0],
            budget=slot[1],
            policy=job.policy(slot[1]),
            status="failed",
            reason=error.reason,
            message=text,
            finish_reason="error",
            tokens=job.tokens(),
            media=job.media,
            prompt_text=job.prompt_text,
            seed=seeds[slot[0]],
            time={"load": job.load, "total": job.seconds},
            worker=worker,
        )


def unstorable(answer: Completion, error: DecodeError) -> Completion:
    """The failure of an answer that holds what could not be read again, such as a count of 10^400."""
    return Completion(
        repeat=answer.repeat,
        budget=answer.budget,
        status="failed",
        reason="unusable_answer",
        message=f"the answer cannot be stored: {error.message}",
        finish_reason="error",
        seed=answer.seed,
    )
