"""Values against the published JSON schemas, by the few keywords that those use (JSON Schema 2020-12)."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "integer": int}


def fault(value: Any, schema: Mapping[str, Any], name: str = "the line") -> str:
    """Return what is wrong with a value, or nothing."""
    if type(value) is not TYPES[schema["type"]]:  # True is no integer
        return f"{name} is not of type {schema['type']}"
    if isinstance(value, list):
        return next((wrong for item in value if (wrong := fault(item, schema["items"], f"an entry of {name}"))), "")
    if not isinstance(value, dict):
        return ""
    properties: Mapping[str, Any] = schema["properties"]
    if missing := [key for key in schema["required"] if key not in value]:
        return f"{missing[0]} is missing"
    if strange := [key for key in value if key not in properties]:
        return f"{strange[0][:40]!r} is not in the schema"
    return next((wrong for key, item in value.items() if (wrong := fault(item, properties[key], key))), "")


@cache
def published(name: str) -> Mapping[str, Any]:
    """Return the schema of a `request` or an `answer`."""
    schema: dict[str, Any] = json.loads((files(__package__) / "data" / f"{name}.schema.json").read_text("utf-8"))
    return schema
