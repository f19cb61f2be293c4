"""Data of the sample browser: script files that register it, so that it loads from disk as well as over http.

`data/index.js` holds what lists and filters need of every sample, `data/c0.js`, `data/c1.js`, ... the samples
themselves. Texts are ASCII-only JSON in which control and direction characters are already visible escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvl_eval.reports import figures
from kvl_eval.reports.links import sample_key
from kvl_eval.reports.runs import Run, task_names
from kvl_eval.reports.thumbnails import Medium, Thumbnails, picture_name, spread
from kvl_eval.store.journal import Disk
from kvl_eval.store.run_folder import legacy_key_of

CHUNK_BYTES = 400_000
CHUNK_SAMPLES = 200
LONGEST = 200_000  # characters of one text that the page shows; the run folder holds the whole
UNJUDGED = ("failed", "pending")
PREVIEW = 80  # characters of the question in the list

Fields = dict[str, Any]


def text(value: object) -> str:
    """A text as the page shows it, cut at `LONGEST` with a notice."""
    shown = str(value if value is not None else "")
    cut = f"\n[... {len(shown) - LONGEST:,} more characters in the run folder]" if len(shown) > LONGEST else ""
    return figures.plain(shown[:LONGEST], keep="\n\t") + cut


def literal(value: Any) -> str:
    """`value` as ASCII JSON that is a script expression too, which no markup or line end inside it can leave."""
    found = json.dumps(value, separators=(",", ":"))
    for char in "<>&":
        found = found.replace(char, f"\\u{ord(char):04x}")
    return found


def parsed(value: Any) -> str:
    """`value` as a script expression that browsers read faster than a literal when it is large."""
    return "JSON.parse('{}')".format(literal(value).replace("\\", "\\\\").replace("'", "\\'"))


@dataclass(slots=True)
class Names:
    """Texts that occur often, by number."""

    known: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The number of `name`, a new one if needed."""
        return self.known.setdefault(name, len(self.known))


@dataclass(slots=True)
class Chunks:
    """Writes samples to chunk files, starting a new one when the last is full."""

    folder: Path
    number: int = 0
    _lines: list[str] = field(default_factory=list)
    _size: int = 0

    def add(self, sample: Fields) -> tuple[int, int]:
        """Chunk and place of `sample`."""
        line = literal(sample)
        if self._lines and (self._size + len(line) > CHUNK_BYTES or len(self._lines) >= CHUNK_SAMPLES):
            self.flush()
        self._lines.append(line)
        self._size += len(line)
        return self.number, len(self._lines) - 1

    def flush(self) -> None:
        """Write what is waiting."""
        if self._lines:
            body = ",\n".join(self._lines)
            chunk = f"kvl.chunk({self.number},[{body}]);\n"
            Disk().replace(self.folder / f"c{self.number}.js", [chunk.encode("ascii")])
            self.number, self._lines, self._size = self.number + 1, [], 0


def write_browser(runs: Sequence[Run], out: Path, thumbnails: Thumbnails) -> int:
    """Write `data/` below `out` and return the number of samples in it. Samples never answered are listed too."""
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.js"):
        old.unlink()
    chunks, names = Chunks(folder), Names()
    rows = [
        row for run in runs for task in task_names([run]) for row in _task_rows(run, task, chunks, names, thumbnails)
    ]
    chunks.flush()
    _mark_flips(rows, {names.known.get(name) for name in UNJUDGED})
    index = {
        "runs": [{"id": run.run_id, "model": run.model, "demo": run.demo} for run in runs],
        "names": list(names.known),
        "rows": [list(row.values()) for row in rows],
        "columns": list(rows[0]) if rows else [],
    }
    Disk().replace(folder / "index.js", [f"kvl.index({parsed(index)});\n".encode("ascii")])
    return len(rows)


