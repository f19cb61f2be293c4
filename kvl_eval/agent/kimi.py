"""KimiAgent, Moonshot's public agent for Kimi K2.5: its prompt word for word, its history, its reading of replies.

A window of n screenshots holds n - 1 old ones and the current one. Steps that are older stand together in one turn of
the assistant's. The misspelled word in the prompt is the authors'.

Source: OSWorld, mm_agents/kimi/kimi_agent.py, "Kimi k25 (#428)" (Apache-2.0), prompts quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from kvl_eval.agent.actions import AgentAction, Done, Fail, Wait
from kvl_eval.agent.base import PASSWORD, Agent, AgentMove, PastStep, Situation
from kvl_eval.agent.code import Unsupported, read_code
from kvl_eval.agent.kimi_reply import KimiReply, UnreadableReply, read_reply
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import Message

WINDOW = 3  # screenshots in a prompt
ATTEMPTS = 5
_TASK = (
    "# Task Instruction:\n{instruction}\n\nPlease generate the next move according to the screenshot, task instruction "
    "and previous steps (if provided).\n"
)
_HEAD = (
    "You are a GUI agent. You are given an instruction, a screenshot of the screen and your previous interactions with "
    "the computer. You need to perform a series of actions to complete the task. The passoword of the computer is "
    "{password}.\n\nFor each step, provide your response in this format:\n"
)
_FORM = "{thought}\n## Action:\n{action}\n## Code:\n{code}\n\n"
_FUNCTIONS = (
    "In the code section, the code should be either pyautogui code or one of the following functions wrapped in the "
    "code block:\n"
    '- {"name": "computer.wait", "description": "Make the computer wait for 20 seconds for installation, running code, '
    'etc.", "parameters": {"type": "object", "properties": {}, "required": []}}\n'
    '- {"name": "computer.terminate", "description": "Terminate the current task and report its completion status", '
    '"parameters": {"type": "object", "properties": {"status": {"type": "string", "enum": ["success", "failure"], '
    '"description": "The status of the task"}, "answer": {"type": "string", "description": "The answer of the task"}}, '
    '"required": ["status"]}}'
)


def system_prompt(*, thinks: bool, password: str = PASSWORD) -> str:
    """The system turn, with or without a section for the thought."""
    form = _FORM if thinks else f"## Thought\n{_FORM}"
    return _HEAD.replace("{password}", password) + form + _FUNCTIONS


def past_text(number: int, step: PastStep, *, thinks: bool) -> str:
    """A past step as the assistant's words; steps count from 1."""
    thought = f"{THINK_OPEN}{step.thought}{THINK_CLOSE}" if thinks else f"## Thought:\n{step.thought}\n\n"
    return f"# Step {number}:\n{thought}## Action:\n{step.said}\n"


def messages(thinks: bool, situation: Situation, images: int) -> tuple[Message, ...]:
    """The prompt of a step: system, the old steps as text, the recent ones with their screens, the current screen."""
    turns = [Message.system(system_prompt(thinks=thinks))]
    texts = [past_text(number, step, thinks=thinks) for number, step in enumerate(situation.past, 1)]
    old = max(0, len(texts) - (images - 1))
    if old:
        turns.append(Message.assistant("\n".join(texts[:old])))
    for number in range(old, len(texts)):
        turns.append(Message.user(situation.past[number].screen.image(f"screen:{number + 1}")))
        turns.append(Message.assistant(texts[number]))
    current = situation.screen.image(f"screen:{situation.number}")
    turns.append(Message.user(current, _TASK.replace("{instruction}", situation.instruction)))
    return tuple(turns)


def read(thinks: bool, thinking: str, answer: str, situation: Situation) -> AgentMove:
    """What a reply asks for."""
    try:
        reply = read_reply(answer, thinking if thinks else None, situation.screen.size)
    except UnreadableReply as error:
        return AgentMove(parse="unparsable", thought=error.thought, note=str(error))
    said, thought = reply.action or "", reply.thought
    if reply.kind != "code":
        return AgentMove(parse="ok", actions=(_ACTIONS[reply.kind],), source=reply.kind, said=said, thought=thought)
    return _replayed(reply, situation, said)


_ACTIONS: Mapping[str, AgentAction] = {"wait": Wait(), "done": Done(), "fail": Fail()}


def _replayed(reply: KimiReply, situation: Situation, said: str) -> AgentMove:
    try:
        actions = read_code(reply.code, situation.screen.size, situation.pointer)
    except Unsupported as error:
        return AgentMove(parse="unsupported", source=reply.code, said=said, thought=reply.thought, note=str(error))
    return AgentMove(parse="ok", actions=actions, source=reply.code, said=said, thought=reply.thought)


def _agent(name: str, *, thinks: bool, evidence: str) -> Agent:
    return Agent(
        name=name,
        version=1,
        prompt=partial(messages, thinks),
        read=partial(read, thinks),
        images=WINDOW,
        attempts=ATTEMPTS,
        acts_fail=True,
        notes=(
            "prompt and reading of the public KimiAgent class, its misspelled word and its faults included",
            "code is parsed and replayed as typed actions; a step with anything else has no effect",
            "at the last step every action becomes FAIL, DONE too",
        ),
        evidence=evidence,
    )


KIMI = _agent("kimi", thinks=True, evidence="published code, used for Kimi K2.5")
KIMI_WITHOUT_THINKING = _agent(
    "kimi-no-thinking", thinks=False, evidence="published code, the variant without a thinking mode"
)
