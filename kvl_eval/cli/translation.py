"""A command line in the options of other harnesses, rewritten in ours by the table of `kvl_eval.cli.habits`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import click

from kvl_eval.cli.habits import ROWS, Explained, Habit, Mapped, Note, Rewritten, Typed, Values, pairs
from kvl_eval.errors import UsageError

RUNS = ("run", "sweep", "eval", "evaluate")
SCORES = ("score", "resume")  # commands for which the rows `anywhere` hold


@dataclass(frozen=True, slots=True)
class Translation:
    """A command line in our own options, and notes for the user, one line each."""

    argv: tuple[str, ...]
    notes: tuple[str, ...] = ()


def translate(argv: Sequence[str], group: click.Group, environment: Mapping[str, str] = os.environ) -> Translation:
    """The command line in our own options. `kvl-eval --task x` is one of `run`.

    Raises: UsageError `usage.habit` for an option without counterpart, `usage.remote_code`.
    """
    first = 0 if argv and argv[0].startswith("-") else 1
    command = "run" if first == 0 else "".join(argv[:1])
    if command not in RUNS + SCORES:
        return Translation(tuple(argv))
    _refuse_launcher(environment)
    rows = ROWS if command in RUNS else {name: row for name, row in ROWS.items() if row.anywhere}
    options = list(_options(argv[first:], rows, group.commands.get(command) or group.commands["run"]))
    if [word for typed in options if typed.name == "--task" for word in typed.words[1:]] == ["list"]:
        listed = [word for typed in options if typed.name in ("--include-path", "--json") for word in typed.words]
        return Translation(("list", "tasks", *listed))
    words: list[str] = list(argv[:first])
    notes: dict[str, None] = {}
    for typed in _with_model(options):
        ours, note = _acted(rows.get(typed.name), typed)
        words += ours
        notes |= {note: None} if note else {}
    return Translation(tuple(words), tuple(notes))


def _acted(row: Habit | None, typed: Typed) -> tuple[Sequence[str], str]:
    """Our words for an option, and a note. Raises: UsageError."""
    is_short = row is not None and row.takes != "flag" and len(typed.words) == 1  # its value is missing
    match None if row is None else row.action:
        case Mapped() | Values() | Rewritten() if is_short:
            return typed.words, ""
        case Mapped(option):
            return (option, *typed.words[1:]), ""
        case Values(words) if typed.value.lower() in words:
            value = words[typed.value.lower()]
            return () if value is None else (typed.name, value), ""
        case Note(text):
            return (), text
        case Explained(why, fix):
            raise typed.refused(why, fix)
        case Rewritten(rewrite):
            return rewrite(typed)
    return typed.words, ""


def _with_model(options: Sequence[Typed]) -> Iterator[Typed]:
    """The options that count, each with the model of the line: `--max-batch-size` replaces `--batch-size auto`."""
    models = [option.value for option in options if option.name in ("--model", "-M") and "=" not in option.value]
    arguments = [pair for option in options if option.name == "--model-args" for pair in pairs(option.value)]
    is_limited = any(option.name == "--max-batch-size" for option in options)
    for option in options:
        if not (is_limited and option.name == "--batch-size" and option.value.startswith("auto")):
            model, pretrained = models[-1] if models else None, dict(arguments).get("pretrained")
            yield replace(option, model=model, pretrained=pretrained)


def _options(argv: Sequence[str], rows: Mapping[str, Habit], command: click.Command) -> Iterator[Typed]:
    """The words of a command line, each option with its value; other words, and what follows `--`, one by one."""
    own = [option for option in command.params if isinstance(option, click.Option)]
    with_value = {name for option in own if not option.is_flag and not option.count for name in option.opts}
    place = 0
    while place < len(argv):
        word = argv[place]
        if word == "--":
            yield Typed("", "", tuple(argv[place:]))
            return
        spelled, equals, inline = word.partition("=")
        name = spelled.replace("_", "-") if word.startswith("--") else word
        row = rows.get(name)
        takes = row.takes if row is not None else "value" if name in with_value else "flag"
        count = 0 if equals and word.startswith("--") else _following(argv[place + 1 :], takes)
        values = [inline] if equals and not count else argv[place + 1 : place + 1 + count]
        if row is None:
            yield Typed(name, " ".join(values), tuple(argv[place : place + 1 + count]))
        else:
            yield Typed(row.names[0], ("," if takes == "pairs" else " ").join(values), (spelled, *values))
        place += 1 + count


def _following(rest: Sequence[str], takes: str) -> int:
    """How many words belong to an option."""
    if takes in ("flag", "value") or not rest:
        return min(takes == "value", len(rest))
    belonging = 1
    while belonging < len(rest) and not rest[belonging].startswith("-"):
        if takes == "pairs" and "=" not in rest[belonging]:
            break
        belonging += 1
    return belonging


def _refuse_launcher(environment: Mapping[str, str]) -> None:
    """Raises UsageError where a launcher started several processes, of which each would run everything."""
    size = environment.get("WORLD_SIZE", "")
    if size.isdecimal() and int(size) > 1 and "RANK" in environment:
        raise UsageError(
            "usage.habit",
            f"torchrun or accelerate started {size} processes",
            why="each of them would run everything",
            fix="start kvl-eval once; use --backend ray --num-replicas N or --shard I/N",
        )
