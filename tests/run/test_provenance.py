from __future__ import annotations

import pytest

from kvl_eval.run import provenance


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--judge-key", "SECRET", "--limit", "3"], ["--judge-key", "***", "--limit", "3"]),
        (["--api-key=SECRET"], ["--api-key=***"]),
        (["--hf-token", "SECRET"], ["--hf-token", "***"]),
        (["--model-args", "x=1,api_key=SECRET,y=2"], ["--model-args", "x=1,api_key=***,y=2"]),
        (["--model-args", "password=SECRET"], ["--model-args", "password=***"]),
        (["--base-url", "http://me:SECRET@host/v1"], ["--base-url", "http://***@host/v1"]),
        (["--judge-key-env", "NAME"], ["--judge-key-env", "NAME"]),
        (["--max-new-tokens", "5", "--answer-tokens=7"], ["--max-new-tokens", "5", "--answer-tokens=7"]),
        (["--model-args", "tokenizer=a"], ["--model-args", "tokenizer=a"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_secrets_leave_the_command(given: list[str], shown: list[str]) -> None:
    assert provenance.command(given) == shown


def test_only_listed_variables_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OPENAI_API_KEY", "SECRET")
    variables = provenance.environment()["variables"]
    assert variables["OMP_NUM_THREADS"] == "3"
    assert "SECRET" not in str(provenance.environment())


def test_code_is_named_by_version_and_content() -> None:
    found = provenance.code()
    assert found["version"].startswith(provenance.minor_version() + ".")
    assert len(found["files_sha256"]) == 64
    assert found == provenance.code()
