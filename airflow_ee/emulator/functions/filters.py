"""Makers of filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.functions import geometry_relations
from airflow_ee.emulator.functions.filter_text import parse
from airflow_ee.emulator.functions.promote import as_date_range, as_geometry, cannot, kind_of, registry
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.element import GEOMETRY_FIELDS, field_of, types_of
from airflow_ee.emulator.values.filters import (
    CALENDAR_FIELDS,
    Calendar,
    Comparison,
    Either,
    Every,
    FilterValue,
    Never,
    Operand,
    Opposite,
    PropertyTest,
    Test,
)
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.measures import area as area_of

DEFAULT_MARGIN = 0.1
"""Metres by which filters allow straight edges to be off, unless told otherwise."""

TYPE_NAMES = frozenset(
    (
        "Object",
        "Number",
        "Integer",
        "Float",
        "String",
        "Boolean",
        "List",
        "Dictionary",
        "Date",
        "DateRange",
        "Geometry",
        "Point",
        "MultiPoint",
        "LineString",
        "LinearRing",
        "MultiLineString",
        "Polygon",
        "MultiPolygon",
        "GeometryCollection",
        "Element",
        "Image",
        "Feature",
        "FeatureCollection",
        "ImageCollection",
    )
)


@registry.promotes(FilterValue)
def as_filter(value: Any) -> FilterValue:
    """Lists of filters must all hold; texts are expressions."""
    if isinstance(value, FilterValue):
        return value
    if isinstance(value, str):
        return expression(value)
    if isinstance(value, list):
        return Every([as_filter(each) for each in value])
    raise cannot(value, "Filter")


def sides(
    function: str, left_field: Any, right_value: Any, right_field: Any, left_value: Any
) -> tuple[Operand, Operand]:
    """The two operands: a field or a value each, at least one of them a field."""
    left, right = (left_field, left_value), (right_field, right_value)
    if any((field is None) == (value is None) for field, value in (left, right)):
        raise invalid(f"{function}: give one of leftField and leftValue, and one of rightField and rightValue.")
    if left_field is None and right_field is None:
        raise invalid(f"{function}: at least one operand must be a field.")
    return Operand(_name(left_field), left_value), Operand(_name(right_field), right_value)


def _name(field: Any) -> str | None:
    return None if field is None else str(field)


def compared(name: str, left: Operand, right: Operand) -> FilterValue:
    """A comparison by its short name."""
    test = _OPPOSITES.get(name, name)
    return Comparison(f"Filter.{name}", left, right, TESTS[test], opposite=test != name)


_OPPOSITES = {"neq": "eq", "gte": "lt", "lte": "gt"}
"""Documented as passing unless another filter does: also where a property is missing, or of another type."""


def _ordered(test: Test) -> Test:
    """Numbers with numbers, texts with texts; nothing else has an order."""
    return lambda left, right: kind_of(left) == kind_of(right) in ("Number", "String") and test(left, right)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, Geometry) and isinstance(right, Geometry):
        return bool(left.crs == right.crs and left.shape.equals_exact(right.shape))
    return kind_of(left) == kind_of(right) and bool(left == right)


def _texts(test: Callable[[str, str], bool]) -> Test:
    return lambda left, right: isinstance(left, str) and isinstance(right, str) and test(left, right)


TESTS: dict[str, Test] = {
    "eq": _same,
    "lt": _ordered(lambda left, right: left < right),
    "gt": _ordered(lambda left, right: left > right),
    "stringContains": _texts(lambda left, right: right in left),
    "stringStartsWith": _texts(lambda left, right: left.startswith(right)),
    "stringEndsWith": _texts(lambda left, right: left.endswith(right)),
    "listContains": lambda left, right: isinstance(left, list) and any(_same(each, right) for each in left),
}
_LONG_NAMES = {
    "eq": "equals",
    "neq": "notEquals",
    "lt": "lessThan",
    "lte": "lessThanOrEquals",
    "gt": "greaterThan",
    "gte": "greaterThanOrEquals",
    "listContains": "inList",
}


def _comparison(name: str, *names: str) -> None:
    def make(
        left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
    ) -> FilterValue:
        given = [each for each in (left_field, right_value, right_field, left_value) if each is not None]
        if name in ("eq", "neq") and len(given) == 1 and left_field is not None:
            # Clients leave a null out: ``neq('height', null)`` asks for what is there, as Google's guides use it.
            is_there = not_null([left_field])
            return is_there if name == "neq" else Opposite(is_there)
        return compared(name, *sides(f"Filter.{names[-1]}", left_field, right_value, right_field, left_value))

    for each in names:
        registry.add(f"Filter.{each}", make)


for _short in (*TESTS, *_OPPOSITES):
    _comparison(_short, *dict.fromkeys((_short, _LONG_NAMES.get(_short, _short))))


@registry.implements("Filter.rangeContains")
def range_contains(field: str, min_value: Any, max_value: Any) -> FilterValue:
    """From the least to the greatest, both included."""
    least, most = Operand(value=min_value).of(None), Operand(value=max_value).of(None)
    own = Operand(field)
    between = _ordered(lambda left, right: left <= right)

    def test(element: Any) -> bool:
        found = own.of(element)
        return between(least, found) and between(found, most)

    return PropertyTest("Filter.rangeContains", test, {"field": field, "minValue": min_value, "maxValue": max_value})


@registry.implements("Filter.dateRangeContains")
def date_range_contains(
    left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
) -> FilterValue:
    """The interval on the left has the instant on the right; its end is not part of it."""
    left, right = sides("Filter.dateRangeContains", left_field, right_value, right_field, left_value)
    if left.field is None:
        left = Operand(value=as_date_range(left.value))
    return Comparison("Filter.dateRangeContains", left, right, _during)


def _during(interval: Any, instant: Any) -> bool:
    if not isinstance(interval, DateRange):
        return False
    return isinstance(instant, int | float | Date) and Date.of(instant) in interval


@registry.implements("Filter.maxDifference")
def max_difference(
    difference: float,
    left_field: Any = None,
    right_value: Any = None,
    right_field: Any = None,
    left_value: Any = None,
) -> FilterValue:
    """Two numbers that are not further apart; how far they are is a join's measure."""
    left, right = sides("Filter.maxDifference", left_field, right_value, right_field, left_value)

    def test(one: Any, other: Any) -> bool:
        return kind_of(one) == kind_of(other) == "Number" and abs(one - other) <= difference

    return Comparison(
        "Filter.maxDifference",
        left,
        right,
        test,
        lambda one, other: float(abs(one - other)),
        {"difference": difference},
    )


