"""`python -m kvl_eval` is `kvl-eval`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - in a source checkout no installer has looked at the version
    sys.exit("kvl-eval requires Python 3.11 or later; this is Python {}.{}.{}.".format(*sys.version_info))

from kvl_eval.cli.main import main

if __name__ == "__main__":
    main()
