"""The plan as a person reads it: one line per task, all that `--dry-run` prints, and notes that come before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.cells import cell_len

from kvl_eval.backends import ModelEntry, resolve_model
from kvl_eval.backends.base import MemoryNeed, PromptSize
from kvl_eval.families import RULES, FamilyRule
from kvl_eval.model.registry import families, stored_family
from kvl_eval.printable import one_line, policy_name, printable
from kvl_eval.run import provenance
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import Plan, TaskPlan
from kvl_eval.run.plan_sizes import PlanPart
from kvl_eval.run.server_notices import omission_notices, omitted_fields
from kvl_eval.trust import Origin

GIB = 2**30
LARGE = GIB  # bytes of weights from which memory is shown
MOST_NAMED = 5  # models of a server that a note names
SCREEN_BYTES = 0.052  # of a stored screen per pixel: 107 kB for 1920x1080
DRY = "nothing was run"
PROMPT_FILE = "prompt file"  # of an own prompt whose file has no name here


@dataclass(frozen=True, slots=True)
class PlanNote:
    """A line before the plan: a note is good to know, a warning can mislead about a score."""

    kind: Literal["note", "warning"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanColumn:
    """A column of the plan: its head, and (task, plan) -> cell. One that no task fills is left out."""

    title: str
    text: Callable[[TaskPlan, Plan], str]
    numeric: bool = False


def plan_text(
    plan: Plan, ending: str | None = None, *, reused: int = 0, details: bool = False, prompt_file: str = PROMPT_FILE
) -> str:
    """One line per task under a head; what `-v` adds with `details`; the number of requests and `ending`, if any.

    Without an ending the last line is left to `requests_text`, once the run folder has a name. `prompt_file` names the
    file of an own prompt.
    """
    lines = [[column.title, *(_shown(column.text(task, plan)) for task in plan.tasks)] for column in COLUMNS]
    if plan.config.prompt_text:
        lines[_PROMPT] = [cell.replace(PROMPT_FILE, _shown(prompt_file)) for cell in lines[_PROMPT]]
    filled = [(column, cells) for column, cells in zip(COLUMNS, lines, strict=True) if any(cells[1:])]
    shown = _aligned([cells for _, cells in filled], [column.numeric for column, _ in filled])
    shown += _details(plan) if details else []
    shown += [] if ending is None else [requests_text(plan.requests, reused, ending)]
    return "\n".join(shown)


def requests_text(requests: int, reused: int, ending: str) -> str:
    """`210 requests, 150 already answered; results/...`."""
    answered = f", {reused:,} already answered" if reused else ""
    return f"{requests:,} request{'s' * (requests != 1)}{answered}; {printable(ending, keep='')}"


def _shown(text: str) -> str:
    return printable(one_line(text), keep="")


def _aligned(columns: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """Columns of cells as lines, two spaces apart."""
    widths = [max(map(cell_len, column)) for column in columns]
    lines = []
    for row in zip(*columns, strict=True):
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            space + cell if right else cell + space for cell, space, right in zip(row, blanks, numeric, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


# -- one line per task ----------------------------------------------------------------------------------------------


def _task(task: TaskPlan, _: Plan) -> str:
    return task.name if task.task.data.table is None else task.task.title


def _split(task: TaskPlan, _: Plan) -> str:
    return task.config.split if task.task.data.table is None else "own data"


def _samples(task: TaskPlan, _: Plan) -> str:
    return f"{task.n:,}" + ("" if task.total in (None, task.n) else f" of {task.total:,}")


def _media(task: TaskPlan, _: Plan) -> str:
    """`16 frames`, `2 to 20 pages`: of the first samples with videos or documents, where the backend can tell."""
    counts = [size.pictures for size in task.sizes]
    unit = {"video": "frames", "document": "pages"}.get(task.task.modality, "images")
    return f"{_span(counts)} {unit}" if any(counts) else ""


def _prompt(task: TaskPlan, plan: Plan) -> str:
    return f"{task.config.prompt} + {PROMPT_FILE}" if plan.config.prompt_text else task.config.prompt


def _generation(task: TaskPlan, _: Plan) -> str:
    """`greedy, <= 512`; `temperature 0.8, thought 1k,4k (cut) + 2,048`."""
    generation = task.config.generation
    parts = ["greedy" if generation.temperature == 0 else f"temperature {generation.temperature:g}"]
    parts += [f"top-p {generation.top_p:g}"] if generation.top_p < 1 else []
    parts += [f"top-k {generation.top_k}"] if generation.top_k else []
    if task.config.policy is None:
        return ", ".join([*parts, f"<= {generation.limit:,}"])
    budgets = ",".join(map(budget_text, generation.think_budgets))
    return ", ".join([*parts, f"thought {budgets} ({policy_name(task.config.policy)}) + {generation.answer_tokens:,}"])


def budget_text(tokens: int) -> str:
    """`4k`, `1000`, `0`."""
    return f"{tokens // 1024}k" if tokens and tokens % 1024 == 0 else f"{tokens}"


def _requests(task: TaskPlan, plan: Plan) -> str:
    each = plan.config.repeats * len(task.config.budgets)
    return f"{each} per sample" if each != 1 else ""


def _steps(task: TaskPlan, _: Plan) -> str:
    """`<= 8`: of an episode."""
    return "" if task.config.episode is None else f"<= {task.config.episode.max_steps:,}"


def _scoring(task: TaskPlan, plan: Plan) -> str:
    """The label of the protocol as results print it, and the judge that is asked or missing."""
    run = plan.config
    name = task.task.protocol_named(run.protocol or "") or run.protocol or task.task.default_protocol
    protocol = task.task.protocols.get(name)
    label = name if protocol is None else protocol.label or name
    if run.judge is not None and task.task.judge_prompt is not None:
        return f"{label} + judge {run.judge.model}"
    return f"{label} (needs a judge)" if protocol is not None and protocol.needs_judge else label


COLUMNS = (
    PlanColumn(title="task", text=_task),
    PlanColumn(title="split", text=_split),
    PlanColumn(title="samples", text=_samples, numeric=True),
    PlanColumn(title="media", text=_media),
    PlanColumn(title="prompt", text=_prompt),
    PlanColumn(title="generation", text=_generation),
    PlanColumn(title="steps", text=_steps, numeric=True),
    PlanColumn(title="scoring", text=_scoring),
    PlanColumn(title="requests", text=_requests),
)
_PROMPT = [column.title for column in COLUMNS].index("prompt")


# -- before the plan ------------------------------------------------------------------------------------------------


def demo_note(model: str) -> str:
    """What is said of a demo model before its first answer."""
    return f"{printable(model, keep='')} is a 5M-parameter demo; its scores are not Kimi-VL's."


def loading_text(entry: ModelEntry) -> str | None:
    """`loading kimi-vl-nano (0.01 GB)`; None where this process loads no weights."""
    if entry.kind not in ("checkpoint", "peer"):
        return None
    folder = Path(entry.location)
    size = sum(_size(path) for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return f"loading {printable(entry.name, keep='')}" + (
        f" ({size / 1e9:.{2 if size < 1e9 else 1}f} GB)" if size else ""
    )


def _size(path: Path) -> int:
    """Bytes of a file; 0 where the entry leads to none, which is named where the weights are read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def plan_notes(plan: Plan) -> list[PlanNote]:
    """What a user should know before the run: of the data, the server, memory, prompts that are too long."""
    notes = [_task_note(note) for task in plan.tasks for note in task.notes]
    notes += [PlanNote("warning", notice) for notice in omission_notices(omitted_fields(plan))]
    notes += [PlanNote("warning", text) for task in plan.tasks for text in _overfull(task)]
    notes += [PlanNote("note", text) for text in (*_family(plan.config), *_backend(plan), *_server(plan))]
    return notes + [PlanNote("note", text) for text in memory_notes(plan.memory)]


