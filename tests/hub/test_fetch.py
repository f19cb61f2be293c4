"""`kvl-eval fetch`, then a run over what it brought: the four tasks with large files, from a stand-in of the hub."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.clips import write_clip, write_pdf
from tests.conftest import ROOT
from tests.hub.conftest import DATA_SET, MODEL, Kvl, data_set
from tests.hub.server import Hub, Repo
from tests.processes import running
from tests.tasks.tables import write_parquet

pytestmark = pytest.mark.slow

TOKEN = "hf_good"
OPTIONS = ["A. one", "B. two", "C. three", "D. four"]
SRT = "1\n00:00:00,000 --> 00:00:10,000\nspoken once\n"
LINES = [{"timestamp": [0.0, 0.2], "text": "hello"}]
BIG = "demo/big"
STOP = 15 * 2**20  # bytes after which the stand-in falls silent; the client writes 10 MiB at once


def card(**files: str) -> str:
    """A data set card that says which files a configuration's split has."""
    configs = [
        f"- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {path}"
        for config, (split, path) in ((name, value.split("=")) for name, value in files.items())
    ]
    return "---\nconfigs:\n" + "\n".join(configs) + "\n---\n"


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def video_mme(folder: Path, clip: bytes) -> Path:
    rows = [
        {
            **{"video_id": f"{number:03}", "duration": "short", "domain": "Knowledge", "sub_category": "Law"},
            **{"url": "u", "videoID": name, "question_id": f"{number:03}-1", "task_type": "OCR Problems"},
            **{"question": "How many?", "options": OPTIONS, "answer": "B"},
        }
        for number, name in enumerate(("one", "two"), 1)
    ]
    write_parquet(folder / "videomme" / "test-00000-of-00001.parquet", rows)
    (folder / "README.md").write_text(card(videomme="test=videomme/test-*"))
    write_zip(folder / "videos_chunked_01.zip", {"data/one.mp4": clip})
    write_zip(folder / "videos_chunked_02.zip", {"data/two.mp4": clip})
    write_zip(folder / "subtitle.zip", {"subtitle/one.srt": SRT.encode()})
    return folder


def long_video_bench(folder: Path, clip: bytes) -> Path:
    row = {
        **{"video_id": "v", "id": "v_0", "video_path": "v.mp4", "subtitle_path": "v_en.json", "question": "Who?"},
        **{"option0": "a", "option1": "b", "option2": "c", "option3": "d", "option4": "N/A", "correct_choice": 1},
        **{"question_category": "S2E", "topic_category": "NP", "duration_group": 15, "duration": 0.4},
        "starting_timestamp_for_subtitles": 0.0,
    }
    for split in ("validation", "test"):
        write_parquet(folder / f"{split}-00000-of-00001.parquet", [row])
    (folder / "README.md").write_text(card(default="validation=validation-*"))
    whole = write_tar(folder / "videos.tar", {"videos/v.mp4": clip, "videos/other.mp4": clip})
    data = whole.read_bytes()
    whole.unlink()
    for number, letters in enumerate(("aa", "ab", "ac")):
        (folder / f"videos.tar.part.{letters}").write_bytes(data[number * 3000 : (number + 1) * 3000 or None])
    (folder / "videos.tar.part.ac").write_bytes(data[6000:])
    write_tar(folder / "subtitles.tar", {"./subtitles/v_en.json": json.dumps(LINES).encode()})
    return folder


def ego_schema(folder: Path, clip: bytes) -> Path:
    row = {"question_idx": "0", "question": "What?", "video_idx": "u-1", "option": [*OPTIONS, "E. five"]}
    write_parquet(folder / "Subset" / "test-00000-of-00001.parquet", [{**row, "answer": "1"}])
    write_parquet(folder / "MC" / "test-00000-of-00001.parquet", [{**row, "answer": None}])
    (folder / "README.md").write_text(card(Subset="test=Subset/test-*", MC="test=MC/test-*"))
    write_zip(folder / "videos_chunked_01.zip", {"videos/u-1.mp4": clip})
    return folder


