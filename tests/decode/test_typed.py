"""Values to types and back: round trips, the path of the first wrong field, and fields nobody knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.decode import (
    Between,
    Count,
    DecodeError,
    Json,
    Others,
    decode,
    encode,
    inlined,
    named,
    not_stored,
    omitted,
    renamed,
    unknown_fields,
)
from kvl_eval.decode.schema import json_schema
from kvl_eval.store.manifest import Manifest
from kvl_eval.store.records import JudgeReply, PlannedSample, Record, ScoreLine
from kvl_eval.store.result_records import ResultRow
from tests.decode.test_text import VALUES
from tests.records import make_manifest, make_media, make_record, make_reply, make_row, make_sample, make_score


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    completion_tokens: Count
    share: Annotated[float, Between(0, 1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    usage: Usage
    color: Color = Color.RED
    kind: Literal["a", "b", None] = None
    pair: tuple[int, str] | None = None
    names: tuple[str, ...] = ()
    points: list[float] = field(default_factory=list)
    parts: Mapping[str, Usage] = field(default_factory=dict)
    limit: int | float | None = None
    folder: Path | None = None
    row: Mapping[str, Json] = field(default_factory=dict)
    note: str | None = omitted()
    flags: tuple[str, ...] = omitted(tuple)
    title: str = renamed("name", "untitled")
    secret: str = not_stored("hidden")
    others: Others = unknown_fields()


def usages() -> st.SearchStrategy[Usage]:
    share = st.none() | st.floats(0, 1)
    return st.builds(Usage, completion_tokens=st.integers(0, 2**53), share=share)


REPLIES = st.builds(
    Reply,
    usage=usages(),
    color=st.sampled_from(Color),
    kind=st.sampled_from(["a", "b", None]),
    pair=st.none() | st.tuples(st.integers(-(2**63), 2**63), st.text()),
    names=st.lists(st.text()).map(tuple),
    points=st.lists(st.floats(allow_nan=False, allow_infinity=False)),
    parts=st.dictionaries(st.text(), usages()),
    limit=st.none() | st.integers(0, 99) | st.floats(0, 1),
    folder=st.none() | st.sampled_from([Path("a"), Path("/b/c.d")]),
    row=st.dictionaries(st.text(), VALUES, max_size=3),
    note=st.none() | st.text(),
    flags=st.lists(st.text()).map(tuple),
    title=st.text(),
    others=st.dictionaries(st.sampled_from(["new", "newer field"]), VALUES),
)


@given(REPLIES)
def test_what_is_encoded_is_decoded_again(reply: Reply) -> None:
    stored = json.loads(json.dumps(encode(reply)))
    assert decode(Reply, stored) == reply
    assert encode(decode(Reply, stored)) == stored


@given(VALUES, st.sampled_from([Reply, Record, ScoreLine, Manifest, JudgeReply, ResultRow, PlannedSample]))
def test_any_value_is_of_the_type_or_gives_one_error(value: Json, kind: type[Any]) -> None:
    try:
        assert isinstance(decode(kind, value, "body"), kind)
    except DecodeError as error:
        assert error.message.startswith("body")


@given(VALUES, st.data())
def test_a_wrong_field_anywhere_is_named_or_harmless(value: Json, data: st.DataObject) -> None:
    stored: Any = encode(make_record(media=(make_media(),)))
    name = data.draw(st.sampled_from(sorted(stored)))
    try:
        assert encode(decode(Record, {**stored, name: value})) is not None
    except DecodeError as error:
        assert error.message.startswith(name)


GOOD: dict[str, Any] = {"usage": {"completion_tokens": 3}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"usage": {"completion_tokens": 10**400}},
            "body.usage.completion_tokens: about 10^400, expected an integer up to 2^53",
        ),
        ({"usage": {"completion_tokens": "3"}}, 'body.usage.completion_tokens: "3", expected an integer up to 2^53'),
        ({"usage": {"completion_tokens": True}}, "body.usage.completion_tokens: true, expected an integer up to 2^53"),
        ({"usage": {"completion_tokens": -1}}, "body.usage.completion_tokens: -1, expected an integer up to 2^53"),
        ({"usage": {}}, "body.usage.completion_tokens is missing, expected an integer up to 2^53"),
        ({}, "body.usage is missing, expected an object"),
        ([], "body: a list, expected an object"),
        ({**GOOD, "usage": {"completion_tokens": 1, "share": 1.5}}, "body.usage.share: 1.5, expected a number up to 1"),
        ({**GOOD, "color": "green"}, 'body.color: "green", expected one of red, blue'),
        ({**GOOD, "kind": "c"}, 'body.kind: "c", expected one of a, b, null'),
        ({**GOOD, "pair": [1]}, "body.pair: a list, expected a list of 2"),
        ({**GOOD, "pair": [1, 2]}, "body.pair[1]: 2, expected text"),
        ({**GOOD, "names": ["a", None]}, "body.names[1]: null, expected text"),
        ({**GOOD, "parts": {"x y": []}}, 'body.parts."x y": a list, expected an object'),
        ({**GOOD, "limit": "many"}, 'body.limit: "many", expected an integer or a finite number or null'),
        ({**GOOD, "folder": "a\0b"}, 'body.folder: "a\\u0000b", expected a path as text'),
        ({**GOOD, "name": 5}, "body.title: 5, expected text"),
    ],
)
def test_the_first_wrong_field_is_named(value: Any, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(Reply, value, "body")
    assert caught.value.message == message


def test_numbers_that_are_not_finite_become_null() -> None:
    assert encode({"a": float("nan"), "b": (float("inf"), 1.0)}) == {"a": None, "b": [None, 1.0]}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Usage(completion_tokens=2**53 + 1), "completion_tokens: "),
        (Usage(completion_tokens=-1), "completion_tokens: -1"),
        (Usage(completion_tokens=0, share=1.5), "share: 1.5"),
        (Reply(usage=Usage(completion_tokens=10**400)), "usage.completion_tokens: about 10^400"),
        (Reply(usage=Usage(completion_tokens=1), limit=2**63 + 1), "limit: "),
    ],
)
def test_R11_what_cannot_be_read_is_not_written(value: Any, named: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(named)):
        encode(value)


def test_what_json_cannot_hold_is_not_encoded() -> None:
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        encode({"a": {1}})


@pytest.mark.parametrize(
    "value",
    [make_record(media=(make_media(),)), make_score(), make_reply(), make_row(), make_manifest(), make_sample()],
    ids=lambda value: type(value).__name__,
)
def test_fields_of_a_later_version_are_written_again(value: Any) -> None:
    stored: Any = {**json.loads(json.dumps(encode(value))), "invented": {"deep": [1]}}
    if stored.get("media"):
        stored["media"][0]["lens"] = "wide"
    assert encode(decode(type(value), stored)) == stored


def test_a_field_is_read_under_its_former_name() -> None:
    stored: Any = encode(make_sample(messages_sha256="c" * 64))
    stored["prompt_sha256"] = stored.pop("messages_sha256")
    assert decode(PlannedSample, stored) == make_sample(messages_sha256="c" * 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    width: int = 1
    note: str | None = omitted()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    name: str
    size: Size = inlined(Size)
    others: Others = unknown_fields()


@given(st.builds(Picture, name=st.text(), size=st.builds(Size, width=st.integers(0, 9), note=st.none() | st.text())))
def test_an_inlined_field_stands_in_its_owner(picture: Picture) -> None:
    stored = encode(picture)
    assert isinstance(stored, dict)
    assert (stored["name"], stored["width"]) == (picture.name, picture.size.width)
    assert "size" not in stored and ("note" in stored) == (picture.size.note is not None)
    assert decode(Picture, stored) == picture


def test_what_an_inlined_type_knows_is_not_unknown() -> None:
    picture = decode(Picture, {"name": "a", "width": 3, "color": "red"})
    assert (picture.size, picture.others) == (Size(width=3), {"color": "red"})
    assert decode(Picture, {"name": "a", "color": "red"}).others == {"color": "red"}
    with pytest.raises(DecodeError, match=r"^picture\.width: "):
        decode(Picture, {"name": "a", "width": "wide"}, "picture")


def test_a_field_may_have_a_name_in_json_that_is_a_word_of_python() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Reading:
        as_: str = named("as")

    assert encode(Reading(as_="reader")) == {"as": "reader"}
    assert decode(Reading, {"as": "reader"}) == Reading(as_="reader")
    assert json_schema(Reading, "reading")["$defs"] == {
        "Reading": {"type": "object", "properties": {"as": {"type": "string"}}, "required": ["as"]}
    }
