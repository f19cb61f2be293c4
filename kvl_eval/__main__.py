"""`python -m kvl_eval` is `kvl-eval`. What stands here is read by older Pythons, too."""

from __future__ import annotations

import signal
import sys


def start() -> None:
    """The command line as its own process: Ctrl-C while it starts or ends prints no traceback.

    Ends with a sentence in a Python that is too old: in a source checkout no installer has looked at the version.
    """
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("kvl-eval requires Python 3.11 or later; this is Python {}.{}.{}.".format(*sys.version_info))
    listens = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # background jobs ignore it
    if listens:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kvl_eval.cli.main import main

    try:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt:  # a second one, while the first was answered
        sys.exit(130)
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    start()
