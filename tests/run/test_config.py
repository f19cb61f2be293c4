from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.run.config import RunConfig, from_json, resolve, to_json, to_yaml
from kvl_eval.run.fingerprint import fingerprint_of, identity_of, task_identity
from kvl_eval.tasks.base import Task
from tests.refusals import refused
from tests.tiny_task import tiny


def config(*tasks: Task, model: str = "fake", family: str = "fake", **options: Any) -> RunConfig:
    return resolve(model, family, tasks or (tiny(),), options)


def test_defaults_come_from_task_and_family() -> None:
    one = config().tasks[0]
    assert (one.split, one.prompt, one.generation.max_new_tokens, one.budgets, one.policy) == (
        "test",
        "plain",
        512,
        (None,),
        None,
    )
    thinking = config(model="kimi-vl-thinking", family="thinking").tasks[0]
    assert (thinking.generation.max_new_tokens, thinking.generation.temperature) == (18_432, 0.8)


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("nano", {}, "mini"),
        ("fake", {}, "mini"),
        ("instruct", {}, "test"),
        ("nano", {"data_dir": "/data"}, "test"),
        ("nano", {"split": "test"}, "test"),
    ],
)
def test_the_bundled_split_is_what_demo_models_run(family: str, options: dict[str, Any], expected: str) -> None:
    assert config(tiny(mini="tiny"), family=family, **options).tasks[0].split == expected


def test_budgets_replace_the_limit() -> None:
    one = config(think_budget=(2048, 1024, 1024), answer_tokens=100, budget_policy="force").tasks[0]
    assert one.budgets == (1024, 2048)
    assert one.policy == "force"
    assert one.generation.limit == 2148
    with refused(ConfigError, "config.budget", "cannot be combined"):
        config(think_budget=(1024,), max_new_tokens=100)


def test_data_may_come_from_elsewhere_for_one_task() -> None:
    first, second = tiny(name="first", repos=("org/first",)), tiny(name="second-task", repos=("org/second",))
    found = config(first, second, family="instruct", data_repo=("second_task=me/mine@abc",)).tasks
    assert [(task.source.repo, task.source.revision) for task in found] == [("org/first", None), ("me/mine", "abc")]
    found = config(first, second, data_repo=("me/all",)).tasks
    assert [task.source.repo for task in found] == ["me/all", "me/all"]
    found = config(first, second, data_dir={"first": "/data"}, split={"second-task": "test"}).tasks
    assert [(task.source.data_dir, task.source.repo) for task in found] == [(Path("/data"), None), (None, "org/second")]


