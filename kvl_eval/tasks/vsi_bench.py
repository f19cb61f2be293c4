r"""VSI-Bench: 5,130 questions about rooms seen on video; half of the eight tasks ask for numbers.

Data:    nyu-visionx/VSI-Bench, configuration full, split test; videos <dataset>/<scene_name>.mp4; or VLMEvalKit's TSV
Prompt:  the authors': options and the request for a letter, or the request for a single word or phrase
Frames:  32, first and last included; the report states none, and their number moves scores by several points
Metric:  mean of eight tasks: accuracy of four, mean relative accuracy of four; the three levels of relative direction
         count as one task, each with equal weight
Scorer:  the reader; beside it the authors' own, which reads the reply's first word
Source:  vision-x-nyu/thinking-in-space lmms_eval/tasks/vsibench @ 51e089c; lmms-eval tasks/vsibench @ 75571cf;
         VLMEvalKit dataset/vsibench.py @ e8e78f0
Report:  Kimi-VL (arXiv 2504.07491), Table 3, row VSI-Bench, from before the debiased version
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from kvl_eval.scorers.aggregate import mean_of_groups, plain_sum, summarise
from kvl_eval.scorers.answers import Reading
from kvl_eval.scorers.option_letter import NO_LETTER
from kvl_eval.scorers.reader_protocol import kind_wanted, reader_letter, reader_score
from kvl_eval.scorers.relative_accuracy import (
    as_float,
    first_word,
    mean_relative_accuracy,
    scanned_number,
    vlmevalkit_relative_accuracy,
)
from kvl_eval.scorers.spatial_bench import matched_number, matched_option
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.videos import Filming, filmed_samples
from kvl_eval.tasks.base import (
    OFFICIAL,
    READER,
    Prompt,
    Protocol,
    Reference,
    Split,
    Task,
    TaskData,
    TaskView,
    reader_protocol,
)
from kvl_eval.tasks.choices import DIRECT, one_label, row_id
from kvl_eval.types import MISSING, Extraction, Message, Sample, Score, Scored, Summary, VideoRef

FRAMES = 32
MINI_FRAMES = 4  # the bundled clips have four scenes
NUMBERS = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")
DIRECTIONS = tuple(f"object_rel_direction_{level}" for level in ("easy", "medium", "hard"))
CHOICES = ("object_rel_distance", "object_rel_direction", "route_planning", "obj_appearance_order")
KEPT = ("id", "row", "dataset", "scene_name", "question_type", "question", "ground_truth", "answer", "video")
FRAMES_OF = "These are frames of a video."
PHRASE = "Please answer the question using a single word or phrase."
SINGLE = "Do not response anything other than a single number!"
FLOAT = "Answer briefly and directly in one float number."


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order, videos unopened. Raises: DataError."""
    required = ("question", "question_type", "scene_name|video")
    tables = Tables(task="vsi-bench", config="full", stems=("VSI-Bench",), required=required)
    yield from filmed_samples(read_rows(source, split, tables, reporter), to_sample, source, FILMING, reporter)


def _file(one: Sample) -> str:
    name, dataset = one.columns.text("scene_name", "video"), one.columns.text("dataset")
    folder = f"{dataset}/" if dataset else ""
    return name if name.endswith(".mp4") else f"{folder}{name}.mp4"


FILMING = Filming(file=_file, folders=(".", "videos", "video"), rule="linspace", frames=FRAMES)


def to_sample(row: Row) -> Sample:
    """One row of any layout as a Sample, without its video. Raises DataError."""
    kind = row.text("question_type")
    options = row.written_options()
    choices = () if kind in NUMBERS else row.required_options()
    return Sample(
        id=row_id(row, "id", number=0),
        question=row.text("question"),
        row={**row.keep(KEPT), "options": list(options)},
        choices=choices or row.options(),
        answers=_gold(row, kind, choices),
        categories={"type": (kind,), **one_label(dataset=row.get("dataset"))},
        cluster=row.optional_text("scene_name", "video"),
    )


