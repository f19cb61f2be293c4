"""How `doctor` asks: small requests of its own, and samples of the task exactly as a run would ask them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kvl_eval.backends.base import Backend, FreelyAsked, Request
from kvl_eval.errors import SampleError
from kvl_eval.run.config import RunConfig
from kvl_eval.types import Completion, Generation, ImageRef, Message

ANSWER_TOKENS = 128  # of a model that writes no thoughts
THOUGHT_TOKENS = 4_096  # of one that does, if the run allows as many
DOCTOR = "doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallQuestion:
    """A question of `doctor` itself.

    Attributes:
        name:        unique in what is asked together.
        text:        what is asked.
        images:      that come before the text.
        tokens:      most new tokens; None means enough for an answer of a word or a line.
        temperature: 0 means greedy.
        seed:        of the sampler.
    """

    name: str
    text: str
    images: tuple[bytes, ...] = ()
    tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0


class Questioner:
    """Asks a backend, and counts what was asked.

    Attributes:
        requests: sent so far.
        thinks:   whether its replies begin with thoughts, so that an answer takes more tokens.
    """

    def __init__(self, backend: Backend, config: RunConfig) -> None:
        self.backend = backend
        self.config = config
        self.requests = 0
        self.thinks = False

    async def completions(self, requests: Sequence[Request]) -> dict[str, list[Completion]]:
        """{key: its completions}. Raises: EndpointError, where the server cannot be used."""
        self.requests += len(requests)
        found: dict[str, list[Completion]] = {request.key: [] for request in requests}
        async for key, completion in self.backend.generate(iter(requests)):
            found[key].append(completion)
        return found

    async def ask(self, questions: Iterable[SmallQuestion]) -> dict[str, Completion]:
        """{name: the reply}; a reply that failed has the status `failed`."""
        requests = [self._request(question) for question in questions]
        found = await self.completions(requests)
        return {key.partition("/")[2]: completions[0] for key, completions in found.items() if completions}

    async def with_field(self, text: str, limit: int, stop: str) -> str | None:
        """The text of a reply to a request with a stop text; None where this backend has no such field, or refuses it.

        Raises: EndpointError, where the server cannot be used.
        """
        if not isinstance(self.backend, FreelyAsked):
            return None
        self.requests += 1
        try:
            reply = await self.backend.ask_freely(text, limit, {"temperature": 0, "stop": [stop]})
        except SampleError:
            return None
        return reply.content or ""

    def _request(self, question: SmallQuestion) -> Request:
        images = [
            ImageRef(name=f"image {number} of {question.name}", data=data)
            for number, data in enumerate(question.images, 1)
        ]
        system = self.config.system_prompt
        return Request(
            key=f"{DOCTOR}/{question.name}",
            messages=(*((Message.system(system),) if system else ()), Message.user(*images, question.text)),
            generation=Generation(max_new_tokens=question.tokens or self._enough(), temperature=question.temperature),
            seeds=(question.seed,),
        )

    def _enough(self) -> int:
        if not self.thinks:
            return ANSWER_TOKENS
        return max(ANSWER_TOKENS, min(THOUGHT_TOKENS, self.config.tasks[0].generation.limit))


def again(request: Request, number: int, generation: Generation | None = None) -> Request:
    """The same request under another key, perhaps with other settings."""
    task, _, sample = request.key.partition("/")
    changed = request.generation if generation is None else generation
    return replace(request, key=f"{task.partition('#')[0]}#{number}/{sample}", generation=changed)


def said(completion: Completion | None) -> str:
    """The answer of a reply, without blanks around it; empty where there is none."""
    return "" if completion is None or completion.status != "ok" else completion.answer.strip()
