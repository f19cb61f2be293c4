"""Where the runs of a report come from: the parts of a merged run, and the settings in which runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.decode import Json, encode_object
from kvl_eval.reports import numbers
from kvl_eval.reports.runs import ReportRun
from kvl_eval.store.manifest import Code

# Fields of run.json that differ between any two runs and say nothing about their answers.
PASSING = (
    *("run_id", "created", "finished", "status", "sha256", "plan_sha256", "config_sha256"),
    *("counts", "resumes", "command", "pid"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardText:
    """A part of a merged run as texts: where it comes from, how often it was resumed, samples it lacks."""

    shard: str
    run_id: str
    created: str
    finished: str
    device: str
    code: str
    resumes: str
    lacking: str


def shards(run: ReportRun) -> list[ShardText]:
    """Where the parts of a merged run come from; none for any other run."""
    return [
        ShardText(
            shard=_known(shard.shard),
            run_id=_known(shard.run_id),
            created=_known(shard.created),
            finished=_known(shard.finished),
            device=_known(shard.device),
            code=_known(None if shard.code is None else code_text(shard.code)),
            resumes=str(len(shard.resumes or ())),
            lacking=f"{shard.lacking}",
        )
        for shard in run.manifest.merged
    ]


def _known(text: str | None) -> str:
    return numbers.plain(text or "unknown")


def code_text(code: Code) -> str:
    """`0.1.0 0123456`: version and commit."""
    return numbers.plain(f"{code.version} {(code.commit or '')[:7]}".strip())


def flatten(stored: Mapping[str, Json]) -> dict[str, str]:
    """An object such as run.json as {dotted name: text}; lists stay on one line."""
    flat: dict[str, str] = {}
    for key, value in stored.items():
        if isinstance(value, dict) and value:
            flat |= {f"{numbers.plain(key)}.{name}": text for name, text in flatten(value).items()}
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[numbers.plain(key)] = numbers.plain(text)
    return flat


def differences(runs: Sequence[ReportRun]) -> list[tuple[str, list[str]]]:
    """Settings whose value is not the same in all runs, with each run's value ("" where it has none)."""
    stored = [encode_object(run.manifest) for run in runs]
    flat = [flatten({key: value for key, value in fields.items() if key not in PASSING}) for fields in stored]
    names = dict.fromkeys(name for texts in flat for name in texts)
    rows = [(name, [texts.get(name, "") for texts in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
