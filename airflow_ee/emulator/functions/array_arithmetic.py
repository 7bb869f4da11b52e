"""Arithmetic on arrays, number by number; a single number goes with an array of any shape."""

from __future__ import annotations

from collections.abc import Callable

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arrays import cast
from airflow_ee.emulator.functions.elementwise import BINARY, CASTS, OLD_NAMES, UNARY, Operation
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.array import Array


def _binary(name: str, operation: Operation) -> Callable[[Array, Array], Array]:
    def apply(left: Array, right: Array) -> Array:
        if left.dimensions and right.dimensions and left.shape != right.shape:
            raise invalid(f"{name}: Array sizes must match: {list(left.shape)} and {list(right.shape)}.")
        return Array(operation(name, left.values, right.values))

    return apply


def _unary(name: str, operation: Operation) -> Callable[[Array], Array]:
    def apply(input: Array) -> Array:
        return Array(operation(name, input.values))

    return apply


def _cast(dtype: str) -> Callable[[Array], Array]:
    def apply(input: Array) -> Array:
        return cast(input, dtype)

    return apply


for _name in (*BINARY, *UNARY, *OLD_NAMES):
    _known = OLD_NAMES.get(_name, _name)
    if _known in BINARY:
        registry.add(f"Array.{_name}", _binary(f"Array.{_name}", BINARY[_known]))
    else:
        registry.add(f"Array.{_name}", _unary(f"Array.{_name}", UNARY[_known]))
for _name, _dtype in CASTS.items():
    registry.add(f"Array.{_name}", _cast(_dtype))
