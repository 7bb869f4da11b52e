"""The methods, messages and enums of the REST reference, as data, and the check of a request body against them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from airflow_ee.emulator.errors import EmulatorError, field_violation

_VERSIONS = {"/v1/": "(?:v1|v1beta|v1alpha)", "/v1alpha/": "v1alpha"}

_OPAQUE = {"Expression", "Struct", "Any", "value", "ValueNode"}
"""Checked by whoever reads them."""

_OBJECTS = {"Expression": "google.earthengine.v1.Expression", "Struct": "google.protobuf.Struct"}
"""Opaque, but an object in any case."""

_WRAPPED = {
    "gamma",
    "maxPixels",
    "maxPixelsPerFrame",
    "maxSizeBytes",
    "maxVertices",
    "maxMaskedRatio",
    "maxWorkers",
    "opacity",
    "priority",
    "tileSize",
}
"""Fields of the Int64Value kind: the official client sends ``{"value": x}``, the reference says ``x``. Both are taken."""

_LISTS_OF_ONE = {"maskBands"}
"""Lists that the official command line sends as their only member."""

_SCALARS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "string": (str, "TYPE_STRING"),
    "boolean": (bool, "TYPE_BOOL"),
    "integer": ((int, float, str), "TYPE_INT32"),
    "number": ((int, float, str), "TYPE_DOUBLE"),
}
_INT64 = {"maxPixels", "maxPixelsPerFrame", "maxSizeBytes", "maxVertices", "sizeBytes", "integerValue"}


@dataclass(frozen=True, slots=True)
class Method:
    """One REST method."""

    name: str
    """Without ``projects.``, and with ``image:export`` where the path says so: the name that faults and journals use."""
    http: str
    pattern: re.Pattern[str]
    request: str | None
    query: Mapping[str, Any]
    id: str = ""
    """With ``projects.``, as the discovery document names it."""
    scopes: tuple[str, ...] = ()
    """The OAuth scopes that allow it, without the part that all have in common; one of them is enough."""


@cache
def _reference() -> dict[str, Any]:
    text = (files(__package__) / "reference.json").read_text(encoding="utf-8")
    reference: dict[str, Any] = json.loads(text)
    return reference


@cache
def methods() -> tuple[Method, ...]:
    """Every method of the reference."""
    return tuple(
        Method(
            _short(name),
            entry["http"],
            _pattern(entry["path"]),
            entry["request"],
            entry["query"],
            f"earthengine.{name}",
            tuple(entry.get("scopes", ())),
        )
        for name, entry in _reference()["methods"].items()
    )


def _short(name: str) -> str:
    """The names of the brief: ``image:export``, ``value:compute``, ``getPixels``, ``assets.get``."""
    parts = name.removeprefix("projects.").split(".")
    if parts == ["assets", "getPixels"]:
        return "getPixels"
    if parts[0] == "listAssets":
        return "assets.listAssets"
    if len(parts) == 2 and parts[0] in ("image", "imageCollection", "table", "map", "video", "videoMap", "classifier"):
        return ":".join(parts)
    return "value:compute" if parts == ["value", "compute"] else ".".join(parts)


def _pattern(path: str) -> re.Pattern[str]:
    version = next(prefix for prefix in _VERSIONS if path.startswith(prefix))
    tail = path.removeprefix(version)
    pieces = []
    for piece in re.split(r"(\{[^}]+\})", tail):
        match = re.fullmatch(r"\{\+?([\w.]+)(?:=(.+))?\}", piece)
        pieces.append(_variable(match[1], match[2] or "projects/*") if match else re.escape(piece))
    return re.compile(f"/{_VERSIONS[version]}/{''.join(pieces)}")


def _variable(name: str, template: str) -> str:
    inner = re.escape(template).replace(r"\*\*", "[^:]*").replace(r"\*", "[^/:]+")
    if name in ("zoom", "x", "y"):
        inner = "[^/]+"
    return f"(?P<{name.replace('.', '_')}>{inner})"


def find(http: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method that a request means, with its path parameters; HEAD asks what GET would answer."""
    verb = "GET" if http == "HEAD" else http
    for method in methods():
        match = method.pattern.fullmatch(path) if method.http == verb else None
        if match:
            return method, match.groupdict()
    return None


def allowed(path: str) -> list[str]:
    """The HTTP verbs of a path."""
    verbs = {method.http for method in methods() if method.pattern.fullmatch(path)}
    return sorted(verbs | ({"HEAD"} if "GET" in verbs else set()))


_STANDARD_QUERY = {
    "$.xgafv", "$alt", "$fields", "$key", "$prettyPrint", "$userProject", "access_token", "alt", "callback", "fields",
    "key", "oauth_token", "prettyPrint", "quotaUser", "upload_protocol", "uploadType", "userProject",
}  # fmt: skip


