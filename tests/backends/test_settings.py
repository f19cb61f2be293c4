"""Settings lie in one object where they are stored, whatever their concern."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.backends.base import CONCERNS, SETTINGS, Settings
from kvl_eval.backends.engine_args import engine_args
from kvl_eval.decode import DecodeError, decode, encode_object

FORMER = (  # as the first release stored them
    *("model_args", "device", "dtype", "revision", "family", "offline", "max_download", "batch_size", "kv_cache_gb"),
    *("num_workers", "timeout", "image_prep", "blind", "frames", "fps", "max_pixels", "video_decoder", "cache_dir"),
    *("no_cache", "base_url", "served_model", "api_key_env", "max_connections", "max_retries", "request_timeout"),
    *("backend", "num_replicas", "gpus_per_replica", "ray_address"),
)


def test_the_stored_form_is_that_of_the_first_release() -> None:
    assert tuple(encode_object(Settings())) == FORMER
    assert [name for name in SETTINGS if name not in FORMER] == ["weights", "max_image_pixels"]


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "model_args": st.dictionaries(st.text(), st.integers(0, 9) | st.text()),
            "device": st.text(),
            "timeout": st.integers(1, 9) | st.floats(1, 9),
            "blind": st.booleans(),
            "max_retries": st.integers(0, 9),
            "num_replicas": st.integers(1, 9),
        },
    )
)
def test_settings_come_back_as_they_were(values: dict[str, Any]) -> None:
    settings = Settings.of(**values)
    stored = encode_object(settings)
    assert {name: stored[name] for name in values} == values
    assert decode(Settings, stored) == settings


def test_a_name_belongs_to_one_concern() -> None:
    assert len(SETTINGS) == len(set(SETTINGS))
    assert set(encode_object(Settings())).isdisjoint(CONCERNS)
    with pytest.raises(TypeError, match="blnd"):
        Settings.of(blnd=True)


def test_a_wrong_value_is_named_without_its_concern() -> None:
    with pytest.raises(DecodeError, match=r"^settings\.frames: \"many\""):
        decode(Settings, {"frames": "many"}, "settings")


@pytest.mark.parametrize(("device", "chunk", "page"), [("cpu", 2048, 64), ("cuda:1", 8192, 256), ("mps", 8192, 256)])
def test_chunks_and_pages_are_larger_on_accelerators_unless_asked_otherwise(device: str, chunk: int, page: int) -> None:
    assert (engine_args({}).chunk_on(device), engine_args({}).page_on(device)) == (chunk, page)
    asked = engine_args({"prefill_chunk": 7, "page_size": 3})
    assert (asked.chunk_on(device), asked.page_on(device)) == (7, 3)
