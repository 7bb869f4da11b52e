"""What holds for values of any kind: choice, equality, names of types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import kind_of, registry
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.equality import same, truth
from airflow_ee.emulator.values.filters import FilterValue
from airflow_ee.emulator.values.numbers import Long


@registry.implements("If")
def choose(condition: Any = None, true_case: Any = None, false_case: Any = None) -> Any:
    """One of two values. Graphs evaluate only the one that is chosen, and do not come here."""
    return true_case if truth(condition) else false_case


@registry.implements("IsEqual")
def is_equal(left: Any = None, right: Any = None) -> bool:
    """Whether two values are equal."""
    if not (_comparable(left) and _comparable(right)):
        raise invalid(f"IsEqual: comparing a {kind_of(left)} with a {kind_of(right)} is not emulated.")
    return same(left, right)


def _comparable(value: Any) -> bool:
    return value is None or kind_of(value) in {
        "Boolean", "Number", "String", "List", "Dictionary", "Date", "DateRange", "Array", "PixelType",
    }  # fmt: skip


@registry.implements("ObjectType")
def object_type(value: Any = None) -> str:
    """The name of a value's type."""
    if value is None:
        raise invalid("ObjectType: the type of null is not emulated.")
    if isinstance(value, float):
        return "Float"
    if isinstance(value, int) and not isinstance(value, bool):
        return "Long" if isinstance(value, Long) or abs(value) >= 2**31 else "Integer"
    if isinstance(value, FilterValue):
        return "Filter"
    if isinstance(value, Collection):
        return "ImageCollection" if value.of_images else "FeatureCollection"
    if isinstance(value, Mapping) and value.get("type") == "ErrorMargin":
        return "ErrorMargin"
    return kind_of(value)


@registry.implements("Describe")
def describe(input: Any) -> Any:
    """Plain values describe themselves."""
    if not isinstance(input, bool | int | float | str):
        raise invalid(f"Describe: describing a {kind_of(input)} is not emulated.")
    return input
