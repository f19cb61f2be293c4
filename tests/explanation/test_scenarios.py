"""The scenarios of golden/explain: every part of a gap against what was planted, through the command line."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import kvl_eval
from tests.explanation.commands import Said, command

SCHEMA = Path(kvl_eval.__file__).parent / "data" / "schemas" / "explain.json"
SLOW = ("boxes", "clean", "draws", "failures", "paired", "truncated", "truncated_hard", "unclosed")
pytestmark = pytest.mark.shared


@dataclass(frozen=True)
class Scenario:
    """A scenario that has been run: its folder, and the run folders by name."""

    golden: dict[str, Any]
    runs: dict[str, str]

    def explain(self, *more: str) -> Said:
        words = [self.runs.get(word, word) for word in self.golden["explain"]]
        return command(*words, *more)


def made(name: str, shared: Path, folder: Path) -> Scenario:
    """The scenario's runs."""
    golden = json.loads((shared / "explain" / name / "scenario.json").read_text())
    places = {"DATA": shared / "explain" / "data", "SCENARIO": shared / "explain" / name, "OUT": folder}
    runs = {}
    for run, words in golden["runs"].items():
        arguments = [replaced(word, places) for word in words]
        said = command(*arguments, "--json", "-q")
        assert said.code in (0, 3), said.err
        runs[run] = json.loads(said.out)["folder"]
    return Scenario(golden, runs)


def replaced(word: str, places: dict[str, Path]) -> str:
    for name, place in places.items():
        word = word.replace(name, str(place))
    return word


@pytest.fixture(scope="module")
def mixed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return made("mixed", shared, tmp_path_factory.mktemp("mixed"))


def check(scenario: Scenario) -> None:
    """Everything that `expected` says, the sum, and the schema."""
    said = scenario.explain("--json")
    assert said.code == 0, said.err
    found, expected = json.loads(said.out), scenario.golden["expected"]
    jsonschema.validate(found, json.loads(SCHEMA.read_text()), jsonschema.Draft202012Validator)
    assert 100 * found["score"]["value"] == pytest.approx(expected["score"], abs=0.005)
    assert 100 * found["gap"]["value"] == pytest.approx(expected["gap"], abs=0.005)
    assert found["gap"]["verdict"] == expected.get("verdict", found["gap"]["verdict"])
    parts = {part["name"]: part for part in found["parts"]}
    total = math.fsum([*(part["value"] for part in parts.values()), found["unexplained"]["value"]])
    assert total == pytest.approx(found["gap"]["value"], abs=1e-9)
    for name, wanted in expected["parts"].items():
        check_part(parts.get(name), wanted)
    check_rest(found, expected["unexplained"])


