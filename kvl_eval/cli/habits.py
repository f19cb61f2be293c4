"""Options of other harnesses, one row each: mapped to ours, without effect, or refused with the equivalent command.

`kvl_eval.cli.translation` rewrites a command line by this table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.decode import read_json
from kvl_eval.errors import DecodeError, UsageError

LM_EVAL, LMMS, INSPECT, VLMEVALKIT, EVALSCOPE = "lm-eval", "lmms-eval", "inspect", "VLMEvalKit", "evalscope"
BOTH = f"{LM_EVAL}, {LMMS}"
ZERO_SHOT = "all tasks are zero-shot, as their authors evaluate them"
DTYPES = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32", "auto": None}
HF_MODELS = ("hf", "hf-auto", "hf-multimodal", "huggingface")
GENERATION = {
    "temperature": "--temperature",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "max_gen_toks": "--max-new-tokens",
    "max_new_tokens": "--max-new-tokens",
    "max_tokens": "--max-new-tokens",
    "seed": "--seed",
}
"""{key of `--gen_kwargs`: our option}; `do_sample` besides."""
PARALLEL = 64  # more of inspect's `--max-samples` than this is rarely meant as a number of samples


@dataclass(frozen=True, slots=True)
class Typed:
    """One option of a command line.

    Attributes:
        name:       with hyphens; the first name of its row. Empty for a word that is not an option.
        value:      the words behind it; empty for a flag.
        words:      the option and its value as typed.
        model:      value of `--model` on the same line.
        pretrained: value of lm-eval's `--model_args pretrained=` on the same line.
    """

    name: str
    value: str
    words: tuple[str, ...]
    model: str | None = None
    pretrained: str | None = None

    @property
    def spelled(self) -> str:
        """The option alone, as typed; never its value, which may be a secret."""
        return self.words[0].partition("=")[0]

    def refused(self, why: str, fix: str, message: str | None = None, code: str = "usage.habit") -> UsageError:
        """The error of an option that has no counterpart."""
        return UsageError(code, message or f"there is no option {self.spelled}", why=why, fix=fix)


@dataclass(frozen=True, slots=True)
class Mapped:
    """The same value under our name."""

    option: str


@dataclass(frozen=True, slots=True)
class Values:
    """Other words for values of ours; None is the default."""

    words: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Note:
    """No effect; the text says why, where it is not obvious."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """Refused, with the reason and the equivalent."""

    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Depends on the value. The function returns our words and a note, or raises UsageError."""

    rewrite: Callable[[Typed], tuple[Sequence[str], str]]


Action = Mapped | Values | Note | Explained | Rewritten


@dataclass(frozen=True, slots=True)
class Habit:
    """One row: names as typed, the harness they come from, what happens; `takes` is how many words follow.

    Attributes:
        takes:    `value` one word, `flag` none, `words` all words up to the next option, `pairs` those with `=`.
        anywhere: also in commands that score.
    """

    names: tuple[str, ...]
    origin: str
    action: Action
    takes: str = "value"
    anywhere: bool = False


def pairs(text: str) -> list[tuple[str, str]]:
    """`k=v,k=v`, or a JSON object, as pairs of texts; parts without `=` are left out."""
    if text.lstrip().startswith("{"):
        try:
            content = read_json(text.encode("utf-8", "surrogateescape"))
        except DecodeError:
            content = {}
        members = content.items() if isinstance(content, dict) else ()
        return [(str(key), value if isinstance(value, str) else json.dumps(value)) for key, value in members]
    pairs = [part.partition("=") for part in text.split(",")]
    return [(key.strip().replace("-", "_"), value.strip()) for key, equals, value in pairs if equals]


# Actions that depend on the value


def _as_typed(typed: Typed) -> tuple[Sequence[str], str]:
    return typed.words, ""


def _few_shot(typed: Typed) -> tuple[Sequence[str], str]:
    if typed.value.strip() != "0":
        raise typed.refused(ZERO_SHOT, f"omit {typed.spelled}")
    return (), ""


