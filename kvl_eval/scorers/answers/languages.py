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
    r"(?:최종 ?)?정답",
    r"(?:최종 ?)?답변?",
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

ANSWER_NOUN = r"(?:answers?|ans|solution)"
CHOICE_NOUN = r"(?:options?|choices?|letters?|conclusion|statement|selection)"
PRAISE = r"(?:correct|right|best|final|proper|appropriate|suitable|accurate|true|fitting|my|chosen|selected|likely)"
COPULA = (
    r"(?:is|are|was|were|should be|would be|will be|must be|has to be|could only be|can only be|seems to be"
    r"|appears to be"
    r"|likely is|probably is|equals|becomes|remains)"
)
ADVERBS = (
    r"(?:most likely|likely|probably|clearly|therefore|thus|then|hence|indeed|actually|simply|definitely|obviously"
    r"|certainly|also|still|as follows|in fact|that|going to be|(?:the )?(?:letter|option|choice"
    r"|answer)(?=\s*[:(]?\s*[A-Z]\b)"
    r"|approximately(?=\s+[A-Z]\b)|equal to|given by)"
)
CHOOSING = (
    r"\b(?:I|we)(?:'ll| would| will| shall|'d|'ve| have| must| should| can)?(?: (?:have to|like to|most likely"
    r"|therefore|also|now))?"
    r" (?:choose|chose|chosen|select|selected|pick|picked|go with|went with|opt for|answer with)(?: with)?"
)
CONCLUDING = r"\b(?:I|we) (?:can |therefore |thus )?conclude(?: that)?(?: the answer is)?"

CORRECTION = re.compile(
    r"\b(?:actually|wait|correction|corrected|no|sorry|rather|on second thought|scratch that|i mean|let me re-?\w+|oops"
    r"|my mistake|upon (?:re\w+|closer)|re-?(?:check|evaluat|consider|examin)\w*)\b|不对|更正|等等|不對",
    re.IGNORECASE,
)
"""A word between two marks that makes the later one the answer."""

SUPPOSED = re.compile(r"\b(?:if|suppose|supposing|assuming|had|unless|wenn|si)\b|如果|若|もし", re.IGNORECASE)
UNREAL = re.compile(r"\b(?:would|were|might have|could have|wäre|serait|sería)\b|会是|就会", re.IGNORECASE)
LOOKING = re.compile(
    r"\bif (?:we|you|one|i) (?:look|count|compare|consider|check|read|add|see|take|assume|apply|use|sum|follow"
    r"|had to)\b",
    re.IGNORECASE,
)
OTHERS = re.compile(
    r"\b(?:some|others?|someone|somebody|people|one|many|they|he|she|students?|readers?|viewers?|you)(?:"
    r" \w{1,12}){0,2} "
    r"(?:say|says|said|think|thinks|thought|argue|argues|believe|believes|claim|claims|guess|choose|chose|answer"
    r"|assume)\b",
    re.IGNORECASE,
)
BUT = re.compile(r"\b(?:but|however|yet|though|aber|mais|pero)\b|但|しかし", re.IGNORECASE)
"""A sentence about a case that is not so, or about what somebody else says; what follows BUT counts again."""

CONCLUSION = re.compile(
    r"(?:^|(?<=[.!?。;:,]\s)|(?<=\n)|(?<=, and )|(?<=,\s)|(?<=[。，;]))"
    r"(?:and )?(?:so|thus|hence|therefore|in conclusion|in summary|overall|in total|altogether|consequently|accordingly"
    r"|as a result|to conclude|finally|also|daher|donc|por lo tanto"
    r"|因此|所以|综上所述|综上|故|したがって)\b[,:]?",
    re.IGNORECASE,
)
"""What opens the sentence that concludes."""

FILLER_LINE = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|okay|ok|great|here (?:is|are|you|'s)|let me know|i hope|hope"
    r" (?:this|it)"
    r"|feel free|please let|explanation|reason(?:ing)?|note|because|justification|rationale|analysis|thank|based"
    r" on|step \d"
    r"|looking|to (?:answer|determine|find|solve)|let(?:'s| us)|first|we |the following|if you)\b",
    re.IGNORECASE,
)
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
