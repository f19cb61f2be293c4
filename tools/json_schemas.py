"""Writes kvl_eval/data/schemas from the types of the JSON documents: python -m tools.json_schemas"""

from __future__ import annotations

import json
from pathlib import Path

from kvl_eval.cli.schemas import DOCUMENTS
from kvl_eval.decode.schema import json_schema

FOLDER = Path(__file__).resolve().parent.parent / "kvl_eval" / "data" / "schemas"


def texts() -> dict[str, str]:
    """{file name: content}."""
    return {
        f"{name}.json": json.dumps(json_schema(kind, f"kvl-eval {name}"), indent=1) + "\n"
        for name, kind in DOCUMENTS.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
