"""Models behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, LM Studio, hosted ones.

    --model endpoint --base-url http://127.0.0.1:8000/v1 [--served-model NAME] [--api-key-env VAR] [--max-connections N]

Pictures, frames and pages go as PNG data URIs, made by worker processes. Which tokens an answer gets is the server's
business: seeds are sent (their low 31 bits), batching and kernels are not ours. Model arguments:

    budget        `tokens` (default): one answer is asked for with its log-probabilities, so that the server's tokens
                  are known, and budgets are counted on them exactly as for the bundled engine; `force` closes a
                  thought and has it continued by `continue_final_message` (vLLM, SGLang). `thinking_token_budget`:
                  vLLM's own field, one request for each budget, policy `force`; the server needs --reasoning-config.
                  What it kept is counted on its tokens, too; a thought that went past its budget fails its sample.
    omit          fields that are not sent, such as `seed+temperature`: any of seed, temperature, top_p, top_k,
                  max_tokens, stop, logprobs
    limit_field   `max_tokens` (default) or `max_completion_tokens`, as the server calls the limit of new tokens
    checkpoint    the Kimi-VL checkpoint that is served (a name, folder or owner/name): plans count tokens, and records
                  say where the server counted otherwise (`extra.prompt_tokens_ours`)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from kvl_eval.backends.base import Description, Limits, Request, Settings
from kvl_eval.backends.chat_client import PROBE_SECONDS, ChatClient, NoAnswer
from kvl_eval.backends.chat_errors import RefusedField
from kvl_eval.backends.chat_models import ListedModel, ModelList, chosen_model, list_models
from kvl_eval.backends.chat_reply import Reply
from kvl_eval.backends.encoding import EncodedJob, PromptEncoder
from kvl_eval.backends.endpoint_answers import (
    Pieces,
    answer_of,
    check_tokens,
    finish_of,
    flags_of,
    kept_budget,
    marks_of,
    no_means,
    spelled_tokens,
)
from kvl_eval.backends.endpoint_flags import EndpointArgs, endpoint_args, field_refused, served_checkpoint, server_of
from kvl_eval.backends.endpoint_requests import PROBE, PROBE_TOKENS, Asker, sampling_fields
from kvl_eval.backends.jobs import failed, finished, finished_output
from kvl_eval.decode import Json
from kvl_eval.engine.trajectory import LONGEST_MARKER, Trajectory
from kvl_eval.errors import SampleError
from kvl_eval.model.kimi_vl.families import OTHER
from kvl_eval.request import RequestQueue
from kvl_eval.types import Completion, Generation

PREPARED_AHEAD = 4  # prompts made ready while all connections are taken
MOST_LISTED = 20  # models of a server that a run names

Answers = asyncio.Queue[tuple[str, Completion] | asyncio.Task[None]]


class Endpoint:
    """A server's model behind the `Backend` protocol. Raises: UsageError, ConfigError, for flags that name no server.

    Args:
        client: asks another server than the one that the flags name.

    Attributes:
        client: whose `counts` and `gate` say what was asked of the server.
    """

    def __init__(self, settings: Settings, client: ChatClient | None = None) -> None:
        self.family = settings.engine.family or OTHER.name
        self.client = client or ChatClient(server_of(settings.server))
        self.server = self.client.server
        self._args: EndpointArgs = endpoint_args(settings.engine.model_args)
        self._asker = Asker(self._complete, self._args.budget)
        self._encoder = PromptEncoder(settings.media)
        self._listed: ModelList | None = None
        self._answered = False  # whether a request of this run was taken
        self._opening = 0  # tokens of the opening marker, which a server's own budget does not count
        self._served_checkpoint = served_checkpoint(settings.engine)

    # -- facts

    @property
    def name(self) -> str:
        """The model's name on the server, which is asked for it where the user gave none."""
        return chosen_model(self.server, self._models())

    def describe(self) -> Description:
        """What the server says of the model. Raises: EndpointError, if it cannot be reached: the probe before a run."""
        models = self._models().models
        model = next((model for model in models if model.id == self.name), ListedModel(id=""))
        return Description(
            identity={"weights_served": {**model.identity}, "dtype": None, **self._omitted()},
            facts={
                "path": self.name,
                "server": {**model.circumstances},
                "base_url": self.server.base_url,
                "listed": [*sorted((model.id for model in models), key=lambda name: name != self.name)[:MOST_LISTED]],
                "budget_by": self._args.budget,
                "device": "server",
            },
        )

    def _omitted(self) -> dict[str, Json]:
        return {"omitted": [*self._args.omit]} if self._args.omit else {}

    def _models(self) -> ModelList:
        if self._listed is None:
            self._listed = list_models(self.server)
        return self._listed

    def limits(self) -> Limits:
        """What a picture or a text takes only the server knows, unless `checkpoint=` names the checkpoint it serves."""
        return Limits() if self._served_checkpoint is None else self._served_checkpoint.limits()

    # -- answers

    def warm_up(self, images: int) -> None:
        """Start the worker processes that so many images need."""
        self._encoder.warm_up(images)

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer `requests` as they finish. Raises: EndpointError, where the server cannot be used by anybody."""
        async with aclosing(self.answer_queue(RequestQueue(requests))) as answered:
            async for answer in answered:
                yield answer

    async def answer_queue(self, queue: RequestQueue) -> AsyncGenerator[tuple[str, Completion]]:
        """The same of requests that arrive meanwhile."""
        answers, active, most = Answers(), set[asyncio.Task[None]](), self.server.max_connections + PREPARED_AHEAD
        coming = asyncio.create_task(answers.get())
        try:
            while True:
                while len(active) < most and (request := queue.take()) is not None:
                    active.add(asyncio.create_task(self._answer(EncodedJob(request), answers)))
                if not active and queue.closed:
                    return
                await queue.wait({coming}, arrivals=len(active) < most)
                if not coming.done():
                    continue
                item, coming = coming.result(), asyncio.create_task(answers.get())
                if isinstance(item, asyncio.Task):
                    active.discard(item)
                    await item
                else:
                    yield item
        finally:
            for task in (coming, *active):
                task.cancel()
            await asyncio.gather(coming, *active, return_exceptions=True)

    async def probe(self, generations: Iterable[Generation]) -> None:
        """Ask one short question with the fields of the run, one for each way of sampling, and what its budgets need.

        Raises: EndpointError, where the server refuses a field or everybody, or cannot keep a budget. What else goes
        wrong is left to the samples, which are tried again.
        """
        patience = min(PROBE_SECONDS, self.server.request_timeout)
        client = ChatClient(replace(self.server, max_retries=0, request_timeout=patience))
        messages: list[Json] = [{"role": "user", "content": PROBE}]
        asked: list[dict[str, Json]] = []
        try:
            for generation in generations:
                fields = sampling_fields(generation, 0)
                if fields not in asked:
                    asked.append(fields)
                    await client.complete(self._body(messages, PROBE_TOKENS, fields))
                if generation.think_budgets:
                    await self._probe_budgets(generation)
        except RefusedField as error:
            raise field_refused(self.server, error, self._args.omit) from None
        except SampleError:
            return
        finally:
            await client.close()

    async def ask_freely(self, text: str, limit: int, sent: Mapping[str, Json]) -> Reply:
        """The reply to a question without images; `sent` are further fields. Raises: EndpointError, SampleError."""
        return await self._complete([{"role": "user", "content": text}], limit, sent)

    async def _probe_budgets(self, generation: Generation) -> None:
        """Raises: EndpointError where the server cannot keep thinking budgets."""
        client = ChatClient(self.server)
        try:
            asker = Asker(
                lambda turns, limit, fields: client.complete(self._body(turns, limit, fields)), self._args.budget
            )
            await asker.check_means(generation)
        finally:
            await client.close()

    async def close(self) -> None:
        """Let go of worker processes and connections."""
        self._encoder.close()
        await self.client.close()

    async def _complete(self, messages: list[Json], limit: int, fields: Mapping[str, Json]) -> Reply:
        reply = await self.client.complete(self._body(messages, limit, fields))
        return replace(reply, limit=None if "max_tokens" in self._args.omit else limit)

    def _body(self, messages: list[Json], limit: int, fields: Mapping[str, Json]) -> dict[str, Json]:
        return self._args.sent({"model": self.name, "messages": messages, self._args.limit_field: limit, **fields})

    async def _answer(self, job: EncodedJob, answers: Answers) -> None:
        """All answers of one request, as they come; the task itself is the last thing in the queue."""
        task = asyncio.current_task()
        assert task is not None
        try:
            await self._encoder.encode(job)
            async with asyncio.TaskGroup() as group:
                for repeat in job.request.repeats:
                    group.create_task(self._repeat(job, repeat, answers))
        except SampleError as error:
            self._fail(job, None, error, answers)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            answers.put_nowait(task)

    async def _repeat(self, job: EncodedJob, repeat: int, answers: Answers) -> None:
        generation = job.request.generation
        try:
            if not generation.think_budgets:
                completions = self._plain(job, repeat)
            elif generation.budget_policy == "approximate":
                completions = self._approximate(job, repeat)
            elif self._args.budget == "tokens":
                completions = self._counted(job, repeat)
            else:
                completions = self._served(job, repeat)
            async for completion in completions:
                answers.put_nowait((job.request.key, completion))
        except RefusedField as error:
            if not self._answered:
                raise field_refused(self.server, error, self._args.omit) from None
            self._fail(job, repeat, error, answers)
        except SampleError as error:
            self._fail(job, repeat, error, answers)

    async def _plain(self, job: EncodedJob, repeat: int) -> AsyncIterator[Completion]:
        """One answer without a budget."""
        request = job.request
        reply = await self._asker.ask(job, job.seeds[repeat], request.generation.limit, prefix=request.prefix)
        yield self._completion(job, reply, self._finished(job, repeat, answer_of(reply)))

    async def _approximate(self, job: EncodedJob, repeat: int) -> AsyncIterator[Completion]:
        """One request for each budget, whose reply has at most the tokens of thought and answer together."""
        generation, prefix = job.request.generation, job.request.prefix
        for budget in generation.think_budgets:
            reply = await self._asker.ask(job, job.seeds[repeat], budget + generation.answer_tokens, prefix=prefix)
            yield self._completion(job, reply, self._finished(job, repeat, replace(answer_of(reply), budget=budget)))

    async def _served(self, job: EncodedJob, repeat: int) -> AsyncIterator[Completion]:
        """One request for each budget, which the server itself keeps."""
        generation = job.request.generation
        await self._asker.check_means(generation)
        for budget in generation.think_budgets:
            reply = await self._ask_served(job, job.seeds[repeat], budget)
            answer = kept_budget(reply, budget, generation.answer_tokens)
            yield self._completion(job, reply, self._finished(job, repeat, answer))

    async def _ask_served(self, job: EncodedJob, seed: int, budget: int) -> Reply:
        """The reply under the server's own budget, which begins behind the opening marker."""
        while True:
            opening = self._opening
            if budget < opening:
                raise no_means(
                    "force",
                    f"a thought opens with {opening} tokens that the server does not count, so a budget of {budget} is "
                    "too small",
                )
            limit = budget + LONGEST_MARKER + job.request.generation.answer_tokens
            reply = await self._asker.ask(job, seed, limit, logprobs=True, thinking_token_budget=budget - opening)
            marks = marks_of(spelled_tokens(reply))
            if marks is None or marks.opening <= opening:
                return reply
            self._opening = max(self._opening, marks.opening)

    async def _counted(self, job: EncodedJob, repeat: int) -> AsyncIterator[Completion]:
        """What every budget makes of one answer whose tokens are known; `force` asks for the answers that follow."""
        generation, prefix, seed = job.request.generation, job.request.prefix, job.seeds[repeat]
        await self._asker.check_means(generation)
        pieces = Pieces()
        trajectory = Trajectory(generation, pieces.alphabet, prefix=prefix)
        reply = await self._asker.ask(job, seed, generation.limit, prefix=prefix, logprobs=True)
        pieces.feed(trajectory, check_tokens(reply), finish_of(reply))
        while True:
            for output in trajectory.outputs:
                yield self._completion(job, reply, finished_output(job, repeat, output, pieces.alphabet))
            trajectory.outputs = []
            if trajectory.finished:
                return
            trajectory.cut = None
            written = prefix + pieces.alphabet.text(trajectory.line)
            more = await self._asker.ask(job, seed, generation.answer_tokens, prefix=written, logprobs=True)
            reply = replace(more, usage=replace(more.usage, prompt=reply.usage.prompt))
            pieces.feed(trajectory, check_tokens(reply), finish_of(reply))

    # -- completions

    def _finished(self, job: EncodedJob, repeat: int, answer: Completion) -> Completion:
        return finished(job, repeat, replace(answer, raw_output=job.request.prefix + answer.raw_output))

    def _completion(self, job: EncodedJob, reply: Reply, answer: Completion) -> Completion:
        """A finished answer with what its reply says; `extra` names another model than the one asked for."""
        prefix, prompt_tokens = job.request.prefix, reply.usage.prompt or 0
        other: dict[str, Json] = {"model": reply.model} if reply.model and reply.model != self.name else {}
        self._answered = True
        flags = (*flags_of(reply), *(["fields_omitted"] if self._args.omit else []))
        other |= {"flags": list(flags)} if flags else {}
        if self._served_checkpoint is not None and not prefix:
            ours = self._served_checkpoint.count(job.prompt)
            other |= {"prompt_tokens_ours": ours} if ours != prompt_tokens else {}
        total = job.seconds
        return replace(
            answer,
            attempt=reply.attempts,
            tokens=replace(answer.tokens, prompt=prompt_tokens),
            prompt_text=job.prompt_text + prefix,
            time={
                "load": job.load,
                "queue": reply.waited,
                "decode": max(0.0, total - job.load - reply.waited),
                "total": total,
            },
            worker=self.server.base_url,
            extra={**other, **answer.extra, **self._traffic()},
        )

    def _traffic(self) -> Mapping[str, Json]:
        """What the progress line shows where the server could not keep up."""
        counts = self.client.counts
        if not counts["retries"]:
            return {}
        return {"server": {"retries": counts["retries"], "limited": counts["limited"], "room": self.client.gate.limit}}

    def _fail(self, job: EncodedJob, repeat: int | None, error: SampleError, answers: Answers) -> None:
        attempts = error.attempts if isinstance(error, NoAnswer) else 1
        for completion in failed(job, error, repeat=repeat, worker=self.server.base_url):
            answers.put_nowait((job.request.key, replace(completion, attempt=attempts, extra=self._traffic())))
