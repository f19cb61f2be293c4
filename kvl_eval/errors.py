"""Every error kvl-eval raises on purpose.

    KvlEvalError
    ├── UsageError        exit 2   wrong option, unknown name, mismatch on resume, run folder busy
    │   └── ConfigError   exit 2   invalid configuration value
    ├── UnscoredError     exit 3   nothing in a run has a score
    ├── InputError        exit 4   inputs unusable
    │   ├── DataError              data set files, rows, fields
    │   ├── CheckpointError        model folder, weights, tokenizer
    │   └── EndpointError          the configured server is unusable
    ├── StorageError      exit 6   disk full, no permission while running
    └── SampleError                one sample failed; the run continues and records `reason`
        ├── PromptError            prompt and images do not match, context overflow
        └── MediaError             image, video or document missing, corrupt, too large, outside its folder

Bugs stay ordinary exceptions. The command line prints `render`; a Python traceback ends with `str`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kvl_eval.names import did_you_mean, suggestions
from kvl_eval.printable import one_line, printable, visible

PYTHON = {
    "kvl-eval list tasks": "kvl_eval.list_tasks()",
    "kvl-eval list runs": "kvl_eval.list_runs()",
    "kvl-eval run --help": "help(kvl_eval.evaluate)",
    "--split mini": 'split="mini"',
}
"""{command in a fix: the Python call that does the same}."""
_OPTION = re.compile(r" ?--([a-z][a-z-]*) ([^\s=-][^\s=]*)")
_RUN = re.compile(rf"(?:kvl-eval run (?!-)(\S+))?((?:{_OPTION.pattern.replace('(', '(?:')})+)(   \(.*\))?")
INDENT = "\n         "  # of a further line of `where`, `why` and `fix`


class KvlEvalError(Exception):
    """An error with a stable lower-case code, and what a user needs to act on it.

    Args:
        code:    stable and documented, such as `data.field`.
        message: what happened, in one sentence.
        where:   task, sample, file and line.
        why:     what was expected or tried.
        fix:     a command or a choice; one per line.
    """

    exit_code = 1
    suggestions: tuple[str, ...] = ()  # known names that an unknown name may stand for, best first

    def __init__(
        self, code: str, message: str, *, where: str | None = None, why: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        """`message [code]`, then `where`, `why` and `fix` where known; the fix names Python calls."""
        fix = self.fix and "\n".join(map(_in_python, self.fix.split("\n")))
        return "\n".join([f"{_indented(self.message)} [{self.code}]", *self._details(fix)])

    def __reduce__(self) -> tuple[object, ...]:
        """The error with all its fields, which cross process boundaries (media workers)."""
        return _rebuild, (type(self), self.code, self.message), vars(self)

    def render(self) -> str:
        """The block that the command line prints: `error[code]: message`, then `where`, `why` and `fix` where known.

        Foreign text in it is printable, words of more than 200 characters are cut, and further lines are indented.
        """
        return "\n".join([f"error[{self.code}]: {_indented(self.message)}", *self._details(self.fix)])

    def _details(self, fix: str | None) -> list[str]:
        parts = (("where:", self.where and _indented(self.where)), ("why:", self.why and _indented(self.why)))
        commands = fix and printable(fix).replace("\n", INDENT)
        return [f"  {label:<6} {text}" for label, text in (*parts, ("fix:", commands)) if text]


def _indented(text: str) -> str:
    return visible(text).replace("\n", INDENT)


def _in_python(line: str) -> str:
    """A line of a fix with Python calls for its commands; a line of options alone is a call of `evaluate`."""
    if run := _RUN.fullmatch(line):
        task, options, comment = run.groups(default="")
        named = [f"tasks={task!r}"] if task else []
        pairs = [f"{name.replace('-', '_')}={value!r}" for name, value in _OPTION.findall(options)]
        return f"kvl_eval.evaluate({', '.join(named + pairs)}){comment}"
    for command, call in PYTHON.items():
        line = line.replace(f"`{command}`", call).replace(command, call)
    return line


def _rebuild(kind: type[KvlEvalError], code: str, message: str) -> KvlEvalError:
    return kind(code, message)


class UsageError(KvlEvalError):
    """Invalid command-line usage."""

    exit_code = 2


class ConfigError(UsageError):
    """Invalid configuration value."""


class UnscoredError(KvlEvalError):
    """Nothing in a run has a score."""

    exit_code = 3


class InputError(KvlEvalError):
    """Data, checkpoint or server unusable."""

    exit_code = 4


class DataError(InputError):
    """A file, row or field of a data set is unusable."""


class CheckpointError(InputError):
    """A model folder, its weights or its tokenizer are unusable."""


class DecodeError(InputError):
    """A value has another type than expected; the message begins with the path of the first wrong field."""


class EndpointError(InputError):
    """The configured server is unusable."""


class StorageError(KvlEvalError):
    """Results cannot be written."""

    exit_code = 6


class SampleError(KvlEvalError):
    """One sample failed; `reason` is the short code in its record."""

    exit_code = 4

    @property
    def reason(self) -> str:
        """The code with `_` for its dot: `media.corrupt` and `media_corrupt` both give `media_corrupt`."""
        return self.code.replace(".", "_")


class PromptError(SampleError):
    """Prompt and images do not match, or the prompt exceeds the context window."""


class MediaError(SampleError):
    """An image, video or document is missing, corrupt, too large or outside its folder."""


def unknown(kind: str, name: str, known: Sequence[str], listing: str, *, code: str | None = None) -> UsageError:
    """The error of an unknown name, with up to three known names that it may stand for.

    `listing` is the command or the page that lists the known names. The code is `usage.KIND` unless given.
    """
    names = suggestions(name, known)
    is_command = listing.startswith("kvl-eval ")
    fix = f"{did_you_mean(names, quoted=kind == 'option' and name[:1] != '-')} See {listing}" if names else listing
    error = UsageError(
        code or f"usage.{kind}",
        f"unknown {kind} {one_line(repr(name))}",
        fix=fix if names or is_command else f"see {listing}",
    )
    error.suggestions = names
    return error
