"""OSWorld-G: point at what an instruction names on a desktop's screenshot, or say that it is not there.

Data:    OSWorld-G.json of the authors' repository (xlang-ai/OSWorld-G, arXiv 2505.13227) with pictures in images/, or
         OSWorld-G_refined.json with longer instructions; hub copy MMInstruction/OSWorld-G; VLMEvalKit's OSWorld_G.tsv.
         564 rows: 470 boxes (left, top, width, height in pixels), 40 polygons, 54 refusals
Prompt:  the model card's prompt for agent tasks, which has no way to refuse; `refusal` offers [-1, -1]
Metric:  share of hits over all rows; without refusals, by kind of target and by class
Scorer:  the benchmark's geometry over the point that the reply names; no point is wrong for every kind of row
Source:  lmms-eval lmms_eval/tasks/osworld_g @ 75571cf; the official geometry as a fork of VLMEvalKit carries it
Report:  Kimi-VL (arXiv 2504.07491 v3), Table 5, row OSWorld-G ("full set with refusal samples")
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kvl_eval.errors import DataError, MediaError
from kvl_eval.scorers.aggregate import mean, summarise
from kvl_eval.scorers.answers import NOT_ANSWERABLE, Wanted, read
from kvl_eval.scorers.grounding import ImageSize, WrongFormat, lmms_point, read_given, read_point, read_vlmevalkit
from kvl_eval.scorers.grounding_shape import Point, as_pixels, declined, lmms_hit, official_hit
from kvl_eval.scorers.grounding_target import json_number, picture_size
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, read_rows
from kvl_eval.sources.pictures import pictured_samples, sample_maker
from kvl_eval.tasks.base import OFFICIAL, READER, Protocol, Reference, Split, Task, TaskData, TaskView
from kvl_eval.tasks.choices import row_id
from kvl_eval.tasks.grounding_prompts import CARD, VLM_SYSTEM, VLM_USER, instruction_prompt
from kvl_eval.types import MISSING, Extraction, ImageRef, Sample, Score, Scored, Summary

KINDS = {"bbox": 470, "polygon": 40, "refusal": 54}
CLASSES = {
    "text_matching": 261,
    "element_recognition": 330,
    "layout_understanding": 253,
    "fine_grained_manipulation": 152,
}
STEMS = {"test": ("OSWorld-G", "OSWorld_G"), "refined": ("OSWorld-G_refined",)}
KEPT = (
    *("id", "index", "row", "image_path", "instruction", "question", "box_type", "box_coordinates", "image_size"),
    *("sent_size", "classes", "picture"),
)
REFUSAL = (
    "Identify the UI target for the instruction and output exactly one click point as [x, y]. You may use either "
    "normalized coordinates in [0, 1] or absolute pixel coordinates. If the target does not exist, output [-1, -1].\n"
    "Instruction: {}"
)
_AGUVIS = re.compile(r"pyautogui\.(?:click|moveTo)\(x=(-?[\d.]+), y=(-?[\d.]+)\)")

Hit = Callable[[str, Sequence[float], Point], bool]
ReadPoint = Callable[[str, ImageSize], Point]
"""(reply, size of the image) -> the point in pixels. Raises WrongFormat."""


# Loading


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order; of a screenshot no more than the header is read. Raises: DataError."""
    required = ("instruction|question", "box_type", "box_coordinates")
    rows = read_rows(source, split, Tables(task="osworld-g", required=required, stems=STEMS[split]), reporter)
    make = partial(_loaded, classes=_classes(source.data_dir))
    yield from pictured_samples(rows, make, source, reporter, texts=())


def _loaded(row: Row, media: tuple[ImageRef, ...], classes: Mapping[str, list[str]]) -> Sample:
    size = picture_size(row, "image_size") or _header_size(media)
    own = classes.get(str(row.get("id")))
    sized = row.also({"image_size": None if size is None else list(size)})
    return _sample(sized if own is None else sized.also({"classes": own}), media)


def _header_size(media: Sequence[ImageRef]) -> ImageSize | None:
    from kvl_eval.media.images import header_size

    try:
        return header_size(media[0]) if media else None
    except MediaError:
        return None


