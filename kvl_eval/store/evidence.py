"""What evaluators found on desktops, `evidence/SHA256` in a run folder: content-addressed, stored once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from kvl_eval.errors import DataError
from kvl_eval.store.journal import Disk
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_files import read_run_file

EVIDENCE = "evidence"
MOST_EVIDENCE = 16 * 2**20  # bytes of one file; what is larger is not stored
_SHA256 = re.compile(r"[0-9a-f]{64}")


def store_evidence(run: Path, disk: Disk, content: bytes) -> str | None:
    """The hash under which the content now lies in `evidence/`; None for more than 16 MiB. Raises StorageError."""
    if len(content) > MOST_EVIDENCE:
        return None
    sha256 = hashlib.sha256(content).hexdigest()
    folder = OutputFolder(run, disk)
    if not folder.path(EVIDENCE, sha256).is_file():
        folder.write([content], EVIDENCE, sha256)
    return sha256


def read_evidence(run: Path, sha256: str) -> bytes:
    """What is stored under a hash. Raises: DataError `run.evidence` where it is missing or is not that."""
    try:
        content = read_run_file(run / EVIDENCE / sha256, MOST_EVIDENCE) if _SHA256.fullmatch(sha256) else b""
    except FileNotFoundError:
        raise _unusable(run, sha256, "it is missing") from None
    except DataError as error:
        raise _unusable(run, sha256, error.message) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _unusable(run, sha256, "its content is not what its name says")
    return content


def _unusable(run: Path, sha256: str, why: str) -> DataError:
    return DataError(
        "run.evidence",
        "evidence of an episode cannot be read",
        where=str(run / EVIDENCE / sha256[:64]),
        why=why,
        fix="`kvl-eval resume RUN --rerun ID` plays the episode again",
    )
