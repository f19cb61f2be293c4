"""The prompt of a sample: its messages, and the same as text."""

from __future__ import annotations

from collections.abc import Iterable

from kvl_eval.errors import KvlEvalError, SampleError
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.sources.own_images import placed
from kvl_eval.sources.unusable import fault_of
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, MediaRef, Message, Sample, SubtitleRef, VideoRef


def prompt_messages(task: Task, config: TaskConfig, run: RunConfig, sample: Sample) -> tuple[Message, ...]:
    """The prompt of one sample. Raises SampleError `prompt.failed` for whatever goes wrong with this sample."""
    try:
        if fault := fault_of(sample):
            raise fault
        messages = (
            _own_prompt(run.prompt_text, task, sample) if run.prompt_text else task.prompts[config.prompt](sample)
        )
    except KvlEvalError as error:
        raise SampleError(error.code, error.message, where=error.where, why=error.why, fix=error.fix) from error
    except Exception as error:  # the per-sample boundary: one odd row must not end the run
        message = f"{type(error).__name__}: {error}"
        raise SampleError("prompt.failed", message, fix=f"check the prompt of {task.name}") from error
    if run.system_prompt and task.data.table is not None:  # it replaces the system turn of a row
        messages = [turn for turn in messages if turn.role != "system"]
    return (*((Message.system(run.system_prompt),) if run.system_prompt else ()), *messages)


def _own_prompt(text: str, task: Task, sample: Sample) -> list[Message]:
    """Pictures, question, options, then the user's text, unless that places `{question}` and `{choices}` itself."""
    choices = "\n".join(f"({chr(65 + number)}) {choice}" for number, choice in enumerate(sample.choices))
    if "{question}" in text:
        text = text.replace("{choices}", choices).replace("{question}", sample.question)
    else:
        text = "\n".join(part for part in (sample.question, choices, text.strip("\n")) if part)
    parts = [*sample.media, text] if task.data.table is None else placed(sample.media, text)
    return [Message.user(*parts)]


def prompt_text(messages: Iterable[Message]) -> str:
    """A prompt as text: roles, and media as `<image:1>`, `<video:2>`, `<document:3>`, counted together."""
    turns, number = [], 0
    for message in messages:
        parts = []
        for part in message.parts:
            if isinstance(part, SubtitleRef):
                parts.append(f"<subtitles: {part.rule}>")
                continue
            number += not isinstance(part, str)
            parts.append(part if isinstance(part, str) else f"<{_kind(part)}:{number}{_woven(part)}>")
        turns.append(f"[{message.role}]\n" + "".join(parts))
    return "\n".join(turns)


def _woven(ref: MediaRef) -> str:
    """What to say of subtitles that stand among a video's frames."""
    lines = ref.subtitles if isinstance(ref, VideoRef) else None
    return f" with subtitles: {lines.rule}" if lines is not None else ""


def _kind(ref: MediaRef) -> str:
    return "image" if isinstance(ref, ImageRef) else "video" if isinstance(ref, VideoRef) else "document"


def no_prompt(error: SampleError) -> str:
    """What stands for the prompt of a sample that has none, in hashes over prompts."""
    return f"!{error.reason}"


def without_reply(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], str]:
    """The turns up to the reply, and what the reply begins with: the text of a last turn of the assistant's."""
    if messages[-1].role != "assistant":
        return messages, ""
    return messages[:-1], "".join(part for part in messages[-1].parts if isinstance(part, str))