def _task_rows(run: Run, task: str, chunks: Chunks, names: Names, thumbnails: Thumbnails) -> list[Fields]:
    """Index rows of one task of one run in plan order; its samples go to `chunks` in the order they were answered."""
    plan = {legacy_key_of(entry): entry for entry in _slim_plan(run, task)}
    scores = {protocol: _scores(run, task, protocol) for protocol in _protocols(run, task)}
    rows: dict[Any, Fields] = {}
    for record in run.folder.legacy_records(task):
        key = legacy_key_of(record)
        entry = plan.get(key)
        if entry is not None:
            found = {protocol: lines[key] for protocol, lines in scores.items() if key in lines}
            stored = thumbnails.store(record, run.folder.path / "report" / "media")
            place = chunks.add(_sample(run, entry, record, found, stored))
            rows[key] = _index_row(run, entry, record, next(iter(found.values()), {}), place, names)
    for key, entry in plan.items():
        if key not in rows:
            rows[key] = _index_row(run, entry, None, {}, chunks.add(_sample(run, entry, None, {}, set())), names)
    return [rows[key] for key in plan]


def _slim_plan(run: Run, task: str) -> Iterator[Fields]:
    wanted = ("task", "sample_id", "repeat", "budget", "policy", "question", "choices", "gold", "categories", "cluster")
    for entry in run.folder.legacy_plan():
        if entry["task"] == task:
            yield {name: entry.get(name) for name in wanted}


def _protocols(run: Run, task: str) -> list[str]:
    """Their names in `scores/`, the default one first."""
    from kvl_eval.reports.runs import main_rows, scores_of

    rows = [*main_rows(run), *run.rows]
    return list(dict.fromkeys(scores_of(row) for row in rows if row["task"] == task))


def _scores(run: Run, task: str, protocol: str) -> Mapping[Any, Fields]:
    return {legacy_key_of(line): line for line in run.folder.legacy_scores(task, protocol)}


