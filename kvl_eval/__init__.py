"""kvl-eval: reproduce, explain and trust vision-language benchmark numbers.

    import kvl_eval
    result = kvl_eval.evaluate(model="kimi-vl-nano", tasks=["mathvista"], limit=20)
    scores = kvl_eval.score("mathvista", [{"id": "1", "response": "(B)", "row": {...}}])

`kvl_eval.model` is Kimi-VL as a library of its own. Names are resolved on first use, so importing this costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvl_eval.evaluation import EvaluationResult, evaluate
    from kvl_eval.scoring.predictions import PredictionScores, score
    from kvl_eval.tasks.authoring import image, pdf, read_jsonl, read_rows, video
    from kvl_eval.tasks.base import Prompt, Protocol, Split, Task
    from kvl_eval.types import Message, Sample, Score

__version__ = "0.1.1"
__all__ = [
    "EvaluationResult",
    "Message",
    "PredictionScores",
    "Prompt",
    "Protocol",
    "Sample",
    "Score",
    "Split",
    "Task",
    "__version__",
    "evaluate",
    "image",
    "pdf",
    "read_jsonl",
    "read_rows",
    "score",
    "video",
]

_HOMES = {
    "EvaluationResult": "kvl_eval.evaluation",
    "PredictionScores": "kvl_eval.scoring.predictions",
    "evaluate": "kvl_eval.evaluation",
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
