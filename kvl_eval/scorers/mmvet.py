"""MM-Vet: what a grading model is asked and says, the capability tables of three scripts, and a rule without a model.

The authors' few-shot prompt is their text; this project has its own words in the same form. To use the authors',
put it in a file and set the environment variable KVL_EVAL_MMVET_PREFIX to its path; its hash is recorded.
Sources: yuweihao/MM-Vet mm-vet_evaluator.py @ acde843; VLMEvalKit vlmeval/dataset/utils/mmvet.py @ e8e78f0.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from kvl_eval.errors import ConfigError
from kvl_eval.types import Sample

VARIABLE = "KVL_EVAL_MMVET_PREFIX"
OFFICIAL_SHA256 = "d1b3e0a5b4e72c888b77164489d705bba4dd149934fff564dfba6443d81afe3f"
AGAIN = "\nPredict the correctness of the answer (digit): "
CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
_EQUATION = "What is x in the equation? | -1 <AND> -5 |"
_MEME = (
    "Can you explain this meme? | Iceland and Greenland have misleading names: Iceland is green in many places, and "
    "Greenland lies under ice. Whoever wrote the caption no longer trusts names, hence the trust issues. |"
)
OWN_PREFIX = f"""\
You grade answers. Each row of the table below has a question, its ground truth and the prediction of an AI model; \
give the prediction a correctness score. Where the ground truth joins parts by <AND>, a prediction is fully right only \
if it has all of them; where it joins them by <OR>, any one is enough. The score is one of 0.0 (nothing is right), \
0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0 (all is right). Write nothing but the last field of the last row.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---
{_EQUATION} x = 3 | 0.0
{_EQUATION} x = -1 | 0.5
{_EQUATION} x = -5 | 0.5
{_EQUATION} x = -5 or 5 | 0.5
{_EQUATION} x = -1 or x = -5 | 1.0
{_MEME} Iceland and Greenland are in the picture, and neither name fits what the country looks like. | 0.4
{_MEME} The names say the opposite of what one finds: much of Iceland is green and most of Greenland is ice. The sign \
about trust issues jokes that after such a contrast no name can be believed. | 1.0
"""
_WORD = re.compile(r"\w")


def prefix() -> str:
    """The prompt before the row that is to be graded: the user's file, else our own words. Raises ConfigError."""
    name = os.environ.get(VARIABLE)
    if not name:
        return OWN_PREFIX
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message, fix = f"cannot read the file in {VARIABLE}: {name}", f"correct or unset {VARIABLE}"
        raise ConfigError("config.judge", message, why=str(error), fix=fix) from None


def wording() -> str:
    """Whose words the prompt has."""
    text = prefix()
    if hashlib.sha256(text.encode()).hexdigest() == OFFICIAL_SHA256:
        return "the authors'"
    return "this project's" if text == OWN_PREFIX else f"another one: the file of {VARIABLE} is not the authors'"


def tail(question: str, gold: str, answer: str) -> str:
    """The row that is to be graded, as the authors join it: marks in the gold answer get blanks around them."""
    spaced = gold.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return " | ".join([question, spaced, answer, ""])


def read_grade(_: Sample, reply: str) -> str | None:
    """The number from 0 to 1 before the first blank; None for anything else, NaN and infinities among it."""
    word = reply.partition(" ")[0].strip()
    try:
        value = float(word)
    except ValueError:
        return None
    return word if 0 <= value <= 1 else None


def proxy(gold: str, answer: str) -> float:
    """Share of the gold answer's parts of which the reply has an alternative as whole words. A rule of this project."""
    text = _plain(answer)
    parts = [part.split("<OR>") for part in gold.split("<AND>")]
    held = sum(any(_holds(text, _plain(one)) for one in part) for part in parts)
    return round(held / len(parts), 4)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .")


def _holds(text: str, wanted: str) -> bool:
    start = text.find(wanted) if wanted else -1
    while start >= 0:
        end = start + len(wanted)
        if not _WORD.match(text[start - 1 : start]) and not _WORD.match(text[end : end + 1]):
            return True
        start = text.find(wanted, start + 1)
    return False


# Tables. A row is (capabilities in the data set's order, its score in each grading run).

Graded = Sequence[tuple[Sequence[str], Sequence[float]]]


def official_table(graded: Graded) -> dict[str, str]:
    """The authors' two tables in one: capabilities, integrations by sorted name, total, its deviation over the runs."""
    runs = range(min((len(scores) for _, scores in graded), default=0))
    groups: dict[str, list[Sequence[float]]] = defaultdict(list)
    for names, scores in graded:
        for name in names:
            groups[name].append(scores)
    integrations: dict[str, list[Sequence[float]]] = defaultdict(list)
    for names, scores in graded:
        integrations["_".join(sorted(names))].append(scores)
    totals = [_percent([scores[run] for _, scores in graded]) for run in runs]
    found = {name: _over_runs(groups[name], runs) for name in CAPABILITIES if name in groups}
    found |= {f"only {name}": _over_runs(parts, runs) for name, parts in integrations.items()}
    mean = math.fsum(totals) / len(totals) if totals else 0.0
    deviation = math.sqrt(math.fsum((total - mean) ** 2 for total in totals) / len(totals)) if totals else 0.0
    found |= {"total": f"{round(mean, 1)}", "std": f"{round(deviation, 1)}"}
    return found | {"runs": str([round(total, 1) for total in totals])}


def _over_runs(scores: Sequence[Sequence[float]], runs: range) -> str:
    values = [_percent([one[run] for one in scores]) for run in runs]
    return f"{round(math.fsum(values) / len(values), 1)}" if values else ""


def _percent(values: Sequence[float]) -> float:
    return 100 * math.fsum(values) / len(values)


def vlmevalkit_table(graded: Graded) -> dict[str, str]:
    """VLMEvalKit's tables over the first run, unrounded.

    Faults kept: a question of one capability counts twice for it, and integrations in another order are others.
    """
    counts: Mapping[str, list[float]] = defaultdict(list)
    for names, scores in graded:
        text = ",".join(names)
        for name in (*(one for one in CAPABILITIES if one in text), "_".join(names), "Overall"):
            counts[name].append(scores[0])
    return {name: str(_percent(values)) for name, values in counts.items()}
