"""What a model name that is not one of ours stands for, and the options that evaluate that model."""

from __future__ import annotations

from collections.abc import Sequence

from kvl_eval.errors import UsageError, unknown
from kvl_eval.names import folded, suggestions
from kvl_eval.printable import one_line

LISTING = "kvl-eval list models"
SERVER = "--model endpoint --base-url http://HOST:PORT/v1"
REPOSITORIES = (
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Qwen/Qwen2.5-VL-3B-Instruct",
    "Qwen/Qwen2.5-VL-32B-Instruct",
    "Qwen/Qwen2.5-VL-72B-Instruct",
    "Qwen/Qwen2-VL-7B-Instruct",
    "Qwen/Qwen2-VL-2B-Instruct",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-4B-Instruct",
    "OpenGVLab/InternVL3-8B-hf",
    "llava-hf/llava-1.5-7b-hf",
    "llava-hf/llava-onevision-qwen2-7b-ov-hf",
    "mistral-community/pixtral-12b",
    "google/gemma-3-4b-it",
    "google/gemma-3-12b-it",
    "HuggingFaceTB/SmolVLM-Instruct",
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
    "HuggingFaceM4/Idefics3-8B-Llama3",
    "meta-llama/Llama-3.2-11B-Vision-Instruct",
    "zai-org/GLM-4.1V-9B-Thinking",
)
"""Repositories that short names such as `qwen2.5-vl-7b` mean; of several the first."""
SHORTEST = 6  # letters and digits of a short name
KEYS = {
    "gpt-": "OPENAI_API_KEY",
    "chatgpt": "OPENAI_API_KEY",
    "o1": "OPENAI_API_KEY",
    "o3": "OPENAI_API_KEY",
    "o4": "OPENAI_API_KEY",
    "claude": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "grok": "XAI_API_KEY",
}
"""{beginning of the name of a model behind an API: the variable that usually holds its key}."""
NOT_SERVED = ("gpt-oss", "gpt-neo", "gpt-j")  # checkpoints, whatever they begin with
PROVIDERS = ("openai", "anthropic", "google", "grok", "azureai")  # of inspect's names for models behind an API
SERVERS = ("vllm", "sglang", "ollama", "openai_compatible", "local-chat-completions", "local-completions")
"""Model types of other harnesses that are servers."""


def foreign_model(name: str) -> UsageError | None:
    """The error of a name that is another harness's for a model, such as `openai/gpt-4o`; None for any other."""
    provider, _, rest = name.partition("/")
    if provider == "hf" and rest.count("/") == 1:
        return _unknown(name, "hf/OWNER/NAME is inspect's form", f"--model hf:{rest}")
    if provider in SERVERS:
        lines = [f"--model endpoint --base-url URL{f' --served-model {rest}' if rest else ''}"]
        if provider == "vllm" and rest.count("/") == 1:
            lines.append(f"--model {rest} --backend vllm")
        return _unknown(name, "a server is named by its URL", *lines)
    served = rest if provider in PROVIDERS else name
    if (provider == "anthropic" and rest) or _key(served):
        key = _key(served) or KEYS["claude"]
        fix = f"--model endpoint --base-url URL --served-model {served} --api-key-env {key}"
        return _unknown(name, "a model behind an API needs an OpenAI-compatible URL", fix)
    return None


def unknown_model(name: str, known: Sequence[str]) -> UsageError:
    """The error of a name that is not a known model, a folder or `owner/name`."""
    if name.startswith((".", "/", "~")):
        return _unknown(name, "there is no such folder", LISTING)
    if suggestions(name, known):
        return unknown("model", name, known, LISTING)
    fixes = (f"--model hf:{_repository(name)}", f"{SERVER}   (faster)")
    return _unknown(name, "only kimi-vl-* is built in; others need transformers or a server", *fixes)


def _unknown(name: str, why: str, *fixes: str) -> UsageError:
    return UsageError("usage.model", f"unknown model {one_line(repr(name))}", why=why, fix="\n".join(fixes))


def _key(name: str) -> str | None:
    """The variable of the key of a model behind an API; None where the name is not one of an API."""
    lower = name.lower()
    if "/" in lower or lower.startswith(NOT_SERVED):
        return None
    return next((key for beginning, key in KEYS.items() if lower.startswith(beginning)), None)


def _repository(name: str) -> str:
    short = folded(name)
    matching = (repo for repo in REPOSITORIES if folded(repo.partition("/")[2]).startswith(short))
    return next(matching, "OWNER/NAME") if len(short) >= SHORTEST else "OWNER/NAME"
