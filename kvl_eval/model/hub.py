"""Where a checkpoint lies: a local folder as it is, or a repository of the Hugging Face hub, downloaded and cached."""

import os
from collections.abc import Callable
from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.files import is_there
from kvl_eval.model.forms import file_refusal

FILES = ["*.json", "*.safetensors", "tiktoken.model", "*.jinja"]  # never pickles, never code
FILES_WITHOUT_WEIGHTS = ["*.json", "tiktoken.model", "*.jinja"]


def checkpoint_folder(
    path_or_repo: str | Path,
    revision: str | None = None,
    *,
    weights: bool = True,
    offline: bool = False,
    max_download: int | None = None,
    announce: Callable[[int, int], None] | None = None,
) -> Path:
    """The folder of a checkpoint; a repository id is downloaded first, without weights if they are not needed.

    The environment of huggingface_hub applies: HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME, HF_TOKEN. With `offline` only its
    cache is used. More than `max_download` bytes that the cache lacks are not fetched; `announce` gets the number of
    files and bytes beforehand, and may raise to forbid it.
    Raises: CheckpointError, if there is no such folder or repository, or if it cannot be reached.
    """
    folder = Path(path_or_repo).expanduser()
    if folder.is_dir():
        return _snapshot(folder, revision)
    if is_there(folder):
        raise file_refusal(folder)
    name = os.fspath(path_or_repo)
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or name.endswith("/"):
        raise CheckpointError(
            "model.not_found",
            f"no such folder: {name}",
            why="a model is a folder or a Hugging Face repository id",
            fix="check the path, or use an id such as moonshotai/Kimi-VL-A3B-Instruct",
        )
    return _download(name, revision, FILES if weights else FILES_WITHOUT_WEIGHTS, offline, max_download, announce)


def _snapshot(folder: Path, revision: str | None) -> Path:
    """The folder itself, or, of a repository in the hub's cache, the snapshot of a revision, `main`, or the only one.

    Raises: CheckpointError, where there are several and nothing says which is meant.
    """
    if not (folder / "snapshots").is_dir() or is_there(folder / "config.json"):
        return folder
    reference = folder / "refs" / (revision or "main")
    named = reference.read_text("utf-8").strip() if reference.is_file() else revision
    if named is not None and (folder / "snapshots" / named).is_dir():
        return folder / "snapshots" / named
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    if len(snapshots) == 1 and revision is None:
        return snapshots[0]
    names = ", ".join(path.name for path in snapshots) or "none"
    raise CheckpointError(
        "model.revision",
        f"{folder.name} is the cache of a repository, without a snapshot of {revision or 'main'}",
        where=str(folder / "snapshots"),
        why=f"snapshots: {names}",
        fix="use the folder of one of them",
    )


def _before_download(
    repo: str,
    revision: str | None,
    patterns: list[str],
    limit: int | None,
    announce: Callable[[int, int], None] | None,
) -> None:
    from huggingface_hub import snapshot_download

    found = snapshot_download(repo, revision=revision, allow_patterns=patterns, dry_run=True)
    sizes = [file.file_size or 0 for file in found if file.will_download]
    missing = sum(sizes)
    if announce is not None:
        announce(len(sizes), missing)
    if limit is not None and missing > limit:
        raise CheckpointError(
            "model.too_large",
            f"{repo} is a download of {missing / 1e9:.1f} GB",
            why=f"downloads over {limit / 1e9:.1f} GB need --yes",
            fix="add --yes, or use a folder with the checkpoint",
        )


def _download(
    repo: str,
    revision: str | None,
    patterns: list[str],
    offline: bool,
    limit: int | None,
    announce: Callable[[int, int], None] | None,
) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = repo if revision is None else f"{repo}@{revision}"
    try:
        if (limit is not None or announce is not None) and not offline:
            _before_download(repo, revision, patterns, limit, announce)
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=offline))
    except GatedRepoError:
        code, message, fix = (
            "model.gated",
            f"{repo} is gated",
            "accept its terms on the Hugging Face Hub and set HF_TOKEN",
        )
    except RepositoryNotFoundError:
        code, message, fix = (
            "model.not_found",
            f"the Hugging Face Hub has no model {repo}",
            "check the name, or use a folder",
        )
    except RevisionNotFoundError:
        code, message, fix = "model.revision", f"{repo} has no revision {revision}", "check the revision"
    except HFValidationError:
        code, message, fix = "model.not_found", f"{repo} is not a folder and not a repository id", "check the name"
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        code, message = "model.offline", f"{repo} is not cached, and the Hugging Face Hub cannot be reached"
        fix = "connect once, or use a folder with the checkpoint"
    except (HfHubHTTPError, HTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        code, message = "model.download", f"cannot download {repo}: {reason}"
        fix = "run the same command again; finished files are kept"
    raise CheckpointError(code, message, where=where, fix=fix)