def _task_note(text: str) -> PlanNote:
    """A line of a task's data, which begins with its kind."""
    kind, _, rest = one_line(text).partition(": ")
    return PlanNote("warning" if kind == "warning" else "note", rest)


def _overfull(task: TaskPlan) -> Iterator[str]:
    counted = len(task.sizes)
    if overfull := sum(not size.fits for size in task.sizes):
        verb = "exceeds" if overfull == 1 else "exceed"
        yield f"{task.name}: {overfull} of the first {counted} prompts {verb} the context and would fail"


def _family(config: RunConfig) -> Iterator[str]:
    """Whose settings are used, where nothing sure says so."""
    if config.family_rule in (None, FamilyRule.OPTION, FamilyRule.REGISTERED):
        return
    family = stored_family(config.family)
    known = families(family.model_type)
    choice = ""
    if family is known.other:
        choice = f"; --family {'|'.join(record.name for record in known.published)} changes that"
    yield f"settings of the family {config.family}, {RULES[config.family_rule]}{choice}"


def _backend(plan: Plan) -> Iterator[str]:
    """What produces the replies, where it is not this process."""
    cluster = plan.config.settings.cluster
    if cluster.backend == "ray":
        yield f"ray runs {cluster.num_replicas} replica{'s' * (cluster.num_replicas != 1)} of the model"
    if cluster.backend == "vllm":
        yield f"vLLM {plan.model.get('vllm')} runs as a server on 127.0.0.1 and ends with the run"
        if plan.model.get("own_code"):
            yield "vLLM gets --trust-remote-code, for kvl-eval's own processor file in an exported checkpoint"


