"""Configuration files that are deep, endless, mistyped or of the wrong type: one block with file and line, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kvl_eval.cli.main import main


def refused(capsys: pytest.CaptureFixture[str], path: Path, text: str, *arguments: str) -> str:
    """What `run` says of a configuration file with this text, the folder's name taken out."""
    path.write_text(text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", str(path), "--dry-run", *arguments])
    assert time.process_time() - began < 5  # 16 s where nothing is bounded
    said = capsys.readouterr()
    assert ended.value.code == 2 and not said.out, said
    return said.err.replace(f"{path.parent}/", "").rstrip("\n")


def bomb(width: int, levels: int) -> str:
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 20_000, "a: " + "[" * 20_000, "{a: " * 5_000, "- " * 5_000, "? " * 5_000, "[" * 200 + "]" * 200),
        *(
            bomb(10, 9),
            bomb(300, 4),
            "task: [" + "x, " * 50_000 + "x]",
            "a: &a [*a]",
            "a: !!python/object/apply:os.system [ls]",
        ),
        *("task: [1", "task: 'x", "\t- x", "a: b: c", "", "[]", "5", "\x00", "a: *b", "1: x", "limit: .inf"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_D37_what_is_no_mapping_of_options_is_refused_at_once(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, tmp_path / "c.yaml", text)
    assert said.startswith("error[config.") and "where: c.yaml" in said
    assert len(said.splitlines()) < 5 and len(said) < 400


def test_D37_a_file_that_is_no_utf8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"task: \xff\xfe")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", str(path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error[config.yaml]: not valid YAML: is not UTF-8")


BLOCKS = [
    (
        "model: fake\n\ntasks_: x\n",
        "error[config.key]: unknown option 'tasks_'\n  where: c.yaml:3\n  fix:   did you mean 'tasks'?",
    ),
    ("limt: 5", "error[config.key]: unknown option 'limt'\n  where: c.yaml:1\n  fix:   did you mean 'limit'?"),
    ("zzz: 5", "error[config.key]: unknown option 'zzz'\n  where: c.yaml:1\n  fix:   kvl-eval run --help"),
    ("model: fake\nseed: 'abc'", "error[config.value]: seed must be an integer, got 'abc'\n  where: c.yaml:2"),
    ("seed: 1.5", "error[config.value]: seed must be an integer, got 1.5\n  where: c.yaml:1"),
    ("seed: [1, [2]]", "error[config.value]: seed must be an integer, got a list\n  where: c.yaml:1"),
    ("seed: true", "error[config.value]: seed must be an integer, got True\n  where: c.yaml:1"),
    ("top_p: {a: 1}", "error[config.value]: top_p must be a number, got a mapping\n  where: c.yaml:1"),
    ("frames: 0", "error[config.value]: frames must be at least 1, got 0\n  where: c.yaml:1"),
    ("blind: 7", "error[config.value]: blind must be true or false, got 7\n  where: c.yaml:1"),
    ("budget-policy: x", "error[config.value]: budget-policy must be one of cut, force, got 'x'\n  where: c.yaml:1"),
    ("task: {a: b}", "error[config.value]: task must be a text, got a mapping\n  where: c.yaml:1"),
    ("task: [null]", "error[config.value]: task must be a text, got a list\n  where: c.yaml:1"),
    (
        "seed: 1\nseed: 2",
        "error[config.key]: option 'seed' is set twice\n  where: c.yaml:2\n  why:   it is also set in line 1\n"
        "  fix:   remove one of them",
    ),
    (
        "task: a\ntasks: b",
        "error[config.key]: option 'tasks' is set twice\n  where: c.yaml:2\n"
        "  why:   the same option is set in c.yaml:1\n  fix:   remove one of them",
    ),
    ("a:\n- [x\nb: 1", "error[config.yaml]: not valid YAML: expected ',' or ']'\n  where: c.yaml:3:2"),
]


@pytest.mark.parametrize(("text", "block"), BLOCKS, ids=[text[:20] for text, _ in BLOCKS])
def test_D37_a_wrong_key_or_value_is_named_with_its_line(
    tmp_path: Path, text: str, block: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, tmp_path / "c.yaml", text) == block


@pytest.mark.parametrize(
    ("line", "code"), [("limit: 1.5", "config.limit"), ("task: mathvist", "usage.task"), ("shard: 3/2", "config.shard")]
)
def test_D37_values_that_no_run_can_have_are_named_with_their_line(
    tmp_path: Path, line: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "model: fake\n" + ("" if line.startswith("task") else "task: mathvista\n") + line
    said = refused(capsys, tmp_path / "c.yaml", text)
    assert said.startswith(f"error[{code}]")
    assert f"where: c.yaml:{len(text.splitlines())}" in said
    if line.startswith("limit"):
        assert "where" not in refused(capsys, tmp_path / "c.yaml", text.replace("1.5", "3"), "--limit", "1.5")


def test_D37_every_alias_is_a_key_and_lists_may_be_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "model: fake\ndatasets: [mathvista]\nmax-samples: 2\nthink_budget: [1k, 2k]\nthinking: split\n"
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", str(tmp_path / "c.yaml"), "--dry-run"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "2 of 90" in said and "thought 1k,2k (cut)" in said
