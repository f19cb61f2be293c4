"""An agent that is asked where to click, in the words of task screenspot: what the demo models were trained on."""

from __future__ import annotations

from kvl_eval.agent.actions import Click
from kvl_eval.agent.base import Agent, AgentMove, Situation
from kvl_eval.scorers.grounding import WrongFormat, read_point
from kvl_eval.tasks.grounding_prompts import CARD
from kvl_eval.types import Message


def messages(situation: Situation, images: int) -> tuple[Message, ...]:
    """The current screen and the model card's question; the steps so far are not shown."""
    del images
    text = CARD.replace("{}", situation.instruction)
    return (Message.user(situation.screen.image(f"screen:{situation.number}"), text),)


def read(thinking: str, answer: str, situation: Situation) -> AgentMove:
    """One click at the point that the reply names."""
    size = situation.screen.size
    try:
        point = read_point(answer, (size.width, size.height))
    except WrongFormat as error:
        return AgentMove(parse="unparsable", thought=thinking, note=f"no point: {error}")
    pixel = size.inside(point.x * size.width, point.y * size.height)
    return AgentMove(parse="ok", actions=(Click(pixel),), source=answer, said=answer, thought=thinking)


ONE_CLICK = Agent(
    name="one-click",
    version=1,
    prompt=messages,
    read=read,
    notes=("every reply is one click; it never ends an episode, and never says that a task cannot be done",),
    evidence="none: a task of grounding, played step by step",
)
