"""X6: `explain --probe` against a server on 127.0.0.1, and the statistics behind its looks."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jsonschema
import pytest

import kvl_eval
from kvl_eval.decode import decode
from kvl_eval.explanation.case import ExplainOptions
from kvl_eval.explanation.probe_document import ProbeResult, settings_of
from kvl_eval.explanation.probe_effect import ChangedScore, look_ends, sampled_change
from kvl_eval.explanation.probe_parts import measured_parts
from kvl_eval.explanation.probe_sample import probed_order
from kvl_eval.explanation.resolving import read_case
from kvl_eval.scorers.statistics import group_sequential
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.manifest import ProbeParent
from kvl_eval.store.run_folder import RunFolder
from tests.explanation.commands import Said, command
from tests.explanation.test_scenarios import replaced
from tests.faults.stub_server import Answer, Asked, Stub, chat, models, serving, unused_address

SCHEMA = Path(kvl_eval.__file__).parent / "data" / "schemas" / "explain.json"
N, SAMPLES = 64, 48
SYSTEM = "system-prompt=Look closely"


# -- the effect of a sample -------------------------------------------------------------------------------------------


def changes(values: list[float], stratum: str = "") -> list[ChangedScore]:
    return [ChangedScore(cluster=f"{stratum} {n}", stratum=stratum, change=value) for n, value in enumerate(values)]


def test_strata_count_as_much_as_in_the_population() -> None:
    wrong, right = [1.0] * 12 + [0.0] * 8, [-1.0] * 2 + [0.0] * 18
    found = sampled_change([*changes(wrong, "wrong"), *changes(right, "right")], {"wrong": 300, "right": 100}, 2.0)
    spread = [sum((value - sum(v) / 20) ** 2 for value in v) / 19 for v in (wrong, right)]
    assert found.value == pytest.approx(0.75 * 0.6 - 0.25 * 0.1)
    assert found.error == pytest.approx(math.sqrt(0.75**2 * spread[0] / 20 + 0.25**2 * spread[1] / 20))
    assert (found.gained, found.lost, found.is_effect) == (12, 2, True)
    assert found.ci95 == pytest.approx((found.value - 2 * found.error, found.value + 2 * found.error))


def test_a_sample_of_everything_has_no_error_where_answers_never_vary() -> None:
    values = changes([1.0] * 20 + [0.0] * 20)
    fixed = sampled_change(values, {"": 40}, 2.0, is_fixed=True)
    assert (fixed.error, fixed.value) == (0.0, 0.5)
    assert sampled_change(values, {"": 40}, 2.0).error > 0


def test_clusters_that_change_together_say_less() -> None:
    values = changes([1.0, 0.0] * 20)
    pairs = [replace(sample, cluster=f"image {number // 2}") for number, sample in enumerate(sorted_by(values))]
    assert sampled_change(pairs, {"": 400}, 2.0).error > 1.3 * sampled_change(values, {"": 400}, 2.0).error


def sorted_by(samples: list[ChangedScore]) -> list[ChangedScore]:
    return sorted(samples, key=lambda sample: sample.change)


@pytest.mark.parametrize("sampled", [0, 1])
def test_strata_that_were_hardly_sampled_are_merged(sampled: int) -> None:
    found = sampled_change(
        [*changes([1.0] * 5 + [0.0] * 15, "a"), *changes([1.0] * sampled, "b")], {"a": 100, "b": 100}, 2.0
    )
    assert math.isfinite(found.error) and found.value == pytest.approx((5 + sampled) / (20 + sampled))


def test_few_changed_verdicts_neither_stop_early_nor_have_an_interval_without_width() -> None:
    assert not sampled_change(changes([0.0] * 50), {"": 900}, 4.333).is_same
    last = sampled_change(changes([0.0] * 200), {"": 900}, 2.014)
    assert last.is_same and last.p_value(1) == 1.0
    nine = sampled_change(changes([1.0] * 9 + [0.0] * 191), {"": 900}, 2.014)
    assert not nine.is_effect and nine.is_shown(1) and nine.p_value(8) == pytest.approx(8 * 2 / 2**9)
    assert sampled_change(changes([1.0] * 10 + [0.0] * 190), {"": 900}, 2.014).is_effect


def test_looks_never_split_a_cluster() -> None:
    assert look_ends([str(n) for n in range(200)]) == (50, 100, 150, 200)
    assert look_ends(["a"] * 3 + ["b"] * 3 + ["c"]) == (3, 6, 6, 7)


def test_a_setting_that_changes_nothing_is_seldom_taken_for_an_effect() -> None:
    draw, wrongly = random.Random(5), 0
    for _ in range(200):
        values = [draw.choice((-1.0, 1.0)) if draw.random() < 0.12 else 0.0 for _ in range(200)]
        samples = changes(values)
        looks = (
            sampled_change(samples[:end], {"": 900}, group_sequential(1)[look])
            for look, end in enumerate(look_ends([sample.cluster for sample in samples]))
        )
        wrongly += next((found.is_effect for found in looks if found.is_effect or found.is_same), False)
    assert wrongly <= 18  # at 5 %, more than that in one case of a hundred


def test_a_comma_ends_a_value_only_before_a_setting() -> None:
    text = "system-prompt=Look, then answer,prompt,max-pixels=1,2"
    assert settings_of(text) == [("system-prompt", "Look, then answer"), ("prompt", None), ("max-pixels", "1,2")]


# -- against a server -------------------------------------------------------------------------------------------------


def case_of(asked: Asked) -> int:
    found = re.search(r"Case (\d+)", asked.texts)
    assert found is not None
    return int(found[1])


def answered(asked: Asked) -> Answer:
    """Right for every second case; with a system prompt, or more than 16 new tokens, for one more in four."""
    case = case_of(asked)
    if case % 4 == 1 and asked.body["messages"][0]["role"] != "system":
        is_short = asked.body.get("max_tokens", asked.body.get("max_completion_tokens")) <= 16
        return chat("So we look", finish="length") if is_short else chat("So we look. The answer is A.")
    helped = case % 4 == 1 and asked.body["messages"][0]["role"] == "system"
    return chat("The answer is A." if case % 2 == 0 or helped else "The answer is B.")


@dataclass
class Server:
    """A server, and a run that it has answered in a results folder."""

    stub: Stub
    results: Path
    run: str

    @property
    def requests(self) -> int:
        return len(self.stub.asked)

    def probe(self, *more: str, to: Path | None = None) -> Said:
        return command(*self.words(to), *more)

    def words(self, to: Path | None = None) -> tuple[str, ...]:
        results = to or self.results
        return ("explain", str(results / self.run), "--samples", str(SAMPLES), "--results-dir", str(results))


@contextmanager
def answered_run(folder: Path, *more: str) -> Iterator[Server]:
    """A run of 64 questions, of which half are answered right."""
    table = folder / "cases.jsonl"
    options = {"A": "red", "B": "blue", "C": "green", "D": "gray"}
    lines = [{"id": f"c{n}", "question": f"Case {n}: which one?", **options, "answer": "A"} for n in range(N)]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serving(answered) as stub:
        words = ("run", f"file:{table}", "-m", "endpoint", "--base-url", stub.url, "-o", str(folder / "results"))
        said = command(*words, "--num-workers", "0", "--max-new-tokens", "16", "--json", "-q", *more)
        assert said.code == 0, said.err
        stub.asked.clear()
        yield Server(stub, folder / "results", Path(json.loads(said.out)["folder"]).name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with answered_run(tmp_path_factory.mktemp("probed")) as made:
        yield made


@pytest.fixture
def copied(server: Server, tmp_path: Path) -> Server:
    """The same run in a results folder of the test's own, and nothing asked yet."""
    shutil.copytree(server.results, tmp_path / "results")
    server.stub.asked.clear()
    server.stub.script, server.stub.models = answered, models("stub-vl")
    return replace(server, results=tmp_path / "results")


