"""Options are declared once: the command line, files, Python, help and the fingerprint agree with the table."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from kvl_eval import options as package
from kvl_eval.backends import endpoint_flags, vllm_flags
from kvl_eval.backends.base import CONCERNS
from kvl_eval.backends.engine_args import EngineArgs
from kvl_eval.backends.fake import FakeArgs
from kvl_eval.cli import flags
from kvl_eval.cli.config_file import ConfigFile
from kvl_eval.cli.help import command_help
from kvl_eval.cli.main import cli
from kvl_eval.errors import ConfigError, KvlEvalError, UsageError
from kvl_eval.options import COMMANDS, MODEL_ARGUMENTS, OPTIONS, Heading, Option, RunOptions, Scope, ValueKind
from kvl_eval.options.model_arguments import ARGUMENTS, ENGINE, FAKE, SERVER, VLLM
from kvl_eval.run.config import resolve
from kvl_eval.run.fingerprint import identity_of, task_identity
from kvl_eval.run.options import Options, TaskOptions
from kvl_eval.tasks import get_task
from tests.tiny_task import tiny

METAVARS = {
    *("NAME", "N", "X", "FILE", "DIR", "URL", "VAR", "LIST", "KEY=VALUE", "ROLE=COLUMN", "I/N", "TASK", "TEXT"),
    *("N|auto", "N|X", "LIST|FILE", "P[,Q]", "HOST:PORT", "TIME", "SIZE", "NAME|NUMBER|RUN"),
}
SEVERAL_MEANINGS = {
    "task",
    "protocol",
    "output_dir",
    "output_file",
    "format",
    "model",
    "results_dir",
    "samples",
    "yes",
}  # the command decides
RUN = [option for option in OPTIONS if option.scope is not Scope.COMMAND and "run" in option.commands]
THROUGH_A_HASH = {"task", "model", "data_dir", "data_repo", "data_version", "fields", "prompt_file"}
VALUES: dict[str, object] = {
    "limit": 3,
    "sample_ids": "a,b",
    "shard": "1/2",
    "think_budget": "1k",
    "fail_on_error": "0.5",
    "split": "test",
    "prompt": "plain",
    "protocol": "all",
    "temperature": 0.5,
    "top_p": 0.5,
    "video_decoder": "pyav",
    "image_prep": "vlmevalkit",
    "score_view": "raw",
    "provider": "xvfb",
}


def test_an_option_means_the_same_in_every_command() -> None:
    rows = defaultdict(list)
    for option in OPTIONS:
        rows[option.name].append(option)
    assert {name for name, same in rows.items() if len(same) > 1} == SEVERAL_MEANINGS
    assert all(len({option.short for option in rows[name]} - {None}) <= 1 for name in SEVERAL_MEANINGS)
    taken = [(command, option.name) for option in OPTIONS for command in option.commands]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: f"{option.name}-{option.commands[0]}")
def test_a_row_is_complete(option: Option) -> None:
    assert re.fullmatch(r"[A-Z].*\.( \[default: .*\])?", option.help)
    assert len(option.help.split()) >= 4
    is_bare = option.kind in (ValueKind.SWITCH, ValueKind.TOGGLE, ValueKind.COUNTER)
    assert bool(option.metavar) is not is_bare
    assert is_bare or option.metavar in {*METAVARS, "|".join(option.choices)}
    assert bool(option.choices) is (option.kind is ValueKind.CHOICE)
    assert set(option.commands) <= {command.name for command in COMMANDS}


def test_no_two_options_of_a_command_have_a_flag_in_common() -> None:
    for command in COMMANDS:
        names = [name for option in package.options_of(command.name) for name in (option.flag, *option.aliases)]
        assert len(names) == len(set(names)), command.name


def test_records_of_a_run_have_the_options_of_the_table() -> None:
    scopes: dict[Scope, set[str]] = defaultdict(set)
    for option in RUN:
        scopes[option.scope].add(option.name)
    for concern, kind in CONCERNS.items():
        assert {field.name for field in fields(kind)} - {"max_download"} == scopes[Scope(concern)]
    assert {field.name for field in fields(TaskOptions)} == scopes[Scope.TASK]
    stored = {field.name for field in fields(Options)} - {"by_task", "settings", "thinking"}
    assert stored == (scopes[Scope.RUN] - {"prompt_file"}) | {"prompt_text"}


def test_python_has_the_keywords_of_the_table() -> None:
    keywords = get_type_hints(RunOptions)
    rows = {option.name: option for option in RUN if option.name not in ("model", "task", "backend")}
    assert list(keywords) == [*rows, "prompt_text", "max_download"]
    for name, option in rows.items():
        text = str(keywords[name])
        assert all(f"'{choice}'" in text for choice in option.choices)
        assert (option.kind is ValueKind.SWITCH) is ("bool" in text and name != "model_args")
        assert option.kind is not ValueKind.INTEGER or "int" in text


def identity(of_agents: bool = False, **values: Any) -> object:
    task = get_task("desktop-mini") if of_agents else tiny(mini="tiny", prompts=tiny().prompts)
    config = resolve("fake", "fake", [task], values)
    return identity_of(config, {}, {task.task: task_identity(task, "", "") for task in config.tasks})


@pytest.mark.parametrize(
    "option",
    [
        option
        for option in RUN
        if option.scope in (Scope.RUN, Scope.TASK, Scope.MEDIA)
        and option.name not in THROUGH_A_HASH
        and not option.name.startswith("judge")
    ],
    ids=lambda option: option.name,
)
def test_the_fingerprint_holds_the_options_that_the_table_says(option: Option) -> None:
    companions: dict[str, Any] = {}
    if option.name in ("budget_policy", "answer_tokens"):
        companions = {"think_budget": "1k"}
    kinds = {ValueKind.SWITCH: True, ValueKind.INTEGER: 7, ValueKind.NUMBER: 7.5}
    value = VALUES.get(option.name, kinds.get(option.kind, option.choices[-1] if option.choices else "other"))
    of_agents = option.group is Heading.AGENTS
    changed = identity(of_agents, **companions, **{option.name: value}) != identity(of_agents, **companions)
    assert changed is (option.in_fingerprint and option.name != "prompt")  # the tiny task has one prompt


def test_model_arguments_are_those_of_the_backends() -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for argument in ARGUMENTS:
        names[argument.backend].add(argument.name)
    moved = {option.name for option in MODEL_ARGUMENTS}
    assert names[ENGINE] - moved == {field.name for field in fields(EngineArgs)}
    assert names[FAKE] == {field.name for field in fields(FakeArgs)}
    assert names[SERVER] - moved == {*endpoint_flags.MODEL_ARGS, "omit", "checkpoint"}
    assert names[VLLM] | {"budget"} == set(vllm_flags.MODEL_ARGS)
    assert moved <= {argument.name for argument in ARGUMENTS}


def test_a_setting_may_be_given_as_a_model_argument() -> None:
    options = Options.of({"model_args": ["max_retries=2,request_timeout=1.5", "budget=tokens"]})
    assert (options.settings.server.max_retries, options.settings.server.request_timeout) == (2, 1.5)
    assert options.settings.engine.model_args == {"budget": "tokens"}
    assert Options.of({"model_args": {"max_retries": 2}, "max_retries": 3}).settings.server.max_retries == 3
    with pytest.raises(ConfigError, match="--max-retries must be at least 0"):
        Options.of({"model_args": {"max_retries": -1}})


@pytest.mark.parametrize(
    ("text", "limit"), [("10", 10), ("0.1", 0.1), ("10%", 0.1), ("2.5%", 0.025), ("100%", None), (0.25, 0.25), (3, 3)]
)
def test_a_limit_is_a_count_a_share_or_a_percentage(text: object, limit: object) -> None:
    assert Options.of({"limit": text}).limit == limit


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1.0", "150%", "0%", "abc", "10-20", "", "10%%", "nan", "inf"])
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Options.of({"limit": text})
    wanted = "a positive integer, a fraction below 1 or a percentage up to 100%"
    assert caught.value.message == f"--limit must be {wanted}, got {text!r}"


@pytest.mark.parametrize("value", ["1k,4k", ["1k", 4096], (1024, 4096), "1024 4096"])
def test_budgets_are_texts_or_numbers(value: object) -> None:
    assert Options.of({"think_budget": value}).think_budget == (1024, 4096)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "abc"}, "--seed must be an integer, got 'abc'"),
        ({"seed": 1.5}, "--seed must be an integer, got 1.5"),
        ({"frames": 0}, "--frames must be at least 1, got 0"),
        ({"blind": "yes"}, "--blind must be true or false, got 'yes'"),
        ({"device": 1}, "--device must be a text, got 1"),
        ({"temperature": {"tiny": "hot"}}, "--temperature must be a number, got 'hot'"),
        ({"think_budget": "lots"}, "--think-budget expects token counts such as 1k,4k, got 'lots'"),
        ({"batch_size": 0}, '--batch-size must be "auto" or a positive integer, got 0'),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Options.of(values)
    assert caught.value.message == message


def test_texts_of_flags_are_values_in_python() -> None:
    options = Options.of({"seed": "5", "limit": "20", "temperature": "0.5", "shard": "1/2", "sample_ids": ["a", 1]})
    assert (options.seed, options.limit, options.shard, options.sample_ids) == (5, 20, (1, 2), ("a", "1"))
    assert options.by_task == {"temperature": 0.5}


def test_a_new_option_is_one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = Option(
        name="zoom_level",
        aliases=("-z", "--zoom"),
        kind=ValueKind.INTEGER,
        metavar="N",
        default=3,
        least=1,
        help="Zoom into every image N times.",
        group=Heading.PROMPT,
        scope=Scope.MEDIA,
    )
    monkeypatch.setattr(package, "OPTIONS", (*OPTIONS, row))
    seen: list[object] = []
    command = flags.TableCommand(package.BY_NAME["run"], lambda **values: seen.append(values["zoom_level"]) or 0)
    assert "  -z, --zoom-level N          Zoom into every image N times. [default: 3]\n" in command_help(
        command.command
    )
    for words in ([], ["-z", "4"], ["--zoom_level", "4"], ["--zoom", "4"]):
        command.main(words, standalone_mode=False)
    assert seen == [3, 4, 4, 4]
    with pytest.raises(UsageError, match="--zoom-level must be at least 1, got '0'"):
        command.main(["-z", "0"], standalone_mode=False)
    (tmp_path / "c.yaml").write_text("zoom: 5\n")
    command.main(["-C", str(tmp_path / "c.yaml")], standalone_mode=False)
    assert seen[-1] == 5
    (tmp_path / "c.yaml").write_text("zoom-level: much\n")
    with pytest.raises(KvlEvalError, match="zoom-level must be an integer, got 'much'"):
        ConfigFile.read(tmp_path / "c.yaml", command.make_context("run", []))


def test_every_command_of_the_table_is_a_command() -> None:
    names = {*cli.commands, *(f"check {name}" for name in cli.commands["check"].commands)}  # type: ignore[attr-defined]
    assert {command.name for command in COMMANDS} == names
