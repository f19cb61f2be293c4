"""Replies that one row of a table decides, where no other vector does."""

from __future__ import annotations

from kvl_eval.scorers.answers import Wanted
from kvl_eval.scorers.answers.polarity import NO, YES

_LETTER = Wanted(kind="letter", options=("red", "green", "blue", "black"))
_TOWERS = Wanted(kind="letter", options=("red", "green", "blue", "black"), question="Which tower of the two is taller?")
_SENTENCES = (
    # praise, copulas, adverbs
    "The chosen option is C.", "The proper choice is C.", "My selection is C.", "The final letter is C.",
    "The best conclusion is C.", "The correct statement is C.", "My assessment is C, if at all.",
    "My guess is C, blue.", "My pick is C, if at all.", "I cannot be certain. I would lean towards C.",
    "The answer could only be C.", "The answer likely is C.", "The answer remains C.",
    "The answer is most likely C.", "The answer is clearly C.", "The answer is therefore C.", "The answer is indeed C.",
    "The answer is simply C.", "The answer is as follows: C", "The answer is that C is right.",
    "The answer is going to be C.", "The answer is the option C.", "The answer is approximately C.",
    "The answer is equal to C.", "I would go with C.", "I opt for C.", "I choose C.", "I select C.", "I picked C.",
    # announcements of other answers
    "The wrong answer is A, I see.", "Another answer is A, I see.", "A possible answer is A, I see.",
    "An answer is A, I see.", "The sample answer is A, I see.", "The initial answer is A, I see.",
    "This answer is A, I see.", "Your answer is A, I see.",
    "Answer: one of A to D", "Answer: your letter A", "Answer: LETTER A", "Answer: X or A", "Answer: ... A",
    "Answer: yes/no", "Answer: <letter>", "Answer: the correct option's letter, A",
    "Answer: the correct option’s letter",
    *(f"Answer: not {word} here. C. blue" for word in ("answerable", "mentioned", "given", "found", "enough", "sure")),
    *(f"Answer: not {word}" for word in ("answerable", "mentioned", "given", "found", "enough", "sure")),
    '{"option": "C"}', '{"option_letter": "C"}', '{"letter": "C"}',
    # corrections
    *(
        f"Answer: A\n{word} Answer: B"
        for word in (
            "Actually,", "Rather:", "Oops.", "Sorry.", "Correction:", "On second thought.", "Scratch that.",
            "Let me re-read.", "Let me recount.", "Upon closer look.", "Rechecking.", "不对。", "更正：", "等等。",
        )
    ),
    # what is supposed, and what others say
    *(
        f"{words}, the answer {verb} A."
        for words in (
            "If it were night", "Suppose it is night", "Had it been night", "Unless it is night", "Wenn es Nacht ist",
            "Si c'est la nuit", "如果是晚上", "もし夜なら",
        )
        for verb in ("would be", "were", "wäre", "serait", "会是")
    ),
    "If it is night, the answer were A.", "Wenn es Nacht ist, wäre die richtige Antwort: A",
    "Si on inverse, ce serait: réponse : A", "如果是晚上，那会是：答案：A", "如果是晚上，就会：答案：A",
    "If it is night, that would be it, answer: A", "If they were here, answer: A", "Wenn das wäre, Antwort: A",
    "Si serait, réponse : A",
    *(
        f"If we {verb} closely, the answer would be A."
        for verb in ("look", "count", "compare", "check", "add", "consider")
    ),
    "If I had to say, the answer would be A.",
    *(f"Some would {verb} the answer is A." for verb in ("say", "think", "argue", "believe", "guess")),
    *(
        f"Some would say A {word} the answer is B."
        for word in ("but", "however", "though", "aber", "pero", "mais", "但", "しかし")
    ),
    # conclusions
    *(f"It is near the gate. {word}, blue." for word in ("So", "In conclusion", "In total", "Consequently", "Finally")),
    *(f"It is near the gate and not red. {word}, blue it is then" for word in ("Daher", "Donc", "Altogether", "Hence")),
    "It is not red. As a result, blue", "不是red。因此，blue", "不是red。故 blue", "赤ではない。したがって blue",
    "Red is far. Black too.\nGreen? No. Daher blue", "Red is far. Black too.\nGreen? No. 因此 blue",
    "Red is far. Black too.\nGreen? No. したがって blue", "Red is far. Black too.\nGreen? No. In total blue",
    "Red is far. Black too.\nGreen? No. Accordingly blue",
    # words before and behind a letter
    "They cannot be smaller compared to A, so it must be C.", "Not necessarily.", "Answer: 选项C因为它是蓝色的",
    "Answer: 选项C和其他不同", "答案是 选项c",
    "选项 C", "選項C。", "选项C和其他不同", "第C个", "I'd say C!", "I would say (C)", "I'm going with C, surely",
    "I am sure it's C, really", "C, the car is blue", "C; it shines", "C (it shines)", "C (as the sign says) is it",
    "A, because it shines", "A; it shines", "A because it shines", "A since it shines", "A and not B",
    "A but not B", "A (the first)", "C, as the sign says so and all", "C, surely so",
)  # fmt: skip
_COMPARED = (
    *(
        f"The taller tower of the two is blue {words} green."
        for words in ("whereas it is not", "unlike", "rather than", "compared to", "than", "while it is not")
    ),
    *(
        f"Both towers stand near. One is tall. {words} the lower tower is green."
        for words in ("In contrast,", "On the other hand,", "By comparison,", "Whereas")
    ),
)
_DENIALS = (
    "Not answerable", "Not mentioned in the document", "No target found", "There is no way", "It does not mention it",
    "I cannot tell", "Insufficient evidence", "There is no doubt.", "There are no other tables.",
    "There is no need to add.",
)  # fmt: skip
_NUMBERS = tuple(
    f"12 apples. {words}. 7 pears. {words}. In total 19"
    for words in ("In total", "Consequently", "Daher", "因此", "したがって")
)
_LINES = (
    "Sure", "Here is what I see", "The following", "Let me know", "Explanation of it", "Note", "Because of it",
    "Based on it", "Step 1", "Let's see", "To answer this", "We look", "If you look",
)  # fmt: skip
_NOUNS = (
    "one here", "body here", "image here", "picture here", "idea", "clue", "information here", "data here",
    "such thing",
    "target here", "objects here", "answer here", "options here", "way to know", "way", "lo sé", "se", "lo so", "so",
    "clear view", "specific view", "sufficient light", "enough light", "further light", "more light",
)  # fmt: skip
VECTORS: tuple[tuple[str, Wanted], ...] = (
    *((reply, _LETTER) for reply in _SENTENCES),
    *((reply, _TOWERS) for reply in _COMPARED),
    *((reply, Wanted(kind="integer")) for reply in _NUMBERS),
    *((f"{denial}\n12", Wanted(kind="integer", unanswerable=True)) for denial in _DENIALS),
    *((word, Wanted(kind="yesno")) for word in (*YES, *NO)),
    *((f"No {noun}.", Wanted(kind="yesno")) for noun in _NOUNS),
    *((f"{line}\nMelinda Brown", Wanted(kind="text")) for line in _LINES),
    *((f"{line}:\n\nMelinda Brown", Wanted(kind="text")) for line in _LINES),
    *((f"Melinda Brown\n{line}", Wanted(kind="text")) for line in _LINES),
)
