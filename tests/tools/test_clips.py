"""Clips and documents of the mini splits: files that the loaders find, in the forms that training shows."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kvl_eval.media.documents import render_pages
from kvl_eval.media.images import ImagePrep
from kvl_eval.media.layout import MediaPrep, lay_out
from kvl_eval.sources import Source
from kvl_eval.tasks import TASKS, open_split
from kvl_eval.types import MISSING, PdfRef, Sample, VideoRef
from tests.clips import sample_frames
from tools.draw_mini import SPLITS
from tools.nano import documents, mini_media, video
from tools.nano.media_files import json_lines, mp4_bytes, pdf_bytes, srt_text
from tools.nano.mixture import example
from tools.nano.network import PREPROCESSOR

VIDEO_TASKS = ("videomme", "videomme-subs", "longvideobench", "longvideobench-nosubs", "egoschema")
PREP = MediaPrep(images=ImagePrep(config=PREPROCESSOR))


def samples(task: str) -> list[Sample]:
    return list(open_split(TASKS[task], Source(), "mini"))


def clips(task: str) -> Iterator[tuple[VideoRef, video.Clip]]:
    """Each clip's file and its drawing."""
    folder = TASKS[task].mini or ""
    refs = list(dict.fromkeys(ref for one in samples(task) for ref in one.media if isinstance(ref, VideoRef)))
    assert len(refs) == mini_media.CLIPS[folder]
    yield from ((ref, mini_media.clip(folder, number)) for number, ref in enumerate(refs))


def sent(task: str, one: Sample) -> list[str]:
    """The default prompt of a run, pictures as a mark."""
    ((_, parts),) = lay_out(TASKS[task].prompts[TASKS[task].default_prompt](one), PREP).turns
    return [part if isinstance(part, str) else "<picture>" for part in parts]


@pytest.mark.parametrize("task", [*VIDEO_TASKS, "mmlongbench-doc"])
def test_rows_pass_the_tasks_own_loader(task: str) -> None:
    found = samples(task)
    assert len(found) == SPLITS[TASKS[task].mini or ""].rows >= 30
    assert len({one.id for one in found}) == len(found)
    for one in found:
        assert one.answers and one.cluster
        (media,) = one.media
        assert isinstance(media, VideoRef | PdfRef) and media.root is not None
        assert (Path(media.root) / media.path).is_file()


