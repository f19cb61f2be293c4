"""The committed demo report: made from what the repository holds now, small, whole, and shown in the README."""

from __future__ import annotations

import json
import os
import re

from tools.demo_report import DEMO, IMAGES, ROOT, bundled_tasks, fingerprints

MOST = 12_000_000  # bytes


def facts() -> dict[str, object]:
    found: dict[str, object] = json.loads((DEMO / "demo.json").read_text(encoding="utf-8"))
    return found


def test_the_demo_is_up_to_date() -> None:
    made, now = facts()["made_from"], fingerprints()
    assert isinstance(made, dict)
    changed = [what for what in now if made.get(what) != now[what]]
    assert not changed, f"results/demo is older than {', '.join(changed)}: run `make demo` and commit it"


def test_it_shows_every_bundled_task() -> None:
    assert facts()["tasks"] == bundled_tasks()
    page = (DEMO / "report.html").read_text(encoding="utf-8")
    for task in bundled_tasks():
        assert f'data-page="task-{task}"' in page
        assert f'href="#/task-{task}"' in page


def test_it_is_one_page_and_a_short_file() -> None:
    assert {path.name for path in DEMO.iterdir()} == {"demo.json", "report.html", "report.md"}
    assert len((DEMO / "report.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_it_is_small_and_tells_nothing_of_the_machine_it_was_made_on() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST
    for path in files:
        if path.suffix in (".html", ".md", ".js", ".json"):
            assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text(encoding="utf-8")), path.name


def test_readme_and_the_page_of_the_demo_models_show_it() -> None:
    shown = {
        ROOT / "README.md": (IMAGES / "report.png", IMAGES / "sample.png", DEMO / "report.md"),
        ROOT / "docs" / "demo.md": (IMAGES / "sample.png",),
    }
    for page, paths in shown.items():
        for path in paths:
            assert path.is_file()
            assert os.path.relpath(path, page.parent) in page.read_text(encoding="utf-8"), path.name
