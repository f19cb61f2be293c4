"""Drawn desktops with faults, and an agent's model that answers by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvl_eval.agent.actions import AgentAction, Click, ScreenSize
from kvl_eval.agent.base import AnyAgent
from kvl_eval.agent.desk import ActResult, DrawnDesk, Evaluation, desk_of
from kvl_eval.agent.episode_plan import EpisodePlan
from kvl_eval.backends.base import Request
from kvl_eval.run.plan import sample_seed
from kvl_eval.run.prompts import prompt_text
from kvl_eval.sources import Source
from kvl_eval.store.journal import Disk
from kvl_eval.tasks import open_split
from kvl_eval.tasks.boards import targets
from kvl_eval.tasks.desktop_mini import EPISODE, TASK
from kvl_eval.tasks.episode import Episode
from kvl_eval.types import Generation, Sample

SAMPLES: Mapping[str, Sample] = {sample.id: sample for sample in open_split(TASK, Source(), "mini")}
WIDTH, HEIGHT = EPISODE.screen


@dataclass(slots=True)
class FaultyDesk(DrawnDesk):
    """Boards on a desktop that fails at one sample.

    Attributes:
        victim:  the sample's id.
        acted:   every action that it was asked for, of all samples.
        on_act, on_evaluate: what happens then instead, at that sample.
    """

    victim: str = ""
    current: str = ""
    acted: list[AgentAction] = field(default_factory=list)
    on_act: Callable[[], ActResult] | None = None
    on_evaluate: Callable[[], Evaluation] | None = None

    def reset(self, sample: Sample) -> None:
        self.current = sample.id
        DrawnDesk.reset(self, sample)

    def act(self, action: AgentAction) -> ActResult:
        self.acted.append(action)
        if self.current == self.victim and self.on_act is not None:
            return self.on_act()
        return DrawnDesk.act(self, action)

    def evaluate(self, last: AgentAction | None) -> Evaluation:
        if self.current == self.victim and self.on_evaluate is not None:
            return self.on_evaluate()
        return DrawnDesk.evaluate(self, last)


def screen_size() -> ScreenSize:
    return ScreenSize(WIDTH, HEIGHT)


def plan_of(
    run: Path,
    agent: AnyAgent,
    *,
    episode: Episode = EPISODE,
    make_desk: Callable[[Episode], DrawnDesk] = desk_of,  # type: ignore[assignment]
    disk: Disk | None = None,
) -> EpisodePlan:
    """Episodes of desktop-mini in a folder."""
    return EpisodePlan(
        task=TASK,
        episode=episode,
        agent=agent,
        generation=Generation(),
        fingerprint="f" * 64,
        run=run,
        disk=disk or Disk(),
        seed_of=lambda sample_id, repeat: sample_seed(0, TASK.name, sample_id, repeat),
        text_of=prompt_text,
        make_desk=make_desk,
    )


def asked(request: Request) -> tuple[Sample, int]:
    """The sample and the number of the step that a request is for."""
    name, _, number = request.key.rpartition("#")
    return SAMPLES[name.rpartition("/")[2]], int(number)


def good_click(request: Request, repeat: int = 0) -> str:
    """The middle of the named thing, in the words of a demo model; without one, of the screen."""
    sample, number = asked(request)
    boxes = targets(sample.row)
    left, top, right, bottom = boxes[number - 1] if number <= len(boxes) else (0, 0, WIDTH, HEIGHT)
    return f"here click(x={(left + right) / 2 / WIDTH:.3f}, y={(top + bottom) / 2 / HEIGHT:.3f})"


def clicked(actions: list[AgentAction]) -> list[tuple[int, int]]:
    return [action.point for action in actions if isinstance(action, Click)]
