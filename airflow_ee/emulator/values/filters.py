"""Filters as values: each knows whether an element matches, whether two elements do, and where and when nothing can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_ee.emulator import deadline
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.element import GEOMETRY_FIELDS, INDEX, field_of
from airflow_ee.emulator.values.geometry import Geometry

Test = Callable[[Any, Any], bool]
Measure = Callable[[Any, Any], float | None]


class FilterValue:
    """Lets everything pass; the others narrow it."""

    def matches(self, element: Any) -> bool:
        """Whether the element stays."""
        return self.joins(element, element)

    def joins(self, left: Any, right: Any) -> bool:  # noqa: ARG002 -- nothing is refused
        """Whether an element of a primary collection belongs to one of a secondary collection."""
        return True

    def measure(self, left: Any, right: Any) -> float | None:  # noqa: ARG002 -- most filters measure nothing
        """How far two elements that match are apart, where the filter says so."""
        return None

    @property
    def measures(self) -> bool:
        """Whether there is a measure."""
        return False

    def equal_fields(self) -> tuple[str, str] | None:
        """Fields of either side that must be equal, where there are some."""
        return None

    def indices(self) -> Sequence[str] | None:
        """The only indices that can match, where the filter names them."""
        return None

    def window(self) -> DateRange | None:
        """An interval outside of which nothing can match."""
        return None

    def region(self) -> Bounds | None:
        """Longitudes and latitudes outside of which nothing can match."""
        return None

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter.always"}


@dataclass(frozen=True, slots=True)
class Never(FilterValue):
    """Lets nothing pass."""

    def joins(self, left: Any, right: Any) -> bool:  # noqa: ARG002 -- everything is refused
        """No."""
        return False

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter.never"}


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a comparison: a field of an element, or a value."""

    field: str | None = None
    value: Any = None

    def of(self, element: Any) -> Any:
        """The operand for an element; dates are the milliseconds that properties hold."""
        found = self.value if self.field is None else field_of(element, self.field)
        return found.milliseconds if isinstance(found, Date) else found


@dataclass(frozen=True, slots=True)
class Comparison(FilterValue):
    """Two operands and a test of them. What is missing passes no test, and so passes its opposite."""

    name: str
    left: Operand
    right: Operand
    test: Test
    meter: Measure | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    opposite: bool = False
    """Whether the filter passes unless the test does."""

    def joins(self, left: Any, right: Any) -> bool:
        """The left operand of the one element against the right operand of the other."""
        one, other = self.left.of(left), self.right.of(right)
        passed = one is not None and other is not None and bool(self.test(one, other))
        return passed != self.opposite

    def measure(self, left: Any, right: Any) -> float | None:
        """The difference, or the distance."""
        return None if self.meter is None else self.meter(self.left.of(left), self.right.of(right))

    @property
    def measures(self) -> bool:
        """Whether there is a measure."""
        return self.meter is not None

    def equal_fields(self) -> tuple[str, str] | None:
        """The two fields, where they must be equal."""
        if self.name != "Filter.eq" or self.left.field is None or self.right.field is None:
            return None
        return self.left.field, self.right.field

    def indices(self) -> Sequence[str] | None:
        """The index that must be equal, or the list that must have it."""
        if self.name == "Filter.eq" and INDEX in (self.left.field, self.right.field):
            value = self.right.value if self.left.field == INDEX else self.left.value
            return (value,) if isinstance(value, str) else None
        if self.name != "Filter.listContains" or self.right.field != INDEX or not isinstance(self.left.value, list):
            return None
        return tuple(value for value in self.left.value if isinstance(value, str))

    def window(self) -> DateRange | None:
        """The interval, where it is about the element's start."""
        about_start = self.name == "Filter.dateRangeContains" and self.right.field == "system:time_start"
        return self.left.value if about_start and isinstance(self.left.value, DateRange) else None

    def region(self) -> Bounds | None:
        """The bounds of the geometry that the element's own has to meet."""
        if self.name not in _MEETING:
            return None
        own, other = (self.left, self.right) if self.right.field is None else (self.right, self.left)
        if own.field not in GEOMETRY_FIELDS or not isinstance(other.value, Geometry) or other.value.shape.is_empty:
            return None
        return other.value.bounds_in(WGS84)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        sides = {
            "leftField": self.left.field,
            "leftValue": self.left.value,
            "rightField": self.right.field,
            "rightValue": self.right.value,
        }
        return {"type": self.name, **self.options, **{key: each for key, each in sides.items() if each is not None}}