def _server(plan: Plan) -> Iterator[str]:
    """The server that gets the requests, which variable's value goes there, and whether it knows the model."""
    server = plan.config.settings.server
    if server.base_url:
        key = f"with the key in {server.api_key_env}" if server.api_key_env else "without a key"
        yield f"requests go to {Origin.of(server.base_url)}, {key}"
    listed, name = plan.model.get("listed"), plan.model.get("path")
    if isinstance(listed, list) and listed and name not in listed:
        more = f", and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
        names = ", ".join(one_line(str(model)) for model in listed[:MOST_NAMED])
        yield f"the server does not list {one_line(str(name))}; it lists {names}{more}"


def memory_notes(need: MemoryNeed | None) -> Iterator[str]:
    """What to know of memory before the run: too little for the longest prompts, weights that are packed first."""
    if need is None:
        return
    if need.weights + need.context * need.token > need.free and need.weights >= LARGE:
        yield "not enough memory for a prompt of the whole context: samples with long prompts may fail"
    if need.kept_in is not None and not need.kept_in.is_dir():
        yield f"weights are packed once, into {need.kept_in}"


# -- under -v -------------------------------------------------------------------------------------------------------


def _details(plan: Plan) -> list[str]:
    """What `-v` adds: per task data, prompts and parts; per run model, memory, seed, fingerprint, variables."""
    lines: list[str] = []
    for task in plan.tasks:
        lines += [_shown(_task(task, plan)), *_task_details(task, plan)]
    config = plan.config
    rule = f", {RULES[config.family_rule]}" if config.family_rule else ""
    engine = {"checkpoint": "the bundled engine", "peer": "transformers"}.get(resolve_model(config.model).kind)
    variables = provenance.variables()
    lines += [
        f"model        {one_line(plan.model['name'])}, family {config.family}{rule}",
        *([f"backend      {engine}"] if engine and config.settings.cluster.backend == "local" else []),
        *memory_text(plan.memory),
        f"seed         {config.seed}",
        f"disk         about {_megabytes(plan)} MB: plan, records, scores",
        f"fingerprint  {plan.fingerprint}",
        *([f"environment  {', '.join(f'{name}={value}' for name, value in variables.items())}"] if variables else []),
    ]
    return [printable(line, keep="") for line in lines]


