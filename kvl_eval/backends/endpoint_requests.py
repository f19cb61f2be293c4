"""How an endpoint is asked: the body of a chat completion, and a trial of what thinking budgets need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from kvl_eval.backends.chat_client import NoAnswer
from kvl_eval.backends.chat_errors import RefusedField
from kvl_eval.backends.chat_reply import Reply
from kvl_eval.backends.encoding import EncodedJob
from kvl_eval.backends.endpoint_answers import no_means, served_budget
from kvl_eval.decode import Json
from kvl_eval.engine.trajectory import LONGEST_MARKER
from kvl_eval.errors import SampleError
from kvl_eval.media.encoded import EncodedPicture, EncodedTurns
from kvl_eval.types import Generation, Policy

SEED_BITS = 0x7FFF_FFFF  # what every server takes
ECHO = "Yes, kvl-eval"
CONTINUED: Mapping[str, Json] = {"continue_final_message": True, "add_generation_prompt": False}
PROBE = "Say hello."  # the question before a run
PROBE_TOKENS = 16
TRIAL: Mapping[str, Json] = {"logprobs": True, "temperature": 0}


Complete = Callable[[list[Json], int, Mapping[str, Json]], Awaitable[Reply]]
"""(messages, most new tokens, further fields of the body) -> reply; raises as `ChatClient.complete`."""


@dataclass(slots=True)
class Asker:
    """Asks a server for answers. `budget` is the model argument: what keeps thinking budgets."""

    complete: Complete
    budget: str
    _means: set[Policy] = field(default_factory=set)  # of budgets, that the server was seen to have

    async def ask(self, job: EncodedJob, seed: int, limit: int, *, prefix: str = "", **fields: Json) -> Reply:
        """The server's reply to a job's prompt, `prefix` being what the answer begins with.

        Raises: as `complete`.
        """
        generation = job.request.generation
        sampling = sampling_fields(generation, seed)
        messages = turns(job.prompt)
        if prefix:
            messages.append({"role": "assistant", "content": prefix})
            fields |= CONTINUED
        return await self.complete(messages, limit, {**sampling, **fields})

    async def check_means(self, generation: Generation) -> None:
        """Whether the server can do what budgets need, tried on a prompt of its own. Raises: EndpointError."""
        policy = generation.budget_policy
        if policy == "approximate" or policy in self._means:
            return
        messages: list[Json] = [{"role": "user", "content": "Say yes."}]
        try:
            if self.budget == "thinking_token_budget":
                served_budget(policy)
                reply = await self.complete(messages, LONGEST_MARKER, {"thinking_token_budget": 1, **TRIAL})
                if reply.tokens is None:
                    raise no_means(policy, "it returns no log-probabilities, so its budgets cannot be checked")
            else:
                await self._check_counting(messages, policy)
        except RefusedField as error:
            if error.field != "logprobs":
                raise
            raise no_means(policy, error.message) from None
        except NoAnswer:
            return  # it did not answer at all: the sample says so
        except SampleError as error:
            raise no_means(policy, error.message) from None
        self._means.add(policy)

    async def _check_counting(self, messages: list[Json], policy: Policy) -> None:
        reply = await self.complete(messages, 4, TRIAL)
        if reply.tokens is None:
            raise no_means(policy, "it returns no log-probabilities, so the tokens of a thought cannot be counted")
        if policy != "force":
            return
        begun: list[Json] = [*messages, {"role": "assistant", "content": ECHO}]
        reply = await self.complete(begun, 2, {**TRIAL, **CONTINUED, "echo": True})
        if not (reply.content or "").startswith(ECHO):
            raise no_means("force", "it cannot continue a prefilled reply (continue_final_message)")


def sampling_fields(generation: Generation, seed: int) -> dict[str, Json]:
    """The fields of a request that say how an answer is sampled."""
    fields: dict[str, Json] = {"temperature": generation.temperature, "seed": seed & SEED_BITS}
    if generation.top_p < 1:
        fields["top_p"] = generation.top_p
    if generation.top_k:
        fields["top_k"] = generation.top_k
    return fields


def turns(prompt: EncodedTurns) -> list[Json]:
    """A prompt as chat completions take it: texts that touch become one, turns of text alone are plain strings."""
    messages: list[Json] = []
    for role, parts in prompt.turns:
        pieces: list[str | EncodedPicture] = []
        for part in parts:
            if isinstance(part, str) and pieces and isinstance(pieces[-1], str):
                pieces[-1] += part
            else:
                pieces.append(part)
        texts = [piece for piece in pieces if isinstance(piece, str)]
        content: Json = "".join(texts) if len(texts) == len(pieces) else [_content(piece) for piece in pieces]
        messages.append({"role": role, "content": content})
    return messages


def _content(piece: str | EncodedPicture) -> Json:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    return {"type": "image_url", "image_url": {"url": piece.data_uri}}
