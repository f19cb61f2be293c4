"""What flows through kvl-eval: samples, messages, generation settings, completions, scores. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from kvl_eval.decode import Json, Others, omitted, unknown_fields
from kvl_eval.errors import ConfigError
from kvl_eval.rows import Row

Role = Literal["system", "user", "assistant"]
Verdict = Literal["correct", "partial", "wrong", "no_answer", "not_scored"]
Policy = Literal["cut", "force", "approximate"]
ScoreView = Literal["answer", "raw"]  # what a scorer sees: the text after the thought, or the whole output
StoredView = Literal["split", "raw"]  # the words that stored documents have for them, under `thinking`
FinishReason = Literal["stop", "length", "budget", "error", "unknown"]  # unknown: the server does not say
FrameRule = Literal["vlmevalkit", "uniform_tail", "chunk_center", "linspace", "uniform_capped", "longvideobench"]
SubtitleRule = Literal["vlmevalkit", "lmms-eval", "interleave", "interleave-lmms-eval"]
PictureKind = Literal["image", "frame", "page"]
ImageStyle = Literal["reference", "vlmevalkit"]
Unit = Literal["percent", "points"]
Interval = tuple[float, float]  # lower and upper end of a share


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFrame:
    """A picture that a rule draws when it is wanted: frame `index` of the film of `seed` and `rep`."""

    seed: int
    rep: int
    index: int
    width: int
    height: int
    banner: tuple[str, ...] = ()  # lines of text across it


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """An image not opened yet: a file, bytes, a member of a zip archive, or a drawn frame (exactly one)."""

    name: str  # what messages call the picture
    path: str | None = None
    data: bytes | None = field(default=None, repr=False)
    archive: str | None = None
    member: str | None = None
    root: str | None = None  # the folder that `path` may not leave
    drawn: DrawnFrame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleRef:
    """Spoken lines not read yet; which of them a prompt holds depends on the frames sampled from a video.

    A file or a member of a zip archive; neither means that the video has none. `media.subtitles` turns it into text.

    Attributes:
        video:   name of the VideoRef in the same message whose frames choose the lines.
        rule:    `vlmevalkit`, `lmms-eval` (one text in this part's place), `interleave`, `interleave-lmms-eval` (as
                 `VideoRef.subtitles`: lines among the frames).
        missing: the text of a video without subtitles; None makes that an error.
        frames:  how many frames the `lmms-eval` rule takes on its own, whatever the model sees.
        offset:  seconds on the subtitles' clock when the video starts.
        duration: seconds of the video, as the data set says.
    """

    video: str
    rule: SubtitleRule
    path: str | None = None
    archive: str | None = None
    member: str | None = None
    root: str | None = None
    missing: str | None = None
    frames: int | None = None
    offset: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRef:
    """A video not opened yet, and the rule that samples its frames.

    Attributes:
        rule:      which frames; `media.frame_rules` says what each rule means.
        frames:    how many frames; with `fps` the most.
        fps:       frames per second, where the rule goes by time.
        start:     seconds where the clip begins; None means at the start of the file.
        end:       seconds where it ends; None means at the end of the file.
        duration:  seconds as the data set says, where the rule goes by it and not by the file.
        subtitles: spoken lines that come with it: an `interleave` rule puts them among the frames, others need a part
                   of their own in the message; None where there are none, or they are hidden.
    """

    name: str
    path: str
    root: str | None = None
    rule: FrameRule = "linspace"
    frames: int | None = None
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    duration: float | None = None
    subtitles: SubtitleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfRef:
    """A document not opened yet, and how its pages are rendered; `data` goes before `path`."""

    name: str
    path: str
    root: str | None = None
    dpi: int = 144
    max_pages: int | None = None
    data: bytes | None = field(default=None, repr=False)


MediaRef = ImageRef | VideoRef | PdfRef
Part = str | ImageRef | VideoRef | PdfRef | SubtitleRef


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: a role and its parts in reading order."""

    role: Role
    parts: tuple[Part, ...]

    @staticmethod
    def user(*parts: Part) -> Message:
        """A user turn."""
        return Message("user", parts)

    @staticmethod
    def system(text: str) -> Message:
        """A system turn."""
        return Message("system", (text,))

    @staticmethod
    def assistant(*parts: Part) -> Message:
        """An assistant turn."""
        return Message("assistant", parts)

    @property
    def media(self) -> tuple[MediaRef, ...]:
        """The parts that are pictures, videos or documents, in order."""
        return tuple(part for part in self.parts if not isinstance(part, str | SubtitleRef))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question of a benchmark.

    Attributes:
        id:         the data set's own id as text, without the task's name.
        question:   the question's text as the data set holds it.
        row:        the data set's columns a scorer, report or submission needs, as JSON values without media;
                    `Task.sample(row)` gives the same sample again.
        media:      images, videos, documents in the order the prompt refers to them.
        choices:    texts of the options, empty for open questions.
        answers:    gold answers; empty where the split publishes none.
        categories: multi-label groups: {"task": ("geometry problem solving",), "skills": ("arithmetic", "algebra")}.
        cluster:    the document, video, screenshot or image that other samples may share.
        group:      of a question that is asked several times, its options rotated, what all of these have in common:
                    it counts as right only if each of them is. None where a sample is a question of its own.
    """

    id: str
    question: str
    row: Mapping[str, object] = field(default_factory=dict)
    media: tuple[MediaRef, ...] = ()
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cluster: str | None = None
    group: str | None = None

    @property
    def columns(self) -> Row:
        """`row`, read by type."""
        return Row(self.row, self.id)

    @property
    def question_id(self) -> str:
        """What tells questions apart: the group, or the sample's own id."""
        return self.id if self.group is None else self.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How one answer is produced. Every field is written to `run.json`.

    With `think_budgets` the limit of a budget B is B + `answer_tokens`, and `max_new_tokens` is None.
    """

    max_new_tokens: int | None = 512  # thinking included; None where budgets set the limit
    temperature: int | float = 0.0  # 0 means greedy; numbers stay as they were given, as the fingerprint holds them
    top_p: int | float = 1.0
    top_k: int = 0  # 0 means no limit
    think_budgets: tuple[int, ...] = ()  # most thinking tokens, markers included; () means no limit
    budget_policy: Policy = "cut"
    answer_tokens: int = 2048

    def __post_init__(self) -> None:
        if self.think_budgets and self.max_new_tokens is not None:
            raise ConfigError(
                "config.budget",
                "--max-new-tokens and --think-budget cannot be combined",
                why="with a budget, the limit is the budget plus --answer-tokens",
                fix="remove --max-new-tokens, or set --answer-tokens",
            )
        if not self.think_budgets and (self.max_new_tokens is None or self.max_new_tokens < 1):
            raise ConfigError("config.generation", "max_new_tokens must be at least 1", fix="set --max-new-tokens")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or self.answer_tokens < 1:
            raise ConfigError(
                "config.generation",
                f"invalid sampling settings: temperature={self.temperature} top_p={self.top_p} top_k={self.top_k} "
                f"answer_tokens={self.answer_tokens}",
                fix="use temperature >= 0, 0 < top_p <= 1, top_k >= 0, answer_tokens >= 1",
            )

    @property
    def limit(self) -> int:
        """Most new tokens of one answer."""
        return max(self.think_budgets) + self.answer_tokens if self.max_new_tokens is None else self.max_new_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Tokens of one attempt. `thinking` includes the markers; a forced closing marker counts in neither part."""

    prompt: int = 0
    image: int = 0
    thinking: int = 0
    answer: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What the model saw of one image: its content hash, kind, size in the file, size after resizing, tokens.

    Attributes:
        sha256:    of the image's file; of a frame or page, of the video or document.
        index:     number of the frame or page, from 0.
        timestamp: seconds at which a frame is shown, counted from the first frame.
        decoder:   of a frame or page, with its version.
        limit:     most patches of an image, if that was lowered to fit the context.
        flags:     what was done to it that may change the answer: `exif_applied`, `alpha_dropped`, ...
        others:    fields of a later version.
    """

    sha256: str
    kind: PictureKind
    w: int
    h: int
    resized_to: tuple[int, int]
    tokens: int
    pre_shrunk: tuple[int, int] | None = None
    note: str | None = None
    index: int | None = None
    timestamp: float | None = None
    decoder: str | None = None
    limit: int | None = None
    flags: tuple[str, ...] = omitted(tuple)
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer of a backend, or its failure. `budget` None means no limit was set."""

    repeat: int = 0
    budget: int | None = None
    policy: Policy | None = None
    status: Literal["ok", "failed"] = "ok"
    reason: str | None = None
    message: str | None = None
    attempt: int = 1
    raw_output: str = ""
    thinking: str = ""
    answer: str = ""
    think_closed: bool | None = None  # None: the output has no thought
    thought: str | None = None  # family of its markers, "" without a thought; None where nobody looked for one
    budget_forced: bool = False
    finish_reason: FinishReason = "stop"
    tokens: TokenCounts = TokenCounts()
    media: tuple[MediaInfo, ...] = ()
    prompt_text: str = ""
    seed: int = 0
    trajectory_id: str | None = None
    time: Mapping[str, float] = field(default_factory=dict)  # seconds: queue, load, prefill, decode, total
    worker: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