def test_a_limit_may_be_a_percentage() -> None:
    assert [config(limit=limit).limit for limit in ("10%", "0.1", 0.1, "7", 7)] == [0.1, 0.1, 0.1, 7, 7]
    assert config(limit="100%") == config()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"temprature": 1}, "usage.option", "temperature"),
        ({"split": "tst"}, "usage.split", "test"),
        ({"prompt": "plan"}, "usage.prompt", "plain"),
        ({"protocol": "offical"}, "usage.protocol", "official"),
    ],
)
def test_unknown_names_are_answered_with_suggestions(options: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(**options)
    assert caught.value.code == code
    assert caught.value.suggestions == (named,)


@pytest.mark.parametrize(
    "options",
    [
        {"repeats": 0},
        {"limit": 0},
        {"limit": 1.5},
        {"limit": True},
        {"limit": "many"},
        {"limit": float("inf")},
        {"shard": (3, 2)},
        {"shard": (0, 2)},
        {"shard": (1, 2, 3)},
        {"shard": ("a", 2)},
        {"fail_on_error": -1},
        {"temperature": -0.1},
        {"top_p": 0.0},
        {"max_new_tokens": 0},
    ],
    ids=str,
)
def test_values_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        config(**options)


def test_a_stored_configuration_comes_back_whole() -> None:
    asked = config(
        limit=0.5,
        sample_ids=("q/1", "ü"),
        shard=(1, 2),
        repeats=3,
        think_budget=(1024,),
        data_dir="/data",
        model_args={"answers": "empty"},
        output_dir="elsewhere",
        fail_on_error=0.1,
        blind=True,
        frames=16,
        fps=0.5,
        max_pixels=100_000,
        video_decoder="pyav",
        no_cache=True,
    )
    assert from_json(to_json(asked)) == asked
    with pytest.raises(ConfigError):
        from_json({"tasks": [{}]})


def test_numbers_are_kept_as_they_were_stored_so_that_fingerprints_stay() -> None:
    asked = config(temperature=1, top_p=1, fps=2, split="test")
    again = from_json(json.loads(json.dumps(to_json(asked))))
    generation = again.tasks[0].generation
    assert [repr(value) for value in (generation.temperature, generation.top_p, again.settings.media.fps)] == [
        "1",
        "1",
        "2",
    ]
    assert fingerprint_of(identity_of(again, {}, {"tiny": task_identity(again.tasks[0], "", "")})) == fingerprint_of(
        identity_of(asked, {}, {"tiny": task_identity(asked.tasks[0], "", "")})
    )


def test_what_the_last_release_stored_is_read_and_what_it_no_longer_has_is_dropped() -> None:
    stored = json.loads(Path("tests/data/release_run/run.json").read_text(encoding="utf-8"))["config"]
    again = to_json(from_json(stored))
    for task in stored["tasks"]:
        assert (task["source"].pop("faults"), task["source"].pop("announce")) == (None, None)
    assert json.dumps({name: again[name] for name in stored if name != "settings"}) == json.dumps(
        {name: value for name, value in stored.items() if name != "settings"}
    )
    assert {name: repr(again["settings"][name]) for name in stored["settings"]} == {
        name: repr(value) for name, value in stored["settings"].items()
    }


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [("repeats", "two", "repeats"), ("shard", [1], "shard"), ("settings", {"fps": "x"}, "settings.fps")],
)
def test_a_stored_value_that_cannot_be_is_named(field: str, value: object, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json({**to_json(config()), field: value})
    assert caught.value.code == "config.stored"
    assert path in str(caught.value.why)


def test_the_yaml_file_speaks_in_flags() -> None:
    text = to_yaml(config(tiny(), tiny(name="other", max_new_tokens=99), limit=3, shard=(1, 2), family="instruct"))
    found = yaml.safe_load(text)
    assert found["task"] == "tiny,other"
    assert (found["split"], found["limit"], found["shard"], found["batch_size"]) == ("test", 3, "1/2", "auto")
    assert "max_new_tokens" not in found
    assert "# max_new_tokens: tiny 512, other 99" in text


def test_the_yaml_file_holds_what_was_asked_for_and_nothing_else() -> None:
    given = {
        "repeats": 2,
        "seed": 7,
        "think_budget": (8, 16),
        "budget_policy": "force",
        "answer_tokens": 5,
        "sample_ids": ("a", "b"),
        "fail_on_error": 3,
        "compress": True,
        "model_args": {"think": 3, "fail": "oom"},
    }
    found = yaml.safe_load(to_yaml(config(**given)))
    assert {name: found[name] for name in given} == {
        **given,
        "think_budget": "8,16",
        "sample_ids": "a,b",
        "model_args": "think=3,fail=oom",
    }
    plain = yaml.safe_load(to_yaml(config()))
    assert {"compress", "think_budget", "sample_ids", "shard", "limit", "judge"} & {
        name for name, value in plain.items() if value
    } == set()
    assert "compress" not in plain


def test_the_yaml_file_names_flags_that_exist() -> None:
    from kvl_eval.cli.main import run

    known = {option.lstrip("-").replace("-", "_") for parameter in run.params for option in parameter.opts}
    asked = config(
        limit=3, sample_ids=("a",), think_budget=(8,), model_args={"think": 3}, data_repo=("a/b",), blind=True, frames=3
    )
    assert set(yaml.safe_load(to_yaml(asked, Path("prompt.txt")))) <= known


def test_demo_models_answer_bundled_splits_or_what_is_named() -> None:
    downloaded = tiny(repos=("owner/name",))
    with refused(UsageError, "usage.split", "bundled"):
        config(downloaded, family="fake")
    assert config(downloaded, family="fake", split="test").tasks[0].split == "test"
    assert config(downloaded, family="fake", data_dir="/data").tasks[0].split == "test"
    assert config(downloaded, family="instruct").tasks[0].split == "test"
