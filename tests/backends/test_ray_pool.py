"""Replicas on a real Ray cluster of two nodes: same answers as one process, also when processes and nodes die."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.backends.base import Backend, Description, Limits, Request, Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import CheckpointError, ConfigError, KvlEvalError
from kvl_eval.types import Completion, Generation, Message

ray = pytest.importorskip("ray", reason="install the extra `ray`")

from ray.cluster_utils import Cluster  # noqa: E402

from kvl_eval.backends.ray_pool import MAX_ATTEMPTS, Line, RayPool, work  # noqa: E402

pytestmark = pytest.mark.ray


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head node with room for the driver alone, and two nodes for a replica each."""
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def requests(count: int, **settings: Any) -> list[Request]:
    generation = Generation(max_new_tokens=64, **settings)
    return [
        Request(key=f"t/{n}", messages=(Message.user(f"question {n}"),), generation=generation, seeds=(n,))
        for n in range(count)
    ]


def answers(backend: Backend, asked: Iterable[Request], then: Callable[[int], None] = lambda n: None) -> dict[str, str]:
    """What each request was answered; `then` is called after each answer with how many there are."""

    async def collect() -> dict[str, str]:
        found: dict[str, str] = {}
        try:
            async for key, completion in backend.generate(asked):
                assert key not in found, f"{key} was answered twice"
                found[key] = completion.answer if completion.status == "ok" else f"failed: {completion.reason}"
                then(len(found))
        finally:
            await backend.close()
        return found

    return asyncio.run(collect())


def fake(model: str, settings: Settings) -> FakeBackend:
    return FakeBackend(settings)


class Deadly(FakeBackend):
    """Kills its process over the requests that a file names, each once or always."""

    def __init__(self, settings: Settings, folder: Path, over: frozenset[str], always: bool) -> None:
        super().__init__(settings)
        self._folder, self._over, self._always = folder, over, always

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        def watched() -> Iterator[Request]:
            for request in requests:
                mark = self._folder / request.key.replace("/", "_")
                if request.key in self._over and (self._always or not mark.exists()):
                    mark.touch()
                    os._exit(9)
                yield request

        async for answer in super().generate(watched()):
            yield answer


SETTINGS = Settings.of(num_replicas=2, model_args={"delay": 0.01, "concurrency": 4, "jitter": 0.9})


def test_two_nodes_give_the_answers_of_one_process(cluster: Cluster) -> None:
    assert answers(RayPool(fake, "fake", SETTINGS), requests(60)) == answers(FakeBackend(), requests(60))


def test_a_killed_process_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    over = frozenset({"t/7", "t/31"})

    def make(model: str, settings: Settings) -> Deadly:
        return Deadly(settings, tmp_path, over, always=False)

    found = answers(RayPool(make, "fake", SETTINGS), requests(60))
    assert {path.name for path in tmp_path.iterdir()} == {"t_7", "t_31"}
    assert found == answers(FakeBackend(), requests(60))


def test_a_sample_over_which_replicas_die_fails_alone(cluster: Cluster, tmp_path: Path) -> None:
    def make(model: str, settings: Settings) -> Deadly:
        return Deadly(settings, tmp_path, frozenset({"t/3"}), always=True)

    found = answers(RayPool(make, "fake", SETTINGS), requests(30))
    assert found.pop("t/3") == "failed: worker_died"
    expected = answers(FakeBackend(), requests(30))
    del expected["t/3"]
    assert found == expected
    assert MAX_ATTEMPTS == 3


def test_a_removed_node_loses_nothing(cluster: Cluster) -> None:
    node = cluster.list_all_nodes()[-1]

    def remove(count: int) -> None:
        if count == 10:
            cluster.remove_node(node)

    found = answers(RayPool(fake, "fake", SETTINGS), requests(80), remove)
    assert found == answers(FakeBackend(), requests(80))


def test_a_replica_may_join_late(cluster: Cluster) -> None:
    workers: set[str] = set()
    pool = RayPool(fake, "fake", Settings.of(num_replicas=3, model_args={"delay": 0.1}))

    async def collect() -> None:
        count = 0
        async for _, completion in pool.generate(requests(120)):
            workers.add(str(completion.worker).partition(":")[0])
            count += 1
            if count == 5:
                cluster.add_node(num_cpus=1)
        assert count == 120
        await pool.close()

    asyncio.run(collect())
    assert len(workers) == 3


class Broken:
    name, family = "broken", "instruct"

    def describe(self) -> Description:
        return Description(identity={})

    def limits(self) -> Limits:
        return Limits()

    async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
        raise CheckpointError("weights.missing", "there are no weights", fix="look elsewhere")
        yield

    async def close(self) -> None:
        pass


def test_what_a_backend_raises_ends_the_run_with_its_own_message(cluster: Cluster) -> None:
    with pytest.raises(CheckpointError) as caught:
        answers(RayPool(lambda model, settings: Broken(), "broken", SETTINGS), requests(5))
    assert caught.value.fix == "look elsewhere"


def test_replicas_that_only_die_end_the_run(cluster: Cluster, tmp_path: Path) -> None:
    class Dies(FakeBackend):
        async def generate(self, requests: Iterable[Request]) -> AsyncIterator[tuple[str, Completion]]:
            os._exit(9)
            yield

    with pytest.raises(KvlEvalError) as caught:
        answers(RayPool(lambda model, settings: Dies(settings), "fake", SETTINGS), requests(5))
    assert caught.value.code == "ray.replicas"


def test_no_cluster_at_an_address_is_one_clear_error() -> None:
    pool = RayPool(fake, "fake", Settings.of(num_replicas=1, ray_address="127.0.0.1:1"))
    with pytest.raises(ConfigError) as caught:
        answers(pool, requests(1))
    assert caught.value.code == "ray.address"


def test_a_replica_that_is_lost_takes_nothing_more() -> None:
    """A process may live on for a moment after its death is known: what it takes then, nobody would answer."""

    async def take() -> None:
        line, (first, second, third) = Line(), requests(3)
        await line.put(first)
        assert await line.take(1) is first
        waiting = asyncio.create_task(line.take(1))
        await asyncio.sleep(0)
        assert await line.lose(1) == [first]
        await line.put(second)
        await line.put(third)
        assert await waiting is None
        assert await line.take(1) is None
        assert await line.lose(1) == []
        assert {(await line.take(2)).key, (await line.take(2)).key} == {second.key, third.key}

    asyncio.run(asyncio.wait_for(take(), 10))


def test_longer_work_goes_first() -> None:
    short, long = requests(1)[0], requests(1, think_budgets=()).pop()
    more = Request(key="m", messages=long.messages, generation=long.generation, seeds=(1, 2), repeats=(0, 1))
    assert work(more) > work(short)
