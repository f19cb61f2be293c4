"""Many workers: replicas of another backend as Ray actors, on one machine or over a cluster.

    requests -> Line (an actor beside the driver, longest first) <- pulled by every Replica -> completions -> the driver

Each replica pulls single samples as it has room, so unequal samples need no sharding, and replicas may join late. What
a dead replica had pulled goes back into the line; answers that come twice are dropped by their key. Records are written
by the driver alone.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

from kvl_eval.backends.base import Backend, ClusterSettings, Description, Limits, Request, Settings
from kvl_eval.backends.jobs import Job, failed
from kvl_eval.errors import ConfigError, KvlEvalError, SampleError
from kvl_eval.types import Completion

AHEAD = 64  # requests in the line for each replica; the longest of them goes first
MAX_ATTEMPTS = 3  # replicas that may die over one sample
LOST = (ActorDiedError, ActorUnavailableError, RayActorError)
Make = Callable[[str, Settings], Backend]


class Line:
    """Requests that wait for a replica, longest first; and which replica holds which.

    Requests under which a replica died are suspects: each is handed out alone, so that it takes no others with it.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Request]] = []
        self._suspects: list[Request] = []
        self._held: dict[int, dict[str, Request]] = {}
        self._alone: set[int] = set()  # replicas that hold a suspect
        self._lost: set[int] = set()  # dead replicas: what they ask for was on its way, and nobody would answer it
        self._number = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, request: Request, suspect: bool = False) -> None:
        async with self._changed:
            self._number += 1
            if suspect:
                self._suspects.append(request)
            else:
                heapq.heappush(self._waiting, (-work(request), self._number, request))
            self._changed.notify_all()

    async def take(self, replica: int) -> Request | None:
        """The longest request that waits; None where none will come, or what the replica holds is to be done first."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._may_answer(replica))
            if replica in self._alone or replica in self._lost:
                return None
            requests = self._held.setdefault(replica, {})
            if self._waiting:
                request = heapq.heappop(self._waiting)[2]
            elif self._suspects and not requests:
                request = self._suspects.pop()
                self._alone.add(replica)
            else:
                return None
            requests[request.key] = request
            self._changed.notify_all()
            return request

    def _may_answer(self, replica: int) -> bool:
        """Whether `take` need not wait."""
        is_idle = not self._held.get(replica)
        return bool(self._waiting or self._closed or replica in self._lost or (self._suspects and is_idle))

    async def room(self, most: int) -> int:
        """How many requests may be put, waiting until it is at least one."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < most)
            return most - len(self._waiting)

    async def lose(self, replica: int) -> list[Request]:
        """What a dead replica held."""
        async with self._changed:
            self._alone.discard(replica)
            self._lost.add(replica)
            self._changed.notify_all()
            return list(self._held.pop(replica, {}).values())

    async def answered(self, replica: int, key: str) -> None:
        async with self._changed:
            self._held.get(replica, {}).pop(key, None)
            self._alone.discard(replica)
            self._changed.notify_all()

    async def work(self) -> None:
        """Wait until there is a request to take."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._suspects)

    async def close(self) -> None:
        """No more requests will come, unless a replica dies."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


class Replica:
    """One backend in a process of its own."""

    def __init__(self, make: Make, model: str, settings: Settings) -> None:
        self._build = partial(make, model, settings)
        self._backend: Backend | None = None

    async def answers(self, line: Any, number: int) -> AsyncIterator[tuple[str, Completion]]:
        """Answer what the line holds until it is empty; the first call builds the backend. Raises what that raises."""
        if self._backend is None:
            self._backend = self._build()
        with ThreadPoolExecutor(1) as fetching:
            async for key, completion in self._backend.generate(_pulled(line, number, fetching)):
                yield key, replace(completion, worker=f"replica {number}: {completion.worker}")


def _pulled(line: Any, number: int, fetching: ThreadPoolExecutor) -> Iterator[Request]:
    """Requests of the line; one is fetched ahead, so that the backend seldom waits."""

    def fetch() -> Request | None:
        request: Request | None = ray.get(line.take.remote(number))
        return request

    coming = fetching.submit(fetch)
    while (request := coming.result()) is not None:
        coming = fetching.submit(fetch)
        yield request


def work(request: Request) -> float:
    """A rough measure of how long a request takes: characters, pictures as a thousand each, answers as they may be."""
    parts = [part for message in request.messages for part in message.parts]
    prompt = sum(len(part) if isinstance(part, str) else 1000 for part in parts)
    return prompt + 10.0 * request.generation.limit * len(request.repeats)


@dataclass(slots=True)
class _Under:
    """What is known of the requests under way."""

    jobs: dict[str, Job] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def add(self, request: Request) -> None:
        self.jobs[request.key] = Job(request)

    def take(self, key: str, completion: Completion) -> bool:
        """Whether this answer is still wanted; a retried request may give some twice."""
        job, slot = self.jobs.get(key), (completion.repeat, completion.budget)
        if job is None or slot not in job.open:
            return False
        job.open.discard(slot)
        if not job.open:
            del self.jobs[key]
        return True


