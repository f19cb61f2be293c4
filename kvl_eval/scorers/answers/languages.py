"""How an answer is announced, by language: one line a wording. Adding a language is one line and one vector.

`line` is what stands before a colon, `sentence` what stands right before the value. All without case; both are
patterns, matched in text whose characters are plain (`view.py`).
"""

from __future__ import annotations

import re

LINES = (
    r"(?:最终|正确|最后的?|参考)?答案",
    r"答",
    r"(?:正确)?(?:选项|選項)",
    r"(?:richtige |korrekte |endgültige |finale )?antwort",
    r"lösung",
    r"(?:juiste |correcte |definitieve )?antwoord",
    r"(?:bonne )?réponse(?: finale| correcte)?",
    r"risposta(?: finale| corretta| esatta)?",
    r"respuesta(?: final| correcta)?",
    r"resposta(?: final| correta| certa)?",
    r"(?:最終)?(?:答え|解答|回答)",
    r"正解",
    r"(?:최종 ?)?(?:정답|답변?)",
    r"(?:правильный |окончательный )?ответ",
    r"الإجابة(?: الصحيحة| النهائية)?",
    r"(?:सही |अंतिम )?उत्तर",
    r"(?:svar|vastaus|odpowiedź|cevap|đáp án|jawaban)",
)
"""Words of `answer_line` and `heading` in languages other than English."""

SENTENCES = (
    r"(?:答案(?:选项|選項)?|选项|選項|结果|結果)(?:应该|应当|应|就|便|應該)?(?:是|为|為|选|選)(?:择|擇)?",
    r"(?:所以|故|因此|应|应该|综上|综上所述|我)[,，]?\s?(?:应|应该|我)?(?:选|選)(?:择|擇)?",
    r"(?<![\w])(?:选|選)择?(?=\s?[(\[（]?[A-Z])",
    r"(?:应该|應該|我认为|我覺得|我觉得|我想|所以|因此|故|那么)[,，]?(?:应该|应当|应|就)?(?:是|为|為|选|選)择?(?=\s?[(\[（]?[A-Z])",
    r"(?:ich (?:wähle|würde)|je choisis|elijo|escojo|scelgo|escolho|ik kies|wybieram)"
    r"(?=\s(?:(?:option|opción|opção|l'option|die|la|a|el) )?[(\[]?[A-Z]\b)",
    r"(?:คำตอบคือ|सही विकल्प)(?=\s?[(\[]?[A-Z])",
    r"antwort(?: auf die frage)? (?:ist|lautet|wäre)(?: also| daher| somit)?",
    r"richtig(?:e option)? ist",
    r"antwoord (?:is|luidt)",
    r"réponse(?: finale| correcte)? (?:est|serait)",
    r"c'est l'option(?=\s)",
    r"risposta(?: corretta| giusta| finale)? è",
    r"respuesta(?: correcta| final)? (?:es|sería)",
    r"resposta(?: correta| certa| final)? (?:é|seria)",
    r"(?:答え|正解|解答|回答)は",
    r"(?:정답|답)은",
    r"ответ\s?[—–-]",
    r"الإجابة(?: الصحيحة)? هي",
    r"उत्तर है",
)
"""Sentences of `answer_is` in languages other than English."""

ASCII_WORDS = (
    "antw", "risposta", "respuesta", "resposta", "richtig", "l'option", "svar", "vastaus", "cevap", "jawaban",
    "je choisis", "elijo", "escojo", "scelgo", "escolho", "ik kies", "wybieram",
)  # fmt: skip
"""What the rows above in plain ASCII hold: a text with none of it, in ASCII, matches no row."""

COPULA_AFTER = re.compile(r"\s?(?:(?:です|である|だ|になります|입니다|이다|이에요|예요|है)\s?[。.]?|。)$")
"""What Japanese, Korean and Hindi write behind the value."""


def any_of(rows: tuple[str, ...]) -> str:
    """The pattern that is any of some rows."""
    return "(?:" + "|".join(rows) + ")"


ANSWER_NOUNS = (r"answers?", r"ans", r"solution")
CHOICE_NOUNS = (
    r"options?",
    r"choices?",
    r"letters?",
    r"conclusion",
    r"statement",
    r"selection",
    r"assessment|judge?ment|verdict",
    r"guess|bet",
    r"pick|prediction",
)
PRAISES = (
    r"correct|right|true|accurate",
    r"best|most likely|likely",
    r"final",
    r"proper|appropriate|suitable|fitting",
    r"my",
    r"chosen|selected",
)
COPULAS = (
    r"is|are|was|were",
    r"should be|would be|will be|must be|has to be",
    r"could only be|can only be",
    r"seems to be|appears to be",
    r"likely is|probably is",
    r"equals|becomes|remains",
)
ADVERB_ROWS = (
    r"most likely|likely|probably",
    r"clearly|obviously|definitely|certainly",
    r"therefore|thus|then|hence",
    r"indeed|actually|in fact",
    r"simply|still|also",
    r"as follows",
    r"that",
    r"going to be",
    r"(?:the )?(?:letter|option|choice|answer)(?=\s*[:(]?\s*[A-Z]\b)",
    r"approximately(?=\s+[A-Z]\b)",
    r"equal to|given by",
)
ANSWER_NOUN, CHOICE_NOUN, PRAISE, COPULA = map(any_of, (ANSWER_NOUNS, CHOICE_NOUNS, PRAISES, COPULAS))
ADVERBS = any_of(ADVERB_ROWS)

