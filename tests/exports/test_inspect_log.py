"""Logs of inspect_ai as archives: ids as that tool makes them, one for each thing, the same in every export."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from kvl_eval.exports import export_run
from kvl_eval.store.run_folder import RunFolder

SHORT_ID = re.compile("[0-9A-Za-z]{22}")  # of inspect_ai's shortuuid: eval logs are found by its length in file names


def ids_of(path: Path) -> dict[str, list[str]]:
    """{what: its ids} of a log."""
    with zipfile.ZipFile(path) as archive:
        spec = json.loads(archive.read("header.json"))["eval"]
        summaries = json.loads(archive.read("summaries.json"))
    return {name: [spec[name]] for name in ("run_id", "task_id", "eval_id")} | {
        "uuid": [summary["uuid"] for summary in summaries]
    }


def test_ids_are_22_letters_and_digits(sweep: Path, tmp_path: Path) -> None:
    for path in export_run(RunFolder.open(sweep), "inspect", tmp_path):
        for name, ids in ids_of(path).items():
            assert all(SHORT_ID.fullmatch(identity) for identity in ids), name
        assert path.name.endswith(f"_{ids_of(path)['task_id'][0]}.eval")


def test_every_answer_and_task_has_an_id_of_its_own(sweep: Path, tmp_path: Path) -> None:
    logs = [ids_of(path) for path in export_run(RunFolder.open(sweep), "inspect", tmp_path)]
    assert len({log["run_id"][0] for log in logs}) == 1
    own = [identity for log in logs for name in ("task_id", "eval_id", "uuid") for identity in log[name]]
    assert len(set(own)) == len(own) == 2 * (2 + 12)


def test_a_second_export_has_the_same_ids(sweep: Path, tmp_path: Path) -> None:
    first, second = (export_run(RunFolder.open(sweep), "inspect", tmp_path / name) for name in "ab")
    assert [path.name for path in first] == [path.name for path in second]
    assert list(map(ids_of, first)) == list(map(ids_of, second))
