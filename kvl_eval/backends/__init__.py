"""Models by name. `MODELS` is the list; `make_backend` builds what answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kvl_eval.backends.base import Backend, EngineSettings, Settings, is_packed
from kvl_eval.backends.checkpoint import Checkpoint
from kvl_eval.errors import CheckpointError, ConfigError, EndpointError, UsageError, unknown
from kvl_eval.families import (
    CONFIG_KEY,
    DEMO_NOTE,
    CheckpointFacts,
    ChosenFamily,
    FamilyRule,
    ModelFamily,
    choose_family,
)
from kvl_eval.model.files import is_there, read_json
from kvl_eval.model.forms import refuse_format
from kvl_eval.model.generation_file import GenerationFile
from kvl_eval.model.kimi_vl.families import INSTRUCT, NANO, NANO_THINKING, OTHER, SCRIPTED, THINKING, THINKING_2506
from kvl_eval.model.processor_files import image_processor
from kvl_eval.model.registry import families, family_named

BUNDLED = Path(__file__).resolve().parent.parent / "data"


PEER = "hf:"  # models of any architecture, through transformers


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A name on the command line: what answers, where its checkpoint is, and its family where the name says it."""

    name: str
    location: str
    kind: Literal["checkpoint", "peer", "endpoint", "fake"] = "checkpoint"
    family: ModelFamily | None = None
    note: str = ""


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="kimi-vl-nano",
            location=str(BUNDLED / "kimi-vl-nano"),
            family=NANO,
            note=f"{DEMO_NOTE}: same architecture, trained on drawings; no download",
        ),
        ModelEntry(
            name="kimi-vl-nano-thinking",
            location=str(BUNDLED / "kimi-vl-nano-thinking"),
            family=NANO_THINKING,
            note="embedded demo that writes a thought first; temperature 0.8; no download",
        ),
        ModelEntry(
            name="kimi-vl-instruct",
            location="moonshotai/Kimi-VL-A3B-Instruct",
            family=INSTRUCT,
            note="16B parameters, 2.8B active; 33 GB of bf16 weights",
        ),
        ModelEntry(
            name="kimi-vl-thinking",
            location="moonshotai/Kimi-VL-A3B-Thinking",
            family=THINKING,
            note="writes a thought first; temperature 0.8",
        ),
        ModelEntry(
            name="kimi-vl-thinking-2506",
            location="moonshotai/Kimi-VL-A3B-Thinking-2506",
            family=THINKING_2506,
            note="pictures up to 3.2 million pixels; temperature 0.8",
        ),
        ModelEntry(
            name="endpoint",
            location="--base-url",
            kind="endpoint",
            note="whatever an OpenAI-compatible server serves; see docs/backends.md",
        ),
        ModelEntry(
            name="fake",
            location="built in",
            kind="fake",
            family=SCRIPTED,
            note="scripted answers, delays and failures, for tests",
        ),
    )
}


def resolve_model(name: str) -> ModelEntry:
    """The entry of a registered name, a checkpoint folder, a hub repo id (`owner/name`), or of either behind `hf:`.

    Raises: UsageError with the nearest names.
    """
    if name in MODELS:
        return MODELS[name]
    for entry in MODELS.values():
        if name == entry.location:
            return entry
    if name.startswith(PEER):
        location = name.removeprefix(PEER)
        return ModelEntry(name=Path(location).name, location=location, kind="peer")
    if is_there(Path(name)) or (name.count("/") == 1 and not name.startswith((".", "/", "~"))):
        label = Path(name).name if is_there(Path(name)) else name.split("/")[1]
        return ModelEntry(name=label, location=name)

    error = unknown("model", name, list(MODELS), "kvl-eval list models")
    raise UsageError(error.code, error.message, why=error.why, fix=f"{error.fix}, or give a folder or owner/name")


def family_of(model: str, settings: EngineSettings) -> ChosenFamily:
    """The family of what answers for a model name, and the rule that decided it.

    The JSON files of a repository are fetched. Raises: UsageError, for a model or a `settings.family` that nobody has;
    CheckpointError, for a checkpoint without a config.json that can be read.
    """
    entry, option = resolve_model(model), settings.family
    if option is not None:
        named = family_named(option)
        split = SCRIPTED.default_split if entry.kind == "fake" else named.default_split
        return ChosenFamily(replace(named, default_split=split), FamilyRule.OPTION)
    if entry.family is not None:
        return ChosenFamily(entry.family, FamilyRule.REGISTERED)
    if entry.kind != "checkpoint":
        return ChosenFamily(OTHER, FamilyRule.NONE)
    folder = Checkpoint(location=entry.location, settings=settings).folder(weights=False)
    facts = family_facts(folder)
    return choose_family(families(facts.model_type), entry.location, facts)


def family_facts(folder: Path) -> CheckpointFacts:
    """What the JSON files of a checkpoint folder say that can tell its family. Raises: CheckpointError."""
    refuse_format(folder)
    config = read_json(folder / "config.json")
    generation = GenerationFile.from_folder(folder)
    return CheckpointFacts(
        label=_text(config.get(CONFIG_KEY)),
        origin=_text(config.get("_name_or_path")),
        model_type=_text(config.get("model_type")),
        image_limit=_image_limit(folder),
        temperature=generation.sampling_temperature,
        max_new_tokens=generation.max_new_tokens or None,
    )


