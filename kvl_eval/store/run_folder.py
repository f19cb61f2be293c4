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
wins. A line is read by itself: `jq`, `grep` and pandas see every record whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from kvl_eval.decode import Limits, decode, encode_object, read_json
from kvl_eval.errors import DataError, DecodeError, InputError, KvlEvalError, StorageError, UsageError
from kvl_eval.store.journal import SCHEMA, Disk, Journal, Line, encode_line, read_line, read_lines, remove_leftovers
from kvl_eval.store.manifest import Manifest, ModelFacts
from kvl_eval.store.names import file_name, scores_file
from kvl_eval.store.packed import pack
from kvl_eval.store.record_schema import index_faults
from kvl_eval.store.records import Key, PlanEntry, PlannedSample, Record, ScoreLine
from kvl_eval.store.result_records import Results
from kvl_eval.store.run_lock import RunLock, is_held
from kvl_eval.store.task_records import (
    PlaceReader,
    RecordIndex,
    TaskRecords,
    packed_lines,
    packed_path,
    sample_lines,
)

T = TypeVar("T")
COMPRESSED_FROM = 1 << 20  # bytes of a plain file
MANIFEST_LIMITS = Limits(size=16 << 20)
_ENTRY_FIELDS = frozenset(one.name for one in fields(PlanEntry))
_SHA_FIELD = re.compile(rb'"sha256": "([0-9a-f]{64})"\n}\n\Z')


def legacy_key_of(fields: Mapping[str, Any]) -> Key:
    """The key of a record, score or plan entry."""
    return Key(fields["sample_id"], fields["repeat"], fields["budget"], fields["policy"])


