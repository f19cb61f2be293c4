"""What a refusal, a hedge and "not answerable" are: one table of wordings for readers and reports alike.

Patterns without case, for text whose characters are plain (`view.py`). Gaps are bounded, so that a search is linear.
"""

from __future__ import annotations

import re

_CANNOT = (
    r"(?:cannot|can ?not|can't|cant|could not|couldn't|unable to|(?:not|\w{2,6}n't) (?:able|possible) to|(?:im|not"
    r" )possible (?:for me )?to"
    r"|impossible to|difficult to|hard to|(?:do|does|did) not (?:allow|permit|enable) \w{1,12} to|not feasible to)"
)
_KNOWING = (
    r"(?:be (?:\w{1,12} )?)?(?:determined?|tell|told|say|said|answer(?:ed)?|see|seen|read|count(?:ed)?|find"
    r"|found|make out"
    r"|made out|provide|provided|help|assist|view|viewed|identify|identified|confirm|confirmed|locate|located"
    r"|access|know|known"
    r"|recogni[sz]e|discern(?:ed)?|decide|decided|ascertain|infer|inferred|verify|verified|given?|analy[sz]e"
    r"|process|display"
    r"|comply|fulfil|answerable|choose|conclude|compare|compared|establish|perceive|pinpoint|estimate|comment"
    r"|engage|respond)\b"
)

HARNESS_FAILED = re.compile(r"\W{0,9}failed to obtain answer via api\b", re.IGNORECASE)
"""How a reply begins that a harness wrote in place of a model's: whatever follows is not an answer, to any question."""

REFUSALS = (
    rf"\b{_CANNOT} (?:\w{{1,14}} ){{0,2}}?{_KNOWING}",
    r"\b(?:do not|don't|dont|did not|didn't) (?:really |actually |even )?know\b",
    r"\bdunno\b",
    r"\b(?:do|does|did)(?: not|n't) see (?:any|an?|the|this|it)\b",
    r"\b(?:have|has|had)(?: not|n't) (?:been )?(?:provided|attached|uploaded|given|shared|included)\b",
    r"\b(?:not|n't) (?:\w{1,12} )?(?:sure|certain)\b(?! (?:if|that) (?:it|this) matters)",
    r"\b(?:unsure|uncertain|unclear|indeterminate|undeterminable|inconclusive)\b",
    r"\b(?:no|any) (?:idea|clue)\b",
    r"\b(?:not|n't) (?:\w{1,12} )?(?:clear|clearly (?:visible|shown)|legible|readable|visible|discernible"
    r"|distinguishable)\b",
    r"\b(?:illegible|unreadable)\b",
    r"\btoo (?:blurred|blurry|dark|unclear|vague|fuzzy|ambiguous|(?:small|low|far|faint) to)\b",
    r"\b(?:not|isn't) (?:\w{1,12} )?enough (?:\w{1,12} )?(?:information|info|data|context|detail|details"
    r"|evidence|clues)\b",
    r"\b(?:insufficient|incomplete|inadequate|missing|lack of|lacks|without (?:more|further|additional)) (?:\w{1,12} )?"
    r"(?:information|info|data|context|detail|details|evidence|picture|image|figure|diagram|video)\b",
    r"\b(?:more|additional|further) (?:information|info|context|data|details?) (?:is|are|would be|to|needed"
    r"|required|about)\b",
    r"\bneed(?:s|ed)? (?:\w{1,12} )?(?:more|additional|further) (?:information|info|context|data|details?)\b",
    r"\bno (?:\w{1,12} )?(?:image|picture|video|figure|photo|attachment|file|screenshot|document|diagram|graph|chart) "
    r"(?:was|is|has been|were|provided|attached|given|included|available|found|uploaded)\b",
    r"\b(?:did|does|do) not (?:load|appear to be attached|display)\b|\b(?:didn't|doesn't) load\b|\bfailed to load\b",
    r"\bas an? (?:\w{1,12}[ -]){0,2}(?:ai|language model|text model|text-based|llm|assistant|artificial"
    r" intelligence)\b",
    r"\bi(?:'m| am) (?:just |only )?an? (?:\w{1,12}[ -]){0,2}(?:ai|language model|text-based|llm)\b",
    r"\bi (?:\w{1,10} )?apologi[sz]e\b|\bmy apologies\b|\bi(?:'m| am) (?:\w{1,10} )?(?:sorry|afraid)\b|^\W{0,9}sorry\b",
    r"\bnone of (?:the|these|those) (?:\w{1,12} )?(?:options?|choices|answers?|above|listed|given|provided"
    r"|following)\b",
    r"^\W{0,9}n/?a\W*$",
    r"^\W{0,9}(?:unknown|undetermined|none|nothing|null|no answer|no response|unspecified|not applicable)\W*$",
    r"\bi (?:\w{1,10} ){0,2}(?:decline|refuse|prefer not)\b|\b(?:won't|will not) (?:be able to|answer|help"
    r"|provide)\b",
    r"\bfailed to obtain answer\b|\bno (?:correct|valid|right|clear|definitive|suitable|conclusive|single) "
    r"(?:answer|option|choice)s?\b|\bno (?:option|answer|choice)s? (?:is|are|was|given|listed|provided|fits?"
    r"|matches)\b",
    r"\b(?:not|n't|neither) (?:answerable|determinable)\b|\bunanswerable\b",
    r"\bwould need (?:to see|more)\b|\bplease (?:provide|upload|share|give|attach|specify|clarify|send)\b",
    r"\bnot (?:(?:one|any) of|among|in|listed (?:in|among)) (?:the|these|any of the|your) (?:\w{1,12} )?"
    r"(?:options?|choices)\b",
    r"不在(?:上述|给出的|所给)?(?:的)?选项|没有(?:一个)?正确(?:的)?(?:答案|选项)|选项(?:中|里)?(?:都|均)?没有",
    r"无法|不知道|不清楚|不能确定|不能確定|無法|没有提供|看不清|抱歉|信息不足|不确定|以上都不",
    r"\bweiß (?:ich |es )?(?:es )?nicht\b|\blässt sich nicht\b|\bkann (?:\w{1,12} ){0,3}nicht\b|\bnicht"
    r" (?:erkennbar|ersichtlich)\b"
    r"|\bes tut mir leid\b|\bkeine ahnung\b",
    r"\bne sais pas\b|\bne peux pas\b|\bimpossible de\b|\bje suis désolé|\bpas possible de\b|\bne peut pas être\b",
    r"\bno (?:lo )?sé\b|\bno (?:se )?pued[eo]\b|\blo siento\b|\bno es posible\b|\bnão sei\b|\bnão (?:é possível"
    r"|posso)\b"
    r"|\bnon (?:lo )?so\b|\bnon (?:posso|è possibile)\b",
    r"わかりません|分かりません|判断できません|できません|不明です"
    r"|모르겠|알 수 없|확인할 수 없|не знаю|невозможно|не могу",
    r"\bik weet het niet\b|\bkan ik niet\b|لا أعرف|لا يمكن|पता नहीं",
)
"""A reply that declines."""