def _image_limit(folder: Path) -> int | None:
    """Most patches of an image; None where no file states it: who needs the file says what is wrong with it."""
    try:
        return _whole(image_processor(folder, ["in_token_limit"]).get("in_token_limit"))
    except CheckpointError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


BACKENDS = ("local", "vllm", "ray")
BUNDLED_ARGS = ("prefill_chunk", "page_size", "threads")  # of the bundled engine alone


@dataclass(frozen=True, slots=True)
class ChosenBackend:
    """What `--backend` comes to.

    Attributes:
        name:   one of BACKENDS.
        notice: what would be faster, in a line; None where nothing is known.
    """

    name: str
    notice: str | None = None


def chosen_backend(model: str, settings: Settings) -> ChosenBackend:
    """The backend asked for; `auto` is vLLM for a checkpoint of the hub, where CUDA is there and vLLM is found.

    Raises: UsageError, for a model or a backend that nobody has.
    """
    asked, engine = settings.cluster.backend, settings.engine
    if asked != "auto":
        if asked not in BACKENDS:
            raise unknown("backend", asked, ["auto", *BACKENDS], "kvl-eval run --help")
        return ChosenBackend(asked)
    entry = resolve_model(model)
    is_hub = entry.kind == "checkpoint" and not is_there(Path(entry.location))
    told = (
        any(name in BUNDLED_ARGS for name in engine.model_args)
        or engine.dtype == "float64"
        or is_packed(engine.weights)
    )
    if not is_hub or told or not (engine.device or "auto").startswith(("auto", "cuda")):
        return ChosenBackend("local")
    from kvl_eval.backends.vllm_installation import find_installation

    if not _has_cuda():
        return ChosenBackend("local")
    try:
        find_installation()
    except EndpointError as error:
        return ChosenBackend("local", f"vLLM would be faster on this card: {error.message} ({error.fix})")
    return ChosenBackend("vllm")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available() and torch.version.cuda is not None


def make_backend(name: str, settings: Settings, *, fetch: bool = True) -> Backend:
    """What answers for a model name; without `fetch` no weights are downloaded. Raises UsageError, CheckpointError."""
    entry = resolve_model(name)
    backend = chosen_backend(name, settings).name
    if is_packed(settings.engine.weights):
        _refuse_packed(entry, settings)
    if backend == "ray":
        return _ray_pool(name, settings)
    if backend == "vllm":
        return _managed_vllm(name, settings, fetch)
    if entry.kind == "fake":
        from kvl_eval.backends.fake import FakeBackend

        return FakeBackend(settings)
    if entry.kind == "endpoint":
        from kvl_eval.backends.endpoint import Endpoint

        return Endpoint(settings)
    if entry.kind == "peer":
        from kvl_eval.backends.transformers_peer import TransformersPeer

        return TransformersPeer(entry.location, settings, name=entry.name, fetch=fetch)
    from kvl_eval.backends.torch_engine import TorchEngine

    family = family_of(name, settings.engine).family.name
    return TorchEngine(entry.location, settings, name=entry.name, family=family, fetch=fetch)


def _managed_vllm(name: str, settings: Settings, fetch: bool) -> Backend:
    entry = resolve_model(name)
    if entry.kind not in ("checkpoint", "peer"):
        raise UsageError(
            "usage.backend",
            f"--backend vllm starts a server for a checkpoint, and {entry.name} is none",
            fix="leave --backend out" if entry.kind == "fake" else "leave --backend out: the server is running already",
        )
    from kvl_eval.backends.managed_vllm import ManagedVllm

    family = family_of(name, settings.engine).family.name
    return ManagedVllm(entry.location, settings, name=entry.name, family=family, fetch=fetch)


def _refuse_packed(entry: ModelEntry, settings: Settings) -> None:
    """Raise UsageError where `--weights` is said of a model that the bundled engine does not run."""
    others = {
        "endpoint": ("a server answers", "leave it out, or start the server with quantized weights"),
        "fake": ("a script answers", "leave it out"),
        "peer": ("transformers answers", "leave it out, or serve a quantized checkpoint and use --model endpoint"),
    }
    if settings.cluster.backend not in ("auto", "local", "ray"):
        others["checkpoint"] = (f"{settings.cluster.backend} answers", "leave it out, or name a quantized checkpoint")
    if entry.kind in others:
        who, fix = others[entry.kind]
        message = f"--weights {settings.engine.weights} is for the bundled engine, and here {who}"
        raise UsageError("usage.weights", message, fix=fix)


def _ray_pool(name: str, settings: Settings) -> Backend:
    try:
        from kvl_eval.backends.ray_pool import RayPool
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError(
            "ray.missing", "--backend ray needs Ray, which is not installed", fix="pip install 'kvl-eval[ray]'"
        ) from None
    return RayPool(make_backend, name, settings)
