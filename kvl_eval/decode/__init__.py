"""What comes from outside gets a type here, and nowhere else: run folders, servers, checkpoints, rows, configurations.

    value = decode(Usage, read_json(body), "usage")      Usage is a dataclass; DecodeError names the first wrong field
    line = encode(record)                                plain JSON values, ready for `json.dumps`

A dataclass describes an object. Its fields may be None, bool, int, float, str, Path, Literal, StrEnum, list[T],
tuple[T, ...], tuple[A, B], Mapping[str, T], dict[str, T], unions of these, other dataclasses, and `Json`.
`Annotated[int, Between(0, 9)]` bounds a number, `Annotated[str, Length(1, 9)]` a text or list; `object` takes a value
as it came, to be decoded where it is needed. Names in annotations must be importable at run time. Fields are
made special by `omitted`, `unknown_fields`, `renamed`, `named`, `inlined` and `not_stored`.
"""

from __future__ import annotations

from kvl_eval.decode.fields import (
    Between,
    Count,
    Length,
    Others,
    inlined,
    named,
    not_stored,
    omitted,
    renamed,
    unknown_fields,
)
from kvl_eval.decode.text import DEFAULT_LIMITS, Json, ReadLimits, join_path, read_json, read_yaml, shown
from kvl_eval.decode.typed import decode
from kvl_eval.decode.written import encode, encode_object
from kvl_eval.errors import DecodeError

__all__ = [
    "DEFAULT_LIMITS",
    "Between",
    "Count",
    "DecodeError",
    "Json",
    "Length",
    "Others",
    "ReadLimits",
    "decode",
    "encode",
    "encode_object",
    "inlined",
    "join_path",
    "named",
    "not_stored",
    "omitted",
    "read_json",
    "read_yaml",
    "renamed",
    "shown",
    "unknown_fields",
]
