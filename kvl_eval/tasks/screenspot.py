"""ScreenSpot, ScreenSpot-V2 and ScreenSpot-Pro: point at what an instruction names on a screenshot.

Data:    original: hub rootsautomation/ScreenSpot (boxes 0 to 1) or the authors' screenshot archive and
         screenspot_{mobile,desktop,web}.json (boxes in pixels: left, top, width, height); V2: OS-Copilot/ScreenSpot-v2
         (same form) or HongxinLi/ScreenSpot_v2 (0 to 1); Pro: likaixin/ScreenSpot-Pro, annotations/*.json (pixels:
         left, top, right, bottom). VLMEvalKit's TSVs of all three.
Prompt:  the model card's prompt for agent tasks.
Metric:  a hit if the point is inside the box, borders included, both divided by the size of the original screenshot;
         headline over all targets. Pro adds text and icon, group and application; the other two the six cells of
         platform and kind, and their unweighted mean.
Source:  likaixin2000/ScreenSpot-Pro-GUI-Grounding @ bd8bbbb, njucckevin/SeeClick @ 0ef37ac, VLMEvalKit @ e8e78f0,
         lmms-eval @ 75571cf.
Report:  Kimi-VL (arXiv 2504.07491), Table 3, rows ScreenSpot-V2 and ScreenSpot-Pro.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from kvl_eval.scorers.aggregate import summarise
from kvl_eval.scorers.grounding import READERS, Box, PointReader, WrongFormat, hits, read_given
from kvl_eval.scorers.grounding_figures import (
    lmms_eval_figures,
    vlmevalkit_figures,
)
from kvl_eval.scorers.grounding_target import (
    Target,
    box_on_picture,
    find_target,
    json_box,
    json_number,
    picture_size,
    plain_box,
    times,
    vlmevalkit_box,
)
from kvl_eval.sources.pictures import from_values
from kvl_eval.tasks.base import OFFICIAL, READER, OtherName, Protocol, Reference, Split, Task, TaskData, TaskView
from kvl_eval.tasks.grounding_prompts import PROMPTS
from kvl_eval.tasks.screenspot_rows import ORIGINAL, PRO, V2, Edition, load, to_sample
from kvl_eval.types import MISSING, Extraction, Sample, Score, Scored, Summary

BoxRule = Callable[[Target], Box | None]


def score(
    edition: Edition, read: PointReader, rule: BoxRule, sample: Sample, answer: str, extraction: Extraction = MISSING
) -> Score:
    """Whether the point that `read` finds is in the box; point and box go into the detail in original pixels."""
    row = sample.columns
    target = find_target(row, edition.box_form)
    box = rule(target)
    if box is None:
        return Score.not_scored("image_size_unknown" if target.box is None else "box_beyond_image")
    size = target.size or (1, 1)
    shown: dict[str, object] = {"box": json_box(target.pixels), "point": None, "image_size": list(target.size or ())}
    try:
        sent = picture_size(row, "sent_size") or size
        reading = read(answer, sent) if extraction is MISSING else read_given(extraction)
    except WrongFormat as error:
        return replace(Score.no_answer(str(error)), detail=shown)
    if target.size is not None:
        shown["point"] = [json_number(reading.x * size[0]), json_number(reading.y * size[1])]
        if reading.box is not None:
            shown["found_box"] = json_box(times(reading.box, size))
    if reading.span is not None:
        shown["span"] = list(reading.span)
    found = Score.of(
        hits(reading.x, reading.y, box), [json_number(reading.x), json_number(reading.y)], reading.form, **shown
    )
    return found if reading.inside else replace(found, reason="outside_image")


def aggregate(edition: Edition, scored: Sequence[Scored], protocol: str) -> Summary:
    """Share of hits over all targets, and the figures that the protocol's own script prints."""
    counted = [one for one in scored if one.score.value is not None]
    if protocol == "vlmevalkit":
        official = vlmevalkit_figures(counted, edition.part)
    elif protocol == "lmms-eval":
        official = lmms_eval_figures(counted, edition.name.replace("-", "_"))
    else:
        official = edition.figures(counted)
    return summarise(scored, official if counted else None)


