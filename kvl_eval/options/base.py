"""What an option and a command are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ValueKind(StrEnum):
    """What a value is, and how it is checked."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    SWITCH = "switch"  # no value
    TOGGLE = "toggle"  # `--name` or `--no-name`; None where neither is given
    COUNTER = "counter"  # counts how often it is given
    FILE = "file"
    FOLDER = "folder"


class Heading(StrEnum):
    """Headings of a help text, in their order."""

    MODEL = "Model"
    DATA = "Data"
    PROMPT = "Prompt"
    GENERATION = "Generation"
    AGENTS = "Agents"
    SERVER = "Server"
    SCORING = "Scoring"
    PROBES = "Probes"
    OUTPUT = "Output"


class Scope(StrEnum):
    """What an option describes."""

    COMMAND = "command"  # how the command works; stored nowhere
    RUN = "run"
    TASK = "task"  # may differ between the tasks of a run
    ENGINE = "engine"  # the last four are the concerns of `kvl_eval.backends.base.Settings`
    MEDIA = "media"
    SERVER = "server"
    CLUSTER = "cluster"


class NameKind(StrEnum):
    """NameKind that the shell completes."""

    TASK = "task"
    MODEL = "model"
    PROMPT = "prompt"
    PROTOCOL = "protocol"
    RUN = "run"
    COMMAND = "command"


RUN = ("run", "sweep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: its flags, its key in a configuration file and its Python keyword.

    Attributes:
        name:           as Python and configuration files call it; `--` and hyphens make the flag.
        help:           one sentence.
        group:          the heading it has in help.
        kind:           what its value is.
        metavar:        what help calls the value; empty for switches.
        aliases:        further flags; help shows the first where it is short, such as `-m`.
        default:        the value where none is given.
        default_text:   what help says instead of `default`.
        choices:        the values of ValueKind.CHOICE.
        former_choices: values that are accepted and not shown.
        least:          the smallest number.
        above:          a number that the value must exceed.
        repeatable:     whether it may be given several times.
        required:       whether the command needs it.
        advanced:       whether `run` and `sweep` show it under `--help-all` only.
        hidden:         whether no help shows it.
        commands:       commands that take it.
        scope:          what it describes.
        in_fingerprint: whether runs with different values are different runs.
        variable:       the environment variable that gives the default.
        completes:      which names the shell completes.
        parameter:      the parameter of the command's function, where it differs from `name`.
    """

    name: str
    help: str
    group: Heading
    kind: ValueKind = ValueKind.TEXT
    metavar: str = ""
    aliases: tuple[str, ...] = ()
    default: str | int | float | None = None
    default_text: str | None = None
    choices: tuple[str, ...] = ()
    former_choices: tuple[str, ...] = ()
    least: int | float | None = None
    above: int | float | None = None
    repeatable: bool = False
    required: bool = False
    advanced: bool = False
    hidden: bool = False
    commands: tuple[str, ...] = RUN
    scope: Scope = Scope.COMMAND
    in_fingerprint: bool = False
    variable: str | None = None
    completes: NameKind | None = None
    parameter: str = ""

    @property
    def flag(self) -> str:
        """`--max-new-tokens`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def short(self) -> str | None:
        """The short flag that help shows, such as `-m`."""
        return next((alias for alias in self.aliases[:1] if not alias.startswith("--")), None)

    @property
    def shown_default(self) -> str:
        """What help says of the default; empty where there is none."""
        return self.default_text or ("" if self.default is None else str(self.default))


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A positional value of a command.

    Attributes:
        name:      the parameter of the command's function.
        noun:      what an error calls it.
        many:      whether there may be several.
        required:  whether the command line must have it.
        choices:   the values it may have; empty: any.
        completes: which names the shell completes.
        is_run:    whether a run is named, by its path, its id or `latest`.
    """

    name: str
    noun: str
    many: bool = False
    required: bool = True
    choices: tuple[str, ...] = ()
    completes: NameKind | None = None
    is_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command and the head of its help.

    Attributes:
        name:      as it is typed; `check data` is a command of `check`.
        section:   the heading it has in `kvl-eval --help`; empty: not listed there.
        summary:   its line there.
        usage:     the lines behind `Usage: `.
        text:      paragraphs of its help.
        examples:  lines of its help.
        arguments: positional values.
        shows:     options that `--help` shows; None: all but hidden and, in `run`, advanced ones.
        aliases:   further names, shown nowhere.
        continues: whether options that are not given stay as a run folder stores them.
    """

    name: str
    usage: tuple[str, ...]
    text: tuple[str, ...]
    section: str = ""
    summary: str = ""
    examples: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    shows: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    continues: bool = False
