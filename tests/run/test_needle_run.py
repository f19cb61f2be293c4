"""The needle tests from plan to report, with a model that reads the needle wherever it is near enough to the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvl_eval.audit.verify import verify
from kvl_eval.backends import make_backend
from kvl_eval.backends.base import Backend, Cost, Limits, Request, Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import ConfigError
from kvl_eval.model.kimi_vl.families import INSTRUCT, NANO
from kvl_eval.reports.heatmap import heatmap_of, parts_of
from kvl_eval.reports.leaderboard import printed_table
from kvl_eval.reports.runs import main_rows, open_runs, scores_of
from kvl_eval.reports.write import write_report
from kvl_eval.run.config import RunConfig, resolve
from kvl_eval.run.plan import Plan, plan_run
from kvl_eval.run.plan_text import plan_text
from kvl_eval.run.progress import Lines
from kvl_eval.run.runner import start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.tasks import get_task
from kvl_eval.types import ImageRef
from tests.processes import closed_after

NAMES = ("niah-text", "niah-video")
SHORT = "max-length=4096"


def configuration(output: Path, model: str = "fake", split: str = "quick", version: str = SHORT) -> RunConfig:
    options = {"split": split, "data_version": version, "output_dir": str(output)}
    family = "fake" if model == "fake" else "nano"
    return resolve(model, family, [get_task(name) for name in NAMES], options)


def read_needle(request: Request, repeat: int) -> str:
    """The code, unless it lies in the first tenth of the haystack."""
    del repeat
    key = re.search(r"secret code of (\w+)\?", str(request.messages[-1].parts[-1]))
    assert key is not None
    shown = [part for part in request.messages[-1].parts if isinstance(part, ImageRef)]
    if shown:
        found = [(n, ref.drawn.banner) for n, ref in enumerate(shown) if ref.drawn is not None and ref.drawn.banner]
        ((place, (_, seen, value)),) = found
        depth = place / len(shown)
        assert seen == key[1]
    else:
        text = str(request.messages[-1].parts[-1])
        needle = re.search(rf"secret code of {key[1]} is (\d+)\.", text)
        assert needle is not None
        value, depth = needle[1], needle.start() / len(text)
    return f"It is {value}." if depth > 0.1 else "I do not know."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend = FakeBackend(answer=read_needle)
    plan = plan_run(configuration(tmp_path_factory.mktemp("results")), backend)
    return start_run(plan, backend, Lines()).folder.path


def test_recall_is_what_the_model_can_read(run: Path) -> None:
    (found,) = open_runs([run])
    for row in found.rows:
        assert (row.n_scored, row.score) == (10, 0.8)
        assert {name: part.score for name, part in row.categories["depth"].items()} == {
            "0": 0.0,
            **dict.fromkeys(("25", "50", "75", "100"), 1.0),
        }
        assert row.official["recall (0,2048]"] == "80.0 (4 of 5)"
        assert row.categories["haystack_tokens"]["(0,2048]"].ci95 == pytest.approx([0.3755, 0.9638], abs=1e-4)


def test_the_run_is_proven_whole_without_the_model_that_measured_it(run: Path) -> None:
    found = verify(RunReader.open(run))
    assert found.verdict == "complete", found.findings
    texts = [text for text in found.proven if text.startswith("data set")]
    assert texts == [f"data set of {name}: unchanged since the run" for name in NAMES]


def test_the_report_crosses_depth_and_length_beside_the_published_recall(run: Path, tmp_path: Path) -> None:
    (opened,) = open_runs([run])
    for row in main_rows(opened):
        name = row.task
        heatmap, parts = heatmap_of(opened, row, opened.folder.scores(name, scores_of(row))), parts_of(row)
        assert heatmap is not None and parts is not None
        assert (heatmap.columns, heatmap.rows) == (("2048", "4096"), ("0", "25", "50", "75", "100"))
        assert heatmap.cells["0", "2048"] == 0 and heatmap.cells["100", "4096"] == 1
        shown = dict(parts.rows)
        assert shown["ours"] == ("80.0", "80.0", *[""] * 5)
        assert shown["answers"] == ("5", "5", *["0"] * 5)
        assert shown["Kimi-VL-A3B-Instruct"] == (*["100.0"] * 6, "87.0" if name == "niah-text" else "91.7")
    _, index = write_report([run], tmp_path / "out")
    for name in NAMES:
        page = (index.parent / f"task-{name}.html").read_text("utf-8")
        assert "score by depth and" in page and page.count('<td class="num level-5"') == 8, name


def test_the_published_table_has_our_column_bin_by_bin(run: Path) -> None:
    text = printed_table("niah", open_runs([run]))
    (short,) = [line for line in text.splitlines() if "video, up to 2k tokens" in line]
    (long,) = [line for line in text.splitlines() if "video, 64k to 128k tokens" in line]
    assert short.split("  ")[-1].strip() == "80.0 [37.6, 96.4] (split quick)"
    assert long.split()[-1] == "91.7"


def planned(tmp_path: Path, backend: Backend, model: str = "fake") -> Plan:
    return plan_run(configuration(tmp_path, model), backend)


def test_the_plan_lists_the_bins(tmp_path: Path) -> None:
    plan = planned(tmp_path, FakeBackend())
    text, video = plan.tasks
    assert [(one.name, one.n) for one in text.parts] == [("(0,2048]", 5), ("(2048,4096]", 5)]
    assert [one.media for one in video.parts] == [30, 60]
    assert all(one.cost is None for task in plan.tasks for one in task.parts)
    assert all(2000 < (one.tokens or 0) < 4200 for one in text.parts)
    assert "niah-text\n  data       generated, 0 media, fingerprint " in plan_text(plan, details=True)


def test_the_plan_says_what_the_bundled_model_will_take(tmp_path: Path) -> None:
    with closed_after(make_backend("kimi-vl-nano", Settings(), fetch=False)) as backend:
        plan = planned(tmp_path, backend, "kimi-vl-nano")
    for task in plan.tasks:
        for part, least in zip(task.parts, (2000, 4000), strict=True):
            assert part.tokens is not None and part.cost is not None
            assert least < part.tokens < least * 1.1
            assert part.cost.bytes > part.tokens * 4 * 4 * (512 + 64)  # at least the latents of four layers
            assert part.cost.seconds > 0
    text = plan_text(plan, details=True)
    assert "one request at a time" in text
    (second,) = [line for line in text.splitlines() if "(2048,4096]" in line and " 60 " in line]
    assert "GiB" in second


class Uncounted(FakeBackend):
    def limits(self) -> Limits:
        return Limits()


def test_a_model_whose_tokens_nobody_can_count_is_refused_for_text_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="niah-text needs token counts"):
        planned(tmp_path, Uncounted())
    video = resolve("fake", "fake", [get_task("niah-video")], {"split": "quick", "data_version": SHORT})
    assert [one.tokens for one in plan_run(video, Uncounted()).tasks[0].parts] == [None, None]


class Costly(FakeBackend):
    def limits(self) -> Limits:
        return Limits(text_tokens=len, cost=lambda tokens, pictures, generation: Cost(bytes=2**31, seconds=7200.0))


def test_memory_and_time_are_printed_bin_by_bin(tmp_path: Path) -> None:
    config = resolve("fake", "fake", [get_task("niah-text")], {"split": "quick", "data_version": "max-length=2048"})
    text = plan_text(plan_run(config, Costly()), details=True)
    (line,) = [one for one in text.splitlines() if "(0,2048]" in one]
    assert line.split()[-7:] == ["0", "2.00", "GiB", "2.0", "h", "10.0", "h"]


def test_the_embedded_models_have_room_for_the_answer_in_the_last_bin() -> None:
    for name in NAMES:
        tokens = get_task(name).max_new_tokens
        assert NANO.generation(tokens).limit == INSTRUCT.generation(tokens).limit == 32
