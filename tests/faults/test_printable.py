"""Foreign text on its way to the terminal and to log.txt: nothing in it acts, and nothing in it looks like ours."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import unicodedata
from pathlib import Path

import pytest

from kvl_eval.backends import MODELS
from kvl_eval.errors import DataError
from kvl_eval.printable import json_line, one_line, printable
from tests.faults.shell import FAKE, MINI, Outcome, Shell, newest
from tests.faults.stub_server import Answer, chat, models, serving

ODD = {
    "clear": "\x1b[2J",
    "title": "\x1b]0;TITLE\x07",
    "nul": "\x00",
    "tab": "a\tb",
    "return": "a\rb",
    "lines": "a\nerror[forged.code]: b\x0b\x0c",
    "del": "\x7f",
    "c1": "\x85\x9b2J",
    "override": "\u202eabc\u202c",
    "isolate": "\u2066abc\u2069\u2067\u2068",
    "embed": "\u202a\u202b\u202d",
    "separators": "\u2028\u2029",
    "surrogate": "a\ud800b",
    "long": "x" * 5000,
}
NO_FILE = ("nul", "surrogate", "long")  # no file has such a name
texts = pytest.mark.parametrize("odd", [pytest.param(text, id=name) for name, text in ODD.items()])
names = pytest.mark.parametrize(
    "odd", [pytest.param(text, id=name) for name, text in ODD.items() if name not in NO_FILE]
)


def check_shown(outcome: Outcome, folder: Path | None = None) -> None:
    """Nothing that acts was written, and no line of ours was forged."""
    logs = [] if folder is None else [path.read_text() for path in folder.rglob("log.txt")]
    for shown in (outcome.out, outcome.err, *logs):
        odd = {char for char in shown if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
        assert not odd, odd
        assert not any(line.startswith("error[forged") for line in shown.splitlines())
        assert "x" * 201 not in shown or shown.startswith("{"), "JSON is whole"
    assert outcome.code != 1, outcome.err


@texts
def test_K6_the_body_of_a_401(shell: Shell, tmp_path: Path, odd: str) -> None:
    body = Answer(status=401, body=f"no {odd} entry".encode("utf-8", "surrogatepass"))
    with serving(lambda asked: body) as stub:
        outcome = shell("run", *MINI, "--model", "endpoint", "--base-url", stub.url, "-o", tmp_path / "out")
    assert outcome.code == 4 and "endpoint.refused" in outcome.err
    check_shown(outcome, tmp_path)


@texts
def test_K6_the_body_of_a_400_in_log_and_terminal(shell: Shell, tmp_path: Path, odd: str) -> None:
    body = Answer(status=400, body=f"no {odd} entry".encode("utf-8", "surrogatepass"))
    with serving(lambda asked: body) as stub:
        outcome = shell("run", *MINI, "--model", "endpoint", "--base-url", stub.url, "-o", tmp_path / "out")
    assert outcome.code == 3 and "rejected_request" in outcome.err
    check_shown(outcome, tmp_path)
    log = newest(tmp_path / "out") / "log.txt"
    assert "rejected_request" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@texts
def test_K6_a_model_id(shell: Shell, tmp_path: Path, odd: str) -> None:
    for listed in (models(f"m{odd}"), models(f"m{odd}", "other")):
        with serving(lambda asked: chat("B"), listed) as stub:
            for more in ((), ("--dry-run",), ("--json",)):
                outcome = shell(
                    *("run", *MINI, "--model", "endpoint", "--base-url", stub.url, "-o", tmp_path / "out", *more)
                )
                check_shown(outcome, tmp_path)
    check_shown(shell("list", "runs", "-o", tmp_path / "out"))


@names
def test_K6_a_task_and_other_names_on_the_command_line(shell: Shell, tmp_path: Path, odd: str) -> None:
    for arguments in (
        ("run", "--task", f"m{odd}", *FAKE, "-o", tmp_path),
        ("run", "--task", f"file:{odd}.jsonl", *FAKE, "-o", tmp_path),
        ("describe", odd),
        ("run", f"--{odd}"),
        ("check", "model", f"./{odd}"),
        ("report", f"m{odd}"),
        (odd,),
    ):
        check_shown(shell(*arguments), tmp_path)


@texts
def test_K6_a_column(shell: Shell, tmp_path: Path, odd: str) -> None:
    row = {"id": "1", "question": "What?", "answer": "cat", odd: 5, f"image{odd}": "a.png"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "question": 5, "id": odd}) + "\n")
    for arguments in (("check", "data"), ("describe",)):
        check_shown(shell(*arguments, f"file:{tmp_path / 't.jsonl'}"), tmp_path)
    check_shown(shell("run", "--task", f"file:{tmp_path / 't.jsonl'}", *FAKE, "-o", tmp_path / "out"), tmp_path)


@texts
def test_K6_a_tensor(shell: Shell, tmp_path: Path, odd: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODELS["kimi-vl-nano"].location, folder)
    for file in folder.glob("*.safetensors"):
        data = file.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        name = next(name for name in header if name != "__metadata__")
        header[f"{name}{odd}"] = header.pop(name)
        text = json.dumps(header).encode()
        file.unlink()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    outcome = shell("check", "model", folder)
    assert outcome.code == 4
    check_shown(outcome)


@names
def test_K6_a_file_name(shell: Shell, tmp_path: Path, odd: str) -> None:
    folder = tmp_path / f"f{odd}".replace("/", "_")
    folder.mkdir()
    (folder / "t.jsonl").write_text(json.dumps({"question": "What?", "answer": "cat", "image": f"{odd}.png"}) + "\n")
    task = f"file:{folder / 't.jsonl'}"
    check_shown(shell("check", "data", task), tmp_path)
    check_shown(shell("run", "--task", task, *FAKE, "-o", folder), tmp_path)
    check_shown(shell("list", "runs", "-o", folder))


def test_K6_what_is_shown() -> None:
    assert printable("a\x1b[2J\u202eb\nc") == "a\\x1b[2J\\u202eb\nc"
    assert one_line("a\nb" + "c" * 300) == f"a\\x0ab{'c' * 194}... (106 more characters)"
    assert printable("Grüße, 测试 👩‍💻") == "Grüße, 测试 👩‍💻"
    assert json.loads(json_line({"a": "\x7f\x9b\ud800é"})) == {"a": "\x7f\x9b\\ud800é"}
    assert printable(json_line(["\x7f\x9b\u202e"])) == json_line(["\x7f\x9b\u202e"])


def test_K6_errors_and_logs(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shown = DataError("data.x", "a\x1b\nerror[forged.code]: b", where="w\r", why="y" * 300, fix="f\u202e").render()
    assert shown.splitlines()[1].startswith("         error[forged")
    assert "\x1b" not in shown and "\r" not in shown and "\u202e" not in shown
    assert f"{'y' * 200}... (100 more characters)" in shown
    shell("version")
    logging.getLogger("kvl_eval.model").warning("odd %s", "\x1b[2J\nerror[forged.code]")
    assert capsys.readouterr().err == "warning: odd \\x1b[2J\\x0aerror[forged.code]\n"
    assert os.linesep == "\n"


def test_K6_the_users_own_paths_are_never_cut(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path.joinpath(*["d" * 80] * 3)
    outcome = shell("run", *MINI, *FAKE, "-o", place)
    run = newest(place)
    assert f"kvl-eval report {run}\n" in outcome.err
    assert f"already complete: {run} (use --no-resume" in shell("run", *MINI, *FAKE, "-o", place).err
    assert shell("export", run, "-f", "csv").out == f"{run / 'export' / 'csv' / 'samples.csv'}\n"
    refused = shell("export", run, "-f", "csv", "--protocol", "nobody")
    assert f"kvl-eval score {run} --protocol nobody" in refused.err
