"""The options that a vLLM server gets: what the user asked for, what the plan needs, what the machine has."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.backends.base import EngineSettings, ServerNeeds
from kvl_eval.backends.vllm_host import SERVED_NAME
from kvl_eval.backends.vllm_installation import Installation
from kvl_eval.backends.vllm_server import START_SECONDS
from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError, unknown
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN

MODEL_ARGS = ("vllm_args", "start_timeout", "budget")
DTYPES = ("float32", "bfloat16", "float16")
OURS = ("--host", "--port", "--api-key", "--served-model-name", "--trust-remote-code", "--uds", "--config", "--model")
ROWS, ROWS_CPU = 256, 16  # sequences at once
MANY_IMAGES = 256  # where a plan cannot tell how many images a prompt has
SPARE = 256  # tokens of a chat template
STEP = 256  # the context is a multiple of it
SHARE = 0.7  # of a card's memory that weights may take, for the model to fit on one
CPU_CACHE = 4  # GiB of a cache on the CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmArgs:
    """The model arguments of `--backend vllm`.

    Attributes:
        extra:    `vllm_args`, as words.
        patience: `start_timeout`, in seconds.
        endpoint: those that say how the server is asked.
    """

    extra: tuple[str, ...] = ()
    patience: float = START_SECONDS
    endpoint: Mapping[str, Json]


def vllm_args(values: Mapping[str, Json]) -> VllmArgs:
    """The model arguments, checked. Raises: ConfigError; UsageError, for one that there is not."""
    for name in values:
        if name not in MODEL_ARGS:
            raise unknown("model argument", name, MODEL_ARGS, "docs/backends.md")
    rest = {name: value for name, value in values.items() if name not in ("vllm_args", "start_timeout")}
    patience = values.get("start_timeout", START_SECONDS)
    if isinstance(patience, bool) or not isinstance(patience, int | float) or patience <= 0:
        message = f"start_timeout must be a positive number of seconds, got {patience!r}"
        raise ConfigError("config.model_args", message, fix="use for example -a start_timeout=1800")
    try:
        extra = tuple(shlex.split(str(values.get("vllm_args") or "")))
    except ValueError as error:
        fix = "quote it as in a shell"
        raise ConfigError("config.model_args", "invalid vllm_args", why=str(error), fix=fix) from None
    for word in extra:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and any(name == own or (len(name) > 4 and own.startswith(name)) for own in OURS):
            raise ConfigError(
                "config.model_args",
                f"vllm_args must not contain {name}",
                why="kvl-eval sets the address, key, name and checkpoint of its server, and never runs code from "
                "checkpoints",
                fix="start a server yourself and use --model endpoint",
            )
    return VllmArgs(extra=extra, patience=float(patience), endpoint=rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What options depend on of a checkpoint.

    Attributes:
        dtype:        its own, as torch names it.
        context:      most tokens of prompt and answer; None where unknown.
        image_tokens: most tokens of an image; None where unknown.
        bytes:        of the weights.
        is_latent:    whether attention works on latents (MLA).
        think:        the markers of a thought.
    """

    dtype: str
    context: int | None = None
    image_tokens: int | None = None
    bytes: int = 0
    is_latent: bool = False
    think: tuple[str, str] = (THINK_OPEN, THINK_CLOSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of `vllm serve`, and what of them can change an answer.

    Attributes:
        words:       all but address, checkpoint and `--trust-remote-code`.
        numerical:   the ones that can change an answer, dtype aside.
        dtype:       of the computation.
        environment: variables of the server.
    """

    words: tuple[str, ...]
    numerical: tuple[str, ...]
    dtype: str
    environment: Mapping[str, str]


def server_options(
    installation: Installation, settings: EngineSettings, args: VllmArgs, model: ServedModel, needs: ServerNeeds
) -> ServerOptions:
    """The options for a plan. Raises: ConfigError, for settings that vLLM does not have."""
    dtype = _dtype(installation, settings, model)
    rows = settings.batch_size or (ROWS_CPU if installation.is_cpu else ROWS)
    images = MANY_IMAGES if needs.images is None else max(1, needs.images)
    context = _context(model, needs)
    kernels = _kernels(installation, model, dtype)
    numerical = (*kernels, *_thinking(args, model), *args.extra)
    words = (
        *("--served-model-name", SERVED_NAME, "--dtype", dtype),
        *(("--max-model-len", str(context)) if context else ()),
        *("--limit-mm-per-prompt", json.dumps({"image": images})),
        *("--max-logprobs", "20", "--max-num-seqs", str(rows)),
        *("--seed", str(needs.seed & 0x7FFF_FFFF), "--generation-config", "vllm"),
        *(() if installation.is_cpu else _cards(model, visible_cards(_chosen_device(settings)))),
        *numerical,
    )
    return ServerOptions(
        words=words, numerical=numerical, dtype=dtype, environment=_environment(installation, settings)
    )


def _dtype(installation: Installation, settings: EngineSettings, model: ServedModel) -> str:
    if settings.dtype is not None and settings.dtype not in DTYPES:
        raise ConfigError("config.dtype", f"vLLM does not support {settings.dtype}", fix=f"--dtype {'|'.join(DTYPES)}")
    return settings.dtype or ("float32" if installation.is_cpu else model.dtype)


def _context(model: ServedModel, needs: ServerNeeds) -> int | None:
    """Tokens that hold the longest prompt of the plan and its answer; the model's own where that is unknown or less."""
    if needs.text is None or needs.images is None or model.image_tokens is None:
        return model.context
    wanted = needs.text + needs.images * (model.image_tokens + 8) + needs.answer + SPARE
    wanted = -(-wanted // STEP) * STEP
    return wanted if model.context is None else min(wanted, model.context)


def _kernels(installation: Installation, model: ServedModel, dtype: str) -> tuple[str, ...]:
    """What a CPU needs for right results: a rotary kernel turns only part of the query heads there."""
    if not installation.is_cpu:
        return ()
    attention = ("--attention-backend", "CPU_MLA") if model.is_latent and dtype == "float32" else ()  # AMX: no float32
    custom = json.dumps({"custom_ops": ["all", "-rotary_embedding"]})
    return ("--enforce-eager", *attention, "--compilation-config", custom)


def _thinking(args: VllmArgs, model: ServedModel) -> tuple[str, ...]:
    if args.endpoint.get("budget") != "thinking_token_budget":
        return ()
    opener, closer = model.think
    markers = {"reasoning_start_str": opener, "reasoning_end_str": closer}
    return ("--reasoning-config", json.dumps(markers, ensure_ascii=False))


def _environment(installation: Installation, settings: EngineSettings) -> dict[str, str]:
    device = _chosen_device(settings)
    chosen = {"CUDA_VISIBLE_DEVICES": device} if device is not None else {}
    if not installation.is_cpu:
        if settings.kv_cache_gb is not None:
            raise ConfigError(
                "config.kv_cache_gb",
                "--kv-cache-gb is not supported by vLLM, which uses a share of the GPU memory",
                fix="use -a vllm_args='--gpu-memory-utilization 0.8'",
            )
        return chosen
    room = CPU_CACHE if settings.kv_cache_gb is None else max(1, round(settings.kv_cache_gb))
    threads = os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    return {"VLLM_CPU_KVCACHE_SPACE": str(room), "VLLM_CPU_OMP_THREADS_BIND": threads}


def _chosen_device(settings: EngineSettings) -> str | None:
    """The cards that `--device cuda:N` means, or None. Raises: ConfigError, for another kind of device."""
    device = settings.device
    if device in (None, "auto", "cuda", "cpu"):
        return None
    kind, _, number = str(device).partition(":")
    if kind != "cuda" or not number.isdecimal():
        raise ConfigError(
            "config.device", f"--backend vllm cannot use {device}", fix="use --device cuda:N or remove --device"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    listed = [name.strip() for name in visible.split(",") if name.strip()]
    return listed[int(number)] if int(number) < len(listed) else number


def visible_cards(chosen: str | None = None) -> list[int]:
    """Memory of each NVIDIA card that the server will see, in bytes; empty where there is none or it is unknown."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    seen = chosen if chosen is not None else os.environ.get("CUDA_VISIBLE_DEVICES")
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits", *(["-i", seen] if seen else [])]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) * 2**20 for line in asked.stdout.split() if line.isdecimal()]


def _cards(model: ServedModel, cards: Sequence[int]) -> tuple[str, ...]:
    """A copy of the model on each card, or parts of it on as many as it needs, a power of two."""
    if len(cards) < 2:
        return ()
    parts = 1
    while parts * 2 <= len(cards) and model.bytes > SHARE * parts * min(cards):
        parts *= 2
    copies = len(cards) // parts
    split = ("--tensor-parallel-size", str(parts)) if parts > 1 else ()
    return (*split, *(("--data-parallel-size", str(copies)) if copies > 1 else ()))
