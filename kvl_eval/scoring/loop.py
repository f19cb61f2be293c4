"""The loop that scores answers, of a run folder or of a predictions file alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from kvl_eval.scoring.judged import AnswerScore, judged_scores
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.store.replies import JudgeView, Replies
from kvl_eval.tasks.base import Task
from kvl_eval.types import ScoreView


class Scorable(Protocol):
    """Something with an answer, or, where there is none to score, without."""

    @property
    def item(self) -> Item | None:
        """The answer."""

    @property
    def attempt(self) -> Hashable:
        """What the answers of one pass over the questions share."""


T = TypeVar("T", bound=Scorable)


@dataclass(frozen=True, slots=True)
class Scoring:
    """How answers are scored: one protocol of a task, what it sees of them, and the replies of a judge, if any."""

    task: Task
    protocol: str
    view: ScoreView
    replies: Replies | None = None
    judge: JudgeView | None = None

    def scores(self, answers: Iterable[T]) -> Iterator[tuple[T, AnswerScore | None]]:
        """Each answer with its score; None where there is none to score. Every answer is scored once."""
        for attempt in self._attempts(answers):
            scores = iter(self._score([answer.item for answer in attempt if answer.item is not None]))
            for answer in attempt:
                yield answer, None if answer.item is None else next(scores)

    def _attempts(self, answers: Iterable[T]) -> Iterable[list[T]]:
        """What is scored at once: one answer, or a whole pass where draws depend on the data set's order."""
        if self.task.protocols[self.protocol].score_run is None:
            return ([answer] for answer in answers)
        passes: dict[Hashable, list[T]] = {}
        for answer in answers:
            passes.setdefault(answer.attempt, []).append(answer)
        return passes.values()

    def _score(self, items: Sequence[Item]) -> list[AnswerScore]:
        if self.judge is None or self.replies is None:
            return [AnswerScore(score) for score in score_outputs(self.task, self.protocol, items, self.view)]
        return judged_scores(self.task, self.protocol, items, self.replies, self.judge)
