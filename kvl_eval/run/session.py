"""The part of a run in which answers are made: pending requests go out, finished ones are written down.

Nothing here grows with the number of samples but the keys of those that an earlier session had finished.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from kvl_eval.backends.base import Backend, Idling, Request
from kvl_eval.errors import KvlEvalError, SampleError
from kvl_eval.printable import printable
from kvl_eval.run.ending import stop_lines
from kvl_eval.run.in_flight import InFlight, storable
from kvl_eval.run.plan import Plan, TaskPlan, sample_seed
from kvl_eval.run.progress import Progress, Silent, TaskCounts
from kvl_eval.run.prompts import no_prompt, prompt_messages, prompt_text, without_reply
from kvl_eval.scoring.outputs import Item, score_so_far
from kvl_eval.store.answers import answer_of
from kvl_eval.store.journal import Journal
from kvl_eval.store.records import Key, Record, text_sha256
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.types import Completion, Message, Sample

GRACE = 5.0  # seconds that requests in flight get when a run is to stop
TICK = 0.25  # seconds between looks at the clock
FIRST_FAILURES = 20  # so many failures of one kind, and nothing else, end a run


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ends before its plan does."""

    exit_code: int
    reason: str


class Session:
    """The state of a run while answers come in.

    Attributes:
        stop: why the run is to end early, or None.
        closed_thoughts: replies of this session whose thought was closed.
        flags: {flag: answers of this session that carry it}.
    """

    def __init__(self, plan: Plan, folder: RunFolder, done: Mapping[str, set[Key]], progress: Progress) -> None:
        self.plan = plan
        self.folder = folder
        self.stop: Stop | None = None
        self._done = done
        self._progress = progress
        self._shows_score = not isinstance(progress, Silent)
        self._in_flight: dict[str, InFlight] = {}
        self._journals: dict[str, Journal] = {}
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._told: set[str] = set()
        self._here: Counter[str] = Counter()
        self._idle = 0.0
        self.closed_thoughts = 0
        self.flags: Counter[str] = Counter()
        self.counts = {task.name: self._counts(task) for task in plan.tasks}
        self._protocols = {task.name: self._protocol(task) for task in plan.tasks}
        progress.start(list(self.counts.values()))

    def _counts(self, task: TaskPlan) -> TaskCounts:
        answers = self.plan.config.repeats * len(task.config.budgets)
        name = task.name if task.task.data.table is None else task.task.title
        found = TaskCounts(name, task.n * answers, float((task.n + task.media) * answers))
        if self._done.get(task.name):
            index = self.folder.index(task.name)
            kept = self._done[task.name]
            found.failed.update(reason for key, reason in index.failed.items() if key in kept)
            found.ok = len(kept) - found.failed.total()
        found.weight_left = found.weight * (1 - found.done / max(1, found.planned))
        return found

    def _protocol(self, task: TaskPlan) -> str:
        """The protocol of the running score: the one asked for, or the task's default."""
        asked = self.plan.config.protocol
        known = None if asked is None else task.task.protocol_named(asked)
        return known or task.task.default_protocol

    # -- requests out -------------------------------------------------------------------------------------------

    def requests(self) -> Iterator[Request]:
        """What is still to be answered, in the data set's order; ends early when the run is to stop."""
        for task in self.plan.tasks:
            counts = self.counts[task.name]
            if counts.done == counts.planned or task.task.episode is not None:
                continue
            for sample in task.samples(self.plan.config):
                if self.stop is not None:
                    return
                counts.started = counts.started or time.monotonic()
                yield from self._requests_of(task, sample)

    def _requests_of(self, task: TaskPlan, sample: Sample) -> Iterator[Request]:
        """One request for all repeats that lack the same budgets: so one, unless an earlier session left odd holes."""
        groups = self._missing(task, sample.id)
        if not groups:
            return
        slim, weight = replace(sample, media=()), 1.0 + len(sample.media)
        try:
            messages = prompt_messages(task.task, task.config, self.plan.config, sample)
        except SampleError as error:
            failed = InFlight(task, slim, "", text_sha256(no_prompt(error)), set(), weight)
            self._fail_prompt(failed, groups, error)
            return
        text = prompt_text(messages)
        sha256 = text_sha256(text)
        for number, (budgets, repeats) in enumerate(groups.items()):
            key = f"{task.name}{f'#{number}' if number else ''}/{sample.id}"
            wanted = {(repeat, budget) for repeat in repeats for budget in budgets}
            self._in_flight[key] = InFlight(task, slim, text, sha256, wanted, weight)
            yield self._request(task, sample.id, key, messages, budgets, repeats)

    def _missing(self, task: TaskPlan, sample_id: str) -> dict[tuple[int | None, ...], list[int]]:
        """{budgets: the repeats that lack exactly these}."""
        config, done = task.config, self._done.get(task.name, set())
        groups: dict[tuple[int | None, ...], list[int]] = {}
        for repeat in range(self.plan.config.repeats):
            budgets = tuple(
                budget for budget in config.budgets if Key(sample_id, repeat, budget, config.policy) not in done
            )
            if budgets:
                groups.setdefault(budgets, []).append(repeat)
        return groups

    def _request(
        self,
        task: TaskPlan,
        sample_id: str,
        key: str,
        messages: tuple[Message, ...],
        budgets: tuple[int | None, ...],
        repeats: list[int],
    ) -> Request:
        generation = task.config.generation
        thinking = tuple(budget for budget in budgets if budget is not None)
        if thinking != generation.think_budgets:
            generation = replace(generation, think_budgets=thinking)
        seed = self.plan.config.seed
        asked, begun = without_reply(messages)
        return Request(
            key=key,
            messages=asked,
            prefix=begun,
            generation=generation,
            seeds=tuple(sample_seed(seed, task.name, sample_id, repeat) for repeat in repeats),
            repeats=tuple(repeats),
        )

    def _fail_prompt(
        self, entry: InFlight, groups: Mapping[tuple[int | None, ...], list[int]], error: SampleError
    ) -> None:
        for budgets, repeats in groups.items():
            for repeat in repeats:
                for budget in budgets:
                    failed = Completion(
                        repeat=repeat,
                        budget=budget,
                        status="failed",
                        reason=error.reason,
                        message=error.message,
                        finish_reason="error",
                        seed=sample_seed(self.plan.config.seed, entry.task.name, entry.sample.id, repeat),
                    )
                    self._write(entry, failed)

    # -- episodes of agents -------------------------------------------------------------------------------------

    def episodes(self, task: TaskPlan) -> Iterator[tuple[Sample, int]]:
        """Samples and repeats of a task of agents that have no result yet; ends early when the run is to stop."""
        counts = self.counts[task.name]
        if counts.done == counts.planned:
            return
        for sample in task.samples(self.plan.config):
            if self.stop is not None:
                return
            counts.started = counts.started or time.monotonic()
            for repeats in self._missing(task, sample.id).values():
                yield from ((sample, repeat) for repeat in repeats)

    def finish_episode(self, task: TaskPlan, sample: Sample, completion: Completion) -> None:
        """Write down what became of an episode; its prompts are in its journal."""
        try:
            text = prompt_text(prompt_messages(task.task, task.config, self.plan.config, sample))
            sha256 = text_sha256(text)
        except SampleError as error:
            text, sha256 = "", text_sha256(no_prompt(error))
        slim, weight = replace(sample, media=()), 1.0 + len(sample.media)
        self._write(InFlight(task, slim, text, sha256, set(), weight), completion)
        self.tick()

    def count_step(self, task: TaskPlan) -> None:
        """One step more of an agent's was taken."""
        self.counts[task.name].steps += 1
        self._progress.update()

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to end early."""
        return self.stop is not None

    # -- answers in ---------------------------------------------------------------------------------------------

    def finish(self, key: str, completion: Completion, idle: float = 0.0) -> None:
        """Write down one answer; the model has waited `idle` s for media. Raises KvlEvalError `backend.answer`."""
        entry = self._in_flight.get(key)
        slot = (completion.repeat, completion.budget)
        if entry is None or slot not in entry.wanted:
            raise KvlEvalError(
                "backend.answer",
                f"the backend answered {key!r}, repeat {slot[0]}, budget {slot[1]}, which was not requested",
                fix="report this error with the log of the run",
            )
        entry.wanted.discard(slot)
        if not entry.wanted:
            del self._in_flight[key]
        self.counts[entry.task.name].waited += idle - self._idle
        self._idle = idle
        self._write(entry, completion)
        self.tick()

    def _write(self, entry: InFlight, completion: Completion) -> None:
        task = entry.task.name
        if task not in self._journals:
            self._journals[task] = self.folder.journal(task)
        answer = storable(self.plan, entry, completion)
        self._journals[task].append(answer.fields)
        self._count(entry, answer.completion, answer.record)

    def _count(self, entry: InFlight, completion: Completion, record: Record) -> None:
        counts = self.counts[entry.task.name]
        counts.done_here += 1
        counts.weight_done += entry.weight
        server = record.extra.others.get("server")
        counts.server = server if isinstance(server, dict) else counts.server
        if completion.status == "ok":
            counts.ok += 1
            counts.thinking.append(completion.tokens.thinking)
            counts.cut += completion.finish_reason == "budget" or completion.budget_forced
            self._here["ok"] += 1
            self.flags.update(record.extra.flags)
            self.closed_thoughts += completion.think_closed is True
            if self._shows_score:
                self._score_so_far(entry, counts, record)
        else:
            reason = completion.reason or "unknown"
            counts.failed[reason] += 1
            self._here[f"failed {reason}"] += 1
            self._tell_failure(entry, reason, completion.message or "")
            self._check_failures()
        if counts.done == counts.planned:
            counts.finished = time.monotonic()

    def _score_so_far(self, entry: InFlight, counts: TaskCounts, record: Record) -> None:
        view = self.plan.config.score_view
        item = Item(entry.sample, answer_of(record, view))
        score = score_so_far(entry.task.task, self._protocols[entry.task.name], item, view)
        if score is not None and score.value is not None:
            counts.points += score.value
            counts.scored += 1

    def _tell_failure(self, entry: InFlight, reason: str, message: str) -> None:
        text = printable(f"failed[{reason}] {entry.task.name} {entry.sample.id}: {message}", keep="")
        self.folder.log(text)
        if reason not in self._told or getattr(self._progress, "is_verbose", False):
            self._told.add(reason)
            self._progress.notice(text)

    def _check_failures(self) -> None:
        done, failed = self._here.total(), self._here.total() - self._here["ok"]
        kinds = [kind for kind in self._here if self._here[kind]]
        allowed = self.plan.config.fail_on_error
        if done == failed == FIRST_FAILURES and len(kinds) == 1:
            reason = kinds[0].removeprefix("failed ")
            self.request_stop(Stop(4, f"the first {FIRST_FAILURES} samples all failed ({reason})"))
        elif allowed is not None and failed > (allowed * self.plan.requests if 0 < allowed < 1 else allowed):
            self.request_stop(Stop(3, f"{failed} samples failed, more than --fail-on-error {allowed:g} allows"))

    @property
    def answered(self) -> int:
        """Answers of this session."""
        return self._here["ok"]

    # -- stopping -----------------------------------------------------------------------------------------------

    def request_stop(self, stop: Stop) -> None:
        """No new requests; those under way get `GRACE` seconds. The first reason stays."""
        self.stop = self.stop or stop
        if self._wake is not None:
            loop, event = self._wake
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(event.set)

    def stop_by_signal(self, number: int) -> bool:
        """As `request_stop`; False if the run is already stopping by a signal."""
        if self.stop is not None and self.stop.exit_code > 128:
            return False
        name = signal.Signals(number).name
        self.stop = None
        self.request_stop(Stop(128 + number, name))
        return True

    def leave(self) -> None:
        """Give the terminal and the folder back, and print where the run is; everything finished is stored already."""
        self._progress.close()
        self.folder.unlock()
        lines = stop_lines(self.folder.path, sum(task.done for task in self.counts.values()), self.plan.requests)
        text = "".join(f"{line}\n" for line in lines)
        os.write(2, text.encode(errors="backslashreplace"))  # a signal may have come in the middle of a print

    def tell_stop(self) -> None:
        """Print that the run is stopping (not from a signal handler, which may interrupt a print)."""
        if self.stop is not None:
            by_hand = self.stop.exit_code == 128 + signal.SIGINT
            reason = "" if by_hand else f"{self.stop.reason}; "
            hint = "; press Ctrl-C again to stop now" if by_hand else ""
            self._progress.notice(f"stopping: {reason}finishing the requests in flight (up to {GRACE:.0f} s){hint}")

    def listen(self, event: asyncio.Event) -> None:
        """Set `event` when the run is to stop."""
        self._wake = (asyncio.get_running_loop(), event)
        if self.stop is not None:
            event.set()

    def tick(self) -> None:
        """Sync what is due, show where things are."""
        for journal in self._journals.values():
            journal.sync_if_due()
        self._progress.update()

    def close(self) -> None:
        """Sync and close the records; may be called twice."""
        while self._journals:
            self._journals.popitem()[1].close()


async def drive(session: Session, backend: Backend) -> None:
    """Answer what is pending until it is done or the run is to stop. Raises what the backend or the disk raise."""
    event = asyncio.Event()
    session.listen(event)
    work = asyncio.create_task(_consume(session, backend))
    waiting = asyncio.create_task(event.wait())
    ticking = asyncio.create_task(_tick(session))
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        session.tell_stop()
        await asyncio.wait({work}, timeout=GRACE if session.stop else None)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
    finally:
        for task in (waiting, ticking, work):
            task.cancel()
        await asyncio.gather(waiting, ticking, work, return_exceptions=True)
        await backend.close()
        session.close()


async def _consume(session: Session, backend: Backend) -> None:
    """Answer the questions, then play the episodes."""
    agents = [task.task.episode is not None for task in session.plan.tasks]
    if not all(agents):
        await _answer(session, backend)
    if any(agents):
        from kvl_eval.run.episode_stage import EpisodeStage

        await EpisodeStage(session, session.plan, session.folder, backend).play()


async def _answer(session: Session, backend: Backend) -> None:
    stream = backend.generate(session.requests())
    try:
        async for key, completion in stream:
            session.finish(key, completion, backend.idle_seconds if isinstance(backend, Idling) else 0.0)
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def _tick(session: Session) -> None:
    while True:
        await asyncio.sleep(TICK)
        session.tick()
