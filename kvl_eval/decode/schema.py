"""Types as JSON Schema (2020-12): what `encode` writes of a value of that type."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Union

from kvl_eval.decode.fields import Between
from kvl_eval.decode.text import Json, is_json

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLAIN: Mapping[Any, str] = {
    str: "string",
    Path: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def json_schema(kind: Any, title: str) -> dict[str, Json]:
    """The schema of a type; dataclasses in it stand under `$defs`. Fields may be added, so more are allowed."""
    definitions: dict[str, Json] = {}
    schema = _schema(kind, definitions)
    return {"$schema": DIALECT, "title": title, **schema, "$defs": dict(sorted(definitions.items()))}


def _schema(kind: Any, definitions: dict[str, Json]) -> dict[str, Json]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_json(kind) or kind in (object, Any):
        return {}
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if origin is Annotated:
        return {**_schema(arguments[0], definitions), **_bounds(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(argument, definitions) for argument in arguments]}
    if origin in (list, tuple) or kind in (list, tuple):
        return _array(arguments, definitions, fixed=origin is tuple and arguments[-1] is not Ellipsis)
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": [str(member) for member in kind]}
    if isinstance(kind, type) and issubclass(kind, tuple):  # a named tuple
        return {"type": "array"}
    if typing.is_typeddict(kind):
        return _typed_dict(kind, definitions)
    return _object(kind, definitions)


def _bounds(limits: object) -> dict[str, Json]:
    if not isinstance(limits, Between):
        return {}
    bounds = {"minimum": limits.least, "maximum": limits.largest}
    return {name: value for name, value in bounds.items() if value is not None}


def _array(arguments: tuple[Any, ...], definitions: dict[str, Json], *, fixed: bool) -> dict[str, Json]:
    if not arguments:
        return {"type": "array"}
    if not fixed:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    items: list[Json] = [_schema(argument, definitions) for argument in arguments]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _typed_dict(kind: Any, definitions: dict[str, Json]) -> dict[str, Json]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        hints = typing.get_type_hints(kind, localns={"Json": Json}, include_extras=True)
        optional = {key for key, hint in hints.items() if typing.get_origin(hint) is NotRequired}
        values = {key: typing.get_args(hint)[0] if key in optional else hint for key, hint in hints.items()}
        properties: dict[str, Json] = {key: _schema(value, definitions) for key, value in values.items()}
        required: list[Json] = [key for key in hints if key not in optional]
        definitions[kind.__name__] = {"type": "object", "properties": properties, "required": required}
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _object(kind: Any, definitions: dict[str, Json]) -> dict[str, Json]:
    """A reference to the definition of a dataclass, which is made first where it is missing."""
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind!r} has no JSON Schema")
    name = getattr(kind, "__name__", str(kind))
    if name not in definitions:
        definitions[name] = {}
        hints = typing.get_type_hints(kind, localns={"Json": Json}, include_extras=True)
        fields = [
            field
            for field in dataclasses.fields(kind)
            if field.metadata.get("stored", True) and not field.metadata.get("rest")
        ]
        keys = {field.name: field.metadata.get("key", field.name) for field in fields}
        required: list[Json] = [keys[field.name] for field in fields if not field.metadata.get("omit")]
        properties: dict[str, Json] = {keys[field.name]: _schema(hints[field.name], definitions) for field in fields}
        definitions[name] = {"type": "object", "properties": properties, "required": required}
    return {"$ref": f"#/$defs/{name}"}