def documents(folder: Path) -> Path:
    row = {"doc_id": "d.pdf", "doc_type": "Brochure", "question": "How many?", "answer": "B", "answer_format": "Str"}
    more = {"evidence_pages": "[1]", "evidence_sources": "['Chart']"}
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", [{**row, **more}])
    (folder / "README.md").write_text(card(default="train=data/train-*"))
    (folder / "documents").mkdir()
    write_pdf(folder / "documents" / "d.pdf", 2, (153, 198))
    return folder


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> list[Repo]:
    root = tmp_path_factory.mktemp("large")
    clip = write_clip(root / "clip.mp4", 10).read_bytes()
    big = video_mme(root / "big", clip)
    write_zip(big / "videos_chunked_01.zip", {"data/one.mp4": random.Random(0).randbytes(24 * 2**20)})
    newer = video_mme(root / "newer", clip + b"\0")
    wrong = video_mme(root / "wrong", clip)
    write_zip(wrong / "videos_chunked_02.zip", {"../two.mp4": clip})
    tiny = ROOT / "tests" / "data" / "kimi_vl" / "tiny_checkpoint"
    long = long_video_bench(root / "lvb", clip)
    return [
        Repo("datasets", "lmms-lab/Video-MME", {"main": video_mme(root / "mme", clip), "v2": newer}),
        Repo("datasets", "lmms-lab/egoschema", {"main": ego_schema(root / "ego", clip)}),
        Repo("datasets", "yubo2333/MMLongBench-Doc", {"main": documents(root / "doc")}),
        Repo("datasets", "longvideobench/LongVideoBench", {"main": long}, gated=True, token=TOKEN, lists=True),
        Repo("datasets", BIG, {"main": big}),
        Repo("datasets", DATA_SET, {"main": data_set(root / "pictures")}),
        Repo("datasets", "demo/wrong", {"main": wrong}),
        Repo("models", MODEL, {"main": tiny}),
    ]


def unpacked(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and ".fetch" not in path.parts}


def media(tmp_path: Path, repo: str) -> Path:
    return tmp_path / "hf" / "kvl-eval" / "media" / repo.replace("/", "--")


def answered(kvl: Kvl, task: str, *options: str, **environment: str) -> dict[str, Any]:
    """The first row of a run's results with a fake model that always says B."""
    model = ("--model", "fake", "--model-args", "answers=constant:B")
    done = kvl("run", "--task", task, *model, *options, "--json", "--no-progress", **environment)
    assert done.returncode == 0, done.stderr
    row: dict[str, Any] = json.loads(done.stdout)["rows"][0]
    return row


CASES = [
    pytest.param(
        *("videomme-subs", "test", "lmms-lab/Video-MME", {"data/one.mp4", "data/two.mp4", "subtitle/one.srt"}),
        marks=pytest.mark.slow,
        id="videomme-subs",
    ),
    pytest.param(
        *("longvideobench", "validation", "longvideobench/LongVideoBench"),
        {"videos/v.mp4", "videos/other.mp4", "subtitles/v_en.json"},
        id="longvideobench",
    ),
    pytest.param(
        *("egoschema", "subset", "lmms-lab/egoschema", {"videos/u-1.mp4"}), marks=pytest.mark.slow, id="egoschema"
    ),
    pytest.param(
        *("mmlongbench-doc", "train", "yubo2333/MMLongBench-Doc", set()), marks=pytest.mark.slow, id="mmlongbench-doc"
    ),
]


@pytest.mark.parametrize(("task", "split", "repo", "files"), CASES)
def test_fetch_then_check_then_run_offline_then_score(
    hub: Hub, kvl: Kvl, tmp_path: Path, task: str, split: str, repo: str, files: set[str]
) -> None:
    done = kvl("fetch", task, "--json", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["missing"] == []
    assert told["samples"] >= 1
    assert unpacked(media(tmp_path, repo)) == files if files else told["folder"] is None
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".zip", ".tar", ".aa") and path.is_file()]
    hub.requests.clear()
    checked = kvl("check", "data", task, "--offline", "--json")
    assert [one["code"] for one in json.loads(checked.stdout)["problems"]] == [], checked.stdout
    row = answered(kvl, task, "--split", split, "--offline")
    assert (row["n_scored"], row["score"]) == (told["samples"], 1.0)
    assert hub.requests == []
    (folder,) = (path.parent for path in (tmp_path / "results").glob("*/run.json"))
    scored = kvl("score", str(folder), "--json")
    assert scored.returncode == 0, scored.stderr