def _generation(typed: Typed) -> tuple[Sequence[str], str]:
    values = dict(pairs(typed.value))
    sampling = values.pop("do_sample", "true").lower()
    if sampling in ("false", "0"):
        values["temperature"] = "0"
    for key in values:
        if key not in GENERATION:
            names = ", ".join([*GENERATION, "do_sample"])
            raise typed.refused(f"{key!r} has no counterpart", f"omit it; {names} are understood")
    return [word for key, value in values.items() for word in (GENERATION[key], value)], ""


def _model(typed: Typed) -> tuple[Sequence[str], str]:
    from kvl_eval.backends.model_names import SERVERS

    if typed.value in HF_MODELS:
        if typed.pretrained is None:
            raise typed.refused("the checkpoint belongs to the name", "--model hf:OWNER/NAME", _unknown(typed))
        words = ["--model", f"hf:{typed.pretrained}"]
        return words, f"read as {' '.join(words)}"
    if typed.value in SERVERS:
        raise typed.refused("a server is named by its URL", "--model endpoint --base-url URL", _unknown(typed))
    return _as_typed(typed)


def _unknown(typed: Typed) -> str:
    return f"unknown model {typed.value!r}"


def _model_args(typed: Typed) -> tuple[Sequence[str], str]:
    values = dict(pairs(typed.value))
    if "pretrained" not in values:
        return ("--model-args", typed.value), ""
    if typed.model not in HF_MODELS:
        message = "there is no model argument 'pretrained'"
        raise typed.refused("the checkpoint is the value of --model", f"use --model {values['pretrained']}", message)
    if "trust_remote_code" in values:
        _remote_code(typed)
    dtype = values.get("dtype", "auto")
    options = {"--dtype": DTYPES.get(dtype, dtype), "--revision": values.get("revision")}
    words = [word for option, value in options.items() if value is not None for word in (option, value)]
    rest = [f"{key}={value}" for key, value in values.items() if key not in ("pretrained", "dtype", "revision")]
    note = f"read as {' '.join(words)}" if words else ""
    return [*words, *(["--model-args", ",".join(rest)] if rest else [])], note


def _model_or_args(typed: Typed) -> tuple[Sequence[str], str]:
    if "=" in typed.value:
        return _model_args(Typed("--model-args", typed.value, ("--model-args", typed.value), typed.model))
    return _model(Typed("--model", typed.value, ("--model", typed.value), typed.model, typed.pretrained))


def _device(typed: Typed) -> tuple[Sequence[str], str]:
    device = "cuda" if typed.value == "gpu" else typed.value
    return ("--device", f"cuda:{device}" if device.isdecimal() else device), ""


def _batch_size(typed: Typed) -> tuple[Sequence[str], str]:
    return ("--batch-size", "auto") if typed.value.startswith("auto:") else typed.words, ""


def _mode(typed: Typed) -> tuple[Sequence[str], str]:
    if typed.value == "eval":
        raise typed.refused("stored answers are scored by their own command", "kvl-eval score RUN")
    if typed.value not in ("infer", "all"):
        raise typed.refused("a run answers and scores", f"omit {typed.spelled}")
    return (), SCORED_TOO if typed.value == "infer" else ""


SCORED_TOO = "answers are scored too; scoring never changes them"


def _judge(typed: Typed) -> tuple[Sequence[str], str]:
    if typed.value in ("endpoint", "none"):
        return _as_typed(typed)
    message = f"--judge must be 'endpoint' or 'none', got {typed.value!r}"
    fix = f"--judge endpoint --judge-model {typed.value} --judge-base-url URL"
    raise typed.refused("the judge is a model of an OpenAI-compatible server", fix, message)


def _secret(typed: Typed) -> tuple[Sequence[str], str]:
    option = "--judge-key-env" if "judge" in typed.spelled else "--api-key-env"
    raise typed.refused(
        "keys on a command line end up in shell histories and process lists",
        f"pass the name of an environment variable with {option}",
    )


def _parallel(typed: Typed) -> tuple[Sequence[str], str]:
    own = {"--api-nproc": "--num-workers", "--eval-batch-size": "--batch-size"}
    name = typed.spelled.replace("_", "-")
    option = "--max-connections" if typed.model == "endpoint" else own.get(name, "--max-connections")
    return (option, typed.value), ""


