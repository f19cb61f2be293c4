"""Read a data set of the Hugging Face hub: only the files of the split that is wanted, at one fixed revision.

`datasets` says which files a split has, `huggingface_hub` brings them into its cache (resumable, `HF_ENDPOINT` and
`HF_HUB_OFFLINE` honoured), and they are read where they lie, picture by picture. `load_dataset` itself would fetch
every split and write all of it a second time; it serves where the files are of another kind, and where only its own
cache holds the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any

from kvl_eval.errors import DataError, InputError
from kvl_eval.rows import Row
from kvl_eval.sources.base import STRICT, Reporter, Source, Tables
from kvl_eval.sources.local import SUFFIXES, find_files, read_file

CONNECT_SECONDS = 5.0


def read_hub(source: Source, split: str, tables: Tables, reporter: Reporter = STRICT) -> Iterator[Row]:
    """The rows of a split of `source.repo`, pictures undecoded.

    Raises: DataError: `data.missing` (no such repository, revision, configuration or split), `data.gated`,
            `data.offline`, `data.too_large`, and those of `local.read_file`.
    """
    with clear_errors(source, split, tables.task):
        paths = _files(source, split, tables, reporter)
    if paths is None:
        yield from _through_load_dataset(source, split, tables)
        return
    for path in paths:
        for row in read_file(path, _snapshot_of(path), tables):
            yield Row(row.values, f"{source.repo}/{row.where}")


def fetch_files(source: Source, patterns: Sequence[str], *, task: str, reporter: Reporter = STRICT) -> Source:
    """`source` with those files of its repository in a local folder, for tables that name files beside them.

    A source that is a local folder already comes back as it is. Files are in the hub client's cache, and are not
    fetched twice. Raises: DataError `data.missing`, `data.gated`, `data.offline`, `data.too_large`.
    """
    if source.data_dir is not None or source.repo is None:
        return source
    from huggingface_hub import snapshot_download

    offline = is_offline(source)
    with clear_errors(source, ", ".join(patterns), task):
        if not offline:
            _require_hub()
            _before_download(source, patterns, task, reporter)
        folder = snapshot_download(
            source.repo,
            repo_type="dataset",
            revision=source.revision,
            cache_dir=None if source.cache_dir is None else str(source.cache_dir / "hub"),
            allow_patterns=list(patterns),
            local_files_only=offline,
        )
    return replace(source, data_dir=Path(folder))


def _files(source: Source, split: str, tables: Tables, reporter: Reporter) -> list[Path] | None:
    """Local paths of the split's files, downloaded where need be; None where only `load_dataset` can read them."""
    if is_offline(source):
        return _cached_files(source, split, tables)
    import datasets
    from huggingface_hub import HfApi

    assert source.repo is not None
    _require_hub()
    builder = datasets.load_dataset_builder(
        source.repo, tables.config, revision=source.revision, cache_dir=_datasets_cache(source)
    )
    files = dict(builder.config.data_files or {})
    if split not in files:
        raise _no_split(source, split, sorted(files), tables.task)
    urls = list(files[split])
    if not all(url.startswith("hf://datasets/") and url.endswith(SUFFIXES) for url in urls):
        return None
    places = [_split_url(url) for url in urls]
    api = HfApi()
    pinned = replace(source, revision=places[0][0])
    _before_download(pinned, [escape(name) for _, name in places], tables.task, reporter)
    cache = None if source.cache_dir is None else str(source.cache_dir / "hub")
    # Asked for by its name, a revision is remembered in the cache, so that it is found offline too.
    api.hf_hub_download(source.repo, places[0][1], repo_type="dataset", revision=source.revision, cache_dir=cache)
    return [
        Path(api.hf_hub_download(source.repo, name, repo_type="dataset", revision=commit, cache_dir=cache))
        for commit, name in places
    ]


def _require_hub() -> None:
    """Raises TransportError of httpx at once where there is no hub; its clients try for half a minute."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=CONNECT_SECONDS)


def _cached_files(source: Source, split: str, tables: Tables) -> list[Path] | None:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    assert source.repo is not None
    try:
        folder = snapshot_download(
            source.repo,
            repo_type="dataset",
            revision=source.revision,
            cache_dir=None if source.cache_dir is None else str(source.cache_dir / "hub"),
            local_files_only=True,
        )
        return find_files(Path(folder), split, tables)
    except (LocalEntryNotFoundError, DataError):
        # The cache of `datasets` cannot be asked for a revision, and goes online unless its environment forbids it.
        if source.revision is not None or not constants.HF_HUB_OFFLINE:
            raise _offline(source, split, tables.task) from None
        return None


def _through_load_dataset(source: Source, split: str, tables: Tables) -> Iterator[Row]:
    import datasets

    assert source.repo is not None
    with clear_errors(source, split, tables.task):
        table = datasets.load_dataset(
            source.repo, tables.config, split=split, revision=source.revision, cache_dir=_datasets_cache(source)
        )
    for name, feature in table.features.items():
        table = table.cast_column(name, _undecoded(feature))
    tables.check(table.column_names, f"{source.repo} {split}")
    for number, values in enumerate(table, 1):
        yield Row(dict(values), f"{source.repo} {split} row {number}")


def _undecoded(feature: Any) -> Any:
    """`feature` with pictures left as {"bytes", "path"}, lists of pictures too."""
    import datasets

    if isinstance(feature, datasets.Image):
        return datasets.Image(decode=False)
    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.Image):
        return type(feature)(datasets.Image(decode=False))
    return feature


@contextmanager
def clear_errors(source: Source, split: str, task: str) -> Iterator[None]:
    """The clients' errors as one DataError each."""
    import httpx2
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except InputError:
        raise
    except GatedRepoError as error:
        raise _gated(source, task, str(error)) from None
    except RevisionNotFoundError as error:
        raise _not_found(source, task, f"unknown revision {source.revision!r}: {_first_line(error)}") from None
    except (RepositoryNotFoundError, DatasetNotFoundError) as error:
        if "gated" in str(error):
            raise _gated(source, task, str(error)) from None
        raise _not_found(source, task, _first_line(error)) from None
    except (OfflineModeIsEnabled, LocalEntryNotFoundError):
        raise _offline(source, split, task) from None
    except (ConnectionError, httpx2.TransportError) as error:
        if is_offline(source):
            raise _offline(source, split, task) from None
        raise _unreachable(source, task, _first_line(error)) from None
    except HfHubHTTPError as error:
        raise _unreachable(source, task, _first_line(error)) from None
    except (DatasetsError, ValueError, FileNotFoundError) as error:
        raise _not_found(source, task, _first_line(error)) from None