@pytest.mark.slow
def test_sizes_are_shown_first_and_a_second_fetch_brings_nothing(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    first = kvl("fetch", "videomme")
    assert first.returncode == 0, first.stderr
    assert "videomme: 2 archives of" in first.stderr
    assert "2 to unpack" in first.stderr.splitlines()[0]
    assert "videomme: 2 samples, 2 files, all present" in first.stderr
    hub.requests.clear()
    again = kvl("fetch", "videomme")
    assert "0 to unpack, 0 kB to download" in again.stderr
    assert not hub.fetched(".zip")
    both = kvl("fetch", "videomme,videomme-subs")
    assert both.returncode == 0
    assert hub.fetched(".zip") == [
        "datasets/lmms-lab/Video-MME/resolve/" + hub.fetched(".zip")[0].split("/")[-2] + "/subtitle.zip"
    ]
    (media(tmp_path, "lmms-lab/Video-MME") / "data" / "one.mp4").unlink()
    hub.requests.clear()
    kvl("fetch", "videomme")
    assert [path.rsplit("/", 1)[1] for path in hub.fetched(".zip")] == ["videos_chunked_01.zip"]
    assert (media(tmp_path, "lmms-lab/Video-MME") / "data" / "one.mp4").is_file()


@pytest.mark.slow
def test_a_revision_has_a_folder_of_its_own(kvl: Kvl, tmp_path: Path) -> None:
    repo = "lmms-lab/Video-MME"
    for option in (repo, f"{repo}@v2"):
        assert kvl("fetch", "videomme", "--data-repo", option).returncode == 0
    sizes = [(media(tmp_path, name) / "data" / "one.mp4").stat().st_size for name in (repo, f"{repo}@v2")]
    assert sizes[1] == sizes[0] + 1
    assert answered(kvl, "videomme", "--data-repo", f"{repo}@v2", "--offline", "--split", "test")["n_scored"] == 2


@pytest.mark.slow
def test_a_cache_folder_and_kept_archives(kvl: Kvl, tmp_path: Path) -> None:
    done = kvl("fetch", "egoschema", "--cache-dir", "own", "--keep-archives")
    assert done.returncode == 0, done.stderr
    home = tmp_path / "own" / "media" / "lmms-lab--egoschema"
    assert unpacked(home) == {"videos/u-1.mp4"}
    assert len(list((home / ".fetch" / "archives").rglob("*.zip"))) == 1
    assert answered(kvl, "egoschema", "--cache-dir", "own", "--offline", "--split", "subset")["score"] == 1.0


def test_killed_in_the_middle_of_a_download_it_goes_on_there(
    hub: Hub, kvl: Kvl, environment: dict[str, str], tmp_path: Path
) -> None:
    name = "videos_chunked_01.zip"
    hub.stalls[name] = STOP
    with running(
        [sys.executable, "-m", "kvl_eval", "fetch", "videomme", "--data-repo", BIG],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        deadline = time.monotonic() + 100
        while not any(path.stat().st_size for path in tmp_path.rglob("*.incomplete")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    hub.stalls.clear()
    (draft,) = tmp_path.rglob("*.incomplete")
    size = draft.stat().st_size
    assert 2**20 <= size <= STOP
    hub.ranges.clear()
    done = kvl("fetch", "videomme", "--data-repo", BIG)
    assert done.returncode == 0, done.stderr
    assert [start for file, start in hub.ranges if file == name] == [size]
    assert (media(tmp_path, BIG) / "data" / "one.mp4").stat().st_size == 24 * 2**20
    assert not list(tmp_path.rglob("*.incomplete"))


@pytest.mark.slow
def test_a_connection_that_breaks_is_taken_up_again(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    hub.breaks["videos_chunked_01.zip"] = STOP
    done = kvl("fetch", "videomme", "--data-repo", BIG)
    assert done.returncode == 0, done.stderr
    starts = [start for file, start in hub.ranges if file == "videos_chunked_01.zip"]
    assert starts[0] == 0 and len(starts) == 2 and starts[1] > 0
    assert (media(tmp_path, BIG) / "data" / "one.mp4").stat().st_size == 24 * 2**20


@pytest.mark.slow
def test_a_gated_set_says_what_to_accept_and_what_to_set(hub: Hub, kvl: Kvl) -> None:
    for token in ({}, {"HF_TOKEN": "hf_bad"}):  # 401, then 403
        done = kvl("fetch", "longvideobench", **token)
        assert done.returncode == 4
        assert "data.gated" in done.stderr and "Traceback" not in done.stderr
        assert f"accept its terms at {hub.url}/datasets/longvideobench/LongVideoBench" in done.stderr
        assert "HF_TOKEN" in done.stderr
        assert "hf_bad" not in done.stderr


@pytest.mark.slow
def test_offline_is_refused(hub: Hub, kvl: Kvl) -> None:
    for done in (kvl("fetch", "egoschema", "--offline"), kvl("fetch", MODEL, HF_HUB_OFFLINE="1")):
        assert done.returncode == 4
        assert done.stderr.startswith("error[data.offline]")
    assert hub.requests == []


@pytest.mark.slow
def test_a_run_fetches_small_archives_and_says_offline_what_is_missing(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    refused = kvl("run", "--task", "egoschema", "--model", "fake", "--split", "subset", "--offline")
    assert refused.returncode == 4
    assert "kvl-eval fetch egoschema" in refused.stderr
    planned = kvl("run", "--task", "egoschema", "--model", "fake", "--split", "subset", "--dry-run")
    assert "kvl-eval fetch egoschema" in planned.stderr
    assert not hub.fetched(".zip")
    assert answered(kvl, "egoschema", "--split", "subset")["score"] == 1.0
    assert unpacked(media(tmp_path, "lmms-lab/egoschema")) == {"videos/u-1.mp4"}


@pytest.mark.slow
def test_large_downloads_need_a_yes(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    """The stand-in announces three gigabytes and is never asked for one."""
    repo = hub.repos[1]
    source = repo.revisions["main"] / "videos_chunked_01.zip"
    folder = tmp_path / "huge"
    shutil.copytree(source.parent, folder)
    with open(folder / "videos_chunked_02.zip", "wb") as file:
        file.truncate(3 * 10**9)
    hub.repos = [Repo("datasets", repo.name, {"main": folder})]
    for done in (
        kvl("fetch", "egoschema"),
        kvl("run", "--task", "egoschema", "--model", "fake", "--split", "subset"),
    ):
        assert done.returncode == 4
        assert "data.too_large" in done.stderr and "3.0 GB" in done.stderr and "--yes" in done.stderr
    assert not hub.fetched(".zip")


@pytest.mark.slow
def test_a_hostile_archive_stops_the_fetch_and_writes_nothing_outside(kvl: Kvl, tmp_path: Path) -> None:
    done = kvl("fetch", "videomme", "--data-repo", "demo/wrong")
    assert done.returncode == 4
    assert "data.archive" in done.stderr and "../two.mp4" in done.stderr
    assert unpacked(media(tmp_path, "demo/wrong")) == {"data/one.mp4"}
    assert [path for path in tmp_path.rglob("two.mp4")] == []


@pytest.mark.slow
def test_archives_in_a_local_folder_are_unpacked_there(hub: Hub, kvl: Kvl, tmp_path: Path) -> None:
    shutil.copytree(hub.repos[3].revisions["main"], tmp_path / "data")
    done = kvl("fetch", "longvideobench", "--data-dir", "data", "--offline")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "videos.tar.part.aa").is_file()
    assert answered(kvl, "longvideobench", "--data-dir", "data")["score"] == 1.0
    assert hub.requests == []
    (tmp_path / "data" / "videos.tar.part.ab").unlink()
    (tmp_path / "data" / "videos" / "v.mp4").unlink()
    done = kvl("fetch", "longvideobench", "--data-dir", "data")
    assert done.returncode == 4
    assert "videos.tar.part.ab is missing" in done.stderr


@pytest.mark.slow
def test_a_model(hub: Hub, kvl: Kvl) -> None:
    done = kvl("fetch", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    assert "files" in done.stderr.splitlines()[0]
    (told,) = json.loads(done.stdout)
    assert (Path(told["folder"]) / "model-00002-of-00002.safetensors").is_file()
    hub.requests.clear()
    again = kvl("fetch", MODEL)
    assert "0 files" in again.stderr.splitlines()[0]
    assert not hub.fetched("safetensors")


@pytest.mark.slow
def test_a_set_of_pictures(hub: Hub, kvl: Kvl) -> None:
    done = kvl("fetch", "mathvista", "--data-repo", DATA_SET)
    assert done.returncode == 0, done.stderr
    assert "mathvista: 1 file to download, " in done.stderr
    assert "mathvista: 3 samples, all present" in done.stderr
    hub.requests.clear()
    row = answered(kvl, "mathvista", "--data-repo", DATA_SET, "--split", "testmini", "--offline")
    assert row["n_scored"] == 3
    assert hub.requests == []


@pytest.mark.slow
def test_two_fetches_at_once_do_not_meet(hub: Hub, kvl: Kvl, environment: dict[str, str], tmp_path: Path) -> None:
    hub.stalls["videos_chunked_01.zip"] = 1000
    arguments = [sys.executable, "-m", "kvl_eval", "fetch", "egoschema"]
    with running(arguments, env={**environment, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, stderr=subprocess.DEVNULL):
        deadline = time.monotonic() + 100
        while not hub.fetched(".zip"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = kvl("fetch", "egoschema")
        assert second.returncode == 2
        assert "usage.busy" in second.stderr
        hub.stalls.clear()
    assert kvl("fetch", "egoschema").returncode == 0


@pytest.mark.slow
def test_wrong_names_are_told(kvl: Kvl) -> None:
    done = kvl("fetch", "videomm")
    assert done.returncode == 2
    assert "did you mean videomme, " in done.stderr
    assert kvl("fetch").returncode == 2
