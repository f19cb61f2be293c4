"""Options that say where OSWorld's own environment is. They name code, so no run folder and no file has them."""

from __future__ import annotations

from kvl_eval.options.base import RUN, Heading, Option, ValueKind

OSWORLD_OPTIONS = (
    Option(
        name="osworld_python",
        kind=ValueKind.FILE,
        metavar="FILE",
        help="Run OSWorld's environment with this interpreter, which has desktop-env.",
        group=Heading.AGENTS,
        advanced=True,
        commands=(*RUN, "resume"),
        variable="KVL_EVAL_OSWORLD_PYTHON",
    ),
    Option(
        name="osworld_dir",
        kind=ValueKind.FOLDER,
        metavar="DIR",
        help="Use the in-guest server (and desktop_env, if not installed) of this clone of OSWorld.",
        group=Heading.AGENTS,
        advanced=True,
        commands=(*RUN, "resume"),
        variable="KVL_EVAL_OSWORLD_DIR",
    ),
)