def shown(said: Said) -> dict[str, Any]:
    """The document, without what names run folders."""
    assert said.code == 0, said.err
    found = json.loads(said.out)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()), jsonschema.Draft202012Validator)
    for probe in found["probes"]:
        probe["run"] = probe["control"]["run"] = ""
    return dict(found)


def arms(server: Server) -> Mapping[str, RunFolder]:
    """{arm: its run folder}."""
    folders = [RunFolder.open(path.parent) for path in server.results.glob("*/run.json")]
    return {folder.manifest.parent.arm: folder for folder in folders if folder.manifest.parent is not None}


@pytest.fixture(scope="module")
def probed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, dict[str, Any]]:
    """The same run, probed, and what was said of it."""
    results = tmp_path_factory.mktemp("copied") / "results"
    shutil.copytree(server.results, results)
    server.stub.asked.clear()
    found = replace(server, results=results)
    document = shown(found.probe("--probe", SYSTEM, "--to", "75", "--json"))
    assert found.requests == 2 * SAMPLES
    return found, document


def test_explain_x6_a_probe_is_paired_with_a_control(probed: tuple[Server, dict[str, Any]]) -> None:
    _, found = probed
    [probe] = found["probes"]
    assert (probe["outcome"], probe["look"], probe["n"], probe["lost"]) == ("effect", 4, SAMPLES, 0)
    assert probe["ci95"][0] <= 0.25 <= probe["ci95"][1]
    assert probe["control"] == {
        "run": "", "n": SAMPLES, "changed": 0, "replies_changed": 0, "value": 0.0, "is_stored": False
    }  # fmt: skip
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["probe:system-prompt"]["basis"] == "measured"
    total = math.fsum(part["value"] for part in parts.values()) + found["unexplained"]["value"]
    assert total == pytest.approx(found["gap"]["value"], abs=1e-9)


