"""What a user must hear of a server's habits when its answers are in."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kvl_eval.run.plan import Plan

MANY = 0.05  # share of replies from which a habit is the server's, not a reply's


def server_notices(flags: Mapping[str, int], replies: int, omitted: Collection[str]) -> list[str]:
    """One sentence for each habit.

    Args:
        flags:   {flag: answers of this session that carry it}.
        replies: answers of this session.
        omitted: fields that were not sent.
    """
    taken = flags.get("answer_in_reasoning", 0)
    notices = []
    if replies and taken / replies > MANY:
        notices.append(
            f"in {taken} of {replies} replies all text was in reasoning_content; start the server without its "
            "reasoning parser"
        )
    return [*notices, *omission_notices(omitted)]


def omitted_fields(plan: Plan) -> list[str]:
    """Names of the fields that a run's server is not sent."""
    omitted = plan.model.get("omitted")
    return [str(name) for name in omitted] if isinstance(omitted, list) else []


def omission_notices(omitted: Collection[str]) -> list[str]:
    """What follows from fields that are not sent to a server."""
    notices = ["no seed was sent: replies are not reproducible"] if "seed" in omitted else []
    others = [name for name in omitted if name != "seed"]
    return notices + ([f"{', '.join(others)} not sent: the server uses its own values"] if others else [])
