"""Help texts, made from the tables of `kvl_eval.options`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence

from kvl_eval.options import COMMANDS, Command, Heading, Option, ValueKind, options_of

COLUMN = 30  # where the help of an option begins
NARROW, WIDE = 60, 100  # columns of a help text
ADVANCED = ("run", "sweep")  # commands with options that only `--help-all` shows
FIRST = """\
Usage: kvl-eval COMMAND [OPTIONS]

Evaluate vision-language models on published benchmarks.
"""
LAST = """\
Also: help [COMMAND or TOPIC], version, completion bash|zsh|fish

Examples:
  kvl-eval run mathvista
  kvl-eval run mmmu --model endpoint --base-url http://127.0.0.1:8000/v1
  kvl-eval report latest

Topics: tasks, models, data, config, environment, exit-codes
"""


def overview() -> str:
    """The help of `kvl-eval` itself: every command in one line."""
    sections: dict[str, list[str]] = {}
    for command in COMMANDS:
        if command.section:
            sections.setdefault(command.section, []).append(f"  {command.name:<10}  {command.summary}")
    blocks = [f"{name}:\n" + "\n".join(lines) + "\n" for name, lines in sections.items()]
    return "\n".join([FIRST, *blocks, LAST])


def command_help(command: Command, *, everything: bool = False) -> str:
    """The help of a command; with `everything` its advanced options, too."""
    width = min(max(shutil.get_terminal_size().columns, NARROW), WIDE)
    usage = "\n".join(f"{'Usage: ' if not number else '       '}{line}" for number, line in enumerate(command.usage))
    blocks = [usage, *(_paragraph(text, width) for text in command.text)]
    if command.examples:
        blocks.append("\n".join(["Examples:", *(f"  {line}".rstrip() for line in command.examples)]))
    blocks += _groups(command, everything, width)
    blocks.append("\n".join(_last_options(command, width)))
    return "\n\n".join(blocks) + "\n"


def wrapped(words: Iterable[str], width: int) -> Iterator[str]:
    """Lines of at most `width` characters, but for longer words; a word may hold blanks."""
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def _paragraph(text: str, width: int) -> str:
    return "\n".join(f"  {line}" for line in wrapped(text.split(), width - 2))


def _groups(command: Command, everything: bool, width: int) -> Iterator[str]:
    options = [option for option in options_of(command.name) if not option.hidden]
    if command.name not in ADVANCED:  # what no other command takes comes first
        options.sort(key=lambda option: len(option.commands) > 1)
    plain = [option for option in options if _is_plain(command, option)]
    rest = [option for option in options if option not in plain]
    headed = {group.value: [option for option in plain if option.group == group] for group in Heading}
    if everything:
        headed["Advanced"] = rest
    for head, members in headed.items():
        if members:
            lines = [line for option in members for line in _entry(_flags(option), _words(option), width)]
            yield "\n".join([f"{head}:", *lines])


def _is_plain(command: Command, option: Option) -> bool:
    if command.shows is not None:
        return option.name in command.shows
    return not (option.advanced and command.name in ADVANCED)


def _last_options(command: Command, width: int) -> Iterator[str]:
    yield from _entry("-h, --help", ["Show this message and exit."], width)
    if command.name in ADVANCED:
        yield from _entry("--help-all", ["Show advanced options too."], width)


def _flags(option: Option) -> str:
    if option.kind is ValueKind.TOGGLE:
        return f"{option.flag} / --no-{option.flag[2:]}"
    names = option.flag if option.short is None else f"{option.short}, {option.flag}"
    return f"{names} {option.metavar}".rstrip()


def _words(option: Option) -> list[str]:
    """What help says of an option; its default is not broken over lines."""
    default = option.shown_default
    return [*option.help.split(), *([f"[default: {default}]"] if default else [])]


def _entry(flags: str, words: Sequence[str], width: int) -> Iterator[str]:
    lines = list(wrapped(words, width - COLUMN))
    if len(flags) > COLUMN - 4:
        yield f"  {flags}"
    else:
        yield f"  {flags:<{COLUMN - 4}}  {lines.pop(0)}"
    yield from (f"{'':{COLUMN}}{line}" for line in lines)
