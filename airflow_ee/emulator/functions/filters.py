"""Makers of filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_date_range, as_geometry, cannot, kind_of, registry
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.filters import (
    CALENDAR_FIELDS,
    Calendar,
    During,
    Either,
    Every,
    FilterValue,
    Never,
    Opposite,
    PropertyTest,
    Spatial,
    Test,
)


@registry.promotes(FilterValue)
def as_filter(value: Any) -> FilterValue:
    """Lists of filters must all hold."""
    if isinstance(value, FilterValue):
        return value
    if isinstance(value, list):
        return Every([as_filter(each) for each in value])
    raise cannot(value, "Filter")


def _plain(value: Any) -> Any:
    """Dates are compared as the milliseconds that properties hold."""
    return value.milliseconds if isinstance(value, Date) else value


def sides(function: str, left_field: Any, right_value: Any, right_field: Any, left_value: Any) -> tuple[str, Any, bool]:
    """The field, the value, and whether the value stands on the left."""
    if left_field is not None and right_value is not None and right_field is None and left_value is None:
        return str(left_field), _plain(right_value), False
    if right_field is not None and left_value is not None and left_field is None and right_value is None:
        return str(right_field), _plain(left_value), True
    raise invalid(f"{function}: give a field of one side and a value of the other; joins are not emulated.")


def _comparison(name: str, test: Test) -> None:
    def make(
        left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
    ) -> FilterValue:
        field, value, flipped = sides(f"Filter.{name}", left_field, right_value, right_field, left_value)
        return PropertyTest(field, value, _typed(test), flipped)

    registry.add(f"Filter.{name}", make)


def _typed(test: Test) -> Test:
    def compare(left: Any, right: Any) -> bool:
        return kind_of(left) == kind_of(right) and test(left, right)

    return compare


_TESTS: dict[str, Test] = {
    "equals": lambda left, right: left == right,
    "notEquals": lambda left, right: left != right,
    "lessThan": lambda left, right: left < right,
    "lessThanOrEquals": lambda left, right: left <= right,
    "greaterThan": lambda left, right: left > right,
    "greaterThanOrEquals": lambda left, right: left >= right,
    "stringContains": lambda left, right: isinstance(left, str) and right in left,
    "stringStartsWith": lambda left, right: isinstance(left, str) and left.startswith(right),
    "stringEndsWith": lambda left, right: isinstance(left, str) and left.endswith(right),
}
_SHORT = {
    "eq": "equals",
    "neq": "notEquals",
    "lt": "lessThan",
    "lte": "lessThanOrEquals",
    "gt": "greaterThan",
    "gte": "greaterThanOrEquals",
}
for _name, _test in (_TESTS | {short: _TESTS[name] for short, name in _SHORT.items()}).items():
    _comparison(_name, _test)


@registry.implements("Filter.listContains")
def list_contains(
    left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
) -> FilterValue:
    """A list on the left has what is on the right: ``inList`` is this with the list as a value."""
    field, value, flipped = sides("Filter.listContains", left_field, right_value, right_field, left_value)
    return PropertyTest(field, value, lambda left, right: isinstance(left, list) and right in left, flipped)


@registry.implements("Filter.inList")
def in_list(
    left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
) -> FilterValue:
    """What is on the left is in the list on the right."""
    field, value, flipped = sides("Filter.inList", left_field, right_value, right_field, left_value)
    return PropertyTest(field, value, lambda left, right: isinstance(right, list) and left in right, flipped)


@registry.implements("Filter.rangeContains")
def range_contains(field: str, min_value: Any, max_value: Any) -> FilterValue:
    """From the least to the greatest, both included."""
    limits = (_plain(min_value), _plain(max_value))
    return PropertyTest(field, limits, lambda found, span: span[0] <= found <= span[1])


@registry.implements("Filter.dateRangeContains")
def date_range_contains(
    left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
) -> FilterValue:
    """The interval on the left has the instant on the right."""
    field, value, flipped = sides("Filter.dateRangeContains", left_field, right_value, right_field, left_value)
    if not flipped:
        raise invalid("Filter.dateRangeContains: only an interval as a value on the left is emulated.")
    interval: DateRange = as_date_range(value)
    return During(field, interval)


def _spatial(name: str, relation: Callable[[bool], str]) -> None:
    def make(
        left_field: Any = None,
        right_value: Any = None,
        right_field: Any = None,
        left_value: Any = None,
        max_error: Any = None,  # noqa: ARG001 -- shapes are exact
    ) -> FilterValue:
        field, value, flipped = sides(f"Filter.{name}", left_field, right_value, right_field, left_value)
        if field not in (".all", ".geo", "system:footprint"):
            raise invalid(f"Filter.{name}: only the element's own geometry is emulated, not field '{field}'.")
        return Spatial(as_geometry(value), relation(flipped))

    registry.add(f"Filter.{name}", make)


_spatial("intersects", lambda _flipped: "intersects")
_spatial("contains", lambda flipped: "within" if flipped else "contains")
_spatial("isContained", lambda flipped: "contains" if flipped else "within")


@registry.implements("Filter.and")
def both(filters: list[Any]) -> FilterValue:
    """All of them."""
    return Every([as_filter(each) for each in filters])


@registry.implements("Filter.or")
def either(filters: list[Any]) -> FilterValue:
    """Any of them."""
    return Either([as_filter(each) for each in filters])


@registry.implements("Filter.not")
def opposite(filter: FilterValue) -> FilterValue:
    """Turned round."""
    return Opposite(filter)


@registry.implements("Filter.notNull")
def not_null(properties: list[Any]) -> FilterValue:
    """All these properties are there."""
    return Every([PropertyTest(name, None, lambda _found, _value: True) for name in properties])


@registry.implements("Filter.always")
def always() -> FilterValue:
    """Everything."""
    return FilterValue()


@registry.implements("Filter.never")
def never() -> FilterValue:
    """Nothing."""
    return Never()


@registry.implements("Filter.calendarRange")
def calendar_range(start: int, end: int | None = None, field: str = "day_of_year") -> FilterValue:
    """A field of the calendar, both ends included."""
    if field not in CALENDAR_FIELDS:
        raise invalid(f"Filter.calendarRange: Unknown field '{field}'; use one of {', '.join(CALENDAR_FIELDS)}.")
    return Calendar(start, start if end is None else end, field)


@registry.implements("Filter.dayOfYear")
def day_of_year(start: int, end: int) -> FilterValue:
    """Days of the year, the end excluded."""
    return Calendar(start, end - 1, "day_of_year")
