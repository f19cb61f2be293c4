"""Scoring of stored answers: records become `scores/` and `results.json`. Loads neither a model nor a data set.

Memory grows only by what aggregation needs: a sample's row is read again from the plan if an aggregate asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kvl_eval import __version__
from kvl_eval.errors import DataError, unknown
from kvl_eval.scoring.judged import JudgeFields, can_be_judged, judged_scores
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.scoring.result_rows import Part, Row, result_row
from kvl_eval.store.journal import SCHEMA, LineReader
from kvl_eval.store.names import scores_name
from kvl_eval.store.replies import Replies, View
from kvl_eval.store.run_folder import RunFolder, legacy_key_of
from kvl_eval.store.task_records import RecordIndex
from kvl_eval.tasks import get_task
from kvl_eval.tasks.base import Task
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import MISSING, Policy, Sample, Score, Scored, ThinkingView

CHUNK = 256  # answers scored at once where a protocol does not need the whole run
STOP_TOKENS = ("<|im_end|>", "[EOS]")

Lookup = Callable[[str], Task]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One stored answer on its way through a protocol."""

    part: Part
    entry: Mapping[str, Any]
    sample: Sample
    text: str


def rescore(
    folder: RunFolder,
    protocol: str | None = None,
    thinking: ThinkingView = "split",
    lookup: Lookup = get_task,
    *,
    strict: bool = False,
) -> dict[str, Any]:
    """Score stored answers and write the results.

    `protocol` is a name, `all`, or None: each task's default and what it shows beside. A protocol that a judge serves
    is also scored with the stored replies of each judge that was shown the same of the answers.

    Rows of other protocols that results.json holds are kept.
    Returns: results.json. Raises: UsageError for a protocol a task has not, DataError for a damaged plan.
    """
    if folder.problem is None:
        folder.check_plan()
    rows: list[Row] = []
    for name in _task_names(folder):
        task = lookup(name)
        index = folder.index(name, strict=strict)
        replies = Replies(folder, name)
        folder.notices += [notice for notice in replies.damage if notice not in folder.notices]
        for chosen in _protocols(task, protocol):
            for view in _views(task, chosen, thinking, replies):
                rows += _score_task(folder, task, index, chosen, thinking, replies, view)
        replies.close()
    kept = [row for row in _stored_rows(folder) if _row_key(row) not in {_row_key(row) for row in rows}]
    manifest = folder.legacy_manifest
    results = {
        "schema": SCHEMA,
        "run_id": folder.run_id,
        "created": manifest.get("created"),
        "model": manifest.get("model"),
        "demo": bool(manifest.get("demo")),
        "rows": _in_plan_order(kept + rows, _task_names(folder)),
    }
    folder.legacy_write_results(results)
    return results


def fresh_results(folder: RunFolder, lookup: Lookup = get_task) -> dict[str, Any]:
    """results.json, made first where a run that did not end left none, a damaged one, or one older than its records."""
    try:
        stored = folder.legacy_results()
    except DataError:
        stored = None
    if stored is not None and folder.status == "finished":
        return stored
    config = folder.legacy_manifest.get("config") or {}
    return rescore(folder, config.get("protocol"), config.get("thinking", "split"), lookup)


def _task_names(folder: RunFolder) -> list[str]:
    """The run's tasks in plan order: from the manifest, or, where that is unknown, from the plan."""
    named = list(folder.legacy_manifest.get("data") or {})
    return named or list(dict.fromkeys(entry["task"] for entry in folder.legacy_plan()))


def _protocols(task: Task, protocol: str | None) -> list[str]:
    if protocol == "all":
        return list(task.protocols)
    if protocol is None:
        return [task.default_protocol, *task.beside]
    if protocol not in task.protocols:
        raise unknown("protocol", protocol, [*task.protocols, "all"], f"kvl-eval describe {task.name}")
    return [protocol]


