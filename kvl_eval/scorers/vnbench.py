"""VNBench's score of needles in videos, to set beside ours: each question is asked four times with shuffled options.

Source: joez17/VideoNIAH @ 8193a3b2, evaluation_utils.py. Its other script, eval.py, reads replies by another rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

FAMILIES = ("ret", "ord", "cnt")
RENAMED = {"ret_insert1": "ret_insert2", "ret_insert2": "ret_insert1"}  # the script swaps the two

Answered = tuple[str, str, str, str]
"""Video, task, reply, right letter."""


def vnbench_scores(replies: Iterable[Answered]) -> dict[str, float]:
    """Shares of videos all of whose replies begin with the right letter, as {task, family, or Overall: fraction}.

    A family is the unweighted mean of its tasks (retrieval, ordering, counting), `Overall` that of the families.
    Raises: ValueError, where a family has no reply.
    """
    videos: dict[str, dict[str, bool]] = {}
    for video, task, reply, letter in replies:
        found = videos.setdefault(RENAMED.get(task, task), {})
        found[video] = found.get(video, True) and reply[:1] == letter
    tasks = {task: fmean(found.values()) for task, found in sorted(videos.items())}
    families = {name: [score for task, score in tasks.items() if task.startswith(f"{name}_")] for name in FAMILIES}
    if empty := [name for name, scores in families.items() if not scores]:
        raise ValueError(f"vnbench_scores() found no reply of {', '.join(empty)}")
    means = {name: fmean(scores) for name, scores in families.items()}
    return {**tasks, **means, "Overall": fmean(means.values())}
