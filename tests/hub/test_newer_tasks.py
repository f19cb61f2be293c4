"""The fifteen later tasks from the hub, in the layouts of their repositories: what loads is what was put there.

The rows are those of the bundled mini splits; each task's repository is built from them with the file names, columns
and archives of the original (the tasks' specifications name them), served, fetched with the genuine clients, compared.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.tasks import MINI, get_task, open_split
from kvl_eval.types import ImageRef, Sample, VideoRef
from tests.hub.conftest import Run
from tests.hub.server import Hub, Repo
from tests.tasks.tables import write_json, write_parquet

Rows = list[dict[str, Any]]
Build = Callable[[Path, Rows], None]
LOAD = """
import hashlib
from pathlib import Path
from kvl_eval.errors import KvlEvalError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import Source
from kvl_eval.sources.fetch import bring
from kvl_eval.tasks import get_task, open_split
from kvl_eval.types import ImageRef

def seen(ref):
    data = read_bytes(ref) if isinstance(ref, ImageRef) else (Path(ref.root) / ref.path).read_bytes()
    return hashlib.sha256(data).hexdigest()

task = get_task({name!r})
source = Source(repo={repo!r}, {options})
try:
    bring(source, task.data.archives, task=task.name)
    for one in open_split(task, source, task.default_split):
        labels = {{name: list(values) for name, values in one.categories.items()}}
        result[one.id] = [one.question, list(one.choices), list(one.answers), labels, [seen(ref) for ref in one.media]]
except KvlEvalError as error:
    result["error"] = error.render()
"""


@dataclass(frozen=True)
class Layout:
    """A task's repository: its name, what builds it from the rows of the mini split, and what nobody may fetch."""

    task: str
    repo: str
    build: Build
    unwanted: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.task}-{self.repo.replace('/', '-')}"


