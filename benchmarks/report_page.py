"""CPU seconds to write a report, and seconds until its sample page shows one: `python benchmarks/report_page.py`.

Needs the `test` extra and Chromium (`apt-get install chromium`). Options: number of samples, number of runs, and how
often the page is opened (0: not at all).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import sync_playwright

from kvl_eval.reports.write import ReportForm, write_report
from tests.reports.report_folders import make_run

WORDS = "A text of ordinary length, as answers have it. " * 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        names = [f"model-{number}" for number in range(options.runs)]
        runs = [make_run(place, name=name, model=name, n=options.samples, text=WORDS) for name in names]
        form = ReportForm(cache_dir=place / "cache")
        for what in ("write the report", "write it again  "):
            begin, busy = time.perf_counter(), time.process_time()
            write_report(runs, place / "out", form)
            print(f"{what}     {time.process_time() - busy:.2f} CPU s, {time.perf_counter() - begin:.2f} s")
        page = place / "out" / "samples.html"
        first = sum((page.parent / name).stat().st_size for name in ("samples.html", "data/index.js", "data/c0.js"))
        print(f"first page           {first / 1e6:.2f} MB")
        if options.times:
            print(f"open, first sample   {min(openings(page, options.times)):.2f} s (best of {options.times})")


def openings(path: Path, times: int) -> list[float]:
    """Seconds from navigation to the first sample, once for each of `times`."""
    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(times):
            page = browser.new_page()
            begin = time.perf_counter()
            page.goto(path.as_uri())
            page.locator("#read .head").wait_for()
            found.append(time.perf_counter() - begin)
            page.close()
        browser.close()
    return found


if __name__ == "__main__":
    main()
