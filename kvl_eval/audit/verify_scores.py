"""Whether what is derived is what scoring again gives: `scores/` and `results.json`. Nothing is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from kvl_eval.audit.verification import Severity, Verification
from kvl_eval.decode import Json, encode_object
from kvl_eval.errors import DataError, KvlEvalError
from kvl_eval.run.fingerprint import differences
from kvl_eval.scoring.rescore import RowKey, judges, row_key
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.score_run import score_run
from kvl_eval.store.derived_files import newest_scores, scores_version
from kvl_eval.store.journal import encode_line, read_lines
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.names import scores_file, scores_name
from kvl_eval.store.records import ScoreLine
from kvl_eval.store.result_records import ResultRow, Results
from kvl_eval.store.run_files import open_run_file
from kvl_eval.types import score_view

SHOWN = 20  # values in which a row differs


def check_scores(run: RunReader, proof: Verification) -> None:
    """Score again under every protocol that results.json holds, and compare rows and files with what is stored."""
    path, before = run.folder.path / "results.json", len(proof.findings)
    try:
        stored = run.folder.results()
    except DataError as error:
        is_there = os.path.lexists(path)
        what = f"cannot be read: {error.why or error}" if is_there else "is missing; `kvl-eval score` writes it"
        proof.add("damaged" if is_there else "incomplete", "results.missing", path, what)
        return
    rows = {row_key(row): row for row in stored.rows}
    again = _ScoredAgain({file.name: file for file in sorted((run.folder.path / "scores").glob("*.jsonl"))})
    try:
        for name in run.task_names:
            _score_again(run, name, stored, again, proof)
    except KvlEvalError as error:
        severity: Severity = "damaged" if error.code == "run.file" else "incomplete"
        proof.add(severity, "scores.unchecked", path, f"cannot be rescored: {error.message}")
        return
    rows = {key: row for key, row in rows.items() if key not in again.not_compared}
    fresh = again.rows
    for key, change in _row_changes(rows, fresh):
        if key.judge is None or not _is_judged_since(rows.get(key), fresh.get(key)):
            _stale(run, proof, "results.differ", path, change)
        else:
            proof.add("incomplete", "results.judge", path, f"{change}; `kvl-eval score` rebuilds it")
    _check_unread(again.unread.values(), proof)
    names = run.folder.manifest.model_identity
    for change in differences(_origin(stored, names), _origin(run.folder.manifest, names)):
        proof.add("damaged", "results.differ", path, f"{change} (results.json → run.json)")
    if len(proof.findings) == before:
        proof.proven.append(f"results.json and scores/: {len(rows)} rows, unchanged when rescored")
    for what, count in Counter(again.not_compared.values()).items():
        rows_are = "1 row is" if count == 1 else f"{count} rows are"
        proof.add("note", "results.version", path, f"{rows_are} not compared: {what}")


@dataclass(slots=True)
class _ScoredAgain:
    """What scoring again gave.

    Attributes:
        unread: score files that were not compared yet, by name.
        rows:   the rows as they come out now.
        not_compared: stored rows whose rules are another version's, and why.
    """

    unread: dict[str, Path]
    rows: dict[RowKey, ResultRow] = field(default_factory=dict)
    not_compared: dict[RowKey, str] = field(default_factory=dict)


def _score_again(run: RunReader, name: str, stored: Results, found: _ScoredAgain, proof: Verification) -> None:
    """Score a task again under every protocol it has rows of, and compare the score files."""
    task = run.task(name)
    keys = [row_key(row) for row in stored.rows if row.task == name]
    for protocol, view in dict.fromkeys((key.protocol, score_view(key.thinking)) for key in keys):
        if protocol not in task.protocols:
            why = f"this version has no protocol {protocol} for {name}"
            found.not_compared |= {key: why for key in keys if key.protocol == protocol}
            continue
        for judge in judges(run, task, protocol, view):
            again = score_run(run, task, protocol, view, judge)
            scorer = scores_name(protocol, view, None if judge is None else judge.judge)
            path = run.folder.path / "scores" / scores_file(name, scorer, again.version)
            newest = newest_scores(run.folder.path, name, scorer)
            rows = {row_key(row): row for row in again.rows}
            if newest is not None and newest.name != path.name:
                older = scores_version(newest)
                why = f"scored by kvl-eval {older}; `kvl-eval score` applies the rules of {again.version}"
                found.not_compared |= dict.fromkeys(rows, why)
                continue
            found.rows |= rows
            if found.unread.pop(path.name, None) is None:
                proof.add("incomplete", "scores.missing", path, "is missing; `kvl-eval score` writes it")
            elif change := _first_change(path, again.lines):
                _stale(run, proof, "scores.differ", *change)


def _first_change(path: Path, lines: Iterable[ScoreLine]) -> tuple[str, str] | None:
    with open_run_file(path) as stored:
        again = (encode_line(encode_object(line)) for line in lines)
        for number, (before, after) in enumerate(zip_longest(stored, again), 1):
            if before != after:
                lacking = "a missing line" if before is None else "an extra line" if after is None else "differs"
                return f"{path} line {number}", lacking
    return None


def _check_unread(paths: Iterable[Path], proof: Verification) -> None:
    """Files of another version, or of a protocol that results.json has no row for: whether they can be read."""
    for path in paths:
        for line in read_lines(path):
            if line.fields is None:
                proof.add("damaged", "scores.damaged", f"{path} line {line.number}", line.damage)


def _origin(document: Results | Manifest, names: Iterable[str]) -> dict[str, Json]:
    """What results.json repeats of run.json and a change of device leaves alone; of the model what `names` name."""
    facts = {} if document.model is None else encode_object(document.model)
    identity: Json = {name: facts.get(name) for name in names}
    return {"created": document.created, "demo": document.demo, "model": identity}


def _is_judged_since(stored: ResultRow | None, fresh: ResultRow | None) -> bool:
    """Whether replies came after the results were written: a crash between the two leaves it so."""
    return fresh is not None and (stored is None or stored.n_scored < fresh.n_scored)


def _row_changes(stored: Mapping[RowKey, ResultRow], fresh: Mapping[RowKey, ResultRow]) -> Iterator[tuple[RowKey, str]]:
    for key in dict.fromkeys((*stored, *fresh)):
        name = " ".join(str(part) for part in key if part is not None)
        if key not in fresh:
            yield key, f"{name}: rescoring gives no such row"
        elif key not in stored:
            yield key, f"{name}: the row is missing"
        elif changes := differences(encode_object(stored[key]), encode_object(fresh[key])):
            yield key, f"{name}: {'; '.join(changes[:SHOWN])}"


def _stale(run: RunReader, proof: Verification, code: str, where: object, what: str) -> None:
    """What is derived may lag behind the records of a run that has not finished."""
    is_done = run.folder.status == "finished"
    proof.add("damaged" if is_done else "incomplete", code, where, f"{what} (stored → rescored)")
