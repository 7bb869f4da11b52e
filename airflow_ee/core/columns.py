"""What a column of a table holds: found from its values, the same in whatever order they come.

JSON tells a number from a text but no more, so a column's kind is found from all of its values. What fits no common kind
becomes text, never another number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

__all__ = [
    "FLOAT",
    "INTEGER",
    "NULL",
    "TEXT",
    "Kind",
    "arrow_type",
    "arrow_value",
    "json_value",
    "kind_of",
    "text_of",
    "widen",
]

LARGEST_EXACT = 2**53
"""Whole numbers up to here are exact as a float."""
LARGEST_INTEGER = 2**63
NONFINITE = frozenset({"NaN", "Infinity", "-Infinity"})
"""How the service writes numbers that JSON has no word for."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the values of a column have in common.

    ``null`` (no value yet), ``boolean``, ``integer``, ``long`` (whole numbers beyond 2**53), ``nonfinite`` (only NaN and
    infinities), ``float``, ``moment``, ``text``, ``list`` of one kind, or ``any``: what has nothing in common.
    """

    name: str
    element: Kind | None = None
    """Of a list."""


NULL, BOOLEAN, INTEGER, LONG, FLOAT = map(Kind, ("null", "boolean", "integer", "long", "float"))
ONLY_NONFINITE, MOMENT, TEXT, ANY = map(Kind, ("nonfinite", "moment", "text", "any"))

_WIDER = {
    frozenset({INTEGER, LONG}): LONG,
    frozenset({INTEGER, FLOAT}): FLOAT,
    frozenset({INTEGER, ONLY_NONFINITE}): FLOAT,
    frozenset({FLOAT, ONLY_NONFINITE}): FLOAT,
    # A word that reads like a number is a word where there are others.
    frozenset({TEXT, ONLY_NONFINITE}): TEXT,
}
_ARROW = {
    NULL: pa.string(),
    BOOLEAN: pa.bool_(),
    INTEGER: pa.int64(),
    LONG: pa.int64(),
    FLOAT: pa.float64(),
    ONLY_NONFINITE: pa.float64(),
    MOMENT: pa.timestamp("ms", tz="UTC"),
    TEXT: pa.string(),
    ANY: pa.string(),
}


def kind_of(value: Any) -> Kind:
    """The narrowest kind that holds a value of JSON.

    >>> kind_of(3).name, kind_of(0.5).name, kind_of("a").name, kind_of([1, 2.5]).element.name, kind_of({"a": 1}).name
    ('integer', 'float', 'text', 'float', 'any')
    """
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER if abs(value) <= LARGEST_EXACT else LONG if abs(value) < LARGEST_INTEGER else FLOAT
    if isinstance(value, float):
        return FLOAT
    if isinstance(value, str):
        return ONLY_NONFINITE if value in NONFINITE else TEXT
    if isinstance(value, list):
        return _list_kind(value)
    return MOMENT if _milliseconds(value) is not None else ANY


def widen(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that holds the values of both without loss.

    Integers and floats are floats, unless an integer is beyond 2**53, which a float would round; all else that differs is
    ``any``. The result does not depend on the order in which kinds are met.

    >>> widen(kind_of(1), kind_of(0.5)).name, widen(kind_of(2**60), kind_of(0.5)).name, widen(kind_of(1), kind_of("a")).name
    ('float', 'any', 'any')
    """
    if other in (one, NULL):
        return one
    if one == NULL:
        return other
    if one.element is not None and other.element is not None:
        return _listed(widen(one.element, other.element))
    return _WIDER.get(frozenset({one, other}), ANY)


def arrow_type(kind: Kind) -> pa.DataType:
    """Arrow's type of a column: ``any`` is text, and so is a column without a value.

    >>> arrow_type(kind_of([1, 2]))
    ListType(list<item: int64>)
    """
    return pa.list_(arrow_type(kind.element)) if kind.element is not None else _ARROW[kind]


def arrow_value(kind: Kind, value: Any) -> Any:
    """A value as Arrow takes it in a column of ``kind``."""
    if value is None:
        return None
    if kind.element is not None:
        return [arrow_value(kind.element, each) for each in value]
    if kind in (FLOAT, ONLY_NONFINITE):
        return float(value)
    if kind == MOMENT:
        return _milliseconds(value)
    return text_of(value) if kind == ANY else value


def json_value(kind: Kind, value: Any) -> Any:
    """A value as GeoJSON holds it: itself, but moments as ISO 8601, and null for NaN and infinities.

    >>> json_value(FLOAT, "NaN"), json_value(MOMENT, {"type": "Date", "value": 1500}), json_value(ANY, {"a": [1, float("inf")]})
    (None, '1970-01-01T00:00:01.500Z', {'a': [1, None]})
    """
    if isinstance(value, list):
        return [json_value(kind.element or ANY, each) for each in value]
    if kind == MOMENT:
        return None if value is None else text_of(value)
    if isinstance(value, Mapping):
        return {str(name): json_value(ANY, each) for name, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if kind in (FLOAT, ONLY_NONFINITE) and value in NONFINITE else value


def text_of(value: Any) -> str:
    """A value as text: text as it is, moments as ISO 8601, nothing for null, all else as JSON.

    >>> text_of("a"), text_of([1, "b"]), text_of({"type": "Date", "value": 0}), text_of(True)
    ('a', '[1, "b"]', '1970-01-01T00:00:00Z', 'true')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    milliseconds = _milliseconds(value)
    if milliseconds is not None:
        precision = "milliseconds" if milliseconds % 1000 else "seconds"
        return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec=precision).replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _list_kind(values: list[Any]) -> Kind:
    kind = NULL
    for value in values:
        kind = widen(kind, kind_of(value))
    return _listed(kind)


def _listed(element: Kind) -> Kind:
    """A list of what has nothing in common is JSON as a whole."""
    return ANY if element == ANY else Kind("list", element)


def _milliseconds(value: Any) -> int | None:
    """Since 1970, of a moment as Earth Engine writes it: ``{"type": "Date", "value": milliseconds}``."""
    match value:
        case {"type": "Date", "value": int() | float() as moment} if isinstance(value, Mapping) and len(value) == 2:
            return int(moment)
    return None
