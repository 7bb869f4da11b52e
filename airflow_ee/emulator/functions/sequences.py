"""Lists from numbers and functions: sequences, maps, filters."""

from __future__ import annotations

import math
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.lists import Items
from airflow_ee.emulator.functions.promote import Algorithm, registry
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.filters import FilterValue
from airflow_ee.emulator.values.image import Image

MAX_LIST = 1_000_000
_SAME_STEP = 1e-9


@registry.implements("List.sequence")
def sequence(start: float, end: float | None = None, step: float = 1, count: int | None = None) -> Items:
    """Numbers from start to end, both included; or so many of them."""
    if count is not None:
        return _counted(start, end, step, count)
    if end is None:
        raise invalid("List.sequence: At least one of 'end' or 'count' must be specified.")
    if step == 0 or not all(map(math.isfinite, (start, end, step))):
        raise invalid("List.sequence: 'step' must not be 0, and all numbers must be finite.")
    return _numbers(start, step, _steps((end - start) / step) + 1)


def _counted(start: float, end: float | None, step: float, count: int) -> Items:
    if count < 1:
        raise invalid(f"List.sequence: a count of {count} is not emulated.")
    if end is None:
        return _numbers(start, step, count)
    if count == 1:
        return [start]
    return [*_numbers(start, (end - start) / (count - 1), count - 1), float(end)]


def _steps(exact: float) -> int:
    """Whole steps; where rounding decides whether the end belongs, the service's answer is not known."""
    nearest = round(exact)
    if nearest != exact and abs(nearest - exact) < _SAME_STEP * max(1.0, abs(exact)):
        raise invalid(
            "List.sequence: the end lies on a step only but for rounding, which is not emulated; use 'count'."
        )
    return math.floor(exact)


def _numbers(start: float, step: float, number: int) -> Items:
    if number > MAX_LIST:
        raise invalid(f"List.sequence: {number} items are too many (maximum {MAX_LIST}).")
    return [start + step * index for index in range(max(number, 0))]


@registry.implements("List.repeat")
def repeat(value: Any, count: int) -> Items:
    """The same item again and again."""
    if not 0 <= count <= MAX_LIST:
        raise invalid(f"List.repeat: 'count' must be from 0 to {MAX_LIST}, got {count}.")
    return [value] * count


@registry.implements("List.map")
def map_list(list: Items, base_algorithm: Algorithm, drop_nulls: bool = False) -> Items:
    """A function of each item."""
    mapped = [base_algorithm(each) for each in list]
    if drop_nulls:
        return [each for each in mapped if each is not None]
    if None in [each if each is None else 0 for each in mapped]:
        raise invalid("List.map: The mapped function returned null, which needs dropNulls.")
    return mapped


@registry.implements("List.iterate")
def iterate_list(list: Items, function: Algorithm, first: Any) -> Any:
    """A function of each item and of its own result before."""
    result = first
    for each in list:
        result = function(each, result)
    return result


@registry.implements("List.filter")
def filter_list(list: Items, filter: FilterValue) -> Items:
    """The items that match; those without properties of their own have one, ``item``."""
    return [each for each in list if filter.matches(_testable(each))]


def _testable(item: Any) -> Any:
    return item if isinstance(item, Image | Feature | Collection) else Feature(None, {"item": item})


@registry.implements("List.shuffle")
def shuffle(list: Items, seed: Any = None) -> Items:  # noqa: ARG001 -- no seed's order is known
    """Lists of one item; the order of others is not documented."""
    if len(list) > 1:
        raise invalid("List.shuffle is not emulated: the order that a seed gives is not documented.")
    return list
