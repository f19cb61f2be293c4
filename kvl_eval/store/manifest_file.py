"""The file `run.json`: reading it, whatever became of it, and its text with its own checksum as the last field."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvl_eval.decode import Json, ReadLimits, decode, encode_object, read_json
from kvl_eval.errors import DataError, DecodeError, InputError, KvlEvalError
from kvl_eval.store.journal import SCHEMA
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.run_files import read_run_file

MANIFEST_LIMITS = ReadLimits(size=16 << 20)
_SHA_FIELD = re.compile(rb'"sha256": "([0-9a-f]{64})"\n}\n\Z')


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """`run.json` as it was read.

    Attributes:
        manifest: its content; a stand-in with status `unknown` where that cannot be read.
        fields:   the object in the file, with all that a later version may have written there.
        problem:  why the manifest is not to be trusted, or None.
    """

    manifest: Manifest
    fields: Mapping[str, Json] = field(default_factory=dict)
    problem: str | None = None

    def changed_to(self, manifest: Manifest) -> StoredManifest:
        """As it is to be written: fields that did not change stay as they stood in the file."""
        stored = encode_object(manifest)
        for name in stored.keys() & self.fields.keys():
            if hasattr(manifest, name) and getattr(manifest, name) == getattr(self.manifest, name):
                stored[name] = self.fields[name]
        fields = {name: value for name, value in {**self.fields, **stored}.items() if name != "sha256"}
        sha256 = hashlib.sha256(json_text({**fields, "sha256": ""})).hexdigest()
        return StoredManifest(replace(manifest, sha256=sha256), {**fields, "sha256": sha256}, self.problem)


def read_manifest(path: Path) -> StoredManifest:
    """What `path`, the file, holds. Raises InputError `run.schema` for one of a newer version."""
    try:
        text = read_run_file(path, MANIFEST_LIMITS.size)
        fields = read_json(text, MANIFEST_LIMITS)
    except OSError as error:
        return _stand_in(path, f"cannot be read ({error.strerror}): the origin of the answers is unknown")
    except DataError as error:
        return _stand_in(path, f"cannot be read ({error.message}): the origin of the answers is unknown")
    except DecodeError:
        return _stand_in(path, "is damaged: the origin of the answers is unknown")
    if not isinstance(fields, dict):
        return _stand_in(path, "is not a manifest: the origin of the answers is unknown")
    schema = fields.get("schema", SCHEMA)
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(
            "run.schema",
            f"{path} was written by a newer kvl-eval",
            why=f"schema {schema}, this version reads up to {SCHEMA}",
            fix="update kvl-eval",
        )
    stated = _SHA_FIELD.search(text)
    emptied = _SHA_FIELD.sub(b'"sha256": ""\n}\n', text)
    is_whole = stated is not None and hashlib.sha256(emptied).hexdigest().encode() == stated.group(1)
    try:
        manifest = decode(Manifest, fields)
    except KvlEvalError as error:  # of a type, or of settings that exclude each other
        return _stand_in(path, f"cannot be read: {error.message}", fields)
    return StoredManifest(manifest, fields, None if is_whole else f"{path} was changed: its checksum does not match")


def _stand_in(path: Path, problem: str, fields: Mapping[str, Json] | None = None) -> StoredManifest:
    unknown: dict[str, Json] = {"run_id": path.parent.name, "status": "unknown", "model": {"name": "unknown"}}
    return StoredManifest(Manifest(run_id=path.parent.name), fields or unknown, f"{path} {problem}")


def json_text(value: Mapping[str, object]) -> bytes:
    """An object as run.json and results.json are written."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
