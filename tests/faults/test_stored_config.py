"""config.yaml of a run folder, which users act on: whoever changes it is noticed, and what is gone is made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvl_eval.run.config import from_json, to_yaml
from kvl_eval.store.run_folder import RunFolder
from tests.faults.foreign_run import seal
from tests.faults.shell import FAKE, MINI, Shell, newest


@pytest.fixture
def run(shell: Shell, tmp_path: Path) -> Path:
    (tmp_path / "own.txt").write_text("Answer with one letter.\n")
    assert shell("run", *MINI, *FAKE, "--prompt-file", tmp_path / "own.txt", "-o", tmp_path / "runs").code == 0
    return newest(tmp_path / "runs")


@pytest.mark.parametrize("file", ["config.yaml", "prompt.txt"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: bytes([text[0] ^ 1]) + text[1:], id="flip"),
        pytest.param(lambda text: text[:-1], id="cut"),
        pytest.param(lambda text: b"", id="empty"),
        pytest.param(lambda text: text + b"base-url: http://127.0.0.1:1\n", id="added"),
    ],
)
def test_K8_a_change_is_damage(shell: Shell, run: Path, file: str, damage: Callable[[bytes], bytes]) -> None:
    path = run / file
    path.write_bytes(damage(path.read_bytes()))
    found = shell("verify", run)
    assert found.code == 4 and "config.changed" in found.out and file in found.out
    shell("score", run)
    assert shell("verify", run).code == 4, "score leaves what was changed for its user to look at"


@pytest.mark.parametrize("file", ["config.yaml", "prompt.txt"])
def test_K8_what_is_gone_is_a_note_and_is_written_again(shell: Shell, run: Path, file: str) -> None:
    assert shell("verify", run).code == 0
    text = (run / file).read_bytes()
    (run / file).unlink()
    found = shell("verify", run)
    assert found.code == 0 and "config.missing" in found.out and f"kvl-eval score {run}" in found.out
    assert shell("score", run).code == 0
    assert (run / file).read_bytes() == text
    again = shell("verify", run)
    assert again.code == 0 and "config.missing" not in again.out


def test_K8_a_moved_run_gets_its_own_file(shell: Shell, run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "moved")
    (moved / "config.yaml").unlink()
    assert shell("score", moved).code == 0
    assert shell("verify", moved).code == 0
    folder = RunFolder.open(moved)
    assert (moved / "config.yaml").read_text() == to_yaml(from_json(folder.manifest.config), moved / "prompt.txt")


def test_K8_a_folder_in_its_place_is_damage(shell: Shell, run: Path) -> None:
    (run / "config.yaml").unlink()
    (run / "config.yaml").mkdir()
    assert shell("verify", run).code == 4


def test_K8_a_run_of_an_earlier_version_is_whole(shell: Shell, run: Path) -> None:
    seal(run, lambda manifest: manifest.pop("config_sha256"))
    assert shell("verify", run).code == 0
