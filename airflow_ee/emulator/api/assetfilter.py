"""The ``filter`` of lists: comparisons and ``intersects``, joined by AND, OR and NOT, as in AIP-160, where OR binds tighter.

``startTime >= "2020-01-01T00:00:00Z" AND endTime < "2021-01-01T00:00:00Z" AND properties.tile = "T32TPS" AND
intersects("{'type': 'Point', 'coordinates': [11, 46]}")``
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from shapely.errors import ShapelyError

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import Date, DateRange, parse_time
from airflow_ee.emulator.values.element import Feature, Filter
from airflow_ee.emulator.values.geometry import Geometry

MAX_DEPTH = 20

_TEXT = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\''
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<mark>[()]|(?:AND|OR|NOT)\b)
      | intersects\(\s*(?P<region>{_TEXT})\s*\)
      | (?P<field>startTime|endTime|updateTime|id|name|properties\.[\w:.\-]+|properties\["[^"]+"\]|"properties\.[^"]+"
          |(?P<bare>[A-Za-z_]\w*))
        \s*(?P<operator><=|>=|!=|=|<|>|:)\s*
        (?P<value>{_TEXT}|[^\s()"']+)
    )\s*""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "=": lambda left, right: left == right,
    ":": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
_LAST = Date(253402300799000.0)
_FIRST = Date(-62135596800000.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value."""

    field: str
    operator: str
    value: Any

    def matches(self, element: Any) -> bool:
        """Elements without the field do not match."""
        left = self._left(element)
        if left is None:
            return False
        try:
            return _COMPARE[self.operator](left, _like(left, self.value))
        except (TypeError, ValueError):
            return False

    def _left(self, element: Any) -> Any:
        start, end, properties = _fields(element)
        match self.field:
            case "startTime":
                return start
            case "endTime":
                # An image without an end is an instant: the reference compares its timestamp.
                return end or start
            case "updateTime":
                return getattr(element, "updated", None)
            case "id" | "name":
                return element.id
        return properties.get(self.field)

    def window(self) -> DateRange | None:
        """An interval for the images' starts."""
        if self.field not in ("startTime", "endTime") or self.operator in ("!=", ":", "="):
            return None
        moment = Date.of_datetime(self.value)
        if self.operator.startswith("<"):
            return DateRange(_FIRST, Date(moment.milliseconds + 1))
        return DateRange(moment, _LAST) if self.field == "startTime" else None

    def region(self) -> Bounds | None:
        """Comparisons say nothing of places."""
        return None


