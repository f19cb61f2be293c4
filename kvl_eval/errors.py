"""Every error kvl-eval raises on purpose.

    KvlEvalError
    ├── UsageError        exit 2   wrong option, unknown name, mismatch on resume, run folder busy
    │   └── ConfigError   exit 2   a configuration value that cannot be
    ├── InputError        exit 4   inputs unusable
    │   ├── DataError              data set files, rows, fields
    │   ├── CheckpointError        model folder, weights, tokenizer
    │   └── EndpointError          a server the user named
    ├── StorageError      exit 6   disk full, no permission while running
    └── SampleError                one sample cannot be answered; the run goes on and records `reason`
        ├── PromptError            prompt and pictures do not fit together, context overflow
        └── MediaError             picture, video or document missing, corrupt, too large, outside its folder

Bugs stay ordinary exceptions. The printed form is that of `render`.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.printable import one_line, printable, visible


class KvlEvalError(Exception):
    """An error with a stable lower-case code, and what a user needs to act on it.

    Args:
        code:    stable and documented, such as `data.field`.
        message: what happened, in one sentence.
        where:   task, sample, file and line.
        why:     what was expected or tried.
        fix:     a command or a choice.
    """

    exit_code = 1

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
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries (media workers), keyword fields included."""
        return _rebuild, (type(self), self.code, self.message, self.where, self.why, self.fix)

    def render(self) -> str:
        """The block shown to the user: `error[code]: message`, then `where`, `why` and `fix` where known.

        Foreign text in it is printable, words of more than 200 characters are cut, and no line of it looks like ours.
        """
        lines = [f"error[{self.code}]: {_shown(self.message)}"]
        for label, text in (("where:", self.where), ("why:", self.why)):
            if text:
                lines.append(f"  {label:<6} {_shown(text)}")
        if self.fix:
            lines.append(f"  fix:   {printable(self.fix, keep='')}")
        return "\n".join(lines)


def _shown(text: str) -> str:
    return visible(text).replace("\n", "\n         ")


def _rebuild(
    kind: type[KvlEvalError], code: str, message: str, where: str | None, why: str | None, fix: str | None
) -> KvlEvalError:
    return kind(code, message, where=where, why=why, fix=fix)


class UsageError(KvlEvalError):
    """The command cannot mean anything as it was given."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration value that cannot be."""


class InputError(KvlEvalError):
    """Data, checkpoint or endpoint unusable."""

    exit_code = 4


class DataError(InputError):
    """A data set file, row or field that cannot be used."""


class CheckpointError(InputError):
    """A model folder, its weights or its tokenizer that cannot be used."""


class DecodeError(InputError):
    """What was read is not what it should be; the message begins with the path of the first wrong field."""


class EndpointError(InputError):
    """A server named by the user that cannot be used."""


class StorageError(KvlEvalError):
    """Results cannot be written."""

    exit_code = 6


class SampleError(KvlEvalError):
    """One sample cannot be answered; `reason` is the short code its record carries."""

    exit_code = 4

    @property
    def reason(self) -> str:
        """The code with `_` for its dot: `media.corrupt` and `media_corrupt` both give `media_corrupt`."""
        return self.code.replace(".", "_")


class PromptError(SampleError):
    """Prompt and pictures do not fit together, or the prompt does not fit the context window."""


class MediaError(SampleError):
    """A picture, video or document that is missing, corrupt, too large or outside its folder."""


def unknown(kind: str, name: str, known: Sequence[str], listing: str) -> UsageError:
    """The error for a name nobody has, with the three nearest that exist."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), known, n=3, cutoff=0.3) or list(known)[:3]
    message = f"there is no {kind} {one_line(repr(name))}"
    return UsageError(f"usage.{kind}", message, why=f"nearest: {', '.join(near)}", fix=f"see `{listing}`")
