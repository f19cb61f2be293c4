"""Compares a checkpoint's own chat template with the bundled one, which is always used.

A foreign template is data of unknown origin: it is rendered by jinja2's sandbox in a process of its own, under limits
of size, time and memory. Run as a module, this file is that process.
"""

import json
import logging
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.base import Turn
from kvl_eval.model.files import is_there, read_json, read_text
from kvl_eval.model.kimi_vl import chat

log = logging.getLogger(__name__)

MAX_CHARACTERS = 65536
SECONDS = 5
MEMORY_BYTES = 1 << 30
PROBES: tuple[list[Turn], ...] = (
    [{"role": "user", "content": [{"type": "image", "image": "x"}, {"type": "text", "text": "What is it?"}]}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": [{"type": "text", "text": "Two?"}]},
    ],
)
TEMPLATE = """\
{%- set marks = {'system': '<|im_system|>', 'user': '<|im_user|>', 'assistant': '<|im_assistant|>'} -%}
{%- if messages and messages[0].role != 'system' -%}
{{- '<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>' -}}
{%- endif -%}
{%- for message in messages -%}
{{- marks.get(message.role, '') ~ message.role ~ '<|im_middle|>' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
{{- '<|media_start|>image<|media_content|><|media_pad|><|media_end|>' -}}
{%- else -%}
{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_assistant|>assistant<|im_middle|>' -}}
{%- endif -%}
"""


def warn_if_template_differs(folder: Path) -> None:
    """Log a warning with both texts if the folder's template renders a probe otherwise than the bundled one."""
    template = find_template(folder)
    if template is None or template == TEMPLATE:
        return
    expected = [chat.render(probe) for probe in PROBES]
    found = rendered_apart(template)
    for ours, theirs in zip(expected, found, strict=True):
        if ours != theirs:
            log.warning(
                "the chat template in %s differs from the published one, which is used in its place\n  used: %r\n"
                "  file: %r",
                folder,
                ours,
                theirs,
            )
            return


def find_template(folder: Path) -> str | None:
    """The template's text from chat_template.jinja or one of the JSON files that may hold it."""
    if is_there(folder / "chat_template.jinja"):
        return read_text(folder / "chat_template.jinja")
    for name in ("tokenizer_config.json", "chat_template.json", "processor_config.json"):
        try:
            template = read_json(folder / name).get("chat_template")
        except CheckpointError:
            continue  # the files that are needed are checked by their own readers
        if isinstance(template, str):
            return template
    return None


def rendered_apart(template: str) -> list[str]:
    """The probes as the template renders them, or what went wrong, in angle brackets, for each."""
    if len(template) > MAX_CHARACTERS:
        return [f"<not rendered: more than {MAX_CHARACTERS} characters>"] * len(PROBES)
    try:
        return list(_results_of_a_process(template))
    except subprocess.TimeoutExpired:
        return [f"<not rendered within {SECONDS} s>"] * len(PROBES)
    except (subprocess.CalledProcessError, ValueError) as error:
        return [f"<not rendered: {error}>"] * len(PROBES)


@lru_cache(maxsize=16)
def _results_of_a_process(template: str) -> tuple[str, ...]:
    """The probes as a process of its own renders them, once for each template."""
    command = [sys.executable, "-m", __spec__.name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, input=template.encode(), capture_output=True, timeout=SECONDS, check=True, env=environment
    )
    return tuple(str(result) for result in json.loads(done.stdout))


def _limit_process() -> None:
    """Bound the memory of this process, where the platform can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def _render_probes(template: str) -> list[str]:
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment()
    results = []
    for probe in PROBES:
        try:
            results.append(environment.from_string(template).render(messages=probe, add_generation_prompt=True))
        except (TemplateError, TypeError, ValueError, ArithmeticError, MemoryError, LookupError) as error:
            results.append(f"<{type(error).__name__}: {error}>")
    return results


if __name__ == "__main__":
    _limit_process()
    sys.stdout.write(json.dumps(_render_probes(sys.stdin.read())))
