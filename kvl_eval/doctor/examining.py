"""All checks of a task and a model, in one event loop."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kvl_eval.backends.base import Backend, Limits, Managed, Probing, Request, ServerNeeds
from kvl_eval.doctor.document import FIT, NOT_FIT, DoctorCheck, DoctorReport, skipped, verdict_of
from kvl_eval.doctor.draw import DrawnSamples, drawn_samples
from kvl_eval.doctor.questions import Questioner
from kvl_eval.doctor.replies import DrawnReply, SampledReplies, answered_check, reply_checks
from kvl_eval.doctor.serving import (
    SCRIPTED,
    TEXT_QUESTIONS,
    TextReplies,
    limit_check,
    repeat_check,
    seed_check,
    stop_check,
    temperature_check,
    template_check,
)
from kvl_eval.doctor.sight import image_questions, legible_check, order_check, sees_check, tokens_check
from kvl_eval.errors import SampleError, UsageError
from kvl_eval.run.config import RunConfig
from kvl_eval.run.plan import measured_task, sample_seed
from kvl_eval.run.prompts import prompt_messages
from kvl_eval.tasks.base import Task
from kvl_eval.types import ImageRef, Message, Sample

STEPS = logging.getLogger("kvl_eval.steps")
LOST = "endpoint_error"  # of a request that got no reply, whatever was asked
IMAGE_CHECKS = ("sees", "order", "tokens", "legible")
TEXT_CHECKS = ("seed", "temperature", "stop")
SMALL_TEXT = 2_000  # bytes, more than a question of `doctor` has
SMALL_ANSWER = 4_096  # tokens


def examine(config: RunConfig, task: Task, backend: Backend, count: int) -> DoctorReport:
    """Ask `count` samples of the configuration's task and the small questions, and say what was found.

    Raises: EndpointError, where the server cannot be used; DataError; UsageError `usage.doctor` for a task of agents.
    """
    if task.episode is not None:
        raise UsageError(
            "usage.doctor",
            f"doctor cannot test {task.name}: agents need a desktop",
            fix=f"use `kvl-eval run {task.name} --limit 2`, or doctor with another task",
        )
    task = measured_task(task, backend.limits())
    samples = drawn_samples(task, config.tasks[0], count)
    with tempfile.TemporaryDirectory() as folder:
        _prepare(backend, config, samples.samples, Path(folder))
        return asyncio.run(_Examination(config, task, backend, samples).report())


def _prepare(backend: Backend, config: RunConfig, samples: Sequence[Sample], folder: Path) -> None:
    """Choose the options of a server that is started for this."""
    if not isinstance(backend, Managed):
        return
    has_files = any(not isinstance(medium, ImageRef) for sample in samples for medium in sample.media)
    images = None if has_files else max(2, *(len(sample.media) for sample in samples), 2)
    text = max((len(sample.question.encode("utf-8", "replace")) for sample in samples), default=0)
    answer = max(SMALL_ANSWER, config.tasks[0].generation.limit)
    backend.take_plan(ServerNeeds(images=images, text=4 * text + SMALL_TEXT, answer=answer, seed=config.seed))
    backend.log_into(folder)


def _why_not(facts: SampledReplies, *, is_scripted: bool) -> str:
    """Why small questions would show nothing; empty where they may."""
    if is_scripted:
        return SCRIPTED
    return "the server does not answer" if not facts.replies and set(facts.failures) == {LOST} else ""


class _Examination:
    """The checks of one task and one backend."""

    def __init__(self, config: RunConfig, task: Task, backend: Backend, drawn: DrawnSamples) -> None:
        self.config = config
        self.task = task
        self.backend = backend
        self.drawn = drawn
        self.questioner = Questioner(backend, config)
        self.requests: dict[str, Request] = {}  # by the sample's id
        self.unasked: list[str] = []  # samples without a prompt: the reasons

    async def report(self) -> DoctorReport:
        """Everything that was found."""
        begun = time.monotonic()
        try:
            description = self.backend.describe()
            place = str(description.facts.get("base_url") or description.facts.get("device") or "")
            if isinstance(self.backend, Managed):
                STEPS.info("starting vLLM, which takes a minute or more")
                await self.backend.ready()
            if isinstance(self.backend, Probing):
                await self.backend.probe([self.config.tasks[0].generation])
            facts = await self._sampled()
            checks = [answered_check(facts), *reply_checks(facts)]
            checks.append(await repeat_check(self.questioner, facts, self.requests))
            checks.append(await limit_check(self.questioner, facts, self.requests))
            checks += await self._small(
                why_not=_why_not(facts, is_scripted=bool(description.facts.get("scripted"))),
                is_server=isinstance(self.backend, Managed) or description.facts.get("device") == "server",
            )
            name = self.backend.name
        finally:
            await self.backend.close()
        checks.append(self._data())
        is_bad = any(check.grade == "bad" for check in checks)
        return DoctorReport(
            task=self.task.name,
            split=self.config.tasks[0].split,
            prompt=self.config.tasks[0].prompt,
            protocol=facts.protocol,
            model=name,
            place=place,
            samples=len(self.drawn.samples),
            requests=self.questioner.requests,
            seconds=round(time.monotonic() - begun, 1),
            checks=tuple(checks),
            verdict=verdict_of(checks),
            fixes=tuple(
                dict.fromkeys(
                    check.fix for grade in ("bad", "warning") for check in checks if check.fix and check.grade == grade
                )
            ),
            exit_code=NOT_FIT if is_bad else FIT,
        )

    # -- samples of the task

    async def _sampled(self) -> SampledReplies:
        for sample in self.drawn.samples:
            try:
                messages = prompt_messages(self.task, self.config.tasks[0], self.config, sample)
            except SampleError as error:
                self.unasked.append(error.reason)
                continue
            self.requests[sample.id] = self._request(sample, messages)
        begun = time.monotonic()
        STEPS.info("asking %d samples of %s", len(self.requests), self.task.name)
        found = await self.questioner.completions(list(self.requests.values()))
        seconds = time.monotonic() - begun
        replies, failures, message = list[DrawnReply](), [*self.unasked], ""
        for sample in self.drawn.samples:
            for completion in found.get(f"{self.task.name}/{sample.id}", ()):
                if completion.status == "ok":
                    replies.append(DrawnReply(sample=sample, completion=completion))
                else:
                    failures.append(completion.reason or "unknown")
                    message = message or completion.message or ""
        self.questioner.thinks = any(reply.completion.think_closed is not None for reply in replies)
        largest = self.config.tasks[0].budgets[-1]
        return SampledReplies(
            task=self.task,
            config=self.config.tasks[0],
            run=self.config,
            replies=tuple(reply for reply in replies if reply.completion.budget == largest),
            all_replies=tuple(replies),
            failures=tuple(failures),
            message=message,
            seconds=seconds,
            rows=self.drawn.rows,
        )

    def _request(self, sample: Sample, messages: tuple[Message, ...]) -> Request:
        prefix = ""
        if messages[-1].role == "assistant":
            prefix = "".join(part for part in messages[-1].parts if isinstance(part, str))
            messages = messages[:-1]
        return Request(
            key=f"{self.task.name}/{sample.id}",
            messages=messages,
            prefix=prefix,
            generation=self.config.tasks[0].generation,
            seeds=(sample_seed(self.config.seed, self.task.name, sample.id, 0),),
        )

    # -- questions of its own

    async def _small(self, *, why_not: str, is_server: bool) -> list[DoctorCheck]:
        """The checks of small questions; `why_not` says why none is asked, if so."""
        if why_not:
            return [skipped(name, why_not) for name in (*TEXT_CHECKS, *IMAGE_CHECKS, "template")]
        STEPS.info("asking small questions")
        texts = TextReplies(replies=await self.questioner.ask(TEXT_QUESTIONS))
        checks = [seed_check(texts), temperature_check(texts), await stop_check(self.questioner)]
        checks += await self._images(texts)
        checkpoint = self.config.settings.engine.model_args.get("checkpoint")
        checks.append(
            template_check(
                texts,
                is_server=is_server,
                has_checkpoint=checkpoint is not None,
                has_system=bool(self.config.system_prompt),
            )
        )
        return checks

    async def _images(self, texts: TextReplies) -> list[DoctorCheck]:
        media = self.config.settings.media
        if media.blind:
            return [skipped(name, "--blind replaces images") for name in IMAGE_CHECKS]
        if self.task.modality == "text":
            return [skipped(name, "the task has no images") for name in IMAGE_CHECKS]
        limits: Limits = self.backend.limits()
        replies = await self.questioner.ask(image_questions(media.max_pixels))
        sees = sees_check(replies, texts)
        tokens = tokens_check(replies, limits)
        order = order_check(replies, sees, self.task.modality)
        return [sees, order, tokens, legible_check(replies, limits, tokens)]

    def _data(self) -> DoctorCheck:
        faults, drawn = self.drawn.faults, self.drawn
        if faults:
            first = faults[0]
            text = f"{len(faults):,} rows cannot be used; the first: {first.message}"
            fix = f"kvl-eval check data {self.task.name}, or --allow-partial-data"
            return DoctorCheck(name="data", grade="bad", text=text, values={"rows": len(faults)}, fix=fix)
        if drawn.other_data is not None:
            return DoctorCheck(name="data", grade="warning", text=drawn.other_data, values={"rows": drawn.rows})
        return DoctorCheck(name="data", grade="ok", text=f"data {drawn.rows:,} rows", values={"rows": drawn.rows})
