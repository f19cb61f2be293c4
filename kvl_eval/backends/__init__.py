"""Models by name. `MODELS` is the list; `make_backend` builds what answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kvl_eval.backends.base import Backend, Settings
from kvl_eval.errors import ConfigError, UsageError, unknown

BUNDLED = Path(__file__).resolve().parent.parent / "data"


PEER = "hf:"  # models of any architecture, through transformers


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A name on the command line: where its checkpoint is, and which generation defaults it takes."""

    name: str
    location: str
    family: str
    note: str


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="kimi-vl-nano",
            location=str(BUNDLED / "kimi-vl-nano"),
            family="nano",
            note="embedded demo, not Kimi-VL-A3B: same architecture, trained on drawings; no download",
        ),
        ModelEntry(
            name="kimi-vl-nano-thinking",
            location=str(BUNDLED / "kimi-vl-nano-thinking"),
            family="nano-thinking",
            note="embedded demo that writes a thought first; temperature 0.8; no download",
        ),
        ModelEntry(
            name="kimi-vl-instruct",
            location="moonshotai/Kimi-VL-A3B-Instruct",
            family="instruct",
            note="16B parameters, 2.8B active; 33 GB of bf16 weights",
        ),
        ModelEntry(
            name="kimi-vl-thinking",
            location="moonshotai/Kimi-VL-A3B-Thinking",
            family="thinking",
            note="writes a thought first; temperature 0.8",
        ),
        ModelEntry(
            name="kimi-vl-thinking-2506",
            location="moonshotai/Kimi-VL-A3B-Thinking-2506",
            family="thinking-2506",
            note="pictures up to 3.2 million pixels; temperature 0.8",
        ),
        ModelEntry(
            name="endpoint",
            location="--base-url",
            family="endpoint",
            note="whatever an OpenAI-compatible server serves; see docs/backends.md",
        ),
        ModelEntry(
            name="fake", location="built in", family="fake", note="scripted answers, delays and failures, for tests"
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
        return ModelEntry(name=Path(location).name, location=location, family="peer", note="")
    if Path(name).is_dir() or (name.count("/") == 1 and not name.startswith((".", "/", "~"))):
        label = Path(name).name if Path(name).is_dir() else name.split("/")[1]
        return ModelEntry(name=label, location=name, family=_family(label), note="")

    error = unknown("model", name, list(MODELS), "kvl-eval list models")
    raise UsageError(error.code, error.message, why=error.why, fix=f"{error.fix}, or give a folder or owner/name")


def _family(label: str) -> str:
    lowered = label.lower()
    if "nano" in lowered:
        return "nano-thinking" if "thinking" in lowered else "nano"
    if "thinking" in lowered:
        return "thinking-2506" if "2506" in lowered else "thinking"
    return "instruct"


def make_backend(name: str, settings: Settings, *, fetch: bool = True) -> Backend:
    """What answers for a model name; without `fetch` no weights are downloaded. Raises UsageError, CheckpointError."""
    entry = resolve_model(name)
    if settings.backend == "ray":
        return _ray_pool(name, settings)
    if settings.backend != "local":
        raise unknown("backend", settings.backend, ["local", "ray"], "kvl-eval run --help")
    if entry.family == "fake":
        from kvl_eval.backends.fake import FakeBackend

        return FakeBackend(settings)
    if entry.family == "endpoint":
        from kvl_eval.backends.endpoint import Endpoint

        return Endpoint(settings)
    if entry.family == "peer":
        from kvl_eval.backends.transformers_peer import TransformersPeer

        return TransformersPeer(entry.location, settings, name=entry.name, fetch=fetch)
    from kvl_eval.backends.torch_engine import TorchEngine

    return TorchEngine(entry.location, settings, name=entry.name, family=entry.family, fetch=fetch)


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