def _task_details(task: TaskPlan, plan: Plan) -> list[str]:
    source = task.config.source.data_dir or task.config.source.repo
    source = "bundled" if task.config.split == "mini" else source or "generated"
    source = source if task.task.data.table is None else task.task.data.table.path
    several = f", {task.questions:,} questions" if task.questions < task.n else ""
    tokens = "unknown" if task.prompt_tokens is None else f"about {round(task.prompt_tokens * task.n):,}"
    if task.parts and all(part.tokens is not None for part in task.parts):
        tokens = f"at most {sum(part.n * (part.tokens or 0) for part in task.parts):,}"
    return [
        f"  data       {source}{several}, {task.media:,} media, fingerprint {task.data_sha256}",
        f"  prompts    {task.prompt_sha256}; prompt tokens {tokens}",
        *_episodes_text(task, plan),
        *_sizes_text(task.sizes),
        *_parts_text(task.parts),
    ]


def _episodes_text(task: TaskPlan, plan: Plan) -> list[str]:
    """How many steps, screens and desktops the episodes of agents take at most."""
    episode = task.config.episode
    if episode is None:
        return []
    count = task.n * plan.config.repeats
    screens = count * (episode.max_steps + 1)
    megabytes = screens * episode.screen[0] * episode.screen[1] * SCREEN_BYTES / 1e6
    return [
        f"  episodes   {count:,} on {plan.config.desktops} desktops, at most {count * episode.max_steps:,} steps and "
        f"{max(1, round(megabytes)):,} MB of screens"
    ]


def memory_text(need: MemoryNeed | None) -> list[str]:
    """What weights and KV cache take and what is free; nothing for models too small to matter, unless packed."""
    if need is None or (need.weights < LARGE and need.kept_in is None):
        return []
    context = need.context * need.token
    lines = [
        f"memory       weights {need.weights / GIB:,.1f} GiB, {need.free / GIB:,.1f} GiB free on {need.device}; the KV "
        f"cache grows by {need.token / 2**10:,.0f} KiB per token, to {context / GIB:,.1f} GiB for {need.context:,}"
    ]
    if need.kept_in is not None:
        state = "packed weights are in" if need.kept_in.is_dir() else "weights are packed once, into"
        lines.append(f"             {state} {need.kept_in}")
    return lines


def _sizes_text(sizes: Sequence[PromptSize]) -> list[str]:
    """What the first prompts with videos or documents take."""
    if not sizes:
        return []
    lowered = sorted({size.limit for size in sizes if size.limit is not None})
    each = [size.image_tokens / size.pictures for size in sizes if size.pictures]
    line = (
        f"  media      {_span([size.pictures for size in sizes])} frames or pages of {_span(each)} tokens, prompts of "
        f"{_span([size.tokens for size in sizes])} tokens (first {len(sizes)})"
    )
    notes = [f"shrunk to {' or '.join(map(str, lowered))} patches to fit the context"] if lowered else []
    return [line, *(f"             {note}" for note in notes)]


def _parts_text(parts: Sequence[PlanPart]) -> list[str]:
    """How many samples of each part, its longest prompt, and what that takes of memory and time where that is known."""
    rows = [["", "samples", "tokens", "media", "memory", "time each", "time"]]
    for part in parts:
        cost = part.cost
        rows.append(
            [
                part.name,
                f"{part.n}",
                "unknown" if part.tokens is None else f"{part.tokens:,}",
                f"{part.media:,}",
                "" if cost is None else f"{cost.bytes / 2**30:.2f} GiB",
                "" if cost is None else _duration(cost.seconds),
                "" if cost is None else _duration(cost.seconds * part.n),
            ]
        )
    if not parts:
        return []
    lines = _aligned(list(zip(*rows, strict=True)), [True] * len(rows[0]))
    known = any(part.cost is not None for part in parts)
    notes = ["estimates for the longest prompt, beside the weights; one request at a time"] if known else []
    return ["  parts      " + lines[0], *(f"             {line}" for line in [*lines[1:], *notes])]


def _duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _span(values: Sequence[float]) -> str:
    low, high = (round(pick(values, default=0)) for pick in (min, max))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _megabytes(plan: Plan) -> int:
    """Plan as measured; 3 kB per record and 6 bytes per token that it may hold, a tenth of the limit being usual."""
    tokens = sum(task.n * len(task.config.budgets) * task.config.generation.limit for task in plan.tasks)
    return max(1, round((plan.lines.size + 3_000 * plan.requests + 0.6 * tokens * plan.config.repeats) / 1e6))