def check_part(part: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    points = 0.0 if part is None else 100 * part["value"]
    if "points" in wanted:
        assert points == pytest.approx(wanted["points"], abs=wanted["tolerance"])
    if part is None:
        assert wanted.get("n", 0) == 0
        return
    assert part["n"] == wanted.get("n", part["n"])
    if "truth" in wanted:
        assert points == pytest.approx(wanted["truth"], abs=wanted["estimate_within"])
    if wanted.get("interval_covers_truth"):
        assert 100 * part["ci95"][0] <= wanted["truth"] <= 100 * part["ci95"][1]
    if "bounds" in wanted:
        bounds = [100 * bound for bound in part["bounds"]]
        assert bounds == pytest.approx(wanted["bounds"], abs=wanted["tolerance_bounds"])
    assert part["detail"].get("loops") == wanted.get("n_loops", part["detail"].get("loops"))
    if "expected_by_luck" in wanted:
        luck = 100 * part["detail"]["expected"]
        assert luck == pytest.approx(wanted["expected_by_luck"], abs=wanted["tolerance_expected"])


def check_rest(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    rest = found["unexplained"]
    if "points" in wanted:
        assert 100 * rest["value"] == pytest.approx(wanted["points"], abs=wanted["tolerance"])
        return
    low, high = (100 * bound for bound in rest["ci95_same_questions"])
    assert low - 0.005 <= wanted["truth"] <= high + 0.005


def test_explain_x1_mixed(mixed: Scenario) -> None:
    check(mixed)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_explain_x1_scenarios(name: str, shared: Path, tmp_path: Path) -> None:
    check(made(name, shared, tmp_path))


def test_explain_x2_twice_the_same_command_prints_the_same_bytes(mixed: Scenario) -> None:
    assert mixed.explain("--json") == mixed.explain("--json")


LINES = (
    r"  this run     53\.4  \[",
    r"  gap          10\.0  \[",
    r" +\[\d+\.\d, 1\d\.\d\] +if errors are shared \(correlation 0\.8\)",
    r"  no answer extracted +130 +6\.4  \[",
    r"  failed +28 +0\.0  \[",
    r"  truncated +38 +2\.7  \[",
    r"  unexplained +0\.8  \[",
    r"  overlap +36 of the 38 truncated replies are also among: no answer extracted",
    r"  Most of the gap is extraction: under `reader` the score is 59\.9\.",
    r"  next   kvl-eval score ",
)


def test_the_text_has_the_numbers_of_the_specification(mixed: Scenario) -> None:
    lines = mixed.explain().out.splitlines()
    missing = [wanted for wanted in LINES if not any(re.match(wanted, line) for line in lines)]
    assert missing == [], "\n".join(lines)
    assert max(len(line) for line in lines if "kvl-eval" not in line and "mmmu /" not in line) <= 100


def test_markdown_names_six_samples_of_a_part_for_an_issue(mixed: Scenario, tmp_path: Path) -> None:
    file = tmp_path / "why.md"
    assert mixed.explain("--output-file", str(file)).code == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# mmmu / validation: 53.4, reference 63.4: where 10.0 points go\n")
    for heading in ("Parts", "Other protocols", "Observations", "Settings", "Commands", "For an issue"):
        assert f"\n## {heading}\n" in text
    [line] = [line for line in text.splitlines() if line.startswith("truncated: 38 samples")]
    assert len(line.partition("; such as ")[2].split(", ")) == 6
    assert "which statement is right" not in text


def test_other_protocols_are_conditional_and_not_sorted_by_what_they_bring(mixed: Scenario) -> None:
    found = json.loads(mixed.explain("--json").out)
    assert [line["protocol"] for line in found["conditional"]] == [
        "reader",
        "official-exact",
        "vlmevalkit",
        "lmms-eval",
    ]
    gains = [round(100 * line["value"], 1) for line in found["conditional"]]
    assert gains == [6.4, 3.2, 2.8, -3.7]


@pytest.mark.parametrize(
    ("to", "code", "words"),
    [
        pytest.param("--to=570", 2, "from 0 to 100", id="out-of-range"),
        pytest.param("--to=-3", 2, "from 0 to 100", id="negative"),
        pytest.param("--to=nan", 2, "from 0 to 100", id="no-number"),
        pytest.param("--to=0.57", 2, "0.57 percent, or 57?", id="a-fraction"),
        pytest.param("--to=kimi-vl-a3b-instuct", 2, "did you mean kimi-vl-a3b-instruct", id="unknown-system"),
        pytest.param("--task=mathvista", 2, "unknown task", id="unknown-task"),
        pytest.param("--protocol=oficial", 2, "did you mean official", id="unknown-protocol"),
        pytest.param("--as=readr", 2, "did you mean reader", id="unknown-reading"),
        pytest.param("--budget=4k", 2, "no thinking budget 4096", id="unknown-budget"),
    ],
)
def test_explain_x9_bad_input_ends_with_one_block(mixed: Scenario, to: str, code: int, words: str) -> None:
    said = command("explain", mixed.runs["A"], to)
    assert (said.code, said.err.count("error[")) == (code, 1)
    assert words in said.err and "Traceback" not in said.err


def test_explain_x9_a_decimal_comma_is_taken_with_a_note(mixed: Scenario) -> None:
    said = command("explain", mixed.runs["A"], "--to", "57,0", "--json")
    assert json.loads(said.out)["reference"]["value"] == pytest.approx(0.57)
    assert "note: --to 57,0 was read as 57.0" in said.err


def test_scripted_answers_are_not_compared_with_a_published_result(mixed: Scenario) -> None:
    found = json.loads(command("explain", mixed.runs["A"], "--to", "kimi-vl-a3b-instruct", "--json").out)
    assert (found["gap"]["verdict"], found["gap"]["value"], found["unexplained"]) == ("not-comparable", None, None)
    assert found["parts"] and found["verdict"][0] == "Not compared: scripted answers."


def test_without_a_reference_only_own_losses_are_shown(mixed: Scenario) -> None:
    found = json.loads(command("explain", mixed.runs["A"], "--protocol", "official", "--json").out)
    assert found["unexplained"] is None
    assert found["gap"] is None or found["gap"]["value"] is None
    assert [part["name"] for part in found["parts"]] == ["no_answer", "missing", "truncated"]


def test_python_returns_the_same_document(mixed: Scenario) -> None:
    explanation = kvl_eval.explain(mixed.runs["A"], to=63.4, protocol="official", as_="reader")
    found = json.loads(mixed.explain("--json").out)
    assert explanation.as_json()["parts"] == found["parts"]
    assert "no answer extracted" in str(explanation)


def test_explain_x9_a_run_against_itself_differs_nowhere(mixed: Scenario) -> None:
    found = json.loads(command("explain", mixed.runs["A"], "--to", mixed.runs["A"], "--json").out)
    assert (found["gap"]["value"], found["parts"], found["gap"]["verdict"]) == (0.0, [], "no-difference-shown")
