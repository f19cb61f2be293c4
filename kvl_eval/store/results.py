"""A run on disk. `run.json`, `plan.jsonl` and `samples/` are primary; everything else can be rebuilt from them.

    results/
      20260811-142233_kimi-vl-thinking_mathvista_7f3a/
        run.json         manifest, replaced as a whole when the status changes
        config.yaml      `kvl-eval run --config` on it repeats the run
        plan.jsonl       one line per (task, sample, repeat, budget): the denominator, fixed before the first answer
        samples/         <task>.jsonl: append-only, one finished attempt per line
        scores/          <task>@<protocol>-<version>.jsonl: derived
        results.json     aggregates: derived
        log.txt, lock
      index.json         derived list of runs

Readers skip a line whose checksum does not fit and name it; its sample counts as pending. The last record of a key
wins. Records of one trajectory store once what they share (`shared_text`); readers get each one whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from kvl_eval.errors import DataError, InputError, StorageError, UsageError
from kvl_eval.store.journal import SCHEMA, Disk, Journal, encode_line, read_lines, remove_leftovers
from kvl_eval.store.record_schema import index_faults
from kvl_eval.store.run_lock import RunLock, is_held
from kvl_eval.store.shared_text import Holders, RecordReader
from kvl_eval.types import Policy

_SHA_FIELD = re.compile(rb'"sha256": "([0-9a-f]{64})"\n}\n\Z')


class Key(NamedTuple):
    """What a record answers, within its task and split."""

    sample_id: str
    repeat: int
    budget: int | None
    policy: Policy | None


def key_of(fields: Mapping[str, Any]) -> Key:
    """The key of a record, score or plan entry."""
    return Key(fields["sample_id"], fields["repeat"], fields["budget"], fields["policy"])


@dataclass(slots=True)
class RecordIndex:
    """Where the record that counts of each key starts, and what was odd about the file.

    Attributes:
        offsets:    {key: where its last complete record starts}.
        failed:     {key: reason} of those that failed.
        duplicates: records that a later one of the same key replaced.
        damage:     one line of text for each line that cannot be read.
        torn:       whether the last line has no end.
        holders:    {where a record starts: where the one starts that holds the beginning of its texts}.
    """

    offsets: dict[Key, int] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)
    duplicates: int = 0
    damage: list[str] = field(default_factory=list)
    torn: bool = False
    holders: Mapping[int, int] = field(default_factory=dict)


class RunFolder:
    """One run. Make one with `create` or `open`.

    Attributes:
        path:     the folder.
        manifest: run.json; `{"status": "unknown", ...}` where that file is missing or damaged.
        problem:  why the manifest is not to be trusted, or None.
        notices:  what readers found odd, in order, for the user to see.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], disk: Disk, problem: str | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self.problem = problem
        self.notices: list[str] = [problem] if problem else []
        self.disk = disk
        self._lock = RunLock(path, disk)

    # -- make and open ------------------------------------------------------------------------------------------

    @staticmethod
    def create(
        output_dir: Path,
        name: str,
        manifest: Mapping[str, Any],
        plan: Iterable[bytes],
        disk: Disk | None = None,
    ) -> RunFolder:
        """A new folder called `name` (or `name-2`, ...), its plan and manifest written, its lock taken.

        Raises: UsageError `output.unusable` if the folder cannot be made, StorageError later.
        """
        disk = disk or Disk()
        path = _make_folder(output_dir, name)
        folder = RunFolder(path, {}, disk)
        folder.lock()
        digest = hashlib.sha256()
        disk.replace(path / "plan.jsonl", _hashing(plan, digest))
        folder.save({**manifest, "run_id": path.name, "plan_sha256": digest.hexdigest()})
        return folder

    @staticmethod
    def open(path: Path | str, disk: Disk | None = None) -> RunFolder:
        """A run that exists. A missing or damaged manifest is a notice, as long as there are plan or records.

        Raises: DataError `run.missing` if this is no run folder, InputError for a newer schema.
        """
        path = Path(path)
        if not any((path / name).exists() for name in ("run.json", "plan.jsonl", "samples")):
            raise DataError(
                "run.missing",
                f"{path} is no run folder",
                why="it holds neither run.json nor plan.jsonl nor samples/",
                fix="`kvl-eval list runs` shows those there are",
            )
        manifest, problem = _read_manifest(path)
        return RunFolder(path, manifest, disk or Disk(), problem)

    def lock(self) -> None:
        """Take the folder for writing. Raises UsageError `run.busy`, naming the holder."""
        self._lock.acquire()
        left = self._lock.taken_over
        for folder in (self.path, self.path / "scores", self.path.parent):
            remove_leftovers(folder)
        if left is not None:
            self.notices.append(f"took over the lock of pid {left.get('pid')} on {left.get('host')}, which is gone")

    def unlock(self) -> None:
        """Let the folder go."""
        self._lock.release()

    # -- the manifest -------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def status(self) -> str:
        """planned, running, interrupted, finished or unknown; a running run whose process is gone is interrupted."""
        status = str(self.manifest.get("status", "unknown"))
        return "interrupted" if status == "running" and not is_held(self.path) else status

    def save(self, changes: Mapping[str, Any]) -> None:
        """Write the manifest with `changes`, and its own checksum as the last field."""
        self.manifest = {**self.manifest, **changes}
        self.manifest.pop("sha256", None)
        self.manifest["sha256"] = ""
        text = _json_text(self.manifest)
        self.manifest["sha256"] = hashlib.sha256(text).hexdigest()
        self.disk.replace(self.path / "run.json", [_json_text(self.manifest)])

    def check_plan(self) -> None:
        """Raises DataError `run.plan` if plan.jsonl is not the one the manifest speaks of."""
        digest = hashlib.sha256()
        try:
            with open(self.path / "plan.jsonl", "rb") as handle:
                while chunk := handle.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise DataError("run.plan", f"cannot read {self.path / 'plan.jsonl'}", why=str(error)) from error
        if digest.hexdigest() != self.manifest.get("plan_sha256"):
            raise DataError(
                "run.plan",
                f"{self.path / 'plan.jsonl'} was changed after the run began",
                why="its checksum is not the one in run.json",
                fix="start a new run with --no-resume",
            )

    # -- plan and records ---------------------------------------------------------------------------------------

    def plan(self, task: str | None = None) -> Iterator[dict[str, Any]]:
        """The plan's entries in order, of one task or all. Each holds the sample's text fields, stored once a sample.

        `offset` in an entry is where the line with the text fields starts.

        Raises: DataError `run.plan`, naming file and line, if one cannot be read.
        """
        sample: dict[str, Any] = {}
        path = self.path / "plan.jsonl"
        if not path.exists():
            raise DataError("run.plan", f"{path} is missing", fix="start a new run with --no-resume")
        prefix = b"" if task is None else encode_line({"task": task}).partition(b',"crc"')[0] + b","
        for line in read_lines(path, prefix):
            if line.fields is None:
                raise DataError(
                    "run.plan", f"{path.name} is damaged", where=f"{path} line {line.number}", why=line.damage
                )
            fields = line.fields
            if "row" in fields:
                sample = {**fields, "offset": line.offset}
            yield {**sample, **fields}

    def samples_path(self, task: str) -> Path:
        """Where a task's records are."""
        return self.path / "samples" / f"{file_name(task)}.jsonl"

    def journal(self, task: str) -> Journal:
        """A task's records, open for appending; a torn end is cut off, with a notice."""
        journal = Journal(self.samples_path(task), self.disk)
        if journal.cut:
            self.notices.append(
                f"{journal.path.name}: cut off {journal.cut} bytes of a line that a crash left unfinished"
            )
        return journal

    def index(self, task: str, *, strict: bool = False) -> RecordIndex:
        """Where each key's record is.

        Raises: UsageError `run.mixed` for a record of another run or task; with `strict`, DataError `run.damaged`.
        """
        holders = Holders()
        found = RecordIndex(holders=holders.offsets)
        path = self.samples_path(task)
        for line in read_lines(path):
            if line.fields is None:
                found.torn = found.torn or line.torn
                found.damage += [] if line.torn else [f"{path} line {line.number}: {line.damage}"]
                continue
            self._check_owner(line.fields, task, f"{path} line {line.number}")
            if faults := index_faults(line.fields):
                found.damage.append(f"{path} line {line.number}: it is no record, {'; '.join(faults)}")
                continue
            if dangling := holders.see(line):
                found.damage.append(f"{path} line {line.number}: {dangling}")
                continue
            key = key_of(line.fields)
            found.duplicates += key in found.offsets
            found.offsets[key] = line.offset
            found.failed.pop(key, None)
            if line.fields["status"] != "ok":
                found.failed[key] = line.fields.get("reason") or "unknown"
        if strict and found.damage:
            raise DataError("run.damaged", f"{len(found.damage)} lines cannot be read", where=found.damage[0])
        self._tell(path, found)
        return found

    def _check_owner(self, fields: Mapping[str, Any], task: str, where: str) -> None:
        ours = self.manifest.get("config_fingerprint")
        theirs = fields.get("config_fingerprint")
        if fields.get("task") != task or (ours is not None and theirs != ours):
            raise UsageError(
                "run.mixed",
                f"a record of another run or task lies in {self.path}",
                where=where,
                why=f"task {fields.get('task')} → {task}; config_fingerprint {theirs} → {ours}",
                fix="take that line out; records of different runs are never mixed",
            )

    def _tell(self, path: Path, found: RecordIndex) -> None:
        notices = [f"{line}; skipped, so its sample is pending unless answered again" for line in found.damage]
        if found.torn:
            notices.append(f"{path.name}: the last line was left unfinished by a crash and is ignored")
        if found.duplicates:
            notices.append(f"{path.name}: {found.duplicates} records were replaced by later ones of the same key")
        self.notices += [notice for notice in notices if notice not in self.notices]

    def records(self, task: str, *, strict: bool = False) -> Iterator[dict[str, Any]]:
        """A task's records, each key once: as they were finished, but those of one trajectory together."""
        index = self.index(task, strict=strict)
        reader = self.reader(task, index)
        try:
            for offset in sorted(index.offsets.values(), key=lambda at: (index.holders.get(at, at), at)):
                yield reader.at(offset)
        finally:
            reader.close()

    def reader(self, task: str, index: RecordIndex) -> RecordReader:
        """A task's records by where they start."""
        return RecordReader(self.samples_path(task), index.holders)

    # -- what is derived ----------------------------------------------------------------------------------------

    def write_scores(self, task: str, protocol: str, version: str, lines: Iterable[Mapping[str, Any]]) -> Path:
        """Put a task's scores in place; those of another version stay beside them."""
        path = self.path / "scores" / f"{file_name(task)}@{file_name(protocol)}-{version}.jsonl"
        self.disk.replace(path, (encode_line(line) for line in lines))
        return path

    def scores(self, task: str, protocol: str) -> Iterator[dict[str, Any]]:
        """A task's scores in plan order: of the version written last. None where it was not scored so."""
        pattern = re.compile(re.escape(f"{file_name(task)}@{file_name(protocol)}-") + r"\d[^@-]*\.jsonl")
        folder = self.path / "scores"
        found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)] if folder.is_dir() else []
        if not found:
            return
        newest = max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
        for line in read_lines(newest):
            if line.fields is None:
                raise DataError(
                    "run.scores",
                    f"{newest.name} is damaged",
                    where=f"{newest} line {line.number}",
                    fix=f"`kvl-eval score {self.path}` writes it anew",
                )
            yield line.fields

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Put results.json in place."""
        self.disk.replace(self.path / "results.json", [_json_text(results)])

    def results(self) -> dict[str, Any]:
        """results.json. Raises DataError `run.results` if it is missing or damaged."""
        path = self.path / "results.json"
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(
                "run.results", f"cannot read {path}", why=str(error), fix=f"`kvl-eval score {self.path}` writes it"
            ) from error
        return dict(found)

    def log(self, text: str) -> None:
        """Add to log.txt, for people; nothing reads it."""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            with open(self.path / "log.txt", "a", encoding="utf-8", errors="backslashreplace") as handle:
                handle.write(f"{stamp} {text.rstrip()}\n")
        except OSError as error:
            raise StorageError("storage.write", f"cannot write {self.path / 'log.txt'}: {error.strerror}") from error


def scores_name(protocol: str, thinking: str = "split", judge: str | None = None) -> str:
    """How `scores/` calls a protocol: `official`, `official.raw` (shown the thought too), `official+JUDGE`."""
    return protocol + ("" if thinking == "split" else f".{thinking}") + (f"+{judge}" if judge is not None else "")


def file_name(name: str) -> str:
    """`name` as part of a file name: letters, digits and `-_.+` stay, long ones end in a hash."""
    safe = quote(name, safe="-_.+").lstrip(".") or "_"
    return safe if len(safe) <= 80 else f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def run_name(created: datetime, model: str, tasks: list[str], fingerprint: str) -> str:
    """Time, model, tasks (shortened) and the first four hex digits of the fingerprint."""
    shown, hidden = tasks[:3], len(tasks) - 3
    parts = "+".join(shown) + (f"+{hidden}more" if hidden > 0 else "")
    return f"{created:%Y%m%d-%H%M%S}_{file_name(model)[:40]}_{file_name(parts)[:60]}_{fingerprint[:4]}"


def list_runs(output_dir: Path) -> list[dict[str, Any]]:
    """The runs below `output_dir`, oldest first: run_id, path, status, created, model, tasks, counts."""
    found = []
    for path in sorted(output_dir.iterdir()) if output_dir.is_dir() else []:
        if not (path / "run.json").is_file():
            continue
        try:
            folder = RunFolder.open(path)
        except InputError:  # written by a newer version: it is there, more is not known
            found.append(_run_entry(path, "unreadable", {}))
        else:
            found.append(_run_entry(path, folder.status, folder.manifest))
    return sorted(found, key=lambda run: (str(run["created"]), run["run_id"]))


def _run_entry(path: Path, status: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": path.name,
        "path": str(path),
        "status": status,
        "created": manifest.get("created"),
        "model": (manifest.get("model") or {}).get("name"),
        "demo": bool(manifest.get("demo")),
        "tasks": list(manifest.get("data") or {}),
        "config_fingerprint": manifest.get("config_fingerprint"),
        "counts": manifest.get("counts"),
    }


def write_index(output_dir: Path, disk: Disk | None = None) -> None:
    """Write `index.json` anew from the manifests."""
    runs = [{**run, "path": Path(run["path"]).name} for run in list_runs(output_dir)]
    (disk or Disk()).replace(output_dir / "index.json", [_json_text({"schema": SCHEMA, "runs": runs})])


def _make_folder(output_dir: Path, name: str) -> Path:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            path = output_dir / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            (path / "samples").mkdir()
            return path
    except OSError as error:
        raise UsageError(
            "output.unusable",
            f"cannot make a run folder in {output_dir}",
            why=error.strerror or str(error),
            fix="give another --output-dir",
        ) from error
    raise UsageError("output.unusable", f"{output_dir} already holds a thousand runs called {name}")


def _hashing(chunks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _json_text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


def _read_manifest(path: Path) -> tuple[dict[str, Any], str | None]:
    """The manifest and None, or a stand-in and what is wrong."""
    unknown = {"run_id": path.name, "status": "unknown", "model": {"name": "unknown"}}
    file = path / "run.json"
    try:
        text = file.read_bytes()
        manifest = json.loads(text)
    except OSError as error:
        return unknown, f"{file} cannot be read ({error.strerror}): where the answers come from is unknown"
    except ValueError:
        return unknown, f"{file} is damaged: where the answers come from is unknown"
    if not isinstance(manifest, dict):
        return unknown, f"{file} holds no manifest: where the answers come from is unknown"
    schema = manifest.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(
            "run.schema",
            f"{file} was written by a newer kvl-eval",
            why=f"schema {schema}, this one reads up to {SCHEMA}",
            fix="update kvl-eval",
        )
    stated = _SHA_FIELD.search(text)
    emptied = _SHA_FIELD.sub(b'"sha256": ""\n}\n', text)
    if stated is None or hashlib.sha256(emptied).hexdigest().encode() != stated.group(1):
        return manifest, f"{file} was changed: its checksum does not fit"
    return manifest, None
