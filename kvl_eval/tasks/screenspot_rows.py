"""The rows of ScreenSpot, ScreenSpot-V2 and ScreenSpot-Pro, and what sets the three data sets apart."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kvl_eval.errors import MediaError
from kvl_eval.scorers.grounding import ImageSize
from kvl_eval.scorers.grounding_figures import (
    PLATFORMS,
    flattened,
    pro_metrics,
    seeclick_figures,
)
from kvl_eval.scorers.grounding_target import (
    BoxForm,
    find_target,
    json_box,
    picture_size,
)
from kvl_eval.sources import STRICT, Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.hub import fetch_files
from kvl_eval.sources.pictures import NamedPictures, one_picture, own_picture, shared_cells
from kvl_eval.tasks.choices import one_label
from kvl_eval.types import ImageRef, Sample, Scored

PLATFORM_OF = {
    **dict.fromkeys(("ios", "android"), "mobile"),
    **dict.fromkeys(("windows", "macos"), "desktop"),
    **dict.fromkeys(("tool", "shop", "gitlab", "forum"), "web"),
}
KEPT = (
    *("id", "row", "img_filename", "file_name", "image_path", "instruction", "question"),
    *("bbox", "bbox_xyxy", "bbox_xywh", "img_size", "image_width", "image_height", "sent_size"),
    *("data_type", "ui_type", "data_source", "platform", "group", "application", "category"),
    *("language", "instruction_style", "gt_type"),
)
NUMBERS = ("bbox", "bbox_xyxy", "bbox_xywh", "img_size", "sent_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What sets the three data sets apart.

    Attributes:
        box_form:    how a box in pixels is written.
        stems, folders: where rows and pictures lie.
        repo:        a hub data set whose tables name pictures beside them; `patterns`: its files that are needed.
        by_platform: rows are numbered within their platform, and both make the id.
        group_file:  the name of a file whose rows belong to one group.
        categories:  (row, kind of target) -> labels.
        figures:     those of the edition's own script; VLMEvalKit's are over the category `part`.
        lost_pixels: that VLMEvalKit takes from a box at the right and below.
        exact:       reader of `official-exact`; empty where it is that of `official`.
    """

    name: str
    box_form: BoxForm
    stems: tuple[str, ...]
    folders: tuple[str, ...]
    categories: Callable[[Row, str], dict[str, tuple[str, ...]]]
    figures: Callable[[Sequence[Scored]], dict[str, str]]
    part: str
    repo: str = ""
    patterns: tuple[str, ...] = ()
    by_platform: bool = True
    group_file: re.Pattern[str] | None = None
    lost_pixels: int = 1
    exact: str = "seeclick"


