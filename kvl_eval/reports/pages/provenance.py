"""The page that says how the numbers were made: commands, and at most fourteen facts of each run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kvl_eval.decode import Json
from kvl_eval.reports import numbers
from kvl_eval.reports.numbers import plain
from kvl_eval.reports.origins import ShardText, code_text, shards
from kvl_eval.reports.pages.context import Context
from kvl_eval.reports.pages.front import day_text
from kvl_eval.reports.pages.series import Series
from kvl_eval.reports.runs import main_rows
from kvl_eval.store.manifest import Manifest
from kvl_eval.types import Generation

HASH = 12  # characters from which a text of hexadecimal digits is shortened
ENDS = 4  # characters of a hash at each end
LONG_WORD = 24  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class FactText:
    """One cell: a text, and the whole of a hash that it shortens."""

    text: str
    whole: str = ""

    @property
    def is_code(self) -> bool:
        """Whether it is shown as code: a hash, or a word too long for a narrow page."""
        return bool(self.whole) or any(len(word) > LONG_WORD for word in self.text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRow:
    """One fact of every run; `differs` for one that can change an answer and is not the same in all."""

    name: str
    cells: tuple[FactText, ...]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrigin:
    """One run: when it ran, how to repeat it, and its shards if it was merged."""

    series: Series
    when: str
    command: str
    verify: str
    file: str
    shards: tuple[ShardText, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenancePage:
    """What the template shows."""

    lead: str
    runs: tuple[RunOrigin, ...]
    facts: tuple[FactRow, ...]


def provenance_page(context: Context) -> ProvenancePage:
    """The page of a report."""
    runs = tuple(_origin(model) for model in context.series)
    columns = [(name, matters, tuple(read(model) for model in context.series)) for name, matters, read in FACTS]
    rows = [
        FactRow(name=name, cells=cells, differs=matters and len({cell.whole or cell.text for cell in cells}) > 1)
        for name, matters, cells in columns
        if any(cell.text != "·" for cell in cells)
    ]
    return ProvenancePage(lead=_lead(context), runs=runs, facts=tuple(rows))


def run_file(model: Series) -> str:
    """Name of the copy of run.json in `data/`."""
    return f"run-{model.number + 1}.json"


def _lead(context: Context) -> str:
    statuses = [model.run.folder.status == "finished" for model in context.series]
    done, n = sum(statuses), len(statuses)
    if done == n:
        return "This run is finished." if n == 1 else f"All {n} runs are finished."
    return f"{done} of {n} runs are finished; the scores of the others are preliminary."


def _origin(model: Series) -> RunOrigin:
    manifest = model.run.manifest
    return RunOrigin(
        series=model,
        when=_when(manifest),
        command=command_text(model),
        verify=shlex.join(("kvl-eval", "verify", model.run.run_id)),
        file=f"data/{run_file(model)}",
        shards=tuple(shards(model.run)),
    )


def command_text(model: Series) -> str:
    """The command that repeats a run, as a shell reads it, without the folder that kvl-eval was installed in."""
    program, *arguments = model.run.manifest.command or ("kvl-eval", "run")
    return shlex.join(map(plain, (Path(program).name or program, *arguments)))


def _when(manifest: Manifest) -> str:
    """`28 November 2026, 1 h 52 min`."""
    day = "" if manifest.created is None else day_text(manifest.created)
    return ", ".join(filter(None, (day, duration_text(manifest))))


def duration_text(manifest: Manifest) -> str:
    """From the start of a run to its end, in words; empty where it has none."""
    try:
        start, end = (datetime.fromisoformat(text or "") for text in (manifest.created, manifest.finished))
        minutes = round((end - start).total_seconds() / 60)
    except (ValueError, TypeError):
        return ""
    if minutes < 1:
        return "less than a minute"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def fact(value: object) -> FactText:
    """A text as a cell shows it: hashes shortened, nothing as a dot."""
    text = plain(value) if value not in (None, "") else ""
    if len(text) >= HASH and all(char in "0123456789abcdef" for char in text):
        return FactText(text=f"{text[:ENDS]}…{text[-ENDS:]}", whole=text)
    return FactText(text=text or "·")


def _joined(values: Iterable[object]) -> FactText:
    """Different values in one cell, each once."""
    texts = list(dict.fromkeys(plain(value) for value in values if value not in (None, "")))
    if len(texts) == 1:
        return fact(texts[0])
    facts = [fact(text) for text in texts]
    whole = ", ".join(texts) if any(item.whole for item in facts) else ""
    return FactText(text=", ".join(item.text for item in facts) or "·", whole=whole)


def _replies(model: Series) -> FactText:
    rows = main_rows(model.run)
    planned = sum(row.n_planned for row in rows)
    return FactText(text=f"{sum(row.n_ok for row in rows):,} of {planned:,}")


def _failed(model: Series) -> FactText:
    rows = main_rows(model.run)
    failed: dict[str, int] = {}
    for row in rows:
        for reason, count in row.failed.items():
            failed[reason] = failed.get(reason, 0) + count
    reasons = f" ({numbers.reasons(failed)})" if failed else ""
    return FactText(text=f"{sum(row.n_failed for row in rows):,}{reasons}")


def _weights(model: Series) -> FactText:
    facts = model.run.manifest.model
    for name in ("weights_sha256", "sha256", "revision", "weights_served"):
        value: Json = facts.others.get(name)
        if isinstance(value, str) and value:
            return fact(value)
    return fact(facts.path or facts.name)


def _data(model: Series) -> FactText:
    return _joined(data.fingerprint for data in model.run.manifest.data.values())


def _prompts(model: Series) -> FactText:
    return _joined(prompt.name for prompt in model.run.manifest.prompt.values())


def _sampling(model: Series) -> FactText:
    return _joined(_sampling_text(generation) for generation in model.run.manifest.generation.values())


def _sampling_text(generation: Generation) -> str:
    if not generation.temperature:
        return "greedy"
    text = f"temperature {generation.temperature:g}"
    text += f", top-p {generation.top_p:g}" if generation.top_p != 1 else ""
    return text + (f", top-k {generation.top_k}" if generation.top_k else "")


def _limit(model: Series) -> FactText:
    return _joined(f"{generation.limit:,} tokens" for generation in model.run.manifest.generation.values())


def _protocols(model: Series) -> FactText:
    return _joined(numbers.protocol_name(row) for row in main_rows(model.run))


def _images(model: Series) -> FactText:
    if model.run.manifest.blind:
        return FactText(text="gray (blind)")
    limits = model.run.manifest.model_identity.get("image_limit")
    return fact(limits) if limits is not None else FactText(text="processor default")


def _software(model: Series) -> FactText:
    code = model.run.manifest.code
    return FactText(text=f"kvl-eval {code_text(code)}" + (", uncommitted changes" if code.dirty else ""))


def _device(model: Series) -> FactText:
    facts = model.run.manifest.model
    return _joined(filter(None, (facts.device, facts.dtype, facts.weights)))


def _seed(model: Series) -> FactText:
    return fact(model.run.manifest.seeds.seed)


def _budgets(model: Series) -> FactText:
    budgets = sorted({row.budget for row in main_rows(model.run) if row.budget is not None})
    return _joined(map(numbers.budget_label, budgets))


def _shards(model: Series) -> FactText:
    merged = model.run.manifest.merged
    shard = model.run.manifest.selection.shard
    return FactText(text=f"merged from {len(merged)}") if merged else fact(shard)


FACTS: tuple[tuple[str, bool, Callable[[Series], FactText]], ...] = (
    ("replies", False, _replies),
    ("failed", False, _failed),
    ("weights", True, _weights),
    ("data", True, _data),
    ("prompts", True, _prompts),
    ("sampling", True, _sampling),
    ("reply limit", True, _limit),
    ("protocols", True, _protocols),
    ("images", True, _images),
    ("software", True, _software),
    ("server or device", True, _device),
    ("seed", True, _seed),
    ("budgets", True, _budgets),
    ("shards", False, _shards),
)
"""(name, whether it can change an answer, how it is read), at most fourteen."""
