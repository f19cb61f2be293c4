"""The family of a model: which rule finds it, and what follows from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import kvl_eval
from kvl_eval.backends import MODELS, family_of, make_backend
from kvl_eval.backends.base import EngineSettings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.backends.fingerprint import CONFIG_FILES, files_sha256
from kvl_eval.check_model import check
from kvl_eval.errors import CheckpointError, UsageError
from kvl_eval.families import CONFIG_KEY, CheckpointFacts, ChosenFamily, FamilyRule, ModelFamily, choose_family
from kvl_eval.model.kimi_vl.families import (
    FAMILIES,
    INSTRUCT,
    NANO,
    NANO_THINKING,
    OTHER,
    SCRIPTED,
    THINKING,
    THINKING_2506,
)
from kvl_eval.model.registry import PACKAGES, families, family_named, stored_family
from kvl_eval.references import load
from kvl_eval.run.config import from_json, resolve, to_json
from kvl_eval.run.plan import plan_run
from kvl_eval.run.plan_text import plan_notes, plan_text
from kvl_eval.run.runner import resume_run, start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.answers import answer_of
from kvl_eval.store.manifest import ModelFacts
from kvl_eval.store.records import Extra
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks import get_task
from tests.processes import closed_after
from tests.records import make_record
from tests.tiny_task import config_of, gold_answer, rescored, run_tiny, tiny

BUNDLED = Path(kvl_eval.__file__).parent / "data"
REPOSITORY = "moonshotai/Kimi-VL-A3B-Thinking"
NAMES = (
    *("my-nanotube-vl", "banano-vl-thinking", "my-kimi", "thinking", "kimi-vl-instruct", "kimi-vl-thinking-2506"),
    *("nano", "Kimi-VL-A3B-Thinking-2506", "endpoint", "fake"),
)


def checkpoint(folder: Path, config: dict[str, Any], **files: dict[str, Any]) -> Path:
    """A folder with the JSON files alone."""
    folder.mkdir()
    for name, values in {"config": {"model_type": "kimi_vl", **config}, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return folder


def plan_of(folder: Path) -> tuple[dict[str, Any], str]:
    """What is planned with a checkpoint, without the folder's name: the identity, and the text."""
    family = family_of(str(folder), EngineSettings())
    config = resolve(str(folder), family, [get_task("mathvista")], {"limit": 2})
    with closed_after(make_backend(str(folder), config.settings)) as backend:
        plan = plan_run(config, backend)
    tree = {**plan.identity, "model": {**plan.identity["model"], "name": ""}}
    tree["run"] = (config.family, config.family_rule, asdict(config.tasks[0]))
    return tree, "\n".join([*(note.text for note in plan_notes(plan)), plan_text(plan)])


def test_C17_one_checkpoint_has_one_plan_under_ten_names(tmp_path: Path) -> None:
    plans = []
    for name in NAMES:
        shutil.copytree(BUNDLED / "kimi-vl-nano", tmp_path / name)
        plans.append(plan_of(tmp_path / name))
    tree, text = plans[0]
    assert all(plan == plans[0] for plan in plans)
    assert tree["run"][:2] == ("nano", FamilyRule.CONFIG)
    assert tree["run"][2]["split"] == "mini"
    assert "settings of the family nano, by kvl_eval.family in config.json" in text


@pytest.mark.parametrize("name", ["my-nanotube-vl-thinking", "Kimi-VL-A3B-Instruct", "2506"])
def test_C17_a_full_size_checkpoint_is_other_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    folder = checkpoint(tmp_path / name, {})
    family = family_of(str(folder), EngineSettings())
    assert (family.family, family.rule) == (OTHER, FamilyRule.NONE)
    task = resolve(str(folder), family, [get_task("mathvista")], {}).tasks[0]
    assert (task.split, task.generation.temperature) == ("testmini", 0.0)


@pytest.mark.parametrize("entry", MODELS.values(), ids=lambda entry: entry.name)
def test_registered_names_and_repositories_are_what_they_say(entry: Any) -> None:
    expected = {
        "kimi-vl-nano": NANO,
        "kimi-vl-nano-thinking": NANO_THINKING,
        "kimi-vl-instruct": INSTRUCT,
        "kimi-vl-thinking": THINKING,
        "kimi-vl-thinking-2506": THINKING_2506,
        "fake": SCRIPTED,
        "endpoint": OTHER,
    }[entry.name]
    rule = FamilyRule.NONE if expected is OTHER else FamilyRule.REGISTERED
    chosen = family_of(entry.name, EngineSettings())
    assert (chosen.family, chosen.rule) == (expected, rule)
    if expected.published is not None and not expected.is_demo and expected is not SCRIPTED:
        assert family_of(entry.location, EngineSettings()) == chosen
        assert FAMILIES.repositories[entry.location] == expected.name


