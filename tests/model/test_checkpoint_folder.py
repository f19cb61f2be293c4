"""Folders and repository ids; downloads are tested over a real connection elsewhere."""

from pathlib import Path

import pytest

from kvl_eval.errors import CheckpointError
from kvl_eval.model.hub import checkpoint_folder


def test_a_local_folder_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert checkpoint_folder("owner/name") == Path("owner/name")
    assert checkpoint_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "~/nowhere-at-all", "plain", "a/b/c", "owner/"])
def test_a_path_that_is_not_there_is_no_repository(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint_folder(name)
    assert caught.value.code == "model.not_found"
    assert name in caught.value.message


def test_names_that_cannot_be_repositories_are_refused() -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint_folder("owner/na me")
    assert caught.value.code == "model.not_found"
