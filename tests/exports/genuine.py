"""Reads exports with the packages they are made for, and prints what it read: `python genuine.py inspect|lm-eval DIR`.

Needs the extra `interop`; runs in a process of its own, so that no test imports those packages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def read_inspect(folder: str) -> list[dict[str, Any]]:
    from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample, read_eval_log_sample_summaries

    found = []
    for info in list_eval_logs(folder):
        log = read_eval_log(info)
        samples = log.samples or []
        again = [read_eval_log_sample(info, one.id, one.epoch) for one in samples]
        assert again == samples
        found.append(
            {
                "task": log.eval.task,
                "listed": info.task,
                "status": log.status,
                "model": log.eval.model,
                "total": log.results.total_samples,
                "scores": {one.name: one.metrics["mean"].value for one in log.results.scores if one.metrics},
                "header": read_eval_log(info, header_only=True).eval.task_id,
                "summaries": len(read_eval_log_sample_summaries(info)),
                "samples": [
                    {
                        "id": one.id,
                        "epoch": one.epoch,
                        "answer": one.output.completion,
                        "reasoning": [
                            c.reasoning
                            for m in one.messages
                            if not isinstance(m.content, str)
                            for c in m.content
                            if c.type == "reasoning"
                        ],
                        "values": {name: score.value for name, score in (one.scores or {}).items()},
                        "error": one.error.message if one.error else None,
                    }
                    for one in samples
                ],
            }
        )
    return found


def read_lm_eval(folder: str) -> dict[str, Any]:
    from datasets import load_dataset
    from lm_eval import utils

    names = [str(path) for path in Path(folder).rglob("*") if path.is_file()]
    (results,) = utils.get_results_filenames(names)
    stored = json.loads(Path(results).read_text(encoding="utf-8"))
    samples = {}
    for name in utils.get_sample_results_filenames(names):
        data = load_dataset("json", data_files=name, split="train")  # as the harness' cards tell the hub to
        lines = [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]
        assert len(lines) == len(data)
        for line in lines:
            doc = json.dumps(line["doc"], indent=2, default=utils.handle_non_serializable, ensure_ascii=False)
            assert line["doc_hash"] == utils.hash_string(doc)
            assert line["prompt_hash"] == utils.hash_string(line["arguments"]["gen_args_0"]["arg_0"])
            assert line["target_hash"] == utils.hash_string(line["target"])
        digest = "".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in lines)
        task = utils.get_file_task_name(Path(name).name)
        assert stored["task_hashes"][task] == utils.hash_string(digest)
        assert utils.get_file_datetime(Path(name).name) in results
        samples[task] = lines
    return {"table": utils.make_table(stored), "results": stored["results"], "samples": samples}


if __name__ == "__main__":
    print(json.dumps({"inspect": read_inspect, "lm-eval": read_lm_eval}[sys.argv[1]](sys.argv[2])))