ALL = CheckpointFacts(label="nano", origin=REPOSITORY, model_type="kimi_vl", image_limit=16_384)


@pytest.mark.parametrize(
    ("place", "facts", "option", "family", "rule"),
    [
        (REPOSITORY, ALL, INSTRUCT, INSTRUCT, FamilyRule.OPTION),
        (REPOSITORY, ALL, None, THINKING, FamilyRule.REGISTERED),
        ("me/Kimi-VL-A3B-Thinking", ALL, None, NANO, FamilyRule.CONFIG),
        ("folder", replace(ALL, label=None), None, THINKING, FamilyRule.ORIGIN),
        ("folder", replace(ALL, label="of-a-later-version"), None, THINKING, FamilyRule.ORIGIN),
        ("folder", replace(ALL, label=None, origin="/data" + REPOSITORY), None, THINKING_2506, FamilyRule.IMAGE_LIMIT),
        ("folder", CheckpointFacts(model_type="qwen", image_limit=16_384), None, OTHER, FamilyRule.NONE),
        ("folder", CheckpointFacts(model_type="kimi_vl", image_limit=4_096), None, OTHER, FamilyRule.NONE),
    ],
)
def test_the_first_rule_that_applies_decides(
    place: str, facts: CheckpointFacts, option: ModelFamily | None, family: Any, rule: FamilyRule
) -> None:
    chosen = choose_family(FAMILIES, place, facts, option)
    assert (chosen.family, chosen.rule) == (family, rule)


def test_facts_are_read_from_the_files(tmp_path: Path) -> None:
    settings = EngineSettings()
    tuned = checkpoint(tmp_path / "a", {CONFIG_KEY: "nano-thinking"})
    copied = checkpoint(tmp_path / "b", {"_name_or_path": REPOSITORY})
    large = checkpoint(tmp_path / "c", {}, preprocessor_config={"in_token_limit": 16_384})
    odd = checkpoint(tmp_path / "d", {CONFIG_KEY: ["nano"], "_name_or_path": 3}, preprocessor_config={})
    rules = [family_of(str(folder), settings) for folder in (tuned, copied, large, odd)]
    assert [chosen.family.name for chosen in rules] == ["nano-thinking", "thinking", "thinking-2506", "other"]


@pytest.mark.parametrize(
    ("stated", "temperature", "tokens"),
    [
        ({}, 0.0, 512),
        ({"temperature": 0.6}, 0.0, 512),
        ({"do_sample": True, "temperature": 0.6, "max_new_tokens": 4096}, 0.6, 4096),
        ({"do_sample": True}, 1.0, 512),
        ({"do_sample": None, "temperature": None, "max_new_tokens": 0}, 0.0, 512),
    ],
)
def test_other_follows_its_generation_config(
    tmp_path: Path, stated: dict[str, Any], temperature: float, tokens: int
) -> None:
    folder = checkpoint(tmp_path / "tuned", {}, generation_config=stated)
    made = family_of(str(folder), EngineSettings()).family.generation(512)
    assert (made.temperature, made.max_new_tokens) == (temperature, tokens)


@pytest.mark.parametrize("stated", [{"do_sample": "yes"}, {"temperature": "hot"}, {"max_new_tokens": -1}])
def test_a_generation_config_of_wrong_types_is_refused(tmp_path: Path, stated: dict[str, Any]) -> None:
    folder = checkpoint(tmp_path / "tuned", {}, generation_config=stated)
    with pytest.raises(CheckpointError, match=next(iter(stated))) as caught:
        family_of(str(folder), EngineSettings())
    assert caught.value.where == "generation_config.json"


@pytest.mark.parametrize("model", ["endpoint", "hf:org/name", "fake", "me/no-such-repository"])
def test_the_option_names_the_family_of_any_model(model: str) -> None:
    chosen = family_of(model, EngineSettings(family="thinking"))
    assert (chosen.family.name, chosen.family.temperature, chosen.rule) == ("thinking", 0.8, FamilyRule.OPTION)
    assert (chosen.family.default_split == "mini") is (model == "fake")


