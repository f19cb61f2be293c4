r"""VideoMMMU: what is learnt from 300 lectures, asked on three tracks: perception, comprehension, adaptation.

Data:    lmms-lab/VideoMMMU (gated), configurations Perception, Comprehension, Adaptation, split test; videos
         <Domain>/<id>.mp4
Prompt:  the authors', by track; the last frame of a video is the picture of the Adaptation question
Frames:  32, first and last included; the report states none
Metric:  mean of the three tracks' accuracies; with the split `delta`, which asks the Adaptation questions once more
         without their lecture, also the knowledge gained from it
Scorer:  the reader; open answers by MMMU's rule; nothing leaves the denominator
Source:  EvolvingLMMs-Lab/VideoMMMU @ 88b4ac3; lmms-eval tasks/videommmu @ 75571cf; VLMEvalKit @ e8e78f0
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row VideoMMMU; the Thinking-2506 model card
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from kvl_eval.errors import DataError
from kvl_eval.scorers.aggregate import mean, mean_of_groups, summarise
from kvl_eval.scorers.mmmu import open_candidates, open_correct
from kvl_eval.scorers.mmmu_protocols import open_reader
from kvl_eval.scorers.multiple_choice import lettered
from kvl_eval.scorers.option_letter import NO_LETTER, ranked_over
from kvl_eval.scorers.reader_protocol import reader_letter
from kvl_eval.scorers.video_choice import LEFT_OUT
from kvl_eval.scorers.videommmu import OPEN_CUES, official_letter
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, literal_list, read_rows
from kvl_eval.sources.cells import image_ref
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.videos import Filming, filmed_samples
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
    OtherName,
    Prompt,
    Protocol,
    Reference,
    Split,
    Task,
    TaskData,
    TaskView,
    reader_protocol,
)
from kvl_eval.tasks.choices import one_label
from kvl_eval.tasks.mmmu import DOMAIN_OF
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary, VideoRef

FRAMES = 32
MINI_FRAMES = 4  # the bundled clips have four scenes
TRACKS = ("Perception", "Comprehension", "Adaptation")
QUESTION_ONLY = "question_only"  # the Adaptation questions without their lecture
KEPT = ("track", "id", "row", "question", "answer", "question_type")
FOLDERS = ("Art", "Business", "Engineering", "Humanities", "Medicine", "Science")
LEARN = "You should watch and learn the video content. Then apply what you learned to answer the following "
AT_END = " question. The image for this question is at the end of the video.\n"
IGNORE = "\nPlease ignore the Quiz question in last frame of the video."
PLACE = "<image 1>"
ADD = "\nAdd `Answer: {Your final answer}` at the end of your reply."


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The three tracks one after the other, of split `delta` also the questions alone; videos unopened.

    Raises: DataError.
    """
    rows = _rows(source, "test", reporter)
    asked = _with_questions_alone(rows) if split == "delta" else rows
    filmed = filmed_samples(asked, to_sample, source, FILMING, reporter)
    yield from (_in_one_frame(one) if _track(one) == QUESTION_ONLY else one for one in filmed)


def _with_questions_alone(rows: Iterator[Row]) -> Iterator[Row]:
    asked = []
    for row in rows:
        if row.get("track") == TRACKS[2]:
            asked.append(row.also({"track": QUESTION_ONLY}))
        yield row
    yield from asked


def _in_one_frame(one: Sample) -> Sample:
    """With the question's picture where the table has it, else one frame of the clip that shows nothing else."""
    return replace(one, media=_pictures(one) or tuple(replace(ref, frames=1) for ref in _videos(one)))


def _rows(source: Source, split: str, reporter: Reporter) -> Iterator[Row]:
    """The tables of the tracks; or one table with a column `track`."""
    folder = source.data_dir
    if folder is not None and not any(path.is_dir() for path in folder.rglob(TRACKS[0])):
        tables = Tables(task="videommmu", required=("track", "id", "question", "answer"))
        return read_rows(source, split, tables, reporter)
    return chain.from_iterable(_of_track(source, split, track, reporter) for track in TRACKS)


def _of_track(source: Source, split: str, track: str, reporter: Reporter) -> Iterator[Row]:
    tables = Tables(task="videommmu", config=track, required=("id", "question", "answer"))
    for row in read_rows(source, split, tables, reporter):
        yield row.also({"track": track})


