"""Settings of one backend, given as `--model-args KEY=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE, SERVER, JUDGE, VLLM, RAY, FAKE = "bundled engine", "server", "judge", "vllm", "ray", "fake"


@dataclass(frozen=True, slots=True)
class ModelArgument:
    """A key, what reads it, what its value is called, and what it does."""

    name: str
    backend: str
    metavar: str
    help: str


ARGUMENTS = (
    ModelArgument("prefill_chunk", ENGINE, "N", "prompt tokens per step"),
    ModelArgument("page_size", ENGINE, "N", "tokens per page of the KV cache"),
    ModelArgument("threads", ENGINE, "N", "threads on a CPU"),
    ModelArgument("kv_cache_gb", ENGINE, "X", "size of the KV cache in GiB"),
    ModelArgument("max_retries", SERVER, "N", "retries per request [default: 5]"),
    ModelArgument("request_timeout", SERVER, "X", "seconds per attempt [default: 600]"),
    ModelArgument("budget", SERVER, "NAME", "tokens or thinking_token_budget"),
    ModelArgument("limit_field", SERVER, "NAME", "max_tokens or max_completion_tokens"),
    ModelArgument("omit", SERVER, "NAME+NAME", "fields that are not sent"),
    ModelArgument("checkpoint", SERVER, "NAME", "the checkpoint that it serves"),
    ModelArgument("judge_connections", JUDGE, "N", "requests at a time [default: 8]"),
    ModelArgument("vllm_args", VLLM, "TEXT", "options of 'vllm serve'"),
    ModelArgument("start_timeout", VLLM, "X", "seconds until the server answers"),
    ModelArgument("gpus_per_replica", RAY, "X", "GPUs per replica [default: 0]"),
    ModelArgument("ray_address", RAY, "HOST:PORT", "a running cluster"),
    ModelArgument("answers", FAKE, "TEXT", "what is answered"),
    ModelArgument("think", FAKE, "N", "tokens of the thought"),
    ModelArgument("delay", FAKE, "X", "seconds per answer"),
    ModelArgument("jitter", FAKE, "X", "share by which the delay varies"),
    ModelArgument("concurrency", FAKE, "N", "answers at a time"),
    ModelArgument("fail", FAKE, "TEXT", "scripted failures"),
)
