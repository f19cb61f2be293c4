"""A checkpoint's own chat template is compared, never used, and can do no harm."""

import json
import logging
from pathlib import Path

import pytest

from kvl_eval.model.kimi_vl import chat, template_check
from kvl_eval.model.kimi_vl.template_check import (
    PROBES,
    TEMPLATE,
    find_template,
    rendered_apart,
    warn_if_template_differs,
)


def test_the_published_form_and_the_bundled_pieces_agree(tiny: Path) -> None:
    expected = [chat.render(probe) for probe in PROBES]
    assert rendered_apart(TEMPLATE) == expected
    assert rendered_apart((tiny / "chat_template.jinja").read_text("utf-8")) == expected


def test_a_template_that_says_the_same_is_no_warning(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_if_template_differs(tiny)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "content", "rendered"),
    [
        ("chat_template.jinja", "{{ messages[0].content }}", "What is it?"),
        ("chat_template.json", json.dumps({"chat_template": "other"}), "other"),
        ("tokenizer_config.json", json.dumps({"chat_template": "other"}), "other"),
        ("processor_config.json", json.dumps({"chat_template": "other"}), "other"),
    ],
)
def test_a_different_template_is_a_warning_with_both(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: str, rendered: str
) -> None:
    (tmp_path / name).write_text(content)
    with caplog.at_level(logging.WARNING):
        warn_if_template_differs(tmp_path)
    assert "<|im_middle|>You are a helpful assistant" in caplog.text
    assert rendered in caplog.text


def test_no_template_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "chat_template.json").write_text("broken")
    warn_if_template_differs(tmp_path)
    assert find_template(tmp_path) is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3,
        "{% set x = 'a' * 10000000000 %}{{ x }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__ }}{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% if %}",
        "x" * 70000,
    ],
    ids=["endless", "huge", "escape", "system", "syntax", "long"],
)
def test_hostile_templates_end_as_a_difference(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_check, "SECONDS", 2)
    results = rendered_apart(template)
    assert len(results) == len(PROBES)
    assert all(result != chat.render(probe) for result, probe in zip(results, PROBES, strict=True))
    assert all(result.startswith("<") for result in results)


def test_a_template_cannot_write_files(tmp_path: Path) -> None:
    target = tmp_path / "created"
    template = "{{ cycler.__init__.__globals__.__builtins__.open('%s', 'w') }}" % target  # noqa: UP031
    rendered_apart(template)
    assert not target.exists()
