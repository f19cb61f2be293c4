"""Every command: its line in `kvl-eval --help`, and the head of its own help."""

from __future__ import annotations

from kvl_eval.options.base import Argument, Command, NameKind

EVALUATE, RESULTS, DATA = "Evaluate", "Results", "Tasks and data"
TASKS = Argument(name="tasks", noun="task", many=True, required=False, completes=NameKind.TASK)
RUN = Argument(name="run_folder", noun="run", completes=NameKind.RUN, is_run=True)
RUNS = Argument(name="runs", noun="run", many=True, required=False, completes=NameKind.RUN, is_run=True)

COMMANDS: tuple[Command, ...] = (
    Command(
        name="run",
        section=EVALUATE,
        summary="Answer benchmark tasks with a model and score the answers.",
        usage=("kvl-eval run [OPTIONS] [TASK]...",),
        text=(
            "Answer benchmark tasks with a model, score the answers, and store everything in a run folder.",
            "TASK is a task, a group, a pattern such as 'mmmu*', or file:PATH for your own data. The same command run "
            "again continues an unfinished run, and does nothing if the run is complete.",
        ),
        examples=(
            "# the bundled demo model on bundled data; no download",
            "kvl-eval run mathvista",
            "",
            "# any OpenAI-compatible server",
            "kvl-eval run mathvista mmmu -m endpoint --base-url http://127.0.0.1:8000/v1",
            "",
            "# a checkpoint from the Hugging Face Hub, on the first 10% of each task",
            "kvl-eval run table3 -m moonshotai/Kimi-VL-A3B-Instruct --limit 10%",
        ),
        arguments=(TASKS,),
        aliases=("eval", "evaluate"),
    ),
    Command(
        name="sweep",
        section=EVALUATE,
        summary="Run a model at several thinking budgets in one pass.",
        usage=("kvl-eval sweep [OPTIONS] [TASK]... --think-budget LIST",),
        text=(
            "Run a model at several thinking budgets in one pass. Each thought is generated once, to the largest "
            "budget; smaller budgets are derived from it.",
            "Accepts all options of 'kvl-eval run'.",
        ),
        examples=(
            "kvl-eval sweep mathvision -m kimi-vl-thinking --think-budget 1k,4k,16k",
            "kvl-eval sweep mathvista -m kimi-vl-nano-thinking --think-budget 32,128,512",
            "kvl-eval report --table budget latest",
        ),
        arguments=(TASKS,),
        shows=("think_budget", "budget_policy", "answer_tokens"),
    ),
    Command(
        name="resume",
        section=EVALUATE,
        summary="Continue an interrupted run.",
        usage=("kvl-eval resume [OPTIONS] RUN",),
        text=("Continue an interrupted run with its stored options.",),
        examples=("kvl-eval resume latest", "kvl-eval resume latest --rerun failed"),
        arguments=(RUN,),
        continues=True,
        shows=(
            *("rerun", "base_url", "api_key_env", "judge_key_env", "compress", "break_lock", "include_path"),
            *("results_dir", "json", "quiet", "verbose"),
        ),
    ),
    Command(
        name="score",
        section=EVALUATE,
        summary="Rescore stored answers, or score a file of answers.",
        usage=("kvl-eval score [OPTIONS] [RUN]...", "kvl-eval score [OPTIONS] --task TASK --predictions FILE"),
        text=("Rescore stored answers, or score a file of answers. No model is loaded.",),
        examples=(
            "kvl-eval score latest --protocol all",
            "kvl-eval score --task mathvista --predictions answers.jsonl",
            "kvl-eval score latest --judge endpoint --judge-base-url URL --judge-model NAME",
        ),
        arguments=(RUNS,),
    ),
    Command(
        name="doctor",
        section=EVALUATE,
        summary="Test a model on twenty samples before a long run.",
        usage=("kvl-eval doctor [OPTIONS] TASK",),
        text=(
            "Test a model on twenty samples before a long run: format, thoughts, budgets, seed, image size, token "
            "counts. Takes the model options of 'kvl-eval run'.",
        ),
        examples=(
            "kvl-eval doctor mmmu -m endpoint --base-url http://127.0.0.1:8000/v1",
            "kvl-eval doctor mathvista -m ./checkpoint",
        ),
        arguments=(Argument(name="task", noun="task", completes=NameKind.TASK),),
    ),
    Command(
        name="watch",
        section=EVALUATE,
        summary="Repeat runs from a file and report significant drops.",
        usage=("kvl-eval watch [OPTIONS] FILE",),
        text=(
            "Run what FILE lists unless it is complete, compare with a pinned run, and exit with 5 after a significant "
            "drop.",
        ),
        examples=("kvl-eval watch nightly.yaml", "kvl-eval watch nightly.yaml --api-key-env MY_KEY --json"),
        arguments=(Argument(name="file", noun="file"),),
    ),
    Command(
        name="report",
        section=RESULTS,
        summary="Write an HTML and Markdown report for one or more runs.",
        usage=("kvl-eval report [OPTIONS] RUN...",),
        text=("Write an HTML and Markdown report for one or more runs.",),
        examples=(
            "kvl-eval report latest",
            "kvl-eval report RUN_A RUN_B -o comparison/",
            "kvl-eval report --table table3 latest",
        ),
        arguments=(RUNS,),
    ),
    Command(
        name="view",
        section=RESULTS,
        summary="Open a run or its report in the browser.",
        usage=("kvl-eval view [OPTIONS] [RUN]",),
        text=(
            "Open a run or its report in the browser, also while the run is in progress. Serves on 127.0.0.1 only. "
            "[default: latest]",
        ),
        examples=("kvl-eval view", "kvl-eval view latest --port 8080"),
        arguments=(Argument(name="run_folder", noun="run", required=False, completes=NameKind.RUN, is_run=True),),
    ),
    Command(
        name="compare",
        section=RESULTS,
        summary="Compare two runs, or two protocols of one run.",
        usage=("kvl-eval compare [OPTIONS] A [B]",),
        text=("Compare two runs on the samples both have scored, or two protocols of one run.",),
        examples=("kvl-eval compare RUN_A RUN_B", "kvl-eval compare latest --protocol official,vlmevalkit"),
        arguments=(
            Argument(name="a", noun="run", completes=NameKind.RUN, is_run=True),
            Argument(name="b", noun="run", required=False, completes=NameKind.RUN, is_run=True),
        ),
    ),
    Command(
        name="explain",
        section=RESULTS,
        summary="Show why a score differs from a published result or another run.",
        usage=("kvl-eval explain [OPTIONS] RUN",),
        text=(
            "Show why a score differs from a published result or another run, from stored replies.",
            "The gap is split into named parts that add up, each with its interval, its samples and how it is known. "
            "What no part explains is shown as well.",
            "With --probe a sample of the run's questions is asked again, with one setting changed at a time. "
            "Settings: prompt, max-new-tokens, max-pixels, system-prompt, temperature, image-prep, dtype.",
        ),
        examples=(
            "kvl-eval explain latest",
            "kvl-eval explain latest --to 57.0",
            "kvl-eval explain RUN_B --to RUN_A",
            "kvl-eval explain latest --probe prompt=kimi_cot,max-pixels --dry-run",
        ),
        arguments=(RUN,),
    ),
    Command(
        name="list",
        section=RESULTS,
        summary="List tasks, models, runs or published results.",
        usage=("kvl-eval list tasks|models|runs|references [OPTIONS] [PATTERN]",),
        text=("List tasks, models, runs or published results. PATTERN filters by name.",),
        examples=("kvl-eval list tasks", "kvl-eval list tasks 'mmmu*'", "kvl-eval list runs --since 7d"),
        arguments=(
            Argument(name="what", noun="list", choices=("tasks", "models", "runs", "references")),
            Argument(name="pattern", noun="pattern", required=False),
        ),
        aliases=("ls",),
    ),
    Command(
        name="export",
        section=RESULTS,
        summary="Export a run for other tools, or a checkpoint for vLLM.",
        usage=("kvl-eval export [OPTIONS] --format NAME RUN [DIR]",),
        text=(
            "Export a run for pandas, inspect_ai, lm-evaluation-harness or a test server, as a result card, or a "
            "checkpoint for vLLM.",
        ),
        examples=(
            "kvl-eval export latest -f parquet",
            "kvl-eval export latest -f submission",
            "kvl-eval export latest -f card",
            "kvl-eval export kimi-vl-nano nano-vllm/ -f vllm",
        ),
        arguments=(
            Argument(name="run_or_model", noun="run", completes=NameKind.RUN),
            Argument(name="folder", noun="folder", required=False),
        ),
    ),
    Command(
        name="verify",
        section=RESULTS,
        summary="Check that a run is complete and unchanged.",
        usage=("kvl-eval verify [OPTIONS] RUN", "kvl-eval verify [OPTIONS] CARD [RUN]"),
        text=(
            "Check that a run is complete and unchanged, and that scoring it again gives the same results; or check "
            "a result card: alone, against its run, or against the data set.",
        ),
        examples=("kvl-eval verify latest", "kvl-eval verify latest --strict", "kvl-eval verify card.html latest"),
        arguments=(
            Argument(name="run_or_card", noun="run", completes=NameKind.RUN),
            Argument(name="run_folder", noun="run", required=False, completes=NameKind.RUN, is_run=True),
        ),
    ),
    Command(
        name="merge",
        section=RESULTS,
        summary="Merge the shards of one run.",
        usage=("kvl-eval merge [OPTIONS] RUN RUN...",),
        text=("Merge the shards of one run into a single run folder.",),
        examples=("kvl-eval merge SHARD_1 SHARD_2", "kvl-eval merge shards/* -o results"),
        arguments=(RUNS,),
    ),
    Command(
        name="describe",
        section=DATA,
        summary="Show everything that defines a task's score.",
        usage=("kvl-eval describe [OPTIONS] TASK",),
        text=(
            "Show everything that defines a task's score: data, prompts on a sample, protocols and their differences, "
            "published results.",
        ),
        examples=("kvl-eval describe mathvista", "kvl-eval describe file:my.jsonl"),
        arguments=(Argument(name="task", noun="task", completes=NameKind.TASK),),
        aliases=("show", "info"),
    ),
    Command(
        name="fetch",
        section=DATA,
        summary="Download data sets and checkpoints.",
        usage=("kvl-eval fetch [OPTIONS] NAME...",),
        text=("Download and unpack data sets and checkpoints. Interrupted downloads continue.",),
        examples=(
            "kvl-eval fetch mathvista mmmu",
            "kvl-eval fetch videomme-subs --yes",
            "kvl-eval fetch egoschema --data-dir /data/ego",
        ),
        arguments=(Argument(name="names", noun="name", many=True, required=False, completes=NameKind.TASK),),
        aliases=("download",),
    ),
    Command(
        name="check",
        section=DATA,
        summary="Check a data set, a checkpoint or an installation.",
        usage=("kvl-eval check data TASK | gold RUN RUN RUN...", "kvl-eval check model MODEL | vllm | desktop"),
        text=(
            "Check a data set (files, row counts, ids, media), a checkpoint (weights, tensors, tokenizer), the gold "
            "answers (samples on which several models agree against gold), a vLLM installation or the sandbox of "
            "desktops.",
        ),
        examples=("kvl-eval check data mathvista", "kvl-eval check model ./checkpoint", "kvl-eval check vllm"),
    ),
    Command(
        name="check data",
        usage=("kvl-eval check data [OPTIONS] TASK",),
        text=("Check a data set: files, row counts, ids and media.",),
        examples=("kvl-eval check data mathvista", "kvl-eval check data file:my.jsonl"),
        arguments=(Argument(name="task", noun="task", completes=NameKind.TASK),),
    ),
    Command(
        name="check gold",
        usage=("kvl-eval check gold [OPTIONS] RUN RUN RUN...",),
        text=(
            "List samples on which at least three different models agree on another answer than the gold answer. "
            "That is a reason to look at them, not proof.",
        ),
        examples=("kvl-eval check gold RUN_A RUN_B RUN_C", "kvl-eval check gold results/* --output-file doubts.jsonl"),
        arguments=(RUNS,),
    ),
    Command(
        name="check model",
        usage=("kvl-eval check model [OPTIONS] MODEL",),
        text=("Check a checkpoint: weight files, tensors, tokenizer and chat template.",),
        examples=("kvl-eval check model ./checkpoint", "kvl-eval check model kimi-vl-nano"),
        arguments=(Argument(name="location", noun="model", completes=NameKind.MODEL),),
    ),
    Command(
        name="check vllm",
        usage=("kvl-eval check vllm [OPTIONS]",),
        text=("Compare twenty answers of the demo model through vLLM with those of the bundled engine.",),
        examples=("kvl-eval check vllm", "kvl-eval check vllm -a start_timeout=900"),
    ),
    Command(
        name="plan-size",
        section=DATA,
        summary="Compute how many samples a comparison needs.",
        usage=("kvl-eval plan-size [OPTIONS] [RUN] [RUN]",),
        text=("Compute how many samples a precision or a difference needs.",),
        examples=(
            "kvl-eval plan-size RUN_A RUN_B --precision 2",
            "kvl-eval plan-size --task mathvision --score 25 --precision 2",
        ),
        arguments=(
            Argument(name="a", noun="run", required=False, completes=NameKind.RUN, is_run=True),
            Argument(name="b", noun="run", required=False, completes=NameKind.RUN, is_run=True),
        ),
    ),
    Command(
        name="check desktop",
        usage=("kvl-eval check desktop [OPTIONS]",),
        text=("Check whether sandboxed desktops start here: packages, namespaces, and what the sandbox lets through.",),
        examples=("kvl-eval check desktop", "kvl-eval check desktop --json"),
    ),
    Command(
        name="new-task",
        section=DATA,
        summary="Create a task file and its test from a template.",
        usage=("kvl-eval new-task NAME [--from FILE] [--output-dir DIR]",),
        text=("Create a task file and its test from a commented template.",),
        examples=("kvl-eval new-task invoices", "kvl-eval new-task invoices --from invoices.csv"),
        arguments=(Argument(name="name", noun="name"),),
        aliases=("init-task",),
    ),
    Command(
        name="version",
        usage=("kvl-eval version [OPTIONS]",),
        text=("Show the versions of kvl-eval and of every package that can affect a score.",),
        examples=("kvl-eval version", "kvl-eval version --json"),
    ),
    Command(
        name="help",
        usage=("kvl-eval help [COMMAND or TOPIC]",),
        text=("Show the help of a command, or a topic: tasks, models, data, config, environment or exit-codes.",),
        examples=("kvl-eval help run", "kvl-eval help exit-codes"),
        arguments=(Argument(name="names", noun="name", many=True, required=False, completes=NameKind.COMMAND),),
    ),
    Command(
        name="completion",
        usage=("kvl-eval completion bash|zsh|fish",),
        text=("Print a completion script. Install it with the line at its top.",),
        examples=('eval "$(kvl-eval completion bash)"', "kvl-eval completion fish | source"),
        arguments=(Argument(name="shell", noun="shell", choices=("bash", "zsh", "fish")),),
    ),
)
BY_NAME = {command.name: command for command in COMMANDS}
