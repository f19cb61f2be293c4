"""Evaluate vision-language models, reproducibly.

    import kvl_eval
    result = kvl_eval.evaluate("kimi-vl-nano", "mathvista", limit=20)
    result.score("mathvista"), result.to_pandas(), result.samples("mathvista")
    kvl_eval.open_run("latest")

`kvl_eval.model` is Kimi-VL as a library of its own. Names are resolved on first use, so importing this costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvl_eval.errors import KvlEvalError
    from kvl_eval.evaluation import evaluate
    from kvl_eval.results.comparison_result import compare
    from kvl_eval.results.evaluation_result import EvaluationResult, open_run
    from kvl_eval.results.explained import explain
    from kvl_eval.results.lists import list_runs, list_tasks
    from kvl_eval.results.task_score import TaskScore
    from kvl_eval.scoring.predictions import PredictionScores, score
    from kvl_eval.tasks.authoring import image, pdf, read_jsonl, read_rows, video
    from kvl_eval.tasks.base import Prompt, Protocol, Split, Task
    from kvl_eval.types import Message, Sample, Score

__version__ = "0.2.0"
__all__ = [
    "EvaluationResult",
    "KvlEvalError",
    "Message",
    "PredictionScores",
    "Prompt",
    "Protocol",
    "Sample",
    "Score",
    "Split",
    "Task",
    "TaskScore",
    "__version__",
    "compare",
    "evaluate",
    "explain",
    "image",
    "list_runs",
    "list_tasks",
    "open_run",
    "pdf",
    "read_jsonl",
    "read_rows",
    "score",
    "video",
]

_HOMES = {
    "EvaluationResult": "kvl_eval.results.evaluation_result",
    "KvlEvalError": "kvl_eval.errors",
    "PredictionScores": "kvl_eval.scoring.predictions",
    "TaskScore": "kvl_eval.results.task_score",
    "compare": "kvl_eval.results.comparison_result",
    "evaluate": "kvl_eval.evaluation",
    "explain": "kvl_eval.results.explained",
    "list_runs": "kvl_eval.results.lists",
    "list_tasks": "kvl_eval.results.lists",
    "open_run": "kvl_eval.results.evaluation_result",
    "score": "kvl_eval.scoring.predictions",
    **dict.fromkeys(("image", "pdf", "read_jsonl", "read_rows", "video"), "kvl_eval.tasks.authoring"),
    **dict.fromkeys(("Prompt", "Protocol", "Split", "Task"), "kvl_eval.tasks.base"),
    **dict.fromkeys(("Message", "Sample", "Score"), "kvl_eval.types"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'kvl_eval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
