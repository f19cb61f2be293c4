"""CPU seconds of the sample page of 1,000 images, first and second report: `python benchmarks/report_images.py`.

Three runs share the samples. Half of the images are noise (JPEG), half drawn charts (PNG), 640 x 480. Also the time of
one copy by kind and size. Options: number of samples, worker processes (0: in this process).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image, ImageDraw

from kvl_eval.reports.image_copies import ImageCache, ImageCopies
from kvl_eval.reports.image_work import encoded, form_of, small_image
from kvl_eval.reports.runs import ReportRun, open_runs
from kvl_eval.reports.sample_index import sample_media, voices_of, write_samples
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import ImageRef, MediaRef
from tests.reports.report_folders import make_record, make_run, sample_id


def noise(number: int, size: tuple[int, int]) -> bytes:
    """A JPEG file of a photo's unrest."""
    random.seed(number)
    small = Image.frombytes("RGB", (80, 60), random.randbytes(80 * 60 * 3))
    return _file(small.resize(size, Image.Resampling.BICUBIC), "JPEG")


def chart(number: int, size: tuple[int, int]) -> bytes:
    """A PNG file of bars."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for bar in range(12):
        height = (number * 37 + bar * 91) % size[1]
        left = bar * size[0] // 12
        draw.rectangle((left, size[1] - height, left + size[0] // 16, size[1]), fill=(30 * bar % 256, 90, 160))
        draw.text((left, 10), f"{number} {bar}", fill="black")
    return _file(image, "PNG")


def _file(image: Image.Image, form: str) -> bytes:
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


KINDS: dict[str, Callable[[int, tuple[int, int]], bytes]] = {"noise, JPEG": noise, "chart, PNG": chart}


def cpu() -> float:
    """CPU seconds of this process and of those it waited for."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in usage)


def single() -> None:
    """Milliseconds and bytes of one copy."""
    for name, make in KINDS.items():
        for size in ((640, 480), (1600, 1200)):
            files = [make(number, size) for number in range(10)]
            begin = time.process_time()
            copies = [encoded(small_image(data, name, 640), 640, form_of(data)) for data in files]
            milliseconds = 100 * (time.process_time() - begin)
            print(f"{name} {size[0]} x {size[1]}: {milliseconds:.1f} ms, {len(copies[0]) / 1000:.1f} kB")


def runs_of(folder: Path, files: Sequence[bytes]) -> list[ReportRun]:
    """Three runs whose records name these images."""
    paths = []
    for name in ("run-a", "run-b", "run-c"):
        run = make_run(folder, name=name, model=name, n=len(files))
        journal = RunFolder.open(run).journal("mathvista")
        for number, data in enumerate(files):
            size = {"w": 640, "h": 480, "resized_to": [644, 476], "tokens": 391, "pre_shrunk": None, "note": None}
            media = [{"sha256": hashlib.sha256(data).hexdigest(), "kind": "image", **size}]
            journal.append(make_record(number, "mathvista", "", media=media))
        journal.close()
        paths.append(run)
    return open_runs(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    single()
    with tempfile.TemporaryDirectory() as folder:
        files = [list(KINDS.values())[number % 2](number, (640, 480)) for number in range(options.samples)]
        places = {sample_id(number): ImageRef(name=f"{number}", data=data) for number, data in enumerate(files)}
        runs = runs_of(Path(folder), files)

        def refs(task: str, sample: str) -> Sequence[MediaRef]:
            return [places[sample]]

        for name in ("first report", "second report"):
            before, begin = cpu(), time.perf_counter()
            out = OutputFolder(Path(folder) / "out")
            copies = ImageCopies(out, ImageCache(Path(folder) / "cache"), refs, workers=options.workers)
            stored = copies.make(list(sample_media(runs, voices_of(runs))))
            write_samples(runs, out, stored)
            wall = time.perf_counter() - begin
            print(
                f"{name}: {cpu() - before:.2f} CPU s, {wall:.2f} s, {copies.made} copies made, {os.cpu_count()} cores"
            )


if __name__ == "__main__":
    main()
