"""The plan as a person reads it: the first screen of every run, and all that `--dry-run` does."""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.backends import resolve_model
from kvl_eval.backends.base import MemoryNeed, PromptSize
from kvl_eval.families import DEMO_NOTE, RULES
from kvl_eval.model.registry import families, stored_family
from kvl_eval.printable import one_line, printable
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import Plan, TaskPlan
from kvl_eval.run.plan_sizes import PlanPart
from kvl_eval.run.server_notices import omission_notices, omitted_fields
from kvl_eval.trust import Origin

GIB = 2**30
LARGE = GIB  # bytes of weights from which memory is spoken of


def plan_text(plan: Plan, reused: int = 0) -> str:
    """The first screen of every run, and what `--dry-run` prints."""
    config = plan.config
    shown = [one_line(note) for task in plan.tasks for note in task.notes if note.startswith("warning")]
    shown += [f"plan      {one_line(plan.model['name'])}, {len(plan.tasks)} task{'s' * (len(plan.tasks) > 1)}"]
    shown += _family_text(config) + _backend_text(plan) + _server_text(config) + _omitted_text(plan)
    shown += memory_text(plan.memory)
    for task in plan.tasks:
        shown += _task_text(task, plan)
    shown += [
        f"requests  {plan.requests:,}" + (f", {reused:,} already answered" if reused else ""),
        f"seed      {config.seed}" + (", every picture grey (--blind)" if config.settings.media.blind else ""),
        "time      unknown until the first samples are answered",
        f"disk      about {_megabytes(plan)} MB: plan, answers, scores",
        f"files     {config.output_dir}/<run>/: run.json config.yaml plan.jsonl samples/ scores/ results.json log.txt",
        f"identity  {plan.fingerprint[:16]}",
    ]
    return "\n".join(printable(line, keep="") for line in shown)


def _family_text(config: RunConfig) -> list[str]:
    """The family, which rule decided, and what follows from it."""
    family = stored_family(config.family)
    lines = [f"family    {config.family}" + (f", {RULES[config.family_rule]}" if config.family_rule else "")]
    if family.is_demo:
        lines.append(f"          {DEMO_NOTE}: `--model kimi-vl-instruct` runs the real one")
    known = families(family.model_type)
    if family is known.other:
        lines.append(
            f"          --family {'|'.join(known_family.name for known_family in known.published)} says which it is"
        )
    return lines


def _backend_text(plan: Plan) -> list[str]:
    """What answers, where the name of the model leaves that open."""
    cluster = plan.config.settings.cluster
    if cluster.backend == "ray":
        return [f"backend   ray, {cluster.num_replicas} replica{'s' * (cluster.num_replicas != 1)}"]
    if cluster.backend == "vllm":
        lines = [f"backend   vllm {plan.model.get('vllm')}, a server on 127.0.0.1 that starts and ends with the run"]
        if plan.model.get("own_code"):
            lines.append("          --trust-remote-code, for kvl-eval's own processor file in an exported checkpoint")
        return lines
    engine = {"checkpoint": "the bundled engine", "peer": "transformers"}.get(resolve_model(plan.config.model).kind)
    return [f"backend   local ({engine})"] if engine else []


def memory_text(need: MemoryNeed | None) -> list[str]:
    """What weights and cache take and what is free; nothing of models too small to matter, unless they are packed."""
    if need is None or (need.weights < LARGE and need.kept_in is None):
        return []
    context = need.context * need.token
    lines = [
        f"memory    weights {need.weights / GIB:,.1f} GiB, {need.free / GIB:,.1f} GiB free on {need.device}; the cache "
        f"grows by {need.token / 2**10:,.0f} KiB a token, to {context / GIB:,.1f} GiB for {need.context:,}"
    ]
    if need.weights + context > need.free:
        lines.append("          not enough for a prompt of the whole context: answers to long prompts may fail")
    if need.kept_in is not None:
        state = "packed weights are in" if need.kept_in.is_dir() else "weights are packed once, into"
        lines.append(f"          {state} {need.kept_in}")
    return lines


def _omitted_text(plan: Plan) -> list[str]:
    """Fields that are not sent to a server, and what follows from it."""
    return [f"server    {notice}" for notice in omission_notices(omitted_fields(plan))]


def _server_text(config: RunConfig) -> list[str]:
    """Who is asked over the network, and which variable's value goes there."""
    server = config.settings.server
    if not server.base_url:
        return []
    key = f"with the key in {server.api_key_env}" if server.api_key_env else "without a key"
    return [f"server    {Origin.of(server.base_url)}, {key}"]


