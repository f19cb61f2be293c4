"""Whether a name fits what a user typed."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase


def folded(name: str) -> str:
    """A name without case, blanks, `-` and `_`."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def matches(name: str, pattern: str) -> bool:
    """Whether a name contains a pattern, or, where that is a glob, fits it; case makes no difference."""
    name, pattern = name.casefold(), pattern.casefold()
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name
