"""The life of a vLLM server during a run: started when it is needed, once more after a death, and then no more.

Requests that were under way when the server died are sent again, with the seeds they had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from kvl_eval.backends.chat_client import ChatClient, NoAnswer, Server
from kvl_eval.backends.chat_reply import Reply
from kvl_eval.backends.vllm_server import TIDY, ServerCommand, VllmServer, new_key
from kvl_eval.decode import Json
from kvl_eval.errors import EndpointError, SampleError

LIVES = 2  # starts within a run
LABEL = "http://127.0.0.1/v1"  # of the server in messages: its port is nobody's business
SERVED_NAME = "kvl"


class ServerHost:
    """Holds the server of a run.

    Args:
        make: the command that starts it, with everything that it needs.

    Attributes:
        key: required with every request.
    """

    def __init__(self, make: Callable[[], Awaitable[ServerCommand]]) -> None:
        self.key = new_key()
        self._make = make
        self._server: VllmServer | None = None
        self._ending: asyncio.Task[None] | None = None
        self._starts = 0
        self._lost: str | None = None  # why there is no server any more
        self._lock = asyncio.Lock()

    @property
    def port(self) -> int:
        """Where the server listens; 0 before the first one."""
        return 0 if self._server is None else self._server.port

    async def ready(self) -> asyncio.Task[None]:
        """Come back when a server answers; the task that ends with it.

        Raises: EndpointError, where the first one does not start; SampleError `endpoint_error`, where none is left.
        """
        async with self._lock:
            if self._ending is not None and not self._ending.done():
                return self._ending
            if self._lost is None and self._starts == LIVES:
                self._lost = "the vLLM server exited twice in this run"
            if self._lost is not None:
                raise SampleError("endpoint_error", f"{self._lost}; see vllm.log in the run folder")
            if self._server is not None:
                await self._server.end()  # what it left behind
            self._starts += 1
            return await self._start()

    async def _start(self) -> asyncio.Task[None]:
        try:
            self._server = VllmServer.start(await self._make(), self.key)
            await self._server.healthy()
        except EndpointError as error:
            if self._starts == 1:
                raise
            self._lost = f"the vLLM server exited and could not be restarted ({error.message})"
            raise SampleError("endpoint_error", f"{self._lost}; see vllm.log in the run folder") from None
        self._ending = asyncio.create_task(self._server.ended())
        return self._ending

    async def is_lost(self, ending: asyncio.Task[None]) -> bool:
        """Whether the server that ends with this task is gone, or is going: one that is well is not waited for."""
        server = self._server
        if not ending.done() and server is not None and not await server.is_healthy():
            await asyncio.wait({ending}, timeout=server.command.grace + TIDY)
        return ending.done()

    async def end(self) -> None:
        """End the server, if there is one."""
        if self._ending is not None:
            self._ending.cancel()
        if self._server is not None:
            await self._server.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer(Server):
    """The server of a host: its address and key are asked of the host, and stored nowhere."""

    host: ServerHost = field(compare=False, repr=False)

    def url(self, path: str) -> str:
        """The address of `models` or `chat/completions`."""
        return f"http://127.0.0.1:{self.host.port}/v1/{path}"

    def key(self) -> str:
        """The host's key."""
        return self.host.key


class OwnClient(ChatClient):
    """Asks the server of a host; what is under way when it dies is asked of the next one."""

    def __init__(self, host: ServerHost, server: OwnServer) -> None:
        super().__init__(server)
        self._host = host

    async def complete(self, body: Mapping[str, Json]) -> Reply:
        """As `ChatClient.complete`. Raises: also SampleError `endpoint_error`, where no server is left."""
        while True:
            ending = await self._host.ready()
            asking = asyncio.ensure_future(super().complete(body))
            try:
                await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done() and not (
                    isinstance(asking.exception(), NoAnswer) and await self._host.is_lost(ending)
                ):
                    return asking.result()
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
