"""Names that users type: equal up to case and punctuation, or near enough to a known name to suggest it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST = 3  # suggestions
NEAR = 0.7  # normalized Damerau-Levenshtein similarity of folded names, from which a name is suggested
SHORTEST = 4  # folded characters of a name that counts when it is contained in another


def folded(name: str) -> str:
    """The letters and digits of a name, without case: `MMMU Pro`, `mmmu_pro` and `mmmu-pro` are one name."""
    return "".join(char for char in name.casefold() if char.isalnum())


def same_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that equals `name` exactly, else up to case and punctuation; None if there is none."""
    names = list(known)
    if name in names:
        return name
    wanted = folded(name)
    return next((candidate for candidate in names if wanted and folded(candidate) == wanted), None)


def suggestions(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The at most three known names that `name` may stand for, best first.

    Names that contain it, or are contained in it, come before names that are only spelled alike.
    """
    from rapidfuzz.distance import DamerauLevenshtein

    wanted = folded(name)
    ranked: list[tuple[bool, float, str]] = []
    for candidate in dict.fromkeys(known):
        other = folded(candidate)
        similarity = DamerauLevenshtein.normalized_similarity(wanted, other) if wanted and other else 0.0
        is_contained = min(len(wanted), len(other)) >= SHORTEST and (wanted in other or other in wanted)
        if is_contained or similarity >= NEAR:
            ranked.append((not is_contained, -similarity, candidate))
    return tuple(candidate for *_, candidate in sorted(ranked)[:MOST])


def did_you_mean(names: Sequence[str], *, quoted: bool = False) -> str:
    """`did you mean a, b or c?`; an empty text without names."""
    words = [repr(name) if quoted else name for name in names]
    if not words:
        return ""
    return f"did you mean {' or '.join(filter(None, (', '.join(words[:-1]), words[-1])))}?"
