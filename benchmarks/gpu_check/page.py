"""A page that is written section by section, each within its share of the time that is left.

Every line is printed and saved at once, so that a run which is cut short leaves what it measured.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.errors import KvlEvalError

SOON = 0.9  # of a section's time, after which it begins nothing new
AGAIN = 5.0  # seconds after which an alarm is repeated, where the first one was lost in a callback


class OutOfTime(BaseException):
    """A section has used up its time; no handler of ordinary errors on the way may keep it."""


class Page:
    """Lines of Markdown that go to standard output and, where a path is named, to a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.failures: list[str] = []  # checks that do not hold, and sections of checks that did not end
        self.checks = 0
        self.gaps: list[str] = []  # sections that measured nothing, or not all
        if path is not None:
            path.write_text("", "utf-8")

    def line(self, text: str = "") -> None:
        """Write a line."""
        print(text, flush=True)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    def table(self, *names: str) -> None:
        """Begin a table."""
        self.line()
        self.row(*names)
        self.row(*["---"] * len(names))

    def row(self, *cells: object) -> None:
        """Write a row of a table."""
        self.line("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |")


@dataclass(slots=True)
class Work:
    """What a section writes on, and how long it may take.

    Attributes:
        end: when to begin nothing new, on the clock of `time.monotonic`.
    """

    page: Page
    title: str
    end: float

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def check(self, what: str, holds: bool, detail: str = "") -> None:
        """Write a row of a table of checks, and remember one that does not hold."""
        self.page.checks += 1
        self.page.row(what, "yes" if holds else "**no**", detail)
        if not holds:
            self.page.failures.append(f"{self.title}: {what}")

    def gap(self, what: str) -> None:
        """Say that something was not measured, and why."""
        self.page.line()
        self.page.line(what)
        self.page.gaps.append(f"{self.title}: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        weight:    its share of the time, beside those of the sections that follow.
        is_check:  whether it proves answers right; where it does not end, nothing is proven.
    """

    title: str
    run: Callable[[Work], None]
    weight: float = 1.0
    is_check: bool = False


def write(page: Page, sections: Sequence[Section], seconds: float) -> None:
    """Run all sections within so many seconds; a section that fails or takes too long is a line on the page."""
    end = time.monotonic() + seconds
    for number, section in enumerate(sections):
        share = section.weight / sum(later.weight for later in sections[number:])
        begin = time.monotonic()
        limit = share * max(0.0, end - begin)
        work = Work(page, section.title, begin + SOON * limit)
        page.line()
        page.line(f"## {section.title}")
        problem = _problem(section, work, limit)
        page.line()
        if problem is not None:
            page.line(f"**Not finished:** {problem}")
            page.gaps.append(f"{section.title}: {problem}")
            if section.is_check:
                page.failures.append(f"{section.title}: not finished")
        page.line(f"_{time.monotonic() - begin:.1f} s_")


def sentence(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, KvlEvalError):
        return " ".join(error.message.split())
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _problem(section: Section, work: Work, limit: float) -> str | None:
    """Why a section did not end well; its traceback goes to standard error."""
    try:
        with _alarm(limit):
            section.run(work)
    except OutOfTime:
        return f"out of time after {limit:.0f} s"
    except Exception as error:  # whatever it is, the other sections go on
        traceback.print_exc(file=sys.stderr)
        return sentence(error)
    return None


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in this thread after so many seconds, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise OutOfTime

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, former)
