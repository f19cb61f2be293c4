"""Data of the sample browser: script files that register it, so that it loads from disk as well as over http.

`data/index.js` holds what lists and filters need of every sample, `data/c0.js`, `data/c1.js`, ... the samples
themselves. Texts are ASCII-only JSON in which control and direction characters are already visible escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from kvl_eval.decode import encode
from kvl_eval.flags import meaning
from kvl_eval.reports import numbers
from kvl_eval.reports.links import sample_key
from kvl_eval.reports.pace import Pace
from kvl_eval.reports.page_data import Chunks, Names, parsed, text
from kvl_eval.reports.runs import ReportRun, main_rows, scores_of, task_names
from kvl_eval.reports.sample_facts import protocol_score, reply_facts, shown_media
from kvl_eval.reports.thumbnails import Thumbnails
from kvl_eval.store.answers import answer_of
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.records import Key, PlanEntry, Record, ScoreLine

UNANSWERED = ("failed", "pending")
PREVIEW = 80  # characters of the question in the list


@dataclass(slots=True, kw_only=True)
class IndexRow:
    """What lists and filters need of one sample. The page reads the columns by these names; texts are numbers there.

    Attributes:
        truncated: 1 where the text was cut off, and `flipped` where runs have different verdicts on it; else 0.
        place:     within the chunk.
    """

    run: int
    task: int
    id: str
    key: str
    verdict: int
    reason: int
    truncated: int
    flipped: int = 0
    repeat: int
    budget: int
    categories: list[int]
    flags: list[int]
    question: str
    chunk: int
    place: int

    @property
    def across(self) -> str:
        """The key without the run: the same for the same sample of all runs."""
        return self.key.partition("/")[2]


def write_browser(runs: Sequence[ReportRun], out: OutputFolder, thumbnails: Thumbnails) -> int:
    """Write `data/` below `out` and return the number of samples in it. Samples never answered are listed too."""
    folder = out.path("data")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.js"):
        old.unlink()
    chunks, names = Chunks(out), Names()
    images = [entry.sample.media for run in runs for entry in run.folder.plan()]
    pace = Pace(len(images), sum(images))
    rows = [
        row
        for run in runs
        for task in task_names([run])
        for row in _task_rows(run, task, chunks, names, thumbnails, pace)
    ]
    chunks.flush()
    _mark_flips(rows, {names.known.get(name) for name in UNANSWERED})
    columns = [column.name for column in fields(IndexRow)]
    index = {
        "runs": [{"id": run.run_id, "model": run.model, "demo": run.demo} for run in runs],
        "names": list(names.known),
        "rows": [[getattr(row, column) for column in columns] for row in rows],
        "columns": columns if rows else [],
    }
    out.write([f"kvl.index({parsed(index)});\n".encode("ascii")], "data", "index.js")
    return len(rows)


def _task_rows(
    run: ReportRun, task: str, chunks: Chunks, names: Names, thumbnails: Thumbnails, pace: Pace
) -> list[IndexRow]:
    """Index rows of one task of one run in plan order; its samples go to `chunks` in the order they were answered."""
    plan = {entry.key: _slim(entry) for entry in run.folder.plan(task)}
    scores = {protocol: _scores(run, task, protocol) for protocol in _protocols(run, task)}
    rows: dict[Key, IndexRow] = {}
    for record in run.folder.records(task):
        entry = plan.get(record.key)
        if entry is not None:
            ours = {protocol: lines[record.key] for protocol, lines in scores.items() if record.key in lines}
            stored = thumbnails.store(record, run.folder.path / "report" / "media")
            place = chunks.add(_sample(run, entry, record, ours, stored))
            rows[record.key] = _index_row(run, entry, record, next(iter(ours.values()), None), place, names)
            pace.step(entry.sample.media)
    for key, entry in plan.items():
        if key not in rows:
            place = chunks.add(_pending(run, entry, {}))
            rows[key] = _index_row(run, entry, None, None, place, names)
    return [rows[key] for key in plan]


def _slim(entry: PlanEntry) -> PlanEntry:
    """The entry without its row, which may be large; that of an own table is shown."""
    return entry if entry.task.startswith("file:") else replace(entry, sample=replace(entry.sample, row={}))


def _protocols(run: ReportRun, task: str) -> list[str]:
    """Their names in `scores/`, the default one first."""
    rows = [*main_rows(run), *run.rows]
    return list(dict.fromkeys(scores_of(row) for row in rows if row.task == task))


def _scores(run: ReportRun, task: str, protocol: str) -> Mapping[Key, ScoreLine]:
    return {line.key: line for line in run.folder.scores(task, protocol)}


def _index_row(
    run: ReportRun,
    entry: PlanEntry,
    record: Record | None,
    score: ScoreLine | None,
    place: tuple[int, int],
    names: Names,
) -> IndexRow:
    verdict, reason = "pending", ""
    if record is not None:
        verdict = record.status if record.status != "ok" else "not_scored" if score is None else score.verdict
        reason = record.reason or (score.reason if score is not None else None) or ""
    labels = [f"{name}: {value}" for name, values in entry.sample.categories.items() for value in values]
    categories = [names.number(numbers.plain(label)) for label in labels]
    return IndexRow(
        run=run.number,
        task=names.number(numbers.plain(entry.task)),
        id=numbers.plain(entry.sample_id),
        key=sample_key(run.number, entry.task, entry.key),
        verdict=names.number(numbers.plain(verdict)),
        reason=names.number(numbers.plain(reason)),
        truncated=int(record is not None and record.finish_reason in ("length", "budget")),
        repeat=entry.repeat,
        budget=names.number("" if entry.budget is None else numbers.budget(entry)),
        categories=categories,
        flags=[names.number(numbers.plain(meaning(flag))) for flag in (record.flags if record is not None else ())],
        question=numbers.plain(" ".join(entry.sample.question.split())[:PREVIEW]),
        chunk=place[0],
        place=place[1],
    )


def _mark_flips(rows: Sequence[IndexRow], unanswered: set[int | None]) -> None:
    """Set `flipped` where two runs that both answered a sample have different verdicts on it."""
    judged = [row for row in rows if row.verdict not in unanswered]
    verdicts: dict[str, set[int]] = {}
    for row in judged:
        verdicts.setdefault(row.across, set()).add(row.verdict)
    for row in judged:
        row.flipped = int(len(verdicts[row.across]) > 1)


def _pending(run: ReportRun, entry: PlanEntry, scores: Mapping[str, ScoreLine]) -> dict[str, object]:
    """What the page shows of a sample without an answer."""
    sample = entry.sample
    return {
        "key": sample_key(run.number, entry.task, entry.key),
        "question": text(sample.question),
        "choices": [text(choice) for choice in sample.choices],
        "gold": " | ".join(text(answer) for answer in sample.gold),
        "cluster": text(sample.cluster),
        "row": text(json.dumps(dict(sample.row), ensure_ascii=False, indent=1)) if sample.row else "",
        "scores": [protocol_score(protocol, line) for protocol, line in scores.items()],
        "status": "pending",
    }


def _sample(
    run: ReportRun, entry: PlanEntry, record: Record, scores: Mapping[str, ScoreLine], stored: set[str]
) -> dict[str, object]:
    """Everything the page shows of one sample; thought and answer are those that scores are made from."""
    answer = answer_of(record, "answer")
    return {
        **_pending(run, entry, scores),
        "status": text(record.status),
        "reason": text(record.reason),
        "message": text(record.message),
        "prompt": text(record.prompt_text),
        "thinking": text(answer.thinking),
        "answer": text(answer.text),
        "raw": text("" if answer.text or answer.thinking else record.raw_output),
        "tokens": encode(record.tokens),
        "time": {name: seconds and round(seconds, 4) for name, seconds in record.time.items()},
        "facts": reply_facts(record, is_unclosed=answer.closed is False),
        **shown_media(record.media, stored),
    }
