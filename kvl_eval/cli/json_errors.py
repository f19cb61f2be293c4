"""The JSON document of a command that failed: with `--json`, standard output has one document whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvl_eval.cli.terminal import echo, wrote_output
from kvl_eval.errors import KvlEvalError

INTERNAL = 1  # exit code of a bug
INTERRUPTED = "interrupted"  # error code of a command that a signal ended before it had a result


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFields:
    """What went wrong.

    Attributes:
        code:        stable, such as `usage.task`; `internal` for a bug, `interrupted` after Ctrl-C.
        message:     what happened.
        where:       task, sample, file and line.
        why:         what was expected or tried.
        fix:         a command or a choice.
        suggestions: names that may have been meant.
        exit_code:   of the command.
    """

    code: str
    message: str
    where: str | None = None
    why: str | None = None
    fix: str | None = None
    suggestions: tuple[str, ...] = ()
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDocument:
    """What a command that failed prints.

    Attributes:
        schema: 1.
        error:  what went wrong.
    """

    schema: int = 1
    error: ErrorFields


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def error_document(error: BaseException, exit_code: int) -> ErrorDocument:
    """The document of a command that `error` ended."""
    if isinstance(error, KvlEvalError):
        fields = ErrorFields(
            code=error.code,
            message=error.message,
            where=error.where,
            why=error.why,
            fix=error.fix,
            suggestions=tuple(getattr(error, "suggestions", ())),
            exit_code=exit_code,
        )
    elif isinstance(error, Exception):
        fields = ErrorFields(code="internal", message=f"{type(error).__name__}: {error}", exit_code=exit_code)
    else:
        fields = ErrorFields(code=INTERRUPTED, message="stopped before there was a result", exit_code=exit_code)
    return ErrorDocument(error=fields)


def echo_error(arguments: Sequence[str], error: BaseException, exit_code: int) -> None:
    """Print the document of an error where the command line asks for JSON and none was printed yet."""
    if wants_json(arguments) and not wrote_output():
        from kvl_eval.decode import encode
        from kvl_eval.printable import json_line

        echo(json_line(encode(error_document(error, exit_code))))
