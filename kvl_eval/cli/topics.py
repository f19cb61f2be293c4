"""Pages of `kvl-eval help TOPIC`, at most 40 lines each."""

from __future__ import annotations

from collections.abc import Mapping

from kvl_eval.errors import UsageError
from kvl_eval.options import COMMANDS
from kvl_eval.options.environment import VARIABLES
from kvl_eval.options.model_arguments import ARGUMENTS

TASKS = """\
Tasks

  kvl-eval list tasks             list every task
  kvl-eval describe mathvista     show its data, prompts and protocols

A TASK on the command line is one of
  mathvista                       a task
  table3                          a group: all its tasks
  'mmmu*'                         a pattern
  file:my.jsonl                   your own table (see: kvl-eval help data)
Several tasks are separated by blanks or commas.

Every task has a mini split, which is bundled and small: --split mini.
Tasks of your own: --include-path DIR loads every task file of a folder.
"""
MODELS = """\
Models

  kimi-vl-nano                    the demo model, bundled (default)
  kimi-vl-instruct ...            built-in names; see: kvl-eval list models
  ./checkpoint                    a folder with a checkpoint
  hf:OWNER/NAME, OWNER/NAME       a checkpoint from the Hugging Face Hub
  endpoint                        a server, with --base-url URL
  fake                            scripted answers, for tests

Model arguments, given as -a KEY=VALUE, and what reads them:
"""
DATA = """\
Data

Data sets are downloaded from the Hugging Face Hub and cached.
  kvl-eval fetch mathvista        download now; nothing is run
  --split mini                    use the bundled samples instead
  --data-dir DIR                  read a local copy
  --offline                       use the cache only
  -y, --yes                       allow downloads over 2 GB

Your own table, as JSON Lines, CSV, TSV or parquet:
  kvl-eval run file:my.jsonl
  kvl-eval describe file:my.jsonl show which columns are read
  --fields question=body,answer=key,ignore=notes
                                  map columns that are not recognized

'kvl-eval check data TASK' checks files, row counts, ids and media.
"""
CONFIG = """\
Configuration files

  kvl-eval run -C run.yaml

run.yaml holds options of 'kvl-eval run' without their dashes:
  task: [mathvista, mmmu]
  model: kimi-vl-instruct
  limit: 10%
  think_budget: 1k,4k

Every name and alias of an option is a key, with hyphens or underscores. Lists
are YAML lists or texts with commas. -C may be repeated: later files win, and
the command line wins over all files.

config.yaml in a run folder is such a file; it repeats the run.
A file cannot name a folder with task files (include_path): these are code.
"""
EXIT_CODES = """\
Exit codes

  0    everything planned was answered and scored (also: already complete)
  1    internal error
  2    usage: unknown name or option, bad configuration, run busy, mismatch
  3    finished with gaps (failed or unscored samples), or nothing to compare
  4    inputs unusable: data, checkpoint, device, server, installation
       (doctor: the model is not fit to run)
  5    significant drop (watch alone)
  6    storage: disk full, no permission
  129  interrupted by SIGHUP   (the run can be resumed)
  130  interrupted by SIGINT, Ctrl-C
  143  interrupted by SIGTERM
  152  interrupted by SIGXCPU
"""


def _environment() -> str:
    lines = [f"  {name:<24}{text}" for name, text in VARIABLES.items()]
    return "\n".join(["Environment variables", "", *lines, "", "No other variable changes a result."]) + "\n"


def _arguments() -> str:
    lines = [f"  {f'{item.name}={item.metavar}':<26}{item.backend:<15} {item.help}" for item in ARGUMENTS]
    return "\n".join(lines) + "\n"


TOPICS: Mapping[str, str] = {
    "tasks": TASKS,
    "models": MODELS + _arguments(),
    "data": DATA,
    "config": CONFIG,
    "environment": _environment(),
    "exit-codes": EXIT_CODES,
}


def topic(name: str) -> str:
    """The page of a topic. Raises: UsageError `usage.help` for an unknown name."""
    page = TOPICS.get(name.replace("_", "-"))
    if page is None:
        commands = ", ".join(command.name for command in COMMANDS if command.section)
        fix = f"topics: {', '.join(TOPICS)}; commands: {commands}"
        raise UsageError("usage.help", f"unknown command or topic {name!r}", fix=fix)
    return page
