"""Data files of pages: script files that register themselves, so that they load from disk as well as over http.

Texts are ASCII-only JSON in which control and direction characters are already visible escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from kvl_eval.reports import numbers
from kvl_eval.store.outputs import OutputFolder

CHUNK_BYTES = 400_000
CHUNK_SAMPLES = 200
LONGEST = 200_000  # characters of one text that the page shows; the run folder holds the whole


def text(value: object) -> str:
    """A text as the page shows it, cut at `LONGEST` with a notice."""
    whole = str(value if value is not None else "")
    cut = f"\n[... {len(whole) - LONGEST:,} more characters in the run folder]" if len(whole) > LONGEST else ""
    return numbers.plain(whole[:LONGEST], keep="\n\t") + cut


def literal(value: object) -> str:
    """`value` as ASCII JSON that is a script expression too, which no markup or line end inside it can leave."""
    script = json.dumps(value, separators=(",", ":"))
    for char in "<>&":
        script = script.replace(char, f"\\u{ord(char):04x}")
    return script


def parsed(value: object) -> str:
    """`value` as a script expression that browsers read faster than a literal when it is large."""
    return "JSON.parse('{}')".format(literal(value).replace("\\", "\\\\").replace("'", "\\'"))


@dataclass(slots=True)
class Names:
    """Texts that occur often, by number."""

    known: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The number of `name`, a new one if needed."""
        return self.known.setdefault(name, len(self.known))


@dataclass(slots=True)
class Chunks:
    """Writes samples to chunk files, starting a new one when the last is full."""

    out: OutputFolder
    number: int = 0
    _lines: list[str] = field(default_factory=list)
    _size: int = 0

    def add(self, sample: Mapping[str, object]) -> tuple[int, int]:
        """Chunk and place of `sample`."""
        line = literal(sample)
        if self._lines and (self._size + len(line) > CHUNK_BYTES or len(self._lines) >= CHUNK_SAMPLES):
            self.flush()
        self._lines.append(line)
        self._size += len(line)
        return self.number, len(self._lines) - 1

    def flush(self) -> None:
        """Write what is waiting."""
        if self._lines:
            body = ",\n".join(self._lines)
            chunk = f"kvl.chunk({self.number},[{body}]);\n"
            self.out.write([chunk.encode("ascii")], "data", f"c{self.number}.js")
            self.number, self._lines, self._size = self.number + 1, [], 0
