"""Files of an earlier report in the same folder that the new one does not have: a task's page, a chart's numbers.

`data/files.json` lists what a report wrote, with hashes. A file goes only if an earlier list names it and it has not
changed: nothing that somebody else put there, or edited, is touched.
"""

from __future__ import annotations

import hashlib
import json
import re

from kvl_eval.decode import decode
from kvl_eval.errors import DecodeError
from kvl_eval.store.journal import storing
from kvl_eval.store.outputs import OutputFolder

LIST = ("data", "files.json")
OURS = re.compile(r"[\w.-]+\.html|data/[\w.-]+\.js(on)?|assets/(vendor/)?[\w.-]+")


def remove_former(out: OutputFolder) -> None:
    """Remove what only the report before this one wrote, and list what this one wrote. Raises: StorageError."""
    for name, sha256 in _listed(out).items():
        if name not in out.written and OURS.fullmatch(name) and sha256 == _sha256(out, name):
            path = out.path(*name.split("/"))
            with storing(path):
                path.unlink(missing_ok=True)
    names = sorted(name for name in out.written if OURS.fullmatch(name))
    files = {name: _sha256(out, name) for name in names}
    out.write([(json.dumps(files, indent=1) + "\n").encode()], *LIST)


def _listed(out: OutputFolder) -> dict[str, str]:
    """{name: hash} of what the last report wrote; none where there was none, or its list cannot be read."""
    try:
        return decode(dict[str, str], json.loads(out.path(*LIST).read_bytes()))
    except (OSError, ValueError, RecursionError, DecodeError):
        return {}


def _sha256(out: OutputFolder, name: str) -> str:
    """The hash of a file; empty where it is gone."""
    try:
        return hashlib.sha256(out.path(*name.split("/")).read_bytes()).hexdigest()
    except OSError:
        return ""
