"""The JSON Schemas in the package are those of the types, and real output is valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kvl_eval.cli.schemas import DOCUMENTS
from tests.cli.conftest import Kvl
from tools.json_schemas import FOLDER, texts

FAKE = ("run", "mathvista", "--model", "fake", "--limit", "2")


def test_the_schemas_are_current() -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert stored == texts(), "run: python -m tools.json_schemas"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((FOLDER / f"{name}.json").read_text()))


def validate(name: str, document: Any) -> None:
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


LIGHT = [
    ("error", ("run", "nope")),
    ("error", ("verify", "nothing")),
    ("plan", (*FAKE, "--dry-run")),
    ("list-runs", ("list", "runs")),
    ("list-tasks", ("list", "tasks")),
    ("list-models", ("list", "models")),
    ("list-references", ("list", "references")),
    ("report-table", ("report", "--table", "table3")),
    ("check-data", ("check", "data", "mathvista", "--split", "mini")),
    ("describe", ("describe", "mathvista")),
    ("describe", ("describe", "video_mme")),
    ("fetch", ("fetch", "kimi-vl-nano", "mathvista", "--split", "mini")),
    ("doctor", ("doctor", "mathvista", "-m", "fake", "--samples", "2")),
    ("version", ("version",)),
]


@pytest.mark.parametrize(("name", "arguments"), LIGHT, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.usefixtures("folder")
def test_a_document_is_valid(name: str, arguments: tuple[str, ...], kvl: Kvl) -> None:
    validate(name, json.loads(kvl(*arguments, "--json").out))


@pytest.mark.usefixtures("folder")
def test_documents_of_runs_are_valid(kvl: Kvl) -> None:
    for seed in ("0", "1"):
        validate("run", json.loads(kvl(*FAKE, "--seed", seed, "--json").out))
    failing = (*FAKE, "--model-args", "fail=oom:@1")
    for name, arguments in (
        ("run", failing),
        ("run", ("resume", "latest")),
        ("run", ("score", "latest", "--protocol", "all")),
        ("list-runs", ("list", "runs")),
        ("compare", ("compare", "latest", "latest~1")),
        ("explain", ("explain", "latest", "--to", "50")),
        ("plan-size", ("plan-size", "latest", "latest~1", "--precision", "2")),
        ("verify", ("verify", "latest")),
        ("paths", ("export", "latest", "-f", "csv")),
    ):
        validate(name, json.loads(kvl(*arguments, "--json").out))


@pytest.mark.parametrize("protocol", ["exact", "all"])
def test_documents_of_predictions_are_valid(folder: Path, protocol: str, kvl: Kvl) -> None:
    (folder / "own.jsonl").write_text('{"id": 1, "question": "?", "answer": "A", "choices": ["a", "b"]}\n')
    (folder / "answers.jsonl").write_text('{"id": "1", "response": "It is (A)."}')
    arguments = ("--task", "file:own.jsonl", "--predictions", "answers.jsonl", "--protocol", protocol)
    validate("score-predictions", json.loads(kvl("score", *arguments, "--json").out))


def test_what_is_not_valid_is_refused() -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate("list-tasks", [{"task": 1}])
    with pytest.raises(jsonschema.ValidationError):
        validate("error", {"schema": 1, "error": {"code": "x"}})
