"""What a newcomer and a user of another harness type, and what is printed: (command, exit code, expected lines).

An expected line is a whole line of standard output or standard error; `...` in it stands for any text, and blanks are
collapsed. `{stub}` is the URL of a stub server.
"""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One command, its exit code, and lines it must print."""

    command: str
    code: int = 0
    lines: tuple[str, ...] = ()


DEMO = "note: kimi-vl-nano is a 5M-parameter demo; its scores are not Kimi-VL's."

# README and docs/guide/quickstart.md, from top to bottom, in one folder.
FIRST_HOUR = (
    Step("kvl-eval --version", 0, ("kvl-eval ...",)),
    Step("kvl-eval", 0, ("Usage: kvl-eval COMMAND [OPTIONS]", "kvl-eval run mathvista")),
    Step("kvl-eval help run", 0, ("Usage: kvl-eval run [OPTIONS] [TASK]...",)),
    Step("kvl-eval help exit-codes"),
    Step("kvl-eval list tasks", 0, ("mathvista 1,000 image open ...",)),
    Step("kvl-eval list models", 0, ("kimi-vl-nano ...", "hf:OWNER/NAME ...")),
    Step("kvl-eval describe mathvista --section prompts"),
    Step("kvl-eval run mathvista --dry-run", 0, ("mathvista mini 90 ...", "...nothing was run")),
    Step("kvl-eval run mathvista --limit 5", 0, (DEMO, "mathvista/mini 5 ...", "report: kvl-eval report latest")),
    Step("kvl-eval run mathvista --limit 5", 0, ("...already complete...", "mathvista/mini 5 ...")),
    Step("kvl-eval list runs", 0, ("... kimi-vl-nano mathvista/mini ...",)),
    Step("kvl-eval verify latest", 0, ("...complete...",)),
    Step("kvl-eval score latest --protocol all", 0, ("mathvista/mini official-rule (default) 5 ...",)),
    Step("kvl-eval compare latest --protocol official,vlmevalkit"),
    Step("kvl-eval resume latest"),
    Step("kvl-eval export latest --format csv", 0, ("...csv...",)),
    Step("kvl-eval report latest", 0, ("...index.html",)),
    Step("kvl-eval report --table table3 latest"),
    Step("kvl-eval run mathvista --limit 5 --json --no-resume", 0, ("...exit_code...",)),
    Step("kvl-eval run mathvista -q --limit 2", 0, ("mathvista/mini 2 ...",)),
    Step("kvl-eval run mathvista --split mini --limit 2 -m endpoint --base-url {stub}", 0, ("mathvista/mini 2 ...",)),
    Step(
        "kvl-eval sweep mathvista -m kimi-vl-nano-thinking --think-budget 32,64 --limit 3",
        0,
        ("mathvista/mini 32 cut 3 ...", "mathvista/mini 64 cut 3 ..."),
    ),
    Step("kvl-eval new-task demo", 0, ("...kvl-eval run demo --include-path tasks --model fake...",)),
    Step("kvl-eval run demo --include-path tasks -m fake"),
    Step("kvl-eval run file:tasks/demo.jsonl -m fake"),
    Step("kvl-eval describe file:tasks/demo.jsonl"),
    Step("kvl-eval check data mathvista --split mini", 0, ("...OK...",)),
    Step("kvl-eval check model kimi-vl-nano"),
    Step("kvl-eval completion bash", 0, ('# eval "$(kvl-eval completion bash)"',)),
)

PLAN = " -m fake --split mini --limit 2 --dry-run"


def accepted(command: str, line: str = "...nothing was run") -> Step:
    """A spelling that is taken: the plan is shown."""
    return Step(f"kvl-eval run {command}{PLAN}", 0, (line,))


def refused(command: str, *lines: str) -> Step:
    """A spelling that ends with exit code 2."""
    return Step(f"kvl-eval run {command}", 2, lines)


# Names (command_line.md 2.5).
NAMES = (
    accepted("math_vista", "mathvista mini 2 ..."),
    accepted("MATHVISTA", "mathvista mini 2 ..."),
    accepted("'Math Vista'", "mathvista mini 2 ..."),
    accepted("'MMMU Pro'", "mmmu-pro mini 2 ..."),
    accepted("mmmu_pro", "mmmu-pro mini 2 ..."),
    accepted("screenspotv2", "screenspot-v2 mini 2 ..."),
    refused("mmbench", "...did you mean mmbench-en-v11?..."),
    refused("MMBench_DEV_EN_V11", "...VLMEvalKit's MMBench_DEV_EN_V11 is 'mmbench-en-v11' here..."),
    refused("mathvista_testmini", "...lmms-eval's mathvista_testmini is 'mathvista' here (split testmini)..."),
    refused("mmmu_val", "...is 'mmmu' here (split validation)..."),
    refused("mathvisa", "...did you mean mathvista or mathvision?..."),
    refused("niah", "...did you mean niah-text or niah-video?..."),
    refused("infovq", "...did you mean infovqa?..."),
    refused("mmvett", "...did you mean mmvet?..."),
    refused("blnk", "...did you mean blink?..."),
    refused("chartqa", "error[usage.task]: unknown task 'chartqa'"),
    refused("gsm8k", "...vision-language tasks...kvl-eval list tasks..."),
    refused("mathvista -m qwen2.5-vl-7b", "error[usage.model]: unknown model 'qwen2.5-vl-7b'"),
    refused("mathvista -m gpt-4o", "...--model endpoint...--api-key-env OPENAI_API_KEY..."),
    refused("mathvista -m openai/gpt-4o", "...--model endpoint..."),
    Step("kvl-eval help nope", 2, ("...unknown command or topic 'nope'...",)),
    Step("kvl-eval report", 2, ("error[usage.report]: no run given", "...kvl-eval report latest...")),
)

# Habits of lm-eval, inspect, VLMEvalKit, lmms-eval and evalscope (command_line.md 2.6).
HABITS = (
    accepted("mathvista mmmu", "mmmu mini 2 ..."),
    accepted("--tasks mathvista mmmu", "mmmu mini 2 ..."),
    Step("kvl-eval run mathvista -m fake --split mini --limit 10% --dry-run", 0, ("mathvista mini 9 of 90 ...",)),
    accepted("mathvista --num_fewshot 0"),
    refused("mathvista --num_fewshot 5", "...zero-shot..."),
    accepted("mathvista --log_samples", "note: ...answers are always stored..."),
    accepted("mathvista --apply_chat_template", "note: ...chat template is always used..."),
    refused("mathvista --check_integrity", "error[usage.habit]: ..."),
    accepted("mathvista --gen_kwargs temperature=0.2,top_p=0.9,max_gen_toks=512"),
    refused("mathvista --model_args pretrained=./x", "...--model ./x..."),
    refused("mathvista --model vllm", "...--model endpoint --base-url..."),
    accepted("mathvista --batch_size auto:4"),
    accepted("mathvista --output_path out"),
    refused("mathvista --use_cache x", "...continues by itself..."),
    accepted("mathvista --reuse"),
    refused("--data MathVista", "...--task..."),
    accepted("mathvista --mode infer", "note: ..."),
    refused("mathvista --mode eval", "...kvl-eval score RUN..."),
    refused("mathvista --judge gpt-4o-mini", "...--judge endpoint --judge-model gpt-4o-mini..."),
    refused("mathvista --api-key sk-123", "...--api-key-env..."),
    accepted("mathvista --epochs 2"),
    Step("kvl-eval run mathvista -m fake --split mini --max-samples 3 --dry-run", 0, ("mathvista mini 3 of 90 ...",)),
    accepted("mathvista --max-tokens 64"),
    accepted("mathvista --system-message Hello"),
    accepted("mathvista --log-level warning"),
    refused("mathvista --seed 0,1234,1234,1234", "...one seed..."),
    refused("mathvista --wandb_args project=x", "...kvl-eval export RUN -f parquet..."),
    refused("mathvista --trust_remote_code", "...--trust-remote-code is not supported..."),
    refused(
        "mathvista --limit 1.5", "...--limit must be a positive integer, a fraction below 1 or a percentage...got '1.5'"
    ),
    refused("mathvista --limit 10-20", "...--sample-ids..."),
    Step(f"kvl-eval --tasks mathvista{PLAN}", 0, ("note: read as 'kvl-eval run --tasks mathvista...'",)),
    Step(f"kvl-eval eval mathvista{PLAN}", 0, ("mathvista mini 2 ...",)),
    Step("kvl-eval ls tasks", 0, ("mathvista ...",)),
    Step("kvl-eval show mathvista", 0, ("...MathVista...",)),
)
