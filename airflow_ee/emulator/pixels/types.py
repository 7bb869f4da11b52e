"""Earth Engine's pixel types: a precision and, for whole numbers, the range that the values can take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

import numpy as np

from airflow_ee.emulator.errors import invalid

Precision = Literal["int", "float", "double"]
_WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
_EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True, slots=True)
class PixelType:
    """What a band's pixels can hold. The narrowest numpy type that holds the range is the one on the wire.

    >>> PixelType("int", 0, 70000).dtype
    dtype('uint32')
    """

    precision: Precision
    minimum: float | None = None
    maximum: float | None = None
    dimensions: int = 0
    """Of the arrays that pixels of this type are; 0 for plain numbers."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type that pixels of this type are kept in."""
        if self.precision != "int":
            return np.dtype("float32" if self.precision == "float" else "float64")
        if self.minimum is None or self.maximum is None:
            return np.dtype("int64")
        for name in _WHOLE:
            info = np.iinfo(name)
            if info.min <= self.minimum and self.maximum <= info.max:
                return np.dtype(name)
        return np.dtype("int64")

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and greatest value; whole numbers without a range have that of int64."""
        if self.minimum is not None and self.maximum is not None:
            return self.minimum, self.maximum
        if self.precision == "int":
            return float(np.iinfo("int64").min), float(np.iinfo("int64").max)
        return -np.inf, np.inf

    def of_arrays(self, dimensions: int) -> PixelType:
        """The same numbers in arrays of so many axes; 0 for plain numbers."""
        return self if dimensions == self.dimensions else replace(self, dimensions=dimensions)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the type."""
        shown: dict[str, Any] = {"type": "PixelType", "precision": self.precision}
        if self.minimum is not None and self.maximum is not None and np.isfinite([self.minimum, self.maximum]).all():
            shown |= {"min": self.minimum, "max": self.maximum}
        return shown | ({"dimensions": self.dimensions} if self.dimensions else {})

    def as_json(self) -> dict[str, Any]:
        """How an asset's band shows the type; zeros are left out as proto3 does."""
        shown: dict[str, Any] = {"precision": self.precision.upper()}
        limits = {"min": self.minimum, "max": self.maximum}
        span = {key: value for key, value in limits.items() if value and np.isfinite(value)}
        shown |= {"range": span} if span else {}
        return shown | ({"dimensionsCount": self.dimensions} if self.dimensions else {})


FLOAT = PixelType("float")
DOUBLE = PixelType("double")
BOOLEAN = PixelType("int", 0, 1)


def type_of_dtype(dtype: np.dtype[Any] | str) -> PixelType:
    """The pixel type of a file's or array's data type."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return BOOLEAN
    if kind.kind in "iu":
        return PixelType("int", int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    return FLOAT if kind.itemsize <= 4 else DOUBLE


def type_of_number(value: float) -> PixelType:
    """The type of a constant image: its only value is its range."""
    if is_whole(value) and abs(value) < 2**63:
        return PixelType("int", int(value), int(value))
    return PixelType("double", value, value)


def is_whole(value: object) -> TypeGuard[int | float]:
    """Whether a JSON number is a whole one: JSON has doubles only, so 3.0 counts."""
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()


def union(first: PixelType, second: PixelType) -> PixelType:
    """The narrowest type that holds the values of both."""
    if first.dimensions != second.dimensions:
        raise invalid(f"Pixels with {first.dimensions} and with {second.dimensions} dimensions have no common type.")
    precision = widest(first, second)
    low = min(first.range[0], second.range[0])
    high = max(first.range[1], second.range[1])
    return ranged(precision, low, high).of_arrays(first.dimensions)


def widest(first: PixelType, second: PixelType) -> Precision:
    """Of int, float and double the one that both fit in.

    Whole numbers beyond 24 bits do not fit in a float: with them the result is double.
    """
    kinds = {first.precision, second.precision}
    if "double" in kinds or len(kinds) == 1:
        return "double" if "double" in kinds else first.precision
    whole = first if first.precision == "int" else second
    return "float" if fits_float32(whole) else "double"


def fits_float32(whole: PixelType) -> bool:
    """Whether every value of a whole-number type is exact as a 32-bit float."""
    low, high = whole.range
    return max(abs(low), abs(high)) <= _EXACT_IN_FLOAT32


def ranged(precision: Precision, low: float, high: float) -> PixelType:
    """A type with a range, or without where the range is endless; whole numbers beyond int64 become double."""
    if precision == "int":
        if low < -(2**63) or high >= 2**63 or not np.isfinite([low, high]).all():
            return DOUBLE
        return PixelType("int", int(low), int(high))
    if not np.isfinite([low, high]).all():
        return PixelType(precision)
    if precision == "float":  # the limits are pixels' values too
        with np.errstate(over="ignore"):
            low, high = float(np.float32(low)), float(np.float32(high))
        if not np.isfinite([low, high]).all():
            return PixelType(precision)
    return PixelType(precision, float(low), float(high))
