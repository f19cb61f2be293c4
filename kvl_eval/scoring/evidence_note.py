"""What `kvl-eval score` says of the values of episodes."""

from __future__ import annotations

from kvl_eval.printable import how_many
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.stored_answers import planned_answers
from kvl_eval.types import MISSING


def evidence_note(run: RunReader) -> str | None:
    """How many values were computed again from evidence, and which were not; None for a run without episodes."""
    others: list[str] = []
    answers = changed = 0
    for task in map(run.task, run.task_names):
        for answer in planned_answers(run, task, "answer") if task.episode is not None else ():
            if answer.item is None:
                continue
            answers += 1
            if answer.item.extraction is MISSING:
                others.append(answer.entry.sample_id)
            else:
                changed += answer.item.extraction != answer.item.answer.text
    if not answers:
        return None
    if len(others) == answers:
        return (
            f"the stored values of {how_many(answers, 'episode')} are kept: there is no evidence to compute them from"
        )
    text = f"{answers - len(others)} of {answers} values were computed again from evidence/"
    text += f", {changed} with another result" if changed else ""
    if not others:
        return text
    named = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
    return f"{text}; the others keep their values, since they have no evidence: {named}"
