"""The same samples by inspect_ai: `python inspect_run.py run|score FILE FOLDER`; prints the accuracy.

Runs in an environment of its own (`pip install inspect_ai`), never in that of kvl-eval.
"""

import json
import sys
from pathlib import Path

from inspect_ai import Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import list_eval_logs, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate


def main(verb: str, file: str, folder: str) -> None:
    if verb == "score":
        [log] = list_eval_logs(folder)
        log = score(read_eval_log(log), match(), display="none")
        write_eval_log(log, f"{folder}-rescored.eval")
    else:
        rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
        samples = [Sample(id=row["id"], input=row["question"], target=row["answer"]) for row in rows]
        outputs = [ModelOutput.from_content("mockllm/model", "B") for _ in rows]
        for output in outputs:  # otherwise tokens are counted by a tokenizer that has to be downloaded
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        model = get_model("mockllm/model", custom_outputs=outputs)
        task = Task(dataset=samples, solver=generate(), scorer=match())
        [log] = eval(task, model=model, log_dir=folder, display="none", log_level="error")
    if log.results is None:
        raise SystemExit(f"{log.status}: {log.error.message if log.error else 'no results'}")
    print(log.results.scores[0].metrics["accuracy"].value)


if __name__ == "__main__":
    main(*sys.argv[1:])
