"""Which models a server lists, and which of them is meant. One call, before anything else is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

from kvl_eval.backends.chat_client import PROBE_SECONDS, Server, certificates, headers_for, refused
from kvl_eval.backends.chat_reply import MAX_BODY, quoted, read_body, without_key
from kvl_eval.decode import Count, Json, Length, decode, encode, unknown_fields
from kvl_eval.errors import DecodeError, EndpointError
from kvl_eval.printable import one_line

MOST_NAMED = 10  # models that an error names


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One entry of a server's list of models.

    Attributes:
        id:            the name it is asked for by.
        identity:      what tells it from another model.
        circumstances: who serves it, and how.
    """

    id: str
    identity: Mapping[str, Json] = field(default_factory=dict)
    circumstances: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """What a server serves, and how many entries of its list have no id that can be used."""

    models: tuple[ListedModel, ...] = ()
    unusable: int = 0


# -- what servers send: a field that cannot be used counts as absent

Name = Annotated[str, Length(1, 512)]
IDENTITY = ("root", "parent")
CIRCUMSTANCES = ("owned_by", "max_model_len", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelFields:
    """What a server says of a model; each field is decoded by itself."""

    root: Name | None = None
    parent: Name | None = None
    owned_by: Name | None = None
    max_model_len: Count | None = None
    meta: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentList:
    data: list[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ListEntry:
    id: Name
    others: Mapping[str, object] = unknown_fields()


def list_models(server: Server) -> ModelList:
    """What the server says it serves, by `GET /models`; empty where it has no such list.

    Raises: EndpointError, if it cannot be reached, refuses, or answers something else.
    """
    import httpx2

    key, end, data = server.key(), time.monotonic() + PROBE_SECONDS, bytearray()
    try:
        with (
            httpx2.Client(
                headers=headers_for(key),
                timeout=PROBE_SECONDS / 3,
                follow_redirects=False,
                trust_env=False,
                verify=certificates(),
            ) as client,
            client.stream("GET", server.url("models")) as response,
        ):
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_BODY or time.monotonic() > end:
                    raise httpx2.ReadTimeout(f"no complete list of models within {PROBE_SECONDS:g} s")
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise EndpointError(
            "endpoint.unreachable",
            f"cannot reach {server.base_url}",
            why=f"{type(error).__name__}: {without_key(str(error), key)}",
            fix="start the server or correct --base-url; no request was sent",
        ) from None
    status, text = response.status_code, quoted(data, key)
    if status in (404, 405, 501):
        return ModelList()
    if not 200 <= status < 300:
        raise refused(server, status, text)
    return _listed(server, bytes(data), text)


def _listed(server: Server, data: bytes, text: str) -> ModelList:
    try:
        entries = decode(_SentList, read_body(data)).data
    except DecodeError:
        raise EndpointError(
            "endpoint.models",
            f"{server.url('models')} did not return a list of models",
            why=text,
            fix="use the URL of an OpenAI-compatible server, ending in /v1",
        ) from None
    models = [model for entry in entries if (model := _model(entry)) is not None]
    return ModelList(models=tuple(models), unusable=len(entries) - len(models))


def _model(entry: object) -> ListedModel | None:
    """An entry of the list; None where it has no id that can be used."""
    try:
        model = decode(_ListEntry, entry)
    except DecodeError:
        return None
    identity = {"id": model.id, **_usable(model.others, IDENTITY)}
    return ListedModel(id=model.id, identity=identity, circumstances=_usable(model.others, CIRCUMSTANCES))


def _usable(fields: Mapping[str, object], names: Sequence[str]) -> dict[str, Json]:
    """The named fields that are present and have the right type."""
    usable: dict[str, Json] = {}
    for name in names:
        if name in fields:
            with suppress(DecodeError):
                usable[name] = encode(getattr(decode(_ModelFields, {name: fields[name]}), name))
    return usable


def chosen_model(server: Server, listed: ModelList) -> str:
    """The name to ask for: the one given, else the only one listed. Raises EndpointError where that is not clear."""
    if server.model is not None:
        return server.model
    names = [model.id for model in listed.models]
    if len(names) != 1:
        why = f"it lists {', '.join(map(one_line, names[:MOST_NAMED])) or 'none'}"
        if listed.unusable:
            entries = "1 entry" if listed.unusable == 1 else f"{listed.unusable} entries"
            why += f"; {entries} of /v1/models {'has' if listed.unusable == 1 else 'have'} no usable id"
        raise EndpointError(
            "endpoint.model",
            f"the server at {server.base_url} lists several models",
            why=why,
            fix="choose one with --served-model",
        )
    return names[0]
