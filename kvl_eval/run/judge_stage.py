"""Asking a judge: what a run's answers still lack of replies is asked for and written down, reply by reply.

    judge_run(run, server, ...) -> JudgeOutcome      then scoring.rescore gives the judged results

A usable reply is never asked for again. A judge that cannot be used leaves a failed line for every prompt that is
open, so that the folder says so; a later call finds what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime

from kvl_eval.backends.chat_client import ChatClient, NoAnswer, Server
from kvl_eval.backends.chat_models import list_models
from kvl_eval.decode import encode_object
from kvl_eval.errors import ConfigError, EndpointError, SampleError
from kvl_eval.run.config import RunConfig
from kvl_eval.run.event_loop import run_async
from kvl_eval.run.progress import Progress, TaskCounts
from kvl_eval.scoring.judged import FAILED_REPLY, JudgeQuestion, question_about
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.scoring.stored_answers import planned_answers
from kvl_eval.store.records import JudgeReply
from kvl_eval.store.replies import JudgeView, Replies, ReplyKey
from kvl_eval.tasks.base import Task
from kvl_eval.types import ScoreView, stored_view

TICK = 0.25  # seconds between looks at the clock and at whether to stop


@dataclass(slots=True)
class JudgeOutcome:
    """What came of it: prompts answered, failed, and left because the run was to stop; and why a judge is unusable."""

    answered: int = 0
    failed: int = 0
    left: int = 0
    error: EndpointError | None = None

    def notices(self) -> list[str]:
        """What a user must hear of it."""
        found = [] if self.error is None else [f"the judge is not usable: {self.error.message}; see judge_error"]
        return found + ([f"{self.left} prompts were not judged"] if self.left else [])


@dataclass(slots=True)
class _Stage:
    """One task's open prompts on their way to the judge."""

    task: Task
    replies: Replies
    judge: JudgeView
    client: ChatClient
    outcome: JudgeOutcome
    counts: TaskCounts
    stop: Callable[[], bool]
    again: bool
    seen: set[ReplyKey] = field(default_factory=set)


def judge_run(
    run: RunReader,
    server: Server,
    view: ScoreView,
    progress: Progress,
    *,
    stop: Callable[[], bool] = lambda: False,
    again: bool = True,
) -> JudgeOutcome:
    """Ask about every stored answer that a judge serves and has given no usable reply to.

    Args:
        view:  what the judge sees of an answer, as scorers do.
        stop:  asked four times a second; once true, nothing new is asked.
        again: whether prompts whose last call failed are asked about again.
    Raises: StorageError; UsageError for a key that is not there.
    """
    judge, outcome, client = JudgeView(judge_name(server), view), JudgeOutcome(), ChatClient(server)
    stages = []
    for task in judged_tasks(run):
        replies = Replies(run.folder, task.name)
        planned = sum(1 for _ in open_questions(run, task, judge, replies, again))
        counts = TaskCounts(f"{task.name}, judge {judge.judge}", planned, float(planned), weight_left=float(planned))
        stages.append(_Stage(task, replies, judge, client, outcome, counts, stop, again))
    run_async(_judge_tasks(run, client, stages, progress))
    return outcome


def check_judge(config: RunConfig, tasks: Iterable[Task]) -> None:
    """One look at a judge that will be needed, before anything is answered.

    Raises: EndpointError, if it cannot be reached or refuses; UsageError for a key that is not there.
    """
    if config.judge is not None and any(task.judge_prompt is not None for task in tasks):
        list_models(config.judge)


def finish_judging(
    run: RunReader, config: RunConfig, progress: Progress, stop: Callable[[], bool] = lambda: False
) -> bool:
    """Ask the run's own judge, if it has one, about answers that it was never asked about; whether there were any.

    What fails is a line in the folder and a notice, no error.
    """
    if config.judge is None or not has_open_questions(run, config.judge, config.score_view, again=False):
        return False
    progress.close()
    outcome = judge_run(run, config.judge, config.score_view, progress, stop=stop, again=False)
    run.folder.warnings += [("not_scored", text) for text in outcome.notices()]
    return True


def has_open_questions(run: RunReader, server: Server, view: ScoreView, *, again: bool) -> bool:
    """Whether a judge has anything to be asked, with `again` also what it has given no usable reply to.

    Sends no request. Raises ConfigError for a judge without a name.
    """
    judge = JudgeView(judge_name(server), view)
    for task in judged_tasks(run):
        with closing(open_questions(run, task, judge, Replies(run.folder, task.name), again)) as questions:
            if next(questions, None) is not None:
                return True
    return False


def open_questions(
    run: RunReader, task: Task, judge: JudgeView, replies: Replies, again: bool
) -> Generator[tuple[JudgeQuestion, ReplyKey], None, None]:
    """The prompts without a usable reply, each judge run by itself, no prompt twice."""
    seen: set[ReplyKey] = set()
    for answered in planned_answers(run, task, judge.view):
        question = None if answered.item is None else question_about(task, answered.item, judge.view)
        for key in [] if question is None else question.keys(judge.judge, task.judge.runs):
            done = replies.usable(key) if again else replies.asked(key)
            if question is not None and not done and key not in seen:
                seen.add(key)
                yield question, key


def judged_tasks(run: RunReader) -> list[Task]:
    """The run's tasks that have a judge's prompt."""
    tasks = (run.task(name) for name in run.folder.manifest.data)
    return [task for task in tasks if task.judge_prompt is not None]


