"""Where two runs differ in what may have changed their answers: flags that one side alone carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvl_eval.flags import in_order, meaning
from kvl_eval.reports.numbers import plain
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.types import Policy

SHOWN = 3  # samples that the text names on each side
AnswerKey = tuple[str, int]
"""Sample id and repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDifference:
    """Samples, answered in both runs, that carry a flag in one of them alone."""

    flag: str
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    def as_text(self) -> str:
        """`image decoded to a single color: 2 in A alone (17, 23), 0 in B alone`."""
        sides = (("A", self.only_a), ("B", self.only_b))
        return f"{plain(meaning(self.flag))}: {', '.join(_side(name, ids) for name, ids in sides)}"


def _side(name: str, ids: tuple[str, ...]) -> str:
    more = ["..."] if len(ids) > SHOWN else []
    named = ", ".join([*map(plain, ids[:SHOWN]), *more])
    return f"{len(ids)} only in {name}" + (f" ({named})" if ids else "")


def flags_of(
    run: RunReader, task: str, budget: int | None, policy: Policy | None
) -> Mapping[AnswerKey, frozenset[str]]:
    """The flags of each answer within one budget."""
    return {
        (record.sample_id, record.repeat): frozenset(record.flags)
        for record in run.folder.records(task)
        if record.status == "ok" and (record.budget, record.policy) == (budget, policy)
    }


def flag_differences(
    a: Mapping[AnswerKey, frozenset[str]], b: Mapping[AnswerKey, frozenset[str]]
) -> tuple[FlagDifference, ...]:
    """Flags in which answers to the same samples differ, in the order of `kvl_eval.flags`."""
    shared = [key for key in a if key in b]
    differing = in_order(flag for key in shared for flag in a[key] ^ b[key])
    return tuple(
        FlagDifference(
            flag=flag,
            only_a=tuple(key[0] for key in shared if flag in a[key] - b[key]),
            only_b=tuple(key[0] for key in shared if flag in b[key] - a[key]),
        )
        for flag in differing
    )