def _gold(row: Row, kind: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """A letter of `choices`, or a number as the table writes it."""
    if kind not in NUMBERS:
        return row.gold_letter("ground_truth", "answer", options=choices)
    gold = row.gold_text("ground_truth", "answer")
    if gold and as_float(gold[0]) is None:
        raise row.fault("ground_truth" if row.has("ground_truth") else "answer", "expected a number")
    return gold


# Prompts


def _prompt(number: str, header: str) -> Callable[[Sample], list[Message]]:
    def prompt(one: Sample) -> list[Message]:
        tail = (
            [number]
            if asks_for_number(one)
            else [*([header] if header else []), *one.columns.written_options("options"), DIRECT]
        )
        return [Message.user(*one.media, "\n".join([FRAMES_OF, one.question, *tail]))]

    return prompt


def vlmevalkit(one: Sample) -> list[Message]:
    """VLMEvalKit's text, and its frames: the last one is shown under `--fps`, too."""
    shown = [replace(ref, rule="uniform_tail") if isinstance(ref, VideoRef) else ref for ref in one.media]
    return _prompt(FLOAT, "")(replace(one, media=tuple(shown)))


def asks_for_number(one: Sample) -> bool:
    """Whether the question's type is one of those that are answered by a number."""
    return one.categories["type"][0] in NUMBERS


# Scoring


def _score(
    number: Callable[[str], tuple[float | None, str]],
    letter: Callable[[Sample, str], str | None],
    accuracy: Callable[[float, float], float] = mean_relative_accuracy,
) -> Callable[[Sample, str, Extraction], Score]:
    """A protocol of a reader of numbers, which says how it found one, a reader of letters, and a number's worth."""

    def score(one: Sample, answer: str, extraction: Extraction) -> Score:
        if not one.answers:
            return Score.not_scored("no_gold")
        if asks_for_number(one):
            value, how = number(answer) if extraction is MISSING else (as_float(str(extraction)), "given")
            gold = as_float(one.answers[0])
            if gold is None:
                return Score.not_scored("no_gold")
            if value is None:
                return Score.no_answer("no_number")
            shown = value if math.isfinite(value) else str(value)
            return Score.of(accuracy(value, gold), shown, how)
        found = letter(one, answer) if extraction is MISSING else None if extraction is None else str(extraction)
        if not found:
            return Score.no_answer(NO_LETTER)
        return Score.of(found.lower() == one.answers[0].lower(), found, "letter")

    return score


def _first_number(reply: str) -> tuple[float | None, str]:
    return as_float(first_word(reply)), "first_word"


def _scanned(reply: str) -> tuple[float | None, str]:
    return scanned_number(reply), "scan"


def _matched(reply: str) -> tuple[float | None, str]:
    return matched_number(reply), "matched"


def _accurate(one: Sample, reading: Reading) -> Score:
    gold = as_float(one.answers[0])
    if gold is None:
        return Score.not_scored("no_gold")
    value = float(str(reading.value))
    return Score.of(mean_relative_accuracy(value, gold), value if math.isfinite(value) else str(value))


_read_number, _read_letter = reader_score(kind_wanted("float"), _accurate), reader_letter()


def score_reader(one: Sample, answer: str, extraction: Extraction) -> Score:
    """A number's mean relative accuracy, or a letter, as the reader finds it."""
    return (_read_number if asks_for_number(one) else _read_letter)(one, answer, extraction)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """The mean of the eight tasks, or of those present, and the results as the protocol's script names them."""
    summary = summarise(scored)
    types = {name: group.score for name, group in summary.categories.get("type", {}).items()}
    if summary.score is None:
        return summary
    levels = [name for name in DIRECTIONS if name in types]
    merged = len(levels) == 3 or protocol != "vlmevalkit"
    tasks = {name: value for name, value in types.items() if not merged or name not in DIRECTIONS}
    if levels and merged:
        tasks["object_rel_direction"] = plain_sum(types[name] for name in levels) / len(levels)
    share = {name: 1 / len(levels) if merged and name in levels else 1.0 for name in types}
    summary = mean_of_groups(summary, "type", {name: part / len(tasks) for name, part in share.items()})
    whole = len(levels) == 3 and len(tasks) == len(NUMBERS) + len(CHOICES)
    unit = 1 if protocol == "lmms-eval" else 100
    stops = not whole if protocol == "lmms-eval" else len(levels) in (1, 2) and merged
    figures = {f"{name}{_metric(name)}": str(unit * value) for name, value in tasks.items()}
    official = {"overall": "incomplete" if stops else str(unit * (summary.score or 0)), **figures}
    if not whole:
        done = len(tasks) - (0 if merged else len(levels))
        official["tasks"] = f"incomplete: {done} of 8, {len(levels)} of 3 levels of relative direction"
    found = Counter(
        one.score.method or "none" for one in scored if asks_for_number(one.sample) and one.score.value is not None
    )
    official |= {f"numbers read by {name}": str(n) for name, n in sorted(found.items())}
    return replace(summary, official=official)


def _metric(name: str) -> str:
    return "_MRA:.5:.95:.05" if name in NUMBERS else "_accuracy"


_WORD = "only the reply's first word counts: `4 meters` is 4, `4m`, `about 4`, `(B)` and `The answer is B` are nothing"
_ZERO = "a gold 0 is met by 0 alone, where the script stops; a negative one counts by its absolute value"

TASK = Task(
    name="vsi-bench",
    title="VSI-Bench",
    group_title="Video perception",
    doc=__doc__ or "",
    repos=("nyu-visionx/VSI-Bench", "lmms-eval/VSI-Bench"),
    licence="Apache-2.0 (questions); the videos come from ScanNet, ScanNet++ and ARKitScenes, with their own terms",
    modality="video",
    access="open",
    download_bytes=5_730_000_000,
    download_source="files of nyu-visionx/VSI-Bench: zip archives of 1.81, 2.89 and 1.03 GB",
    splits={"test": Split(rows=5130)},
    default_split="test",
    load=load,
    sample=from_values(to_sample),
    data=TaskData(
        row_layouts={
            "hub": ("id", "dataset", "scene_name", "question_type", "question", "options", "ground_truth"),
            "VLMEvalKit TSV": ("video", "question_type", "question", "candidates", "answer"),
            "golden": ("question_type", "question", "options", "ground_truth"),
        },
        mini_frames=MINI_FRAMES,
        files=(
            "test-*.parquet or test.jsonl (hub), or VSI-Bench.tsv (VLMEvalKit)",
            "<arkitscenes|scannet|scannetpp>/<scene_name>.mp4, unpacked",
        ),
        archives=("arkitscenes.zip", "scannet.zip", "scannetpp.zip"),
        count={"test": {"rows": 5130}},
    ),
    prompts={
        "official": Prompt(_prompt(PHRASE, "Options:"), "short"),
        "official_number": Prompt(_prompt(SINGLE, "Options:"), "short"),
        "vlmevalkit": Prompt(vlmevalkit, "short"),
    },
    default_prompt="official",
    wanted=("letter", "float"),
    prompt_evidence="the report names no prompt; this is the authors' (official_number is theirs for GPT-4 and Gemini)",
    protocols={
        READER: reader_protocol(score_reader, _ZERO),
        "official": Protocol(
            score=_score(_first_number, lambda _, reply: first_word(reply)),
            notes=("the thought is split off first", _WORD, _ZERO),
        ),
        "official-exact": Protocol(
            score=_score(_first_number, lambda _, reply: first_word(reply)), notes=(_WORD, _ZERO)
        ),
        "lmms-eval": Protocol(
            score=_score(_scanned, lambda _, reply: first_word(reply)),
            notes=(
                "numbers: the one that stands first, in digits or words, so that verbose replies score higher",
                "letters as official; no overall unless every type is there",
                _ZERO,
            ),
        ),
        "vlmevalkit": Protocol(
            score=_score(_matched, lambda _, reply: matched_option(reply), vlmevalkit_relative_accuracy),
            notes=(
                "numbers: in an `<answer>` block, else the last one after the thought: `between 2 and 3` is 3, `5-7` "
                "is -7 and `1,200` is 200; words up to twenty",
                "letters A to F: a block, a closing tag, the last six lines, a phrase, the only capital; the last word "
                "of `D/A` counts, and a capital A that is an article",
                "at a gold of 0 the error is the number itself; directions are merged only where all three are there",
            ),
        ),
    },
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
    aggregate=aggregate,
    reference=Reference(benchmark="vsi_bench"),
    groups=("table3", "video"),
    mini="vsi-bench",
)