def _views(task: Task, protocol: str, thinking: ThinkingView, replies: Replies) -> list[View | None]:
    """No judge, and then each judge that was asked about what this protocol is shown."""
    if not can_be_judged(task, task.protocols[protocol]):
        return [None]
    return [None, *(view for view in replies.views if view.thinking == thinking)]


def _stored_rows(folder: RunFolder) -> list[Row]:
    try:
        return list(folder.legacy_results()["rows"])
    except (DataError, KeyError):
        return []


def _row_key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("task", "split", "budget", "policy", "protocol", "thinking", "judge"))


def _in_plan_order(rows: Iterable[Row], tasks: Sequence[str]) -> list[Row]:
    place = {name: number for number, name in enumerate(tasks)}
    return sorted(
        rows,
        key=lambda row: (
            place.get(row["task"], len(place)),
            row["protocol"] != "official",
            row["protocol"],
            row["thinking"],
            row["budget"] is None,
            row["budget"] or 0,
        ),
    )


# -- one task under one protocol --------------------------------------------------------------------------------


def _score_task(
    folder: RunFolder,
    task: Task,
    index: RecordIndex,
    protocol: str,
    thinking: ThinkingView,
    replies: Replies,
    view: View | None,
) -> list[Row]:
    parts: dict[tuple[int | None, Policy | None], Part] = {}
    judge = None if view is None else view.judge
    answers = _answers(folder, task, index, thinking, parts)
    batches = _chunks(answers) if task.protocols[protocol].score_run is None else _whole_runs(answers)
    rows_of = _RowReader(folder)
    lines = _score_lines(task, protocol, thinking, batches, rows_of, replies, view)
    folder.legacy_write_scores(task.name, scores_name(protocol, thinking, judge), __version__, lines)
    try:
        return [result_row(folder.legacy_manifest, task, part, protocol, thinking, judge) for part in parts.values()]
    finally:
        rows_of.close()


def stored_answers(folder: RunFolder, task: Task, thinking: ThinkingView) -> Iterator[tuple[Sample, str]]:
    """What a run has answered, in plan order: each sample without media, and its output as `score_outputs` takes it."""
    for answer in _answers(folder, task, folder.index(task.name), thinking, {}):
        yield answer.sample, answer.text


def _answers(
    folder: RunFolder,
    task: Task,
    index: RecordIndex,
    thinking: ThinkingView,
    parts: dict[tuple[int | None, Policy | None], Part],
) -> Iterator[_Answer]:
    """The stored answers in plan order, counting into `parts` what was planned, failed and answered."""
    reader = folder.legacy_reader(task.name, index)
    sample: Sample | None = None
    row: Any = None
    try:
        for entry in folder.legacy_plan(task.name):
            key = legacy_key_of(entry)
            part = parts.setdefault((key.budget, key.policy), Part(key.budget, key.policy))
            part.planned += 1
            if entry.get("group") is not None:
                part.groups[entry["group"], key.repeat] += 1
            if key in index.failed:
                part.failed[index.failed[key]] += 1
            elif key in index.offsets:
                if sample is None or entry["row"] is not row:
                    row = entry["row"]
                    sample = _sample(task, entry)
                record = reader.at(index.offsets[key])
                _count(part, record)
                yield _Answer(part, entry, sample, answer_text(record, thinking))
    finally:
        reader.close()


def _sample(task: Task, entry: Mapping[str, Any]) -> Sample:
    sample = task.sample(entry["row"])
    return sample if sample.id == entry["sample_id"] else replace(sample, id=entry["sample_id"])


def _count(part: Part, record: Mapping[str, Any]) -> None:
    part.ok += 1
    for name, counted in part.tokens.items():
        counted.append(int(record["tokens"].get(name, 0)))
    part.truncated += record["think_closed"] is False or record["finish_reason"] in ("length", "budget")
    part.unclosed += record["think_closed"] is False
    part.forced += bool(record["budget_forced"])
    part.others.update([record["extra"]["model"]] if record.get("extra", {}).get("model") else [])
    part.seconds += record["time"].get("total", 0.0)


