"""`kvl-eval check model`: whether a checkpoint can be used, without running it. Headers are read, weights are not.

Every check is made, so that one report names all that is wrong; tensors of checkpoints of up to a billion parameters
are also looked through for NaN and infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.backends import family_facts
from kvl_eval.errors import CheckpointError
from kvl_eval.families import RULES, choose_family
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.kimi_vl import chat
from kvl_eval.model.kimi_vl.config import KimiVLConfig, PreprocessorConfig
from kvl_eval.model.kimi_vl.template_check import PROBES, TEMPLATE, find_template, rendered_apart
from kvl_eval.model.kimi_vl.tokenizer import NEEDED, KimiTokenizer
from kvl_eval.model.registry import families, family_named


@dataclass(frozen=True, slots=True)
class ModelFinding:
    """What one check found; `warning` marks what does not keep the checkpoint from being used."""

    check: str
    ok: bool
    text: str
    where: str | None = None
    why: str | None = None
    fix: str | None = None
    warning: bool = False


Check = Callable[[Path], str | ModelFinding]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Whether a checkpoint can be used. `asdict` gives what `check model --json` prints."""

    ok: bool
    path: str
    findings: list[ModelFinding]


def check(
    path_or_repo: str | Path, *, revision: str | None = None, offline: bool = False, family: str | None = None
) -> ModelReport:
    """What every check says of a checkpoint folder or hub repository (weights are fetched).

    `family` is what `--family` says.
    Raises: CheckpointError, if there is no such folder or repository; UsageError, for a family that there is not.
    """
    folder = checkpoint_folder(path_or_repo, revision, offline=offline)
    checks = {"family": lambda folder: _family(folder, str(path_or_repo), family), **CHECKS}
    findings = [_finding(name, look, folder) for name, look in checks.items()]
    ok = all(finding.ok or finding.warning for finding in findings)
    return ModelReport(ok=ok, path=str(folder), findings=findings)


def as_text(report: ModelReport) -> str:
    """A report a person can read: one line a check, details below those that failed."""
    lines = [report.path]
    for finding in report.findings:
        mark = "ok  " if finding.ok else "warn" if finding.warning else "FAIL"
        lines.append(f"  {mark}  {finding.check:<14}{finding.text}")
        if not finding.ok:
            details = (("where", finding.where), ("why", finding.why), ("fix", finding.fix))
            lines += [f"{'':22}{label}: {line}" for label, text in details for line in (text or "").splitlines()]
    bad = sum(not finding.ok and not finding.warning for finding in report.findings)
    lines.append("usable" if report.ok else f"not usable: {bad} of {len(report.findings)} checks failed")
    return "\n".join(lines)


def _finding(name: str, look: Check, folder: Path) -> ModelFinding:
    try:
        result = look(folder)
    except CheckpointError as error:
        return ModelFinding(name, False, error.message, error.where, error.why, error.fix)
    return result if isinstance(result, ModelFinding) else ModelFinding(name, True, result)


def _family(folder: Path, place: str, option: str | None) -> str:
    facts = family_facts(folder)
    named = None if option is None else family_named(option)
    chosen = choose_family(families(facts.model_type), place, facts, named)
    return f"{chosen.family.name}, {RULES[chosen.rule]}"


def _config(folder: Path) -> str:
    config = KimiVLConfig.from_folder(folder)
    text, vision = config.text_config, config.vision_config
    return (
        f"{text.num_hidden_layers} layers of {text.hidden_size}, {text.n_routed_experts} experts top "
        f"{text.num_experts_per_tok}, vision {vision.num_hidden_layers} of {vision.hidden_size}, "
        f"context {text.max_position_embeddings:,}, stored as {config.torch_dtype}"
    )


def _weight_files(folder: Path) -> str:
    from kvl_eval.backends.fingerprint import weights_sha256
    from kvl_eval.model.weights import weight_files

    paths = weight_files(folder)
    size = sum(path.stat().st_size for path in paths)
    return f"{len(paths)} safetensors files, {size / 1e9:,.3f} GB, fingerprint {weights_sha256(paths)[:12]}"


def _tensors(folder: Path) -> str:
    import torch

    from kvl_eval.model.kimi_vl.model import KimiVL
    from kvl_eval.model.weights import SMALL, check_tensors

    with torch.device("meta"):
        model = KimiVL(KimiVLConfig.from_folder(folder))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    count = check_tensors(model, folder, check_finite=parameters <= SMALL)
    finite = ", all finite" if parameters <= SMALL else ", values not looked at"
    return f"{count:,} tensors, {parameters:,} parameters, names and shapes as config.json says{finite}"


def _memory(folder: Path) -> str:
    """Room for the weights where a run with no options would put them."""
    import torch

    from kvl_eval.backends.fingerprint import value_count
    from kvl_eval.model.memory import GIB, free_bytes, require_room
    from kvl_eval.model.weights import weight_files

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = "float32" if device.type == "cpu" else KimiVLConfig.from_folder(folder).torch_dtype
    try:
        needed = value_count(weight_files(folder)) * getattr(torch, dtype).itemsize
    except CheckpointError:
        return "not known, since the weight files cannot be read"
    require_room(needed, device)
    return f"{needed / GIB:,.1f} GiB in {dtype} on {device}, {free_bytes(device) / GIB:,.1f} GiB are available"


def _tokenizer(folder: Path) -> str:
    tokenizer = KimiTokenizer.from_folder(folder)
    named = sum(not name.startswith("<|reserved_token_") for name in tokenizer.special_tokens)
    stops = ", ".join(f"{name} {tokenizer.special_tokens[name]}" for name in ("[EOS]", "<|im_end|>"))
    return f"{tokenizer.num_base:,} tokens, {named} named specials with all {len(NEEDED)} needed; stops at {stops}"


def _processor(folder: Path) -> str:
    from kvl_eval.model.kimi_vl.processor import check_agreement

    config = PreprocessorConfig.from_folder(folder)
    check_agreement(KimiTokenizer.from_folder(folder), config, KimiVLConfig.from_folder(folder), folder)
    shape = "padded" if config.pad_input else "cropped"
    return f"pictures {shape}, shrunk above {config.in_token_limit:,} patches of {config.patch_size} pixels"


def _template(folder: Path) -> str | ModelFinding:
    """A foreign template is only compared, in a sandboxed process of its own; the bundled one is always used."""
    template = find_template(folder)
    if template is None:
        return "none; the bundled one is used"
    if template == TEMPLATE:
        return "the bundled one"
    for probe, theirs in zip(PROBES, rendered_apart(template), strict=True):
        ours = chat.render(probe)
        if ours != theirs:
            return ModelFinding(
                "chat template",
                False,
                "differs from the published one, which is used",
                why=f"published: {ours!r}\nthis file: {theirs!r}",
                warning=True,
            )
    return f"renders {len(PROBES)} probes as the published one does"


def _foreign_code(folder: Path) -> str:
    code = sorted(path.name for path in folder.glob("*.py"))
    return f"{', '.join(code)}: never run, the bundled implementation is used" if code else "none"


CHECKS: Mapping[str, Check] = {
    "config": _config,
    "weight files": _weight_files,
    "tensors": _tensors,
    "memory": _memory,
    "tokenizer": _tokenizer,
    "processor": _processor,
    "chat template": _template,
    "foreign code": _foreign_code,
}
