"""The page of an agent's episodes: every step with its screen, what was done there, and how the episode ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from kvl_eval.errors import DataError, KvlEvalError
from kvl_eval.reports.action_marks import ActionDrawer, is_small, said, short_text, time_bar
from kvl_eval.reports.image_copies import ImageCache, copying_pool, processes, put_copy, stored_image
from kvl_eval.reports.image_work import CopyJob, SmallCopy
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.page_templates import MenuEntry, rendered_page
from kvl_eval.store.journal import storing
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.trajectories import FOLDER, StoredTrajectory, screen_path, trajectory_name
from kvl_eval.store.trajectory_records import (
    StepResult,
    StoredCheck,
    TrajectoryHead,
    TrajectoryOutcome,
    TrajectoryStep,
)

FILE = "trajectory.html"
SIDE = 1280  # of a screen's copy in pixels
MOST_STEPS = 1500  # on the page; further episodes are named
OUTPUT = 4096  # characters of what a call printed
LONGEST = 20_000  # of a thought or a call
ENDED = {
    "done": "ended with DONE",
    "fail": "ended with FAIL",
    "max_steps": "step limit",
    "unparsable": "unreadable reply",
    "time_limit": "time limit",
    "desktop_died": "desktop died",
    "setup_failed": "setup failed",
}
PARSE = {"unsupported": "not supported: nothing was done", "unparsable": "unreadable: nothing was done"}


@dataclass(frozen=True, slots=True)
class EpisodeOfRun:
    """An episode, or why its journal cannot be read; the folder of its run, and what the report calls the run."""

    run: Path
    model: str
    episode: StoredTrajectory | DataError


Drawn = tuple[EpisodeOfRun, StoredTrajectory]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """What the page shows of a step; `small` and `large` are the marks over its screen, `time` a bar and its legend."""

    anchor: str
    n: int
    title: str
    screen: str
    sha256: str
    small: Markup
    large: Markup
    thought: str
    call: str
    parse: str
    output: str
    time: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """What the page shows of an episode.

    Attributes:
        journal: its file, as records name it.
        value:   as it is printed; empty where nothing was evaluated.
        css:     of the value: good, bad or plain.
        seconds: of all steps, in words.
        summary: the evaluator's expected and found in one line, or why the episode failed.
        checks:  function, expected, found, value and time of each of its functions.
    """

    anchor: str
    journal: str
    name: str
    model: str
    agent: str
    instruction: str
    value: str
    css: str
    ended: str
    seconds: str
    summary: str
    width: int
    height: int
    is_small: bool
    n_steps: int
    steps: Sequence[StepView]
    checks: Sequence[tuple[str, str, str, str, str]]
    damage: Sequence[str]


def write_trajectory_page(
    episodes: Sequence[EpisodeOfRun], out: OutputFolder, cache: ImageCache | None, menu: Sequence[MenuEntry] = ()
) -> Path | None:
    """Write the page of these episodes, with copies of their screens where there is a cache; None without episodes.

    Raises: StorageError.
    """
    if not episodes:
        return None
    whole = [(entry, entry.episode) for entry in episodes if isinstance(entry.episode, StoredTrajectory)]
    drawn, others = _within_limit(whole)
    screens = {} if cache is None else copy_screens(drawn, out, cache)
    views = [_view(f"t{number}", entry.model, episode, screens) for number, (entry, episode) in enumerate(drawn, 1)]
    values = {
        "title": "Trajectories",
        "kind": "trajectory",
        "episodes": views,
        "left_out": [_name(episode.head) for _, episode in others],
        "unreadable": [_reason(entry.episode) for entry in episodes if isinstance(entry.episode, DataError)],
    }
    return out.write([rendered_page("trajectory.html.j2", FILE, menu, values)], FILE)


def _within_limit(episodes: Sequence[Drawn]) -> tuple[Sequence[Drawn], Sequence[Drawn]]:
    """Those that the page draws, at least one, and those that it names."""
    steps = 0
    for place, (_, episode) in enumerate(episodes):
        steps += len(episode.steps)
        if steps > MOST_STEPS and place:
            return episodes[:place], episodes[place:]
    return episodes, []


def _reason(error: DataError) -> str:
    """What is damaged, and how: `trajectories/desktop-mini/menu-1/0.jsonl line 1: its checksum does not match`."""
    where = str(error.where or "").replace("\\", "/")
    return plain(f"{where[max(0, where.rfind(f'{FOLDER}/')) :]}: {error.why}")


def copy_screens(episodes: Sequence[Drawn], out: OutputFolder, cache: ImageCache) -> dict[str, str]:
    """{hash: file below the report's folder} of the screens whose copies are in `media/` now."""
    places: dict[str, Path] = {}
    for entry, episode in episodes:
        for step in episode.steps:
            path = screen_path(entry.run, step.screenshot_sha256)
            if path is not None:
                places.setdefault(step.screenshot_sha256, path)
    with storing(out.path("media")):
        out.path("media").mkdir(parents=True, exist_ok=True)
    copies = {sha: data for sha in places if (data := cache.read(_copy_name(sha), SIDE)) is not None}
    for copy in _made({sha: path for sha, path in places.items() if sha not in copies and path.is_file()}):
        cache.keep(_copy_name(copy.name), SIDE, copy.data)
        copies[copy.name] = copy.data
    return {sha: f"media/{put_copy(out, _copy_name(sha), data)}" for sha, data in copies.items()}


def _copy_name(sha256: str) -> str:
    """Another name than that of a sample's image, which may be the same screen in another size."""
    return f"{sha256}-screen"


def _made(screens: Mapping[str, Path]) -> list[SmallCopy]:
    """Copies of screens, made in worker processes; one that cannot be read is left out."""
    if not screens:
        return []
    pool = copying_pool(processes(len(screens)))
    try:
        futures: list[Future[list[SmallCopy]]] = [
            pool.submit(CopyJob(refs=(stored_image(path),), media=(), sides={sha: SIDE}))
            for sha, path in screens.items()
        ]
        return [copy for future in futures for copy in _result(future)]
    finally:
        pool.close()


def _result(future: Future[list[SmallCopy]]) -> list[SmallCopy]:
    try:
        return future.result()
    except KvlEvalError:
        return []


# -- views -----------------------------------------------------------------------------------------------------------


def _view(anchor: str, model: str, episode: StoredTrajectory, screens: Mapping[str, str]) -> EpisodeView:
    head, outcome = episode.head, episode.outcome
    drawer = ActionDrawer(screen=head.screen)
    seconds = sum(part or 0.0 for step in episode.steps for part in step.time.values())
    model_seconds = sum(step.time.get("model") or 0.0 for step in episode.steps)
    value = None if outcome is None else outcome.value
    return EpisodeView(
        anchor=anchor,
        journal=trajectory_name(head.task, head.sample_id, head.repeat),
        name=_name(head),
        model=model,
        agent=head.agent,
        instruction=head.instruction,
        value="" if value is None else value_text(value),
        css="plain" if value is None else "good" if value >= 1 else "bad" if value <= 0 else "plain",
        ended="not finished" if outcome is None else ENDED[outcome.ended_by],
        seconds=f"{seconds:.1f} s, of which the model {model_seconds:.1f} s",
        summary="" if outcome is None else _summary(outcome),
        width=head.screen[0],
        height=head.screen[1],
        is_small=is_small(head.screen),
        n_steps=len({step.n for step in episode.steps}),
        steps=[_step(anchor, step, drawer, screens) for step in episode.steps],
        checks=[_check(check) for check in (() if outcome is None else outcome.evaluator)],
        damage=episode.damage,
    )


def _step(anchor: str, step: TrajectoryStep, drawer: ActionDrawer, screens: Mapping[str, str]) -> StepView:
    small, large = drawer.drawn(step.actions)
    again = step.attempt > 1
    return StepView(
        anchor=f"{anchor}-step-{step.n}" + (f"-{step.attempt}" if again else ""),
        n=step.n,
        title=(f"attempt {step.attempt}: " if again else "")
        + (plain(", then ".join(map(said, step.actions))) or "no action"),
        screen=screens.get(step.screenshot_sha256, ""),
        sha256=step.screenshot_sha256,
        small=small,
        large=large,
        thought=step.thinking[:LONGEST],
        call=(step.source or step.answer)[:LONGEST],
        parse=": ".join(part for part in (PARSE.get(step.parse, ""), step.note) if part),
        output=_output(step.result),
        time=time_bar(step.time),
    )


def _output(result: StepResult) -> str:
    """What the actions printed, and the return code where that is not 0."""
    code = f"return code {result.code}" if result.code else ""
    return "\n".join(part for part in (result.stdout.rstrip(), result.stderr.rstrip(), code) if part)[:OUTPUT]


def _summary(outcome: TrajectoryOutcome) -> str:
    """`exact_match: expected a, found b`, or what went wrong."""
    if not outcome.evaluator:
        return outcome.message or ""
    check = outcome.evaluator[0]
    name = f"{check.function}: " if check.function else ""
    if check.error is not None:
        return f"{name}the evaluator failed: {short_text(check.error)}"
    sight = "the same" if check.found == check.expected else _cut(check.found)
    return f"{name}expected {_cut(check.expected)}, found {sight}"


def _check(check: StoredCheck) -> tuple[str, str, str, str, str]:
    """A row of the evaluator's table; an error stands in place of what was found, and there is no value then."""
    sight = _cut(check.found) if check.error is None else f"error: {check.error}"
    value = "·" if check.value is None or check.error is not None else value_text(check.value)
    return check.function or "·", _cut(check.expected) or "·", sight or "·", value, f"{check.seconds:.1f} s"


def _name(head: TrajectoryHead) -> str:
    """`desktop-mini 17`, `desktop-mini 17, repeat 2`."""
    repeat = f", repeat {head.repeat + 1}" if head.repeat else ""
    return plain(f"{head.task} {head.sample_id}{repeat}")


def value_text(value: float) -> str:
    """`1.0`, `0.5`, `0.33`."""
    return f"{value:.2f}".removesuffix("0")


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"
