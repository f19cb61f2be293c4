"""The options of `evaluate`, by name and type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

Texts = str | Sequence[str]
ByTask = str | Sequence[str] | Mapping[str, str]


class RunOptions(TypedDict, total=False):
    """Options of `kvl-eval run`, as text or typed values; None means not given."""

    limit: int | float | str | None
    sample_ids: Texts | None
    shard: str | Sequence[int] | None
    repeats: int | str | None
    seed: int | str | None
    split: ByTask | None
    prompt: ByTask | None
    prompt_file: str | Path | None
    prompt_text: str | None
    system_prompt: str | None
    data_dir: str | Path | Mapping[str, str] | None
    data_repo: ByTask | None
    data_version: ByTask | None
    max_new_tokens: int | str | Mapping[str, int] | None
    temperature: int | float | str | Mapping[str, float] | None
    top_p: int | float | str | Mapping[str, float] | None
    top_k: int | str | Mapping[str, int] | None
    protocol: str | None
    score_view: str | None
    thinking: str | None
    think_budget: int | str | Sequence[int | str] | None
    budget_policy: str | None
    answer_tokens: int | str | None
    output_dir: str | Path | None
    fail_on_error: int | float | str | None
    allow_partial_data: bool | None
    compress: bool | None
    judge: str | None
    judge_base_url: str | None
    judge_model: str | None
    judge_key_env: str | None
    judge_connections: int | str | None
    fields: Texts | Mapping[str, str] | None
    include_path: Texts | None
    model_args: Texts | Mapping[str, object] | None
    device: str | None
    dtype: str | None
    weights: str | None
    revision: str | None
    family: str | None
    offline: bool | None
    max_download: int | None
    batch_size: int | str | None
    kv_cache_gb: int | float | str | None
    cache_dir: str | Path | None
    no_cache: bool | None
    num_workers: int | str | None
    image_prep: str | None
    frames: int | str | None
    fps: int | float | str | None
    max_pixels: int | str | None
    max_image_pixels: int | str | None
    video_decoder: str | None
    blind: bool | None
    timeout: int | float | str | None
    base_url: str | None
    served_model: str | None
    api_key_env: str | None
    max_connections: int | str | None
    max_retries: int | str | None
    request_timeout: int | float | str | None
    num_replicas: int | str | None
    gpus_per_replica: int | float | str | None
    ray_address: str | None