@registry.implements("Filter.hasType")
def has_type(
    left_field: Any = None, right_value: Any = None, right_field: Any = None, left_value: Any = None
) -> FilterValue:
    """The value on the left is of the type named on the right."""
    left, right = sides("Filter.hasType", left_field, right_value, right_field, left_value)
    if right.field is None and right.value not in TYPE_NAMES:
        raise invalid(f"Filter.hasType: type '{right.value}' is not emulated.")
    return Comparison("Filter.hasType", left, right, lambda value, name: name in types_of(value))


def _spatial(name: str, relation: str) -> None:
    def make(
        left_field: Any = None,
        right_value: Any = None,
        right_field: Any = None,
        left_value: Any = None,
        max_error: Any = None,
    ) -> FilterValue:
        left, right = sides(f"Filter.{name}", left_field, right_value, right_field, left_value)
        margin = geometry_relations.margin_of(max_error) or DEFAULT_MARGIN

        def test(one: Any, other: Any) -> bool:
            first, second = _shape(one), _shape(other)
            if first is None or second is None:
                return False
            return geometry_relations.related(f"Geometry.{relation}", first, second, margin)

        return Comparison(f"Filter.{name}", _placed(left), _placed(right), test, opposite=name == "disjoint")

    registry.add(f"Filter.{name}", make)


def _placed(operand: Operand) -> Operand:
    """An operand whose value, if it is one, is a geometry."""
    return operand if operand.field is not None else Operand(value=as_geometry(operand.value))


def _shape(value: Any) -> Geometry | None:
    try:
        geometry: Geometry = as_geometry(value)
    except EmulatorError:  # a property that is no geometry meets none
        return None
    return geometry


_spatial("intersects", "intersects")
_spatial("disjoint", "intersects")
_spatial("contains", "contains")
_spatial("isContained", "containedIn")


@registry.implements("Filter.withinDistance")
def within_distance(
    distance: float,
    left_field: Any = None,
    right_value: Any = None,
    right_field: Any = None,
    left_value: Any = None,
    max_error: Any = None,
) -> FilterValue:
    """Two geometries that are not further apart; how far they are is a join's measure."""
    left, right = sides("Filter.withinDistance", left_field, right_value, right_field, left_value)
    margin = geometry_relations.margin_of(max_error) or DEFAULT_MARGIN

    def apart(one: Any, other: Any) -> float | None:
        pair = _places(one, other)
        return None if pair is None else geometry_relations.separation("Filter.withinDistance", *pair, margin)

    def test(one: Any, other: Any) -> bool:
        pair = _places(one, other)
        return pair is not None and geometry_relations.is_near("Filter.withinDistance", *pair, distance, margin)

    return Comparison("Filter.withinDistance", _placed(left), _placed(right), test, apart, {"distance": distance})


def _places(one: Any, other: Any) -> tuple[Geometry, Geometry] | None:
    """Two geometries that have a place; None where one of them has none."""
    first, second = _shape(one), _shape(other)
    if first is None or second is None or first.shape.is_empty or second.shape.is_empty:
        return None
    return first, second


@registry.implements("Filter.area")
def area(min: float, max: float, max_error: Any = None, geometry_selector: str | None = None) -> FilterValue:  # noqa: ARG001 -- exact
    """The element's area in square metres, both ends included."""
    selector = geometry_selector or GEOMETRY_FIELDS[0]

    def test(element: Any) -> bool:
        shape = _shape(field_of(element, selector))
        return shape is not None and not shape.unbounded and min <= area_of(shape) <= max

    return PropertyTest("Filter.area", test, {"min": min, "max": max})


@registry.implements("Filter.hasGeometry")
def has_geometry() -> FilterValue:
    """The element is somewhere."""
    return PropertyTest("Filter.hasGeometry", lambda element: field_of(element, GEOMETRY_FIELDS[0]) is not None)


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
    names = [str(name) for name in properties]

    def test(element: Any) -> bool:
        return all(field_of(element, name) is not None for name in names)

    return PropertyTest("Filter.notNull", test, {"properties": names})


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
    """Days of the year, both ends included."""
    return Calendar(start, end, "day_of_year")


@registry.implements("Filter.expression")
def expression(expression: str) -> FilterValue:
    """A filter written as text."""
    return parse(expression, compared)
