"""A reply as a reader sees it: characters made plain, dress taken off, with a way back to the reply's own offsets."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from kvl_eval.scorers.answers.reading import CharSpan

Edit = tuple[int, int, str]  # characters from a place to another become a text

TRAILERS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|return|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "</s>",
    "<end_of_turn>",
    "<eos>",
    "[EOS]",
    "[/INST]",
)
"""Special tokens that servers leave in an answer."""

_CHARACTERS = re.compile(
    r"(?P<blanks>\s{9,})|"
    + "|".join(re.escape(text) for text in TRAILERS)
    + "|\r\n?|[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[\u00ad\u200b-\u200f\u2060\ufeff]"
    + "|[\uff01-\uff5e]|[\u24b6-\u24e9]|[\U0001f130-\U0001f189]"
)


class Text:
    """A text made from another by edits; `origin` leads back to the first one."""

    __slots__ = ("_begins", "_ends", "_parent", "_shifts", "_starts", "_widths", "text")

    def __init__(self, text: str, parent: Text | None = None, edits: Iterable[Edit] = ()) -> None:
        self._parent = parent
        self.text = text
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._widths: list[int] = []
        self._shifts: list[int] = []
        self._starts: list[int] = []
        edits = list(edits)
        if edits:
            self._edit(text, edits)

    def _edit(self, text: str, edits: list[Edit]) -> None:
        kept, position = [], 0
        for start, end, new in edits:
            kept += [text[position:start], new]
            position = end
        kept.append(text[position:])
        self.text = "".join(kept)
        self._begins = [start for start, _, _ in edits]
        self._ends = [end for _, end, _ in edits]
        self._widths = [len(new) for _, _, new in edits]
        self._shifts = list(accumulate(len(new) - (end - start) for start, end, new in edits))
        self._starts = [start + shift for (start, _, _), shift in zip(edits, [0, *self._shifts], strict=False)]

    def edited(self, edits: Iterable[Edit]) -> Text:
        """The text with edits, which are sorted and do not overlap."""
        return Text(self.text, self, edits)

    def moved(self, position: int) -> int:
        """Where a place of the parent's text stands here."""
        index = bisect.bisect_right(self._ends, position)
        here = position + (self._shifts[index - 1] if index else 0)
        return min(here, self._starts[index]) if index < len(self._starts) else here

    def _before(self, position: int, is_end: bool) -> int:
        """The place in the parent's text of a place here."""
        index = bisect.bisect_left(self._starts, position) if is_end else bisect.bisect_right(self._starts, position)
        if not index:
            return position
        last = index - 1
        inside = position - self._starts[last] - self._widths[last]
        if inside < 0:
            begin, stop = self._begins[last], self._ends[last]
            return stop if is_end else min(stop, begin + position - self._starts[last])
        return self._ends[last] + inside

    def origin(self, start: int, end: int) -> CharSpan:
        """A span of this text as a span of the first text."""
        first, last = self._before(start, False), self._before(end, True)
        first, last = min(first, last), max(first, last)
        return self._parent.origin(first, last) if self._parent is not None else (first, last)


@dataclass(slots=True)
class View:
    r"""The plain text, and what its dress said.

    Attributes:
        text:  the reply without dress.
        boxes: contents of `\boxed{}` and of its like, in order.
        tags:  contents of `<answer>` and of its like.
        bolds: what stood in `**`.
        plain: the reply with its dress and plain characters, for readers of coordinates.
    """

    text: str
    body: Text
    plain: Text
    boxes: list[CharSpan] = field(default_factory=list)
    tags: list[CharSpan] = field(default_factory=list)
    bolds: list[CharSpan] = field(default_factory=list)


def plain_characters(reply: str) -> Text:
    """Full width to ASCII, circled letters to letters, odd blanks to blanks, special tokens away."""
    return Text(reply, None, ((m.start(), m.end(), _plain(m.group())) for m in _CHARACTERS.finditer(reply)))


def _plain(found: str) -> str:
    code = ord(found[0])
    if len(found) > 8 and found.isspace():
        return "\n" * min(2, found.count("\n")) or "  "  # so that no pattern meets a long run of blanks
    if found[0] == "\r":
        return "\n"
    if len(found) > 1 or found in "\u00ad\u2060\ufeff" or 0x200B <= code <= 0x200F:
        return ""
    if 0xFF01 <= code <= 0xFF5E:
        return chr(code - 0xFEE0)
    if 0x24B6 <= code <= 0x24E9:
        return chr(ord("A") + code - 0x24B6) if code < 0x24D0 else chr(ord("a") + code - 0x24D0)
    if code >= 0x1F130:
        offset = (code - 0x1F130) % 0x20
        return chr(ord("A") + offset) if offset < 26 else found
    return " "