def _file(one: Sample) -> str:
    return f"{one.cluster}_image.mp4" if _track(one) == QUESTION_ONLY else f"{one.cluster}.mp4"


FILMING = Filming(file=_file, folders=(*FOLDERS, QUESTION_ONLY, "videos", "."), rule="linspace", frames=FRAMES)


def _track(one: Sample) -> str:
    return one.categories["track"][0]


def _videos(one: Sample) -> tuple[VideoRef, ...]:
    return tuple(ref for ref in one.media if isinstance(ref, VideoRef))


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video; with the question's picture where the row has it.

    Raises: DataError.
    """
    track = row.first_of("track", (*TRACKS, QUESTION_ONLY)) if row.text("track") else TRACKS[2]
    name = row.text("id") or "row"
    picture = row.get("image") if track in (TRACKS[2], QUESTION_ONLY) else None
    choices = row.options()
    subject = "_".join(name.split("_")[1:-1])
    return Sample(
        id=f"{track}/{name}",
        question=row.text("question"),
        row={**row.keep(KEPT), "track": track, "options": list(row.written_options())},
        media=(image_ref(picture, name="image:1", root=None, where=row.where),) if picture else (),
        choices=choices,
        answers=_gold(row, choices),
        categories=one_label(track=track, subject=subject, domain=DOMAIN_OF.get(subject)),
        cluster=name,
    )


def _gold(row: Row, choices: tuple[str, ...]) -> tuple[str, ...]:
    """A letter of `choices`; of an open question a text, be it that of a list."""
    return row.gold_letter("answer", options=choices) if choices else row.gold_written("answer")


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
    """The authors' text of the question's track; the picture is the video's last frame, or all there is."""
    return [Message.user(*(_videos(one) or one.media), _text(one))]


def vlmevalkit(one: Sample) -> list[Message]:
    """The same and a request for a last line; the picture, where the table has it, behind the frames."""
    return [Message.user(*_lecture(one), *_pictures(one), _text(one) + ADD)]


def vlmevalkit_interleaved(one: Sample) -> list[Message]:
    """The same with the picture in the place of `<image 1>`, or where that is missing behind the options."""
    if not _pictures(one):
        return vlmevalkit(one)
    before, mark, after = _text(one).partition(PLACE)
    return [Message.user(*_lecture(one), before, *_pictures(one), f"{after if mark else ''}{ADD}")]


def _pictures(one: Sample) -> tuple[ImageRef, ...]:
    return tuple(ref for ref in one.media if isinstance(ref, ImageRef))


def _lecture(one: Sample) -> tuple[VideoRef, ...]:
    """The video by VLMEvalKit's rule, which leaves out its last frame, if the picture that shows is there besides."""
    return tuple(replace(ref, rule="vlmevalkit") if _pictures(one) else ref for ref in _videos(one))


def _text(one: Sample) -> str:
    listed = all(option.startswith(f"{letter}.") for letter, option in lettered(one.choices).items())
    lines = [option if listed else f"{letter}. {option}" for letter, option in lettered(one.choices).items()]
    if _track(one) != TRACKS[2]:
        return "\n".join([one.question, "\n".join(lines)]) + (IGNORE if _track(one) in TRACKS else "")
    text = "\n".join([one.question, *lines])
    return f"{LEARN}{'multi-choice' if one.choices else 'open-ended'}{AT_END}{text}"


# Scoring


def _after_answer(reply: str) -> str:
    return reply.rpartition("Answer:")[2].strip()


