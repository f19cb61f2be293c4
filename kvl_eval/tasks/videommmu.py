r"""VideoMMMU: what is learnt from 300 lectures, asked on three tracks: perception, comprehension, adaptation.

Data:    lmms-lab/VideoMMMU (gated), configurations Perception, Comprehension, Adaptation, split test; videos
         <Domain>/<id>.mp4
Prompt:  the authors', by track; the last frame of a video is the picture of the Adaptation question
Frames:  32, first and last included; the report states none
Metric:  mean of the three tracks' accuracies
Scorer:  the box, or what follows the last `Answer:`, then ranked letters; open answers by MMMU's rule; nothing leaves
         the denominator
Source:  EvolvingLMMs-Lab/VideoMMMU @ 88b4ac3; lmms-eval tasks/videommmu @ 75571cf; VLMEvalKit @ e8e78f0
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row VideoMMMU; the Thinking-2506 model card
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.answer_text import last_boxed, plain
from kvl_eval.scorers.mmmu import open_candidates, open_correct
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.option_letter import NO_LETTER, ranked_over
from kvl_eval.scorers.video_choice import LEFT_OUT
from kvl_eval.scorers.videommmu import OPEN_CUES, official_letter
from kvl_eval.sources import Row, Source, literal_list, read_rows
from kvl_eval.sources.videos import filmed_samples
from kvl_eval.tasks.base import Protocol, Reference, Split, Task
from kvl_eval.tasks.choices import kept, option_texts
from kvl_eval.tasks.mmmu import DOMAIN_OF
from kvl_eval.types import MISSING, Extraction, Message, Sample, Score, Scored, Summary

FRAMES = 32
MINI_FRAMES = 4  # the bundled clips have four scenes
TRACKS = ("Perception", "Comprehension", "Adaptation")
KEPT = ("track", "id", "row", "question", "answer", "question_type")
FOLDERS = ("Art", "Business", "Engineering", "Humanities", "Medicine", "Science")
LEARN = "You should watch and learn the video content. Then apply what you learned to answer the following "
AT_END = " question. The image for this question is at the end of the video.\n"
IGNORE = "\nPlease ignore the Quiz question in last frame of the video."
ADD = "\nAdd `Answer: {Your final answer}` at the end of your reply."


# Loading


def load(source: Source, split: str) -> Iterator[Sample]:
    """The three tracks one after the other, videos unopened. Raises: DataError."""
    folders = (*FOLDERS, "videos", ".")
    rows = _rows(source, split)
    yield from filmed_samples(rows, sample, source, file=_file, folders=folders, rule="linspace", frames=FRAMES)


def _rows(source: Source, split: str) -> Iterator[Row]:
    """The tables of the tracks; or one table with a column `track`."""
    folder = source.data_dir
    if folder is not None and not any(path.is_dir() for path in folder.rglob(TRACKS[0])):
        return read_rows(source, split, required=("track", "id", "question", "answer"), task="videommmu")
    return chain.from_iterable(_of_track(source, split, track) for track in TRACKS)


def _of_track(source: Source, split: str, track: str) -> Iterator[Row]:
    for row in read_rows(source, split, config=track, required=("id", "question", "answer"), task="videommmu"):
        yield Row({**row.values, "track": track}, row.where)


def _file(one: Sample) -> str:
    return f"{one.cluster}.mp4"


def sample(row: Mapping[str, Any], where: str = "row") -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    track, name = str(row.get("track") or TRACKS[2]), str(row.get("id") or "row")
    if track not in TRACKS:
        raise DataError("data.field", f"videommmu: track is {track!r}", where=where, why=f"expected {TRACKS}")
    choices = option_texts(row, where)
    subject = "_".join(name.split("_")[1:-1])
    gold = row.get("answer")
    return Sample(
        id=f"{track}/{name}",
        question=str(row.get("question") or ""),
        row={**kept(row, KEPT), "track": track, "options": list(choices)},
        choices=choices,
        answers=() if gold is None else (str(gold),),
        categories={
            "track": (track,),
            **({"subject": (subject,)} if subject else {}),
            **({"domain": (DOMAIN_OF[subject],)} if subject in DOMAIN_OF else {}),
        },
        cluster=name,
    )


def gold_values(answer: str) -> list[str]:
    """The values of an open question's gold: a list written as text, even a broken one, or the text itself."""
    if not answer.startswith("["):
        return [answer]
    try:
        return [str(value) for value in literal_list(answer, where="answer")]
    except DataError:
        return [piece.strip(" []'\"") for piece in answer.split(",")]


# Prompts


def official(one: Sample) -> list[Message]:
    """The authors' text of the question's track."""
    return [Message.user(*one.media, _text(one))]


def vlmevalkit(one: Sample) -> list[Message]:
    """The same, and a request for a last line; the picture is the last frame here, not a part of its own."""
    return [Message.user(*one.media, _text(one) + ADD)]


