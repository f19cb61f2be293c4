"""Explanations of small runs: what is asked of the user, and runs at the edge."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.errors import DataError, UnscoredError, UsageError
from kvl_eval.explanation.against_run import explain_against
from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.explanation.markdown import as_markdown
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.journal import encode_line
from kvl_eval.store.run_folder import RunFolder
from tests.explanation.small_runs import answered, explained, gold, says
from tests.refusals import refused
from tests.tiny_task import rows, tiny

MEDIUM = {
    **{"sha256": "0" * 64, "kind": "image", "w": 640, "h": 480, "resized_to": [224, 168], "tokens": 48},
    **{"pre_shrunk": None, "note": None},
}


def test_a_gap_is_the_reference_minus_the_score(tmp_path: Path) -> None:
    said = gold() | {f"q/{number}": says(number, right=False) for number in range(4)}
    found = explained(answered(tmp_path, said), to="80")
    assert found.gap is not None and found.reference is not None
    assert (found.score.value, found.gap.value) == pytest.approx((0.6, 0.2))
    assert (found.reference.n, found.reference.n_evidence) == (10, "assumed")
    assert found.gap.verdict == "no-difference-shown"  # ten answers are too few for any other word
    assert found.verdict == ("60.0 and 80 do not differ by more than chance (10 samples).",)


@pytest.mark.parametrize(
    ("said", "score"),
    [
        pytest.param({f"q/{n}": says(n) for n in range(10)}, 1.0, id="all-correct"),
        pytest.param({f"q/{n}": says(n, right=False) for n in range(10)}, 0.0, id="all-wrong"),
        pytest.param({f"q/{n}": {"response": ""} for n in range(10)}, 0.0, id="nothing-extracted"),
    ],
)
def test_explain_x9_runs_without_spread_are_explained(said: dict[str, Any], score: float, tmp_path: Path) -> None:
    found = explained(answered(tmp_path, said), to="50")
    assert found.score.value == score
    assert found.gap is not None and found.gap.value is not None and found.unexplained is not None
    total = math.fsum([*(part.value for part in found.parts), found.unexplained.value])
    assert total == pytest.approx(found.gap.value, abs=1e-9)
    assert str(found) and as_markdown(found)


def test_explain_x9_one_cluster_is_never_below(tmp_path: Path) -> None:
    content = [{**row, "pages": True, "number": row["number"]} for row in rows(40)]
    task = tiny(40, content=[{**row, "number": row["number"] % 2} for row in content])
    said = {f"q/{number}": says(number, right=False) for number in range(40)}
    found = explained(answered(tmp_path, said, task), task, to="90")
    assert found.n.clusters == 1
    assert found.gap is not None and found.gap.verdict == "no-difference-shown"


def test_explain_x9_nothing_scored_names_the_reasons(tmp_path: Path) -> None:
    folder = answered(tmp_path, {f"q/{number}": {"fail": "oom"} for number in range(10)})
    with pytest.raises(UnscoredError) as caught:
        explained(folder)
    assert caught.value.exit_code == 3
    assert caught.value.message == "nothing to explain: 10 of 10 failed (oom)"
    assert "resume" in str(caught.value.fix)


def test_failed_answers_are_bounded_and_named(tmp_path: Path) -> None:
    said = gold() | {"q/1": {"fail": "timeout"}, "q/2": {"fail": "oom"}}
    found = explained(answered(tmp_path, said), to="70")
    [part] = found.parts
    assert (part.name, part.n, part.value) == ("missing", 2, pytest.approx(0.0))
    assert part.bounds == pytest.approx((-0.2, 0.0))
    assert part.detail["failed"] == {"oom": 1, "timeout": 1}
    assert part.fix.endswith("--rerun failed")
    assert found.verdict[-1] == "2 of 10 failed or are pending: the score could be between 80.0 and 100.0."


def test_explain_x9_a_torn_end_is_a_notice_and_a_damaged_line_an_error(tmp_path: Path) -> None:
    folder = answered(tmp_path, gold())
    path = folder.samples_path("tiny")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    found = explained(RunFolder.open(folder.path), to="70")
    assert any("incomplete" in notice for notice in found.notices)
    lines = whole.splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"ok"', b'"OK"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError) as caught:
        explained(RunFolder.open(folder.path), to="70")
    assert (caught.value.code, caught.value.exit_code) == ("run.damaged", 4)
    assert "kvl-eval verify" in str(caught.value.fix)


def test_explain_x9_scores_of_another_version_are_made_again_with_a_notice(tmp_path: Path) -> None:
    folder = answered(tmp_path, gold())
    [stored] = (folder.path / "scores").glob("tiny@official-*.jsonl")
    stored.rename(stored.with_name("tiny@official-0.0.1.jsonl"))
    found = explained(RunFolder.open(folder.path), to="70")
    assert found.score.value == 1.0
    assert any("0.0.1" in notice for notice in found.notices)


def test_a_paired_difference_is_split_without_a_rest(tmp_path: Path) -> None:
    theirs = answered(tmp_path / "a", gold(40), tiny(40))
    said = gold(40) | {f"q/{n}": {"response": ""} for n in range(6)}
    said |= {f"q/{n}": says(n, right=False) for n in range(6, 10)}
    ours = answered(tmp_path / "b", said, tiny(40))
    task = tiny(40)
    found = explain_against(RunReader(ours, [task]), RunReader(theirs, [task]), ExplainOptions(to="x"))
    assert found.gap is not None and found.unexplained is not None
    assert found.gap.value == pytest.approx(0.25)
    assert {part.name: part.value for part in found.parts} == pytest.approx({"no_answer": 0.15, "answers": 0.1})
    assert found.unexplained.value == pytest.approx(0.0, abs=1e-12)
    assert found.gap.verdict == "below"
    assert "is worse than" in found.verdict[0]


def test_explain_x9_runs_without_common_samples_name_both_splits(tmp_path: Path) -> None:
    one, other = tiny(), tiny(name="other")
    ours, theirs = answered(tmp_path / "a", gold(), one), answered(tmp_path / "b", gold(), other)
    with refused(UsageError, "explain.no_overlap") as caught:
        explain_against(RunReader(ours, [one]), RunReader(theirs, [other]), ExplainOptions(to="x"))
    assert "tiny / test versus other / test" in str(caught.value.why)


def test_hostile_ids_stay_on_their_line_of_markdown(tmp_path: Path) -> None:
    name = "q/<img src=x>|`\n#\x1b[1m"
    content = [*rows(9), {**rows(10)[9], "id": name}]
    task = tiny(content=content)
    said = gold(9) | {name: {"response": ""}}
    found = explained(answered(tmp_path, said, task), task, to="70")
    text = as_markdown(found)
    assert "\x1b" not in text and "<img" not in text.partition("## For an issue")[0]
    assert found.parts[0].samples == (name,)


def test_without_a_reference_there_is_no_gap(tmp_path: Path) -> None:
    found = explained(answered(tmp_path, gold()))
    assert (found.reference, found.gap, found.unexplained, found.parts) == (None, None, None, ())
    assert "nothing is published of this model" in str(found)


def test_observations_name_the_data_and_reduced_images(tmp_path: Path) -> None:
    folder = answered(tmp_path, gold())
    found = {fact.name: fact for fact in explained(folder, to="70").observations}
    assert found["data"].text.startswith("10 samples planned, fingerprint ")
    assert (found["data"].values["n"], found["data"].values["published"]) == (10, None)
    assert "context" not in found
    path = folder.samples_path("tiny")
    lines = path.read_text().splitlines()
    fields = json.loads(lines[0]) | {"media": [{**MEDIUM, "limit": 256}]}
    del fields["crc"]
    path.write_bytes(b"".join([encode_line(fields), *(f"{line}\n".encode() for line in lines[1:])]))
    found = {fact.name: fact for fact in explained(RunFolder.open(folder.path), to="70").observations}
    assert found["context"].values["n"] == 1


def test_a_blind_run_beside_it_is_named(tmp_path: Path) -> None:
    ours = answered(tmp_path, gold())
    assert all(fact.name != "blind" for fact in explained(ours, to="70").observations)
    said = gold() | {f"q/{number}": says(number, right=False) for number in range(7)}
    blind = answered(tmp_path, said, blind=True)
    [fact] = [fact for fact in explained(ours, to="70").observations if fact.name == "blind"]
    assert fact.text == f"with gray images the model scores 30.0 (run {blind.run_id})"
    assert all(fact.name != "blind" for fact in explained(blind, to="70").observations)
