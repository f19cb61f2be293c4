"""Scripted answers, delays and failures: for tests of tasks, runs and reports, without a model.

Model arguments (`--model fake --model-args answers=constant:B,delay=0.05`):

    answers      `hash` (default): a letter A to D or a number 0 to 9 that depends on the request's seed alone;
                 `constant:TEXT`; `empty`; `echo`: the prompt's last line; or a JSON Lines file, see below
    think        words of a scripted thought before every answer; 0 (default) means no thought
    delay        seconds an answer takes
    jitter       each answer takes between 1 - jitter and 1 + jitter times `delay`, so that they finish out of order
    concurrency  answers under way at once (default 1)
    fail         failures by reason, joined by `+`: `oom:3` fails the first three requests of this process,
                 `worker_died:10%` those tenth of all that a hash picks, `timeout:@ID` the sample called ID

A line of an answers file is `{"id": "task/sample", "response": "..."}`: the id may lack the task, the response may be
a list (one for each repeat), and `"thinking"` or `"fail": "reason"` may be added. Samples without a line get `hash`.
`"tokens": ["...", ...]` (or a list of such lists, one for each repeat) is a whole output, thought and markers included,
cut into tokens as given; `response` then only answers where a budget closed the thought by force.

A token of this backend is a word with the white space behind it, and each marker of a thought is one token. What
budgets make of an output is computed by the same code as for a model (`kvl_eval/engine/trajectory.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from kvl_eval.backends.base import Description, Limits, Request, Settings
from kvl_eval.backends.jobs import Job, failed, finished_output
from kvl_eval.decode import Json, decode
from kvl_eval.engine.trajectory import Alphabet, Output, Trajectory
from kvl_eval.errors import ConfigError, DecodeError, SampleError, UsageError
from kvl_eval.model.kimi_vl.families import SCRIPTED
from kvl_eval.request import RequestQueue
from kvl_eval.thinking import THINK_CLOSE, THINK_OPEN
from kvl_eval.types import Completion

AnswerOf = Callable[[Request, int], str]
"""(request, repeat) -> answer; tests that need gold answers hand in one of their own."""

_WORDS = re.compile(r"\S+\s*|\s+")
_YIELD_EVERY = 16  # instantaneous answers between two turns of the event loop


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeArgs:
    """The model arguments, checked."""

    answers: str = "hash"
    think: int = 0
    delay: float = 0.0
    jitter: float = 0.0
    concurrency: int = 1
    fail: str = ""

    def __post_init__(self) -> None:
        if self.think < 0 or self.delay < 0 or not 0 <= self.jitter <= 1 or self.concurrency < 1:
            raise ConfigError(
                "config.model_args",
                f"invalid arguments for the fake backend: {self}",
                fix="use think and delay of at least 0, jitter between 0 and 1, concurrency of at least 1",
            )


@dataclass(frozen=True, slots=True)
class _Failure:
    """One kind of scripted failure: the first `count` requests, a `share` by hash, or the sample `id`."""

    reason: str
    count: int = 0
    share: float = 0.0
    id: str | None = None


class FakeBackend:
    """Answers without a model. `answer`, given by tests, replaces `answers`."""

    name = "fake"

    def __init__(self, settings: Settings | None = None, answer: AnswerOf | None = None) -> None:
        settings = settings or Settings()
        self.family = settings.engine.family or SCRIPTED.name
        self._args = _parse(settings.engine.model_args)
        self._lines = _read_answers(self._args.answers)
        self._answer = answer or self._scripted
        self._failures = [_failure(text) for text in self._args.fail.replace(",", "+").split("+") if text.strip()]
        self._seen = 0

    def describe(self) -> Description:
        """The script is what stands for weights."""
        script = json.dumps([self._args.answers, self._args.think, self._args.fail, self._lines], sort_keys=True)
        return Description(
            identity={"weights_sha256": hashlib.sha256(script.encode()).hexdigest(), "dtype": None},
            facts={"device": "cpu", "scripted": True},
        )

    def limits(self) -> Limits:
        """Words are tokens; pictures have none."""
        return Limits(text_tokens=lambda text: len(text.split()), image_tokens=lambda width, height: 0)

    async def close(self) -> None:
        """Nothing to let go of."""

    def warm_up(self, images: int) -> None:
        """Nothing to start."""

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer each request, in order where `concurrency` is 1, otherwise as they finish."""
        async with aclosing(self.answer_queue(RequestQueue(requests))) as answers:
            async for answered in answers:
                yield answered

    async def answer_queue(self, queue: RequestQueue) -> AsyncGenerator[tuple[str, Completion]]:
        """The same of requests that arrive meanwhile."""
        if self._args.concurrency == 1:
            number = 0
            while (request := await queue.next()) is not None:
                for completion in self._completions(request):
                    await self._pause(request, completion)
                    yield request.key, completion
                if number % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                number += 1
            return
        async with aclosing(self._concurrently(queue)) as answers:
            async for answered in answers:
                yield answered

    async def _concurrently(self, queue: RequestQueue) -> AsyncGenerator[tuple[str, Completion]]:
        most = self._args.concurrency
        under_way: set[asyncio.Task[list[tuple[str, Completion]]]] = set()
        try:
            while True:
                while len(under_way) < most and (request := queue.take()) is not None:
                    under_way.add(asyncio.create_task(self._one(request)))
                if not under_way and queue.closed:
                    return
                await queue.wait(under_way, arrivals=len(under_way) < most)
                for task in [task for task in under_way if task.done()]:
                    under_way.discard(task)
                    for answered in task.result():
                        yield answered
        finally:
            for task in under_way:
                task.cancel()

    async def _one(self, request: Request) -> list[tuple[str, Completion]]:
        found = []
        for completion in self._completions(request):
            await self._pause(request, completion)
            found.append((request.key, completion))
        return found

    async def _pause(self, request: Request, completion: Completion) -> None:
        if self._args.delay:
            spread = self._args.jitter * (2 * _share(f"{request.key} {completion.repeat} {completion.budget}") - 1)
            await asyncio.sleep(self._args.delay * (1 + spread))

    # -- what is answered ---------------------------------------------------------------------------------------

    def _completions(self, request: Request) -> Iterator[Completion]:
        self._seen += 1
        job, reason = Job(request), self._failing(request)
        texts = [part for message in request.messages for part in message.parts if isinstance(part, str)]
        job.prompt_tokens = 0 if reason else sum(len(text.split()) for text in texts)
        for repeat in request.repeats:
            if reason is None:
                answers: Iterable[Completion] = self._played(job, repeat)
            else:
                answers = failed(job, SampleError(reason, f"scripted failure: {reason}"), repeat=repeat)
            for completion in answers:
                yield replace(completion, worker="fake", time={"decode": job.seconds, "total": job.seconds})

    def _played(self, job: Job, repeat: int) -> Iterator[Completion]:
        """What each budget makes of one scripted output, largest budget first."""
        request = job.request
        line = self._line(request)
        answer = _WORDS.findall(self._answer(request, repeat))
        thought = line.get("thinking") or _thought(self._args.think, job.seeds[repeat])
        tokens = [THINK_OPEN, *_WORDS.findall(str(thought)), THINK_CLOSE, *answer] if thought else answer
        if "tokens" in line:
            tokens = _scripted_tokens(line["tokens"], repeat)
        words = _Words()
        trajectory = Trajectory(request.generation, words.alphabet, prefix=request.prefix)
        for output in _play(trajectory, words, tokens, answer):
            yield finished_output(job, repeat, output, words.alphabet)

    def _failing(self, request: Request) -> str | None:
        for failure in self._failures:
            if failure.id is not None and failure.id in _names(request.key):
                return failure.reason
            if self._seen <= failure.count or _share(f"{failure.reason} {_names(request.key)[0]}") < failure.share:
                return failure.reason
        reason = self._line(request).get("fail")
        return None if reason is None else str(reason)

    def _line(self, request: Request) -> Mapping[str, Json]:
        return next((self._lines[name] for name in _names(request.key) if name in self._lines), {})

    def _scripted(self, request: Request, repeat: int) -> str:
        script = self._args.answers
        if script.startswith("constant:"):
            return script.removeprefix("constant:")
        if script == "empty":
            return ""
        if script == "echo":
            texts = [part for message in request.messages for part in message.parts if isinstance(part, str)]
            return next((line for line in reversed("\n".join(texts).splitlines()) if line.strip()), "")
        response = self._line(request).get("response")
        if isinstance(response, list):
            return str(response[repeat % len(response)]) if response else ""
        return _hashed(request.seeds[request.repeats.index(repeat)]) if response is None else str(response)


