"""ScreenSpot, ScreenSpot-V2 and ScreenSpot-Pro: point at what an instruction names on a screenshot.

Data:    original: hub rootsautomation/ScreenSpot (boxes 0 to 1) or the authors' screenshot archive and
         screenspot_{mobile,desktop,web}.json (boxes in pixels: left, top, width, height); V2: OS-Copilot/ScreenSpot-v2
         (same form) or HongxinLi/ScreenSpot_v2 (0 to 1); Pro: likaixin/ScreenSpot-Pro, annotations/*.json (pixels:
         left, top, right, bottom). VLMEvalKit's TSVs of all three.
Prompt:  the model card's prompt for agent tasks.
Metric:  a hit where the point lies in the box, borders included, both divided by the size of the original screenshot;
         headline over all targets. Pro adds text and icon, group and application; the other two the six cells of
         platform and kind, and their unweighted mean.
Source:  likaixin2000/ScreenSpot-Pro-GUI-Grounding @ bd8bbbb, njucckevin/SeeClick @ 0ef37ac, VLMEvalKit @ e8e78f0,
         lmms-eval @ 75571cf.
Report:  Kimi-VL (arXiv 2504.07491), Table 3, rows ScreenSpot-V2 and ScreenSpot-Pro.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kvl_eval.errors import DataError, MediaError
from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.grounding import READERS, Box, Reader, Size, WrongFormat, hits, read_given
from kvl_eval.scorers.grounding_figures import (
    PLATFORMS,
    flattened,
    lmms_eval_figures,
    pro_metrics,
    seeclick_figures,
    vlmevalkit_figures,
)
from kvl_eval.scorers.grounding_target import (
    Target,
    box_on_picture,
    find_target,
    json_box,
    json_number,
    number_list,
    picture_size,
    plain_box,
    times,
    vlmevalkit_box,
)
from kvl_eval.sources import Row, Source, image_ref, made_from, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.pictures import NamedPictures, shared_cells
from kvl_eval.tasks.base import Prompt, Protocol, Reference, Split, Task
from kvl_eval.types import MISSING, Extraction, ImageRef, Message, Sample, Score, Scored, Summary

PLATFORM_OF = {
    **dict.fromkeys(("ios", "android"), "mobile"),
    **dict.fromkeys(("windows", "macos"), "desktop"),
    **dict.fromkeys(("tool", "shop", "gitlab", "forum"), "web"),
}
GROUP_FILE = re.compile(r"ScreenSpot_Pro_([A-Za-z]+)\.tsv")  # VLMEvalKit has a file for each group
KEPT = (
    *("id", "row", "img_filename", "file_name", "image_path", "instruction", "question"),
    *("bbox", "bbox_xyxy", "bbox_xywh", "img_size", "image_width", "image_height", "sent_size"),
    *("data_type", "ui_type", "data_source", "platform", "group", "application", "category"),
    *("language", "instruction_style", "gt_type"),
)

CARD = "Please observe the screenshot, please locate the following elements with action and point.<instruction> {}"
PRO_SYSTEM = """\
You are a GUI agent. You are given a task and a screenshot of a computer screen. You need to perform a action and \
pyautogui code to complete the task. Provide your response in this format:

## Action:
Provide clear, concise, and actionable instructions.

