"""OSWorld: tasks on an Ubuntu desktop with real applications, judged by the state that an agent leaves.

Data:    `evaluation_examples/` of a clone of xlang-ai/OSWorld (arXiv 2404.07972): 369 task files in ten domains, and
         lists of them. What tasks download is in the hub data set xlangai/ubuntu_osworld_file_cache; `kvl-eval fetch
         osworld` brings it.
Agents:  the model is asked step by step; the default agent is that of its family.
Metric:  the evaluator's value, from 0 to 1; mean over the tasks that have one, as the official script prints it.
Source:  the authors' package desktop-env (1.0.2), in an interpreter that the user names.
Report:  none can be compared. The published 8.22 states no prompt and no step limit, and is older than the task
         files of July 2025 ("OSWorld-Verified").

`osworld` plays on the official image, which was not tried with kvl-eval: it is experimental. `osworld-local` plays
in a sandbox of this machine: other versions of applications and no GNOME shell, so another environment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kvl_eval.decode import read_json
from kvl_eval.errors import DataError, DecodeError
from kvl_eval.printable import how_many
from kvl_eval.scorers.episode import episode_score, episode_summary
from kvl_eval.sources import STRICT, Reporter, Row, Source
from kvl_eval.sources.named_files import NamedFile
from kvl_eval.sources.pictures import from_values
from kvl_eval.sources.rows import made_from
from kvl_eval.tasks.base import OFFICIAL, Protocol, Split, Task, TaskData
from kvl_eval.tasks.episode import Episode, EpisodePrompt
from kvl_eval.tasks.osworld_files import cached_files, hub_place, needs, task_file
from kvl_eval.tasks.osworld_scripts import mistake, solution
from kvl_eval.types import Sample, Scored, Summary

FILES = "xlangai/ubuntu_osworld_file_cache"
CACHE = "osworld"  # folder below the cache folder, as the original environment fills one
ALL_TASKS = 369
LISTS = {"test": "test_all", "nogdrive": "test_nogdrive", "small": "test_small", "infeasible": "test_infeasible"}
LOCAL = "local"  # split: what needs no account, no internet and no program that Debian lacks
DOMAINS = {
    **dict.fromkeys(("libreoffice_calc", "libreoffice_impress", "libreoffice_writer"), "Office"),
    **dict.fromkeys(("vlc", "thunderbird", "chrome"), "Daily"),
    **dict.fromkeys(("gimp", "vs_code"), "Professional"),
    "os": "OS",
    "multi_apps": "Workflow",
}
"""{domain: the group that OSWorld's authors put it in}."""


def load(source: Source, split: str, reporter: Reporter = STRICT) -> Iterator[Sample]:
    """The samples in the order of the split's list. Raises: DataError."""
    folder = _folder(source)
    rows = _rows(folder, LISTS.get(split, LISTS["test"]))
    if split != LOCAL:
        yield from made_from(rows, _sample, reporter)
        return
    reasons: Counter[str] = Counter()
    for sample in made_from(rows, _sample, reporter):
        lacking = _needs(sample)
        if not lacking:
            yield sample
        reasons.update(lacking[:1])
    if reporter.note is not None:
        parts = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        reporter.note(f"note: osworld-local leaves out {how_many(reasons.total(), 'task')}; they need: {parts}")


def _folder(source: Source) -> Path:
    """Where the lists of tasks are. Raises: DataError `data.missing`."""
    places = [] if source.data_dir is None else [source.data_dir / "evaluation_examples", source.data_dir]
    for place in places:
        if (place / f"{LISTS['test']}.json").is_file():
            return place
    raise DataError(
        "data.missing",
        "osworld: the task files are not here",
        where=None if source.data_dir is None else str(source.data_dir),
        why=f"there is no evaluation_examples/{LISTS['test']}.json",
        fix="git clone https://github.com/xlang-ai/OSWorld, and use --data-dir with its folder",
    )


def _rows(folder: Path, name: str) -> Iterator[Row]:
    """A row for each task of a list: its domain and what its file holds. Raises: DataError."""
    listed = _read(folder / f"{name}.json")
    if not isinstance(listed, dict):
        raise _damaged(folder / f"{name}.json", "expected an object of domains")
    for domain, ids in listed.items():
        for name in ids if isinstance(ids, list) else ():
            path = folder / "examples" / _part(domain, folder) / f"{_part(name, folder)}.json"
            yield Row({"domain": domain, "task": _read(path)}, f"{domain}/{name}.json")


def _part(name: object, folder: Path) -> str:
    """A part of a path that a list names. Raises: DataError for one that leads elsewhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise _damaged(folder, f"{str(name)[:80]!r} is not a file name")
    return name


def _read(path: Path) -> object:
    """A JSON file. Raises: DataError."""
    try:
        return read_json(path.read_bytes())
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    except DecodeError as error:
        raise _damaged(path, error.message) from None


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        "data.corrupt",
        "osworld: a task file cannot be read",
        where=str(path),
        why=why,
        fix="clone https://github.com/xlang-ai/OSWorld again",
    )


def _sample(row: Row) -> Sample:
    domain = row.required_text("domain")
    task = task_file(row.get("task"), row.where)
    return Sample(
        id=f"{domain}/{task.id}",
        question=task.instruction,
        row={"domain": domain, "task": row.get("task")},
        answers=("FAIL" if "infeasible" in task.evaluator.functions else "DONE",),
        categories={"domain": (domain,), "group": (DOMAINS.get(domain, "Other"),)},
    )


def _needs(sample: Sample) -> tuple[str, ...]:
    try:
        return needs(task_file(sample.row.get("task"), sample.id))
    except DataError:
        return ()  # a row that cannot be used: the run says so


def cache_files(sample: Sample) -> list[NamedFile]:
    """The files that a task downloads from the hub. Raises: DataError."""
    task = task_file(sample.row.get("task"), sample.id)
    places = [(hub_place(file.url, FILES), file.name) for file in cached_files(task)]
    return [NamedFile(path, f"{CACHE}/{task.id}/{name}") for path, name in places if path is not None]


def summary(scored: Sequence[Scored], protocol: str) -> Summary:
    """As of every task of agents; and how many of OSWorld's tasks it is about."""
    whole = episode_summary(scored, protocol)
    return replace(whole, official={"tasks": f"{len(scored)} of {ALL_TASKS}", **whole.official})


AGENTS = ("kimi-figure10", "kimi", "kimi-no-thinking", "oracle", "wrong", "idle", "fail", "random")
SCREEN = (1920, 1080)
OFFICIAL_IMAGE = Episode(
    agents=AGENTS,
    max_steps=15,
    screen=SCREEN,
    provider="docker",
    providers=("docker",),
    environment="osworld",
    settling="official",
    waits=(60.0, 20.0),
    scripts={"oracle": solution, "wrong": mistake},
)
SPLITS: Mapping[str, Split] = {
    "test": Split(rows=ALL_TASKS),
    "nogdrive": Split(rows=361, note="without the tasks that need an account of Google Drive"),
    "small": Split(rows=39),
    "infeasible": Split(rows=28, note="tasks that cannot be done"),
}


def _task(name: str, title: str, label: str, episode: Episode, splits: Mapping[str, Split]) -> Task:
    return Task(
        name=name,
        title=title,
        group_title="",
        doc=__doc__ or "",
        repos=(FILES,),
        licence="Apache-2.0 (task files); the files that tasks download state no license",
        modality="images",
        access="open",
        splits=splits,
        default_split=next(iter(splits)),
        load=load,
        sample=from_values(_sample),
        prompts={agent: EpisodePrompt(agent) for agent in AGENTS},
        default_prompt=AGENTS[0],
        prompt_evidence="those of the agents; the first prompt of an episode alone can be planned",
        protocols={
            OFFICIAL: Protocol(
                score=episode_score,
                label=label,
                summary="the value of OSWorld's own evaluator",
                notes=(
                    "the value of the original evaluator, as the episode stored it",
                    "a failed episode is outside the mean, as a task without result.txt is in the official script; "
                    "the lower bound of an incomplete run counts it as 0",
                ),
                evidence="none: the report states no prompt, step limit or history, and the task files are newer",
            )
        },
        aggregate=summary,
        data=TaskData(
            files=("evaluation_examples/test_*.json, evaluation_examples/examples/DOMAIN/ID.json: a clone of OSWorld",),
            row_layouts={"OSWorld": ("domain", "task")},
            count={"test": {"rows": ALL_TASKS}} if "test" in splits else {},
            has_media=False,
            own_files=cache_files,
        ),
        max_new_tokens=4096,
        episode=episode,
    )


OSWORLD = _task("osworld", "OSWorld (experimental)", "experimental", OFFICIAL_IMAGE, SPLITS)
OSWORLD_LOCAL = _task(
    "osworld-local",
    f"OSWorld tasks, local sandbox, n of {ALL_TASKS} (not the official image)",
    "not the official image",
    replace(OFFICIAL_IMAGE, provider="xvfb", providers=("xvfb",), settling="stable", waits=(0.0, 20.0)),
    {LOCAL: Split(rows=None, note="what needs no account, no internet and no program that Debian lacks"), **SPLITS},
)
