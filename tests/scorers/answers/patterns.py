"""What a pattern costs, read from its parse: repeats without a limit, and where they stand."""

from __future__ import annotations

import re
import re._constants as kinds  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from typing import Any

REPEATS = (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT)
ZERO_WIDTH = (kinds.AT, kinds.ASSERT, kinds.ASSERT_NOT)


def tree(pattern: re.Pattern[str]) -> Any:
    """The parse of a pattern."""
    return parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)


def branches(node: Any) -> Iterator[Any]:
    """The sequences inside an element of a sequence."""
    operator, argument = node
    if operator in REPEATS:
        yield argument[2]
    elif operator is kinds.SUBPATTERN:
        yield argument[3]
    elif operator is kinds.BRANCH:
        yield from argument[1]
    elif operator in (kinds.ASSERT, kinds.ASSERT_NOT):
        yield argument[1]
    elif operator is kinds.ATOMIC_GROUP:
        yield argument
    elif operator is kinds.GROUPREF_EXISTS:
        yield from (part for part in argument[1:] if part is not None)


def is_unbounded(node: Any) -> bool:
    """Whether an element may repeat more than 10,000 times."""
    return node[0] in REPEATS and node[1][1] > 10_000


def nests(sequence: Any, inside: bool = False) -> bool:
    """Whether a repeat without a limit stands in another one and can split what it repeats in several ways."""
    for node in sequence:
        if inside and is_unbounded(node):
            return True
        if any(nests(part, inside or is_unbounded(node)) for part in branches(node)):
            return True
    return False


def begins_unbounded(sequence: Any) -> bool:
    """Whether a match may begin with a repeat without a limit, so that a search costs the square of a run."""
    for node in sequence:
        if is_unbounded(node):
            return True
        if node[0] is kinds.AT and node[1] in (kinds.AT_BEGINNING, kinds.AT_BEGINNING_STRING):
            return False
        if node[0] in ZERO_WIDTH:
            continue
        if any(begins_unbounded(part) for part in branches(node)):
            return True
        if not (node[0] in REPEATS and node[1][0] == 0) and _width(node) > 0:
            return False
    return False


def _width(node: Any) -> int:
    operator, argument = node
    if operator in REPEATS:
        return int(argument[0]) * min((_sequence_width(part) for part in branches(node)), default=1)
    if operator in (kinds.SUBPATTERN, kinds.BRANCH, kinds.ATOMIC_GROUP):
        return min((_sequence_width(part) for part in branches(node)), default=0)
    return 0 if operator in ZERO_WIDTH else 1


def _sequence_width(sequence: Any) -> int:
    return sum(_width(node) for node in sequence)
