"""The part of :mod:`airflow_ee.core.wire` about imports: manifests to and from JSON.

A manifest's messages are dataclasses whose fields have the names of the REST reference in snake_case, so one reader and
one writer serve all of them. Readers take camelCase too, and say which field is wrong: ``manifest.tilesets[0].crs``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from airflow_ee.core.wire import timestamp

__all__ = [
    "message_from_rest",
    "message_to_rest",
    "parse_message",
    "rest_name",
]

Message = TypeVar("Message")


def message_to_rest(value: Any) -> Any:
    """A message, or what is in one, as JSON; fields that hold nothing are left out."""
    if dataclasses.is_dataclass(value):
        held = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return {rest_name(name): message_to_rest(content) for name, content in held if content not in (None, (), {})}
    if isinstance(value, tuple):
        return [message_to_rest(each) for each in value]
    if isinstance(value, datetime):
        return timestamp(value)
    return dict(value) if isinstance(value, Mapping) else value


def parse_message(kind: type[Message], value: Any, where: str) -> Message:
    """Read a message from a mapping or its JSON text; one that was read already is itself.

    Parameters
    ----------
    kind
        A dataclass.
    where
        What the message is called in errors.

    Raises
    ------
    ValueError
        Naming the field that is wrong.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as problem:
            raise ValueError(f"{where} is not JSON: {problem}; a file must end in .json") from None
    return message_from_rest(kind, value, where)


def message_from_rest(kind: type[Message], value: Any, where: str) -> Message:
    """Read a message from a mapping; see :func:`parse_message`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be an object with fields, got {str(value)[:80]!r}")
    hints = _hints(kind)
    by_name = {spelt: name for name in hints for spelt in (name, rest_name(name))}
    arguments: dict[str, Any] = {}
    for spelt, content in value.items():
        if spelt not in by_name:
            raise ValueError(f"{where} has no field {spelt}; it has {', '.join(map(rest_name, hints))}")
        name = by_name[spelt]
        if name in arguments:
            raise ValueError(f"{where}.{spelt} is given twice")
        if content is not None:
            arguments[name] = _read(hints[name], content, f"{where}.{spelt}")
    for name in _required(kind):
        if name not in arguments:
            raise ValueError(f"{where}.{rest_name(name)} is missing")
    try:
        return kind(**arguments)
    except ValueError as problem:
        raise ValueError(f"{where}.{problem}") from None


def rest_name(name: str) -> str:
    """The name of a field as the REST reference has it.

    >>> rest_name("max_error_meters")
    'maxErrorMeters'
    """
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _hints(kind: type) -> dict[str, Any]:
    """Types of the fields, without None."""
    return {name: _without_none(hint) for name, hint in typing.get_type_hints(kind).items()}


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) is not types.UnionType:
        return hint
    (only,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
    return only


def _required(kind: Any) -> list[str]:
    unset = dataclasses.MISSING
    return [each.name for each in dataclasses.fields(kind) if each.default is unset and each.default_factory is unset]


def _read(hint: Any, content: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return message_from_rest(typing.cast("type[Any]", hint), content, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(content, list | tuple):
            raise ValueError(f"{where} must be a list, got {str(content)[:80]!r}")
        item = typing.get_args(hint)[0]
        return tuple(_read(item, each, f"{where}[{number}]") for number, each in enumerate(content))
    return _PLAIN[typing.get_origin(hint) or hint](content, where)


def _text(content: Any, where: str) -> str:
    if not isinstance(content, str):
        raise ValueError(f"{where} must be text, got {content!r}")
    return content


def _number(content: Any, where: str) -> float:
    # JSON has no word for NaN, but Python's reader takes one.
    if isinstance(content, bool) or not isinstance(content, int | float) or not math.isfinite(content):
        raise ValueError(f"{where} must be a finite number, got {content!r}")
    return content


def _whole(content: Any, where: str) -> int:
    if isinstance(content, Mapping) and set(content) == {"value"}:
        content = content["value"]  # as Google's client writes some numbers
    number = _number(content, where)
    if number != int(number):
        raise ValueError(f"{where} must be a whole number, got {content!r}")
    return int(number)


def _flag(content: Any, where: str) -> bool:
    if not isinstance(content, bool):
        raise ValueError(f"{where} must be true or false, got {content!r}")
    return content


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} must be names and values, got {str(content)[:80]!r}")
    return dict(content)


def _moment(content: Any, where: str) -> datetime:
    """A time: ISO text, or the seconds that older manifests have."""
    try:
        if isinstance(content, Mapping) and "seconds" in content:
            return datetime.fromtimestamp(float(content["seconds"]), UTC)
        read = content if isinstance(content, datetime) else datetime.fromisoformat(content)
    except (TypeError, ValueError, OverflowError, OSError):
        raise ValueError(f"{where} must be a time such as 2024-01-31T00:00:00Z, got {content!r}") from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


_PLAIN: dict[Any, Callable[[Any, str], Any]] = {
    str: _text,
    float: _number,
    int: _whole,
    bool: _flag,
    Mapping: _mapping,
    datetime: _moment,
}