## Code:
Generate a corresponding Python code snippet using pyautogui that clicks on the identified UI element using normalized \
screen coordinates (values between 0 and 1). The script should dynamically adapt to the current screen resolution by \
converting the normalized coordinates to actual pixel positions."""
VLM_SYSTEM = (
    "You are a GUI agent. You are given a task and a screenshot of the screen. You need to perform pyautogui "
    "click/moveTo action to complete the task. The answer format is `pyautogui.click(x=?, y=?), x and y is necessary`"
)
VLM_USER = "Please complete the following tasks by clicking using `pyautogui.click`:\n{}"
LMMS_USER = (
    "Identify the UI element for the instruction and output exactly one click point as [x, y] in normalized "
    "coordinates within [0, 1]. Do not output a bounding box.\nInstruction: {}"
)
SEECLICK = 'In this UI screenshot, what is the position of the element corresponding to the command "{}" (with point)?'
USER_22 = "What are the coordinates of: {}? Use the format (x=0.5, y=0.5) to indicate the coordinates."


# --- data --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What sets the three data sets apart: how a box in pixels is written, and where rows and pictures lie."""

    name: str
    corners: bool  # boxes in pixels are left, top, right, bottom; otherwise left, top, width, height
    stems: tuple[str, ...]
    folders: tuple[str, ...]
    repo: str = ""  # a hub data set whose tables name pictures beside them
    patterns: tuple[str, ...] = ()  # its files that are needed


ORIGINAL = Edition(
    name="screenspot",
    corners=False,
    stems=("screenspot_*[a-z]", "ScreenSpot_[MDW]*"),
    folders=("screenspot_imgs", "images"),
)
V2 = Edition(
    name="screenspot-v2",
    corners=False,
    stems=("screenspot_*_v2", "ScreenSpot_v2_*"),
    folders=("screenspotv2_image", "images"),
    repo="OS-Copilot/ScreenSpot-v2",
    patterns=("*.json", "*.zip"),
)
PRO = Edition(
    name="screenspot-pro",
    corners=True,
    stems=("annotations/*", "ScreenSpot_Pro_*"),
    folders=("images",),
    repo="likaixin/ScreenSpot-Pro",
    patterns=("annotations/*.json", "images/*"),
)


def load(edition: Edition, source: Source, split: str) -> Iterator[Sample]:
    """The samples in the data set's order; of a screenshot no more than the header is read. Raises: DataError."""
    if source.data_dir is None and source.repo == edition.repo:
        source = fetch_files(source, edition.patterns, task=edition.name)
    rows = read_rows(source, split, stems=edition.stems, required=("instruction|question", "bbox"), task=edition.name)
    pictures = NamedPictures(source.data_dir, edition.folders)
    sizes: dict[str | None, Size | None] = {}
    counts: Counter[str] = Counter()

    def loaded(row: Row) -> Sample:
        values = dict(row.values)
        media = _picture(values, pictures, row.where)
        name = _file_name(values)
        if not edition.corners:
            values["platform"] = _platform(values, row.where)
            values["row"] = counts[values["platform"]]
            counts[values["platform"]] += 1
        elif values.get("group") is None and (file := GROUP_FILE.search(row.where)):
            values["group"] = {"Development": "Dev"}.get(file[1], file[1])
        if picture_size(values, "img_size") is None:
            if name is None or name not in sizes:
                sizes[name] = _header_size(media)
            values["img_size"] = sizes[name]
        return to_sample(edition, values, media, row.where)

    yield from made_from(shared_cells(rows), loaded, source)


def to_sample(edition: Edition, row: Mapping[str, Any], media: ImageRef | None = None, where: str = "row") -> Sample:
    """A row of any layout as a sample, with or without its screenshot. Raises: DataError `data.field`."""
    instruction = row.get("instruction", row.get("question"))
    if not isinstance(instruction, str):
        raise DataError("data.field", f"instruction is {instruction!r}", where=where, why="expected a text")
    if media is None and isinstance(row.get("image"), Mapping | bytes | str):
        media = image_ref(row["image"], name="image:1", root=None, where=where)
    kept = {key: row[key] for key in KEPT if row.get(key) is not None}
    for key in ("bbox", "bbox_xyxy", "bbox_xywh", "img_size", "sent_size"):
        if key in kept:
            kept[key] = number_list(kept[key], key, where)
    kind = str(row.get("ui_type") or row.get("data_type") or "unknown")
    sample = Sample(
        id=_id(edition, row, where),
        question=instruction,
        row=kept,
        media=() if media is None else (media,),
        categories=_pro_categories(row, kind) if edition.corners else _categories(row, kind, where),
        cluster=_file_name(row),
    )
    target = find_target(kept, corners=edition.corners, where=where)
    return replace(sample, answers=(json.dumps(json_box(target.pixels or target.box)),))