def _classes(folder: Path | None) -> dict[str, list[str]]:
    """{id: its classes} of the authors' classification_result.json, {class: ids} or {id: classes}; often not there."""
    paths = [] if folder is None else sorted(folder.glob("**/classification_result.json"))
    if not paths:
        return {}
    try:
        listed = json.loads(paths[0].read_text(encoding="utf-8"))
        pairs = [(str(key), str(one)) for key, values in listed.items() for one in values]
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(
            "data.corrupt", "osworld-g: classes cannot be read", where=str(paths[0]), why=str(error)
        ) from None
    found: dict[str, list[str]] = {}
    for key, one in pairs:
        name, label = (one, key) if key in CLASSES or key == "refusal" else (key, one)
        found.setdefault(name, []).append(label)
    return found


def _sample(row: Row, media: tuple[ImageRef, ...]) -> Sample:
    kind = row.first_of("box_type", KINDS)
    shape = row.numbers("box_coordinates") if row.get("box_coordinates") else []
    if kind == "bbox" and len(shape) != 4:
        raise row.fault("box_coordinates", "expected four numbers")
    classes = tuple(name for name in row.items("classes") if name in CLASSES)
    return Sample(
        id=row_id(row, "id", "index"),
        question=row.text("instruction", "question"),
        row={**row.keep(KEPT), "box_coordinates": shape},
        media=media,
        answers=(json.dumps([-1, -1] if kind == "refusal" else shape),),
        categories={"box_type": (kind,), **({"class": classes} if classes else {})},
        cluster=row.optional_text("image_path", "picture"),
    )


sample = sample_maker(_sample)


# Scoring


def any_point(text: str, size: ImageSize) -> Point:
    """The point that the reader reads, negative ones too."""
    reading = read_point(text, size)
    return reading.x * size[0], reading.y * size[1]


def lmms_pixels(text: str, size: ImageSize) -> Point:
    """lmms-eval's point: both numbers from 0 to 1 are shares."""
    found = lmms_point(text)
    if found is None:
        raise WrongFormat("wrong_format")
    return as_pixels(*found, size)


def aguvis_point(text: str, size: ImageSize) -> Point:
    """A fork of VLMEvalKit: a click that the reply begins with, else the word `wait` as a refusal, else (0, 0)."""
    match = _AGUVIS.match(text)
    if match is None:
        return (-1.0, -1.0) if "wait" in text else (0.0, 0.0)
    try:
        return as_pixels(float(match[1]), float(match[2]), size)
    except ValueError:
        raise WrongFormat("not_a_number") from None


def vlmevalkit_point(text: str, size: ImageSize) -> Point:
    """VLMEvalKit: `x=..., y=...` as thousandths whatever they are, and (0, 0) without."""
    reading = read_vlmevalkit(text, (1, 1))
    return reading.x / 1000 * size[0], reading.y / 1000 * size[1]


def any_box(kind: str, shape: Sequence[float], point: Point) -> bool:
    """VLMEvalKit: every row is left, top, width, height, so that no polygon and no refusal is ever hit."""
    return kind == "bbox" and official_hit(kind, shape, point)


def score(
    read_as: ReadPoint, hit: Hit, by_words: bool, one: Sample, answer: str, extraction: Extraction = MISSING
) -> Score:
    """Whether the point that `read_as` finds hits the target; `by_words` takes words of absence for a refusal."""
    kind, shape = one.columns.text("box_type"), one.columns.numbers("box_coordinates")
    size = picture_size(one.columns, "image_size")
    if size is None:
        return Score.not_scored("image_size_unknown")
    shown: dict[str, object] = {"box_type": kind, "shape": list(shape), "image_size": list(size)}
    try:
        point = read_as(answer, size) if extraction is MISSING else _given(extraction, size)
    except WrongFormat as error:
        if by_words and extraction is MISSING:
            absent = read(answer, Wanted(kind="point", size=size, unanswerable=True), split=False)
            if absent.value is NOT_ANSWERABLE:
                return Score.of(kind == "refusal", "absent", absent.how, **shown)
        return replace(Score.no_answer(str(error)), detail=shown)
    pixels = [json_number(round(value, 3)) for value in point]
    found = Score.of(hit(kind, shape, point), pixels, "point", **shown, point=pixels)
    return replace(found, reason="refused") if declined(point) else found


