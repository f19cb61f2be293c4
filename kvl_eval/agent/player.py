"""One episode: a desktop, an agent and a journal, from the first screen to the evaluator's value.

    await player.begin()                     the desktop is ready, or the episode has failed
    while player.result is None:
        request = player.request()           None for an agent without a model
        await player.take(completion)        the reply to it: actions, the next screen, and perhaps the end

No action is ever repeated, whatever the desktop says of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from kvl_eval.agent.actions import AgentAction, Done, Fail, ScreenSize, pointer_after
from kvl_eval.agent.base import AgentMove, PastStep, Screenshot, ScriptedAgent, Situation
from kvl_eval.agent.desk import ActResult, EvaluatorCheck, SetupFailed
from kvl_eval.agent.episode_plan import EpisodePlan, step_seed
from kvl_eval.agent.scripted import read_script
from kvl_eval.agent.stored import stored_action, stored_check, stored_result, task_sha256
from kvl_eval.agent.watch import ACT_LIMIT, EVALUATE_LIMIT, OBSERVE_LIMIT, SETUP_LIMIT, WatchedDesk
from kvl_eval.decode import encode_object
from kvl_eval.errors import SampleError
from kvl_eval.request import Request
from kvl_eval.scorers.episode import EndedBy, episode_answer
from kvl_eval.store.records import text_sha256
from kvl_eval.store.trajectories import TrajectoryJournal
from kvl_eval.store.trajectory_records import StoredAction, TrajectoryHead, TrajectoryOutcome, TrajectoryStep
from kvl_eval.types import Completion, MediaInfo, Sample, TokenCounts

T = TypeVar("T")

WARMER = 0.2  # the least temperature of a reply that is asked for again
SETTLE_LOOK = 0.5  # seconds between two looks at a screen that is to be stable
SETTLE_LIMIT = 10.0  # seconds after which it counts as settled


class EpisodePlayer:
    """Plays one episode.

    Attributes:
        key:    of its requests.
        result: what the run stores; None while the episode continues.
    """

    def __init__(self, plan: EpisodePlan, sample: Sample, repeat: int) -> None:
        self.result: Completion | None = None
        self._plan = plan
        self._sample = sample
        self._repeat = repeat
        self._seed = plan.seed_of(sample.id, repeat)
        self._size = ScreenSize(*plan.episode.screen)
        self._pointer = self._size.center
        self._past: list[PastStep] = []
        self._done: list[StoredAction] = []
        self._last: AgentAction | None = None
        self._attempt = 1
        self._parses: Counter[str] = Counter()
        self._prompt = ""
        self._screen: Screenshot | None = None
        self._versions: Mapping[str, str] = {}
        self._tokens = TokenCounts()
        self._media: list[MediaInfo] = []
        self._worker = ""
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._begun = time.monotonic()
        self._journal = TrajectoryJournal(plan.run, plan.disk, self._head())
        self._desk = WatchedDesk(plan.make_desk(plan.episode))

    def _head(self) -> TrajectoryHead:
        plan = self._plan
        return TrajectoryHead(
            task=plan.task.name,
            sample_id=self._sample.id,
            repeat=self._repeat,
            instruction=self._sample.question,
            screen=plan.episode.screen,
            agent=plan.agent.name,
            agent_version=plan.agent.version,
            provider=plan.episode.provider,
            task_sha256=task_sha256(self._sample),
            config_fingerprint=plan.fingerprint,
            started_at=datetime.now().astimezone().isoformat(timespec="milliseconds"),
        )

    @property
    def sample(self) -> Sample:
        """The task that is played."""
        return self._sample

    @property
    def key(self) -> str:
        """The key of the request for the next step."""
        repeat = f"#{self._repeat}" if self._repeat else ""
        return f"{self._plan.task.name}{repeat}/{self._sample.id}#{self._number}"

    @property
    def _number(self) -> int:
        """The number of the step to come, from 1."""
        return len(self._past) + 1

    @property
    def _reply_seed(self) -> int:
        return step_seed(self._seed, self._number, self._attempt)

    # -- the desktop ------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Bring the desktop into the state that the task begins with, and look at it. Raises StorageError."""
        desk = self._desk.desk
        try:
            await self._timed("setup", partial(desk.reset, self._sample), SETUP_LIMIT)
            self._versions = await self._timed("setup", desk.versions, OBSERVE_LIMIT)
            self._screen = await self._look()
        except SampleError as error:
            self._fail("setup_failed" if isinstance(error, SetupFailed) else "desktop_died", error)

    async def _timed(self, name: str, call: Callable[[], T], limit: float) -> T:
        """What a call of the desktop returns; its seconds are counted under `name`. Raises SampleError."""
        begun = time.monotonic()
        try:
            return await self._desk.do(call, limit)
        finally:
            self._spent[name] += time.monotonic() - begun

    async def _look(self) -> Screenshot:
        """The settled screen, stored. Raises SampleError, StorageError."""
        desk, episode = self._desk.desk, self._plan.episode
        begun = time.monotonic()
        if not desk.is_instant:
            await asyncio.sleep(episode.pause)
        screen = await self._timed("screenshot", desk.observe, OBSERVE_LIMIT)
        while not desk.is_instant and episode.settling == "stable" and time.monotonic() - begun < SETTLE_LIMIT:
            await asyncio.sleep(SETTLE_LOOK)
            before, screen = screen, await self._timed("screenshot", desk.observe, OBSERVE_LIMIT)
            if before.png == screen.png:
                break
        if not desk.is_instant:
            self._spent["settle"] += time.monotonic() - begun
        self._journal.screen(screen.sha256, screen.png)
        return screen

    # -- the agent --------------------------------------------------------------------------------------------------

    def _situation(self, screen: Screenshot) -> Situation:
        return Situation(
            instruction=self._sample.question, screen=screen, past=tuple(self._past), pointer=self._pointer
        )

    def request(self) -> Request | None:
        """What the model is asked next; None for an agent without one."""
        agent, generation = self._plan.agent, self._plan.generation
        if isinstance(agent, ScriptedAgent) or self._screen is None:
            return None
        messages = agent.prompt(self._situation(self._screen), self._plan.episode.images or agent.images)
        self._prompt = self._plan.text_of(messages)
        if self._attempt > 1:
            generation = replace(generation, temperature=max(WARMER, generation.temperature))
        return Request(
            key=self.key,
            messages=messages,
            generation=generation,
            seeds=(self._reply_seed,),
            repeats=(self._repeat,),
        )

    async def take(self, completion: Completion | None) -> None:
        """Do what a reply asks for; None stands for the reply of an agent without a model. Raises StorageError."""
        screen, agent = self._screen, self._plan.agent
        if screen is None or self.result is not None:
            return
        if isinstance(agent, ScriptedAgent):
            code = agent.reply(self._sample, self._number, self._reply_seed, self._size)
            completion = Completion(repeat=self._repeat, raw_output=code, answer=code, seed=self._reply_seed)
            move = read_script(code, self._size, self._pointer)
        elif completion is None or completion.status == "failed":
            self._give_up(completion)
            return
        else:
            move = agent.read(completion.thinking, completion.answer, self._situation(screen))
        self._count(completion)
        self._parses[move.parse] += 1
        if move.parse != "unparsable":
            await self._step(screen, completion, move)
            return
        self._write(screen, completion, move, ([], [], {}))
        self._attempt += 1
        if not isinstance(agent, ScriptedAgent) and self._attempt > agent.attempts:
            self._last = Fail() if agent.acts_fail else None
            await self._end("unparsable")

    def _count(self, completion: Completion) -> None:
        """Add up what a reply took."""
        one, two = self._tokens, completion.tokens
        self._tokens = TokenCounts(
            prompt=one.prompt + two.prompt,
            image=one.image + two.image,
            thinking=one.thinking + two.thinking,
            answer=one.answer + two.answer,
        )
        self._spent["model"] += completion.time.get("total", 0.0)
        self._media += [] if self._media else completion.media[-1:]
        self._worker = completion.worker or self._worker

    # -- a step -----------------------------------------------------------------------------------------------------

    async def _step(self, screen: Screenshot, completion: Completion, move: AgentMove) -> None:
        """Act, look, write the step down, and end the episode where it is over."""
        actions, after = move.actions, screen
        failure: SampleError | None = None
        done: list[AgentAction] = []
        results: list[ActResult] = []
        if self._is_last and self._acts_fail:
            actions = (Fail(),)
        before = dict(self._spent)
        try:
            await self._act(actions, done, results)
            after = await self._look()
        except SampleError as error:
            failure = error
            results.append(ActResult(code=-1, stderr=error.message))
        spent = {name: self._spent[name] - before.get(name, 0.0) for name in ("act", "settle", "screenshot")}
        self._write(screen, completion, move, (done, results, spent))
        if failure is not None:
            self._fail("desktop_died", failure)
            return
        ended_by = self._ended_by(done)
        self._past.append(PastStep(screen=screen, thought=move.thought, said=move.said))
        self._pointer, self._screen, self._attempt = pointer_after(tuple(done), self._pointer), after, 1
        self._last = done[-1] if done else self._last
        self._plan.on_step()
        if ended_by is not None:
            await self._end(ended_by)

    async def _act(self, actions: Iterable[AgentAction], done: list[AgentAction], results: list[ActResult]) -> None:
        """Do the actions in order until the episode ends, each once. Raises SampleError."""
        desk = self._desk.desk
        for action in actions:
            done.append(action)
            if isinstance(action, Done | Fail):
                return
            results.append(await self._timed("act", partial(desk.act, action), ACT_LIMIT))
            if desk.is_over:
                return

    @property
    def _is_last(self) -> bool:
        return self._number >= self._plan.episode.max_steps

    @property
    def _acts_fail(self) -> bool:
        agent = self._plan.agent
        return not isinstance(agent, ScriptedAgent) and agent.acts_fail

    def _ended_by(self, done: list[AgentAction]) -> EndedBy | None:
        """What ended the episode with these actions; None where it continues."""
        limit = self._plan.episode.time_limit
        if self._is_last and self._acts_fail:
            return "max_steps"
        if done and isinstance(done[-1], Done | Fail):
            return "done" if isinstance(done[-1], Done) else "fail"
        if self._desk.desk.is_over:
            return "done"
        if self._is_last:
            return "max_steps"
        return "time_limit" if limit is not None and time.monotonic() - self._begun > limit else None

    def _write(
        self,
        screen: Screenshot,
        completion: Completion,
        move: AgentMove,
        outcome: tuple[list[AgentAction], list[ActResult], dict[str, float]],
    ) -> None:
        """One line of the journal. Raises StorageError."""
        done, results, spent = outcome
        actions = tuple(map(stored_action, done))
        self._done += actions
        prompt = completion.prompt_text or self._prompt
        step = TrajectoryStep(
            n=self._number,
            attempt=self._attempt,
            screenshot_sha256=screen.sha256,
            prompt_sha256=text_sha256(prompt),
            prompt_text=prompt,
            seed=completion.seed,
            raw_output=completion.raw_output,
            thinking=completion.thinking,
            answer=completion.answer,
            tokens=completion.tokens,
            actions=actions,
            source=move.source,
            parse=move.parse,
            note=move.note,
            result=stored_result(results),
            time={"model": completion.time.get("total", 0.0), **spent},
        )
        self._journal.step(step)

    # -- the end ----------------------------------------------------------------------------------------------------

    async def _end(self, ended_by: EndedBy) -> None:
        """Judge the state, write the outcome and make the result. Raises StorageError."""
        try:
            call = partial(self._desk.desk.evaluate, self._last)
            evaluation = await self._timed("evaluate", call, EVALUATE_LIMIT)
        except SampleError as error:
            check = EvaluatorCheck(function="", expected="", found="", value=None, error=error.message)
            self._close(self._outcome(ended_by, (check,), None, error.message))
            self.result = self._failed("evaluator_error", error.message)
            return
        self._close(self._outcome(ended_by, evaluation.checks, evaluation.value))
        self.result = replace(
            self._failed("", ""),
            status="ok",
            reason=None,
            message=None,
            raw_output=json.dumps([encode_object(action) for action in self._done], ensure_ascii=False),
            answer=episode_answer(
                evaluation.value, ended_by, len(self._past), self._parses["unsupported"], self._parses["unparsable"]
            ),
            finish_reason="length" if ended_by in ("max_steps", "time_limit") else "stop",
            thought="",
        )

    def _fail(self, ended_by: EndedBy, error: SampleError) -> None:
        """End an episode that had no fair chance. Raises StorageError."""
        self._close(self._outcome(ended_by, (), None, error.message))
        self.result = self._failed(ended_by, error.message)

    def _give_up(self, completion: Completion | None) -> None:
        """End an episode whose model gave no reply; its journal has no outcome."""
        reason = "no_answer" if completion is None else completion.reason
        message = "the backend did not answer" if completion is None else completion.message
        self.abandon()
        self.result = self._failed(reason or "unknown", message or "")

    def _outcome(
        self, ended_by: EndedBy, checks: tuple[EvaluatorCheck, ...], value: float | None, message: str | None = None
    ) -> TrajectoryOutcome:
        return TrajectoryOutcome(
            ended_by=ended_by,
            steps=len(self._past),
            screenshot_sha256=None if self._screen is None else self._screen.sha256,
            evaluator=tuple(stored_check(check, self._journal.evidence(check.evidence)) for check in checks),
            value=value,
            message=message,
            provider=self._plan.episode.provider,
            versions=self._versions,
            time={name: self._spent[name] for name in ("setup", "evaluate")}
            | {"total": time.monotonic() - self._begun},
        )

    def _failed(self, reason: str, message: str) -> Completion:
        """What the run stores of an episode without a value."""
        return Completion(
            repeat=self._repeat,
            status="failed",
            reason=reason,
            message=message,
            finish_reason="error",
            tokens=self._tokens,
            media=self._screens(),
            seed=self._seed,
            time={**self._spent, "total": time.monotonic() - self._begun},
            worker=self._worker,
            extra={"trajectory": self._journal.name},
        )

    def _screens(self) -> tuple[MediaInfo, ...]:
        """The first and the last screen."""
        first = self._past[0].screen if self._past else self._screen
        known = self._media or ([] if first is None else [_seen(first)])
        return (*known, *(() if self._screen is None else (_seen(self._screen),)))

    def _close(self, outcome: TrajectoryOutcome) -> None:
        self._desk.close()
        self._journal.end(outcome)

    def abandon(self) -> None:
        """Let go of the desktop and the journal of an episode that has no outcome; nothing where it has one."""
        if self.result is None:
            self._desk.close()
            self._journal.close()


def _seen(screen: Screenshot) -> MediaInfo:
    size = (screen.size.width, screen.size.height)
    return MediaInfo(sha256=screen.sha256, kind="image", w=size[0], h=size[1], resized_to=size, tokens=0)
