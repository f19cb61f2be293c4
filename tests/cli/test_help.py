"""Help texts: letter by letter where the specification gives them, and in the same form everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvl_eval import __version__
from kvl_eval.cli.help import COLUMN, command_help, overview
from kvl_eval.cli.main import main
from kvl_eval.cli.topics import TOPICS
from kvl_eval.options import COMMANDS, Command, options_of

TEXTS = Path("tests/data/help")  # changed by hand alone
MOST_OPTIONS = {"--help": 45, "--help-all": 78}


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What the command line prints on standard output, or, where it fails, on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    captured = capsys.readouterr()
    assert ended.value.code == code, captured
    return captured.err if code else captured.out


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)], ids=" ".join)
def test_the_overview_is_one_text(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, *words)
    assert text == (TEXTS / "overview.txt").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize(("option", "file"), [("--help", "run.txt"), ("--help-all", "run_all.txt")])
def test_the_help_of_run_is_the_text_of_the_specification(
    option: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "run", option)
    assert text == (TEXTS / file).read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("  -")]
    assert len(entries) <= MOST_OPTIONS[option]


def test_help_all_shows_every_option_but_the_hidden_ones(capsys: pytest.CaptureFixture[str]) -> None:
    words = set(said(capsys, "run", "--help-all").replace(",", " ").split())
    options = options_of("run")
    assert {option.flag for option in options if not option.hidden} <= words
    assert not {option.flag for option in options if option.hidden} & words


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_help_with_examples_in_80_columns(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, *command.name.split(), "--help")
    assert text == said(capsys, "help", *command.name.split()) == command_help(command)
    assert text.startswith(f"Usage: kvl-eval {command.name} ".rstrip())
    assert max(map(len, text.splitlines())) <= 80
    assert sum("kvl-eval " in line for line in command.examples) >= 2
    assert text.endswith("Show this message and exit.\n") or "--help-all" in text.splitlines()[-1]


def test_a_long_name_of_an_option_has_its_help_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for command in COMMANDS:
        for line in command_help(command, everything=True).splitlines():
            assert len(line) <= 80
            assert not line.startswith("  -") or len(line) <= COLUMN or line[COLUMN - 1] == " "


def test_what_the_overview_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    listed = [line.split()[0] for line in overview().splitlines() if line.startswith("  ") and "kvl-eval" not in line]
    assert listed == [command.name for command in COMMANDS if command.section]
    last = overview().splitlines()[-1]
    assert last == f"Topics: {', '.join(TOPICS)}"
    assert "..." not in overview()


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_one_page(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "help", topic)
    assert 5 <= len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 80


def test_an_unknown_topic_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "help", "nope", code=2).startswith("error[usage.help]: unknown command or topic 'nope'\n")


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_one_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, option) == f"kvl-eval {__version__}\n"
