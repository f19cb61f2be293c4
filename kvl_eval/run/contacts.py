"""What a run would contact: servers, a cluster, repositories of the hub that the package does not name itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from kvl_eval.backends import MODELS, resolve_model
from kvl_eval.backends.chat_client import Server
from kvl_eval.run.config import RunConfig, TaskConfig
from kvl_eval.tasks import task_named
from kvl_eval.tasks.base import Task
from kvl_eval.trust import AddressPlace, Contact, Origin

PlaceOf = Callable[[str], AddressPlace]  # name of an option -> where its value stands


def contacts_of(config: RunConfig, place_of: PlaceOf, own: Sequence[Task] = ()) -> Iterator[Contact]:
    """Everything that carrying out `config` would reach, in the order in which a reader would ask for it.

    Not listed: data sets and models that the package itself names. Raises: UsageError for unknown names.
    """
    settings = config.settings
    is_served = resolve_model(config.model).kind == "endpoint"
    if is_served and settings.server.base_url:
        yield _server(settings.server.base_url, settings.server.api_key_env, ("--base-url", "--api-key-env"), place_of)
    if config.judge is not None:
        yield judge_contact(config.judge, place_of)
    if settings.cluster.backend == "ray" and settings.cluster.ray_address:
        address = settings.cluster.ray_address
        yield Contact(
            kind="cluster",
            name=str(Origin.of(address if "://" in address else f"ray://{address}")),
            place=place_of("ray_address"),
            confirming=("--ray-address", address),
        )
    if extra := settings.engine.model_args.get("vllm_args"):
        yield Contact(
            kind="vllm_args",
            name=str(extra),
            place=place_of("model_args"),
            confirming=("--model-args", f"vllm_args={extra}"),
        )
    yield from _models(config, place_of, is_served=is_served)
    for task in config.tasks:
        yield from _data(task, place_of, own)


def judge_contact(judge: Server, place_of: PlaceOf) -> Contact:
    """A judge as something to be contacted."""
    return _server(judge.base_url, judge.key_env, ("--judge-base-url", "--judge-key-env"), place_of)


def _server(address: str, variable: str | None, options: tuple[str, str], place_of: PlaceOf) -> Contact:
    base_url, key_env = options
    return Contact(
        kind="server",
        name=str(Origin.of(address)),
        place=place_of(_parameter(base_url)),
        confirming=(base_url, address),
        variable=variable if variable and os.environ.get(variable) else None,
        variable_place=place_of(_parameter(key_env)),
        confirming_key=(key_env, variable or ""),
    )


def _parameter(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _models(config: RunConfig, place_of: PlaceOf, *, is_served: bool) -> Iterator[Contact]:
    """The repository that holds the model, or the one that a server is said to serve."""
    if not is_served:
        yield from _model(config.model, "model", ("--model", config.model), place_of)
    served = config.settings.engine.model_args.get("checkpoint")
    if served is not None:
        yield from _model(str(served), "model_args", ("--model-args", f"checkpoint={served}"), place_of)


def _model(name: str, option: str, confirming: tuple[str, str], place_of: PlaceOf) -> Iterator[Contact]:
    entry = resolve_model(name)
    is_ours = any(entry.location == known.location for known in MODELS.values())
    if entry.kind not in ("checkpoint", "peer") or is_ours or os.path.exists(entry.location):
        return
    yield Contact(kind="model", name=entry.location, place=place_of(option), confirming=confirming)


def _data(task: TaskConfig, place_of: PlaceOf, own: Sequence[Task]) -> Iterator[Contact]:
    repo = task.source.repo
    if repo is None or task.source.data_dir is not None or repo in task_named(task.task, own).repos:
        return
    if task.split != "mini":
        named = ("--data-repo", f"{task.task}={repo}")
        yield Contact(kind="dataset", name=repo, place=place_of("data_repo"), confirming=named)
