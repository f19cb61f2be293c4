"""Headers of a server that mean something here."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SECONDS = re.compile(r"-?\d{1,12}(\.\d{1,12})?", re.ASCII)


def retry_after(text: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or as a date; None for what cannot be read."""
    text = (text or "").strip()
    if SECONDS.fullmatch(text):
        return max(0.0, float(text))
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            return None
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError, LookupError):
        return None
