"""Forms of a checkpoint that the bundled engine does not run, each named in one sentence. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from kvl_eval.errors import CheckpointError
from kvl_eval.model.files import require_file
from kvl_eval.model.weight_files import PICKLES

GGUF_FIX = "serve it: `llama-server -m X.gguf --mmproj Y.gguf`, then use --model endpoint"


def refuse_form(folder: Path) -> None:
    """Raise CheckpointError `model.form` where a folder holds a model in another form than a whole float checkpoint."""
    names = sorted(path.name for path in folder.glob("*.gguf"))
    if names and not any(folder.glob("*.safetensors")):
        raise _gguf(names[0], folder)


def file_refusal(path: Path) -> CheckpointError:
    """The error for a path that exists and is no folder: what kind of file it is, and what to name instead."""
    try:
        require_file(path)
        with path.open("rb") as file:
            magic = file.read(4)
    except CheckpointError as error:
        return error
    except OSError as error:
        return CheckpointError("model.file", f"{path.name} cannot be read: {error.strerror}", where=str(path.parent))
    if magic == b"GGUF" or path.suffix == ".gguf":
        return _gguf(path.name, path.parent)
    if path.suffix == ".safetensors":
        return _refusal(path, "is one weight file, a model is a folder", f"name its folder: {path.parent}")
    if path.suffix.lstrip(".") in PICKLES:
        return _refusal(
            path, "is a file of pickled weights, which are never read", "use safetensors, and name a folder"
        )
    if magic[:2] == b"PK":
        return _refusal(path, "is a zip archive, a model is a folder", "unpack it, and name the folder")
    return _refusal(path, "is a file, a model is a folder", f"name a folder: {path.parent}")


def _refusal(path: Path, kind: str, fix: str) -> CheckpointError:
    return CheckpointError("model.form", f"{path.name} {kind}", where=str(path), fix=fix)


def _gguf(name: str, folder: Path) -> CheckpointError:
    return CheckpointError(
        "model.form",
        f"{name}: GGUF is llama.cpp's format, which the bundled engine does not read",
        where=str(folder),
        fix=GGUF_FIX,
    )
