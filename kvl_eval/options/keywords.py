"""The options of a run as keywords of Python functions: `def evaluate(**options: Unpack[RunOptions])`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

Texts = str | Sequence[str]


class RunOptions(TypedDict, total=False):
    """Options of `kvl-eval run`; values may also be the texts that the flags take. None: not given.

    `prompt_text` is the text itself, where `prompt_file` names a file. `max_download` is in bytes. `backend` is a
    parameter of its own, which may also be an object.
    """

    model_args: Texts | Mapping[str, str | int | float | bool | None] | None
    device: str | None
    dtype: str | None
    batch_size: int | str | None
    revision: str | None
    family: str | None
    weights: Literal["bf16", "int8", "int4"] | None
    split: str | Mapping[str, str] | None
    limit: int | float | str | None
    sample_ids: Texts | None
    data_dir: str | Path | Mapping[str, str | Path] | None
    fields: Texts | Mapping[str, str] | None
    offline: bool | None
    data_repo: Texts | Mapping[str, str] | None
    data_version: str | Mapping[str, str] | None
    allow_partial_data: bool | None
    cache_dir: str | Path | None
    no_cache: bool | None
    prompt: str | Mapping[str, str] | None
    system_prompt: str | None
    frames: int | None
    max_pixels: int | None
    blind: bool | None
    prompt_file: str | Path | None
    max_new_tokens: int | Mapping[str, int] | None
    temperature: float | Mapping[str, float] | None
    repeats: int | None
    seed: int | None
    think_budget: int | str | Sequence[int | str] | None
    budget_policy: Literal["cut", "force"] | None
    top_p: float | Mapping[str, float] | None
    top_k: int | Mapping[str, int] | None
    answer_tokens: int | None
    fps: float | None
    image_prep: Literal["reference", "vlmevalkit"] | None
    max_image_pixels: int | None
    video_decoder: Literal["auto", "pyav", "decord"] | None
    num_workers: int | None
    timeout: float | None
    max_steps: int | None
    provider: Literal["drawn", "xvfb", "docker"] | None
    desktops: int | None
    base_url: str | None
    served_model: str | None
    api_key_env: str | None
    max_connections: int | None
    protocol: str | None
    judge: Literal["endpoint", "none"] | None
    judge_base_url: str | None
    judge_model: str | None
    judge_key_env: str | None
    output_dir: str | Path | None
    fail_on_error: int | float | str | None
    score_view: Literal["answer", "raw"] | None
    shard: str | tuple[int, int] | None
    num_replicas: int | None
    compress: bool | None
    kv_cache_gb: float | None
    max_retries: int | None
    request_timeout: float | None
    judge_connections: int | None
    gpus_per_replica: float | None
    ray_address: str | None
    prompt_text: str | None
    max_download: int | None