class RayPool:
    """Replicas of one backend behind the `Backend` protocol.

    Args:
        make:         builds the backend of a replica from model and settings, and the one that describes them here.
        settings:     `num_replicas`, `gpus_per_replica`, `ray_address` (None: a cluster on this machine).
    Raises: ConfigError, if the cluster cannot be reached.
    """

    def __init__(self, make: Make, model: str, settings: Settings) -> None:
        self._make, self._model, self._settings = make, model, settings.cluster
        self._of_a_replica = replace(settings, cluster=ClusterSettings())
        self._local = make(model, self._of_a_replica)
        self.name, self.family = self._local.name, self._local.family
        self._started = 0
        self._own_cluster = False

    def describe(self) -> Description:
        """As one replica describes itself."""
        description = self._local.describe()
        return replace(description, facts={**description.facts, "replicas": self._settings.num_replicas})

    def limits(self) -> Limits:
        return self._local.limits()

    def warm_up(self, images: int) -> None:
        """Replicas start their own processes with their first image."""

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        """Answer `requests` as they finish on any replica."""
        self._join_cluster()
        run = _Run(self.replica, self._settings.num_replicas, _as_actor(Line, **_here()).remote())
        feeding = asyncio.create_task(run.feed(iter(requests)))
        watching = [asyncio.create_task(run.watch()) for _ in range(self._settings.num_replicas)]
        try:
            async for answer in run.answers(feeding):
                yield answer
        finally:
            for task in (feeding, *watching):
                task.cancel()
            await asyncio.gather(feeding, *watching, return_exceptions=True)
            ray.kill(run.line)

    async def close(self) -> None:
        """Leave the cluster, and end it if it was started here; the replicas ended with `generate`."""
        await self._local.close()
        if self._own_cluster:
            ray.shutdown()
            self._own_cluster = False

    def replica(self) -> tuple[int, Any]:
        """A new replica, placed by Ray where there is room, spread over the nodes."""
        self._started += 1
        options = {"num_cpus": 1, "num_gpus": self._settings.gpus_per_replica, "scheduling_strategy": "SPREAD"}
        return self._started, _as_actor(Replica, **options).remote(self._make, self._model, self._of_a_replica)

    def _join_cluster(self) -> None:
        if ray.is_initialized():
            return
        address = self._settings.ray_address
        try:
            _check_reachable(address)  # Ray itself would try for minutes
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                "ray.address",
                f"cannot reach a Ray cluster at {address or 'this machine'}",
                why=(str(error) or type(error).__name__).splitlines()[0],
                fix="start one with `ray start --head`, or remove --ray-address",
            ) from None
        self._own_cluster = True


def _as_actor(kind: type, **options: Any) -> Any:
    return ray.remote(**options)(kind)


def _check_reachable(address: str | None) -> None:
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Run:
    """One `generate`: what is under way, and how it comes back."""

    def __init__(self, new_replica: Callable[[], tuple[int, Any]], num_replicas: int, line: Any) -> None:
        self.line = line
        self._new_replica = new_replica
        self._num_replicas = num_replicas
        self._under = _Under()
        self._done: asyncio.Queue[tuple[str, Completion] | BaseException] = asyncio.Queue()
        self._deaths = 0  # since the last answer

    async def feed(self, requests: Iterator[Request]) -> None:
        """Keep the line filled; the data set is read no faster than answers come."""
        try:
            for request in requests:
                self._under.add(request)
                await self.line.put.remote(request)
                await self.line.room.remote(AHEAD * self._num_replicas)
            await self.line.close.remote()
        except Exception as error:
            self._done.put_nowait(error)

    async def watch(self) -> None:
        """Keep one replica at work; a dead one is replaced and its samples go back into the line."""
        number, actor = self._new_replica()
        try:
            while True:
                try:
                    async for reference in actor.answers.options(num_returns="streaming").remote(self.line, number):
                        await self._arrived(number, *await reference)
                    await self.line.work.remote()
                except LOST as error:
                    await self._lost(number, error)
                    number, actor = self._new_replica()
        except Exception as error:  # what a backend raises ends the run, as it does without Ray
            self._done.put_nowait(_cause(error))
        finally:
            ray.kill(actor)

    async def _arrived(self, number: int, key: str, completion: Completion) -> None:
        self._deaths = 0
        if self._under.take(key, completion):
            self._done.put_nowait((key, completion))
        if key not in self._under.jobs:
            await self.line.answered.remote(number, key)

    async def _lost(self, number: int, error: Exception) -> None:
        """Put back what a dead replica held; a sample over which several died fails.

        Raises: KvlEvalError, if replicas keep dying before anything is answered.
        """
        self._deaths += 1
        requests = await self.line.lose.remote(number)
        if self._deaths > MAX_ATTEMPTS * self._num_replicas:
            raise KvlEvalError(
                "ray.replicas",
                f"{self._deaths} replicas in a row crashed before answering",
                why=str(error).strip().splitlines()[0],
                fix="check Ray's logs, or try `--backend local` with --limit 1",
            )
        for request in requests:
            if request.key in self._under.jobs:
                await self._again(request)

    async def _again(self, request: Request) -> None:
        self._under.deaths[request.key] += 1
        if self._under.deaths[request.key] < MAX_ATTEMPTS:
            await self.line.put.remote(request, suspect=True)
            return
        error = SampleError("worker_died", f"{MAX_ATTEMPTS} replicas crashed on this sample")
        for completion in failed(self._under.jobs.pop(request.key), error):
            self._done.put_nowait((request.key, replace(completion, time={})))

    async def answers(self, feeding: asyncio.Task[None]) -> AsyncIterator[tuple[str, Completion]]:
        """Answers as they arrive, until every request has all of its own."""
        await asyncio.wait({feeding}, timeout=0)
        while not (feeding.done() and self._done.empty() and not self._under.jobs):
            waiting = asyncio.create_task(self._done.get())
            await asyncio.wait({waiting} if feeding.done() else {waiting, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                continue
            item = waiting.result()
            if isinstance(item, BaseException):
                raise item
            yield item


def _cause(error: Exception) -> BaseException:
    """The error of the replica itself, out of Ray's wrapping."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _here() -> dict[str, object]:
    """Placement beside the driver, so that losing another node loses no line."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {
        "scheduling_strategy": NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
        "max_concurrency": 1000,
        "num_cpus": 0,
    }
