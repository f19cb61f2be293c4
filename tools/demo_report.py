"""Makes `results/demo/` and the README's screenshots anew: `make demo`, or `python -m tools.demo_report`.

A run of kimi-vl-nano over every bundled mini split and a sweep of kimi-vl-nano-thinking over two of them, their report
as one HTML file and as Markdown, and two pictures of it in `docs/images/`. Needs the extra `test` and Chromium.
`results/demo/demo.json` holds hashes of all that the report is made from; a test compares them and says when the report
is out of date.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kvl_eval.audit.pair_settings import pair_settings
from kvl_eval.reports.write import FILES, ReportForm, write_report
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "results" / "demo"
IMAGES = ROOT / "docs" / "images"
MODEL = "kimi-vl-nano"
THINKER = "kimi-vl-nano-thinking"
SOURCES = {
    "mini splits": "kvl_eval/data/mini",
    "weights": f"kvl_eval/data/{MODEL}",
    "weights of the thinker": f"kvl_eval/data/{THINKER}",
    "report code": "kvl_eval/reports",
    "published figures": "kvl_eval/references",
}
RUN = "import sys; sys.argv[0] = 'kvl-eval'; from kvl_eval.cli.main import main; main()"
SWEEP = ("--task", "mathvista,mmmu", "--model", THINKER, "--think-budget", "32,64,128,256,512")
SHOWN = ("screenspot", "mathvista")  # tasks of which the first correct sample makes a good picture
GAPS = 3  # exit code of a run in which an answer has no score
WINDOW: Any = {"width": 1440, "height": 900}
FORM = ReportForm(formats=("file", "markdown"), title="The demo models on the bundled mini splits")


def bundled_tasks() -> list[str]:
    """Names of the tasks with a bundled split."""
    return [name for name, task in TASKS.items() if task.mini]


def fingerprints() -> dict[str, str]:
    """A hash for each of `SOURCES`: of the files' names and contents."""
    return {what: _folder_hash(ROOT / folder) for what, folder in SOURCES.items()}


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def make_runs(home: Path) -> list[Path]:
    """Answer the bundled splits below `home`, as a newcomer would; the folders of a run and of a sweep."""
    verbs = {"results": ("run", "--task", ",".join(bundled_tasks()), "--model", MODEL), "sweep": ("sweep", *SWEEP)}
    return [_answered(home, folder, *options) for folder, options in verbs.items()]


def _answered(home: Path, folder: str, *options: str) -> Path:
    """The run of one command, in a results folder of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *options, "--output-dir", folder, "--no-progress"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    run = next((path.parent for path in home.glob(f"{folder}/*/run.json")), None)
    if run is None or done.returncode not in (0, GAPS) or not _whole(run):
        sys.exit(f"the run ended with exit code {done.returncode}: the demo is left as it was")
    return run


def _whole(run: Path) -> bool:
    """Whether everything planned was answered; a task that needs a judge stays unscored, and its page says so."""
    rows = RunFolder.open(run).results().rows
    return bool(rows) and all(row.n_ok == row.n_planned for row in rows)


def write_demo(runs: Sequence[Path]) -> None:
    """Put the runs' report in the place of the old one."""
    made = fingerprints()
    if DEMO.exists():
        shutil.rmtree(DEMO)
    write_report(runs, DEMO, FORM, pair_settings(runs))
    facts = {"made_from": made, "tasks": bundled_tasks()}
    (DEMO / "demo.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def take_pictures() -> None:
    """Two screenshots of the report for the README."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport=WINDOW)
        address = (DEMO / FILES["file"]).as_uri()
        page.goto(address)
        page.screenshot(path=IMAGES / "report.png")
        for task in SHOWN:
            page.goto("about:blank")
            page.goto(f"{address}#/samples?task={task}&outcome=correct")
            page.wait_for_load_state("networkidle")
            if page.locator("#rows li").count():
                page.screenshot(path=IMAGES / "sample.png")
                break
        browser.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kvl-eval-demo-") as home, contextlib.chdir(home):
        write_demo(make_runs(Path()))  # as a newcomer sees them: no page names a folder of this machine
    take_pictures()
    size = sum(path.stat().st_size for path in _files(DEMO))
    print(f"{DEMO.relative_to(ROOT)}: {len(bundled_tasks())} tasks, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
