"""What `--osworld-python` and `--osworld-dir` name."""

from __future__ import annotations

import os
from pathlib import Path

from kvl_eval.cli.options import Flags
from kvl_eval.errors import UsageError
from kvl_eval.run.contacts import PlaceOf
from kvl_eval.trust import AddressPlace


def use_osworld(flags: Flags, place_of: PlaceOf) -> None:
    """Remember, for this process, where OSWorld's environment is.

    Raises: UsageError `trust.osworld`, where a configuration file names it.
    """
    from kvl_eval.run.osworld_place import PYTHON, TREE

    for name, variable in (("osworld_python", PYTHON), ("osworld_dir", TREE)):
        path = flags.text(name)
        if path is None:
            continue
        if place_of(name) is AddressPlace.CONFIG_FILE:
            raise UsageError(
                "trust.osworld",
                f"a configuration file cannot set {name}, because it is code",
                fix=f"remove {name} from the file and use --{name.replace('_', '-')} on the command line",
            )
        os.environ[variable] = str(Path(path).expanduser().absolute())