def test_explain_x6_each_arm_is_a_run_of_its_own(probed: tuple[Server, dict[str, Any]]) -> None:
    server, found = probed
    parent = RunFolder.open(server.results / server.run).manifest
    made = arms(server)
    assert set(made) == {"probe", "control"}
    for arm, folder in made.items():
        manifest = folder.manifest
        setting = SYSTEM if arm == "probe" else ""
        assert manifest.parent == ProbeParent(
            run=server.run, probe=setting, arm=manifest.parent.arm, plan=parent.plan_sha256
        )
        assert manifest.data[found["task"]].partial == f"{SAMPLES} chosen samples of {N}"
        verified = command("verify", str(folder.path))
        assert verified.code == 0 and f"samples: those of {server.run}" in verified.out
    listed = [
        command("list", "runs", "--results-dir", str(server.results), "--json", *more) for more in ((), ("--all",))
    ]
    assert [len(json.loads(said.out)) for said in listed] == [1, 3]


def test_what_a_probe_found_is_found_again_without_a_request(probed: tuple[Server, dict[str, Any]]) -> None:
    server, found = probed
    server.stub.asked.clear()
    assert shown(server.probe("--probe", SYSTEM, "--to", "75", "--json")) == found
    latest = command("explain", "latest", "--results-dir", str(server.results))
    assert f"probes          {SYSTEM} +2" in latest.out and f"0 of {SAMPLES} scores differ" in latest.out
    for name in ("why.md", "why.html"):
        file = server.results.parent / name
        assert server.probe("--output-file", str(file)).code == 0
        assert SYSTEM in file.read_text() and "sked again without a change" in file.read_text()
    assert server.requests == 0