def _index_row(
    run: Run, entry: Fields, record: Fields | None, score: Fields, place: tuple[int, int], names: Names
) -> Fields:
    """What lists and filters need of one sample. The page reads the columns by name."""
    status = "pending" if record is None else record["status"]
    verdict = score.get("verdict") if status == "ok" else status
    reason = (record or {}).get("reason") or score.get("reason") or ""
    finish = (record or {}).get("finish_reason")
    categories = [
        names.number(figures.plain(f"{name}: {value}"))
        for name, values in (entry["categories"] or {}).items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return {
        "run": run.number,
        "task": names.number(figures.plain(entry["task"])),
        "id": figures.plain(entry["sample_id"]),
        "key": sample_key(run.number, entry),
        "verdict": names.number(figures.plain(verdict or "not_scored")),
        "reason": names.number(figures.plain(reason)),
        "truncated": int(finish in ("length", "budget")),
        "flipped": 0,
        "repeat": entry["repeat"],
        "budget": names.number("" if entry["budget"] is None else figures.budget(entry)),
        "categories": categories,
        "question": figures.plain(" ".join(str(entry["question"] or "").split())[:PREVIEW]),
        "chunk": place[0],
        "place": place[1],
    }


def _mark_flips(rows: Sequence[Fields], unjudged: set[int | None]) -> None:
    """Set `flipped` where two runs that both answered a sample have different verdicts on it."""
    judged = [row for row in rows if row["verdict"] not in unjudged]
    seen: dict[str, set[int]] = {}
    for row in judged:
        seen.setdefault(row["key"].partition("/")[2], set()).add(row["verdict"])
    for row in judged:
        row["flipped"] = int(len(seen[row["key"].partition("/")[2]]) > 1)


def _sample(run: Run, entry: Fields, record: Fields | None, scores: Mapping[str, Fields], stored: set[str]) -> Fields:
    """Everything the page shows of one sample."""
    shown: Fields = {
        "key": sample_key(run.number, entry),
        "question": text(entry["question"]),
        "choices": [text(choice) for choice in entry["choices"] or ()],
        "gold": _gold(entry["gold"]),
        "cluster": text(entry["cluster"]),
        "scores": [_score(protocol, line) for protocol, line in scores.items()],
    }
    if record is None:
        return {**shown, "status": "pending"}
    raw = record["raw_output"] if not (record["answer"] or record["thinking"]) else ""
    facts = ("budget", "policy", "finish_reason", "seed", "worker", "ended_at")
    marks = {"thought": "closed by force"} if record.get("budget_forced") else {}
    marks |= {name: text(record[name]) for name, usual in (("repeat", 0), ("attempt", 1)) if record[name] != usual}
    marks |= {"thought": "never closed"} if record.get("think_closed") is False else {}
    return {
        **shown,
        "status": text(record["status"]),
        "reason": text(record.get("reason")),
        "message": text(record.get("message")),
        "prompt": text(record.get("prompt_text")),
        "thinking": text(record["thinking"]),
        "answer": text(record["answer"]),
        "raw": text(raw),
        "tokens": record.get("tokens") or {},
        "time": {name: _rounded(seconds) for name, seconds in (record.get("time") or {}).items()},
        "facts": {**{name: text(record[name]) for name in facts if record.get(name) not in (None, "")}, **marks},
        **_media(record.get("media") or (), stored),
    }


def _rounded(seconds: Any) -> Any:
    return round(seconds, 4) if isinstance(seconds, float) else seconds


def _gold(gold: Any) -> str:
    if isinstance(gold, list | tuple):
        return " | ".join(text(one) for one in gold)
    return text(gold)


def _score(protocol: str, line: Fields) -> Fields:
    detail = line.get("detail") or {}
    return {
        "protocol": text(protocol),
        "verdict": text(line["verdict"]),
        "score": line["score"],
        "extracted": None if line.get("extracted") is None else text(line["extracted"]),
        "method": text(line.get("extract_method")),
        "reason": text(line.get("reason")),
        "detail": {text(name): value if _is_numbers(value) else text(value) for name, value in detail.items()},
        "judge": text((line.get("judge") or {}).get("reply")),
    }


def _is_numbers(value: Any) -> bool:
    """Coordinates stay numbers, for drawing."""
    return isinstance(value, list) and all(isinstance(one, int | float) for one in value)


def _media(media: Sequence[Medium], stored: set[str]) -> Fields:
    """The pictures that are shown, and, where that is not every one, how many there are and which, in words."""
    shown = spread(media)
    return {"media": [_medium(one, stored) for one in shown], "more": _more(media, len(shown))}


def _medium(one: Medium, stored: set[str]) -> Fields:
    name = picture_name(one)
    kind, index, timestamp = one.get("kind"), one.get("index"), one.get("timestamp")
    number = f" {index + 1}" if isinstance(index, int) and kind == "page" else ""
    at = f" {index} at {timestamp:.1f} s" if isinstance(index, int) and timestamp is not None else ""
    return {
        "sha": "" if name in stored else text(one.get("sha256")),
        "file": name if name in stored else "",
        "kind": text(kind),
        "label": text(f"{kind}{at or number}" if at or number else ""),
        "size": [one.get("w"), one.get("h")],
        "seen": list(one.get("resized_to") or ()),
        "tokens": one.get("tokens"),
        "note": text(one.get("note")),
    }


def _more(media: Sequence[Medium], shown: int) -> list[str]:
    """`64 frames were seen, 12 are shown` and `0 (0.0 s), 7 (0.3 s), ...`; nothing where all are shown."""
    if shown == len(media):
        return []
    kinds = {f"{one.get('kind')}" for one in media}
    what = f"{kinds.pop()}s" if len(kinds) == 1 else "pictures"
    return [text(f"{len(media)} {what} were seen, {shown} are shown"), text(", ".join(map(_place, media)))]


def _place(one: Medium) -> str:
    index, timestamp = one.get("index"), one.get("timestamp")
    if not isinstance(index, int):
        return str(one.get("sha256"))[:12]
    return f"{index} ({timestamp:.1f} s)" if timestamp is not None else f"{index + 1}"