def check_query(method: Method, query: Mapping[str, str]) -> None:
    """Refuse a query parameter that the method does not know."""
    for name in query:
        if name not in _STANDARD_QUERY and _camel(name) not in method.query and "." not in name:
            reason = f"Cannot bind query parameter. Field '{name}' could not be found in request message."
            raise field_violation("", f'Invalid JSON payload received. Unknown name "{name}": {reason}')
    alt = query.get("alt") or query.get("$alt") or "json"
    if alt == "proto":
        raise EmulatorError("INVALID_ARGUMENT", "alt=proto is not emulated")
    if alt not in ("json", "media"):
        raise field_violation("alt", f"Invalid value \"{alt}\" for parameter 'alt'.")


def check(message: str, body: Any, path: str = "") -> dict[str, Any]:
    """A body with wrapped numbers unwrapped, or the service's refusal of what the message does not know."""
    if not isinstance(body, Mapping):
        raise _bad_value(path or "", message, body)
    fields = _reference()["messages"][message]
    checked: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for given, value in body.items():
        name = given if given in fields else _camel(given)
        if name not in fields:
            raise _unknown(given, path)
        if value is None:
            continue
        _claim_oneof(fields[name].get("oneof"), name, path, taken)
        checked[name] = _field(name, fields[name], value, _join(path, name))
    return checked


def _claim_oneof(group: str | None, name: str, path: str, taken: dict[str, str]) -> None:
    if group is None:
        return
    if group in taken:
        where = _join(path, name)
        text = f"Invalid value at '{where}' (oneof), oneof field '{group}' is already set. Cannot set '{name}'"
        raise field_violation(where, text)
    taken[group] = name


def _field(name: str, field: Mapping[str, Any], value: Any, path: str) -> Any:
    if name in _WRAPPED and isinstance(value, Mapping) and set(value) <= {"value"}:
        value = value.get("value", 0)
    if field.get("map"):
        if not isinstance(value, Mapping):
            raise _bad_value(path, field["type"], value)
        return {key: _single(name, field, each, f"{path}[{key}]") for key, each in value.items()}
    if field.get("repeated"):
        if name in _LISTS_OF_ONE and isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, list):
            raise _bad_value(path, field["type"], value)
        return [_single(name, field, each, f"{path}[{number}]") for number, each in enumerate(value)]
    return _single(name, field, value, path)


def _single(name: str, field: Mapping[str, Any], value: Any, path: str) -> Any:
    kind = field.get("type", "value")
    if field.get("enum"):
        return _enum(field["enum"], value, path)
    if kind in _reference()["messages"] and kind not in _OPAQUE:
        return check(kind, value, path)
    if kind in _OBJECTS and not isinstance(value, Mapping):
        raise _bad_value(path, f"type.googleapis.com/{_OBJECTS[kind]}", value, quoted=False)
    if kind == "string" and name in _INT64:
        return _number(value, "TYPE_INT64", path)
    if kind in _SCALARS:
        accepted, label = _SCALARS[kind]
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind != "boolean"):
            raise _bad_value(path, label, value, quoted=False)
        return _number(value, label, path) if kind in ("integer", "number") else value
    return value


_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,4})?")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LONGEST_NUMBER = 400
_LARGEST = {"TYPE_INT32": 2**31, "TYPE_INT64": 2**63}


def _number(value: Any, label: str, path: str) -> float:
    """Numbers may come as text; whole ones stay whole."""
    if label == "TYPE_DOUBLE" and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    text = value if isinstance(value, str) else repr(value)
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    if not is_number or len(text) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
        raise _bad_value(path, label, value, quoted=False)
    exact = Decimal(text)
    if label == "TYPE_DOUBLE":
        return float(exact)
    if not -_LARGEST[label] <= exact < _LARGEST[label] or exact != int(exact):
        raise _bad_value(path, label, value, quoted=False)
    return int(exact)


def _enum(enum: str, value: Any, path: str) -> str:
    values = _reference()["enums"].get(enum)
    if values is None:
        return str(value)
    if not isinstance(value, str) or value not in values:
        raise _bad_value(path, enum, value)
    return value


def _bad_value(path: str, kind: str, value: Any, *, quoted: bool = True) -> EmulatorError:
    label = f"type.googleapis.com/google.earthengine.v1.{kind}" if quoted else kind
    return field_violation(path, f"Invalid value at '{path}' ({label}), {json.dumps(value)[:1000]}")


def _unknown(name: str, path: str) -> EmulatorError:
    place = f" at '{path}'" if path else ""
    return field_violation(path, f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')


def _camel(name: str) -> str:
    """The JSON name of a field, which may also be called as the protocol buffers call it.

    >>> _camel("file_format")
    'fileFormat'
    """
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _join(path: str, name: str) -> str:
    """Error texts name fields as the protocol buffers do.

    >>> _join("grid", "affineTransform")
    'grid.affine_transform'
    """
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)
    return f"{path}.{snake}" if path else snake
