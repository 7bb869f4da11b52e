"""Arithmetic on arrays, number by number; a single number goes with an array of any shape."""

from __future__ import annotations

from collections.abc import Callable

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arrays import cast
from airflow_ee.emulator.functions.elementwise import Operation, register
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


register("Array", _binary, _unary, _cast)
