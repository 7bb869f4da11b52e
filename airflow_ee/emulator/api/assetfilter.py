"""The ``filter`` of listAssets: comparisons and ``intersects``, joined by AND, as in AIP-160.

``startTime >= "2020-01-01T00:00:00Z" AND endTime < "2021-01-01T00:00:00Z" AND properties.tile = "T32TPS" AND
intersects("{'type': 'Point', 'coordinates': [11, 46]}")``
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.errors import ShapelyError

from airflow_ee.emulator.catalog.assets import ImageAsset
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import Date, DateRange, parse_time
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.geometry import Geometry

_CLAUSE = re.compile(
    r"""\s*(?:
        intersects\(\s*(?P<region>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\)
      | (?P<field>startTime|endTime|updateTime|id|name|properties\.[\w:.\-]+|properties\["[^"]+"\]|"properties\.[^"]+")
        \s*(?P<operator><=|>=|!=|=|<|>|:)\s*
        (?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()"']+)
    )\s*(?P<joint>AND\b|$)""",
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

    def matches(self, image: ImageAsset) -> bool:
        """Images without the field do not match."""
        left = self._left(image)
        if left is None:
            return False
        try:
            return _COMPARE[self.operator](left, _like(left, self.value))
        except (TypeError, ValueError):
            return False

    def _left(self, image: ImageAsset) -> Any:
        match self.field:
            case "startTime":
                return image.start
            case "endTime":
                # An image without an end is an instant: the reference compares its timestamp.
                return image.end or image.start
            case "updateTime":
                return image.updated
            case "id" | "name":
                return image.id
        return image.element_properties().get(self.field)

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

    def matches(self, image: ImageAsset) -> bool:
        """Compared in longitude and latitude."""
        return bool(image.geometry.in_crs(WGS84).intersects(self.geometry.in_crs(WGS84)))

    def window(self) -> DateRange | None:
        """A region says nothing of time."""
        return None

    def region(self) -> Bounds | None:
        """The region's bounds."""
        return self.geometry.bounds_in(WGS84)


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """All clauses must hold."""

    clauses: Sequence[Comparison | Intersection]

    def matches(self, image: ImageAsset) -> bool:
        """Whether the image stays in the list."""
        return all(clause.matches(image) for clause in self.clauses)

    def hints(self) -> Sequence[Filter]:
        """The clauses, for a catalogue that need not look at every image."""
        return self.clauses


def parse_filter(text: str) -> AssetFilter:
    """The clauses of a filter text.

    >>> parse_filter('properties.cloud < 20').clauses
    [Comparison(field='cloud', operator='<', value=20.0)]
    """
    clauses: list[Comparison | Intersection] = []
    position = 0
    while position < len(text.rstrip()):
        match = _CLAUSE.match(text, position)
        if match is None:
            raise invalid(f"Invalid filter: cannot parse '{text[position : position + 80]}'.")
        clauses.append(_clause(match))
        position = match.end()
    return AssetFilter(clauses)


def _clause(match: re.Match[str]) -> Comparison | Intersection:
    if match["region"] is not None:
        return Intersection(_region(_unquoted(match["region"])))
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


def _region(text: str) -> Geometry:
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
