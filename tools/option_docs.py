"""Write docs/options.md and docs/commands.md: every option and command, from `kvl_eval.options`.

python -m tools.option_docs          # writes them
python -m tools.option_docs --check  # exit code 1 where one is not current
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from kvl_eval.cli.help import command_help, overview
from kvl_eval.options import COMMANDS, OPTIONS, Heading, Option
from kvl_eval.options.environment import VARIABLES
from kvl_eval.options.model_arguments import ARGUMENTS

DOCS = Path(__file__).resolve().parent.parent / "docs"
OPTIONS_HEAD = """\
# Options

Written by `python -m tools.option_docs` from `kvl_eval/options/`. Every name, with hyphens or underscores, is also a
key of a configuration file (`-C run.yaml`), and options of `run` are keywords of `kvl_eval.evaluate`. Options marked
*advanced* are shown by `kvl-eval run --help-all`. Options marked *fingerprint* can change an answer: `run` with
another value of one of them, or with another `--limit`, `--sample-ids` or `--shard`, starts a new run.
"""
COMMANDS_HEAD = """\
# Commands

Written by `python -m tools.option_docs` from `kvl_eval/options/`: the help of every command. All options, their other
names and what belongs to the fingerprint are in [options.md](options.md).
"""


def options_page() -> str:
    """docs/options.md."""
    lines = [OPTIONS_HEAD]
    for heading in Heading:
        rows = [option for option in OPTIONS if option.group == heading and not option.hidden]
        lines += [
            f"## {heading.value}",
            "",
            "| option | meaning | default | commands | |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [*map(_row, rows), ""]
    lines += ["## Model arguments", "", "Settings of one backend: `-a KEY=VALUE`, repeated or separated by commas.", ""]
    lines += ["| key | read by | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{item.name}={item.metavar}` | {item.backend} | {item.help} |" for item in ARGUMENTS]
    lines += ["", "## Environment variables", "", "| variable | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in VARIABLES.items()]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """docs/commands.md."""
    os.environ["COLUMNS"] = "80"
    blocks = [COMMANDS_HEAD, f"```text\n{overview()}```\n"]
    for command in COMMANDS:
        text = command_help(command, everything=True)
        blocks.append(f"## {command.name}\n\n```text\n{text}```\n")
    return "\n".join(blocks)


def _row(option: Option) -> str:
    names = [option.flag, *option.aliases]
    flags = ", ".join(f"`{name}`" for name in names)
    value = f" {option.metavar}" if option.metavar else ""
    marks = ", ".join(_marks(option))
    text, _, default = option.help.partition(" [default: ")
    default = default.removesuffix("]") or option.shown_default
    cells = (flags + value.replace("|", "\\|"), text, default, ", ".join(option.commands), marks)
    return f"| {' | '.join(cells)} |"


def _marks(option: Option) -> Iterator[str]:
    if option.advanced:
        yield "advanced"
    if option.in_fingerprint:
        yield "fingerprint"


PAGES = {DOCS / "options.md": options_page, DOCS / "commands.md": commands_page}


def main() -> int:
    """Write the files, or say whether they are current."""
    if "--check" in sys.argv[1:]:
        return 0 if all(path.read_text(encoding="utf-8") == page() for path, page in PAGES.items()) else 1
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
