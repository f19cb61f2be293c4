"""Any configuration, manifest and plan comes back as it was written; what is no option is refused by name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvl_eval.cli.config_file import ConfigFile
from kvl_eval.cli.main import run
from kvl_eval.errors import KvlEvalError
from kvl_eval.options.values import budgets, pairs, sample_ids
from kvl_eval.run.config import from_json, resolve, to_json
from kvl_eval.store.plan_file import plan_line
from kvl_eval.store.run_folder import RunFolder
from tests.records import make_entry, make_manifest, make_sample
from tests.tiny_task import tiny

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.integers(1, 10**6) | st.floats(0.01, 0.99),
        "seed": st.integers(0, 2**63),
        "repeats": st.integers(1, 64),
        "temperature": st.floats(0, 2) | st.integers(0, 2),
        "top_p": st.just(1) | st.floats(0.1, 1),
        "fps": st.floats(0.1, 30) | st.integers(1, 30),
        "timeout": st.floats(1, 600) | st.integers(1, 600),
        "fail_on_error": st.floats(0, 1) | st.integers(0, 9),
        "think_budget": st.lists(st.integers(0, 2**17), min_size=1, max_size=5).map(tuple),
        "budget_policy": st.sampled_from(["cut", "force"]),
        "answer_tokens": st.integers(1, 4096),
        "system_prompt": TEXTS,
        "sample_ids": st.lists(TEXTS, max_size=3).map(tuple),
        "blind": st.booleans(),
        "data_dir": TEXTS.filter(bool),
    },
)


@given(OPTIONS)
@example({"data_dir": "\0", "limit": 1})
def test_any_run_config_survives_the_manifest(options: dict[str, Any]) -> None:
    try:
        config = resolve("fake", "fake", [tiny()], options)
    except KvlEvalError:
        return
    text = json.dumps(to_json(config))
    assert from_json(json.loads(text)) == config
    assert json.dumps(to_json(from_json(json.loads(text)))) == text, "1 stays 1 and 1.0 stays 1.0"


@pytest.mark.parametrize("option", ["data_dir", "output_dir", "cache_dir"])
def test_a_path_that_no_file_can_have_is_refused(option: str) -> None:
    with pytest.raises(KvlEvalError) as caught:
        resolve("fake", "fake", [tiny()], {option: "a\0b"})
    assert caught.value.code == f"usage.{option}" and f"--{option.replace('_', '-')}" in caught.value.message


@given(TEXTS)
def test_any_text_of_an_option_is_read_or_refused(text: str) -> None:
    for read in (budgets, lambda given: pairs((given,), "--model-args")):
        try:
            read(text)
        except KvlEvalError as error:
            assert error.code.startswith(("config.", "usage."))
    for option in ({"limit": text}, {"shard": text}):
        try:
            resolve("fake", "fake", [tiny()], option)
        except KvlEvalError as error:
            assert error.code in ("config.limit", "config.shard")
    if "\0" not in text:
        assert isinstance(sample_ids(text), tuple)


def options_in(path: Path) -> Mapping[str, object]:
    return ConfigFile.read(path, click.Context(run)).values


@given(
    st.one_of(TEXTS, st.dictionaries(TEXTS | st.sampled_from(["limit", "task"]), VALUES, max_size=3).map(json.dumps))
)
def test_any_config_file_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "config.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            found = options_in(path)
        except KvlEvalError:
            return
    assert set(found) <= {option.name for option in run.params}


@given(
    st.dictionaries(TEXTS.filter(lambda name: name != "sha256"), VALUES, max_size=4),
    st.lists(st.dictionaries(TEXTS.filter(lambda name: name not in ("crc", "schema")), VALUES, max_size=3), max_size=4),
)
def test_any_manifest_and_plan_come_back(fields: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    entries = [make_entry(str(number), sample=make_sample(row=row)) for number, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as place:
        manifest = make_manifest(
            identity=fields, others={f"of a later version: {name}": fields[name] for name in fields}
        )
        made = RunFolder.create(Path(place), "run", manifest, [plan_line(entry, first=True) for entry in entries])
        made.unlock()
        again = RunFolder.open(made.path)
        assert (again.manifest.identity, again.manifest.others) == (manifest.identity, manifest.others)
        again.save_status("running")
        assert RunFolder.open(made.path).manifest == replace(again.manifest, status="running")
        assert [entry.sample.row for entry in again.plan()] == rows


@pytest.mark.parametrize("text", ["- a\n- b", "&a [*a]", "!!python/object/apply:os.system ['true']", "\t"])
def test_config_files_that_are_no_options(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(KvlEvalError):
        options_in(path)