@dataclass(frozen=True, slots=True)
class Intersection:
    """A region that an image's footprint must touch."""

    geometry: Geometry

    def matches(self, element: Any) -> bool:
        """Compared in longitude and latitude."""
        geometry: Geometry | None = element.geometry
        return geometry is not None and bool(geometry.in_crs(WGS84).intersects(self.geometry.in_crs(WGS84)))

    def window(self) -> DateRange | None:
        """A region says nothing of time."""
        return None

    def region(self) -> Bounds | None:
        """The region's bounds."""
        return self.geometry.bounds_in(WGS84)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the clauses must hold, or with ``negated`` none of them."""

    clauses: Sequence[Clause]
    negated: bool = False

    def matches(self, element: Any) -> bool:
        """Whether the element stays."""
        return any(clause.matches(element) for clause in self.clauses) is not self.negated

    def window(self) -> DateRange | None:
        """No interval holds for all alternatives."""
        return None

    def region(self) -> Bounds | None:
        """No region holds for all alternatives."""
        return None


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """All clauses must hold."""

    clauses: Sequence[Clause]

    def matches(self, element: Any) -> bool:
        """Whether the element stays in the list."""
        return all(clause.matches(element) for clause in self.clauses)

    def hints(self) -> Sequence[Filter]:
        """The clauses, for a catalogue that need not look at every image."""
        return self.clauses

    def window(self) -> DateRange | None:
        """Inside of alternatives an interval says nothing."""
        return None

    def region(self) -> Bounds | None:
        """Inside of alternatives a region says nothing."""
        return None


Clause = Comparison | Intersection | AnyOf | AssetFilter


def parse_filter(text: str, *, bare_names: bool = False) -> AssetFilter:
    """The clauses of a filter text. With ``bare_names`` properties may stand without ``properties.``, as in v1alpha's lists.

    >>> parse_filter('properties.cloud < 20').clauses
    [Comparison(field='cloud', operator='<', value=20.0)]
    """
    if not text.strip():
        return AssetFilter([])
    parser = _Parser(text, bare_names=bare_names)
    found = parser.all_of(0)
    if parser.token is not None or parser.position < len(text):
        raise parser.problem()
    return found


class _Parser:
    """Reads one token ahead; its recursion is as deep as the parentheses, which are counted."""

    def __init__(self, text: str, *, bare_names: bool) -> None:
        self._text = text
        self._bare_names = bare_names
        self.position = self._before = 0
        self.token: re.Match[str] | None = None
        self._next()

    def _next(self) -> None:
        self._before = self.position
        self.token = _TOKEN.match(self._text, self.position)
        if self.token is not None:
            self.position = self.token.end()

    def problem(self) -> Exception:
        """What the service would say of a text that is no filter."""
        return invalid(f"Invalid filter: cannot parse '{self._text[self._before : self._before + 80]}'.")

    def _mark(self) -> str | None:
        return self.token["mark"] if self.token is not None else None

    def all_of(self, depth: int) -> AssetFilter:
        """Clauses joined by AND."""
        if depth > MAX_DEPTH:
            raise invalid(f"Invalid filter: nested more than {MAX_DEPTH} levels deep.")
        clauses = [self._any_of(depth)]
        while self._mark() == "AND":
            self._next()
            clauses.append(self._any_of(depth))
        return AssetFilter(clauses)

    def _any_of(self, depth: int) -> Clause:
        clauses = [self._one(depth)]
        while self._mark() == "OR":
            self._next()
            clauses.append(self._one(depth))
        return clauses[0] if len(clauses) == 1 else AnyOf(clauses)

    def _one(self, depth: int) -> Clause:
        negated = self._mark() == "NOT"
        if negated:
            self._next()
        found = self._inner(depth)
        return AnyOf([found], negated=True) if negated else found

    def _inner(self, depth: int) -> Clause:
        token, mark = self.token, self._mark()
        if token is None or mark in (")", "AND", "OR", "NOT") or (token["bare"] and not self._bare_names):
            raise self.problem()
        self._next()
        if mark is None:
            return _clause(token)
        inner = self.all_of(depth + 1)
        if self._mark() != ")":
            raise self.problem()
        self._next()
        return inner.clauses[0] if len(inner.clauses) == 1 else inner


def _fields(element: Any) -> tuple[datetime | None, datetime | None, dict[str, Any]]:
    """Start, end and properties of an asset or a feature."""
    if not isinstance(element, Feature):
        return getattr(element, "start", None), getattr(element, "end", None), element.element_properties()
    properties = dict(element.properties)
    moments = [properties.get(f"system:time_{name}") for name in ("start", "end")]
    start, end = (Date.of(each).moment if isinstance(each, int | float | Date) else None for each in moments)
    return start, end, properties


def _clause(match: re.Match[str]) -> Comparison | Intersection:
    if match["region"] is not None:
        return Intersection(region_of(_unquoted(match["region"])))
    field = match["field"].strip('"')
    value: Any = _unquoted(match["value"])
    if field.endswith("Time"):
        return Comparison(field, match["operator"], parse_time(value))
    if field.startswith("properties"):
        field = field.removeprefix("properties").lstrip(".").strip('[]"')
    quoted = match["value"][0] in "\"'"
    return Comparison(field, match["operator"], value if quoted else _number_or_text(value))


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] in "\"'" else text


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _like(left: Any, right: Any) -> Any:
    """A value in the type of what it is compared with: texts in quotes may mean numbers."""
    if isinstance(left, int | float) and isinstance(right, str):
        return float(right)
    return str(right) if isinstance(left, str) and not isinstance(right, str) else right


def region_of(text: str) -> Geometry:
    """GeoJSON, with either kind of quotes, or WKT."""
    if text.lstrip().startswith("{"):
        try:
            return Geometry.of_json(json.loads(text.replace("'", '"')))
        except json.JSONDecodeError:
            raise invalid(f"Invalid filter: '{text[:80]}' is not GeoJSON.") from None
    try:
        return Geometry(shapely.from_wkt(text))
    except ShapelyError:
        raise invalid(f"Invalid filter: '{text[:80]}' is neither GeoJSON nor WKT.") from None