@pytest.mark.slow
def test_explain_x6_asking_stops_when_an_effect_is_sure(copied: Server) -> None:
    def helped(asked: Asked) -> Answer:
        has_system = asked.body["messages"][0]["role"] == "system"
        return chat("The answer is A.") if has_system else answered(asked)

    copied.stub.script = helped
    [probe] = shown(copied.probe("--probe", SYSTEM, "--json"))["probes"]
    assert (probe["outcome"], probe["look"], probe["n"]) == ("effect", 2, SAMPLES // 2)
    assert copied.requests == 2 * SAMPLES // 2
    assert command("resume", str(arms(copied)["probe"].path), "-q").code == 0
    assert copied.requests == 3 * SAMPLES // 2
    assert shown(copied.probe("--json"))["probes"] == [probe]


def test_each_beginning_of_the_sample_has_right_and_wrong_answers_in_proportion(server: Server) -> None:
    case, reading, _ = read_case(RunReader.open(server.results / server.run), ExplainOptions(), server.results)
    order = probed_order(case, reading, SAMPLES, about_ended=False)
    half = probed_order(case, reading, SAMPLES // 2, about_ended=False)
    assert order[: len(half)] == half and (len(half), len(order)) == (SAMPLES // 2, SAMPLES)
    for end in (12, 24, 36, 48):
        right = sum(int(name[1:]) % 2 == 0 for name in order[:end])
        assert abs(right - end / 2) <= 1


def test_a_longer_limit_measures_what_truncation_costs(copied: Server) -> None:
    before = {part["name"] for part in json.loads(copied.probe("--json").out)["parts"]}
    assert "truncated" in before
    found = shown(copied.probe("--probe", "max-new-tokens=64", "--json"))
    [probe] = found["probes"]
    assert (probe["planned"], copied.requests) == (N // 4 + N // 16, 2 * probe["n"])
    assert (probe["outcome"], probe["lost"], probe["value"]) == ("effect", 0, pytest.approx(0.25))
    assert {part["name"] for part in found["parts"]} == before - {"truncated"} | {"probe:max-new-tokens"}


def test_a_value_that_nobody_chose_is_not_in_the_sum(probed: tuple[Server, dict[str, Any]]) -> None:
    server, found = probed
    probe = decode(ProbeResult, found["probes"][0])
    assert [part.value for part in measured_parts([probe])] == [probe.value]
    assert measured_parts([replace(probe, in_sum=False)]) == ()
    assert (
        "probe: max-new-tokens=64; temperature=0.2\n"
        in server.probe("--probe", "max-new-tokens,temperature=0.2", "--dry-run").out
    )


def test_stored_answers_are_the_control_where_equal_questions_get_equal_answers(tmp_path: Path) -> None:
    table = tmp_path / "cases.jsonl"
    lines = [{"id": f"c{n}", "question": f"Case {n}?", "A": "red", "B": "blue", "answer": "A"} for n in range(N)]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    script = tmp_path / "answers.jsonl"
    script.write_text("".join(json.dumps({"id": f"c{n}", "response": "AB"[n % 2]}) + "\n" for n in range(N)))
    words = ("run", f"file:{table}", "-m", "fake", "--model-args", f"answers={script}", "-o", str(tmp_path / "out"))
    run = json.loads(command(*words, "--num-workers", "0", "--json", "-q").out)["folder"]
    said = command("explain", run, "--probe", SYSTEM, "--samples", "40", "--json")
    [probe] = shown(said)["probes"]
    assert (probe["outcome"], probe["gained"], probe["p_value"]) == ("no-effect-shown", 0, 1.0)
    assert (probe["control"]["is_stored"], probe["control"]["n"]) == (True, 20)
    assert "60 to 80 requests" in said.err


@pytest.mark.slow
def test_settings_together_show_what_they_do_beyond_their_sum(copied: Server) -> None:
    def only_together(asked: Asked) -> Answer:
        is_hot = asked.body["temperature"] > 0
        return answered(asked) if is_hot else answered(replace(asked, body={**asked.body, "messages": said(asked)}))

    def said(asked: Asked) -> list[Any]:
        return [message for message in asked.body["messages"] if message["role"] != "system"]

    copied.stub.script = only_together
    found = shown(copied.probe("--probe", f"{SYSTEM},temperature=0.5", "--joint", "--json"))
    assert [(probe["arm"], probe["tests"]) for probe in found["probes"]] == [("probe", 3), ("probe", 3), ("joint", 3)]
    assert [probe["value"] for probe in found["probes"][:2]] == [0.0, 0.0]
    joint = found["probes"][2]
    assert joint["value"] == pytest.approx(joint["interaction"]["value"]) == pytest.approx(0.25, abs=0.05)
    assert [part["name"] for part in found["parts"] if part["basis"] == "measured"] == [
        "probe:system-prompt+temperature"
    ]
    assert "system-prompt and temperature together" in copied.probe().out


def test_explain_x6_another_model_is_refused_before_anything_is_asked(copied: Server) -> None:
    copied.stub.models = models("another-vl")
    refused = copied.probe("--probe", SYSTEM)
    assert refused.code == 2 and copied.requests == 0
    assert "another model answers now" in refused.err and "another-vl" in refused.err


def test_explain_x6_other_data_is_refused(copied: Server, server: Server) -> None:
    table = server.results.parent / "cases.jsonl"
    before = table.read_text()
    try:
        table.write_text(before.replace("Case 7:", "Case 77:"))
        refused = copied.probe("--probe", SYSTEM)
    finally:
        table.write_text(before)
    assert refused.code == 2 and copied.requests == 0
    assert "the data is different now than on" in refused.err


def test_a_blind_parent_is_refused(copied: Server) -> None:
    folder = RunFolder.open(copied.results / copied.run)
    folder.save(replace(folder.manifest, blind=True))
    refused = copied.probe("--probe", SYSTEM)
    assert refused.code == 2 and "cannot probe a blind run" in refused.err


def test_a_damaged_parent_is_refused(copied: Server) -> None:
    [samples] = (copied.results / copied.run / "samples").glob("*.jsonl")
    samples.write_bytes(samples.read_bytes().replace(b"answer is A", b"answer is C", 1))
    refused = copied.probe("--probe", SYSTEM)
    assert refused.code == 4 and "run.damaged" in refused.err and copied.requests == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        pytest.param("pixels=9", "did you mean max-pixels", id="unknown"),
        pytest.param("prompt=other", "prompts of", id="no-such-prompt"),
        pytest.param("dtype", "only the bundled engine", id="not-with-a-server"),
        pytest.param("max-pixels=9", "need images", id="no-images"),
        pytest.param("system-prompt", "needs a text", id="no-default"),
        pytest.param("temperature=0", "changes nothing", id="the-same-value"),
        pytest.param("temperature=hot", "a number of 0 or more", id="no-number"),
        pytest.param("max-new-tokens=0", "a number of tokens", id="no-tokens"),
        pytest.param("temperature=1,temperature=2", "names temperature twice", id="twice"),
    ],
)
def test_a_setting_that_cannot_be_changed_is_refused(copied: Server, setting: str, words: str) -> None:
    refused = copied.probe("--probe", setting)
    assert (refused.code, copied.requests, refused.err.count("error[")) == (2, 0, 1)
    assert words in refused.err


def test_the_cost_is_said_first_and_a_large_probe_needs_consent(
    copied: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry = copied.probe("--probe", SYSTEM, "--dry-run", "--price-in", "1000", "--price-out", "2000")
    assert dry.code == 0 and f"{SAMPLES} samples in 2 arms, control included: {2 * SAMPLES} requests at most" in dry.out
    assert re.search(r"about [\d,]+ tokens read and [\d,]+ written", dry.out) and "$" in dry.out
    monkeypatch.setattr("kvl_eval.probe.cost.MANY_REQUESTS", 90)
    refused = copied.probe("--probe", SYSTEM)
    assert refused.code == 2 and "96 requests need confirmation" in refused.err
    assert copied.requests == 0 and arms(copied) == {}


def killing(server: Server, at: int, process: list[subprocess.Popen[bytes]]) -> Callable[[Asked], Answer]:
    """Answers until one request, at which it kills the process that asks."""
    done = 0

    def script(asked: Asked) -> Answer:
        nonlocal done
        if done == at and process:
            os.kill(process.pop().pid, signal.SIGKILL)
            server.stub.asked.remove(asked)
            return Answer(hang_up=-1)
        done += 1
        return answered(asked)

    return script


@pytest.mark.slow
def test_explain_x6_a_probe_that_was_killed_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    with answered_run(tmp_path, "--max-connections", "1") as server:
        whole = tmp_path / "whole"
        shutil.copytree(server.results, whole)
        expected = shown(server.probe("--probe", SYSTEM, "--json", to=whole))
        requests = server.requests
        server.stub.asked.clear()
        process: list[subprocess.Popen[bytes]] = []
        server.stub.script = killing(server, SAMPLES, process)
        words = [sys.executable, "-m", "kvl_eval", *server.words(), "--probe", SYSTEM]
        asking = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.append(asking)
        assert asking.wait(timeout=120) == -signal.SIGKILL
        assert server.requests == SAMPLES, "two looks of both arms"
        found = shown(server.probe("--probe", SYSTEM, "--json"))
        assert server.requests == requests
    assert json.dumps(found).replace(str(server.results), str(whole)) == json.dumps(expected)


@pytest.fixture
def scenario(shared: Path, tmp_path: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """What is expected of the scenario's server, and the command that explains its run."""
    folder = shared / "explain" / "probe"
    golden = json.loads((folder / "scenario.json").read_text())
    port = unused_address().rpartition(":")[2].partition("/")[0]
    places = {"DATA": shared / "explain" / "data", "SCENARIO": folder, "OUT": tmp_path, "PORT": port}
    started = [str(shared / "explain" / "stub_server.py"), *golden["server"][2:]]
    with subprocess.Popen([sys.executable, *(replaced(word, places) for word in started)]) as stub:
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models")
            run = command(*(replaced(word, places) for word in golden["runs"]["A"]), "--json", "-q")
            path = json.loads(run.out)["folder"]
            yield golden["expected"], [path if word == "A" else word for word in golden["explain"]]
        finally:
            stub.kill()


def wait_for(address: str) -> None:
    for _ in range(200):
        with suppress(OSError), urlopen(address, timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"{address} does not answer")


@pytest.mark.slow
@pytest.mark.shared
def test_explain_x6_the_scenario(scenario: tuple[dict[str, Any], list[str]]) -> None:
    expected, words = scenario
    found = shown(command(*words, "--json"))
    probes = {
        "joint" if probe["arm"] == "joint" else probe["setting"].split("=")[0]: probe for probe in found["probes"]
    }
    for name, wanted in expected["probes"].items():
        low, high = (100 * bound for bound in probes[name]["ci95"])
        assert low <= wanted["truth"] <= high
        assert probes[name]["outcome"] == "effect"
    low, high = (100 * bound for bound in probes["joint"]["interaction"]["ci95"])
    assert low <= expected["interaction"]["truth"] <= high
    control = probes["prompt"]["control"]
    assert control["changed"] / control["n"] == pytest.approx(expected["control"]["changed_share_about"], abs=0.015)