class RunFolder:
    """One run. Make one with `create` or `open`.

    Attributes:
        path:     the folder.
        manifest: run.json; a stand-in with status `unknown` where that file is missing or damaged.
        problem:  why the manifest is not to be trusted, or None.
        notices:  what readers found odd, in order, for the user to see.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], disk: Disk, problem: str | None = None) -> None:
        self.path = path
        self.legacy_manifest = manifest
        self.manifest, wrong = _typed_manifest(manifest, path)
        problem = problem or wrong
        self.problem = problem
        self.notices: list[str] = [problem] if problem else []
        self.disk = disk
        self._lock = RunLock(path, disk)

    # -- make and open ------------------------------------------------------------------------------------------

    @staticmethod
    def create(
        output_dir: Path,
        name: str,
        manifest: Manifest | Mapping[str, Any],
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
        if isinstance(manifest, Manifest):
            folder.save(replace(manifest, run_id=path.name, plan_sha256=digest.hexdigest()))
        else:
            folder.legacy_save({**manifest, "run_id": path.name, "plan_sha256": digest.hexdigest()})
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
            self.notices.append(f"took over the lock of pid {left.pid} on {left.host}, which is gone")

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
        status = str(self.legacy_manifest.get("status", "unknown"))
        return "interrupted" if status == "running" and not is_held(self.path) else status

    def save(self, manifest: Manifest) -> None:
        """Write the manifest, and its own checksum as the last field.

        What did not change stays as it was read, with all that a later version may have written there.
        """
        stored = encode_object(manifest)
        for name in stored.keys() & self.legacy_manifest.keys():
            if hasattr(manifest, name) and getattr(manifest, name) == getattr(self.manifest, name):
                stored[name] = self.legacy_manifest[name]
        self.legacy_save(stored)

    def legacy_save(self, changes: Mapping[str, Any]) -> None:
        """Write the manifest with `changes`, and its own checksum as the last field."""
        self.legacy_manifest = {**self.legacy_manifest, **changes}
        self.legacy_manifest.pop("sha256", None)
        self.legacy_manifest["sha256"] = ""
        text = json_text(self.legacy_manifest)
        self.legacy_manifest["sha256"] = hashlib.sha256(text).hexdigest()
        self.manifest = _typed_manifest(self.legacy_manifest, self.path)[0]
        self.disk.replace(self.path / "run.json", [json_text(self.legacy_manifest)])

    def check_plan(self) -> None:
        """Raises DataError `run.plan` if plan.jsonl is not the one the manifest speaks of."""
        digest = hashlib.sha256()
        try:
            with open(self.path / "plan.jsonl", "rb") as handle:
                while chunk := handle.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise DataError("run.plan", f"cannot read {self.path / 'plan.jsonl'}", why=str(error)) from error
        if digest.hexdigest() != self.legacy_manifest.get("plan_sha256"):
            raise DataError(
                "run.plan",
                f"{self.path / 'plan.jsonl'} was changed after the run began",
                why="its checksum is not the one in run.json",
                fix="start a new run with --no-resume",
            )

    # -- plan and records ---------------------------------------------------------------------------------------

    def plan(self, task: str | None = None) -> Iterator[PlanEntry]:
        """The plan's entries in order, of one task or all.

        Raises: DataError `run.plan`, naming file and line, if one cannot be read.
        """
        sample: PlannedSample | None = None
        path = self.path / "plan.jsonl"
        for line in self._plan_lines(task):
            stored = line.fields or {}
            where = f"{path} line {line.number}"
            try:
                if "row" in stored:
                    shared = {name: value for name, value in stored.items() if name not in _ENTRY_FIELDS}
                    sample = replace(decode(PlannedSample, shared), offset=line.offset)
                entry = decode(PlanEntry, stored)
            except DecodeError as error:
                raise DataError("run.plan", f"{path.name} is damaged", where=where, why=error.message) from error
            if sample is None:
                why = "the line with the sample's text is not there"
                raise DataError("run.plan", f"{path.name} is damaged", where=where, why=why)
            yield replace(entry, sample=sample)

    def _plan_lines(self, task: str | None) -> Iterator[Line]:
        path = self.path / "plan.jsonl"
        if not path.exists():
            raise DataError("run.plan", f"{path} is missing", fix="start a new run with --no-resume")
        prefix = b"" if task is None else encode_line({"task": task}).partition(b',"crc"')[0] + b","
        for line in read_lines(path, prefix):
            if line.fields is None:
                raise DataError(
                    "run.plan", f"{path.name} is damaged", where=f"{path} line {line.number}", why=line.damage
                )
            yield line

    def legacy_plan(self, task: str | None = None) -> Iterator[dict[str, Any]]:
        """As `plan`, as dicts. `offset` in an entry is where the line with the text fields starts."""
        sample: dict[str, Any] = {}
        for line in self._plan_lines(task):
            stored = line.fields or {}
            if "row" in stored:
                sample = {**stored, "offset": line.offset}
            yield {**sample, **stored}

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
        found = RecordIndex()
        path = self.samples_path(task)
        for line in sample_lines(path):
            if line.fields is None:
                found.torn = found.torn or line.torn
                found.damage += [] if line.torn else [f"{line.where}: {line.damage}"]
                continue
            self._check_owner(line.fields, task, line.where)
            if faults := index_faults(line.fields):
                found.damage.append(f"{line.where}: it is no record, {'; '.join(faults)}")
                continue
            found.take(legacy_key_of(line.fields), line)
        if strict and found.damage:
            raise DataError("run.damaged", f"{len(found.damage)} lines cannot be read", where=found.damage[0])
        self._tell(path, found)
        return found

    def _check_owner(self, fields: Mapping[str, Any], task: str, where: str) -> None:
        ours = self.legacy_manifest.get("config_fingerprint")
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

    def records(self, task: str, *, strict: bool = False) -> Iterator[Record]:
        """A task's records, each key once, in the order they were finished.

        Raises: DataError `run.damaged`, naming file and field, for one that is no record.
        """
        index = self.index(task, strict=strict)
        with self.reader(task, index) as reader:
            for key in index.in_order():
                yield reader.at(key)

    def reader(self, task: str, index: RecordIndex) -> TaskRecords:
        """A task's records by key."""
        return TaskRecords(self.samples_path(task), index)

    def legacy_records(self, task: str, *, strict: bool = False) -> Iterator[dict[str, Any]]:
        """As `records`, as dicts."""
        index = self.index(task, strict=strict)
        reader = self.legacy_reader(task, index)
        try:
            for key in index.in_order():
                yield reader.at(index.offsets[key])
        finally:
            reader.close()

    def legacy_reader(self, task: str, index: RecordIndex) -> PlaceReader:
        """A task's records by where they start, as dicts."""
        return PlaceReader(self.samples_path(task))

    def compress(self, least: int = COMPRESSED_FROM) -> None:
        """Compress the records of tasks that take more than `least` bytes. The run must be finished, the lock held.

        Killed at any time, it leaves every record in one of the two files, or in both. Damaged files stay as they are.
        """
        for plain in sorted((self.path / "samples").glob("*.jsonl")):
            if plain.stat().st_size <= least:
                continue
            try:
                self.disk.replace(packed_path(plain), pack(_all_lines(plain)))
            except DataError as error:
                self.notices.append(f"{plain.name} is not compressed: {error.where}: {error.message}")
                continue
            self.disk.remove(plain)

    # -- what is derived ----------------------------------------------------------------------------------------

    def write_scores(self, task: str, protocol: str, version: str, lines: Iterable[ScoreLine]) -> Path:
        """Put a task's scores in place; those of another version stay. `protocol` is as `scores_name` gives it."""
        path = self.path / "scores" / scores_file(task, protocol, version)
        self.disk.replace(path, (encode_line(encode_object(line)) for line in lines))
        return path

    def scores(self, task: str, protocol: str) -> Iterator[ScoreLine]:
        """A task's scores in plan order, of the newest version. None where it was not scored so.

        Raises: DataError `run.scores`, naming file and line, for one that cannot be read.
        """
        for path, line in self._score_lines(task, protocol):
            try:
                yield decode(ScoreLine, line.fields)
            except DecodeError as error:
                raise self._damaged_scores(path, line, error.message) from error

    def legacy_scores(self, task: str, protocol: str) -> Iterator[dict[str, Any]]:
        """As `scores`, as dicts."""
        return (line.fields or {} for _, line in self._score_lines(task, protocol))

    def _score_lines(self, task: str, protocol: str) -> Iterator[tuple[Path, Line]]:
        pattern = re.compile(re.escape(f"{file_name(task)}@{file_name(protocol)}-") + r"(\d[^@-]*)\.jsonl")
        folder = self.path / "scores"
        versions = [pattern.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        newest = max((match for match in versions if match), key=lambda match: _version_order(match[1]), default=None)
        if newest is None:
            return
        path = folder / newest[0]
        for line in read_lines(path):
            if line.fields is None:
                raise self._damaged_scores(path, line, line.damage)
            yield path, line

    def _damaged_scores(self, path: Path, line: Line, why: str) -> DataError:
        return DataError(
            "run.scores",
            f"{path.name} is damaged",
            where=f"{path} line {line.number}",
            why=why,
            fix=f"`kvl-eval score {self.path}` writes it anew",
        )

    def write_results(self, results: Results) -> None:
        """Put results.json in place; of the model it says what run.json says, as it stands there."""
        stored = encode_object(results)
        if results.model == self.manifest.model and "model" in self.legacy_manifest:
            stored["model"] = self.legacy_manifest["model"]
        self.legacy_write_results(stored)

    def legacy_write_results(self, results: Mapping[str, Any]) -> None:
        """As `write_results`, of a dict."""
        self.disk.replace(self.path / "results.json", [json_text(results)])

    def results(self) -> Results:
        """results.json. Raises DataError `run.results` if it is missing or damaged."""
        path = self.path / "results.json"
        try:
            return decode(Results, read_json(path.read_bytes()))
        except DecodeError as error:
            raise self._no_results(error.message) from error
        except OSError as error:
            raise self._no_results(str(error)) from error

    def legacy_results(self) -> dict[str, Any]:
        """As `results`, as a dict."""
        try:
            return dict(json.loads((self.path / "results.json").read_bytes()))
        except (OSError, ValueError) as error:
            raise self._no_results(str(error)) from error

    def _no_results(self, why: str) -> DataError:
        path = self.path / "results.json"
        return DataError("run.results", f"cannot read {path}", why=why, fix=f"`kvl-eval score {self.path}` writes it")

    def log(self, text: str) -> None:
        """Add to log.txt, for people; nothing reads it."""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            with open(self.path / "log.txt", "a", encoding="utf-8", errors="backslashreplace") as handle:
                handle.write(f"{stamp} {text.rstrip()}\n")
        except OSError as error:
            raise StorageError("storage.write", f"cannot write {self.path / 'log.txt'}: {error.strerror}") from error


def _all_lines(plain: Path) -> Iterator[bytes]:
    """The lines of both files of a task, each as it stands. Raises DataError `run.damaged` for a damaged one."""
    packed = packed_path(plain)
    seen: set[bytes] = set()
    for line in packed_lines(packed):
        seen.add(hashlib.sha256(line).digest())
        yield line
    with open(plain, "rb") as file:
        for number, line in enumerate(file, 1):
            if read_line(line, number, 0, plain).fields is None:
                raise DataError("run.damaged", "a line is damaged", where=f"{plain} line {number}")
            if hashlib.sha256(line).digest() not in seen:
                yield line


def plan_line(entry: PlanEntry, *, first: bool) -> bytes:
    """A line of plan.jsonl; the first line of a sample carries what all its answers share.

    Raises: TypeError for a row with a value that JSON has no form for.
    """
    own = encode_object(entry)
    return encode_line({**own, **encode_object(entry.sample)} if first else own)


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


def json_text(value: Mapping[str, Any]) -> bytes:
    """An object as run.json and results.json are written."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


def _version_order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """`0.10.0` comes after `0.9.1`, `0.2.0` after `0.2.0rc1`."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = release[0] if release else ""
    return tuple(map(int, numbers.split(".") if numbers else ())), numbers == version, version


def _typed_manifest(stored: Mapping[str, Any], path: Path) -> tuple[Manifest, str | None]:
    """The manifest and None, or a stand-in and what is wrong."""
    try:
        return decode(Manifest, dict(stored)), None
    except KvlEvalError as error:
        stand_in = Manifest(run_id=path.name, model=ModelFacts(name="unknown"))
        return stand_in, f"{path / 'run.json'} cannot be read: {error.message}"


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
