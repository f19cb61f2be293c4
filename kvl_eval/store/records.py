"""What the lines of a run folder hold: `plan.jsonl`, `samples/`, `judge/`, `scores/`.

Types only; `kvl_eval.decode` reads and writes them, `run_folder` knows the files. Fields are only ever added: lines of
earlier versions may lack those with a default. `others` are fields of a later version, kept when a line is written
again. The manifest is in `manifest.py`, `results.json` in `result_records.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kvl_eval.decode import Count, Json, Others, not_stored, omitted, renamed, unknown_fields
from kvl_eval.flags import in_order
from kvl_eval.types import FinishReason, MediaInfo, Policy, StoredView, TokenCounts, Verdict

SCHEMA = 1  # 2 was given to records that held parts of each other's texts, and is not used again


def text_sha256(text: str) -> str:
    """The hash of a text, lone surrogates included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Key(NamedTuple):
    """What a plan entry asks for, a record answers and a score line scores, within its task and split."""

    sample_id: str
    repeat: int
    budget: int | None
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSample:
    """What all answers to one sample share. It is in the first line of the sample in `plan.jsonl`.

    Attributes:
        question:        the question's text as the data set holds it.
        choices:         texts of the options; empty for open questions.
        gold:            gold answers; empty where the split publishes none.
        categories:      {field: labels}.
        cluster:         the document, video, screenshot or image that other samples may share.
        group:           of a question that is asked several times: what all of these have in common.
        media:           images, videos and documents of the prompt.
        messages_sha256: of the prompt as messages, before a chat template.
        row:             the data set's columns that scorers need.
        position:        in a shard: where the sample stood in the whole selection, from 1.
        offset:          where the line starts, in bytes; not stored.
        others:          fields of a later version.
    """

    question: str
    choices: tuple[str, ...]
    gold: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    cluster: str | None
    group: str | None = omitted()
    media: Count
    messages_sha256: str = renamed("prompt_sha256")
    row: Mapping[str, Json]
    position: Count | None = omitted()
    offset: int = not_stored(0)
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """One answer that is wanted: a line of `plan.jsonl`, with what its sample's first line says.

    Attributes:
        task:      the task's name.
        schema:    1.
        split:     the split's name.
        sample_id: the data set's own id.
        repeat:    from 0.
        budget:    most thinking tokens; null without a limit.
        policy:    what happens at the budget; null without one.
        sample:    the same object in every entry of a sample.
    """

    task: str
    schema: int = SCHEMA
    split: str
    sample_id: str
    repeat: Count
    budget: Count | None
    policy: Policy | None
    sample: PlannedSample = not_stored()

    @property
    def key(self) -> Key:
        """What is asked for."""
        return Key(self.sample_id, self.repeat, self.budget, self.policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What only some backends know of an answer.

    Attributes:
        stop_token: the special token that ended the text, as `raw_output` shows it.
        flags:      what may have changed the answer: `finish_unknown`, `answer_in_reasoning`, ...
        thought:    family of the thought's markers, empty without a thought; absent from records before 0.2.
        trajectory: the file with an agent's steps, below the run folder.
        model:      who answered, where that is not the model asked for.
        others:     a backend's own notes: `server`, `prompt_tokens_ours`, `thinking_field`, `unfinished_marker`, ...
    """

    stop_token: str | None = omitted()
    flags: tuple[str, ...] = omitted(tuple)
    thought: str | None = omitted()
    trajectory: str | None = omitted()
    model: str | None = omitted()
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One finished attempt: a line of `samples/<task>.jsonl`. The last one of a key counts.

    Attributes:
        schema:             1.
        task:               the task's name.
        split:              the split's name.
        sample_id:          the data set's own id.
        repeat:             from 0.
        budget:             most thinking tokens; null without a limit.
        policy:             `cut` or `force`; null without a budget.
        status:             `ok` or `failed`.
        reason:             a short code of a failure, such as `media_corrupt`.
        message:            a failure in one sentence.
        attempt:            number of attempts, from 1.
        config_fingerprint: that of the run.
        messages_sha256:    as in the plan; absent from records before 0.2.
        prompt_sha256:      of `prompt_text`.
        prompt_text:        what the model was given, media as marks.
        image_prep:         the rule by which images were sized.
        media:              what the model saw of each image, frame and page.
        raw_output:         what the model wrote, special tokens included.
        thinking:           the thought, without markers.
        answer:             what follows the thought.
        think_closed:       whether the thought was ended; null without one.
        budget_forced:      whether the budget ended the thought.
        finish_reason:      `stop`, `length`, `budget`, `error` or `unknown`.
        trajectory_id:      shared by answers that one generation gave under several budgets.
        tokens:             of prompt, images, thought and answer.
        seed:               of the sampler.
        time:               seconds: queue, load, prefill, decode, total.
        worker:             who computed it: device and process, or the server's address.
        ended_at:           local time with offset, to the millisecond.
        extra:              what only some backends know.
        others:             fields of a later version.
    """

    schema: int = SCHEMA
    task: str
    split: str
    sample_id: str
    repeat: Count
    budget: Count | None
    policy: Policy | None
    status: Literal["ok", "failed"]
    reason: str | None
    message: str | None
    attempt: Count
    config_fingerprint: str
    messages_sha256: str | None = omitted()
    prompt_sha256: str
    prompt_text: str
    image_prep: str
    media: tuple[MediaInfo, ...]
    raw_output: str
    thinking: str
    answer: str
    think_closed: bool | None
    budget_forced: bool
    finish_reason: FinishReason
    trajectory_id: str | None
    tokens: TokenCounts
    seed: int
    time: Mapping[str, float | None]
    worker: str
    ended_at: str
    extra: Extra = omitted(Extra)
    others: Others = unknown_fields()

    @property
    def key(self) -> Key:
        """What is answered."""
        return Key(self.sample_id, self.repeat, self.budget, self.policy)

    @property
    def flags(self) -> tuple[str, ...]:
        """What may have changed the answer: of its pictures and of itself, each flag once."""
        return in_order([*self.extra.flags, *(flag for medium in self.media for flag in medium.flags)])


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReply:
    """One judge's word on one prompt in one judge run: a line of `judge/<task>.jsonl`. The last one of a key counts.

    Attributes:
        schema:        1.
        judge:         the name the judge goes by.
        prompt_sha256: of everything that was sent.
        run:           from 0.
        status:        `ok` or `failed`.
        reason:        a short code of a failure.
        message:       a failure in one sentence.
        reply:         the raw text.
        verdict:       what was read from it: the extraction that scores use.
        model:         who answered, as the server says.
        attempts:      calls that were made.
        tokens:        of prompt and completion, as the server counts.
        sample_id:     the first answer that led to the prompt.
        thinking:      whether the thought was shown (`raw`) or not (`split`).
        asked_at:      local time with offset, to the millisecond.
        others:        fields of a later version.
    """

    schema: int = SCHEMA
    judge: str
    prompt_sha256: str
    run: Count
    status: Literal["ok", "failed"]
    reason: str | None = None
    message: str | None = None
    reply: str | None = None
    verdict: Json = None
    model: str | None = None
    attempts: Count = 0
    tokens: Mapping[str, Count | None] = field(default_factory=dict)
    sample_id: str
    thinking: StoredView
    asked_at: str = ""
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeNote:
    """What a score owes to a judge.

    Attributes:
        judge:         the name the judge goes by.
        model:         who answered, as the server says.
        prompt_sha256: of everything that was sent: the key of the replies in `judge/<task>.jsonl`.
        reply:         the raw texts of all judge runs.
    """

    judge: str
    model: str | None
    prompt_sha256: str
    reply: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """What a protocol made of one answer: a line of `scores/<task>@<protocol>-<version>.jsonl`.

    Attributes:
        schema:         1.
        sample_id:      the data set's own id.
        repeat:         from 0.
        budget:         most thinking tokens; null without a limit.
        policy:         `cut` or `force`; null without a budget.
        extracted:      the value compared with gold; null where nothing was found.
        extract_ok:     whether something was extracted.
        extract_method: how: `exact`, `boxed`, `cue`, `letter`, `judge`, ...
        gold:           gold answers, as in the plan.
        score:          in [0, 1]; null where it was not scored.
        verdict:        `correct`, `partial`, `wrong`, `no_answer` or `not_scored`.
        reason:         details in a few words.
        detail:         numbers a reader wants, by the protocol; `span` are characters of the text the scorer saw.
        categories:     {field: labels}, as in the plan.
        cluster:        as in the plan.
        group:          as in the plan.
        judge:          what the score owes to a judge; null where none was needed.
        scorer:         `task@protocol`.
        scorer_version: of kvl-eval.
        others:         fields of a later version.
    """

    schema: int = SCHEMA
    sample_id: str
    repeat: Count
    budget: Count | None
    policy: Policy | None
    extracted: Json
    extract_ok: bool
    extract_method: str
    gold: tuple[str, ...]
    score: float | None
    verdict: Verdict
    reason: str | None
    detail: Mapping[str, Json]
    categories: Mapping[str, tuple[str, ...]]
    cluster: str | None
    group: str | None = omitted()
    judge: JudgeNote | None = None
    scorer: str
    scorer_version: str
    others: Others = unknown_fields()

    @property
    def key(self) -> Key:
        """What is scored."""
        return Key(self.sample_id, self.repeat, self.budget, self.policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """Who writes to a run folder: the file `lock`.

    Attributes:
        pid:   process id.
        host:  the machine's name.
        start: when the lock was taken, local time with offset.
        ticks: when the process started, in clock ticks since boot; null where the system does not say.
    """

    pid: int | None = None
    host: str | None = None
    start: str | None = None
    ticks: int | None = None