def _header_size(media: ImageRef) -> Size | None:
    """Width and height from the file's header; None for a screenshot that cannot be read, which fails when asked."""
    from kvl_eval.media.images import header_size

    try:
        return header_size(media)
    except MediaError:
        return None


def _file_name(row: Mapping[str, Any]) -> str | None:
    return row.get("img_filename") or row.get("file_name") or row.get("image_path")


def _picture(row: Mapping[str, Any], pictures: NamedPictures, where: str) -> ImageRef:
    name = _file_name(row)
    if row.get("image") is None and name is not None:
        return pictures.find(name, name="image:1", where=where)
    return image_ref(row.get("image"), name="image:1", root=None, where=where)


def _platform(row: Mapping[str, Any], where: str) -> str:
    """The file that a row came from names its platform; else where the screenshot was taken, else its name."""
    if row.get("platform"):
        return str(row["platform"])
    file = where.rsplit("/", 1)[-1].lower()
    named = re.search("|".join(PLATFORMS), file)
    prefix = str(_file_name(row) or "").partition("_")[0]
    return (
        (named[0] if named else None)
        or PLATFORM_OF.get(str(row.get("data_source")))
        or {"pc": "desktop", "mobile": "mobile", "web": "web"}.get(prefix, "unknown")
    )


def _id(edition: Edition, row: Mapping[str, Any], where: str) -> str:
    """Pro: the row's own id; the others `{platform}/{row}`; without either, screenshot and instruction."""
    if "row" in row:
        return f"{_platform(row, where)}/{row['row']}"
    if row.get("id") is not None:
        return str(row["id"])
    file = _file_name(row) or row.get("index") or where
    return str(file) if edition.corners else f"{_platform(row, where)}/{file}/{row.get('instruction')}"


def _categories(row: Mapping[str, Any], kind: str, where: str) -> dict[str, tuple[str, ...]]:
    platform = _platform(row, where)
    source = {"source": (str(row["data_source"]),)} if row.get("data_source") else {}
    return {"platform": (platform,), "type": (kind,), "cell": (f"{platform} {kind}",), **source}


def _pro_categories(row: Mapping[str, Any], kind: str) -> dict[str, tuple[str, ...]]:
    found = {name: (str(row[name]),) for name in ("group", "application", "platform") if row.get(name)}
    cell = {"cell": (f"{row['group']} {kind}",)} if row.get("group") else {}
    return {"type": (kind,), **found, **cell}


# --- prompts -----------------------------------------------------------------------------------------------------


def instruction_prompt(template: str, system: str | None = None) -> Prompt:
    """Screenshot, then `template` with the instruction in it, after a system message if there is one."""

    def messages(sample: Sample) -> list[Message]:
        user = Message.user(*sample.media, template.replace("{}", sample.question))
        return [user] if system is None else [Message.system(system), user]

    return messages


PROMPTS: dict[str, Prompt] = {
    "card": instruction_prompt(CARD),
    "screenspot-pro": instruction_prompt("## Task Instruction:\n{}", PRO_SYSTEM),
    "issue-22": instruction_prompt(USER_22),
    "seeclick": instruction_prompt(SEECLICK),
    "vlmevalkit": instruction_prompt(VLM_USER, VLM_SYSTEM),
    "lmms-eval": instruction_prompt(LMMS_USER),
}


BoxRule = Callable[[Target], Box | None]