def score_view(stored: object) -> ScoreView:
    """The view that a stored document names; `split`, and what names none, mean the answer."""
    return "raw" if stored == "raw" else "answer"


def stored_view(view: ScoreView) -> StoredView:
    """The word that stored documents have for a view."""
    return "raw" if view == "raw" else "split"


class _Missing:
    """The type of MISSING."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Means that the protocol runs its own extraction; any other value, even None, replaces that step."""

Extraction = str | None | _Missing

GIVEN = "given"  # `Score.method` where a caller or judge brought the extraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a protocol made of one answer.

    Attributes:
        value:     fraction in [0, 1], or None where the sample was not scored.
        verdict:   `correct` (1), `partial` (between), `wrong` (0), `no_answer` (nothing extracted, 0), `not_scored`.
        extracted: the value compared with gold; None where nothing was found.
        method:    how it was found: `exact`, `boxed`, `cue`, `letter`, `judge`, `given`, ...
        reason:    details in a few words, such as `answer_too_long` or `thought_unclosed`.
        detail:    numbers a reader wants: ANLS, distance, point and box in original pixels.
    """

    value: float | None
    verdict: Verdict
    extracted: object = None
    method: str = ""
    reason: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)

    @staticmethod
    def of(value: float, extracted: object, method: str = "", **detail: object) -> Score:
        """A score whose verdict follows from its value."""
        verdict: Verdict = "correct" if value >= 1 else "partial" if value > 0 else "wrong"
        return Score(value=float(value), verdict=verdict, extracted=extracted, method=method, detail=detail)

    @staticmethod
    def no_answer(reason: str, extracted: object = None, method: str = "") -> Score:
        """Nothing was extracted: counts as 0, and is shown."""
        return Score(value=0.0, verdict="no_answer", extracted=extracted, method=method, reason=reason)

    @staticmethod
    def not_scored(reason: str, extracted: object = None) -> Score:
        """No gold, or a judge is missing: outside the headline."""
        return Score(value=None, verdict="not_scored", extracted=extracted, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One sample with what a protocol made of one of its answers; what `Task.aggregate` sees."""

    sample: Sample
    score: Score
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScore:
    """Mean score of the samples that carry one value of one category."""

    n: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMean:
    """How a headline is made of groups: the means over the values of the category `field`, weighted (they sum to 1)."""

    field: str
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A task's result under one protocol.

    Attributes:
        score, unit: headline fraction in [0, 1], None where nothing could be scored; how views print it.
        official:    the figures as the official script prints them, {key: text}.
        categories:  {field: {value: CategoryScore}}; shares: {what may mislead: (how many, of how many)}.
        over:        the groups whose means make the headline (a macro mean); None where it is the mean over questions.
    """

    score: float | None
    unit: Unit = "percent"
    official: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, CategoryScore]] = field(default_factory=dict)
    over: GroupMean | None = None
    shares: Mapping[str, tuple[int, int]] = field(default_factory=dict)
