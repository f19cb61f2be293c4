"""How models are asked to point at something on a screenshot: the texts of the card, of scripts and of harnesses."""

from __future__ import annotations

from kvl_eval.tasks.base import Prompt, PromptFunction
from kvl_eval.types import Message, Sample

CARD = "Please observe the screenshot, please locate the following elements with action and point.<instruction> {}"
PRO_SYSTEM = """\
You are a GUI agent. You are given a task and a screenshot of a computer screen. You need to perform a action and \
pyautogui code to complete the task. Provide your response in this format:

## Action:
Provide clear, concise, and actionable instructions.

## Code:
Generate a corresponding Python code snippet using pyautogui that clicks on the identified UI element using normalized \
screen coordinates (values between 0 and 1). The script should dynamically adapt to the current screen resolution by \
converting the normalized coordinates to actual pixel positions."""
VLM_SYSTEM = (
    "You are a GUI agent. You are given a task and a screenshot of the screen. You need to perform pyautogui "
    "click/moveTo action to complete the task. The answer format is `pyautogui.click(x=?, y=?), x and y is necessary`"
)
VLM_USER = "Please complete the following tasks by clicking using `pyautogui.click`:\n{}"
LMMS_USER = (
    "Identify the UI element for the instruction and output exactly one click point as [x, y] in normalized "
    "coordinates within [0, 1]. Do not output a bounding box.\nInstruction: {}"
)
SEECLICK = 'In this UI screenshot, what is the position of the element corresponding to the command "{}" (with point)?'
USER_22 = "What are the coordinates of: {}? Use the format (x=0.5, y=0.5) to indicate the coordinates."


def instruction_prompt(template: str, system: str | None = None) -> Prompt:
    """Asks for a point: the screenshot, then `template` with the instruction in it, after a system message if any."""

    def messages(sample: Sample) -> list[Message]:
        user = Message.user(*sample.media, template.replace("{}", sample.question))
        return [user] if system is None else [Message.system(system), user]

    return Prompt(messages, "point")


PROMPTS: dict[str, PromptFunction] = {
    "card": instruction_prompt(CARD),
    "screenspot-pro": instruction_prompt("## Task Instruction:\n{}", PRO_SYSTEM),
    "issue-22": instruction_prompt(USER_22),
    "seeclick": instruction_prompt(SEECLICK),
    "vlmevalkit": instruction_prompt(VLM_USER, VLM_SYSTEM),
    "lmms-eval": instruction_prompt(LMMS_USER),
}
