"""How a letter is written: words before it, what sets it apart, remarks behind it. One row a family of wordings."""

from __future__ import annotations

import re

from kvl_eval.scorers.answers.dress import QUOTES

OPTION_WORDS = (
    r"(?:the |an? )?(?:correct |right |best |final )?(?:options?|opt\.?|choices?|letters?|answers?)\s?[:#_-]?\s*",
    r"(?:la |l['’]|de )?(?:opción|opção|opzione|optie|option)\s?[:#]?\s*",
    r"(?:la )?(?:letra|lettre|lettera|buchstabe)\s?[:#]?\s*",
    r"(?:a |la )?alternativ[ae]\s?[:#]?\s*",
    r"вариант\s?[:#]?\s*",
    r"(?:la|die|el)\s(?=(?-i:[A-Z])(?!\w))",
    r"(?:选项|選項)\s*",
    r"第",
    r"選択肢\s*",
    r"선택지\s*",
)
"""Words right before an option's letter."""

FILLERS = (
    r"(?:sure|ok(?:ay)?|alright|right|yes|well)\b[,:.!]{0,2}",
    r"(?:ah|oh|hmm+)\b[,:.!]{0,2}",
    r"(?:then|ergo|final)\b[,:]?",
)
"""Words that open a reply and say nothing."""

SAYINGS = (
    r"it(?:'s|’s| is| must be| should be| has to be| seems to be)",
    r"that(?:'s|’s| is| would be)",
    r"i(?:'d| would) say",
    r"(?:definitely|surely|clearly|certainly|obviously)",
    r"(?:probably|most likely|likely)",
    r"i(?:'m| am) (?:going with|sure it(?:'s| is))",
    r"i(?:'d| would)? (?:think|guess|believe|suppose|bet)(?: that)?(?: it(?:'s|’s| is| would be))?",
    r"i(?:'d| would)? go(?: for| with)?",
    r"(?:select|choose|pick|go with|choosing|selecting|picking)(?: option)?",
)
"""Phrases between which and the end of the sentence stands the letter alone."""

REMARKS = (
    r"[(–—-](?![\w>])",
    r"[,;]\s*(?!and\b|or\b|also\b|but also\b|maybe\b|perhaps\b)[a-z]",
    r"\s,?\s{0,4}(?:because|since|as|due to|not|and not|but not)\b",
    r"\(",
)
"""What explains a bare letter other than A and I, which may be words."""

AFTERWARDS = (
    r"[,;]\s*(?:because|since|as|due to|not|but not|it|this|the other)\b",
    r"\s(?:because|since|due to)\b",
    r"\s(?:and|but) not\b",
    r"\([^()]{1,60}\)[.!]*$",
    r"[,;。]\s*(?![和或及与以、])[\u3040-\u9fff\uac00-\ud7a3]",
    r",?\s{1,4}i (?:think|guess|believe|suppose|would say)\s*[.!]*$",
    r",?\s{1,4}(?:it is|it's)\s*[.!]*$",
    r",?\s{1,4}(?:probably|most likely|definitely|for sure|obviously)\s*[.!]*$",
)
"""What explains a bare letter and stands behind no article."""


def _any_of(rows: tuple[str, ...]) -> str:
    return "(?:" + "|".join(rows) + ")"


LABEL = re.compile(
    rf"(?P<word>{_any_of(OPTION_WORDS)})?(?P<open>[(\[{{<【]\s*)?[{QUOTES}]?(?P<letter>[A-Za-z])[{QUOTES}]?"
    r"(?P<close>\s?[)\]}】]|>|[.:、](?!\w)|[.:](?=[A-Z][a-z])|\s?(?:项|選項|选项))?(?![A-Za-z0-9_À-ɏ+#'’°]|\.\w)",
    re.IGNORECASE,
)
LABELLED_LINE = re.compile(rf"[\s{QUOTES}>*•·☐-]*(?:option\s+)?[(\[]?([A-Za-z])[)\].:、][)\].:]?\s*\S", re.IGNORECASE)
SURELY = re.compile(
    rf"(?:{_any_of(FILLERS)}\s+(?:{_any_of(SAYINGS)}\s+)?|{_any_of(SAYINGS)}\s+)"
    r"(?:(?:most likely|probably|definitely|clearly)\s+)?"
    r"(?=[(\[]?[A-Z][)\]]?[\s.!,;:]|[(\[]?[A-Z][)\]]?$)",
    re.IGNORECASE,
)
REMARK = re.compile(rf"\s*{_any_of(REMARKS)}")
AFTERWARD = re.compile(rf"\s*{_any_of(AFTERWARDS)}", re.IGNORECASE)
REPEATED = re.compile(
    r"[\s(\[]*(?P<letter>[A-Za-z])[)\].]*(?:[\s,;./|、-]{1,4}(?:(?:or|and)\s)?[(\[]?(?P=letter)[)\].]{0,2}){1,400}"
    r"|(?P<run>[A-HJ-Z])(?P=run){2,400}[.]*"
)
"""One letter again and again: "C C C", "CCC"; three in a row are not a numeral."""

_ORNAMENT = r"\s*~|\\/•·_…\u2600-\u2716\u2718-\u274b\u274d-\u27bf\ufe0f\U0001f300-\U0001faff" + QUOTES
ORNAMENTED = re.compile(rf"[{_ORNAMENT}<(\[{{#:.=-]*+(?P<letter>[A-Za-z])(?:\s[-–—]|[{_ORNAMENT}>)\]}}:;,.!。、])*")
"""One letter and no other letter or digit, in any punctuation and pictographs but crosses."""

ONLY_LABELS = re.compile(r"(?:[\s,;(\[]*(?<![A-Za-z])[A-Z][.)\]:]){1,26}[\s,;(\[]*(?:[A-Z][.)\]:]?)?\s*$")
NUMBERED = re.compile(r"(?:\(\d{1,2}\)|\d{1,2}[.):])\s+(?=[(\[]?[A-Z][)\].]*$)")