def _given(extraction: Extraction, size: ImageSize) -> Point:
    reading = read_given(extraction)
    return as_pixels(reading.x, reading.y, size)


def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
    """Share of hits over all rows, without refusals, and by kind of target."""
    del protocol
    plain = summarise(scored)
    if plain.score is None:
        return plain
    kinds = plain.categories.get("box_type", {})
    there = mean([one for one in scored if one.sample.categories["box_type"] != ("refusal",)])
    official = {"overall": str(plain.score), "without refusals": str(there)}
    return replace(plain, official=official | {kind: str(part.score) for kind, part in kinds.items()})


_NO_POINT = "a reply without a point is a wrong format: wrong for every kind of row, a refusal too"

TASK = Task(
    name="osworld-g",
    title="OSWorld-G",
    group_title="Agent grounding",
    doc=__doc__ or "",
    repos=("MMInstruction/OSWorld-G",),
    licence="not read",
    modality="image",
    access="open",
    splits={
        "test": Split(rows=564, note="original instructions; papers also report 510 rows, without refusals"),
        "refined": Split(rows=564, note="refined instructions: easier, never comparable"),
    },
    default_split="test",
    load=load,
    sample=sample,
    data=TaskData(
        row_layouts={
            "authors' JSON (pixels: left, top, width, height, or corners)": (
                *("id", "image_path", "image_size", "instruction", "box_type", "box_coordinates", "GUI_types"),
            ),
            "hub": ("image", "image_size", "instruction", "box_type", "box_coordinates"),
            "VLMEvalKit TSV": ("index", "image", "question", "box_type", "box_coordinates"),
            "golden": ("id", "box_type", "box_coordinates", "image_size"),
        },
        files=(
            "OSWorld-G.json or OSWorld-G_refined.json with images in images/, classification_result.json beside it",
            "test-*.parquet or data/test-*.parquet (hub copy)",
            "OSWorld_G.tsv (VLMEvalKit)",
        ),
        count={
            "test": {
                "rows": 564,
                **{f"box_type={kind}": rows for kind, rows in KINDS.items()},
                **{f"class={name}": rows for name, rows in CLASSES.items()},
            },
            "refined": {"rows": 564},
        },
    ),
    prompts={
        "card": instruction_prompt(CARD),
        "refusal": instruction_prompt(REFUSAL),
        "vlmevalkit": instruction_prompt(VLM_USER, VLM_SYSTEM),
    },
    default_prompt="card",
    wanted=("point", "unanswerable"),
    prompt_evidence="the model card's prompt for agent tasks; it cannot refuse, so that 90.4 is its ceiling",
    protocols={
        "official": Protocol(
            score=partial(score, any_point, official_hit, False),
            notes=(
                "the authors leave reading to each model: the reader reads the point, then the benchmark's geometry",
                _NO_POINT,
            ),
            evidence="unknown: the report names no scorer",
        ),
        "official-exact": Protocol(
            score=partial(score, lmms_pixels, official_hit, False),
            notes=(
                "the benchmark's geometry over lmms-eval's point: the authors leave reading to each model",
                _NO_POINT,
            ),
        ),
        READER: Protocol(
            score=partial(score, any_point, official_hit, True),
            notes=("as official, and words of absence without a point are a refusal",),
        ),
        "lmms-eval": Protocol(
            score=partial(score, lmms_pixels, lmms_hit, False),
            notes=("four numbers of a polygon are a rectangle; a point in prose counts; `.5` is read as 5",),
        ),
        "aguvis": Protocol(
            score=partial(score, aguvis_point, official_hit, False),
            notes=("only a click that the reply begins with; the word `wait` refuses; without either (0, 0)",),
        ),
        "vlmevalkit": Protocol(
            score=partial(score, vlmevalkit_point, any_box, False),
            notes=(
                "divides every point by 1000, so that Kimi's land in the corner; no polygon or refusal can be right",
            ),
        ),
    },
    aggregate=aggregate,
    reference=Reference(benchmark="osworld_g"),
    groups=("grounding",),
    mini="osworld-g",
    default_protocol=READER,
    view=TaskView(beside=(OFFICIAL,)),
)
