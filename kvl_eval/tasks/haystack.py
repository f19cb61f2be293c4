"""The haystacks of `kvl-niah 1`: their grid of lengths and depths, needles, and the text. All integers, all seeded.

A hash stands for every draw (`media.drawn.hashed_number`), so the same bytes come out everywhere. The frames of a video
haystack are drawn by `kvl_eval/media/drawn.py`; word lists, keys and letters lie in `kvl_eval/data/niah/lexicon.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

from kvl_eval.errors import ConfigError
from kvl_eval.media.drawn import hashed_number, lexicon
from kvl_eval.tasks.base import Measure

NeedleCell = tuple[int, int, int]  # length, depth, repetition

CONTEXT, SPARE = 131_072, 512
BINS = tuple(zip((0, *(2**power for power in range(11, 17))), (2**power for power in range(11, 18)), strict=True))
DEPTHS = {"full": range(0, 101, 10), "quick": range(0, 101, 25)}
SENTENCE = ("subjects", "verbs", "objects", "places", "times")
TILE, MARKS = 28, 4  # pixels of a visual token's side; tokens around a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What `--data-version` may change, as `name=number` separated by commas.

    Attributes:
        seed:        of sentences, needles and frames.
        distractors: further codes, of other keys, in a text haystack.
        width, height: of a frame in pixels.
        max_length:  bins above it are left out.
        reps:        runs of a cell, each with a haystack of its own.
    """

    seed: int = 20250410
    distractors: int = 0
    width: int = 224
    height: int = 224
    max_length: int = CONTEXT
    reps: int = 1

    @classmethod
    def of(cls, version: str | None) -> Design:
        """The design that a data version describes. Raises: ConfigError, for one that describes none."""
        known = [one.name for one in fields(cls)]
        given: dict[str, int] = {}
        for part in (version or "").replace("-", "_").split(","):
            name, _, value = part.strip().partition("=")
            if part.strip() and (name not in known or not value.isdecimal()):
                raise _no_version(version, f"{part.strip()!r} is none of {', '.join(f'{name}=N' for name in known)}")
            if part.strip():
                given[name] = int(value)
        found = cls(**given)
        sides = min(found.width, found.height) >= 132 and max(found.width, found.height) <= 4096
        if not sides or found.reps < 1 or found.distractors >= len(lexicon()["keys"]):
            raise _no_version(version, "sides have 132 to 4096 pixels, reps count from 1, distractors to 23")
        return found

    @property
    def frame_tokens(self) -> int:
        """Tokens that a frame takes, its marks included."""
        return -(-self.width // TILE) * -(-self.height // TILE) + MARKS


def _no_version(version: str | None, why: str) -> ConfigError:
    return ConfigError(
        "config.data_version",
        f"--data-version {version!r} describes no haystack",
        why=why,
        fix="for instance --data-version max-length=8192,distractors=3",
    )


# -- cells and needles ------------------------------------------------------------------------------------------


def grid(split: str, design: Design) -> Iterator[NeedleCell]:
    """The cells of a split: `full` has four lengths a bin and eleven depths, `quick` one length and five."""
    for low, high in BINS:
        if high > design.max_length:
            return
        for k in (1, 2, 3, 4) if split == "full" else (4,):
            for depth in DEPTHS[split]:
                yield from ((low + (high - low) * k // 4, depth, rep) for rep in range(design.reps))


def bin_of(length: int) -> str:
    """The bin of a length, as the published table calls it: `(2048,4096]`. Raises: ValueError, for one above all."""
    for low, high in BINS:
        if low < length <= high:
            return f"({low},{high}]"
    raise ValueError(f"a haystack of {length} tokens belongs to no bin")


def target_of(length: int) -> int:
    """Most tokens of the haystack itself."""
    return min(length, CONTEXT - SPARE)


def needle(case: str, seed: int, distractors: int = 0) -> list[tuple[str, str]]:
    """The needle's key and value, then those of the distractors."""
    keys = lexicon()["keys"]
    place = hashed_number(seed, "key", case) % len(keys)
    found = [(keys[place], _value(seed, "value", case))]
    for j in range(distractors):
        used, t = {value for _, value in found}, 0
        while (value := _value(seed, "distractor", case, j, t)) in used:
            t += 1
        found.append((keys[(place + 1 + j) % len(keys)], value))
    return found


def _value(seed: int, *parts: object) -> str:
    return str(1_000_000 + hashed_number(seed, *parts) % 9_000_000)


# -- the text haystack ------------------------------------------------------------------------------------------


def haystack(sentences: int, depth: int, codes: Sequence[tuple[str, str]], seed: int, rep: int) -> str:
    """So many sentences, the needle (first of `codes`) at its depth, distractors at equal distances."""
    said = [f"The secret code of {key} is {value}." for key, value in codes]
    places = [depth * sentences // 100, *((j + 1) * sentences // len(codes) for j in range(len(codes) - 1))]
    parts: list[str] = []
    done = 0
    for place, number in sorted(zip(places, range(len(codes)), strict=True)):
        parts += [*(sentence(seed, rep, i) for i in range(done, place)), said[number]]
        done = place
    return " ".join([*parts, *(sentence(seed, rep, i) for i in range(done, sentences))])


@lru_cache(maxsize=20_000)
def sentence(seed: int, rep: int, number: int) -> str:
    """The same for every length and depth, so that prompts begin alike."""
    words = lexicon()
    drawn = (words[name][hashed_number(seed, "text", rep, number, name) % len(words[name])] for name in SENTENCE)
    return " ".join(drawn) + "."


def most_sentences(count: Measure, target: int, text_of: Callable[[int], str], guess: int = 0) -> tuple[int, int]:
    """The most sentences whose haystack has at most `target` tokens, and how many it has.

    `text_of(n)` is the haystack of n sentences; the count grows with n, so a good guess is only checked.
    """
    low, high, tokens = 0, None, count(text_of(0))
    tried = max(1, guess or target // 16)
    while high is None or high - low > 1:
        tried = max(low + 1, tried if high is None else min(tried, high - 1))
        found = count(text_of(tried))
        each = max(1.0, found / tried)
        step = int((target - found) / each)
        if found <= target:
            low, tokens, tried = tried, found, tried + max(1, step)
        else:
            high, tried = tried, tried + min(-1, step)
    return low, tokens
