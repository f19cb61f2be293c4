"""What judges said: `judge/<task>.jsonl`, append-only and primary, as no judge says the same thing twice.

One line is one judge's last word on one prompt in one judge run:

    judge, prompt_sha256, run    the key; `prompt_sha256` covers everything that was sent
    status                       `ok`, or `failed` with `reason` and `message`
    reply, verdict               the raw text, and what was read from it (the extraction that scores use)
    model                        who answered, as the server says
    sample_id, thinking          the first answer that led to the prompt, and whether the thought was shown
    attempts, tokens, asked_at   for people

A later line of a key replaces an earlier one; a usable reply is never asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kvl_eval.decode import decode, encode_object
from kvl_eval.errors import DecodeError
from kvl_eval.store.journal import Journal, LineReader, read_lines
from kvl_eval.store.names import file_name
from kvl_eval.store.records import JudgeReply
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import ScoreView, score_view


class ReplyKey(NamedTuple):
    """Who was asked what, and for the how-manieth time."""

    judge: str
    prompt_sha256: str
    run: int


class JudgeView(NamedTuple):
    """A judge, and what it was shown of the answers."""

    judge: str
    view: ScoreView


class Replies:
    """The replies of one task in a run folder; read as they stand when it is made.

    Attributes:
        views:  judges and what they were shown, in order of first appearance.
        failed: {key: reason} where the last word is a failure.
        damage: one text for each line that cannot be read; its prompt counts as never asked.
    """

    def __init__(self, folder: RunFolder, task: str) -> None:
        self.path = replies_path(folder, task)
        self.failed: dict[ReplyKey, str] = {}
        self.damage: list[str] = []
        self._folder = folder
        self._offsets: dict[ReplyKey, int] = {}
        self._views: dict[JudgeView, None] = {}
        self._reader: LineReader | None = None
        self._journal: Journal | None = None
        for line in read_lines(self.path):
            if line.fields is None:
                self.damage += [] if line.torn else [f"{self.path} line {line.number}: {line.damage}"]
                continue
            try:
                self._take(decode(JudgeReply, line.fields), line.offset)
            except DecodeError as error:
                self.damage.append(f"{self.path} line {line.number}: not a reply: {error.message}")

    def _take(self, reply: JudgeReply, offset: int) -> None:
        key = ReplyKey(reply.judge, reply.prompt_sha256, reply.run)
        self._views[JudgeView(reply.judge, score_view(reply.thinking))] = None
        self._offsets[key] = offset
        self.failed.pop(key, None)
        if reply.status != "ok":
            self.failed[key] = reply.reason or "judge_error"

    @property
    def views(self) -> tuple[JudgeView, ...]:
        """Judges and what they were shown, in order of first appearance."""
        return tuple(self._views)

    def usable(self, key: ReplyKey) -> bool:
        """Whether there is a reply that a score can use."""
        return key in self._offsets and key not in self.failed

    def asked(self, key: ReplyKey) -> bool:
        """Whether that was asked, with whatever outcome."""
        return key in self._offsets

    def reply(self, key: ReplyKey) -> JudgeReply | None:
        """The last reply of a key; None where there is none. Raises DamagedLine where the file changed since."""
        if key not in self._offsets:
            return None
        self._reader = self._reader or LineReader(self.path)
        return decode(JudgeReply, self._reader.at(self._offsets[key]))

    def append(self, reply: JudgeReply) -> None:
        """Write a line; readers made before do not see it."""
        self._journal = self._journal or Journal(self.path, self._folder.disk)
        self._journal.append(encode_object(reply))
        self._journal.sync_if_due()

    def close(self) -> None:
        """Sync what was written and let go of the file."""
        reader, journal = self._reader, self._journal
        self._reader = self._journal = None
        if reader is not None:
            reader.close()
        if journal is not None:
            journal.close()


def replies_path(folder: RunFolder, task: str) -> Path:
    """Where a task's replies are."""
    return folder.path / "judge" / f"{file_name(task)}.jsonl"


def reply_lines(folder: RunFolder, task: str) -> Iterator[JudgeReply]:
    """Every readable reply, in the order they were written."""
    for line in read_lines(replies_path(folder, task)):
        try:
            reply = None if line.fields is None else decode(JudgeReply, line.fields)
        except DecodeError:
            continue
        if reply is not None:
            yield reply
