"""What a request may hold, by the API's own description: Google's discovery documents, as its client library brings them."""

import json
from pathlib import Path

from googleapiclient import discovery_cache


def unknown_fields(api, schema, value):
    """Paths of all in a message that the API's description does not know, or knows as another type."""
    file = Path(discovery_cache.__file__).with_name("documents") / f"{api}.json"
    schemas = json.loads(file.read_text())["schemas"]
    return list(_unknown(schemas, schemas[schema], value, schema))


def _unknown(schemas, schema, value, path):
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema["type"]
    if kind == "any":
        return
    if not isinstance(value, {"object": dict, "array": list, "boolean": bool, "string": str}.get(kind, int)):
        yield f"{path} is no {kind}: {value!r}"
    elif kind == "object":
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if inner is None:
                yield f"{path}.{name}"
            else:
                yield from _unknown(schemas, inner, item, f"{path}.{name}")
    elif kind == "array":
        for number, item in enumerate(value):
            yield from _unknown(schemas, schema["items"], item, f"{path}[{number}]")
    elif kind == "string" and "enum" in schema and value not in schema["enum"]:
        yield f"{path} is none of {schema['enum']}: {value!r}"
