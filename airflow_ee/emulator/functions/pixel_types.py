"""Pixel types as values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import cannot, registry
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType, Precision, type_of_dtype

_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_NAMED = {name: type_of_dtype(name) for name in _WHOLE} | {"float": FLOAT, "double": DOUBLE}


@registry.promotes(PixelType)
def as_pixel_type(value: Any) -> PixelType:
    """Names of types are types."""
    if isinstance(value, PixelType):
        return value
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    raise cannot(value, "PixelType")


def _constant(type_: PixelType) -> Callable[[], PixelType]:
    return lambda: type_


for _name, _type in _NAMED.items():
    registry.add(f"PixelType.{_name}", _constant(_type))


@registry.implements("PixelType")
def make_type(
    precision: Any, min_value: float | None = None, max_value: float | None = None, dimensions: int = 0
) -> PixelType:
    """A precision with limits; whole numbers need both. A type stays as it is."""
    if isinstance(precision, PixelType) and min_value is None and max_value is None and not dimensions:
        return precision
    if precision not in get_args(Precision):
        raise invalid(f"PixelType: Unknown precision '{precision}'; use one of {', '.join(get_args(Precision))}.")
    if dimensions < 0:
        raise invalid(f"PixelType: 'dimensions' must not be negative, got {dimensions}.")
    if precision == "int" and (min_value is None or max_value is None):
        raise invalid("PixelType: 'minValue' and 'maxValue' are required for the precision 'int'.")
    if min_value is not None and max_value is not None and min_value > max_value:
        raise invalid(f"PixelType: 'minValue' ({min_value}) must not be greater than 'maxValue' ({max_value}).")
    chosen: Precision = "int" if precision == "int" else "float" if precision == "float" else "double"
    return PixelType(chosen, min_value, max_value, dimensions)


@registry.implements("PixelType.precision")
def precision(pixel_type: PixelType) -> str:
    """int, float or double."""
    return pixel_type.precision


@registry.implements("PixelType.dimensions")
def dimensions(pixel_type: PixelType) -> int:
    """How many axes a pixel has."""
    return pixel_type.dimensions


@registry.implements("PixelType.minValue")
def minimum(pixel_type: PixelType) -> float:
    """The smallest value, or negative infinity."""
    return -math.inf if pixel_type.minimum is None else pixel_type.minimum


@registry.implements("PixelType.maxValue")
def maximum(pixel_type: PixelType) -> float:
    """The greatest value, or infinity."""
    return math.inf if pixel_type.maximum is None else pixel_type.maximum
