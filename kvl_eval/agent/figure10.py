"""An agent in the form of Figure 10 of the Kimi-VL report: Thought, Action, Toolcall. The wording is our own.

The report shows one trajectory of twelve steps and no prompt. Its calls have relative coordinates, `click(x=0.884,
y=0.144)`, and `scroll(-5)`.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvl_eval.agent.actions import AgentAction, Done, Fail, Wait
from kvl_eval.agent.base import PASSWORD, Agent, AgentMove, Situation
from kvl_eval.agent.code import Unsupported, read_calls
from kvl_eval.types import Message

_SYSTEM = f"""\
You control a desktop computer. You see a screenshot and do one step at a time until the task is complete.

Answer in this form, each part on a line of its own:
Thought: what you see and what to do next.
Action: the next step in one sentence.
Toolcall: one call of a function from the list below.

Functions, where x and y are shares of the screen's width and height between 0 and 1:
click(x, y), doubleClick(x, y), rightClick(x, y), moveTo(x, y), dragTo(x, y)
scroll(amount): above 0 is up, below 0 is down
write(text), press(key), hotkey(key, key)
wait(): the screen needs more time
done(): the task is complete
fail(): the task cannot be completed

The password of the account is "{PASSWORD}"."""
_ENDS: Mapping[str, AgentAction] = {"wait()": Wait(), "done()": Done(), "fail()": Fail()}


def messages(situation: Situation, images: int) -> tuple[Message, ...]:
    """The prompt of a step: the form, the task, the steps so far in words, the last screens."""
    past = situation.past
    lines = [f"Step {number}: {step.said}" for number, step in enumerate(past, 1)]
    first = max(0, len(past) - (images - 1))
    screens = [past[number].screen.image(f"screen:{number + 1}") for number in range(first, len(past))]
    history = "\n".join(("Steps so far:", *lines)) if lines else "This is the first step."
    text = f"Task: {situation.instruction}\n{history}\nThe last image is the current screen."
    return (
        Message.system(_SYSTEM),
        Message.user(*screens, situation.screen.image(f"screen:{situation.number}"), text),
    )


def read(thinking: str, answer: str, situation: Situation) -> AgentMove:
    """What a reply asks for: its last Toolcall."""
    call = _last(answer, "toolcall:").strip("` ")
    said = _last(answer, "action:")
    thought = thinking or _last(answer, "thought:")
    if not call:
        return AgentMove(parse="unparsable", thought=thought, note="no Toolcall")
    if (action := _ENDS.get(call.replace(" ", ""))) is not None:
        return AgentMove(parse="ok", actions=(action,), source=call, said=said or call, thought=thought)
    try:
        actions = read_calls(call, situation.screen.size, situation.pointer)
    except Unsupported as error:
        return AgentMove(parse="unsupported", source=call, said=said or call, thought=thought, note=str(error))
    return AgentMove(parse="ok", actions=actions, source=call, said=said or call, thought=thought)


def _last(text: str, label: str) -> str:
    """What follows the label on the last line that begins with it; empty without one."""
    for line in reversed(text.splitlines()):
        line = line.strip().strip("*#").strip()
        if line.casefold().startswith(label):
            return line[len(label) :].strip("* ").strip()
    return ""


FIGURE10 = Agent(
    name="kimi-figure10",
    version=1,
    prompt=messages,
    read=read,
    images=1,
    attempts=5,
    notes=("unofficial: the report prints no prompt; form and calls are those of its Figure 10, words are our own",),
    evidence="weak: one printed trajectory (arXiv 2504.07491, Figure 10)",
)