def _task_text(task: TaskPlan, plan: Plan) -> list[str]:
    run, generation = plan.config, task.config.generation
    of = f" of {task.total:,}" if task.total is not None and task.total != task.n else ""
    several = f" ({task.questions:,} questions, each asked several times)" if task.questions < task.n else ""
    limit = f"{generation.limit:,} new tokens" + (
        f", thought cut at {', '.join(f'{budget:,}' for budget in generation.think_budgets)}"
        if task.config.policy == "cut"
        else f", thought closed at {', '.join(f'{budget:,}' for budget in generation.think_budgets)}"
        if task.config.policy
        else ""
    )
    sampling = "greedy" if generation.temperature == 0 else f"temperature {generation.temperature}"
    sampling += f", top-p {generation.top_p}" if generation.top_p < 1 else ""
    sampling += f", top-k {generation.top_k}" if generation.top_k else ""
    tokens = "unknown" if task.prompt_tokens is None else f"about {round(task.prompt_tokens * task.n):,}"
    if task.parts and all(part.tokens is not None for part in task.parts):
        tokens = f"at most {sum(part.n * (part.tokens or 0) for part in task.parts):,}"
    prompt = "own text" if run.prompt_text else task.config.prompt
    source = task.config.source.data_dir or task.config.source.repo
    source = "bundled" if task.config.split == "mini" else source or "generated"
    name, split, table = task.name, task.config.split, task.task.data.table
    if table is not None:
        name, split, source = task.task.title, "own data", table.path
    protocol = task.task.protocol_named(run.protocol or "") or run.protocol or task.task.default_protocol
    judge = "an LLM step is replaced by the task's rule" if task.task.judge_prompt else "no judge needed"
    scoring = task.task.protocols.get(protocol)
    if scoring is not None and scoring.judged and scoring.needs_judge:
        judge = "not scored without a judge"
    if run.judge is not None and task.task.judge_prompt is not None:
        judge = f"with and without the judge {run.judge.model} at {run.judge.base_url}"
    return [
        one_line(name),
        f"  data    {split} ({source}), {task.n:,}{of} samples{several}, {task.media:,} media",
        f"          {task.data_sha256[:12]}",
        f"  prompt  {prompt}, {task.prompt_sha256[:12]}; prompt tokens {tokens}",
        *_sizes_text(task.sizes),
        *_parts_text(task.parts),
        f"  answer  {sampling}, at most {limit}; {run.repeats} x {len(task.config.budgets)} a sample",
        f"  score   {protocol if scoring is None else scoring.label or protocol}, {judge}",
        *(one_line(note) for note in task.notes if not note.startswith("warning")),
    ]


def _sizes_text(sizes: Sequence[PromptSize]) -> list[str]:
    """What the first prompts with videos or documents take: pictures, tokens of one, and which do not fit."""
    if not sizes:
        return []
    lowered = sorted({one.limit for one in sizes if one.limit is not None})
    each = [one.image_tokens / one.pictures for one in sizes if one.pictures]
    shown = (
        f"  media   {_span([one.pictures for one in sizes])} frames or pages of {_span(each)} tokens, prompts of "
        f"{_span([one.tokens for one in sizes])} tokens (first {len(sizes)})"
    )
    notes = [f"shrunk to {' or '.join(map(str, lowered))} patches to fit the context"] if lowered else []
    if overfull := sum(not one.fits for one in sizes):
        notes.append(f"{overfull} of these {len(sizes)} fit under no limit and would fail")
    return [shown, *(f"          {note}" for note in notes)]


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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    known = any(part.cost is not None for part in parts)
    notes = ["estimates of the longest prompt, beside the weights; one answer at a time"] if known else []
    return ["  parts   " + shown[0], *(f"          {line}" for line in [*shown[1:], *notes])]


def _duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _span(values: Sequence[float]) -> str:
    low, high = (round(pick(values, default=0)) for pick in (min, max))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _megabytes(plan: Plan) -> int:
    """Plan as measured; 3 kB a record and 6 bytes a token that it may hold, a tenth of the limit being usual."""
    tokens = sum(task.n * len(task.config.budgets) * task.config.generation.limit for task in plan.tasks)
    return max(1, round((plan.lines.size + 3_000 * plan.requests + 0.6 * tokens * plan.config.repeats) / 1e6))