def _max_samples(typed: Typed) -> tuple[Sequence[str], str]:
    many = typed.value.isdecimal() and int(typed.value) > PARALLEL
    note = f"read as --limit {typed.value}; inspect's --max-samples means parallelism, here --batch-size"
    return ("--limit", typed.value), note if many else ""


def _sample_ids(typed: Typed) -> tuple[Sequence[str], str]:
    if typed.value.lstrip().startswith("{"):
        message = f"{typed.spelled} takes ids, not a JSON object"
        raise typed.refused("sample ids hold for every task of a run", "--sample-ids ID,ID", message)
    return ("--sample-ids", typed.value), ""


def _retried(typed: Typed) -> tuple[Sequence[str], str]:
    if typed.value.isdecimal():
        why = "a failed sample is asked again by the next command, and a failed request by itself"
        raise typed.refused(why, "kvl-eval resume latest --rerun failed, or -a max_retries=N")
    return ("--rerun", typed.value), ""


def _verbosity(typed: Typed) -> tuple[Sequence[str], str]:
    level = typed.value.upper()
    words = {"DEBUG": ("-vv",), "TRACE": ("-vv",), "WARNING": ("-q",), "WARN": ("-q",), "ERROR": ("-q",)}
    return words.get(level, ("-q",) if level == "CRITICAL" else ()), ""


def _display(typed: Typed) -> tuple[Sequence[str], str]:
    if typed.value == "none":
        return ("-q",), ""
    return (), "progress is plain where CI is set or no terminal is attached" if typed.value == "plain" else ""


def _seed(typed: Typed) -> tuple[Sequence[str], str]:
    if "," not in typed.value:
        return _as_typed(typed)
    first = typed.value.partition(",")[0]
    raise typed.refused("a run has one seed", f"--seed {first}", f"--seed must be an integer, got {typed.value!r}")


def _remote_code(typed: Typed) -> tuple[Sequence[str], str]:
    message = "--trust-remote-code is not supported"
    why = "kvl-eval never runs code from checkpoints or data sets"
    raise typed.refused(why, "omit it", message, "usage.remote_code")


def _tasks(typed: Typed) -> tuple[Sequence[str], str]:
    return [word for task in typed.words[1:] for word in ("--task", task)], ""


STORED = Note("answers are always stored (samples/ in the run folder)")
EXPORT = Explained("other tools read a run from its export", "kvl-eval export RUN -f parquet")
JUDGE = "--judge endpoint --judge-base-url URL --judge-model NAME --judge-key-env VAR"

