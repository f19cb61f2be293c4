"""A live queue: requests that arrive while others are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from kvl_eval.backends.base import EngineSettings, LiveBackend, Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.request import Request, RequestQueue
from kvl_eval.types import Generation, Message


def request(key: str) -> Request:
    return Request(key=key, messages=(Message.user(key),), generation=Generation())


def fake(concurrency: int, delay: float = 0.0) -> FakeBackend:
    return FakeBackend(Settings(engine=EngineSettings(model_args={"concurrency": concurrency, "delay": delay})))


def test_a_queue_says_whether_more_may_come() -> None:
    queue = RequestQueue()
    assert (queue.take(), queue.closed) == (None, False)
    queue.put(request("a"))
    queue.put(request("b"))
    queue.close()
    assert not queue.closed
    assert [taken.key for taken in iter(queue.take, None)] == ["a", "b"]
    assert queue.closed


def test_an_iterable_is_pulled_one_by_one_and_closes_the_queue() -> None:
    pulled: list[str] = []

    def requests() -> Iterator[Request]:
        for key in "ab":
            pulled.append(key)
            yield request(key)

    queue = RequestQueue(requests())
    assert queue.take() is not None
    assert pulled == ["a"]
    assert queue.take() is not None
    assert (queue.take(), queue.closed) == (None, True)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_requests_are_taken_while_the_queue_is_open_and_closing_it_ends_the_answers(concurrency: int) -> None:
    async def main() -> list[str]:
        queue, answered = RequestQueue(), []
        queue.put(request("0"))
        async for key, _ in fake(concurrency).answer_queue(queue):
            answered.append(key)
            if len(answered) < 5:
                asyncio.get_running_loop().call_soon(queue.put, request(str(len(answered))))
            else:
                queue.close()
        return answered

    assert asyncio.run(asyncio.wait_for(main(), 10)) == list("01234")


def test_a_request_is_answered_before_a_slower_one_that_was_there_first() -> None:
    """With free room nothing waits for another's answer."""

    async def main() -> list[str]:
        queue, answered = RequestQueue(), []
        backend = fake(2)
        slow = asyncio.Event()

        async def pause(asked: Request, completion: object) -> None:
            if asked.key == "slow":
                await slow.wait()

        backend._pause = pause  # type: ignore[method-assign]
        queue.put(request("slow"))
        asyncio.get_running_loop().call_later(0.01, queue.put, request("late"))
        async for key, _ in backend.answer_queue(queue):
            answered.append(key)
            slow.set()
            queue.close()
        return answered

    assert asyncio.run(asyncio.wait_for(main(), 10)) == ["late", "slow"]


def test_an_idle_backend_sleeps_until_something_arrives() -> None:
    async def main() -> int:
        queue, takes = RequestQueue(), 0
        take = queue.take

        def counted() -> Request | None:
            nonlocal takes
            takes += 1
            return take()

        queue.take = counted  # type: ignore[method-assign]
        asyncio.get_running_loop().call_later(0.05, queue.close)
        async for _ in fake(4).answer_queue(queue):
            pass
        return takes

    assert asyncio.run(asyncio.wait_for(main(), 10)) <= 3


def test_which_backends_take_a_queue() -> None:
    from kvl_eval.backends.endpoint import Endpoint
    from kvl_eval.backends.managed_vllm import ManagedVllm
    from kvl_eval.backends.torch_engine import TorchEngine

    assert all(issubclass(kind, LiveBackend) for kind in (FakeBackend, TorchEngine, Endpoint, ManagedVllm))
