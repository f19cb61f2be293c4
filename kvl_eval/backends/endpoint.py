"""Models behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, LM Studio, hosted ones.

    --model endpoint --base-url http://127.0.0.1:8000/v1 [--served-model NAME] [--api-key-env VAR] [--max-connections N]

Pictures, frames and pages go as PNG data URIs, made by worker processes. Which tokens an answer gets is the server's
business: seeds are sent (their low 31 bits), batching and kernels are not ours. Model arguments:

    budget        `tokens` (default): one answer is asked for with its log-probabilities, so that the server's tokens
                  are known, and budgets are counted on them exactly as for the bundled engine; `force` closes a
                  thought and has it continued by `continue_final_message` (vLLM, SGLang). `thinking_token_budget`:
                  vLLM's own field, one request for each budget, policy `force`; the server needs --reasoning-config.
                  What it kept is counted on its tokens, too; a thought that went past its budget fails its sample.
    limit_field   `max_tokens` (default) or `max_completion_tokens`, as the server calls the limit of new tokens
    checkpoint    the Kimi-VL checkpoint that is served (a name, folder or owner/name): plans count tokens, and records
                  say where the server counted otherwise (`extra.prompt_tokens_ours`)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kvl_eval.backends.base import Limits, Request, Settings
from kvl_eval.backends.chat_client import ChatClient, NoAnswer, chosen_model, list_models
from kvl_eval.backends.chat_reply import Reply
from kvl_eval.backends.endpoint_answers import (
    Kept,
    Pieces,
    answer_of,
    check_tokens,
    finish_of,
    kept_budget,
    marks_of,
    no_means,
    served_budget,
    spelled_tokens,
)
from kvl_eval.backends.endpoint_flags import model_args, served_checkpoint, server_of
from kvl_eval.engine.trajectory import LONGEST_MARKER, Output, Trajectory
from kvl_eval.errors import SampleError
from kvl_eval.media.encoded import EncodedTurns, encode_prompt
from kvl_eval.media.images import ImagePrep
from kvl_eval.media.layout import MediaPrep
from kvl_eval.media.pool import MediaPool
from kvl_eval.model.kimi_vl.families import OTHER
from kvl_eval.model.registry import SERVED_RULE
from kvl_eval.types import Completion, Generation, Message, Policy, TokenCounts

PREPARED_AHEAD = 4  # prompts made ready while all connections are taken
SEED_BITS = 0x7FFF_FFFF  # what every server takes
STABLE = ("id", "root", "parent")  # what a server says of a model that tells it from another
TOLD = ("owned_by", "max_model_len", "meta")
PROBE = ({"role": "user", "content": "Say yes."},)
ECHO = "Yes, kvl-eval"


@dataclass(slots=True)
class _Job:
    """A request under way."""

    request: Request
    pulled: float
    prompt: EncodedTurns = field(default_factory=lambda: EncodedTurns(()))
    load: float = 0.0
    open: set[tuple[int, int | None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        budgets = self.request.generation.think_budgets or (None,)
        self.open = {(repeat, budget) for repeat in self.request.repeats for budget in budgets}


Answers = asyncio.Queue[tuple[str, Completion] | asyncio.Task[None]]


class Endpoint:
    """A server's model behind the `Backend` protocol. Raises: UsageError, ConfigError, for flags that name no server.

    Attributes:
        client: whose `counts` and `gate` say what was asked of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.family = settings.family or OTHER.name
        self.server = server_of(settings)
        self.settings = settings
        self.client = ChatClient(self.server)
        self._args = model_args(settings.model_args)
        self._prep = MediaPrep(
            images=ImagePrep(config=SERVED_RULE, style=settings.image_prep, blind=settings.blind),
            decoder=settings.video_decoder,
            frames=settings.frames,
            fps=settings.fps,
            max_pixels=settings.max_pixels,
            time_limit=settings.timeout,
        )
        self._pool: MediaPool[tuple[Message, ...], EncodedTurns] = MediaPool(
            partial(encode_prompt, prep=self._prep), workers=settings.num_workers, timeout=settings.timeout
        )
        self._listed: list[dict[str, Any]] | None = None
        self._means: set[Policy] = set()
        self._opening = 0  # tokens of the opening marker, which a server's own budget does not count
        self._served_checkpoint = served_checkpoint(settings)

    # -- facts

    @property
    def name(self) -> str:
        """The model's name on the server, which is asked for it where the user gave none."""
        return chosen_model(self.server, self._models())

    def describe(self) -> Mapping[str, Any]:
        """What the server says of the model. Raises: EndpointError, if it cannot be reached: the probe before a run."""
        told = next((one for one in self._models() if one["id"] == self.name), {})
        return {
            "path": self.name,
            "weights_served": {name: told[name] for name in STABLE if name in told},
            "server": {name: told[name] for name in TOLD if name in told},
            "base_url": self.server.base_url,
            "listed": [str(one["id"]) for one in self._models()][:20],
            "budget_by": self._args["budget"],
            "dtype": None,
            "device": "server",
        }

    def _models(self) -> list[dict[str, Any]]:
        if self._listed is None:
            self._listed = list_models(self.server)
        return self._listed

    def limits(self) -> Limits:
        """The context, where the server says it; what a picture or a text takes only the server knows."""
        told = next((one for one in self._models() if one["id"] == self.name), {})
        length = told.get("max_model_len")
        context = length if isinstance(length, int) else None
        supports = frozenset({"images", "seeds", "think_budget", "prefix"})
        if self._served_checkpoint is not None:
            return self._served_checkpoint.limits(context, supports)
        return Limits(context=context, supports=supports)

    # -- answers

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._pool.expect(images)
        self._pool.warm_up()

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer `requests` as they finish. Raises: EndpointError, where the server cannot be used by anybody."""
        pulled, answers, active = iter(requests), Answers(), set[asyncio.Task[None]]()
        more = True
        try:
            while True:
                while more and len(active) < self.server.max_connections + PREPARED_AHEAD:
                    request = next(pulled, None)
                    if request is None:
                        more = False
                        break
                    active.add(asyncio.create_task(self._answer(_Job(request, time.perf_counter()), answers)))
                if not active:
                    return
                item = await answers.get()
                if isinstance(item, asyncio.Task):
                    active.discard(item)
                    await item
                else:
                    yield item
        finally:
            for task in active:
                task.cancel()
            await asyncio.gather(*active, return_exceptions=True)

    async def close(self) -> None:
        """Let go of worker processes and connections."""
        self._pool.close()
        await self.client.close()

    async def _answer(self, job: _Job, answers: Answers) -> None:
        """All answers of one request, as they come; the task itself is the last thing in the queue."""
        task = asyncio.current_task()
        assert task is not None
        try:
            job.prompt = await self._prepare(job.request.messages)
            job.load = time.perf_counter() - job.pulled
            async with asyncio.TaskGroup() as group:
                for repeat, seed in zip(job.request.repeats, job.request.seeds, strict=True):
                    group.create_task(self._repeat(job, repeat, seed, answers))
        except SampleError as error:
            for repeat in job.request.repeats:
                self._fail(job, repeat, error, answers)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            answers.put_nowait(task)

    async def _prepare(self, messages: tuple[Message, ...]) -> EncodedTurns:
        if all(isinstance(part, str) for message in messages for part in message.parts):
            return encode_prompt(messages, self._prep)
        return await asyncio.wrap_future(self._pool.submit(messages))

    async def _repeat(self, job: _Job, repeat: int, seed: int, answers: Answers) -> None:
        generation = job.request.generation
        try:
            if not generation.think_budgets:
                made = self._plain(job, repeat, seed)
            elif self._args["budget"] == "tokens":
                made = self._counted(job, repeat, seed)
            else:
                made = self._served(job, repeat, seed)
            async for completion in made:
                job.open.discard((repeat, completion.budget))
                answers.put_nowait((job.request.key, completion))
        except SampleError as error:
            self._fail(job, repeat, error, answers)

    async def _plain(self, job: _Job, repeat: int, seed: int) -> AsyncIterator[Completion]:
        """One answer without a budget."""
        generation = job.request.generation
        reply = await self._ask(job, seed, generation.limit, prefix=job.request.prefix)
        yield self._completion(job, repeat, seed, reply, None)

    async def _served(self, job: _Job, repeat: int, seed: int) -> AsyncIterator[Completion]:
        """One request for each budget, which the server itself keeps."""
        generation = job.request.generation
        await self._check_means(generation)
        for budget in generation.think_budgets:
            kept = kept_budget(await self._ask_served(job, seed, budget), budget, generation.answer_tokens)
            yield self._completion(job, repeat, seed, kept.reply, budget, kept)

    async def _ask_served(self, job: _Job, seed: int, budget: int) -> Reply:
        """The reply under the server's own budget, which begins behind the opening marker."""
        while True:
            opening = self._opening
            if budget < opening:
                raise no_means(
                    "force",
                    f"thoughts open with {opening} tokens before it counts, so a budget of {budget} is too small",
                )
            limit = budget + LONGEST_MARKER + job.request.generation.answer_tokens
            reply = await self._ask(job, seed, limit, logprobs=True, thinking_token_budget=budget - opening)
            found = marks_of(spelled_tokens(reply))
            if found is None or found.opening <= opening:
                return reply
            self._opening = max(self._opening, found.opening)

    async def _counted(self, job: _Job, repeat: int, seed: int) -> AsyncIterator[Completion]:
        """What every budget makes of one answer whose tokens are known; `force` asks for the answers that follow."""
        generation = job.request.generation
        await self._check_means(generation)
        pieces = Pieces()
        trajectory = Trajectory(generation, pieces.alphabet, prefix=job.request.prefix)
        reply = await self._ask(job, seed, generation.limit, prefix=job.request.prefix, logprobs=True)
        pieces.feed(trajectory, check_tokens(reply), finish_of(reply))
        while True:
            for output in trajectory.outputs:
                yield self._budgeted(job, repeat, seed, reply, output, pieces)
            trajectory.outputs = []
            if trajectory.finished:
                return
            trajectory.cut = None
            prefix = job.request.prefix + pieces.alphabet.text(trajectory.line)
            more = await self._ask(job, seed, generation.answer_tokens, prefix=prefix, logprobs=True)
            reply = replace(more, usage={**more.usage, "prompt_tokens": reply.count("prompt_tokens")})
            pieces.feed(trajectory, check_tokens(reply), finish_of(reply))

    async def _ask(self, job: _Job, seed: int, limit: int, *, prefix: str = "", **fields: Any) -> Reply:
        """The server's reply to a prompt, `prefix` being what the answer begins with. Raises: SampleError, ..."""
        generation = job.request.generation
        sampling: dict[str, Any] = {"temperature": generation.temperature, "seed": seed & SEED_BITS}
        if generation.top_p < 1:
            sampling["top_p"] = generation.top_p
        if generation.top_k:
            sampling["top_k"] = generation.top_k
        messages = turns(job.prompt)
        if prefix:
            messages.append({"role": "assistant", "content": prefix})
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        return await self._complete(messages, limit, {**sampling, **fields})

    async def _complete(self, messages: list[dict[str, Any]], limit: int, fields: Mapping[str, Any]) -> Reply:
        return await self.client.complete(
            {"model": self.name, "messages": messages, self._args["limit_field"]: limit, **fields}
        )

    async def _check_means(self, generation: Generation) -> None:
        """Whether the server can do what budgets need, tried on a prompt of its own. Raises: EndpointError."""
        policy = generation.budget_policy
        if policy in self._means:
            return
        messages = [dict(turn) for turn in PROBE]
        try:
            if self._args["budget"] == "thinking_token_budget":
                served_budget(policy)
                fields = {"thinking_token_budget": 1, "logprobs": True, "temperature": 0}
                reply = await self._complete(messages, LONGEST_MARKER, fields)
                if reply.tokens is None:
                    raise no_means("force", "it sends no log-probabilities, so nothing shows whether it keeps a budget")
            else:
                await self._check_counting(messages, continued=policy == "force")
        except NoAnswer:
            return  # it did not answer at all: the sample says so
        except SampleError as error:
            raise no_means(policy, error.message) from None
        self._means.add(policy)

    async def _check_counting(self, messages: list[dict[str, Any]], continued: bool) -> None:
        fields: dict[str, Any] = {"logprobs": True, "temperature": 0}
        reply = await self._complete(messages, 4, fields)
        if reply.tokens is None:
            raise no_means("cut", "it sends no log-probabilities, so the tokens of a thought cannot be counted")
        if not continued:
            return
        fields |= {"continue_final_message": True, "add_generation_prompt": False, "echo": True}
        reply = await self._complete([*messages, {"role": "assistant", "content": ECHO}], 2, fields)
        if not (reply.content or "").startswith(ECHO):
            raise no_means("force", "it does not continue an answer that was begun (continue_final_message)")

    # -- completions

    def _completion(
        self, job: _Job, repeat: int, seed: int, reply: Reply, budget: int | None, kept: Kept | None = None
    ) -> Completion:
        answer = answer_of(reply)
        if kept is not None:
            notes = {name: note for name, note in answer.notes.items() if name != "tokens_split"} | kept.notes
            answer = replace(answer, thinking_tokens=kept.thinking, answer_tokens=kept.answer, notes=notes)
        return self._finished(
            job,
            repeat,
            seed,
            reply,
            budget=budget,
            raw_output=job.request.prefix + answer.raw,
            thinking=answer.thinking,
            answer=answer.answer,
            think_closed=answer.closed,
            budget_forced=kept is not None and kept.forced,
            finish_reason=finish_of(reply),
            tokens=TokenCounts(
                prompt=reply.count("prompt_tokens"), thinking=answer.thinking_tokens, answer=answer.answer_tokens
            ),
            more=answer.notes,
        )

    def _budgeted(self, job: _Job, repeat: int, seed: int, reply: Reply, output: Output, pieces: Pieces) -> Completion:
        raw, thinking, answer = output.texts(pieces.alphabet, job.request.prefix)
        return self._finished(
            job,
            repeat,
            seed,
            reply,
            budget=output.budget,
            raw_output=raw,
            thinking=thinking,
            answer=answer,
            think_closed=output.closed,
            budget_forced=output.forced,
            finish_reason=output.finish,
            tokens=TokenCounts(prompt=reply.count("prompt_tokens"), thinking=output.thinking, answer=output.answer),
            trajectory_id=f"{job.request.key}/{repeat}",
            more={},
        )

    def _finished(
        self, job: _Job, repeat: int, seed: int, reply: Reply, *, more: Mapping[str, Any], **fields: Any
    ) -> Completion:
        """What is the same for every answer. `extra` names another model than the one asked for."""
        other: dict[str, Any] = {"model": reply.model} if reply.model and reply.model != self.name else {}
        if self._served_checkpoint is not None and not job.request.prefix:
            ours = self._served_checkpoint.count(job.prompt)
            other |= {"prompt_tokens_ours": ours} if ours != reply.count("prompt_tokens") else {}
        total = time.perf_counter() - job.pulled
        return Completion(
            repeat=repeat,
            policy=_policy(job, fields["budget"]),
            attempt=reply.tries,
            media=job.prompt.media,
            prompt_text=job.prompt.text + job.request.prefix,
            seed=seed,
            time={
                "load": job.load,
                "queue": reply.waited,
                "decode": max(0.0, total - job.load - reply.waited),
                "total": total,
            },
            worker=self.server.base_url,
            extra={**other, **more, **self._traffic()},
            **fields,
        )

    def _traffic(self) -> dict[str, Any]:
        """What the progress line shows where the server could not keep up."""
        counts = self.client.counts
        if not counts["retries"]:
            return {}
        return {"server": {"retries": counts["retries"], "limited": counts["limited"], "room": self.client.gate.limit}}

    def _fail(self, job: _Job, repeat: int, error: SampleError, answers: Answers) -> None:
        for completion in self._failures(job, repeat, error):
            answers.put_nowait((job.request.key, completion))

    def _failures(self, job: _Job, repeat: int, error: SampleError) -> Iterator[Completion]:
        seeds = dict(zip(job.request.repeats, job.request.seeds, strict=True))
        text = "; ".join(part for part in (error.message, error.where, error.why) if part)
        for _, budget in sorted((one for one in job.open if one[0] == repeat), key=lambda one: one[1] or 0):
            job.open.discard((repeat, budget))
            yield Completion(
                repeat=repeat,
                budget=budget,
                policy=_policy(job, budget),
                status="failed",
                reason=error.reason,
                message=text,
                attempt=error.tries if isinstance(error, NoAnswer) else 1,
                finish_reason="error",
                media=job.prompt.media,
                prompt_text=job.prompt.text,
                seed=seeds[repeat],
                time={"load": job.load, "total": time.perf_counter() - job.pulled},
                worker=self.server.base_url,
                extra=self._traffic(),
            )


def turns(prompt: EncodedTurns) -> list[dict[str, Any]]:
    """A prompt as chat completions take it: texts that touch become one, turns of text alone are plain strings."""
    found: list[dict[str, Any]] = []
    for role, parts in prompt.turns:
        content: list[dict[str, Any]] = []
        for part in parts:
            if not isinstance(part, str):
                content.append({"type": "image_url", "image_url": {"url": part.data_uri}})
            elif content and content[-1]["type"] == "text":
                content[-1] = {"type": "text", "text": content[-1]["text"] + part}
            else:
                content.append({"type": "text", "text": part})
        plain = all(one["type"] == "text" for one in content)
        found.append({"role": role, "content": "".join(one["text"] for one in content) if plain else content})
    return found


def _policy(job: _Job, budget: int | None) -> Policy | None:
    return None if budget is None else job.request.generation.budget_policy
