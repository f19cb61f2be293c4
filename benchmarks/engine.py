"""Asking the engine: a tiny random checkpoint whose thoughts end as often as wanted, or a trained one."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.torch_engine import TorchEngine
from kvl_eval.types import Completion, Generation, Message

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "tests" / "data" / "kimi_vl" / "tiny_checkpoint"
THINKING = ROOT / "kvl_eval" / "data" / "kimi-vl-nano-thinking"

Place = tuple[str, int, int | None]


@contextmanager
def random_checkpoint(stops: int = 0) -> Iterator[Path]:
    """The tiny checkpoint of the tests with `stops` further ids that end a text, so that lengths are geometric."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tiny"
        shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("chat_template*"))  # nothing to compare
        path = folder / "generation_config.json"
        path.chmod(0o644)
        path.write_text(json.dumps({"eos_token_id": [513, *range(200, 200 + stops)]}))
        yield folder


def engine(folder: Path | str, **settings: Any) -> TorchEngine:
    """An engine of one thread that prepares pictures in this process unless told otherwise."""
    arguments = {"num_workers": 0, "model_args": {"threads": 1}, **settings}
    return TorchEngine(folder, Settings.of(**arguments), name="tiny", family="kimi-vl-nano")


def questions(count: int, generation: Generation, *parts: Any, prefix: str = "") -> list[Request]:
    """`count` requests with a seed each."""
    message = (Message.user(*parts, "Think about it."),)
    return [
        Request(key=f"q/{number}", messages=message, generation=generation, seeds=(number,), prefix=prefix)
        for number in range(count)
    ]


def answers(backend: TorchEngine, requests: Iterable[Request]) -> dict[Place, Completion]:
    """Every completion, by request, repeat and budget."""

    async def collect() -> dict[Place, Completion]:
        return {(key, one.repeat, one.budget): one async for key, one in backend.generate(requests)}

    return asyncio.run(collect())


def texts(found: dict[Place, Completion]) -> dict[Place, str]:
    """What was written."""
    assert all(one.status == "ok" for one in found.values())
    return {place: one.raw_output for place, one in found.items()}


def default_model() -> str:
    """The demo model that thinks, where this version has it; else the one that does not."""
    return THINKING.name if THINKING.is_dir() else "kimi-vl-nano"


def options(tasks: Sequence[str], folder: str, **more: Any) -> dict[str, Any]:
    """Arguments of `kvl_eval.evaluate` for a run of its own in `folder`."""
    return {"tasks": list(tasks), "output_dir": folder, "split": "mini", **more}