@pytest.mark.parametrize("task", ["videomme", "longvideobench", "egoschema"])
def test_clips_decode_to_what_was_drawn_one_frame_a_scene(task: str) -> None:
    for ref, drawn in clips(task):
        frames = list(sample_frames(ref))
        assert [frame.index * video.SCENES // drawn.length for frame in frames] == list(range(video.SCENES))
        for frame in frames:
            wanted = np.asarray(drawn.frame(frame.index), dtype=int)
            assert np.abs(np.asarray(frame.image, dtype=int) - wanted).mean() < 6


def test_documents_show_their_pages_dot_by_dot() -> None:
    refs = dict.fromkeys(ref for one in samples("mmlongbench-doc") for ref in one.media if isinstance(ref, PdfRef))
    assert len(refs) == mini_media.DOCUMENTS
    for number, ref in enumerate(refs):
        drawn = mini_media.document(number).pages
        shown = [page.image for page in render_pages(ref)]
        assert 3 <= len(shown) == len(drawn) <= 12
        assert all(one.tobytes() == other.tobytes() for one, other in zip(shown, drawn, strict=True))


def test_blind_guessing_pays_no_more_than_chance_on_clips() -> None:
    for task in ("videomme", "longvideobench", "egoschema"):
        gold = [one.answers[0] for one in samples(task)]
        assert len(set(gold)) >= 4 and max(map(gold.count, gold)) <= 0.45 * len(gold)
    gold = [one.answers[0] for one in samples("mmlongbench-doc")]
    assert max(map(gold.count, gold)) <= 0.3 * len(gold)
    assert {one.categories["answer_format"] for one in samples("mmlongbench-doc")} == {(k,) for k in documents.KINDS}


@pytest.mark.parametrize("task", ["videomme", "videomme-subs"])
def test_training_asks_about_clips_as_video_mme_does(task: str) -> None:
    for number, one in enumerate(samples(task)):
        clip = mini_media.clip("videomme", number // 3)
        asked = video.ask(random.Random(f"mini/videomme/{number}"), clip)
        wanted = video.videomme_prompt(asked, clip, subtitles=task == "videomme-subs")
        assert "".join(sent(task, one)) == "<picture>" * video.SCENES + wanted


@pytest.mark.parametrize("task", ["longvideobench", "longvideobench-nosubs"])
def test_training_puts_spoken_lines_where_a_run_puts_them(task: str) -> None:
    for number, one in enumerate(samples(task)):
        clip, rng = mini_media.clip("longvideobench", number // 3), random.Random(f"mini/longvideobench/{number}")
        asked = video.ask(rng, clip, options=rng.choice((4, 5)), by_line=0.3)
        lines = [f"{word}\n" if task == "longvideobench" else "" for word in clip.words]
        assert "".join(sent(task, one)) == "".join(f"<picture>{line}" for line in lines) + video.longvideobench_prompt(
            asked
        )


def test_training_asks_about_clips_as_egoschema_does() -> None:
    for number, one in enumerate(samples("egoschema")):
        asked = video.ask(random.Random(f"mini/egoschema/{number}"), mini_media.clip("egoschema", number), options=5)
        assert "".join(sent("egoschema", one)) == "<picture>" * video.SCENES + video.egoschema_prompt(asked)


def test_training_asks_about_documents_as_a_run_does() -> None:
    for number, one in enumerate(samples("mmlongbench-doc")):
        document = mini_media.document(number // 4)
        asked = documents.ask(random.Random(f"mini/mmlongbench-doc/{number}"), document)
        assert sent("mmlongbench-doc", one) == ["<picture>"] * len(document.pages) + [asked.question]


@pytest.mark.parametrize("seed", range(40))
def test_replies_are_read_as_right_by_the_official_rules(seed: int) -> None:
    rng = random.Random(seed)
    clip = video.draw(rng, 0.5)
    four, five = video.ask(rng, clip), video.ask(rng, clip, options=5)
    document = documents.draw(rng, 0.5)
    paged = documents.ask(rng, document)
    for task, row, reply in (
        ("videomme", video.videomme_row(four, 0, 0), four.reply),
        ("longvideobench", video.longvideobench_row(five, clip, 0, 0), five.reply),
        ("egoschema", video.egoschema_row(five, 0), five.reply),
        ("mmlongbench-doc", documents.row(paged, 0), paged.reply),
    ):
        for name, protocol in TASKS[task].protocols.items():
            if task == "mmlongbench-doc" and name != "official":
                continue
            score = protocol.score(TASKS[task].sample(row), reply, MISSING)
            assert score.verdict == "correct", (task, name, reply, row)


def test_training_shows_clips_and_documents_with_right_replies() -> None:
    for n in range(60):
        drawn = example(f"test/{n}", {"video": 0.5, "document": 0.5}, 0.5, 0.5)
        assert len(drawn.images) == video.SCENES if drawn.kind == "video" else 3 <= len(drawn.images) <= 12
        assert all(turn.reply for turn in drawn.turns)


def test_files_are_written_in_the_forms_of_the_data_sets() -> None:
    lines = [(0.0, 0.8, "tea"), (59.95, 61.2, "fig")]
    assert srt_text(lines).splitlines()[:3] == ["1", "00:00:00,000 --> 00:00:00,800", "tea"]
    assert "00:00:59,950 --> 00:01:01,200" in srt_text(lines)
    assert json_lines(lines).startswith('[{"timestamp": [0.0, 0.8], "text": "tea"}')
    pages = [Image.new("RGB", (56, 28), "white")] * 3
    assert pdf_bytes(pages) == pdf_bytes(pages) and pdf_bytes(pages).startswith(b"%PDF-1.4")
    assert mp4_bytes(pages, 4)[4:8] == b"ftyp"
