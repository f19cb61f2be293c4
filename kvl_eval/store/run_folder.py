"""A run on disk. `run.json`, `plan.jsonl` and `samples/` are primary; everything else can be rebuilt from them.

    results/
      20260811-142233_kimi-vl-thinking_mathvista_7f3a/
        run.json         manifest, replaced as a whole when the status changes
        config.yaml      `kvl-eval run --config` on it repeats the run
        plan.jsonl       one line per (task, sample, repeat, budget): the denominator, fixed before the first answer
        samples/         <task>.jsonl: append-only, one finished attempt per line
        scores/          <task>@<protocol>-<version>.jsonl: derived
        trajectories/    <task>/<sample>/<repeat>.jsonl: journals of agents; media/ has their screens,
                         evidence/ what their values were computed from
        results.json     aggregates: derived
        log.txt, lock
      index.json         derived list of runs

Readers skip a line whose checksum does not fit and name it; its sample counts as pending. The last record of a key
wins. A line is read by itself: `jq`, `grep` and pandas see every record whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kvl_eval.decode import decode, encode_object
from kvl_eval.errors import DataError, DecodeError, StorageError, UsageError
from kvl_eval.printable import visible
from kvl_eval.store.derived_files import read_results, score_lines
from kvl_eval.store.hidden import free_names, hidden_folder
from kvl_eval.store.journal import Disk, Journal, encode_line, remove_leftovers
from kvl_eval.store.manifest import Manifest, Status
from kvl_eval.store.manifest_file import StoredManifest, json_text, read_manifest
from kvl_eval.store.names import file_name, scores_file
from kvl_eval.store.packed import pack
from kvl_eval.store.plan_file import check_plan_sha256, plan_entries
from kvl_eval.store.records import LockHolder, PlanEntry, Record, ScoreLine
from kvl_eval.store.result_records import Results
from kvl_eval.store.run_files import FOLDERS, check_inside
from kvl_eval.store.run_lock import RunLock, is_held
from kvl_eval.store.task_records import RecordIndex, TaskRecords, distinct_lines, packed_path, sample_lines

CONFIG = "config.yaml"
COMPRESSED_FROM = 1 << 20  # bytes of a plain file


class RunFolder:
    """One run. Make one with `create` or `open`.

    Attributes:
        path:     the folder.
        notices:  what readers found odd, in order, for the user to see.
        warnings: what this process learned of the answers that can mislead about a score, as (code, text); the codes
            are those of `kvl_eval.reports.warnings`.
    """

    def __init__(self, path: Path, stored: StoredManifest, disk: Disk) -> None:
        self.path = path
        self.notices: list[str] = [stored.problem] if stored.problem else []
        self.warnings: list[tuple[str, str]] = []
        self.disk = disk
        self._stored = stored
        self._lock = RunLock(path, disk)

    @property
    def manifest(self) -> Manifest:
        """run.json; a stand-in with status `unknown` where that file is missing or damaged."""
        return self._stored.manifest

    @property
    def problem(self) -> str | None:
        """Why the manifest is not to be trusted, or None."""
        return self._stored.problem

    # -- make and open ------------------------------------------------------------------------------------------

    @staticmethod
    def create(
        output_dir: Path,
        name: str,
        manifest: Manifest,
        plan: Iterable[bytes],
        disk: Disk | None = None,
        files: Callable[[Path], Mapping[str, bytes]] | None = None,
    ) -> RunFolder:
        """A new folder called `name` (or `name-2`, ...), its lock taken.

        It becomes visible once plan, manifest and `files` are in it, and a failure leaves nothing behind.

        Args:
            files: (the folder's path) -> further files, {name: content}.
        Raises: UsageError `output.unusable` if the folder cannot be made, StorageError later.
        """
        disk = disk or Disk()
        hidden = hidden_folder(output_dir, name)
        try:
            lock = RunLock(hidden, disk)
            lock.acquire()
            digest = hashlib.sha256()
            disk.replace(hidden / "plan.jsonl", _hashing(plan, digest))
            manifest = replace(manifest, plan_sha256=digest.hexdigest())
            for path in free_names(output_dir, name):
                contents = files(path) if files else {}
                for file, content in contents.items():
                    disk.replace(hidden / file, [content])
                sha256 = hashlib.sha256(contents[CONFIG]).hexdigest() if CONFIG in contents else None
                about = replace(manifest, run_id=path.name, config_sha256=sha256)
                stored = StoredManifest(Manifest()).changed_to(about)
                disk.replace(hidden / "run.json", [json_text(stored.fields)])
                if disk.show(hidden, path):
                    folder = RunFolder(path, stored, disk)
                    folder._tell_of_lock(lock)
                    return folder
            message = f"{output_dir} already contains a thousand runs named {name}"
            raise UsageError("output.unusable", message, fix="use another --output-dir")
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def is_unanswered(self) -> bool:
        """Whether no record was written yet."""
        return not any(path.stat().st_size for path in (self.path / "samples").glob("*"))

    @staticmethod
    def open(path: Path | str, disk: Disk | None = None) -> RunFolder:
        """A run that exists. A missing or damaged manifest is a notice, as long as there are plan or records.

        Raises: DataError `run.missing` if this is not a run folder, InputError for a newer schema.
        """
        path = Path(path)
        if not any(os.path.exists(path / name) for name in ("run.json", "plan.jsonl", "samples")):
            raise DataError(
                "run.missing",
                f"not a run folder: {path}",
                why="it contains no run.json, plan.jsonl or samples/",
                fix="see `kvl-eval list runs`",
            )
        return RunFolder(path, read_manifest(path / "run.json"), disk or Disk())

    def lock(self) -> None:
        """Take the folder for writing. Raises UsageError `run.busy`, naming the holder; DataError `run.file`."""
        for name in FOLDERS:
            check_inside(self.path / name)
        self._lock.acquire()
        for name in ("", "scores", "media", "evidence", ".."):
            remove_leftovers(self.path / name)
        self._tell_of_lock(self._lock)

    def _tell_of_lock(self, lock: RunLock) -> None:
        if lock.is_by_file:
            self.notices.append(
                "the file system does not support locks; only the file `lock` keeps other processes out"
            )
        if lock.taken_over is not None:
            left = lock.taken_over
            self.notices.append(f"took over the lock of pid {left.pid} on {left.host}, which no longer runs")

    def break_lock(self) -> LockHolder | None:
        """Remove a lock that a process of another host left, and say whose it was. Raises UsageError `run.busy`."""
        return self._lock.break_foreign()

    def unlock(self) -> None:
        """Let the folder go."""
        self._lock.release()

    # -- the manifest -------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def status(self) -> Status:
        """planned, running, interrupted, finished or unknown; a running run whose process is gone is interrupted."""
        status = self.manifest.status
        return "interrupted" if status == "running" and not is_held(self.path) else status

    def save(self, manifest: Manifest) -> None:
        """Write the manifest, and its own checksum as the last field.

        What did not change stays as it was read, with all that a later version may have written there.
        """
        self._stored = self._stored.changed_to(manifest)
        self.disk.replace(self.path / "run.json", [json_text(self._stored.fields)])

    def save_status(self, status: Status) -> None:
        """Write the manifest with another status."""
        self.save(replace(self.manifest, status=status))

    def check_plan(self) -> None:
        """Raises DataError `run.plan` if plan.jsonl is not the one the manifest speaks of."""
        check_plan_sha256(self.path / "plan.jsonl", self.manifest.plan_sha256)

    # -- plan and records ---------------------------------------------------------------------------------------

    def plan(self, task: str | None = None) -> Iterator[PlanEntry]:
        """The plan's entries in order, of one task or all.

        Raises: DataError `run.plan`, naming file and line, if one cannot be read.
        """
        return plan_entries(self.path / "plan.jsonl", task)

    def samples_path(self, task: str) -> Path:
        """Where a task's records are."""
        return self.path / "samples" / f"{file_name(task)}.jsonl"

    def journal(self, task: str) -> Journal:
        """A task's records, open for appending; a torn end is cut off, with a notice."""
        journal = Journal(self.samples_path(task), self.disk)
        if journal.cut:
            self.notices.append(
                f"{journal.path.name}: removed {journal.cut} bytes of a line that a crash left incomplete"
            )
        return journal

    def index(self, task: str, *, strict: bool = False, see: Callable[[Record], None] | None = None) -> RecordIndex:
        """Where each key's record is. `see` is shown each record, of which the last one of a key counts.

        Raises: UsageError `run.mixed` for a record of another run or task; with `strict`, DataError `run.damaged`.
        """
        index = RecordIndex()
        path = self.samples_path(task)
        for line in sample_lines(path):
            if line.fields is None:
                index.torn = index.torn or line.torn
                index.damage += [] if line.torn else [f"{line.where}: {line.damage}"]
                continue
            try:
                record = decode(Record, line.fields)
            except DecodeError as error:
                index.damage.append(f"{line.where}: not a record: {error.message}")
                continue
            self._check_owner(record, task, line.where)
            index.take(record, line)
            if see is not None:
                see(record)
        if strict:
            index.require_whole()
        self._tell(path, index)
        return index

    def _check_owner(self, record: Record, task: str, where: str) -> None:
        ours, theirs = self.manifest.config_fingerprint, record.config_fingerprint
        if record.task != task or (ours is not None and theirs != ours):
            raise UsageError(
                "run.mixed",
                f"{self.path} contains a record from another run or task",
                where=where,
                why=f"task {record.task} → {task}; config_fingerprint {theirs} → {ours}",
                fix="remove that line",
            )

    def _tell(self, path: Path, index: RecordIndex) -> None:
        notices = [f"{line}; skipped: its sample is pending unless it was answered again" for line in index.damage]
        if index.torn:
            notices.append(f"{path.name}: ignored the last line, which a crash left incomplete")
        if index.duplicates:
            notices.append(f"{path.name}: {index.duplicates} records were superseded by later ones for the same sample")
        self.notices += [notice for notice in notices if notice not in self.notices]

    def records(self, task: str, *, strict: bool = False) -> Iterator[Record]:
        """A task's records, each key once, in the order they were finished.

        Raises: DataError `run.damaged`, naming file and field, for one that is not a record.
        """
        index = self.index(task, strict=strict)
        with self.reader(task, index) as reader:
            for key in index.in_order():
                yield reader.at(key)

    def reader(self, task: str, index: RecordIndex) -> TaskRecords:
        """A task's records by key."""
        return TaskRecords(self.samples_path(task), index)

    def compress(self, least: int = COMPRESSED_FROM) -> None:
        """Compress the records of tasks that take more than `least` bytes. The run must be finished, the lock held.

        Killed at any time, it leaves every record in one of the two files, or in both. Damaged files stay as they are.
        """
        for plain in sorted((self.path / "samples").glob("*.jsonl")):
            if plain.stat().st_size <= least:
                continue
            try:
                self.disk.replace(packed_path(plain), pack(distinct_lines(plain)))
            except DataError as error:
                self.notices.append(f"{plain.name} is not compressed: {error.where}: {error.message}")
                continue
            self.disk.remove(plain)

    # -- what is derived ----------------------------------------------------------------------------------------

    def write_scores(self, task: str, protocol: str, version: str, lines: Iterable[ScoreLine]) -> Path:
        """Put a task's scores in place; those of another version stay. `protocol` is as `scores_name` gives it."""
        check_inside(self.path / "scores")
        path = self.path / "scores" / scores_file(task, protocol, version)
        self.disk.replace(path, (encode_line(encode_object(line)) for line in lines))
        return path

    def scores(self, task: str, protocol: str) -> Iterator[ScoreLine]:
        """A task's scores in plan order, of the newest version; none where it was not scored so.

        Raises: DataError `run.scores`, naming file and line, for one that cannot be read.
        """
        return score_lines(self.path, task, protocol)

    def write_results(self, results: Results) -> None:
        """Put results.json in place; of the model it says what run.json says, as it stands there."""
        fields = encode_object(results)
        if results.model == self.manifest.model and "model" in self._stored.fields:
            fields["model"] = self._stored.fields["model"]
        self.disk.replace(self.path / "results.json", [json_text(fields)])

    def results(self) -> Results:
        """results.json. Raises DataError `run.results` if it is missing or damaged."""
        return read_results(self.path)

    def log(self, text: str) -> None:
        """Add to log.txt, for people; nothing reads it. Only its owner can, and all of it is printable."""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        lines = visible(text.rstrip()).replace("\n", "\n  ")  # no line of it looks like a new entry
        path = self.path / "log.txt"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as handle:
                os.fchmod(descriptor, 0o600)
                handle.write(f"{stamp} {lines}\n")
        except OSError as error:
            fix = "check the permissions of the run folder"
            raise StorageError("storage.write", f"cannot write {path}: {error.strerror}", fix=fix) from error


def _hashing(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
