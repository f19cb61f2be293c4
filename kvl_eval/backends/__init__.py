"""Models by name. `MODELS` lists them; `make_backend` builds a backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kvl_eval.backends.base import Backend, EngineSettings, Settings, is_packed
from kvl_eval.backends.checkpoint import Checkpoint
from kvl_eval.backends.model_names import foreign_model, unknown_model
from kvl_eval.errors import CheckpointError, ConfigError, EndpointError, UsageError, unknown
from kvl_eval.families import (
    CONFIG_KEY,
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
    """A model name: the kind of its backend, the place of its checkpoint, and its family where the name decides it."""

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
            note="demo model, 5M parameters, bundled",
        ),
        ModelEntry(
            name="kimi-vl-nano-thinking",
            location=str(BUNDLED / "kimi-vl-nano-thinking"),
            family=NANO_THINKING,
            note="demo model, 5M parameters, bundled; writes a thought first; temperature 0.8",
        ),
        ModelEntry(
            name="kimi-vl-instruct",
            location="moonshotai/Kimi-VL-A3B-Instruct",
            family=INSTRUCT,
            note="16B parameters, 2.8B active; 33 GB of bfloat16 weights",
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
            note="writes a thought first; images up to 3.2 million pixels; temperature 0.8",
        ),
        ModelEntry(
            name="endpoint",
            location="--base-url",
            kind="endpoint",
            note="any OpenAI-compatible server; see docs/backends.md",
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
    """The entry of a registered name, a checkpoint folder, `owner/name` of the Hub, or of the last two behind `hf:`.

    Raises: UsageError `usage.model`.
    """
    if name in MODELS:
        return MODELS[name]
    for entry in MODELS.values():
        if name == entry.location:
            return entry
    if name.startswith(PEER):
        location = name.removeprefix(PEER)
        return ModelEntry(name=Path(location).name, location=location, kind="peer")
    if is_there(Path(name)):
        return ModelEntry(name=Path(name).name, location=name)
    if (error := foreign_model(name)) is not None:
        raise error
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return ModelEntry(name=name.split("/")[1], location=name)
    raise unknown_model(name, list(MODELS))


def family_of(model: str, settings: EngineSettings) -> ChosenFamily:
    """The family of a model, and the rule that decided it.

    The JSON files of a repository are fetched. Raises: UsageError for an unknown model or `settings.family`;
    CheckpointError for a checkpoint without a readable config.json.
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
    """The facts in the JSON files of a checkpoint folder that can decide its family. Raises: CheckpointError."""
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
    """Maximum number of patches per image; None where no readable file states it."""
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
    """The backend that `--backend` selects.

    Attributes:
        name:   one of BACKENDS.
        notice: one line about a faster backend; None without one.
    """

    name: str
    notice: str | None = None


def chosen_backend(model: str, settings: Settings) -> ChosenBackend:
    """The backend of the settings; `auto` is vLLM for a checkpoint of the Hub if CUDA and vLLM are available.

    Raises: UsageError for an unknown model or backend.
    """
    name, engine = settings.cluster.backend, settings.engine
    if name != "auto":
        if name not in BACKENDS:
            raise unknown("backend", name, ["auto", *BACKENDS], "kvl-eval run --help")
        return ChosenBackend(name)
    entry = resolve_model(model)
    is_hub = entry.kind == "checkpoint" and not is_there(Path(entry.location))
    needs_bundled = (
        any(argument in BUNDLED_ARGS for argument in engine.model_args)
        or engine.dtype == "float64"
        or is_packed(engine.weights)
    )
    if not is_hub or needs_bundled or not (engine.device or "auto").startswith(("auto", "cuda")):
        return ChosenBackend("local")
    from kvl_eval.backends.vllm_installation import find_installation

    if not _has_cuda():
        return ChosenBackend("local")
    try:
        find_installation()
    except EndpointError as error:
        return ChosenBackend("local", f"vLLM would be faster on this GPU: {error.message} ({error.fix})")
    return ChosenBackend("vllm")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available() and torch.version.cuda is not None


def make_backend(name: str, settings: Settings, *, fetch: bool = True) -> Backend:
    """The backend of a model; without `fetch` no weights are downloaded. Raises: UsageError, CheckpointError."""
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
            f"--backend vllm needs a checkpoint, got --model {entry.name}",
            fix="omit --backend" if entry.kind == "fake" else "omit --backend: the server is running already",
        )
    from kvl_eval.backends.managed_vllm import ManagedVllm

    family = family_of(name, settings.engine).family.name
    return ManagedVllm(entry.location, settings, name=entry.name, family=family, fetch=fetch)


def _refuse_packed(entry: ModelEntry, settings: Settings) -> None:
    """Raise UsageError for `--weights` with a model that the bundled engine does not run."""
    others = {
        "endpoint": ("a server", "omit --weights, or start the server with quantized weights"),
        "fake": ("the fake backend", "omit --weights"),
        "peer": ("transformers", "omit --weights, or serve a quantized checkpoint and use --model endpoint"),
    }
    if settings.cluster.backend not in ("auto", "local", "ray"):
        others["checkpoint"] = (settings.cluster.backend, "omit --weights, or name a quantized checkpoint")
    if entry.kind in others:
        backend, fix = others[entry.kind]
        message = f"--weights {settings.engine.weights} needs the bundled engine, but this model runs on {backend}"
        raise UsageError("usage.weights", message, fix=fix)


def _ray_pool(name: str, settings: Settings) -> Backend:
    try:
        from kvl_eval.backends.ray_pool import RayPool
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        message = "--backend ray needs Ray, which is not installed"
        raise ConfigError("ray.missing", message, fix="pip install 'kvl-eval[ray]'") from None
    return RayPool(make_backend, name, settings)
