"""Names that users type: which are accepted, and what is suggested for the others."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from kvl_eval.backends import MODELS, resolve_model
from kvl_eval.backends.model_names import REPOSITORIES
from kvl_eval.cli.main import main
from kvl_eval.errors import UsageError, unknown
from kvl_eval.names import did_you_mean, same_name, suggestions
from kvl_eval.tasks import TASKS, get_task, groups, select
from tests.refusals import refused


@pytest.mark.parametrize(
    ("typed", "task"),
    [
        ("math_vista", "mathvista"),
        ("MATHVISTA", "mathvista"),
        ("Math Vista", "mathvista"),
        ("MMMU Pro", "mmmu-pro"),
        ("mmmu_pro", "mmmu-pro"),
        ("screenspotv2", "screenspot-v2"),
        ("ScreenSpot_v2", "screenspot-v2"),
    ],
)
def test_names_are_accepted_up_to_case_and_punctuation(typed: str, task: str) -> None:
    assert [chosen.name for chosen in select([typed])] == [task]


def test_a_text_may_hold_several_names() -> None:
    names = ["MMMU Pro, math_vista", "mmmu mmvet,blink"]
    assert [task.name for task in select(names)] == ["mmmu-pro", "mathvista", "mmmu", "mmvet", "blink"]


def test_a_group_and_a_pattern_stand_for_their_tasks() -> None:
    assert [task.name for task in select(["Video"])] == groups()["video"]
    assert [task.name for task in select(["MMMU*"])] == ["mmmu", "mmmu-pro", "mmmu-pro-vision"]


UNKNOWN = [
    ("mmbench", "did you mean mmbench-en-v11? See kvl-eval list tasks"),
    ("mathvisa", "did you mean mathvista or mathvision? See kvl-eval list tasks"),
    ("niah", "did you mean niah-text or niah-video? See kvl-eval list tasks"),
    ("infovq", "did you mean infovqa? See kvl-eval list tasks"),
    ("mmvett", "did you mean mmvet? See kvl-eval list tasks"),
    ("blnk", "did you mean blink? See kvl-eval list tasks"),
    ("videos", "did you mean video? See kvl-eval list tasks"),
    ("groundin", "did you mean grounding? See kvl-eval list tasks"),
    ("chartqa", "kvl-eval list tasks"),
    ("gsm8k", "kvl-eval evaluates vision-language tasks; see kvl-eval list tasks"),
    ("zzz", "kvl-eval list tasks"),
]


@pytest.mark.parametrize(("typed", "fix"), UNKNOWN)
def test_an_unknown_task_is_refused(
    typed: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--task", typed, "--model", "fake"])
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert err == f"error[usage.task]: unknown task '{typed}'\n  fix:   {fix}\n"
    assert not list(tmp_path.iterdir())


OTHER = [
    ("MMBench_DEV_EN_V11", "VLMEvalKit's MMBench_DEV_EN_V11 is 'mmbench-en-v11' here", "kvl-eval run mmbench-en-v11"),
    (
        "mathvista_testmini",
        "lmms-eval's mathvista_testmini is 'mathvista' here (split testmini)",
        "kvl-eval run mathvista --split testmini",
    ),
    ("mmmu_val", "lmms-eval's mmmu_val is 'mmmu' here (split validation)", "kvl-eval run mmmu --split validation"),
]


@pytest.mark.parametrize(("typed", "why", "fix"), OTHER)
def test_the_name_of_another_harness_is_answered_with_the_command(typed: str, why: str, fix: str) -> None:
    with refused(UsageError, "usage.task", f"unknown task '{typed}'") as caught:
        select([typed])
    assert (caught.value.why, caught.value.fix) == (why, fix)


def test_every_other_name_is_refused_and_names_its_task() -> None:
    for task in TASKS.values():
        for other in task.other_names:
            with refused(UsageError, "usage.task") as caught:
                select([other.name])
            assert TASKS[caught.value.suggestions[0]].other_names
            assert other.split is None or other.split in task.split_names()


SERVER = "--model endpoint --base-url http://HOST:PORT/v1   (faster)"
API = "--model endpoint --base-url URL --served-model {} --api-key-env {}"
UNKNOWN_MODELS = [
    ("qwen2.5-vl-7b", ["--model hf:Qwen/Qwen2.5-VL-7B-Instruct", SERVER]),
    ("internvl3-8b", ["--model hf:OpenGVLab/InternVL3-8B-hf", SERVER]),
    ("my-own-model", ["--model hf:OWNER/NAME", SERVER]),
    ("gpt-4o", [API.format("gpt-4o", "OPENAI_API_KEY")]),
    ("o3-mini", [API.format("o3-mini", "OPENAI_API_KEY")]),
    ("claude-sonnet-4", [API.format("claude-sonnet-4", "ANTHROPIC_API_KEY")]),
    ("gemini-2.5-pro", [API.format("gemini-2.5-pro", "GEMINI_API_KEY")]),
    ("grok-4", [API.format("grok-4", "XAI_API_KEY")]),
    ("openai/gpt-4o", [API.format("gpt-4o", "OPENAI_API_KEY")]),
    ("anthropic/claude-x", [API.format("claude-x", "ANTHROPIC_API_KEY")]),
    ("google/gemini-2.5-pro", [API.format("gemini-2.5-pro", "GEMINI_API_KEY")]),
    ("vllm/a/b", ["--model endpoint --base-url URL --served-model a/b", "--model a/b --backend vllm"]),
    ("hf/a/b", ["--model hf:a/b"]),
    ("kimi-vl-instrukt", ["did you mean kimi-vl-instruct? See kvl-eval list models"]),
    ("./nowhere", ["kvl-eval list models"]),
]


@pytest.mark.parametrize(("typed", "fixes"), UNKNOWN_MODELS)
def test_an_unknown_model_is_answered_with_options_that_work(
    typed: str,
    fixes: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--task", "mathvista", "--model", typed])
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert err.startswith(f"error[usage.model]: unknown model '{typed}'\n")
    assert err.partition("  fix:   ")[2] == "\n         ".join(fixes) + "\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["openai/gpt-oss-20b", "google/gemma-3-4b-it", "moonshotai/Kimi-VL", "hf:a/b"])
def test_repositories_are_no_names_of_models_behind_an_api(name: str) -> None:
    assert resolve_model(name).location == name.removeprefix("hf:")


def test_a_folder_comes_before_the_names_of_other_harnesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpt-4o").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_model("gpt-4o").location == "gpt-4o"


def test_the_table_of_short_names_is_short() -> None:
    assert len(REPOSITORIES) <= 20 and not set(MODELS) & set(REPOSITORIES)


def test_suggestions_are_few_ranked_and_never_an_empty_line() -> None:
    assert suggestions("videomm", TASKS) == ("videomme", "videommmu", "videomme-subs")
    assert suggestions("--taks", ["--task", "--tag", "--model"]) == ("--task",)
    assert suggestions("", TASKS) == suggestions("-", TASKS) == ()
    assert did_you_mean([]) == "" and did_you_mean(["a", "b", "c"]) == "did you mean a, b or c?"
    error = unknown("protocol", "nope", ["official"], "docs/judge.md")
    assert error.fix == "see docs/judge.md" and "did you mean" not in error.render()


def test_exact_names_win() -> None:
    assert same_name("a-b", ["ab", "a-b"]) == "a-b" and same_name("---", ["-", "ab"]) is None


def test_names_are_resolved_without_torch_and_pandas() -> None:
    code = "import sys; from kvl_eval.names import suggestions; suggestions('mathvisa', ['mathvista']);"
    code += "assert not {'torch', 'pandas', 'numpy', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_str_of_an_error_ends_with_its_fix() -> None:
    with refused(UsageError, "usage.task", "unknown task 'mathvisa'") as caught:
        get_task("mathvisa")
    assert caught.value.suggestions == ("mathvista", "mathvision")
    assert str(caught.value).splitlines() == [
        "unknown task 'mathvisa' [usage.task]",
        "  fix:   did you mean mathvista or mathvision? See kvl_eval.list_tasks()",
    ]


@pytest.mark.parametrize(
    ("fix", "expected"),
    [
        ("kvl-eval run mmmu --split validation", "kvl_eval.evaluate(tasks='mmmu', split='validation')"),
        (
            "--model endpoint --base-url http://HOST:PORT/v1   (faster)",
            "kvl_eval.evaluate(model='endpoint', base_url='http://HOST:PORT/v1')   (faster)",
        ),
        ("--model hf:a/b\n--split mini uses it", "kvl_eval.evaluate(model='hf:a/b')\n         split=\"mini\" uses it"),
        ("use --device cpu", "use --device cpu"),
        ("--model-args budget=tokens", "--model-args budget=tokens"),
    ],
)
def test_fixes_are_python_in_python(fix: str, expected: str) -> None:
    error = UsageError("usage.x", "x", fix=fix)
    assert str(error) == f"x [usage.x]\n  fix:   {expected}"
    assert fix.split("\n")[0] in error.render()


def test_an_error_keeps_its_fields_between_processes() -> None:
    with refused(UsageError, "usage.task") as caught:
        get_task("mathvisa")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert vars(copy) == vars(caught.value) and copy.suggestions and str(copy) == str(caught.value)


def test_foreign_text_is_escaped_and_indented() -> None:
    error = UsageError("usage.x", "a\x1b[31m", where="b\nerror[x]: y", why="c\u202e", fix="d\nerror[x]: y\x07")
    for text in (error.render(), str(error)):
        assert not set("\x1b\u202e\x07") & set(text)
        assert [line[:1] for line in text.splitlines()[1:]] == [" "] * 5
