"""Which models a server lists, and which of them is meant. One call, before anything else is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kvl_eval.backends.chat_client import MAX_BODY, PROBE_SECONDS, Server, headers_for, refused
from kvl_eval.backends.chat_reply import quoted, without_key
from kvl_eval.decode import Json, decode, read_json
from kvl_eval.errors import DecodeError, EndpointError
from kvl_eval.printable import one_line

IDENTITY = ("id", "root", "parent")  # what a server says of a model that tells it from another
CIRCUMSTANCES = ("owned_by", "max_model_len", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One entry of a server's list of models; `fields` is all that it says of it."""

    id: str
    fields: Mapping[str, Json] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Json]:
        """What tells it from another model."""
        return {name: self.fields[name] for name in IDENTITY if name in self.fields}

    @property
    def circumstances(self) -> dict[str, Json]:
        """Who serves it, and how."""
        return {name: self.fields[name] for name in CIRCUMSTANCES if name in self.fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelList:
    data: list[Json]


def list_models(server: Server) -> list[ListedModel]:
    """What the server says it serves, by `GET /models`; empty where it has no such list.

    Raises: EndpointError, if it cannot be reached, refuses, or answers something else.
    """
    import httpx2

    key, end, data = server.key(), time.monotonic() + PROBE_SECONDS, bytearray()
    try:
        with (
            httpx2.Client(
                headers=headers_for(key), timeout=PROBE_SECONDS / 3, follow_redirects=False, trust_env=False
            ) as client,
            client.stream("GET", server.url("models")) as response,
        ):
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_BODY or time.monotonic() > end:
                    raise httpx2.ReadTimeout(f"no whole list of models within {PROBE_SECONDS:g} s")
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise EndpointError(
            "endpoint.unreachable",
            f"cannot reach {server.base_url}",
            why=f"{type(error).__name__}: {without_key(str(error), key)}",
            fix="start the server, or correct the address; nothing was asked yet",
        ) from None
    status, text = response.status_code, quoted(data, key)
    if status in (404, 405, 501):
        return []
    if not 200 <= status < 300:
        raise refused(server, status, text)
    return _listed(server, bytes(data), text)


def _listed(server: Server, data: bytes, text: str) -> list[ListedModel]:
    try:
        entries = decode(_ModelList, read_json(data)).data
    except DecodeError:
        raise EndpointError(
            "endpoint.models",
            f"{server.url('models')} answers no list of models",
            why=text,
            fix="give the address up to /v1 of an OpenAI-compatible server",
        ) from None
    return [
        ListedModel(id=name, fields=entry)
        for entry in entries
        if isinstance(entry, dict) and isinstance(name := entry.get("id"), str)
    ]


def chosen_model(server: Server, listed: list[ListedModel]) -> str:
    """The name to ask for: the one given, else the only one listed. Raises EndpointError where that is not clear."""
    if server.model is not None:
        return server.model
    names = [model.id for model in listed]
    if len(names) != 1:
        raise EndpointError(
            "endpoint.model",
            f"which of the models of {server.base_url} is meant?",
            why=f"it lists {', '.join(map(one_line, names[:10])) or 'none'}",
            fix="name it with --served-model",
        )
    return names[0]