def _protocols(edition: Edition) -> dict[str, Protocol]:
    def protocol(read: PointReader, rule: BoxRule = plain_box, **about: Any) -> Protocol:
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
    pixel = "; the box loses its last pixel across and down" if edition.lost_pixels else ""
    return {
        "official": pro,
        "official-exact": protocol(READERS[edition.exact], notes=("SeeClick's reader",)) if edition.exact else pro,
        "vlmevalkit": protocol(
            READERS["vlmevalkit"],
            partial(vlmevalkit_box, shrink=edition.lost_pixels),
            notes=(
                f"an answer without a point is read as (0, 0){pixel}",
                "Text, Icon and category accuracies weigh each part by the square of its size; Overall is right",
            ),
        ),
        "lmms-eval": protocol(
            READERS["lmms_eval"],
            notes=("reads `.5` as 5, and the corner of a bracketed box unless the text has the word `box`",),
        ),
        READER: protocol(
            READERS["reader"],
            box_on_picture,
            notes=(
                "a point in the forms that models write, of a box its center; two different points are no_answer",
                "numbers above 1 are pixels of the image as sent, in forms of a fixed scale thousandths",
            ),
            evidence="weak: the card's prompt is published, the text it makes the model write is shown nowhere",
        ),
        "reader-0-1000": protocol(
            READERS["reader-thousand"],
            box_on_picture,
            notes=("as reader, with bare numbers above 1 read as thousandths of the image",),
            evidence="none for Kimi-VL, which writes 0 to 1; for models that write 0 to 1000",
        ),
    }


def _task(edition: Edition, **own: Any) -> Task:
    return Task(
        name=edition.name,
        doc=__doc__ or "",
        default_split="test",
        modality="image",
        access="open",
        load=partial(load, edition),
        sample=from_values(partial(to_sample, edition)),
        prompts=PROMPTS,
        default_prompt="card",
        wanted=("point",),
        prompt_evidence="the model card's recommended prompt for agent tasks, made for Instruct",
        protocols=_protocols(edition),
        default_protocol=READER,
        view=TaskView(beside=(OFFICIAL,)),
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
    other_names=(OtherName("lmms-eval", "screenspot_rec_test"), OtherName("lmms-eval", "screenspot_rec")),
    data=TaskData(
        row_layouts=LAYOUTS,
        files=(
            "test-*.parquet or data/test-*.parquet (hub copy)",
            "screenspot_{mobile,desktop,web}.json, images in screenspot_imgs/, images/ or a zip",
            "ScreenSpot_{Mobile,Desktop,Web}.tsv (VLMEvalKit)",
        ),
        count={
            "test": {
                "rows": 1272,
                **{
                    "cell=mobile text": 273,
                    "cell=mobile icon": 229,
                    "cell=desktop text": 194,
                    "cell=desktop icon": 140,
                },
                **{"cell=web text": 230, "cell=web icon": 206},
            }
        },
    ),
    reference=Reference(benchmark="screenspot_v1"),
)

SCREENSPOT_V2 = _task(
    V2,
    title="ScreenSpot-V2",
    group_title="Agent grounding",
    groups=("grounding", "table3"),
    repos=(V2.repo, "HongxinLi/ScreenSpot_v2"),
    licence="apache-2.0",
    splits={"test": Split(rows=1272)},
    download_bytes=1_330_300_000,
    download_source="files of OS-Copilot/ScreenSpot-v2: a zip archive of 1.33 GB and three JSON files of 0.3 MB",
    data=TaskData(
        row_layouts=LAYOUTS,
        files=(
            "screenspot_{mobile,desktop,web}_v2.json, images in screenspotv2_image.zip, its folder or images/",
            "test-*.parquet or data/test-*.parquet (HongxinLi/ScreenSpot_v2)",
            "ScreenSpot_v2_{Mobile,Desktop,Web}.tsv (VLMEvalKit)",
        ),
        count={"test": {"rows": 1272}},
    ),
    reference=Reference(benchmark="screenspot_v2"),
)

SCREENSPOT_PRO = _task(
    PRO,
    title="ScreenSpot-Pro",
    group_title="Agent grounding",
    groups=("grounding", "table3"),
    repos=(PRO.repo, "TIGER-Lab/ScreenSpot-Pro"),
    licence="MIT (TIGER-Lab copy); see the card of likaixin/ScreenSpot-Pro for the original",
    splits={"test": Split(rows=1581)},
    data=TaskData(
        row_layouts={
            "authors' JSON (pixels: left, top, right, bottom)": (
                *("id", "img_filename", "bbox", "img_size", "instruction"),
                *("application", "platform", "group", "ui_type"),
            ),
            "VLMEvalKit TSV": (
                "index",
                "image",
                "image_path",
                "question",
                "bbox",
                "ui_type",
                "application",
                "category",
            ),
            "predictions": ("instruction", "group", "application", "platform", "ui_type", "bbox_xyxy", "img_size"),
        },
        files=(
            "annotations/*.json with images in images/",
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
    ),
    reference=Reference(benchmark="screenspot_pro"),
)
