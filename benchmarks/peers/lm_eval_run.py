"""The same samples by lm-evaluation-harness: `python lm_eval_run.py run FILE FOLDER`; prints the accuracy.

Runs in an environment of its own (`pip install --no-deps lm_eval` and what it asks for but torch), never in that of
kvl-eval. Its samples are saved when all are answered: it has nothing that survives a crash to compare.
"""

import json
import sys
from pathlib import Path

from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.loggers import EvaluationTracker


class Constant(LM):
    """Answers B."""

    def loglikelihood(self, requests):
        raise RuntimeError("not asked here")

    def loglikelihood_rolling(self, requests):
        raise RuntimeError("not asked here")

    def generate_until(self, requests):
        return ["B"] * len(requests)


def main(verb: str, file: str, folder: str) -> None:
    task = {
        "task": "questions",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(Path(file).resolve())}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"]},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    tracker = EvaluationTracker(output_path=folder)
    results = simple_evaluate(
        Constant(), tasks=[task], log_samples=True, evaluation_tracker=tracker, torch_random_seed=None
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, found in samples.items():
        tracker.save_results_samples(task_name=name, samples=found)
    print(json.dumps(results["results"]["questions"]["exact_match,none"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