def test_every_architecture_has_families_of_its_own() -> None:
    names = [name for model_type in PACKAGES for name in families(model_type).records]
    assert len(names) == len(set(names))
    for model_type in PACKAGES:
        known = families(model_type)
        assert {family.model_type for family in known.records.values()} == {model_type}
        assert all(stored_family(name) is family_named(name) is family for name, family in known.records.items())


def test_a_checkpoint_of_another_architecture_is_of_its_families(tmp_path: Path) -> None:
    tuned = checkpoint(tmp_path / "tuned", {"model_type": "qwen2_5_vl"}, preprocessor_config={"in_token_limit": 16_384})
    copied = checkpoint(tmp_path / "b", {"model_type": "qwen2_5_vl", "_name_or_path": "Qwen/Qwen2.5-VL-7B-Instruct"})
    for folder, name, rule in ((tuned, "qwen2.5-vl", FamilyRule.NONE), (copied, "qwen2.5-vl-7b", FamilyRule.ORIGIN)):
        chosen = family_of(str(folder), EngineSettings())
        assert (chosen.family.name, chosen.rule) == (name, rule)
        assert "<|im_end|>" in chosen.family.stop_texts
    facts = CheckpointFacts(model_type="qwen2_5_vl")
    published = choose_family(families("qwen2_5_vl"), "Qwen/Qwen2.5-VL-7B-Instruct", facts)
    assert (published.rule, published.family.published) == (FamilyRule.REGISTERED, "qwen2.5-vl-7b")
    assert published.family.published in {score.system for score in load()}


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("other", "--family instruct|thinking|thinking-2506 changes that"),
        ("qwen2.5-vl", "--family qwen2.5-vl-3b|qwen2.5-vl-7b|qwen2.5-vl-32b|qwen2.5-vl-72b changes that"),
        ("qwen2.5-vl-7b", None),
        ("instruct", None),
    ],
)
def test_the_plan_offers_the_families_of_the_architecture(name: str, offered: str | None) -> None:
    config = resolve(
        "fake",
        ChosenFamily(stored_family(name), FamilyRule.NONE),
        [get_task("mathvista")],
        {"limit": 2, "split": "mini"},
    )
    text = "\n".join(note.text for note in plan_notes(plan_run(config, FakeBackend(config.settings))))
    assert (offered in text) if offered else ("--family" not in text)


def test_an_unknown_family_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown family 'thinkng'") as caught:
        family_of("fake", EngineSettings(family="thinkng"))
    assert "thinking" in caught.value.suggestions


def test_every_family_gives_the_settings_of_before() -> None:
    found = {
        name: [(made.max_new_tokens, made.temperature) for made in map(family.generation, (128, 4096))]
        for name, family in FAMILIES.records.items()
    }
    assert found == {
        "instruct": [(128, 0.0), (4096, 0.0)],
        "thinking": [(18_432, 0.8)] * 2,
        "thinking-2506": [(32_768, 0.8)] * 2,
        "nano": [(128, 0.0), (512, 0.0)],
        "nano-thinking": [(512, 0.8)] * 2,
        "other": [(128, 0.0), (4096, 0.0)],
    }


def test_the_label_of_a_family_changes_no_hash_of_a_checkpoint(tmp_path: Path) -> None:
    for place in ("start", "middle", "end"):
        values: dict[str, Any] = {"model_type": "kimi_vl", "pad_token_id": 1}
        plain = checkpoint(tmp_path / f"plain-{place}", values)
        label = {CONFIG_KEY: "nano"}
        marked = {"start": {**label, **values}, "middle": {"model_type": "kimi_vl", **label, **values}}
        text = json.dumps(marked.get(place, {**values, **label}))
        folder = checkpoint(tmp_path / place, {})
        (folder / "config.json").write_text(text)
        assert files_sha256(folder, CONFIG_FILES) == files_sha256(plain, CONFIG_FILES), place
    (folder / "config.json").write_text(json.dumps({**values, "pad_token_id": 2, **label}))
    assert files_sha256(folder, CONFIG_FILES) != files_sha256(plain, CONFIG_FILES)


def test_check_model_says_family_and_rule() -> None:
    for option, text in ((None, "nano, by kvl_eval.family in config.json"), ("other", "other, set by --family")):
        found = check(BUNDLED / "kimi-vl-nano", family=option)
        assert found.ok
        assert [one.text for one in found.findings if one.check == "family"] == [text]


