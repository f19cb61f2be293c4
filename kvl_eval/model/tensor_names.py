"""Names of tensors: as published, or in one of the forms that other tools write. Imports no torch.

A checkpoint fits if one naming of a fixed table makes all names and shapes those of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.weight_files import StoredTensor, WeightFiles

WRAPPERS = ("base_model.model.", "module.", "_orig_mod.")  # of PEFT, of data parallel training, of torch.compile
TABLES = ("rotary_emb.inv_freq", "cos_cached", "sin_cached")  # that old checkpoints carry along
FLOAT_FORMATS = ("F32", "BF16", "F16", "F64")
STACKED = (".experts.gate_up_proj", ".experts.down_proj")
SHOWN, SHOWN_OF_EACH = 20, 8  # names that an error lists: of the only kind, of each of several

Shape = tuple[int, ...]
Slots = Callable[[Container[str]], Mapping[str, Shape]]
"""Shapes of a model's tensors, experts stacked where a name has that form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """One way to name a model's tensors: (beginning as written, beginning as published), the first that fits."""

    name: str
    beginnings: tuple[tuple[str, str], ...] = ()

    def published(self, name: str) -> str:
        """The published name of a tensor."""
        for written, published in self.beginnings:
            if name.startswith(written):
                return published + name.removeprefix(written)
        return name


PUBLISHED = Naming(name="published names")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRules:
    """How the tensors of an architecture may be named in files.

    Attributes:
        namings: in the order in which they are tried.
        unread:  beginnings of published names that the model does not read.
        tied:    (output head, embedding table), which are one and the same.
        experts: routed experts of a layer, which may be stacked.
    """

    namings: tuple[Naming, ...] = (PUBLISHED,)
    unread: tuple[str, ...] = ()
    tied: tuple[str, str] | None = None
    experts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Tensors of a checkpoint by their names in the model.

    Attributes:
        form:    how the files name them, where not as published.
        twins:   a tied head of its own in the files, and the embedding table: they must be equal.
        notices: what is not used, in sentences.
    """

    tensors: Mapping[str, StoredTensor]
    form: str | None = None
    twins: tuple[StoredTensor, StoredTensor] | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FittedNames:
    """The tensors under one naming, and what of the model they do not fit."""

    naming: Naming
    tensors: Mapping[str, StoredTensor]
    unread: Sequence[str]
    twice: Sequence[tuple[StoredTensor, StoredTensor]]
    twins: tuple[StoredTensor, StoredTensor] | None
    slots: Mapping[str, Shape]

    @property
    def missing(self) -> list[str]:
        return sorted(self.slots.keys() - self.tensors.keys())

    @property
    def unexpected(self) -> list[str]:
        return sorted(self.tensors.keys() - self.slots.keys())

    @property
    def wrong(self) -> list[str]:
        """Names of tensors of another shape, or of no floats."""
        return [
            name
            for name in sorted(self.slots.keys() & self.tensors.keys())
            if self.tensors[name].shape != self.slots[name] or self.tensors[name].dtype not in FLOAT_FORMATS
        ]

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.wrong) + len(self.twice)


def fitted(folder: Path, weights: WeightFiles, rules: NameRules, slots: Slots) -> Fit:
    """The tensors of a folder by their names in the model.

    Raises: CheckpointError, listing every missing, unexpected and mis-shaped tensor of the closest naming.
    """
    candidates = []
    for naming in rules.namings:
        candidates.append(_named(weights.tensors, naming, rules, slots))
        if candidates[-1].faults == 0:
            break
    best = min(candidates, key=lambda candidate: candidate.faults)
    if best.twice:
        first, second = best.twice[0]
        raise CheckpointError(
            "model.duplicate",
            f"{first.name} in {first.file.name} and {second.name} in {second.file.name} are the same tensor",
            where=str(folder),
            fix="keep one of the two sets of weights",
        )
    if best.faults:
        raise _no_fit(folder, best)
    notices = [f"{len(best.unread):,} tensors are not used, the first one is {best.unread[0]}"] if best.unread else []
    return Fit(
        tensors=best.tensors,
        form=_form(best, weights.tensors),
        twins=best.twins,
        notices=(*weights.notices, *notices),
    )


def bare(name: str) -> str:
    """A name without what training tools put in front of it."""
    while name.startswith(WRAPPERS):
        name = next(name.removeprefix(wrapper) for wrapper in WRAPPERS if name.startswith(wrapper))
    return name.replace("._orig_mod.", ".")


def _named(stored: Mapping[str, StoredTensor], naming: Naming, rules: NameRules, slots: Slots) -> _FittedNames:
    tensors: dict[str, StoredTensor] = {}
    unread, twice = [], []
    for written, tensor in stored.items():
        name = naming.published(bare(written))
        if name.endswith(TABLES):
            continue
        if name.startswith(rules.unread):
            unread.append(written)
        elif name in tensors:
            twice.append((tensors[name], tensor))
        else:
            tensors[name] = tensor
    expected = slots(tensors.keys())
    twins = None
    if rules.tied is not None and rules.tied[1] in tensors:
        head, table = rules.tied
        twins = (tensors[head], tensors[table]) if head in tensors else None
        if head in expected:
            tensors.setdefault(head, tensors[table])
        else:
            tensors.pop(head, None)
    return _FittedNames(naming, tensors, unread, twice, twins, expected)


def _form(best: _FittedNames, stored: Iterable[str]) -> str | None:
    """How files name tensors, in words; None for the published form."""
    names = list(stored)
    parts = [best.naming.name] if best.naming is not PUBLISHED else []
    parts += [f"{wrapper} removed" for wrapper in WRAPPERS if any(wrapper in name for name in names)]
    parts += ["stacked experts"] if any(name.endswith(STACKED) for name in names) else []
    return ", ".join(parts) or None


def _no_fit(folder: Path, best: _FittedNames) -> CheckpointError:
    """One error that lists every missing, unexpected and mis-shaped tensor."""
    slots, tensors = best.slots, best.tensors
    missing = [f"{name} {list(slots[name])}" for name in best.missing]
    unexpected = [f"{name} {list(tensors[name].shape)}" for name in best.unexpected]
    wrong = [
        f"{name}: expected {list(slots[name])} float, found {list(tensors[name].shape)} {tensors[name].dtype}"
        for name in best.wrong
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "mis-shaped": wrong}
    most = SHOWN if sum(map(bool, kinds.values())) == 1 else SHOWN_OF_EACH
    listed = [line for title, names in kinds.items() for line in _listed(title, names, most)]
    return CheckpointError(
        "model.tensors",
        f"{len(missing)} tensors missing, {len(unexpected)} unexpected, {len(wrong)} with the wrong shape, "
        f"of {len(slots)}",
        where=str(folder),
        why="\n".join([f"no known naming scheme matches; the closest are the {best.naming.name}:", *listed]),
        fix="use config.json and weights of one checkpoint",
    )


def _listed(title: str, names: Sequence[str], most: int) -> list[str]:
    shown = [f"{title}: {name}" for name in names[:most]]
    return [*shown, f"{title}: and {len(names) - most} more"] if len(names) > most else shown
