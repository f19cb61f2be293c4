"""OSWorld's task files, read by type: setup steps, evaluators, what a task needs, and which files it downloads.

A task file decides what the original environment does on this machine: it names files that are read and written here.
Names that lead anywhere but into the task's own cache folder are refused.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from kvl_eval.decode import Json, Others, decode, omitted, unknown_fields
from kvl_eval.errors import DataError, DecodeError

ACCOUNT_STEPS = ("googledrive", "login")
LIVE_STEPS = ("chrome_open_tabs",)
LIVE_GETTERS = ("active_tab_html_parse", "active_tab_info", "active_tab_url_parse", "info_from_website", "page_info")
SHELL_GETTERS = ("default_video_player", "vm_terminal_output", "vm_wallpaper")
SHELL_FUNCTIONS = ("check_gnome_favorite_apps",)
NOT_IN_DEBIAN = {"thunderbird": "thunderbird", "vs_code": "vs_code", "vscode": "vs_code"}
_ADDRESS = re.compile(r"https?://(?!localhost|127\.)|\bwww\.")
_LOCAL_KEYS = ("dest", "stdout", "stderr")  # names of files that the environment writes here


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStep:
    """One thing to do before an episode, or before it is judged: what, and with which parameters."""

    type: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    others: Others = unknown_fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Getter:
    """Where an evaluator gets a value: its kind, and what that kind needs. Without a kind there is no value."""

    type: str = ""
    others: Others = unknown_fields()


Getters = Getter | tuple[Getter | None, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvaluator:
    """How an episode is judged.

    Attributes:
        func:       names of the functions, in order.
        conj:       whether all of several count, or the best.
        result:     where each function's value comes from.
        expected:   what it is compared with.
        options:    of each function.
        postconfig: what is done first.
        others:     fields of a later version.
    """

    func: str | tuple[str, ...]
    conj: Literal["and", "or"] = "and"
    result: Getters = None
    expected: Getters = None
    options: Json = None
    postconfig: tuple[SetupStep, ...] = ()
    others: Others = unknown_fields()

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the functions."""
        return (self.func,) if isinstance(self.func, str) else self.func

    @property
    def getters(self) -> tuple[Getter, ...]:
        """Every getter that has a kind."""
        several = [value if isinstance(value, tuple) else (value,) for value in (self.result, self.expected)]
        return tuple(getter for getters in several for getter in getters if getter is not None and getter.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """One file `evaluation_examples/examples/DOMAIN/ID.json`.

    Attributes:
        id:           the task's own id.
        instruction:  what the agent is to do.
        snapshot:     of the official image.
        source:       pages that the task comes from.
        config:       what is done before the first step.
        trajectory:   a folder of the authors.
        related_apps: names of applications.
        evaluator:    how the episode is judged.
        proxy:        whether the authors used a proxy.
        fixed_ip:     whether the machine's address must not change.
        possibility_of_env_change: `low`, `medium` or `high`: whether a page that the task visits may change.
        hint:         of a few tasks.
        others:       fields of a later version.
    """

    id: str
    instruction: str
    snapshot: str = ""
    source: str | tuple[str, ...] = ""
    config: tuple[SetupStep, ...] = ()
    trajectory: str = ""
    related_apps: tuple[str, ...] = ()
    evaluator: TaskEvaluator
    proxy: bool = False
    fixed_ip: bool = False
    possibility_of_env_change: str = ""
    hint: str | None = omitted()
    others: Others = unknown_fields()

    @property
    def steps(self) -> tuple[SetupStep, ...]:
        """All that is done before the episode and before it is judged."""
        return (*self.config, *self.evaluator.postconfig)


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file that a task downloads, and what the original environment calls it in the task's cache folder."""

    url: str
    name: str


def task_file(value: object, where: str) -> TaskFile:
    """A task file's content. Raises: DataError `data.field`, also for a name that leaves the task's cache folder."""
    try:
        task = decode(TaskFile, value, "task")
    except DecodeError as error:
        raise DataError("data.field", f"osworld: {error.message}", where=where) from None
    names = [task.id, *_local_names(task)]
    for name in names:
        if not _is_plain(name):
            raise DataError(
                "data.field",
                f"osworld: {name!r} is not a file name",
                where=where,
                why="it would be read or written outside the task's cache folder",
                fix="use the task files of xlang-ai/OSWorld",
            )
    return task


def needs(task: TaskFile) -> tuple[str, ...]:
    """What keeps a task from a desktop without the official image, accounts and the internet, the strongest first.

    `account`, `network`, `download`, `application vs_code`, `gnome shell`.
    """
    kinds = {step.type for step in task.steps}
    getters = {getter.type for getter in task.evaluator.getters}
    missing = sorted({NOT_IN_DEBIAN[name] for name in task.related_apps if name in NOT_IN_DEBIAN})
    reasons = {
        "account": bool(kinds & set(ACCOUNT_STEPS)) or "googledrive_file" in getters,
        "network": task.proxy
        or bool(kinds & set(LIVE_STEPS))
        or bool(getters & set(LIVE_GETTERS))
        or any(_ADDRESS.search(text) for text in _other_texts(task)),
        "download": bool(cached_files(task)),
        **{f"application {name}": True for name in missing},
        "gnome shell": bool(getters & set(SHELL_GETTERS)) or bool(set(task.evaluator.functions) & set(SHELL_FUNCTIONS)),
    }
    return tuple(name for name, is_needed in reasons.items() if is_needed)


def cached_files(task: TaskFile) -> tuple[CachedFile, ...]:
    """The files that a task downloads, each once.

    Source: desktop_env 1.0.2, `controllers/setup.py: _download_setup` and `evaluators/getters/file.py: get_cloud_file`.
    """
    files = [CachedFile(url, _download_name(url, path)) for url, path in _downloads(task)]
    for getter in task.evaluator.getters:
        if getter.type == "cloud_file":
            urls, names = (_texts(getter.others.get(key)) for key in ("path", "dest"))
            files += [CachedFile(url, name) for url, name in zip(urls, names, strict=False) if _ADDRESS.match(url)]
    return tuple(dict.fromkeys(files))


def _downloads(task: TaskFile) -> Iterator[tuple[str, str]]:
    """(address, path on the desktop) of every download step."""
    for step in task.steps:
        if step.type != "download":
            continue
        files = step.parameters.get("files")
        for entry in files if isinstance(files, list) else ():
            if isinstance(entry, Mapping):
                yield str(entry.get("url", "")), str(entry.get("path", ""))


def _download_name(url: str, path: str) -> str:
    return f"{uuid.uuid5(uuid.NAMESPACE_URL, url)}_{PurePosixPath(path).name}"


def _local_names(task: TaskFile) -> Iterator[str]:
    """Every name of a file of this machine that a task holds."""
    for values in (*(step.parameters for step in task.steps), *(getter.others for getter in task.evaluator.getters)):
        for key in _LOCAL_KEYS:
            yield from (name for name in _texts(values.get(key)) if name)
    for getter in task.evaluator.getters:
        if getter.type == "cache_file":
            yield from _texts(getter.others.get("path"))
    for step in task.steps:
        if step.type in ("upload_file", "upload"):
            yield from _below(step.parameters, "local_path")


def _below(value: Json | Mapping[str, Json], key: str) -> Iterator[str]:
    """Every text under that key, at any depth."""
    if isinstance(value, Mapping):
        yield from _texts(value.get(key))
        for item in value.values():
            yield from _below(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _below(item, key)


def _other_texts(task: TaskFile) -> Iterator[str]:
    """Every text of a task that is not the address of a file to be downloaded."""
    for step in task.steps:
        if step.type != "download":
            yield from _leaves(dict(step.parameters))
    for getter in task.evaluator.getters:
        if getter.type not in ("cloud_file", "rule"):
            yield from _leaves(dict(getter.others))


def _leaves(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)


def _texts(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_plain(name: str) -> bool:
    """Whether a name stays in the folder it is put into."""
    return name not in ("", ".", "..") and not any(letter in name for letter in "/\\\0") and len(name.encode()) <= 255


def hub_place(url: str, repo: str) -> str | None:
    """The path of an address in a hub data set, unquoted; None for any other address."""
    parts = urlsplit(url)
    start = f"/datasets/{repo}/resolve/"
    if parts.hostname not in ("huggingface.co", "hf.co") or not parts.path.startswith(start):
        return None
    _, _, path = parts.path.removeprefix(start).partition("/")
    return unquote(path) or None