def judge_name(server: Server) -> str:
    """The name replies are kept under. Raises ConfigError where none was given."""
    if not server.model:
        raise ConfigError(
            "config.judge",
            "the judge has no model name",
            why="its replies and results are stored under that name",
            fix="add --judge-model NAME",
        )
    return server.model


async def _judge_tasks(run: RunReader, client: ChatClient, stages: Sequence[_Stage], progress: Progress) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        stack.callback(progress.close)
        for stage in stages:
            stack.callback(stage.replies.close)
        progress.start([stage.counts for stage in stages])
        for stage in stages:
            with closing(open_questions(run, stage.task, stage.judge, stage.replies, stage.again)) as questions:
                await _ask_all(stage, questions, progress)


async def _ask_all(stage: _Stage, questions: Iterator[tuple[JudgeQuestion, ReplyKey]], progress: Progress) -> None:
    """Ask with as many calls under way as the server may get; stop taking new ones when told to."""
    loop = asyncio.get_running_loop()
    stage.counts.started = loop.time()

    async def work() -> None:
        for question, key in questions:
            if stage.stop():
                stage.outcome.left += 1
                continue
            reply = await _ask(stage, question, key)
            stage.replies.append(reply)
            _count(stage, reply, progress)

    workers = [asyncio.create_task(work()) for _ in range(stage.client.server.max_connections)]
    try:
        while not all(worker.done() for worker in workers):
            done, _ = await asyncio.wait(workers, timeout=TICK, return_when=asyncio.FIRST_EXCEPTION)
            progress.update()
            if stage.stop() or any(worker.exception() for worker in done):
                break
        if stage.stop():
            await asyncio.wait(workers, timeout=TICK)
    finally:
        for worker in workers:
            worker.cancel()
        ended = await asyncio.gather(*workers, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error
    stage.counts.finished = loop.time()


def _count(stage: _Stage, reply: JudgeReply, progress: Progress) -> None:
    stage.counts.done_here += 1
    stage.counts.weight_done += 1
    if reply.status == "ok":
        stage.counts.ok += 1
        stage.outcome.answered += 1
        return
    reason = reply.reason or FAILED_REPLY
    if not stage.outcome.failed:
        progress.notice(f"failed[{reason}] {stage.counts.name}: {reply.message}")
    stage.counts.failed[reason] += 1
    stage.outcome.failed += 1


async def _ask(stage: _Stage, question: JudgeQuestion, key: ReplyKey) -> JudgeReply:
    """The line about one prompt. A judge that is unusable is asked nothing more."""
    blank = JudgeReply(
        **key._asdict(),
        status="failed",
        reason=FAILED_REPLY,
        sample_id=question.sample.id,
        thinking=stored_view(stage.judge.view),
    )
    try:
        if stage.outcome.error is not None:
            raise _unusable(stage.outcome.error)
        reply = await _converse(stage, question, blank)
    except EndpointError as error:
        stage.outcome.error = error
        reply = _failed(blank, _unusable(error))
    except SampleError as error:
        reply = _failed(blank, error)
    return replace(reply, asked_at=datetime.now().astimezone().isoformat(timespec="milliseconds"))


async def _converse(stage: _Stage, question: JudgeQuestion, blank: JudgeReply) -> JudgeReply:
    """`blank` filled in by calls about one prompt until a reply is usable. Raises: SampleError, EndpointError."""
    rule, said, attempts = stage.task.judge, "", 0
    for number, temperature in enumerate(rule.temperatures):
        body = {
            "model": stage.judge.judge,
            "messages": _turns(question, rule.again if number else ""),
            "temperature": temperature,
            "max_tokens": rule.max_tokens,
            "seed": blank.run,
            **(rule.extra or {}),
        }
        reply = await stage.client.complete(encode_object(body))
        attempts += reply.attempts
        said = reply.content or reply.refusal or ""
        refused = reply.refusal is not None or reply.finish == "content_filter"
        verdict = None if refused else rule.read(question.sample, said)
        if verdict is not None:
            return replace(
                blank,
                status="ok",
                reason=None,
                reply=said,
                verdict=verdict,
                model=reply.model,
                attempts=attempts,
                tokens={"prompt": reply.usage.prompt or 0, "completion": reply.usage.completion or 0},
            )
    calls = "1 attempt" if len(rule.temperatures) == 1 else f"{len(rule.temperatures)} attempts"
    unusable = SampleError(FAILED_REPLY, f"the judge gave no usable reply in {calls}; last reply: {said[:200]!r}")
    return replace(_failed(blank, unusable, attempts), reply=said)


def _turns(question: JudgeQuestion, again: str) -> list[dict[str, str]]:
    turns = [
        {"role": message.role, "content": "".join(part for part in message.parts if isinstance(part, str))}
        for message in question.messages
    ]
    turns[-1]["content"] += again
    return turns


def _failed(blank: JudgeReply, error: SampleError, attempts: int = 0) -> JudgeReply:
    number = error.attempts if isinstance(error, NoAnswer) else attempts
    text = error.message if error.reason == FAILED_REPLY else f"{error.reason}: {error.message}"
    return replace(blank, message=text, attempts=number)


def _unusable(error: EndpointError) -> SampleError:
    return SampleError(FAILED_REPLY, "; ".join(part for part in (error.message, error.why) if part))
