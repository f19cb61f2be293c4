"""Readers of other projects, as `benchmarks.answers` measures them: their own code, read from git and never copied.

`--peers FOLDER` names a folder with git directories `open-compass+VLMEvalKit/repo`, `EvolvingLMMs-Lab+lmms-eval/repo`,
`open-compass+opencompass/repo` and `openai+simple-evals/repo`. Of a source file only the definitions that are named
here run. math-verify is used where it is installed (`pip install math-verify==0.9.0`, in an environment of its own).
"""

from __future__ import annotations

import ast
import copy
import logging
import os
import re
import string
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy

from kvl_eval.scorers.answers import Wanted

Reader = Callable[[str, Wanted], object]
LETTER = frozenset({"letter"})
NUMBER = frozenset({"integer", "float"})


@dataclass(frozen=True, slots=True)
class Peer:
    """A reader: (the answer without its thought, what is wanted) -> a value, or None without one."""

    name: str
    groups: frozenset[str]
    read: Reader


class _NoDraw:
    """Takes the place of `random`: where their code draws a letter, nothing was read."""

    @staticmethod
    def choice(letters: object) -> None:
        return None


def definitions(folder: Path, repository: str, commit: str, path: str, names: set[str]) -> dict[str, Any]:
    """The named functions and constants of a file in a commit. Raises CalledProcessError where that is not there."""
    command = ["git", "--git-dir", str(folder / repository / "repo"), "show", f"{commit}:{path}"]
    source = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    tree = ast.parse(source)
    wanted = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.decorator_list = []
            wanted.append(node)
        elif isinstance(node, ast.Assign) and {getattr(target, "id", "") for target in node.targets} & names:
            wanted.append(node)
    tree.body = wanted
    space: dict[str, Any] = {"re": re, "cp": copy, "os": os, "string": string, "np": numpy, "random": _NoDraw}
    space |= {"List": list, "Optional": Optional, "logger": logging.getLogger("peer")}
    exec(compile(tree, path, "exec"), space)
    return space


def letters(wanted: Wanted) -> list[str]:
    """The letters of the options."""
    return list(string.ascii_uppercase[: len(wanted.options)])


def texts(wanted: Wanted) -> dict[str, str]:
    """{letter: text} of the options."""
    return dict(zip(letters(wanted), wanted.options, strict=True))


def peers(folder: Path) -> list[Peer]:
    """The readers of the repositories in a folder."""
    return [*_vlmevalkit(folder), *_lmms_eval(folder), *_opencompass(folder), *_simple_evals(folder)]


def _vlmevalkit(folder: Path) -> list[Peer]:
    names = {"_VERBOSE_ANSWER_RE", "can_infer_option", "can_infer_text", "can_infer"}
    theirs = definitions(folder, "open-compass+VLMEvalKit", "e8e78f0", "vlmeval/utils/matching_util.py", names)

    def read(answer: str, wanted: Wanted) -> object:
        value = theirs["can_infer"](answer, texts(wanted))
        return value if value in letters(wanted) else None  # False, or Z where it refuses

    return [Peer("VLMEvalKit can_infer", LETTER, read)]


def _lmms_eval(folder: Path) -> list[Peer]:
    place = (folder, "EvolvingLMMs-Lab+lmms-eval", "75571cf")
    names = {"_DEFAULT_CHOICES", "_ANSWER_PHRASES", "_FORMAT_PRIORITY", "extract_mcq_answer"}
    mcq = definitions(*place, "lmms_eval/tasks/_task_utils/mcq_extract.py", names)
    mmmu = definitions(*place, "lmms_eval/tasks/_task_utils/mmmu_mcq_utils.py", {"parse_mmmu_multi_choice_response"})
    return [
        Peer(
            "lmms-eval extract_mcq_answer",
            LETTER,
            lambda answer, wanted: mcq["extract_mcq_answer"](answer, letters(wanted)) or None,
        ),
        Peer(
            "lmms-eval parse_mmmu (without its draw)",
            LETTER,
            lambda answer, wanted: mmmu["parse_mmmu_multi_choice_response"](answer, letters(wanted), texts(wanted)),
        ),
    ]


def _opencompass(folder: Path) -> list[Peer]:
    names = {"first_option_postprocess", "last_option_postprocess", "first_number_postprocess"}
    path = "opencompass/utils/text_postprocessors.py"
    theirs = definitions(folder, "open-compass+opencompass", "a5acc4b", path, names)
    options = [
        Peer(
            f"OpenCompass {name}_option",
            LETTER,
            lambda answer, wanted, read=theirs[f"{name}_option_postprocess"]: (
                read(answer, "".join(letters(wanted))) or None
            ),
        )
        for name in ("first", "last")
    ]
    return [
        *options,
        Peer("OpenCompass first_number", NUMBER, lambda answer, wanted: theirs["first_number_postprocess"](answer)),
    ]


def _simple_evals(folder: Path) -> list[Peer]:
    names = {"MULTILINGUAL_ANSWER_PATTERN_TEMPLATE", "MULTILINGUAL_ANSWER_REGEXES"}
    names |= {"normalize_response", "normalize_extracted_answer"}
    theirs = definitions(folder, "openai+simple-evals", "ee3b031", "common.py", names)

    def read(answer: str, wanted: Wanted) -> object:  # as `mmlu_eval.py` puts them together
        text = theirs["normalize_response"](answer)
        for start in theirs["MULTILINGUAL_ANSWER_REGEXES"]:
            if match := re.search(theirs["MULTILINGUAL_ANSWER_PATTERN_TEMPLATE"].format(start), text):
                return theirs["normalize_extracted_answer"](match.group(1))
        return None

    return [Peer("simple-evals MMLU", LETTER, read)]


FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def _flexible(answer: str, wanted: Wanted) -> object:
    """lm-eval's filter `flexible-extract` of GSM8K and what its comparison leaves out; by its pattern."""
    found = FLEXIBLE.findall(answer)
    if not found:
        return None
    text = next((group for group in found[-1] if group), "")
    text = re.sub(r"\.$", "", text.replace(",", "").replace("$", ""))
    try:
        return float(text)
    except ValueError:
        return text


PATTERNS = (Peer("lm-eval flexible-extract (its pattern)", NUMBER, _flexible),)


def math_verify() -> list[Peer]:
    """Hugging Face's math-verify, with letters or numbers to look for; none where it is not installed."""
    try:
        from math_verify import (  # type: ignore[import-not-found]
            ExprExtractionConfig,
            LatexExtractionConfig,
            StringExtractionConfig,
            parse,
        )
    except ImportError:
        return []

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it runs without a time limit

    def letter(answer: str, wanted: Wanted) -> object:
        found = parse(answer, [StringExtractionConfig(strings=tuple(letters(wanted)))], parsing_timeout=None)
        return str(found[0]).upper() if found else None

    def number(answer: str, wanted: Wanted) -> object:
        found = parse(answer, [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=None)
        for value in found[:1]:
            try:
                return float(value)
            except (TypeError, ValueError):
                return str(value)
        return None

    return [Peer("math-verify 0.9.0", LETTER, letter), Peer("math-verify 0.9.0", NUMBER, number)]
