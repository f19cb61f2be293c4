"""What the flags of `--model endpoint` mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvl_eval.backends.base import EngineSettings, ServerSettings
from kvl_eval.backends.chat_client import CONNECTIONS, REQUEST_SECONDS, RETRIES, Server
from kvl_eval.backends.chat_errors import RefusedField, way_out
from kvl_eval.backends.served_checkpoint import ServedCheckpoint
from kvl_eval.decode import Json
from kvl_eval.errors import ConfigError, EndpointError, unknown

MODEL_ARGS = {"budget": ("tokens", "thinking_token_budget"), "limit_field": ("max_tokens", "max_completion_tokens")}
OMITTABLE = ("seed", "temperature", "top_p", "top_k", "max_tokens", "stop", "logprobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointArgs:
    """The model arguments: what keeps budgets, the field that limits new tokens, and fields that are not sent."""

    budget: str = "tokens"
    limit_field: str = "max_tokens"
    omit: tuple[str, ...] = ()

    def sent(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """The fields of a request that are sent."""
        limit = (self.limit_field,) if "max_tokens" in self.omit else ()
        return {name: value for name, value in body.items() if name not in (*self.omit, *limit)}


def server_of(settings: ServerSettings) -> Server:
    """The server that the flags name. Raises: UsageError, ConfigError."""
    if not settings.base_url:
        raise ConfigError(
            "config.base_url",
            "--model endpoint needs --base-url",
            fix="add its URL, for example --base-url http://127.0.0.1:8000/v1",
        )
    return Server(
        base_url=settings.base_url,
        model=settings.served_model,
        key_env=settings.api_key_env,
        max_connections=settings.max_connections or CONNECTIONS,
        request_timeout=settings.request_timeout or REQUEST_SECONDS,
        max_retries=RETRIES if settings.max_retries is None else settings.max_retries,
    )


def served_checkpoint(settings: EngineSettings) -> ServedCheckpoint | None:
    """The checkpoint that is said to be served, or None. Raises: CheckpointError, UsageError."""
    named = settings.model_args.get("checkpoint")
    if named is None:
        return None
    from kvl_eval.backends import resolve_model

    return ServedCheckpoint(resolve_model(str(named)).location, settings)


def endpoint_args(values: Mapping[str, Json]) -> EndpointArgs:
    """The model arguments, defaults filled in. Raises: UsageError, ConfigError."""
    words: dict[str, str] = {}
    for name, value in values.items():
        if name in ("checkpoint", "omit"):
            continue
        if name not in MODEL_ARGS:
            raise unknown("model argument", name, [*MODEL_ARGS, "checkpoint", "omit"], "docs/backends.md")
        if value not in MODEL_ARGS[name]:
            raise ConfigError("config.model_args", f"{name}={value!r}", fix=f"use {' or '.join(MODEL_ARGS[name])}")
        words[name] = str(value)
    return EndpointArgs(omit=_omitted(values.get("omit")), **words)


def _omitted(value: Json) -> tuple[str, ...]:
    names = [] if value is None else str(value).split("+")
    odd = [name for name in names if name not in OMITTABLE]
    if odd:
        raise ConfigError(
            "config.model_args",
            f"omit={value}: the field {odd[0]!r} cannot be omitted",
            fix=f"use for example omit=seed+temperature; supported fields: {', '.join(OMITTABLE)}",
        )
    return tuple(name for name in OMITTABLE if name in names)


def field_refused(server: Server, error: RefusedField, omitted: tuple[str, ...]) -> EndpointError:
    """The error for a server that does not take a field which every request has."""
    return EndpointError(
        "endpoint.field",
        f"{server.base_url} does not accept the field {error.field}",
        why=error.text,
        fix=f"add {way_out(error.field, error.text, omitted)}",
    )