class _Words:
    """A tokenizer of words: ids are given out as words are met, and id 0 ends an output."""

    def __init__(self) -> None:
        self._pieces = [b""]
        self._ids: dict[str, int] = {}
        self.alphabet = Alphabet(self._pieces.__getitem__, self.encode, frozenset({0}))

    def id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = len(self._pieces)
            self._pieces.append(word.encode("utf-8", "surrogatepass"))
        return self._ids[word]

    def encode(self, text: str) -> list[int]:
        return [self.id(word) for word in _WORDS.findall(text)]


def _play(trajectory: Trajectory, words: _Words, tokens: Sequence[str], answer: Sequence[str]) -> list[Output]:
    """The outputs of a trajectory that writes `tokens`, and `answer` wherever its thought is closed by force."""
    rest = iter(tokens)
    while not trajectory.finished:
        if trajectory.cut is not None:
            trajectory.cut, rest = None, iter(answer)
        word = next(rest, None)
        trajectory.push(0 if word is None else words.id(word))
    return trajectory.outputs


def _scripted_tokens(tokens: Json, repeat: int) -> list[str]:
    """The tokens of a repeat: one list for all, or one of a list of lists."""
    if not isinstance(tokens, list):
        return []
    own = tokens[repeat % len(tokens)] if tokens and isinstance(tokens[0], list) else tokens
    return [str(token) for token in own] if isinstance(own, list) else []


