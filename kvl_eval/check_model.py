"""`kvl-eval check model`: whether a checkpoint can be used, without running it. Headers are read, weights are not.

Every check is made, so that one report names all that is wrong; tensors of checkpoints of up to a billion parameters
are also looked through for NaN and infinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.backends import family_facts
from kvl_eval.errors import CheckpointError
from kvl_eval.families import RULES, choose_family
from kvl_eval.model.base import Check, CheckWarning
from kvl_eval.model.files import read_json
from kvl_eval.model.forms import refuse_form, refuse_weights_form
from kvl_eval.model.hub import checkpoint_folder
from kvl_eval.model.registry import architecture_of, families, family_named
from kvl_eval.model.weight_files import stored_weights, weight_files
from kvl_eval.printable import one_line


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
    checks: dict[str, Check] = {"family": lambda folder: _family(folder, str(path_or_repo), family), **_checks(folder)}
    form = _finding("form", _form, folder)
    findings = [form] if not form.ok else [_finding(name, look, folder) for name, look in checks.items()]
    ok = all(finding.ok or finding.warning for finding in findings)
    return ModelReport(ok=ok, path=str(folder), findings=findings)


def as_text(report: ModelReport) -> str:
    """A report a person can read: one line a check, details below those that failed."""
    lines = [one_line(report.path)]
    detailed: set[tuple[str, str | None]] = set()
    for finding in report.findings:
        mark = "ok  " if finding.ok else "warn" if finding.warning else "FAIL"
        lines.append(f"  {mark}  {finding.check:<14}{finding.text}")
        error = (finding.text, finding.why)
        if not finding.ok and error not in detailed:
            detailed.add(error)
            details = (("where", finding.where), ("why", finding.why), ("fix", finding.fix))
            lines += [f"{'':22}{label}: {line}" for label, text in details for line in (text or "").splitlines()]
    bad = sum(not finding.ok and not finding.warning for finding in report.findings)
    lines.append("usable" if report.ok else f"not usable: {bad} of {len(report.findings)} checks failed")
    return "\n".join(lines)


def _checks(folder: Path) -> dict[str, Check]:
    """All checks in the order of the report; without a known architecture those that need none."""
    try:
        checks = {**OWN, **architecture_of(folder).checks}
    except CheckpointError:
        checks = {"config": _unknown_architecture, "weight files": _weight_files, "foreign code": _foreign_code}
    return {name: checks[name] for name in ORDER if name in checks}


def _finding(name: str, look: Check, folder: Path) -> ModelFinding:
    try:
        result = look(folder)
    except CheckpointError as error:
        return ModelFinding(name, False, error.message, error.where, error.why, error.fix)
    if isinstance(result, CheckWarning):
        return ModelFinding(name, False, result.text, why=result.why, warning=True)
    return ModelFinding(name, True, result)


def _form(folder: Path) -> str:
    """Raises: CheckpointError, for a model in a form that the bundled engine does not run."""
    refuse_form(folder)
    try:
        weights = stored_weights(folder)
    except CheckpointError:
        return "unknown, because the weight files cannot be read"  # their own check says why
    refuse_weights_form(folder, weights)
    return "a complete checkpoint"


def _family(folder: Path, place: str, option: str | None) -> str:
    facts = family_facts(folder)
    named = None if option is None else family_named(option)
    chosen = choose_family(families(facts.model_type), place, facts, named)
    return f"{chosen.family.name}, {RULES[chosen.rule]}"


def _weight_files(folder: Path) -> str | CheckWarning:
    from kvl_eval.backends.fingerprint import weights_sha256

    weights = stored_weights(folder)
    paths = list(weights.paths)
    size = sum(path.stat().st_size for path in paths)
    text = f"{len(paths)} safetensors files, {size / 1e9:,.3f} GB, fingerprint {weights_sha256(paths)[:12]}"
    return CheckWarning(text, "\n".join(weights.notices)) if weights.notices else text


def _memory(folder: Path) -> str:
    """Room for the weights where a run with no options would put them."""
    import torch

    from kvl_eval.backends.fingerprint import value_count
    from kvl_eval.backends.model_weights import sizes_by_option
    from kvl_eval.model.memory import GIB, free_bytes, require_room

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = "float32" if device.type == "cpu" else architecture_of(folder).dtype(folder)
    try:
        paths = weight_files(folder)
        needed = value_count(paths) * getattr(torch, dtype).itemsize
    except CheckpointError:
        return "unknown, because the weight files cannot be read"
    if needed > free_bytes(device):
        require_room(needed, device, sizes_by_option(architecture_of(folder), folder, paths, device.type))
    return f"{needed / GIB:,.1f} GiB in {dtype} on {device}; {free_bytes(device) / GIB:,.1f} GiB are available"


def _fields(folder: Path) -> str | CheckWarning:
    """Fields of config.json that are not read, and absent ones with their value."""
    return architecture_of(folder).field_notes(read_json(folder / "config.json")).as_check()


def _stops(folder: Path) -> str:
    """Ids that end a reply, of config.json, generation_config.json and the tokenizer."""
    return ", ".join(map(str, architecture_of(folder).stop_ids(folder)))


def _foreign_code(folder: Path) -> str:
    code = sorted(path.name for path in folder.glob("*.py"))
    return f"{', '.join(code)}: never run; the bundled implementation is used" if code else "none"


def _unknown_architecture(folder: Path) -> str:
    """Raises: CheckpointError, which says what is wrong with `config.json`."""
    return architecture_of(folder).model_type


OWN: Mapping[str, Check] = {
    "fields": _fields,
    "weight files": _weight_files,
    "memory": _memory,
    "stops": _stops,
    "foreign code": _foreign_code,
}
ORDER = (
    *("config", "fields", "weight files", "tensors", "memory"),
    *("tokenizer", "stops", "processor", "chat template", "foreign code"),
)
"""The checks of this module, and those of the architecture."""