def is_offline(source: Source) -> bool:
    """Whether nothing may be fetched: asked for by `source`, or by `HF_HUB_OFFLINE`."""
    from huggingface_hub import constants

    return source.offline or bool(constants.HF_HUB_OFFLINE)


def _split_url(url: str) -> tuple[str, str]:
    """(commit, path in the repository) of `hf://datasets/owner/name@commit/path`."""
    repo_and_commit, _, tail = url.removeprefix("hf://datasets/").partition("@")
    del repo_and_commit
    commit, _, name = tail.partition("/")
    return commit, name


def _snapshot_of(path: Path) -> Path:
    """The folder `snapshots/<commit>` that `path` lies in."""
    for parent in path.parents:
        if parent.parent.name == "snapshots":
            return parent
    return path.parent


def _datasets_cache(source: Source) -> str | None:
    return None if source.cache_dir is None else str(source.cache_dir / "datasets")


def _before_download(source: Source, patterns: Sequence[str], task: str, reporter: Reporter) -> None:
    """Count what the cache lacks, report it, and refuse it where it is more than `source.max_download`."""
    if source.max_download is None and reporter.download is None:
        return
    from huggingface_hub import HfApi, try_to_load_from_cache

    assert source.repo is not None
    cache = None if source.cache_dir is None else str(source.cache_dir / "hub")
    info = HfApi().dataset_info(source.repo, revision=source.revision, files_metadata=True)
    lacking = [
        one.size or 0
        for one in info.siblings or []
        if any(fnmatchcase(one.rfilename, pattern) for pattern in patterns)
        and not isinstance(
            try_to_load_from_cache(source.repo, one.rfilename, cache, info.sha, repo_type="dataset"), str
        )
    ]
    _refuse_large(sum(lacking), source, task)
    if reporter.download is not None:
        reporter.download(len(lacking), sum(lacking))


def _refuse_large(total: int, source: Source, task: str) -> None:
    """Raises DataError `data.too_large` where `total` bytes are more than `source.max_download`."""
    if source.max_download is not None and total > source.max_download:
        raise DataError(
            "data.too_large",
            f"{task}: the split is a download of {total / 1e9:.1f} GB",
            where=f"hub data set {source.repo}",
            why=f"downloads over {source.max_download / 1e9:.1f} GB need --yes",
            fix="add --yes, or use --data-dir with a local copy",
        )


def _place(source: Source) -> str:
    return f"hub data set {source.repo}" + (f"@{source.revision}" if source.revision else "")


def _not_found(source: Source, task: str, why: str) -> DataError:
    return DataError(
        "data.missing",
        f"{task}: the data set cannot be loaded",
        where=_place(source),
        why=why,
        fix="check --data-repo, or use --data-dir with a local copy",
    )


def _no_split(source: Source, split: str, present: Sequence[str], task: str) -> DataError:
    return DataError(
        "data.missing",
        f"{task}: {split!r} not found",
        where=_place(source),
        why=f"it contains {', '.join(present) or 'no data files'}",
        fix="check --split",
    )


def _gated(source: Source, task: str, why: str) -> DataError:
    from huggingface_hub import constants

    page = f"{constants.ENDPOINT}/datasets/{source.repo}"
    return DataError(
        "data.gated",
        f"{task}: the data set is gated",
        where=_place(source),
        why=why.splitlines()[0][:200],
        fix=f"accept its terms at {page}, then set HF_TOKEN or run `hf auth login`; or use --data-dir with a local "
        "copy",
    )


def _offline(source: Source, split: str, task: str) -> DataError:
    return DataError(
        "data.offline",
        f"{task}: {split!r} is not cached",
        where=_place(source),
        why="offline mode is on",
        fix="run once with a connection, or use --data-dir with a local copy",
    )


def _unreachable(source: Source, task: str, why: str) -> DataError:
    return DataError(
        "data.unreachable",
        f"{task}: cannot reach the Hugging Face Hub",
        where=_place(source),
        why=why,
        fix="check the connection and HF_ENDPOINT, or use --split mini, --data-dir or --offline with cached data",
    )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