def _text(one: Sample) -> str:
    listed = all(option.startswith(f"{letter}.") for letter, option in lettered(one.choices).items())
    lines = [option if listed else f"{letter}. {option}" for letter, option in lettered(one.choices).items()]
    if one.categories["track"][0] != "Adaptation":
        return "\n".join([one.question, "\n".join(lines)]) + IGNORE
    text = "\n".join([one.question, *lines])
    return f"{LEARN}{'multi-choice' if one.choices else 'open-ended'}{AT_END}{text}"


# Scoring


def _after_answer(reply: str) -> str:
    return reply.rpartition("Answer:")[2].strip()


def _score(
    prepare: Callable[[str], str],
    letter: Callable[[Sample, str], str | None],
    gold: Callable[[str], list[str]] = lambda answer: [answer],
    *,
    drops: bool = False,
    drops_open: bool = False,
) -> Callable[[Sample, str, Extraction], Score]:
    """A protocol of what it looks at, its reader of letters, and whether an empty reply leaves the denominator."""

    def score(one: Sample, answer: str, extraction: Extraction) -> Score:
        if not one.answers:
            return Score.not_scored("no_gold")
        text = prepare(answer) if extraction is MISSING else str(extraction or "")
        if text in ("", "API Error"):
            left_out = drops if one.choices else drops_open
            return Score.not_scored(LEFT_OUT) if left_out else Score.no_answer("empty")
        if not one.choices:
            values = open_candidates(text, OPEN_CUES)
            return Score.of(open_correct(gold(one.answers[0]), values), values, "open")
        found = letter(one, text) if extraction is MISSING else text
        return Score.no_answer(NO_LETTER) if found is None else Score.of(found == one.answers[0], found, "letter")

    return score


def _official(one: Sample, reply: str) -> str | None:
    return official_letter(reply, one.choices)


def _assumed(reply: str) -> str:
    boxed = last_boxed(reply)
    return _after_answer(reply) if boxed is None else plain(boxed)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """The mean of the tracks that are there; each track as a fraction, as VLMEvalKit in percent with all pooled."""
    summary = summarise(scored)
    tracks = summary.categories.get("track", {})
    if summary.score is None:
        return summary
    overall = sum(group.score for group in tracks.values()) / len(tracks)
    if protocol == "vlmevalkit":
        official = {name: str(100 * group.score) for name, group in tracks.items()}
        official["Overall"] = str(100 * summary.score)
    else:
        official = {name: str(round(group.score, 5)) for name, group in tracks.items()}
        official["mean of tracks"] = str(overall)
    return replace(summary, score=overall, official=official)


_DROPS = "an empty reply leaves the denominator, so that silence raises the score"
_NOT_SURE = "`I am not sure` is option I of rows with nine or more options"

TASK = Task(
    name="videommmu",
    title="VideoMMMU",
    doc=__doc__ or "",
    repos=("lmms-lab/VideoMMMU", "lmms-eval/VideoMMMU"),
    licence="gated: terms on the hub; rights stay with the videos' owners",
    splits={"test": Split(rows=900)},
    default_split="test",
    load=load,
    sample=sample,
    row_layouts={
        "hub": ("id", "question", "options", "answer", "question_type"),
        "golden": ("track", "question_type", "question", "options", "answer"),
    },
    prompts={"official": official, "vlmevalkit": vlmevalkit},
    default_prompt="official",
    prompt_evidence="the report names no prompt; this is the authors' own text",
    protocols={
        "assumed": Protocol(
            score=_score(_assumed, ranked_over, gold_values),
            notes=(r"the last `\boxed{}`, else what follows the last `Answer:`, then ranked letters", _NOT_SURE),
            evidence="assumed: nothing leaves the denominator; the report names no scorer",
        ),
        "official": Protocol(
            score=_score(str, _official), notes=("the thought is split off first; empty replies are wrong", _NOT_SURE)
        ),
        "official-exact": Protocol(
            score=_score(str, _official, drops=True, drops_open=True), notes=(_DROPS, _NOT_SURE)
        ),
        "vlmevalkit": Protocol(
            score=_score(_after_answer, _official, drops=True, drops_open=True),
            notes=("as official-exact, on what follows the last `Answer:`; all tracks pooled", _DROPS),
        ),
        "lmms-eval": Protocol(
            score=_score(str, ranked_over, drops_open=True),
            notes=("ranked letters; an empty reply is wrong, to an open question left out",),
        ),
    },
    default_protocol="assumed",
    beside=("official",),
    aggregate=aggregate,
    reference=Reference(benchmark="videommmu"),
    groups=("table3", "video"),
    mini="videommmu",
    mini_frames=MINI_FRAMES,
    max_new_tokens=1024,
    files=("<track>/test-*.parquet (hub)", "<Domain>/<id>.mp4, unpacked"),
    archives=tuple(f"{name}.zip" for name in FOLDERS),
    count={"test": {"rows": 900, **{f"track={track}": 300 for track in TRACKS}}},
)
