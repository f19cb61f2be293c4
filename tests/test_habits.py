"""Options of other harnesses: each row of the table, and what the whole command line then says."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from kvl_eval.cli.flags import CONTEXT
from kvl_eval.cli.habits import HABITS, Explained, Mapped, pairs
from kvl_eval.cli.main import cli, main
from kvl_eval.cli.translation import translate
from kvl_eval.errors import ConfigError, UsageError
from kvl_eval.options.limit import sample_limit
from tests.refusals import refused

STORED = "answers are always stored (samples/ in the run folder)"
CHAT = "the model's chat template is always used"
OWN = ["--model", "fake", "--limit", "1", "--dry-run"]
SCORED = "answers are scored too; scoring never changes them"


def run(line: str, command: str = "run") -> tuple[str, tuple[str, ...]]:
    """The words that `kvl-eval run LINE` is rewritten to, and the notes."""
    translation = translate([command, *line.split()], cli, {})
    assert translation.argv[0] == command
    return " ".join(translation.argv[1:]), translation.notes


MAPPED = [
    ("a b", "a b"),
    ("--tasks a b c --limit 3", "--task a --task b --task c --limit 3"),
    ("--datasets a b", "--task a --task b"),
    ("--tasks=a,b -m fake", "--task a,b -m fake"),
    ("--limit 10%", "--limit 10%"),
    ("--num_fewshot 0", ""),
    ("-f 0 --seed 1", "--seed 1"),
    ("--num_fewshot=0", ""),
    ("--gen_kwargs temperature=0.2,top_p=0.9,max_gen_toks=512", "--temperature 0.2 --top-p 0.9 --max-new-tokens 512"),
    ("--gen_kwargs do_sample=true top_k=5 seed=3", "--top-k 5 --seed 3"),
    ("--gen-kwargs temperature=0.7,do_sample=false", "--temperature 0"),
    ("--generation-config max_new_tokens=9", "--max-new-tokens 9"),
    ('--generation-config {"max_tokens":9,"top_p":0.5}', "--max-new-tokens 9 --top-p 0.5"),
    ("--dtype fp16", "--dtype float16"),
    ("--dtype half", "--dtype float16"),
    ("--dtype bf16", "--dtype bfloat16"),
    ("--dtype fp32", "--dtype float32"),
    ("--dtype float", "--dtype float32"),
    ("--dtype auto", ""),
    ("--dtype bfloat16", "--dtype bfloat16"),
    ("--device gpu", "--device cuda"),
    ("--device 0", "--device cuda:0"),
    ("--device cuda:0", "--device cuda:0"),
    ("--batch_size auto:4", "--batch-size auto"),
    ("--batch_size auto --max_batch_size 16", "--batch-size 16"),
    ("--max_batch_size 16 --batch_size auto:4", "--batch-size 16"),
    ("--batch-size 4", "--batch-size 4"),
    ("--output_path x --work-dir y --log-dir z", "--output-dir x --output-dir y --output-dir z"),
    ("--output-dir x", "--output-dir x"),
    ("--reuse", "--resume"),
    ("-r", "--resume"),
    ("--no-reuse", "--no-resume"),
    ("--api-url U", "--base-url U"),
    ("--model-base-url U", "--base-url U"),
    ("--api-base=U", "--base-url U"),
    ("--api-nproc 4", "--num-workers 4"),
    ("--concurrency 4", "--max-connections 4"),
    ("--eval-batch-size 4", "--batch-size 4"),
    ("--api-nproc 4 --model endpoint", "--max-connections 4 --model endpoint"),
    ("-m endpoint --eval_batch_size 4", "-m endpoint --max-connections 4"),
    ("--epochs 3", "--repeats 3"),
    ("--repeats 3", "--repeats 3"),
    ("--max-samples 10", "--limit 10"),
    ("--sample-id 4,5", "--sample-ids 4,5"),
    ("--samples 4,5", "--sample-ids 4,5"),
    ("--max-tokens 7", "--max-new-tokens 7"),
    ("--max_gen_toks 7", "--max-new-tokens 7"),
    ("--system-message hello", "--system-prompt hello"),
    ("--system_instruction -s", "--system-prompt -s"),
    ("--system-prompt -s", "--system-prompt -s"),
    ("--reasoning-tokens 1k", "--think-budget 1k"),
    ("-M think=5", "--model-args think=5"),
    ("-M fake", "--model fake"),
    ("--model_args a=1 b=2 x", "--model-args a=1,b=2 x"),
    ("--verbosity DEBUG", "-vv"),
    ("--log-level info", ""),
    ("--verbosity WARNING", "-q"),
    ("--log-level critical", "-q"),
    ("--debug", "-vv"),
    ("--display none", "-q"),
    ("--display rich", ""),
    ("--retry-on-error failed", "--rerun failed"),
    ("--nframe 8", "--frames 8"),
    ("--run-config r.yaml", "--config r.yaml"),
    ("--confirm_run_unsafe_code", ""),
    ("--seed 7", "--seed 7"),
    ("--judge none", "--judge none"),
    ("--mode all", ""),
    ("--limit -1 -- --judge x", "--limit -1 -- --judge x"),
    ("--epochs", "--epochs"),
    ("--task", "--task"),
]


@pytest.mark.parametrize(("typed", "words"), MAPPED, ids=[typed for typed, _ in MAPPED])
def test_an_option_is_mapped(typed: str, words: str) -> None:
    result, notes = run(typed)
    assert result == words
    assert notes == ()
    if words not in ("--epochs", "--task"):  # their value is missing
        command = cli.commands["run"]
        command.make_parser(click.Context(command, **CONTEXT)).parse_args(words.split())


NOTED = [
    ("--log_samples", "", [STORED]),
    ("-s --log_samples_suffix x", "", [STORED]),
    ("--apply_chat_template", "", [CHAT]),
    ("--mode infer", "", [SCORED]),
    ("--predict_only", "", [SCORED]),
    ("-x", "", [SCORED]),
    ("--no-score", "", [SCORED]),
    ("--display plain", "", ["progress is plain where CI is set or no terminal is attached"]),
    (
        "--max-samples 65",
        "--limit 65",
        ["read as --limit 65; inspect's --max-samples means parallelism, here --batch-size"],
    ),
    (
        "--model hf --model_args pretrained=a/b,dtype=half,max_length=5",
        "--model hf:a/b --dtype float16 --model-args max_length=5",
        ["read as --model hf:a/b", "read as --dtype float16"],
    ),
    (
        "--model_args pretrained=a/b,revision=main --model hf-multimodal",
        "--revision main --model hf:a/b",
        ["read as --revision main", "read as --model hf:a/b"],
    ),
    ("--model hf --model_args pretrained=a/b,dtype=auto", "--model hf:a/b", ["read as --model hf:a/b"]),
]


@pytest.mark.parametrize(("typed", "words", "notes"), NOTED, ids=[row[0] for row in NOTED])
def test_an_option_without_effect_is_noted(typed: str, words: str, notes: list[str]) -> None:
    assert run(typed) == (words, tuple(notes))


EXPLAINED = [
    ("--retry-on-error 3", "asked again by the next command", "--rerun failed"),
    ("--num_fewshot 5", "all tasks are zero-shot, as their authors evaluate them", "omit --num_fewshot"),
    ("--fewshot_as_multiturn", "zero-shot", "omit"),
    ("--check_integrity", "", "kvl-eval verify RUN"),
    ("--show_config", "", "RUN/config.yaml"),
    ("--write_out", "", "--dry-run -v"),
    ("-w", "", "--dry-run -v"),
    ("--gen_kwargs until=a", "'until'", "temperature"),
    ("--model_args pretrained=a/b", "", "use --model a/b"),
    ("--model qwen2_5_vl --model_args pretrained=a/b", "", "use --model a/b"),
    ("-M pretrained=a/b", "", "use --model a/b"),
    ("--model hf", "", "--model hf:OWNER/NAME"),
    ("--model vllm --model_args pretrained=a/b", "", "--model endpoint --base-url URL"),
    ("--model sglang", "", "--model endpoint --base-url URL"),
    ("--model openai_compatible", "", "--model endpoint --base-url URL"),
    ("--model local-chat-completions", "", "--model endpoint --base-url URL"),
    ("--use_cache x", "the same command continues by itself", "kvl-eval resume RUN"),
    ("-c x", "the same command continues by itself", "kvl-eval resume RUN"),
    ("--data MMMU_DEV_VAL", "", "use --task"),
    ("--mode eval", "", "kvl-eval score RUN"),
    ("--judge gpt-4o-mini", "", "--judge endpoint --judge-model gpt-4o-mini --judge-base-url URL"),
    ("--judge-args {}", "", "--judge endpoint"),
    ("--judge-strategy auto", "", "--judge endpoint"),
    ("--samples {'mmmu':[1]}", "", "--sample-ids"),
    ("-T a=b", "tasks take no arguments", "kvl-eval run --help"),
    ("--seed 0,1234,1234", "one seed", "--seed 0"),
    ("--wandb_args project=x", "", "kvl-eval export RUN -f parquet"),
    ("--hf_hub_log_args x=y", "", "kvl-eval export RUN -f parquet"),
    ("--trackio_args x=y", "", "kvl-eval export RUN -f parquet"),
]


@pytest.mark.parametrize("text", ['{"a":' * 100_000, "{\udcff}", "{]", "{}"], ids=["deep", "bytes", "broken", "empty"])
def test_arguments_that_are_no_json_object_are_no_pairs(text: str) -> None:
    assert pairs(text) == []


@pytest.mark.parametrize(("typed", "why", "fix"), EXPLAINED, ids=[row[0] for row in EXPLAINED])
def test_an_option_without_counterpart_is_explained(typed: str, why: str, fix: str) -> None:
    with refused(UsageError, "usage.habit") as caught:
        run(typed)
    assert why in str(caught.value.why) and fix in str(caught.value.fix)
    assert caught.value.exit_code == 2 and len(caught.value.message) <= 100


@pytest.mark.parametrize("option", ["--api-key", "--judge-key", "--api_key"])
@pytest.mark.parametrize("form", ["{} sk-123", "{}=sk-123"])
@pytest.mark.parametrize("command", ["run", "eval", "score", "resume", "--limit=1"])
def test_a_key_on_the_command_line_is_refused_and_never_printed(
    option: str, form: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "mathvista", *form.format(option).split()])
    out, err = capsys.readouterr()
    assert left.value.code == 2 and "sk-123" not in out + err
    assert "pass the name of an environment variable with --" in err and err.startswith("error[usage.habit]")


def test_code_of_others_is_never_run() -> None:
    for line in ("--trust_remote_code", "--model hf --model_args pretrained=a/b,trust_remote_code=True"):
        with refused(UsageError, "usage.remote_code", "--trust-remote-code is not supported"):
            run(line)


def test_every_row_is_tested() -> None:
    lines = " ".join([*(row[0] for row in MAPPED + NOTED + EXPLAINED), "--api-key --judge-key --trust-remote-code"])
    words = {word.partition("=")[0].replace("_", "-") for word in lines.split()}
    assert not [row.names for row in HABITS if not words & set(row.names)]


def test_rows_name_options_once_and_targets_that_exist() -> None:
    names = [name for row in HABITS for name in row.names]
    assert len(names) == len(set(names)) and all(row.origin for row in HABITS)
    targets = {row.action.option for row in HABITS if isinstance(row.action, Mapped)} - {"-vv"}
    own = {name for option in cli.commands["run"].params for name in (*option.opts, *option.secondary_opts)}
    assert targets <= own
    for row in HABITS:
        if isinstance(row.action, Explained):
            assert row.action.why[:1].islower() and not row.action.fix.endswith(".")


def test_other_commands_are_left_alone() -> None:
    line = ["list", "runs", "--limit", "1", "--epochs", "--api-key", "x"]
    assert translate(line, cli, {}).argv == tuple(line)
    assert run("--epochs 3 --judge none", "score")[0] == "--epochs 3 --judge none"
    with refused(UsageError, "usage.habit"):
        run("RUN --judge gpt-4o", "score")
    assert translate([], cli, {}).argv == ()


def test_options_without_a_command_are_those_of_run() -> None:
    assert translate(["--tasks", "a", "b"], cli, {}).argv == ("--task", "a", "--task", "b")
    assert translate(["--version"], cli, {}).argv == ("--version",)


def test_tasks_list_prints_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for line in (["run", "--tasks", "list"], ["list", "tasks"]):
        with pytest.raises(SystemExit) as left:
            main(line)
        assert left.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and "mathvista" in texts[0]


def test_a_launcher_of_several_processes_is_refused() -> None:
    for command in ("run", "sweep", "resume"):
        with refused(UsageError, "usage.habit", "torchrun or accelerate started 4 processes") as caught:
            translate([command, "x"], cli, {"WORLD_SIZE": "4", "RANK": "1"})
        assert "start kvl-eval once; use --backend ray --num-replicas N or --shard I/N" in str(caught.value.fix)
    for fine in ({"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "4"}, {"RANK": "0"}):
        translate(["run", "x"], cli, fine)
    translate(["list", "tasks"], cli, {"WORLD_SIZE": "4", "RANK": "1"})


def test_notes_and_refusals_reach_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--tasks", "mathvista", *OWN, "--log_samples", "-f", "0"])
    assert left.value.code == 0
    assert capsys.readouterr().err.splitlines()[0] == f"note: {STORED}"
    with pytest.raises(SystemExit) as left:
        main(["run", "--tasks", "mathvista", "--num_fewshot", "5"])
    assert left.value.code == 2
    assert "zero-shot" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("typed", "limit"),
    [("10", 10), ("0.1", 0.1), ("10%", 0.1), ("100%", None), ("33.5 %", 0.335), (0.25, 0.25), (7, 7), (None, None)],
)
def test_a_limit_is_a_count_a_fraction_or_a_percentage(typed: object, limit: float | None) -> None:
    result = sample_limit(typed)
    assert result == limit and type(result) is type(limit)


@pytest.mark.parametrize(
    "typed",
    [
        *("0", "-1", "1.5", "1.0", "150%", "abc", "10-20", "", "%", "0%", "nan", "inf", "1e-999999999", "9" * 5000),
        *(True, float("nan"), float("inf"), 1.0, [1], "1e99999999999999999999"),
    ],
)
def test_any_other_limit_is_refused(typed: object) -> None:
    message = "--limit must be a positive integer, a fraction below 1 or a percentage up to 100%, got '"
    with refused(ConfigError, "config.limit", message) as caught:
        sample_limit(typed)
    assert ("--sample-ids" in str(caught.value.fix)) == (typed == "10-20")