def load(edition: Edition, source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the data set's order; of a screenshot no more than the header is read. Raises: DataError."""
    if source.data_dir is None and source.repo == edition.repo:
        source = fetch_files(source, edition.patterns, task=edition.name, reporter=reporter)
    tables = Tables(task=edition.name, required=("instruction|question", "bbox"), stems=edition.stems)
    rows = shared_cells(read_rows(source, split, tables, reporter))
    pictures = NamedPictures(source.data_dir, edition.folders)
    sizes: dict[str | None, ImageSize | None] = {}
    counts: Counter[str] = Counter()

    def loaded(row: Row) -> Sample:
        name = _file_name(row)
        picture = one_picture(row, pictures, name)
        more: dict[str, object] = {}
        if edition.by_platform:
            platform = _platform(row)
            more = {"platform": platform, "row": counts[platform]}
            counts[platform] += 1
        elif edition.group_file is not None and not row.has("group") and (file := edition.group_file.search(row.where)):
            more = {"group": {"Development": "Dev"}.get(file[1], file[1])}
        if picture_size(row, "img_size") is None:
            if name is None or name not in sizes:
                sizes[name] = _header_size(picture)
            more["img_size"] = sizes[name]
        return to_sample(edition, row.also(more), picture)

    yield from made_from(rows, loaded, reporter)


def to_sample(edition: Edition, row: Row, picture: ImageRef | None = None) -> Sample:
    """A row of any layout as a sample, with or without its screenshot. Raises: DataError `data.field`."""
    instruction = row.required_text("instruction", "question")
    picture = picture or own_picture(row)
    columns = row.keep(KEPT)
    columns |= {name: row.numbers(name) for name in NUMBERS if name in columns}
    sample = Sample(
        id=_id(edition, row),
        question=instruction,
        row=columns,
        media=() if picture is None else (picture,),
        categories=edition.categories(row, row.text("ui_type", "data_type") or "unknown"),
        cluster=_file_name(row),
    )
    target = find_target(Row(columns, row.where), edition.box_form)
    return replace(sample, answers=(json.dumps(json_box(target.pixels or target.box)),))


def _header_size(media: ImageRef) -> ImageSize | None:
    """Width and height from the file's header; None for a screenshot that cannot be read, which fails when asked."""
    from kvl_eval.media.images import header_size

    try:
        return header_size(media)
    except MediaError:
        return None


def _file_name(row: Row) -> str | None:
    return row.optional_text("img_filename", "file_name", "image_path")


def _platform(row: Row) -> str:
    """The file that a row came from names its platform; else where the screenshot was taken, else its name."""
    if row.text("platform"):
        return row.text("platform")
    file = row.where.rsplit("/", 1)[-1].lower()
    named = re.search("|".join(PLATFORMS), file)
    prefix = (_file_name(row) or "").partition("_")[0]
    return (
        (named[0] if named else None)
        or PLATFORM_OF.get(row.text("data_source"))
        or {"pc": "desktop", "mobile": "mobile", "web": "web"}.get(prefix, "unknown")
    )


def _id(edition: Edition, row: Row) -> str:
    """Pro: the row's own id; the others `{platform}/{row}`; without either, screenshot and instruction."""
    if "row" in row:
        return f"{_platform(row)}/{row.get('row')}"
    if row.has("id"):
        return str(row.get("id"))
    file = _file_name(row) or row.get("index") or row.where
    return f"{_platform(row)}/{file}/{row.get('instruction')}" if edition.by_platform else str(file)


def _platform_categories(row: Row, kind: str) -> dict[str, tuple[str, ...]]:
    platform = _platform(row)
    return one_label(platform=platform, type=kind, cell=f"{platform} {kind}", source=row.get("data_source"))


def _pro_categories(row: Row, kind: str) -> dict[str, tuple[str, ...]]:
    group = row.get("group")
    cell = f"{group} {kind}" if group else None
    labels = {name: row.get(name) for name in ("group", "application", "platform")}
    return one_label(type=kind, **labels, cell=cell)


ORIGINAL = Edition(
    name="screenspot",
    box_form="size",
    stems=("screenspot_*[a-z]", "ScreenSpot_[MDW]*"),
    folders=("screenspot_imgs", "images"),
    categories=_platform_categories,
    figures=seeclick_figures,
    part="platform",
)
V2 = replace(
    ORIGINAL,
    name="screenspot-v2",
    stems=("screenspot_*_v2", "ScreenSpot_v2_*"),
    folders=("screenspotv2_image", "images"),
    repo="OS-Copilot/ScreenSpot-v2",
    patterns=("*.json", "*.zip"),
)
PRO = Edition(
    name="screenspot-pro",
    box_form="corners",
    stems=("annotations/*", "ScreenSpot_Pro_*"),
    folders=("images",),
    categories=_pro_categories,
    figures=lambda scored: flattened(pro_metrics(scored)),
    part="group",
    repo="likaixin/ScreenSpot-Pro",
    patterns=("annotations/*.json", "images/*"),
    by_platform=False,
    group_file=re.compile(r"ScreenSpot_Pro_([A-Za-z]+)\.tsv"),  # VLMEvalKit has a file for each group
    lost_pixels=0,
    exact="",
)