_MEETING = ("Filter.intersects", "Filter.contains", "Filter.isContained")


@dataclass(frozen=True, slots=True)
class PropertyTest(FilterValue):
    """A test of an element alone."""

    name: str
    test: Callable[[Any], bool]
    options: Mapping[str, Any] = field(default_factory=dict)

    def joins(self, left: Any, right: Any) -> bool:  # noqa: ARG002 -- only the primary element counts
        """Whether the element of the primary collection passes."""
        return self.test(left)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": self.name, **self.options}


@dataclass(frozen=True, slots=True)
class Every(FilterValue):
    """All of several."""

    filters: Sequence[FilterValue]

    def joins(self, left: Any, right: Any) -> bool:
        """None refuses."""
        deadline.check()  # filters may share their parts 2^40 times
        return all(each.joins(left, right) for each in self.filters)

    def equal_fields(self) -> tuple[str, str] | None:
        """Those of the first filter that has some."""
        deadline.check()
        return next((fields for fields in (each.equal_fields() for each in self.filters) if fields), None)

    def indices(self) -> Sequence[str] | None:
        """Those of the first filter that names some: the others only leave fewer."""
        deadline.check()
        return next((found for found in (each.indices() for each in self.filters) if found is not None), None)

    def window(self) -> DateRange | None:
        """What the intervals have in common."""
        deadline.check()
        windows = [window for window in (each.window() for each in self.filters) if window is not None]
        if not windows:
            return None
        return DateRange(max(window.start for window in windows), min(window.end for window in windows))

    def region(self) -> Bounds | None:
        """The first region: the others only make it narrower."""
        deadline.check()
        return next((region for region in (each.region() for each in self.filters) if region is not None), None)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter.and", "filters": list(self.filters)}


@dataclass(frozen=True, slots=True)
class Either(FilterValue):
    """Any of several."""

    filters: Sequence[FilterValue]

    def joins(self, left: Any, right: Any) -> bool:
        """One lets pass."""
        deadline.check()
        return any(each.joins(left, right) for each in self.filters)

    def window(self) -> DateRange | None:
        """From the first start to the last end, if every one has an interval."""
        windows = [each.window() for each in self.filters]
        known = [window for window in windows if window is not None]
        if not known or len(known) < len(windows):
            return None
        return DateRange(min(window.start for window in known), max(window.end for window in known))

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter.or", "filters": list(self.filters)}


@dataclass(frozen=True, slots=True)
class Opposite(FilterValue):
    """What another refuses."""

    filter: FilterValue

    def joins(self, left: Any, right: Any) -> bool:
        """Turned round."""
        return not self.filter.joins(left, right)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter.not", "filter": self.filter}


@dataclass(frozen=True, slots=True)
class Calendar(FilterValue):
    """A field of the element's start within a range, which may wrap round the end of its cycle."""

    start: int
    end: int
    field: str

    def joins(self, left: Any, right: Any) -> bool:  # noqa: ARG002 -- only the primary element counts
        """Elements without a start do not match."""
        found = left.properties.get("system:time_start")
        if found is None:
            return False
        value = calendar_field(Date.of(found), self.field)
        if self.end < self.start:
            return value >= self.start or value <= self.end
        return self.start <= value <= self.end

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the filter."""
        return {"type": "Filter.calendarRange", "start": self.start, "end": self.end, "field": self.field}


_FIELDS: dict[str, Callable[[Date], int]] = {
    "year": lambda date: date.moment.year,
    "month": lambda date: date.moment.month,
    "hour": lambda date: date.moment.hour,
    "minute": lambda date: date.moment.minute,
    "day_of_year": lambda date: date.moment.timetuple().tm_yday,
    "day_of_month": lambda date: date.moment.day,
    "day_of_week": lambda date: date.moment.isoweekday(),
}
CALENDAR_FIELDS = tuple(_FIELDS)


def calendar_field(date: Date, field: str) -> int:
    """A field of a date as a number, counted as calendars do."""
    return _FIELDS[field](date)
