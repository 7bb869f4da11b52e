"""The methods, messages and enums of the REST reference, as data, and the check of a request body against them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from airflow_ee.emulator.errors import EmulatorError, field_violation

_VERSIONS = {"/v1/": "(?:v1|v1beta|v1alpha)", "/v1alpha/": "v1alpha"}

_OPAQUE = {"Expression", "Struct", "Any", "value", "ValueNode"}
"""Checked by whoever reads them."""

_WRAPPED = {
    "maxPixels",
    "maxPixelsPerFrame",
    "maxSizeBytes",
    "maxVertices",
    "maxMaskedRatio",
    "maxWorkers",
    "priority",
    "tileSize",
}
"""Fields of the Int64Value kind: the official client sends ``{"value": x}``, the reference says ``x``. Both are taken."""

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
    query: Mapping[str, str]


@cache
def _reference() -> dict[str, Any]:
    text = (files(__package__) / "reference.json").read_text(encoding="utf-8")
    reference: dict[str, Any] = json.loads(text)
    return reference


@cache
def methods() -> tuple[Method, ...]:
    """Every method of the reference."""
    return tuple(
        Method(_short(name), entry["http"], _pattern(entry["path"]), entry["request"], entry["query"])
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
    inner = re.escape(template).replace(r"\*\*", "[^:]+").replace(r"\*", "[^/:]+")
    if name in ("zoom", "x", "y"):
        inner = "[^/]+"
    return f"(?P<{name.replace('.', '_')}>{inner})"


def find(http: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method that a request means, with its path parameters."""
    for method in methods():
        match = method.pattern.fullmatch(path) if method.http == http else None
        if match:
            return method, match.groupdict()
    return None


def check(message: str, body: Any, path: str = "") -> dict[str, Any]:
    """A body with wrapped numbers unwrapped, or the service's refusal of what the message does not know."""
    if not isinstance(body, Mapping):
        raise _bad_value(path or "", message, body)
    fields = _reference()["messages"][message]
    checked: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for name, value in body.items():
        if name not in fields:
            raise _unknown(name, path)
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
        return {key: _single(name, field, each, f"{path}[{key}]") for key, each in value.items()}
    if field.get("repeated"):
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
    if kind == "string" and name in _INT64:
        return _number(value, "TYPE_INT64", path)
    if kind in _SCALARS:
        accepted, label = _SCALARS[kind]
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind != "boolean"):
            raise _bad_value(path, label, value, quoted=False)
        return _number(value, label, path) if kind in ("integer", "number") else value
    return value


def _number(value: Any, label: str, path: str) -> float:
    """Numbers may come as text; whole ones stay whole."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _bad_value(path, label, value, quoted=False) from None
    if label != "TYPE_DOUBLE":
        if not number.is_integer():
            raise _bad_value(path, label, value, quoted=False)
        return int(value) if isinstance(value, int | str) else int(number)
    return number


def _enum(enum: str, value: Any, path: str) -> str:
    values = _reference()["enums"].get(enum)
    if values is not None and value not in values:
        raise _bad_value(path, enum, value)
    return str(value)


def _bad_value(path: str, kind: str, value: Any, *, quoted: bool = True) -> EmulatorError:
    label = f"type.googleapis.com/google.earthengine.v1.{kind}" if quoted else kind
    return field_violation(path, f"Invalid value at '{path}' ({label}), {json.dumps(value)}")


def _unknown(name: str, path: str) -> EmulatorError:
    place = f" at '{path}'" if path else ""
    return field_violation(path, f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')


def _join(path: str, name: str) -> str:
    """Error texts name fields as the protocol buffers do.

    >>> _join("grid", "affineTransform")
    'grid.affine_transform'
    """
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)
    return f"{path}.{snake}" if path else snake