# -- runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "think", "is_told"),
    [("instruct", 3, True), ("other", 3, True), ("other", 0, False), ("thinking", 3, False), ("fake", 3, False)],
)
def test_thoughts_that_nobody_expected_are_a_warning(tmp_path: Path, family: str, think: int, is_told: bool) -> None:
    task = tiny()
    config = resolve("fake", family, [task], {"output_dir": str(tmp_path), "model_args": {"think": think}})
    plan = plan_run(config, FakeBackend(config.settings), [task])
    outcome = start_run(plan, FakeBackend(config.settings))
    warnings = [text for _, text in outcome.folder.warnings if "--family thinking or thinking-2506" in text]
    assert len(warnings) == is_told


def published(**changes: Any) -> Any:
    return tiny(reference=get_task("mathvista").reference, **changes)


@pytest.mark.parametrize("rule", list(FamilyRule))
def test_a_published_result_stands_only_beside_a_family_that_is_sure(tmp_path: Path, rule: FamilyRule) -> None:
    folder = run_tiny(tmp_path, published()).folder
    model = ModelFacts(name="my-copy", family="instruct", others={"family_rule": str(rule)})
    folder.save(replace(folder.manifest, model=model))
    [row, *_] = rescored(RunFolder.open(folder.path), [published()])["rows"]
    assert (row["reference"] is not None) is (rule in (FamilyRule.OPTION, FamilyRule.REGISTERED))


def test_runs_of_earlier_versions_are_scored_as_they_were(tmp_path: Path) -> None:
    for family, note in (("instruct", None), ("nano", "demo model, not Kimi-VL-A3B"), ("fake", "scripted answers")):
        folder = run_tiny(tmp_path / family, published()).folder
        folder.save(replace(folder.manifest, model=ModelFacts(name="m", family=family), demo=family == "nano"))
        [row, *_] = rescored(RunFolder.open(folder.path), [published()])["rows"]
        assert (row["reference"]["system"], row["reference"]["note"]) == ("kimi-vl-a3b-instruct", note)
    for family in ("endpoint", "peer"):
        folder.save(replace(folder.manifest, model=ModelFacts(name="m", family=family)))
        assert rescored(RunFolder.open(folder.path), [published()])["rows"][0]["reference"] is None


def test_a_stored_configuration_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    folder = run_tiny(tmp_path).folder
    stored = json.loads((folder.path / "run.json").read_bytes())["config"]
    del stored["family_rule"], stored["settings"]["family"]
    (folder.path / "samples" / "tiny.jsonl").write_text("")
    (folder.path / "results.json").unlink()
    folder.save(replace(folder.manifest, config=stored, status="interrupted"))
    config = from_json(stored)
    assert (config.family, config.family_rule) == ("fake", None)
    outcome = resume_run(
        RunReader.open(folder.path, [tiny()]), lambda config: FakeBackend(config.settings, answer=gold_answer)
    )
    assert (outcome.exit_code, outcome.results.rows[0].n_ok) == (0, 10)


def test_the_rule_survives_being_stored(tmp_path: Path) -> None:
    config = config_of(tiny(), tmp_path, family="other")
    assert config.family_rule is FamilyRule.REGISTERED
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


# -- stop tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "extra", "expected"),
    [
        ("B</s>", {"stop_token": "</s>"}, "B"),
        ("B<|eot_id|>", {"stop_token": "<|eot_id|>"}, "B"),
        ("B[EOS]<|im_end|>", {"stop_token": "<|im_end|>"}, "B[EOS]"),
        ("B<|im_end|>", {}, "B"),
        ("B[EOS]", {}, "B"),
        ("B</s>", {}, "B</s>"),
    ],
)
def test_house_d3_scorers_never_see_the_token_that_ended_a_reply(
    raw: str, extra: dict[str, str], expected: str
) -> None:
    assert answer_of(make_record("1", raw_output=raw, extra=Extra(**extra)), "raw").raw == expected


def test_house_d3_the_engine_says_which_token_ended_a_reply(tmp_path: Path) -> None:
    result = kvl_eval.evaluate(tasks="mathvista", limit=2, output_dir=str(tmp_path), num_workers=0)
    records = list(result.folder.records("mathvista"))
    assert records
    for record in records:
        token = record.extra.stop_token
        assert (token in INSTRUCT.stop_texts) is (record.finish_reason == "stop")
        assert token is None or record.raw_output == record.answer + token
