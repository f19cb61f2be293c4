"""What the sample page shows of one reply: its text, where the extracted answer stands in it, how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.decode import Json, encode
from kvl_eval.flags import meaning
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.page_data import LONGEST, text
from kvl_eval.reports.runs import ReportRun, main_rows, scores_of, task_of
from kvl_eval.reports.sample_facts import is_numbers, protocol_score, reply_facts
from kvl_eval.reports.spans import shown_span
from kvl_eval.reports.table import find_flips
from kvl_eval.scorers.outcomes import AnswerOutcome, answer_outcome
from kvl_eval.store.answers import Answer, answer_of
from kvl_eval.store.records import PlannedSample, Record, ScoreLine
from kvl_eval.types import ScoreView, score_view

NOT_SHOWN = ("span", "passed", "point", "box", "bbox")  # of a score's details: drawn, or shown otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredView:
    """A protocol under which the replies of a task were scored.

    Attributes:
        name:     as `scores/` calls it.
        view:     what it saw.
        sees_raw: whether it is shown the thought in its markers, and drops it by itself.
    """

    name: str
    view: ScoreView
    sees_raw: bool

    def seen(self, record: Record, answer: Answer) -> str:
        """The text that the protocol saw of a reply."""
        if self.view == "raw":
            return answer_of(record, "raw").raw
        return answer.marked if self.sees_raw else answer.text


def scored_views(run: ReportRun, task: str) -> list[ScoredView]:
    """The protocols of a task's results, the default one first."""
    views: dict[str, ScoredView] = {}
    for row in (*main_rows(run), *run.rows):
        if row.task == task:
            known = task_of(row)
            rule = known.protocols.get(row.protocol) if known is not None else None
            view = score_view(row.thinking)
            name = scores_of(row)
            views.setdefault(name, ScoredView(name=name, view=view, sees_raw=rule is not None and rule.sees_raw))
    return list(views.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleReply:
    """One planned reply with what became of it.

    Attributes:
        record: None where it is pending.
        scores: what each protocol made of it, in the order of `scored_views`.
    """

    sample: PlannedSample
    record: Record | None
    scores: Mapping[str, ScoreLine]

    @property
    def line(self) -> ScoreLine | None:
        """What the default protocol made of it, or the first there is."""
        return next(iter(self.scores.values()), None)

    @property
    def reason(self) -> str:
        """Why it failed, or why it has no score or no answer."""
        reason = self.record.reason if self.record is not None else None
        return plain(reason or (self.line.reason if self.line is not None else None) or "")

    @property
    def flags(self) -> list[str]:
        """What may have changed it, in words."""
        return [plain(meaning(flag)) for flag in (self.record.flags if self.record is not None else ())]

    @property
    def other_verdicts(self) -> list[str]:
        """The protocols whose verdict differs from that of the default one."""
        default, *others = [(name, [line]) for name, line in self.scores.items()] or [("", [])]
        return [name for name, lines in others if find_flips(default[1], lines)]

    def outcome(self) -> AnswerOutcome:
        """What became of it."""
        if self.record is None:
            return "pending"
        if self.record.status != "ok":
            return "failed"
        if self.line is None:
            return "not_scored"
        return answer_outcome(self.line.verdict, self.record.finish_reason, answer_of(self.record, "answer").text)

    def shown(self, views: Sequence[ScoredView]) -> dict[str, object]:
        """Everything the page shows of it. Texts are printable; `span` counts UTF-16 units of `text`."""
        line = self.line
        fields: dict[str, object] = {
            "status": "pending",
            "reason": self.reason,
            "message": "",
            "method": "" if line is None else text(line.extract_method),
            "extracted": None if line is None or line.extracted is None else text(line.extracted),
            "tokens": None,
            "thoughtTokens": 0,
            "text": "",
            "thinking": "",
            "prompt": "",
            "journal": "",
            "span": None,
            "chose": chosen_option(self.sample.choices, None if line is None else line.extracted),
            **self._drawn(),
            "protocols": [_shown_score(protocol_score(name, score)) for name, score in self.scores.items()],
            "counts": {},
            "time": {},
            "facts": {},
        }
        return fields if self.record is None else {**fields, **self._of_record(self.record, views)}

    def _of_record(self, record: Record, views: Sequence[ScoredView]) -> dict[str, object]:
        answer = answer_of(record, "answer")
        is_ok = record.status == "ok"
        reply = answer.text or (record.raw_output if is_ok and not answer.thinking else "")
        return {
            "status": text(record.status),
            "message": text(record.message),
            "tokens": record.tokens.answer + record.tokens.thinking if is_ok else None,
            "thoughtTokens": record.tokens.thinking,
            "text": text(reply),
            "thinking": text(answer.thinking),
            "prompt": text(record.prompt_text),
            "journal": text(record.extra.trajectory),
            "span": self._span(record, answer, reply, views),
            "counts": encode(record.tokens),
            "time": {name: seconds and round(seconds, 4) for name, seconds in record.time.items()},
            "facts": reply_facts(record, is_unclosed=answer.closed is False),
        }

    def _span(self, record: Record, answer: Answer, reply: str, views: Sequence[ScoredView]) -> list[int] | None:
        """Where the extracted answer of the default protocol stands in what is shown."""
        view = next((view for view in views if view.name in self.scores), None)
        if view is None:
            return None
        place = shown_span(self.scores[view.name].detail.get("span"), view.seen(record, answer), reply[:LONGEST])
        return None if place is None else list(place)

    def _drawn(self) -> dict[str, object]:
        """Gold box and the point of the reply, in pixels of the image, where a protocol names them."""
        details = [line.detail for line in self.scores.values()]
        return {"box": _numbers(details, ("box", "bbox"), 4), "point": _numbers(details, ("point",), 2)}


def chosen_option(choices: Sequence[str], extracted: Json) -> int | None:
    """The place of the option that was extracted, as its letter or its text."""
    if not isinstance(extracted, str) or not choices:
        return None
    if len(extracted) == 1 and 0 <= ord(extracted) - ord("A") < len(choices):
        return ord(extracted) - ord("A")
    return next((place for place, choice in enumerate(choices) if choice.strip() == extracted.strip()), None)


def right_options(choices: Sequence[str], gold: Sequence[str]) -> list[int]:
    """The places of the options that gold names, as letters or as texts."""
    places = (chosen_option(choices, answer) for answer in gold)
    return sorted({place for place in places if place is not None})


def _numbers(details: Sequence[Mapping[str, Json]], names: Sequence[str], count: int) -> Json:
    """The first detail of these names that is a list of so many numbers."""
    for detail in details:
        for name in names:
            value = detail.get(name)
            if isinstance(value, list) and len(value) == count and is_numbers(value):
                return value
    return None


def _shown_score(score: dict[str, object]) -> dict[str, object]:
    """A score without the details that the page shows otherwise."""
    detail = score["detail"]
    assert isinstance(detail, dict)
    return {**score, "detail": {name: value for name, value in detail.items() if name not in NOT_SHOWN}}
