"""The JSON schema of a tool's arguments: each has one plain type.

Many clients do not understand `oneOf`, `anyOf` and `$ref`. An argument that may be left out is not in `required`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

JsonSchema = dict[str, Any]
NULL: JsonSchema = {"type": "null"}


def build_input_schema(arguments: type[BaseModel], descriptions: dict[str, str]) -> JsonSchema:
    """Returns the schema, with the descriptions of some arguments replaced.

    Raises ValueError for a field of several types other than None.
    """
    schema = arguments.model_json_schema()
    definitions = schema.get("$defs", {})
    plain = simplify(
        {name: value for name, value in schema.items() if name not in ("$defs", "description")}, definitions
    )
    for name, description in descriptions.items():
        plain["properties"][name]["description"] = description
    return plain


def simplify(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Returns a schema without references, titles and null."""
    plain = {name: value for name, value in schema.items() if name not in ("title", "$ref", "anyOf")}
    if plain.get("default", ...) is None:
        del plain["default"]
    if "$ref" in schema:
        return simplify(definitions[schema["$ref"].rpartition("/")[2]], definitions) | plain
    if "anyOf" in schema:
        (only,) = [option for option in schema["anyOf"] if option != NULL]
        return simplify(only, definitions) | plain
    if "items" in plain:
        plain["items"] = simplify(plain["items"], definitions)
    if plain.get("type") == "object":
        properties = plain.get("properties", {})
        plain["properties"] = {name: simplify(value, definitions) for name, value in properties.items()}
    return plain