def score(
    edition: Edition, read: Reader, rule: BoxRule, sample: Sample, answer: str, extraction: Extraction = MISSING
) -> Score:
    """Whether the point that `read` finds lies in the box; point and box go into the detail in original pixels."""
    target = find_target(sample.row, corners=edition.corners)
    box = rule(target)
    if box is None:
        return Score.not_scored("image_size_unknown" if target.box is None else "box_beyond_image")
    size = target.size or (1, 1)
    shown: dict[str, Any] = {"box": json_box(target.pixels), "point": None, "image_size": list(target.size or ())}
    try:
        sent = picture_size(sample.row, "sent_size") or size
        reading = read(answer, sent) if extraction is MISSING else read_given(extraction)
    except WrongFormat as error:
        return replace(Score.no_answer(str(error)), detail=shown)
    if target.size is not None:
        shown["point"] = [json_number(reading.x * size[0]), json_number(reading.y * size[1])]
        if reading.box is not None:
            shown["found_box"] = json_box(times(reading.box, size))
    found = Score.of(
        hits(reading.x, reading.y, box), [json_number(reading.x), json_number(reading.y)], reading.form, **shown
    )
    return found if reading.inside else replace(found, reason="outside_image")


def aggregate(edition: Edition, scored: Sequence[Scored], protocol: str) -> Summary:
    """Share of hits over all targets, and the figures that the protocol's own script prints."""
    counted = [one for one in scored if one.score.value is not None]
    if protocol == "vlmevalkit":
        official = vlmevalkit_figures(counted, "group" if edition.corners else "platform")
    elif protocol == "lmms-eval":
        official = lmms_eval_figures(counted, edition.name.replace("-", "_"))
    elif edition.corners:
        official = flattened(pro_metrics(counted))
    else:
        official = seeclick_figures(counted)
    return summarise(scored, official if counted else None)


def _protocols(edition: Edition) -> dict[str, Protocol]:
    def protocol(read: Reader, rule: BoxRule = plain_box, **about: Any) -> Protocol:
        return Protocol(score=partial(score, edition, read, rule), **about)

    pro = protocol(
        READERS["screenspot_pro_kimivl"],
        sees_raw=True,
        notes=(
            "the Pro repository's reader for Kimi-VL: only `x=0.5, y=0.5` written exactly so",
            "where that reader stops with a ValueError (thought unclosed, or closed without opening): no_answer",
        ),
        evidence="written by the benchmark's author for Thinking-2506, called tentative there",
    )
    shrink = 0 if edition.corners else 1
    pixel = "" if edition.corners else "; the box loses its last pixel across and down"
    return {
        "official": pro,
        "official-exact": pro if edition.corners else protocol(READERS["seeclick"], notes=("SeeClick's reader",)),
        "vlmevalkit": protocol(
            READERS["vlmevalkit"],
            partial(vlmevalkit_box, shrink=shrink),
            notes=(
                f"an answer without a point is read as (0, 0){pixel}",
                "Text, Icon and category accuracies weigh each part by the square of its size; Overall is right",
            ),
        ),
        "lmms-eval": protocol(
            READERS["lmms_eval"],
            notes=("reads `.5` as 5, and the corner of a bracketed box unless `box` stands in the text",),
        ),
        "assumed": protocol(
            READERS["kimi"],
            box_on_picture,
            sees_raw=True,
            notes=("reads every form that models write; numbers above 1 are pixels of the picture as sent",),
            evidence="weak: the card's prompt is published, the text it makes the model write is shown nowhere",
        ),
        "assumed-0-1000": protocol(
            READERS["kimi-thousand"],
            box_on_picture,
            sees_raw=True,
            notes=("as assumed, with bare numbers above 1 read as thousandths of the picture",),
            evidence="none for Kimi-VL, which writes 0 to 1; for models that write 0 to 1000",
        ),
    }


def _task(edition: Edition, **own: Any) -> Task:
    return Task(
        name=edition.name,
        doc=__doc__ or "",
        default_split="test",
        load=partial(load, edition),
        sample=partial(to_sample, edition),
        prompts=PROMPTS,
        default_prompt="card",
        prompt_evidence="the model card's recommended prompt for agent tasks, made for Instruct",
        protocols=_protocols(edition),
        aggregate=partial(aggregate, edition),
        mini=edition.name,
        **own,
    )


