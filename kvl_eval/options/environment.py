"""Environment variables that kvl-eval reads."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLES: Mapping[str, str] = {
    "KVL_EVAL_RESULTS_DIR": "same as --output-dir and --results-dir",
    "KVL_EVAL_CACHE_DIR": "same as --cache-dir",
    "KVL_EVAL_CONFIG": "same as --config, read first",
    "KVL_EVAL_VLLM": "folder of the environment that holds vLLM",
    "KVL_EVAL_MMVET_PREFIX": "file with MM-Vet's judge prompt; changes results",
    "KVL_EVAL_OSWORLD_PYTHON": "same as --osworld-python",
    "KVL_EVAL_OSWORLD_DIR": "same as --osworld-dir",
    "HF_TOKEN": "token for gated data sets and checkpoints",
    "HF_HOME": "folder of the hub client's cache",
    "HF_ENDPOINT": "another address of the hub",
    "HF_HUB_OFFLINE": "1: same as --offline",
    "NO_COLOR": "no colors",
    "CI": "plain lines, no progress in place",
    "TERM": "dumb: no colors, no cursor movement",
    "COLUMNS": "width of the output",
}
"""{variable: what it does}. No other variable changes a result."""