ABSENCES = (
    r"\b(?:do|does|did)(?: not|n't) (?:\w{1,12} )?(?:give|show|provide|mention|contain|state|specify|include|say"
    r"|have (?:access"
    r"|enough|any|information)|match any)\b(?! (?:a |any |the )?(?:problem|difference|sign))",
    r"\b(?:is|are|was|were) (?:\w{1,12} )?not (?:\w{1,12} )?(?:given|provided|specified|stated|mentioned"
    r"|available|shown|"
    r"present(?:ed)?|depicted|known|listed|included|displayed)\b|\b(?:isn't|aren't|wasn't) (?:given|provided|specified|"
    r"mentioned|available|shown)\b",
    r"\bthere (?:is|are|was) no such\b|\bno (?:such )?(?:target|element|icon|button|match|object)\b(?: (?:was|is"
    r"|were))?"
    r" ?(?:found|visible|here|exists?)?",
    r"\bno information\b|\binformation is (?:missing|unavailable|lacking)\b",
)
"""A reply that misses what is asked for; where that is an answer, `UNANSWERABLE` tells."""

HEDGES = (
    r"\b(?:maybe|perhaps)\b",
    r"^\W{0,9}possibly\b|\bpossibly\b.{1,40}\bor\b",
    r"\beither\b.{1,60}\bor\b",
    r"\b(?:torn|hesitat\w+|undecided|debating|wavering)\b",
    r"\bit depends\b|\bdepends on\b",
    r"\byes and no\b|\byes or no\b",
    r"\bnot necessarily\b",
    r"\b(?:could|might|may) be (?:either|any|\(?[A-Z]\)? or)\b",
    r"也许|可能是?.{0,10}或|或许|取决于|vielleicht|kommt darauf an|peut-être|ça dépend|quizás|\bdepende\b",
)
"""A reply that leaves it open."""