def _names(key: str) -> tuple[str, ...]:
    """`task/id` and `id` of a request's key, whose task part may carry `#n`; of a table, every end of its path."""
    task, _, sample_id = key.partition("/")
    names = [f"{task.partition('#')[0]}/{sample_id}", sample_id]
    while key.startswith("file:") and "/" in names[-1]:
        names.append(names[-1].partition("/")[2])
    return tuple(names)


def _share(text: str) -> float:
    """A number in [0, 1) that depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6]) / 2**48


def _hashed(seed: int) -> str:
    return "ABCD0123456789"[int(_share(f"answer {seed}") * 14)]


def _thought(words: int, seed: int) -> str:
    if not words:
        return ""
    draw = random.Random(seed)
    return "".join(draw.choice(("so ", "then ", "wait, ", "hence ", "look: ")) for _ in range(words))


def _parse(values: Mapping[str, Json]) -> FakeArgs:
    known: dict[str, type] = {
        "answers": str,
        "think": int,
        "delay": float,
        "jitter": float,
        "concurrency": int,
        "fail": str,
    }
    for name in values:
        if name not in known:
            from kvl_eval.errors import unknown

            raise unknown("model argument", name, list(known), "kvl-eval list models")
    try:
        return FakeArgs(**{name: known[name](value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "config.model_args",
            "invalid arguments for the fake backend",
            why=str(error),
            fix="use whole numbers for think and concurrency, numbers for delay and jitter",
        ) from error


def _failure(text: str) -> _Failure:
    reason, _, how = text.strip().partition(":")
    if how.startswith("@"):
        return _Failure(reason, id=how[1:])
    try:
        return _Failure(reason, share=float(how[:-1]) / 100) if how.endswith("%") else _Failure(reason, count=int(how))
    except ValueError as error:
        raise UsageError(
            "usage.value",
            f"invalid scripted failure: fail={text!r}",
            fix="use REASON:COUNT, REASON:SHARE% or REASON:@ID",
        ) from error


def _read_answers(script: str) -> dict[str, dict[str, Json]]:
    if script in ("hash", "empty", "echo") or script.startswith("constant:"):
        return {}
    path = Path(script)
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
        lines = [decode(dict[str, Json], json.loads(text)) for text in texts if text.strip()]
        return {str(line["id"]): line for line in lines}
    except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
        raise ConfigError(
            "config.model_args",
            f"invalid answers={script!r} for the fake backend",
            why=f"not the name of a script; as a file: {error}",
            fix='use hash, constant:TEXT, empty, echo, or a file with lines {"id": ..., "response": ...}',
        ) from error