def _score(
    prepare: Callable[[str], str],
    letter: Callable[[Sample, str], str | None],
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
            return Score.of(open_correct([one.answers[0]], values), values, "open")
        found = letter(one, text) if extraction is MISSING else text
        return Score.no_answer(NO_LETTER) if found is None else Score.of(found == one.answers[0], found, "letter")

    return score


def _official(one: Sample, reply: str) -> str | None:
    return official_letter(reply, one.choices)


_read_letter = reader_letter()
_read_open = open_reader(lambda one: gold_values(one.answers[0]))


def score_reader(one: Sample, answer: str, extraction: Extraction) -> Score:
    """A letter, or an open answer by MMMU's rule, as the reader finds it."""
    return (_read_letter if one.choices else _read_open)(one, answer, extraction)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """The mean of the tracks present; each track as a fraction, as VLMEvalKit in percent with all pooled.

    What was gained from the lectures is beside it where the questions were asked without them, too.
    """
    summary = summarise(scored)
    shown = summary.categories.get("track", {})
    tracks = {name: group for name, group in shown.items() if name != QUESTION_ONLY} or shown
    if summary.score is None:
        return summary
    found = mean_of_groups(summary, "track", dict.fromkeys(tracks, 1 / len(tracks)))
    if protocol == "vlmevalkit":
        official = {name: str(100 * group.score) for name, group in tracks.items()}
        pooled = mean([one for one in scored if _track(one.sample) in tracks])
        official["Overall"] = str(100 * (pooled or 0.0))
    else:
        official = {name: str(round(group.score, 5)) for name, group in tracks.items()}
        official["mean of tracks"] = str(found.score)
    return replace(found, official=official | _gain(scored))


def _gain(scored: Sequence[Scored]) -> dict[str, str]:
    """The authors' figures of what a lecture adds to the question alone, in percent; {} unless both were asked."""
    alone, taught = (
        {(one.sample.cluster, one.repeat): one.score.value for one in scored if _track(one.sample) == track}
        for track in (QUESTION_ONLY, TRACKS[2])
    )
    before, after = (
        mean([one for one in scored if _track(one.sample) == track]) for track in (QUESTION_ONLY, TRACKS[2])
    )
    if before is None or after is None:
        return {}
    both = [(was, taught[key]) for key, was in alone.items() if was is not None and taught.get(key) is not None]
    wrong = [now for was, now in both if was < 1]
    right = [now for was, now in both if was == 1]
    return {
        "question only": str(100 * before),
        "delta knowledge": _percent(after - before, 1 - before),
        "wrong to right": _percent(sum(now == 1 for now in wrong), len(wrong)),
        "right to wrong": _percent(sum(now != 1 for now in right), len(right)),
    }


def _percent(part: float, whole: float) -> str:
    return str(100 * part / whole) if whole else "undefined"


_DROPS = "an empty reply leaves the denominator, so that silence raises the score"
_NOT_SURE = "`I am not sure` is option I of rows with nine or more options"

TASK = Task(
    name="videommmu",
    title="VideoMMMU",
    group_title="College-level",
    doc=__doc__ or "",
    repos=("lmms-lab/VideoMMMU", "lmms-eval/VideoMMMU"),
    licence="gated: accept the terms on the hub and set HF_TOKEN; rights stay with the videos' owners",
    modality="video",
    access="gated",
    download_bytes=11_000_000_000,
    download_source="files of lmms-lab/VideoMMMU: six zip archives of 1.3 to 3.8 GB, about 11 GB in all",
    other_names=(
        OtherName("VLMEvalKit", "VideoMMMU_8frame"),
        OtherName("VLMEvalKit", "VideoMMMU_64frame"),
        OtherName("VLMEvalKit", "VideoMMMU_0.5fps"),
        OtherName("VLMEvalKit", "VideoMMMU_1fps"),
    ),
    splits={
        "test": Split(rows=900),
        "delta": Split(rows=1200, note="test, and the Adaptation questions once more without their lecture"),
    },
    default_split="test",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub": ("id", "question", "options", "answer", "question_type", "image (Adaptation, not in every copy)"),
            "golden": ("track", "question_type", "question", "options", "answer"),
        },
        mini_frames=MINI_FRAMES,
        files=(
            "<track>/test-*.parquet (hub)",
            "<Domain>/<id>.mp4, unpacked",
            "question_only/<id>_image.mp4 (split delta, where tables have no images)",
        ),
        archives=tuple(f"{name}.zip" for name in FOLDERS),
        count={
            "test": {"rows": 900, **{f"track={track}": 300 for track in TRACKS}},
            "delta": {"rows": 1200, **{f"track={track}": 300 for track in (*TRACKS, QUESTION_ONLY)}},
        },
    ),
    prompts={
        "official": official,
        "vlmevalkit": Prompt(vlmevalkit, "answer_line"),
        "vlmevalkit_interleaved": Prompt(vlmevalkit_interleaved, "answer_line"),
    },
    default_prompt="official",
    wanted=("letter", "float", "text"),
    prompt_evidence="the report names no prompt; this is the authors' own text",
    protocols={
        READER: reader_protocol(score_reader, "open answers: a number or a text, by MMMU's rule"),
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
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    aggregate=aggregate,
    reference=Reference(benchmark="videommmu"),
    groups=("table3", "video"),
    mini="videommmu",
    max_new_tokens=1024,
)