HABITS = (
    Habit(("--task", "--tasks", "--datasets", "-t"), "all", Rewritten(_tasks), "words"),
    Habit(("--num-fewshot", "-f"), BOTH, Rewritten(_few_shot)),
    Habit(("--log-samples", "-s"), BOTH, STORED, "flag"),
    Habit(("--log-samples-suffix",), LMMS, STORED),
    Habit(("--apply-chat-template",), BOTH, Note("the model's chat template is always used"), "flag"),
    Habit(("--fewshot-as-multiturn",), LM_EVAL, Explained(ZERO_SHOT, "omit --fewshot-as-multiturn"), "flag"),
    Habit(("--check-integrity",), LM_EVAL, Explained("a run is checked when it exists", "kvl-eval verify RUN"), "flag"),
    Habit(("--show-config",), LM_EVAL, Explained("every run stores its options", "see RUN/config.yaml"), "flag"),
    Habit(("--write-out", "-w"), LM_EVAL, Explained("the plan shows the prompts", "use --dry-run -v"), "flag"),
    Habit(("--gen-kwargs",), BOTH, Rewritten(_generation), "pairs"),
    Habit(("--generation-config",), EVALSCOPE, Rewritten(_generation), "pairs"),
    Habit(("--model", "-m"), BOTH, Rewritten(_model)),
    Habit(("--model-args", "-a"), BOTH, Rewritten(_model_args), "pairs"),
    Habit(("-M",), INSPECT, Rewritten(_model_or_args)),
    Habit(("-T",), INSPECT, Explained("tasks take no arguments; options of kvl-eval run apply", "kvl-eval run --help")),
    Habit(("--dtype",), "vLLM, transformers", Values(DTYPES)),
    Habit(("--device",), BOTH, Rewritten(_device)),
    Habit(("--batch-size", "-b"), LM_EVAL, Rewritten(_batch_size)),
    Habit(("--max-batch-size",), LM_EVAL, Mapped("--batch-size")),
    Habit(("--output-path", "--work-dir", "--log-dir"), "all", Mapped("--output-dir")),
    Habit(
        ("--use-cache", "-c"),
        f"{LM_EVAL}, {EVALSCOPE}",
        Explained("the same command continues by itself", "to name a run: kvl-eval resume RUN"),
        "flag",
    ),
    Habit(("--reuse", "-r"), VLMEVALKIT, Mapped("--resume"), "flag"),
    Habit(("--no-reuse",), VLMEVALKIT, Mapped("--no-resume"), "flag"),
    Habit(("--data",), VLMEVALKIT, Explained("data sets are named as tasks", "use --task")),
    Habit(("--mode",), VLMEVALKIT, Rewritten(_mode)),
    Habit(("--predict-only", "-x", "--no-score"), f"{LM_EVAL}, {INSPECT}", Note(SCORED_TOO), "flag"),
    Habit(("--judge",), VLMEVALKIT, Rewritten(_judge), anywhere=True),
    Habit(("--judge-args",), VLMEVALKIT, Explained("options of their own set up a judge", JUDGE), anywhere=True),
    Habit(("--judge-strategy",), EVALSCOPE, Explained("a task says what its judge decides", JUDGE), anywhere=True),
    Habit(("--api-key", "--judge-key"), f"{VLMEVALKIT}, {EVALSCOPE}", Rewritten(_secret), anywhere=True),
    Habit(("--api-url", "--model-base-url", "--api-base"), f"{EVALSCOPE}, {INSPECT}", Mapped("--base-url")),
    Habit(("--api-nproc", "--concurrency", "--eval-batch-size"), f"{VLMEVALKIT}, {EVALSCOPE}", Rewritten(_parallel)),
    Habit(("--epochs",), INSPECT, Mapped("--repeats")),
    Habit(("--max-samples",), f"lighteval, {INSPECT}", Rewritten(_max_samples)),
    Habit(("--sample-id", "--samples"), INSPECT, Rewritten(_sample_ids)),
    Habit(("--max-tokens", "--max-gen-toks"), f"{INSPECT}, {LM_EVAL}", Mapped("--max-new-tokens")),
    Habit(("--system-message", "--system-instruction"), f"{INSPECT}, {LM_EVAL}", Mapped("--system-prompt")),
    Habit(("--reasoning-tokens", "--max-thinking-tokens"), INSPECT, Mapped("--think-budget")),
    Habit(("--retry-on-error",), INSPECT, Rewritten(_retried)),
    Habit(("--run-config",), INSPECT, Mapped("--config")),
    Habit(("--nframe", "--max-frames"), VLMEVALKIT, Mapped("--frames")),
    Habit(("--verbosity", "--log-level"), f"{LM_EVAL}, {INSPECT}", Rewritten(_verbosity)),
    Habit(("--debug",), EVALSCOPE, Mapped("-vv"), "flag"),
    Habit(("--display",), INSPECT, Rewritten(_display)),
    Habit(("--seed",), BOTH, Rewritten(_seed)),
    Habit(("--wandb-args", "--wandb-config-args", "--hf-hub-log-args", "--trackio-args"), BOTH, EXPORT, "flag"),
    Habit(("--trust-remote-code",), "all", Rewritten(_remote_code), "flag"),
    Habit(("--confirm-run-unsafe-code",), LM_EVAL, Note(), "flag"),
)
ROWS = {name: habit for habit in HABITS for name in habit.names}
ALIASES = {name: row.action.option for name, row in ROWS.items() if isinstance(row.action, Mapped) and name[:2] == "--"}
"""{option of another harness: ours} where value and meaning are the same; keys of config files, too."""
