"""The page of an agent's episodes: every step with its screen, what was done there, and how the episode ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from kvl_eval.decode import Json
from kvl_eval.errors import KvlEvalError
from kvl_eval.reports.action_marks import ActionDrawer, said, short_text, time_bar
from kvl_eval.reports.image_copies import ImageCache, copying_pool, processes, put
from kvl_eval.reports.image_work import CopyJob, SmallCopy
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.page_templates import MenuEntry, rendered_page
from kvl_eval.store.journal import storing
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.trajectories import StoredEpisode, screen_path
from kvl_eval.store.trajectory_records import CallResult, EvaluatorResult, TrajectoryStep
from kvl_eval.types import ImageRef

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
    """An episode, the folder of its run, and what the report calls the run."""

    run: Path
    model: str
    episode: StoredEpisode


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """What the page shows of a step; `small` and `large` are the marks over its screen."""

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
    bar: Markup
    times: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """What the page shows of an episode.

    Attributes:
        value:   as it is printed; empty where nothing was evaluated.
        css:     of the value: good, bad or plain.
        summary: the evaluator's expected and found in one line.
        checks:  function, expected, found, value and time of each of its functions.
    """

    anchor: str
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
    steps: Sequence[StepView]
    checks: Sequence[tuple[str, str, str, str, str]]
    damage: Sequence[str]


def write_trajectory_page(
    episodes: Sequence[EpisodeOfRun], out: OutputFolder, cache: ImageCache, menu: Sequence[MenuEntry] = ()
) -> Path | None:
    """Write the page of these episodes and the copies of their screens; None without any. Raises: StorageError."""
    if not episodes:
        return None
    drawn, named = _within_limit(episodes)
    screens = copy_screens(drawn, out, cache)
    views = [_view(number, entry, screens) for number, entry in enumerate(drawn, 1)]
    values = {
        "title": "Trajectories",
        "kind": "trajectory",
        "episodes": views,
        "left_out": [_name(entry.episode) for entry in named],
    }
    return out.write([rendered_page("trajectory.html.j2", FILE, menu, values)], FILE)


def _within_limit(episodes: Sequence[EpisodeOfRun]) -> tuple[list[EpisodeOfRun], list[EpisodeOfRun]]:
    """Those that the page draws, at least one, and those that it names."""
    steps = 0
    for place, entry in enumerate(episodes):
        steps += len(entry.episode.steps)
        if steps > MOST_STEPS and place:
            return list(episodes[:place]), list(episodes[place:])
    return list(episodes), []


def copy_screens(episodes: Sequence[EpisodeOfRun], out: OutputFolder, cache: ImageCache) -> dict[str, str]:
    """{hash: file below the report's folder} of the screens whose copies are in `media/` now."""
    places: dict[str, Path] = {}
    for entry in episodes:
        for step in entry.episode.steps:
            path = screen_path(entry.run, step.screenshot_sha256)
            if path is not None:
                places.setdefault(step.screenshot_sha256, path)
    with storing(out.path("media")):
        out.path("media").mkdir(parents=True, exist_ok=True)
    copies = {sha: webp for sha in places if (webp := cache.read(_copy_name(sha), SIDE)) is not None}
    for copy in _made({sha: path for sha, path in places.items() if sha not in copies and path.is_file()}):
        cache.keep(_copy_name(copy.name), SIDE, copy.webp)
        copies[copy.name] = copy.webp
    for sha, webp in copies.items():
        target = out.path("media", f"{_copy_name(sha)}.webp")
        with storing(target):
            if not target.is_file() or target.read_bytes() != webp:
                put(target, webp)
    return {sha: f"media/{_copy_name(sha)}.webp" for sha in copies}


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
            pool.submit(
                CopyJob(
                    refs=(ImageRef(name=path.name, path=path.name, root=str(path.parent)),), media=(), sides={sha: SIDE}
                )
            )
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


def _view(number: int, entry: EpisodeOfRun, screens: Mapping[str, str]) -> EpisodeView:
    episode, outcome = entry.episode, entry.episode.outcome
    drawer = ActionDrawer(screen=episode.head.screen)
    times = [sum(step.time.values()) for step in episode.steps]
    model = sum(step.time.get("model", 0.0) for step in episode.steps)
    value = None if outcome is None else outcome.value
    return EpisodeView(
        anchor=f"t{number}",
        name=_name(episode),
        model=entry.model,
        agent=episode.head.agent,
        instruction=episode.head.instruction,
        value="" if value is None else value_text(value),
        css="plain" if value is None else "good" if value >= 1 else "bad" if value <= 0 else "plain",
        ended="not finished" if outcome is None else ENDED[outcome.ended_by],
        seconds=f"{sum(times):.1f} s, of which the model {model:.1f} s",
        summary="" if outcome is None or not outcome.evaluator else _summary(outcome.evaluator[0]),
        width=episode.head.screen[0],
        height=episode.head.screen[1],
        steps=[_step(f"t{number}", step, drawer, screens) for step in episode.steps],
        checks=[_check(result) for result in (() if outcome is None else outcome.evaluator)],
        damage=episode.damage,
    )


def _step(anchor: str, step: TrajectoryStep, drawer: ActionDrawer, screens: Mapping[str, str]) -> StepView:
    small, large = drawer.drawn(step.actions)
    bar, times = time_bar({name: float(seconds) for name, seconds in step.time.items()})
    return StepView(
        anchor=f"{anchor}-step-{step.n}",
        n=step.n,
        title=plain(", then ".join(map(said, step.actions))) or "no action",
        screen=screens.get(step.screenshot_sha256, ""),
        sha256=step.screenshot_sha256,
        small=small,
        large=large,
        thought=step.thinking[:LONGEST],
        call=(step.source or step.answer)[:LONGEST],
        parse=PARSE.get(step.parse, ""),
        output=_output(step.result),
        bar=bar,
        times=times,
    )


def _output(result: CallResult | None) -> str:
    """What a call printed, and its return code where that is not 0."""
    if result is None:
        return ""
    code = f"return code {result.return_code}" if result.return_code else ""
    return "\n".join(part for part in (result.stdout.rstrip(), result.stderr.rstrip(), code) if part)[:OUTPUT]


def _summary(result: EvaluatorResult) -> str:
    """`exact_match: expected a, found b`."""
    if result.error is not None:
        return f"{result.function}: the evaluator failed: {short_text(result.error)}"
    sight = "the same" if result.found == result.expected else json_text(result.found)
    return f"{result.function}: expected {json_text(result.expected)}, found {sight}"


def _check(result: EvaluatorResult) -> tuple[str, str, str, str, str]:
    """A row of the evaluator's table; an error stands in place of what was found, and there is no value then."""
    sight = json_text(result.found) if result.error is None else f"error: {result.error}"
    value = "·" if result.value is None or result.error is not None else value_text(result.value)
    seconds = "·" if result.seconds is None else f"{result.seconds:.1f} s"
    return result.function, json_text(result.expected), sight, value, seconds


def _name(episode: StoredEpisode) -> str:
    """`desktop-mini 17`, `desktop-mini 17, repeat 2`."""
    repeat = f", repeat {episode.repeat + 1}" if episode.repeat else ""
    return plain(f"{episode.task} {episode.sample_id}{repeat}")


def value_text(value: float) -> str:
    """`1.0`, `0.5`, `0.33`."""
    return f"{value:.2f}".removesuffix("0")


def json_text(value: Json) -> str:
    """A text as it is, anything else as JSON; cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"