_TOKENS = re.compile(
    r"""
    (?=[ `~\\^<*_${}\n])(?:
    (?P<fence>^[ ]{0,3}(?:```|~~~)[\w+-]*[ \t]*$\n?)
  | (?P<box>\\(?:boxed|fbox|framebox)\s{0,3}\{)
  | (?P<barebox>\\(?:boxed|fbox)[ ](?=[A-Z0-9]+(?:[ ]?[.$\n]|\Z)))
  | (?P<wrap>\\(?:text(?:bf|it|rm|tt|sf|normal)?|math(?:rm|bf|it|sf|tt|bb|cal)|operatorname|emph|mbox|underline|bold|bm
        |boldsymbol)\s{0,3}\{)
  | (?P<frac>\\[dtc]?frac(?![a-zA-Z]))
  | (?P<sign>\\(?:times|cdot|approx|sim|pm|div|rightarrow|Rightarrow|to|therefore|left|right|displaystyle|degree|circ
        |quad|qquad|cdots|ldots)(?![a-zA-Z]))
  | (?P<degree>\^\{?\\circ\}?)
  | (?P<thin>\\[,;: ~]|~(?=\d)|\\\\)
  | (?P<nothing>\\!|\\[()\[\]]|\$\$)
  | (?P<escaped>\\[%$#&_{}*])
  | (?P<openbox><\|begin_of_box\|>)|(?P<closebox><\|end_of_box\|>)
  | (?P<opentag><(?:answer|final_answer|solution|output|ans|final|choice)\s?>)
  | (?P<closetag></(?:answer|final_answer|solution|output|ans|final|choice)\s?>)
  | (?P<stars>\*+)|(?P<lows>_+)|(?P<ticks>`+)|(?P<dollar>\$)
  | (?P<open>\{)|(?P<close>\})|(?P<line>\n))
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_BARE_VALUE = re.compile(r"[A-Za-z0-9]+")
_SIGNS = {
    "times": "×",
    "cdot": "·",
    "approx": "≈",
    "sim": "~",
    "pm": "±",
    "div": "÷",
    "rightarrow": "→",
    "to": "→",
    "therefore": "∴",
    "degree": "°",
    "circ": "°",
    "quad": " ",
    "qquad": " ",
    "cdots": "...",
    "ldots": "...",
}


class _Undresser:
    """One pass over the plain characters: which characters go, and what was boxed, tagged or bold."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: list[Edit] = []
        self.boxes: list[CharSpan] = []
        self.tags: list[CharSpan] = []
        self.bolds: list[CharSpan] = []
        self._braces: list[tuple[str, int]] = []
        self._tag: int | None = None
        self._tag_is_box = False
        self._bold: int | None = None
        self._line: dict[str, tuple[int, int]] = {}  # an opened emphasis of this line

    def run(self) -> None:
        for match in _TOKENS.finditer(self.text):
            getattr(self, f"_on_{match.lastgroup}")(match.start(), match.end())
        opened = [start for name, start in self._braces if name == "box"][-200:]
        self.boxes += [(start, self._line_end(start)) for start in opened]
        if self._tag is not None:
            (self.boxes if self._tag_is_box else self.tags).append((self._tag, len(self.text)))
        self.edits.sort()
        self.boxes.sort()

    def _line_end(self, start: int) -> int:
        end = self.text.find("\n", start)
        return len(self.text) if end < 0 else end

    def _drop(self, start: int, end: int, new: str = "") -> None:
        between_words = self.text[start - 1 : start].isalnum() and self.text[end : end + 1].isalnum()
        self.edits.append((start, end, " " if not new and between_words else new))

    def _on_fence(self, start: int, end: int) -> None:
        self.edits.append((start, end, ""))

    def _on_box(self, start: int, end: int) -> None:
        self._braces.append(("box", end))
        self._drop(start, end)

    def _on_barebox(self, start: int, end: int) -> None:
        value = _BARE_VALUE.match(self.text, end)
        self.boxes.append((end, value.end() if value else end))
        self._drop(start, end)

    def _on_wrap(self, start: int, end: int) -> None:
        self._braces.append(("wrap", end))
        self._drop(start, end, " " if self.text[start - 1 : start].isalnum() else "")

    def _on_frac(self, start: int, end: int) -> None:
        if end - start == len("\\dfrac"):
            self.edits.append((start + 1, start + 2, ""))

    def _on_sign(self, start: int, end: int) -> None:
        self.edits.append((start, end, _SIGNS.get(self.text[start + 1 : end].lower(), "")))

    def _on_degree(self, start: int, end: int) -> None:
        self.edits.append((start, end, "°"))

    def _on_thin(self, start: int, end: int) -> None:
        self.edits.append((start, end, "~" if self.text[start] == "~" else " "))

    def _on_nothing(self, start: int, end: int) -> None:
        self.edits.append((start, end, ""))

    def _on_escaped(self, start: int, end: int) -> None:
        self.edits.append((start, start + 1, ""))

    def _on_open(self, start: int, end: int) -> None:
        self._braces.append(("", end))

    def _on_close(self, start: int, end: int) -> None:
        name, opened = self._braces.pop() if self._braces else ("", 0)
        if name == "box":
            self.boxes.append((opened, start))
        if name:
            self._drop(start, end)

    def _on_openbox(self, start: int, end: int) -> None:
        self._tag, self._tag_is_box = end, True
        self.edits.append((start, end, "\n"))

    def _on_opentag(self, start: int, end: int) -> None:
        self._tag, self._tag_is_box = end, False
        self.edits.append((start, end, "\n"))

    def _on_closetag(self, start: int, end: int) -> None:
        if self._tag is not None:
            (self.boxes if self._tag_is_box else self.tags).append((self._tag, start))
        self._tag = None
        self.edits.append((start, end, "\n"))

    _on_closebox = _on_closetag

    def _on_line(self, start: int, end: int) -> None:
        self._line.clear()

    def _on_ticks(self, start: int, end: int) -> None:
        self.edits.append((start, end, ""))

    def _on_stars(self, start: int, end: int) -> None:
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        if end - start == 1:
            return self._emphasis("*", start, end)
        if end - start == 2 and before.isdigit() and after.isdigit() and self._bold is None:
            self.edits.append((start, end, "^"))  # 2**3
            return None
        if self._bold is None:
            self._bold = end if after and not after.isspace() else None
        else:
            self.bolds.append((self._bold, start))
            self._bold = None
        self.edits.append((start, end, ""))
        return None

    def _on_lows(self, start: int, end: int) -> None:
        if end - start <= 2:
            self._emphasis("_" * (end - start), start, end)

    def _on_dollar(self, start: int, end: int) -> None:
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        opened = self._line.get("$")
        if opened is not None and before and not before.isspace() and not after.isdigit():
            self.edits += [(*opened, ""), (start, end, "")]
            del self._line["$"]
        elif after and not after.isspace():
            is_paired = opened is None and "$" in self.text[end : self._line_end_near(end)]
            if after.isdigit() or after in ".-" or is_paired:
                self._line["$"] = (start, end)
            else:
                self.edits.append((start, end, ""))

    def _line_end_near(self, start: int) -> int:
        end = self.text.find("\n", start, start + 300)
        return start + 300 if end < 0 else end

    def _emphasis(self, mark: str, start: int, end: int) -> None:
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        opened = self._line.get(mark)
        if opened is not None and before and not before.isspace() and not after.isalnum():
            self.edits += [(*opened, ""), (start, end, "")]
            del self._line[mark]
        elif after and not after.isspace() and not before.isalnum():
            self._line[mark] = (start, end)


_DRESSED = re.compile(r"[^ -~\n]|[\\$*_`{}<~]|\[EOS|\[/INST|\s{9}")


def undress(reply: str) -> View:
    """The view of a reply whose thought is off."""
    if _DRESSED.search(reply) is None:
        bare = Text(reply)
        return View(text=reply, body=bare, plain=bare)
    plain = plain_characters(reply)
    pass_over = _Undresser(plain.text)
    pass_over.run()
    body = plain.edited(pass_over.edits)

    def moved(spans: list[CharSpan]) -> list[CharSpan]:
        return [(body.moved(start), body.moved(end)) for start, end in spans]

    return View(
        text=body.text,
        body=body,
        plain=plain,
        boxes=moved(pass_over.boxes),
        tags=moved(pass_over.tags),
        bolds=moved(pass_over.bolds),
    )