COLUMNS = ("img_filename", "bbox", "instruction", "data_type", "data_source")
TSV = ("index", "image", "image_path", "question", "bbox", "data_type", "data_source")
LAYOUTS = {
    "authors' JSON (pixels: left, top, width, height)": COLUMNS,
    "hub copy (0 to 1: left, top, right, bottom)": ("file_name", "image", *COLUMNS[1:]),
    "VLMEvalKit TSV": TSV,
    "predictions": ("platform", "instruction", "data_type", "bbox_xywh", "img_size"),
}

SCREENSPOT = _task(
    ORIGINAL,
    title="ScreenSpot",
    group_title="Agent grounding",
    groups=("grounding",),
    repos=("rootsautomation/ScreenSpot",),
    licence="apache-2.0 (hub copy)",
    splits={"test": Split(rows=1272)},
    row_layouts=LAYOUTS,
    reference=Reference(benchmark="screenspot_v1"),
    files=(
        "test-*.parquet or data/test-*.parquet (hub copy)",
        "screenspot_{mobile,desktop,web}.json, pictures in screenspot_imgs/, images/ or a zip",
        "ScreenSpot_{Mobile,Desktop,Web}.tsv (VLMEvalKit)",
    ),
    count={
        "test": {
            "rows": 1272,
            **{"cell=mobile text": 273, "cell=mobile icon": 229, "cell=desktop text": 194, "cell=desktop icon": 140},
            **{"cell=web text": 230, "cell=web icon": 206},
        }
    },
)

SCREENSPOT_V2 = _task(
    V2,
    title="ScreenSpot-V2",
    group_title="Agent grounding",
    groups=("grounding", "table3"),
    repos=(V2.repo, "HongxinLi/ScreenSpot_v2"),
    licence="apache-2.0",
    splits={"test": Split(rows=1272)},
    row_layouts=LAYOUTS,
    reference=Reference(benchmark="screenspot_v2"),
    files=(
        "screenspot_{mobile,desktop,web}_v2.json, pictures in screenspotv2_image.zip, its folder or images/",
        "test-*.parquet or data/test-*.parquet (HongxinLi/ScreenSpot_v2)",
        "ScreenSpot_v2_{Mobile,Desktop,Web}.tsv (VLMEvalKit)",
    ),
    count={"test": {"rows": 1272}},
)

SCREENSPOT_PRO = _task(
    PRO,
    title="ScreenSpot-Pro",
    group_title="Agent grounding",
    groups=("grounding", "table3"),
    repos=(PRO.repo, "TIGER-Lab/ScreenSpot-Pro"),
    licence="MIT (TIGER-Lab copy); see the card of likaixin/ScreenSpot-Pro for the original",
    splits={"test": Split(rows=1581)},
    row_layouts={
        "authors' JSON (pixels: left, top, right, bottom)": (
            *("id", "img_filename", "bbox", "img_size", "instruction"),
            *("application", "platform", "group", "ui_type"),
        ),
        "VLMEvalKit TSV": ("index", "image", "image_path", "question", "bbox", "ui_type", "application", "category"),
        "predictions": ("instruction", "group", "application", "platform", "ui_type", "bbox_xyxy", "img_size"),
    },
    reference=Reference(benchmark="screenspot_pro"),
    files=(
        "annotations/*.json with pictures in images/",
        "ScreenSpot_Pro_{Development,Creative,CAD,Scientific,Office,OS}.tsv (VLMEvalKit)",
    ),
    count={
        "test": {
            "rows": 1581,
            **{"type=text": 977, "type=icon": 604},
            **{"cell=Dev text": 154, "cell=Creative text": 198, "cell=CAD text": 197, "cell=Scientific text": 144},
            **{"cell=Office text": 177, "cell=OS text": 107, "cell=Dev icon": 145, "cell=Creative icon": 143},
            **{"cell=CAD icon": 64, "cell=Scientific icon": 110, "cell=Office icon": 53, "cell=OS icon": 89},
            **{"platform=windows": 927, "platform=macos": 604, "platform=linux": 50},
        }
    },
)