def card(configs: Mapping[str, tuple[str, str]]) -> str:
    """A data set card: {configuration: (split, its files)}."""
    lines = ["---", "configs:"]
    for name, (split, path) in configs.items():
        lines += [f"- config_name: {name}", "  data_files:", f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", ""])


def tables(path: str, config: str = "default", other: str = "") -> Build:
    """One parquet file of the task's default split, and one of another configuration."""

    def build(folder: Path, rows: Rows) -> None:
        split = path.rsplit("/", 1)[-1].partition("-")[0].partition(".")[0]
        split = "val" if split == "mmstar" else split
        configs = {config: (split, path.replace("-00000-of-00001", "-*"))}
        write_parquet(folder / path, rows)
        if other:
            write_parquet(folder / other, rows[:1])
            configs["other"] = ("test", other)
        (folder / "README.md").write_text(card(configs))

    return build


def by(rows: Rows, column: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(str(row[column]), []).append(row)
    return found


def blink(folder: Path, rows: Rows) -> None:
    configs = {}
    for name, part in by(rows, "sub_task").items():
        write_parquet(folder / name / "val-00000-of-00001.parquet", part)
        write_parquet(folder / name / "test-00000-of-00001.parquet", part[:1])
        configs[name] = ("val", f"{name}/val-*")
    (folder / "README.md").write_text(card(configs))


def mmmu_pro(folder: Path, rows: Rows) -> None:
    """Two of the three configurations hold other questions."""
    names = ("standard (10 options)", "standard (4 options)", "vision")
    mine = names[0] if "question" in rows[0] else names[2]
    for name in names:
        shown = rows if name == mine else [{"id": "other", "options": "['x']", "answer": "A", "subject": "Art"}]
        write_parquet(folder / name / "test-00000-of-00001.parquet", shown)
    (folder / "README.md").write_text(card({name: ("test", f"{name}/test-*") for name in names}))


def vstar(folder: Path, rows: Rows) -> None:
    """The authors' repository: a file of questions, and pictures in a folder for each category."""
    lines = []
    for row in rows:
        path = folder / row["category"] / f"sa_{row['question_id']}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])
        texts = {name: row[name] for name in ("text", "label", "category", "question_id")}
        lines.append({"image": f"{row['category']}/{path.name}", **texts})
    (folder / "test_questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "OCR").mkdir()
    (folder / "OCR" / "unscored.jpg").write_bytes(b"no picture")


def clips(task: str) -> dict[str, bytes]:
    """{path below the mini split: video}."""
    home = MINI / task
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*.mp4"))}


def pack(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def scatter(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def mmvu(folder: Path, rows: Rows) -> None:
    """The authors': one JSON file and loose videos."""
    write_json(folder / "validation.json", rows)
    scatter(folder, clips("mmvu"))


def mmvu_copy(folder: Path, rows: Rows) -> None:
    shown = [{**row, "video_path": "videos/" + row["video"].partition("/videos/")[2]} for row in rows]
    table = [{name: value for name, value in row.items() if name != "video"} for row in shown]
    write_parquet(folder / "data" / "validation-00000-of-00001.parquet", table)
    (folder / "README.md").write_text(card({"default": ("validation", "data/validation-*")}))
    pack(folder / "videos.zip", clips("mmvu"))


def mlvu(folder: Path, rows: Rows) -> None:
    """The copy with options inside the question and letters as answers."""
    table = []
    for row in rows:
        options = [f"({letter}) {text}" for letter, text in zip("ABCDEF", row["candidates"], strict=False)]
        text = "\n".join([f"Question: {row['question']}", "Options:", *options])
        letter = "ABCDEF"[row["candidates"].index(row["answer"])]
        names = {"video_name": row["video"], "task_type": row["question_type"]}
        table.append({**names, "question": text, "answer": letter})
    write_parquet(folder / "mlvu" / "test-00000-of-00001.parquet", table)
    (folder / "README.md").write_text(card({"mlvu": ("test", "mlvu/test-*")}))
    found = {f"video/{Path(name).name}": content for name, content in clips("mlvu").items()}
    half = len(found) // 2
    pack(folder / "video_part_1.zip", dict(list(found.items())[:half]))
    pack(folder / "video_part_2.zip", dict(list(found.items())[half:]))
    pack(folder / "action_count.zip", {"count/other.mp4": b"no video"})


FOLDERS = {
    **{"plotQA": "1_plotQA", "needle": "2_needle", "ego": "3_ego", "count": "4_count", "order": "5_order"},
    **{"anomaly_reco": "6_anomaly_reco", "topic_reasoning": "7_topic_reasoning"},
}


def mlvu_authors(folder: Path, rows: Rows) -> None:
    """A JSON file and a folder of loose videos for each task, generation tasks included."""
    videos = {Path(name).name: content for name, content in clips("mlvu").items()}
    for kind, part in by(rows, "question_type").items():
        name = FOLDERS[{"findNeedle": "needle"}.get(kind, kind)]
        write_json(folder / "MLVU" / "json" / f"{name}.json", part)
        scatter(folder / "MLVU" / "video" / name, {row["video"]: videos[row["video"]] for row in part})
    write_json(
        folder / "MLVU" / "json" / "9_summary.json", [{"video": "s.mp4", "question": "Tell.", "answer": "A day."}]
    )
    scatter(folder / "MLVU" / "video" / "9_summary", {"s.mp4": b"no video"})


def tomato(folder: Path, rows: Rows) -> None:
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    (folder / "README.md").write_text(card({"default": ("test", "data/test-*")}))
    pack(folder / "videos.zip", clips("tomato"))


def videommmu(folder: Path, rows: Rows) -> None:
    tracks = by(rows, "track")
    for name, part in tracks.items():
        table = [{column: value for column, value in row.items() if column != "track"} for row in part]
        write_parquet(folder / name / "test-00000-of-00001.parquet", table)
    (folder / "README.md").write_text(card({name: ("test", f"{name}/test-*") for name in tracks}))
    domains: dict[str, dict[str, bytes]] = {}
    for name, content in clips("videommmu").items():
        domains.setdefault(name.partition("/")[0], {})[name] = content
    for name, files in domains.items():
        pack(folder / f"{name}.zip", files)


def vsi_bench(folder: Path, rows: Rows) -> None:
    write_parquet(folder / "test-00000-of-00001.parquet", rows)
    write_parquet(folder / "test_debiased.parquet", rows[:1])
    (folder / "README.md").write_text(
        card({"full": ("test", "test-00000-of-00001.parquet"), "debiased": ("test", "test_debiased.parquet")})
    )
    pack(folder / "scannet.zip", clips("vsi-bench"))
    for name in ("arkitscenes", "scannetpp"):
        pack(folder / f"{name}.zip", {f"{name}/other.mp4": b"no video"})


TEST = "data/test-00000-of-00001.parquet"
LAYOUTS = (
    Layout(
        "mmbench-en-v11",
        "lmms-lab/MMBench",
        tables("en/dev-00000-of-00001.parquet", "en", "cn/test-0.parquet"),
        ("cn/",),
    ),
    Layout("mmstar", "Lin-Chen/MMStar", tables("mmstar.parquet", "val")),
    Layout("mmvet", "whyu/mm-vet", tables(TEST)),
    Layout("realworldqa", "lmms-lab/RealWorldQA", tables(TEST)),
    Layout("ai2d", "lmms-lab/ai2d", tables(TEST)),
    Layout("blink", "BLINK-Benchmark/BLINK", blink, ("/test-",)),
    Layout("mmmu-pro", "MMMU/MMMU_Pro", mmmu_pro, ("(4 options)", "vision/")),
    Layout("mmmu-pro-vision", "MMMU/MMMU_Pro", mmmu_pro, ("standard",)),
    Layout("vstar", "craigwu/vstar_bench", vstar, ("unscored",)),
    Layout("vstar", "lmms-lab/vstar-bench", tables(TEST)),
    Layout("osworld-g", "MMInstruction/OSWorld-G", tables(TEST)),
    Layout("videommmu", "lmms-lab/VideoMMMU", videommmu),
    Layout("mmvu", "yale-nlp/MMVU", mmvu),
    Layout("mmvu", "lmms-eval/MMVU", mmvu_copy),
    Layout("mlvu", "sy1998/MLVU_dev", mlvu),
    Layout("mlvu", "MLVU/MVLU", mlvu_authors, ("9_summary",)),
    Layout("vsi-bench", "nyu-visionx/VSI-Bench", vsi_bench, ("debiased",)),
    Layout("tomato", "lmms-eval/TOMATO", tomato),
)


def mini_rows(task: str) -> Rows:
    import pyarrow.parquet

    (path,) = (MINI / task).glob("*.parquet")
    rows: Rows = pyarrow.parquet.read_table(path).to_pylist()
    return rows


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


@pytest.fixture
def repos(layout: Layout, tmp_path: Path) -> list[Repo]:
    folder = tmp_path / "repository"
    folder.mkdir()
    layout.build(folder, mini_rows(layout.task))
    return [Repo("datasets", layout.repo, {"main": folder})]


def digest(ref: ImageRef | VideoRef) -> str:
    data = read_bytes(ref) if isinstance(ref, ImageRef) else (Path(ref.root or ".") / ref.path).read_bytes()
    return hashlib.sha256(data).hexdigest()


def told(one: Sample) -> list[Any]:
    labels = {name: list(values) for name, values in one.categories.items()}
    media: Sequence[Any] = one.media
    return [one.question, list(one.choices), list(one.answers), labels, [digest(ref) for ref in media]]


def test_every_later_task_has_a_layout() -> None:
    from kvl_eval.tasks import TASKS

    names = list(TASKS)
    later = names[names.index("mmbench-en-v11") :]
    assert {one.task for one in LAYOUTS} == {
        name for name in later if TASKS[name].repos and TASKS[name].episode is None
    }
    for one in LAYOUTS:
        assert one.repo in TASKS[one.task].repos, one.id
    assert {(one.task, TASKS[one.task].repos[0]) for one in LAYOUTS} <= {(one.task, one.repo) for one in LAYOUTS}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.id, indirect=True)
def test_what_loads_is_what_was_put_there(layout: Layout, hub: Hub, run: Run) -> None:
    found = run(LOAD.format(name=layout.task, repo=layout.repo, options=""))
    assert "error" not in found, found["error"]
    task = get_task(layout.task)
    expected = {one.id: told(one) for one in open_split(task, Source(), "mini")}
    if layout.build is mlvu_authors:  # rows without ids, which the seven files hold in another order
        assert sorted(map(str, found.values())) == sorted(map(str, expected.values()))
    else:
        assert found == expected
    assert [hub.fetched(part) for part in layout.unwanted] == [[]] * len(layout.unwanted)
    if layout.unwanted:  # nor is it missed in the cache
        hub.requests.clear()
        assert run(LOAD.format(name=layout.task, repo=layout.repo, options="offline=True")) == found
        assert hub.requests == []