_DOCUMENT = (
    r"(?:document|report|page|pages|text|article|paper|file|passage|slides?|table|figure|chart|source|context|pdf)s?"
)
_GIVEN = (
    r"(?:mentioned|stated|given|provided|specified|included|found|contained|present(?:ed)?|available|listed"
    r"|shown|disclosed"
    r"|indicated|discussed|described|addressed|covered|reported|identified)"
)

UNANSWERABLE = (
    r"\b(?:not|n't) (?:\w{1,12} )?answerable\b|\bunanswerable\b|^\W{0,9}n/?a\W*$|^\W{0,9}not applicable\W*$",
    rf"\b(?:not|never|n't|nowhere|neither) (?:\w{{1,12}} )?{_GIVEN}\b(?:.{{0,40}}\b{_DOCUMENT}\b)?",
    rf"\b(?:is|are|isn't|aren't)(?: not)? (?:\w{{1,12}} )?in (?:the|this|these|any) (?:\w{{1,12}} )?{_DOCUMENT}\b",
    r"\bno (?:\w{1,12} )?(?:target|element|icon|button|match|object|table|figure)s? (?:\w{1,12} )?(?:found"
    r"|visible|exists?|here|matches)\b",
    r"\bthere (?:is|are|was|were) no(?:t any)?\b|\bthere (?:isn't|aren't)\b",
    rf"\bno (?:information|data|mention|answer|reference|details?|{_DOCUMENT}|such)\b|\bnone of the"
    rf" (?:\w{{1,12}} )?{_DOCUMENT}\b",
    r"\b(?:do|does|did)(?: not|n't) (?:\w{1,12} )?(?:mention|contain|say|provide|give|include|specify|state|show"
    r"|exist|have"
    r"|appear|list|discuss|address|indicate|cover|disclose|report|describe)\b|\bcontains? no\b|\bprovides? no\b"
    r"|\bgives? no\b",
    rf"\b{_CANNOT} (?:\w{{1,14}} ){{0,2}}?{_KNOWING}",
    r"\b(?:insufficient|not enough) (?:information|data|context|evidence|details?)\b",
    r"没有提到|没有提供|未提及|没有提及|文档中没有|文中没有|无法回答|未说明",
    r"\benthält (?:\w{1,12} )?(?:keine|nicht)\b|\bkeine? (?:angaben?|information\w*)\b|\bnicht (?:angegeben"
    r"|erwähnt|enthalten)\b",
    r"\bne (?:le |la |l')?(?:précise|mentionne|indique) pas\b|\bpas (?:mentionné|précisé|indiqué)|\bno se"
    r" (?:menciona|indica)\b",
)
"""A reply that says that the question has no answer, where that is one (`Wanted.unanswerable`)."""

NOT_MEANT = (
    r"\bno doubt\b|\bwithout (?:a )?doubt\b",
    r"\bnothing is missing\b|\bno(?:thing| one)? else\b|\bno other\b",
    r"\b(?:\(?[A-Z]\)?|option \w|it|this|that|they|these|which|he|she) (?:cannot|can ?not|can't|could not"
    r"|couldn't) (?:be (?!determined"
    r"|answered|seen|read|identified|found|known|told|inferred|confirmed|verified|established|ascertained"
    r"|compared|decided"
    r"|concluded|located))",
    r"\bnot sure about (?:the )?(?:unit|spelling)\b",
    r"\bthere (?:is|are) no (?:need|question|difference)\b",
)
"""What looks like one of the above and is not."""


def _table(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.MULTILINE)


_REFUSAL, _ABSENCE, _HEDGE, _UNANSWERABLE, _NOT_MEANT = map(
    _table, (REFUSALS, ABSENCES, HEDGES, UNANSWERABLE, NOT_MEANT)
)


def _meant(text: str) -> str:
    """The text without what only looks like a refusal; typographic apostrophes are plain ones."""
    return _NOT_MEANT.sub(" ", text.replace("’", "'").replace("‘", "'"))


def declines(text: str) -> bool:
    """Whether a text says that its author cannot answer."""
    return _REFUSAL.search(_meant(text)) is not None


def misses(text: str) -> bool:
    """Whether a text misses what it is asked for."""
    return _ABSENCE.search(_meant(text)) is not None


def refuses(text: str) -> bool:
    """Whether a text declines to answer, or misses what it is asked for."""
    return declines(text) or misses(text)


def hedges(text: str) -> bool:
    """Whether a text leaves the answer open."""
    return _HEDGE.search(_meant(text)) is not None


def denies(text: str) -> bool:
    """Whether a text says that its question has no answer."""
    return _UNANSWERABLE.search(_meant(text)) is not None
