"""The texts that nano's tokenizer learns from."""

from collections import Counter

from tools.nano.mixture import SOURCES, example
from tools.nano.words import BUTTONS, GOODS, NAMES

# Prompts of tasks that nano does not train on yet: their words get tokens, for a later training to start from here.
FURTHER_PROMPTS = (
    "Select the best answer to the following multiple-choice question based on the video and the subtitles. Respond "
    "with only the letter (A, B, C, or D) of the correct option.\nThese are the frames of a video. This video's "
    "subtitles are listed below:\n",
    "Answer with the option's letter from the given choices directly.\nThere are several options:\n",
    "Please answer directly with only the letter of the correct option and nothing else. The best answer is:",
    "Answer with a single word or phrase. If the answer is not in the document, answer 'Not answerable'.",
    "One frame of this video shows a banner with a secret code. What is the secret code of Kim? Answer with the number "
    "only. Which page of the document shows it?",
    "Step one: first add, then carry. So the total is, therefore the final answer is",
)


def corpus(count: int = 6000) -> Counter[str]:
    """Weighted texts the tokenizer learns from: prompts and replies of all tasks, names, the markers' letters."""
    shares = {name: 1.0 for name in SOURCES if name not in ("read", "plain", "match", "copy", "sums")}
    texts: Counter[str] = Counter()
    for n in range(count):
        drawn = example(f"tokenizer/{n}", shares, 1.0)
        for turn in drawn.turns:
            texts.update(part for part in turn.parts if isinstance(part, str))
    for word in (*NAMES, *GOODS, *BUTTONS):
        texts[word] += 30
        texts[f" {word}"] += 30
    texts.update({"system": 500, "user": 500, "assistant": 500, "image": 500, "You are a helpful assistant": 500})
    texts["think"] += 500
    texts.update(dict.fromkeys(FURTHER_PROMPTS, 60))
    return texts