CHOOSING_ROWS = (
    r"choose|chose|chosen",
    r"select|selected",
    r"pick|picked",
    r"go with|went with|gone with",
    r"opt for|answer with",
    r"lean towards?",
)
CHOOSING = (
    r"\b(?:I|we)(?:'ll| would| will| shall|'d|'ve| have| must| should| can)?"
    rf"(?: (?:have to|like to|most likely|therefore|also|now))? {any_of(CHOOSING_ROWS)}(?: with| choosing| selecting)?"
)
CONCLUDING = r"\b(?:I|we) (?:can |therefore |thus )?conclude(?: that)?(?: the answer is)?"


def _compiled(rows: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(rows), re.IGNORECASE)


CORRECTIONS = (
    r"\b(?:actually|rather|i mean)\b",
    r"\b(?:wait|no|oops)\b",
    r"\b(?:sorry|my mistake)\b",
    r"\b(?:correction|corrected)\b",
    r"\bon second thought\b",
    r"\bscratch that\b",
    r"\blet me re-?\w{1,20}",
    r"\b(?:upon (?:re\w{1,20}|closer)|re-?(?:check|evaluat|consider|examin)\w{0,8})\b",
    r"不对|不對",
    r"更正",
    r"等等",
)
"""A word between two marks that makes the later one the answer."""

SUPPOSITIONS = (
    r"\bif\b",
    r"\b(?:suppose|supposing|assuming)\b",
    r"\bhad\b",
    r"\bunless\b",
    r"\bwenn\b",
    r"\bsi\b",
    r"如果|若",
    r"もし",
)
UNREALS = (r"\b(?:would|might have|could have)\b", r"\bwere\b", r"\bwäre\b", r"\b(?:serait|sería)\b", r"会是|就会")
LOOKINGS = (
    r"\bif (?:we|you|one|i) (?:look|check|read|see|follow)\b",
    r"\bif (?:we|you|one|i) (?:count|add|sum|use|apply)\b",
    r"\bif (?:we|you|one|i) (?:compare|consider|take|assume)\b",
    r"\bif (?:we|you|one|i) had to\b",
)
"""Suppositions that are none."""

_OTHERS = (
    r"\b(?:some|others?|someone|somebody|people|one|many|they|he|she|students?|readers?|viewers?|you)"
    r"(?: \w{1,12}){0,2} "
)
SAYINGS_OF_OTHERS = (
    r"say|says|said",
    r"think|thinks|thought",
    r"argue|argues|claim|claims",
    r"believe|believes|assume",
    r"guess|choose|chose|(?-i:answer)",  # `Answer` is a label
)
OTHERS = re.compile(rf"{_OTHERS}{any_of(SAYINGS_OF_OTHERS)}\b", re.IGNORECASE)
BUTS = (r"\bbut\b", r"\b(?:however|yet)\b", r"\bthough\b", r"\baber\b", r"\b(?:mais|pero)\b", r"但", r"しかし")
"""A sentence about a case that is not so, or about what somebody else says; what follows BUTS counts again."""

CORRECTION, SUPPOSED, UNREAL, LOOKING, BUT = map(_compiled, (CORRECTIONS, SUPPOSITIONS, UNREALS, LOOKINGS, BUTS))

CONCLUSIONS = (
    r"so|thus|hence|therefore",
    r"in conclusion|to conclude|in summary|overall",
    r"in total|altogether",
    r"consequently|accordingly|as a result",
    r"finally|also",
    r"daher|donc|por lo tanto",
    r"因此|所以|综上所述|综上|故",
    r"したがって",
)
CONCLUSION = re.compile(
    r"(?:^|(?<=[.!?。;:,]\s)|(?<=\n)|(?<=, and )|(?<=,\s)|(?<=[。，;]))(?:and )?" + any_of(CONCLUSIONS) + r"\b[,:]?",
    re.IGNORECASE,
)
"""What opens the sentence that concludes."""

FILLER_ROWS = (
    r"sure|certainly|of course|absolutely|okay|ok|great",
    r"here (?:is|are|you|'s)|the following",
    r"let me know|i hope|hope (?:this|it)|feel free|please let|thank",
    r"explanation|reason(?:ing)?|justification|rationale|analysis",
    r"note",
    r"because|based on",
    r"step \d|first|looking|let(?:'s| us)",
    r"to (?:answer|determine|find|solve)",
    r"we |if you",
)
FILLER_LINE = re.compile(rf"^\W*{any_of(FILLER_ROWS)}\b", re.IGNORECASE)
"""A line that accompanies an answer and is none."""

INSTRUCTION = re.compile(
    r"^\W*(?:please )?(?:select|choose|answer|respond|pick|provide|give|output|return|write) (?:the|with|by|in"
    r"|using|only|one|an?"
    r"|your|from|directly|this|just)\b[^.\n]{0,80}"
    r"\b(?:options?|letters?|question|choices?|answer|above|below|box(?:ed)?|format|words?"
    r"|phrase)\b[^.\n]{0,80}[.:]?\W*$",
    re.IGNORECASE,
)
"""A line that asks for an answer, copied from the question."""