def answer_text(record: Mapping[str, Any], thinking: ThinkingView) -> str:
    """What a scorer is given: thought and answer between their markers, or the raw output without its stop token."""
    if thinking == "raw":
        text: str = record["raw_output"]
        stop = next((token for token in STOP_TOKENS if text.endswith(token)), "")
        return text.removesuffix(stop)
    if record["think_closed"] is None:
        return str(record["answer"])
    closing = THINK_CLOSE + record["answer"] if record["think_closed"] else ""
    return f"{THINK_OPEN}{record['thinking']}{closing}"


def _chunks(answers: Iterable[_Answer]) -> Iterator[list[_Answer]]:
    chunk: list[_Answer] = []
    for answer in answers:
        chunk.append(answer)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _whole_runs(answers: Iterable[_Answer]) -> Iterator[list[_Answer]]:
    """Each budget and repeat is a run of its own for a protocol whose draws follow the data set's order."""
    runs: dict[tuple[int | None, str | None, int], list[_Answer]] = {}
    for answer in answers:
        runs.setdefault((answer.part.budget, answer.part.policy, answer.entry["repeat"]), []).append(answer)
    yield from runs.values()


def _score_lines(
    task: Task,
    protocol: str,
    thinking: ThinkingView,
    batches: Iterable[list[_Answer]],
    rows_of: _RowReader,
    replies: Replies,
    view: View | None,
) -> Iterator[Row]:
    categories: dict[Any, Mapping[str, tuple[str, ...]]] = {}
    for batch in batches:
        items: list[Item] = [(answer.sample, answer.text, MISSING) for answer in batch]
        scores: Sequence[tuple[Score, JudgeFields]]
        if view is None:
            scores = [(score, None) for score in score_outputs(task, protocol, items, thinking=thinking)]
        else:
            scores = judged_scores(task, protocol, items, replies, view)
        for answer, (score, judge) in zip(batch, scores, strict=True):
            shared = categories.setdefault(tuple(answer.sample.categories.items()), answer.sample.categories)
            slim = replace(answer.sample, row=_PlanRow(rows_of, answer.entry["offset"]), categories=shared)
            answer.part.scored.append(Scored(sample=slim, score=score, repeat=answer.entry["repeat"]))
            yield _score_line(answer, score, protocol, judge)


def _score_line(answer: _Answer, score: Score, protocol: str, judge: JudgeFields) -> Row:
    key = legacy_key_of(answer.entry)
    return {
        "schema": SCHEMA,
        **key._asdict(),
        "extracted": score.extracted,
        "extract_ok": score.verdict not in ("no_answer", "not_scored"),
        "extract_method": score.method,
        "gold": answer.entry["gold"],
        "score": score.value,
        "verdict": score.verdict,
        "reason": score.reason,
        "detail": dict(score.detail),
        "categories": answer.sample.categories,
        "cluster": answer.sample.cluster,
        **({"group": answer.sample.group} if answer.sample.group is not None else {}),
        "judge": None if judge is None else dict(judge),
        "scorer": f"{answer.entry['task']}@{protocol}",
        "scorer_version": __version__,
    }


class _RowReader:
    """Rows of samples, read from the plan when somebody asks."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / "plan.jsonl"
        self._reader: LineReader | None = None

    def at(self, offset: int) -> Mapping[str, Any]:
        self._reader = self._reader or LineReader(self._path)
        row: Mapping[str, Any] = self._reader.at(offset)["row"]
        return row

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class _PlanRow(Mapping[str, Any]):
    """A sample's row that lies in the plan until it is read."""

    __slots__ = ("_offset", "_rows")

    def __init__(self, rows: _RowReader, offset: int) -> None:
        self._rows = rows
        self._offset = offset

    def __getitem__(self, name: str) -> Any:
        return self._rows.at(self._offset)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.at(self._offset))

    def __len__(self) -> int:
        return len(self._rows.at(self._offset))
