"""JSON and YAML from bytes: a value within the limits, or one error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.decode import DecodeError, Json, ReadLimits, read_json, read_yaml

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_writes_is_read_back(value: Json) -> None:
    text = json.dumps(value).encode()
    assert read_json(text) == value
    assert read_json(b"\xef\xbb\xbf" + text) == value


@given(st.binary(max_size=40) | st.text(alphabet='[]{}:,"0123456789.eE+-nulltrfasINy\\ ', max_size=40).map(str.encode))
def test_any_bytes_give_a_value_or_one_error(data: bytes) -> None:
    for read in (read_json, read_yaml):
        try:
            json.dumps(read(data), allow_nan=False)
        except DecodeError as error:
            assert error.code == "input.form" and error.message


@pytest.mark.parametrize("read", [read_json, read_yaml])
@pytest.mark.parametrize(("depth", "fits"), [(64, True), (65, False), (3_000, False)])
def test_nesting_ends_at_the_limit(read: Any, depth: int, fits: bool) -> None:
    if fits:
        assert read(b"[" * depth + b"]" * depth)
    else:
        with pytest.raises(DecodeError, match="nested too deeply"):
            read(b"[" * depth + b"]" * depth)


def test_an_unclosed_million_of_lists_is_an_error() -> None:
    with pytest.raises(DecodeError):
        read_json(b"[" * 1_000_000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'{"usage": {"completion_tokens": 1' + b"0" * 400 + b"}}",
            "usage.completion_tokens: 10^400, expected an integer",
        ),
        (b'{"a": [1, -9223372036854775809]}', "a[1]: -9223372036854775809, expected an integer up to 2^63"),
        (b'{"a": {"b c": 1e999}}', 'a."b c": 1e999, expected a finite number'),
        (b"[NaN]", "[0]: NaN, expected a finite number"),
        (b"[-Infinity]", "[0]: -Infinity, expected a finite number"),
        (b'"\xff"', "is not UTF-8: byte 0xff at 1"),
        (b"{'a': 1}", "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_what_json_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_json(data)
    assert caught.value.message.startswith(message)


def test_numbers_at_the_limit_are_read() -> None:
    assert read_json(b"[9223372036854775808, -9223372036854775808, 1e308]") == [2**63, -(2**63), 1e308]


def test_digits_in_texts_are_no_numbers() -> None:
    assert read_json(b'["1' + b"0" * 400 + b'", "1e999", "NaN"]') == ["1" + "0" * 400, "1e999", "NaN"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: &a [*a]", "is nested too deeply"),
        (b"{a: .inf}", "a: inf, expected a finite number"),
        (b"a: 9223372036854775809", "a: 9223372036854775809, expected an integer up to 2^63"),
        (b"1: 2", "1, expected text as the name of a field"),
        (b"? [a]\n: b", "is not YAML"),
        (b"a: !!binary aGVsbG8=", "a: a bytes, expected a JSON value"),
        (b"!!python/object/apply:os.system [ls]", "is not YAML"),
        (b"a: [", "is not YAML"),
        (b"a: " + b"9" * 5_000, "is not YAML"),
    ],
)
def test_what_yaml_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_yaml(data)
    assert caught.value.message.startswith(message)


def test_parts_that_repeat_are_counted_each_time() -> None:
    laughs = b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 9))
    with pytest.raises(DecodeError, match=r"more than 10,000 values"):
        read_yaml(b"a0: &a0 [x, x]\n" + laughs, ReadLimits(size=10_000))


def test_dates_stay_text_and_repeated_parts_are_allowed() -> None:
    assert read_yaml(b"when: 2026-01-02\nx: &x [1]\ny: *x") == {"when": "2026-01-02", "x": [1], "y": [1]}


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_size_is_limited(read: Any) -> None:
    assert read(b"[1, 2]", ReadLimits(size=6)) == [1, 2]
    with pytest.raises(DecodeError, match="has 6 bytes, expected at most 5"):
        read(b"[1, 2]", ReadLimits(size=5))
