"""Operations on the same pixel of two images, or of one: tables of numpy functions and of type rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.batches import matched
from airflow_ee.emulator.pixels.cells import Lengths, as_dtype, check_arrays, cleared, lesser
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Pointwise, Raster, Values
from airflow_ee.emulator.pixels.types import (
    BOOLEAN,
    DOUBLE,
    FLOAT,
    PixelType,
    fits_float32,
    ranged,
    type_of_dtype,
    union,
    widest,
)
from airflow_ee.emulator.values.image import Band, Image

Compute2 = Callable[[Values, Values], Values]
Compute1 = Callable[[Values], Values]
TypeRule2 = Callable[[PixelType, PixelType], PixelType]
TypeRule1 = Callable[[PixelType], PixelType]


def pairs(first: Image, second: Image, function: str) -> list[tuple[str, Band, Band]]:
    """Which bands meet, and the name of what comes out.

    A single band meets every band of the other image. Equally many bands meet by name where both have the same names, else in
    order. The names are those of the longer image, or of the first.
    """
    counts = f"Got {len(first.bands)} and {len(second.bands)}."
    if bool(first.bands) != bool(second.bands):
        raise invalid(f"{function}: If one image has no bands, the other must also have no bands. {counts}")
    if len(second.bands) == 1:
        return [(band.name, band, second.bands[0]) for band in first.bands]
    if len(first.bands) == 1:
        return [(band.name, first.bands[0], band) for band in second.bands]
    if len(first.bands) != len(second.bands):
        raise invalid(f"{function}: Images must have the same number of bands, or one of them a single band. {counts}")
    if set(first.names) == set(second.names):
        return [(band.name, band, second.band(band.name)) for band in first.bands]
    return [(one.name, one, two) for one, two in zip(first.bands, second.bands, strict=True)]


def joined(name: str, type_: PixelType, node: Pointwise, parts: Sequence[Band]) -> Band:
    """A band computed from others: it lies where the first of them with a grid lies."""
    base = next((band for band in parts if band.has_grid), parts[0])
    return Band(name, type_, node, base.projection, _common_extent(parts, base))


def _common_extent(parts: Sequence[Band], base: Band) -> Grid | None:
    extents = [band.extent for band in parts if band.extent is not None and band.projection == base.projection]
    if not extents:
        return base.extent
    top, left = max(extent.row for extent in extents), max(extent.col for extent in extents)
    bottom = min(extent.row + extent.height for extent in extents)
    right = min(extent.col + extent.width for extent in extents)
    height, width = max(0, bottom - top), max(0, right - left)
    return Grid(base.projection, row=top, col=left, height=height, width=width)


def binary(function: str, compute: Compute2, rule: TypeRule2) -> Callable[[Image, Image], Image]:
    """An algorithm over two images. Where either is masked so is the result; the properties are those of neither."""

    def apply(image1: Image, image2: Image) -> Image:
        bands = [
            _binary_band(function, name, one, two, compute, rule) for name, one, two in pairs(image1, image2, function)
        ]
        return Image(tuple(bands))

    apply.__doc__ = f"{function}, pixel by pixel."
    return apply


def _binary_band(function: str, name: str, one: Band, two: Band, compute: Compute2, rule: TypeRule2) -> Band:
    type_ = rule(one.type.of_arrays(0), two.type.of_arrays(0)).of_arrays(common_dimensions(function, one, two))
    working = type_.dtype if rule not in _FROM_OPERANDS else np.result_type(one.type.dtype, two.type.dtype)

    def combine(first: Raster, second: Raster) -> Raster:
        mask = lesser(first.mask, second.mask)
        lengths = None
        if one.type.dimensions and two.type.dimensions:
            first, second, lengths = matched(function, first, second, mask)
        check_arrays(first.values, second.values)
        with np.errstate(all="ignore"):
            values = compute(as_dtype(first.values, working), as_dtype(second.values, working))
        return settled(values, mask, type_, lengths if lengths is not None else _either(first, second))

    return joined(name, type_, Pointwise(combine, one.node, two.node), (one, two))


def _either(first: Raster, second: Raster) -> Lengths | None:
    return first.lengths if first.lengths is not None else second.lengths


def common_dimensions(function: str, one: Band, two: Band) -> int:
    """The axes of a result: arrays meet arrays with as many axes, or plain numbers."""
    counts = one.type.dimensions, two.type.dimensions
    if 0 not in counts and counts[0] != counts[1]:
        raise invalid(f"{function}: Array dimensions must match: {counts[0]} and {counts[1]}.")
    return max(counts)


def settled(values: Values, mask: Values, type_: PixelType, lengths: Lengths | None = None) -> Raster:
    """Values in their type's array type. What is not a number, or endless, is masked; in arrays it stays."""
    if type_.dimensions:
        with np.errstate(all="ignore"):
            values = cleared(values.astype(type_.dtype, copy=False), lengths)
        return Raster(values, mask.astype(np.float32, copy=False), lengths)
    if type_.precision != "int" and values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a double may be too large for a float
            values = values.astype(type_.dtype, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            values, mask = np.where(finite, values, 0), np.where(finite, mask, np.float32(0))
    return Raster(values.astype(type_.dtype, copy=False), mask.astype(np.float32, copy=False))


def settled_raster(raster: Raster, type_: PixelType) -> Raster:
    """A raster in its type's array type."""
    return settled(raster.values, raster.mask, type_, raster.lengths)


def boolean_type(_one: PixelType, _two: PixelType) -> PixelType:
    """Zero or one."""
    return BOOLEAN


def interval_type(compute: Callable[[float, float], float]) -> TypeRule2:
    """The range of a result from its operands' corner values."""

    def rule(one: PixelType, two: PixelType) -> PixelType:
        return _spanning(compute, one, two, widest(one, two))

    return rule


def _spanning(compute: Callable[[float, float], float], one: PixelType, two: PixelType, precision: Any) -> PixelType:
    with np.errstate(all="ignore"):
        corners = [float(compute(np.float64(a), np.float64(b))) for a in one.range for b in two.range]
    if not all(np.isfinite(corners)):
        return DOUBLE if precision == "int" else PixelType(precision)
    return ranged(precision, min(corners), max(corners))


def real_type(one: PixelType, two: PixelType) -> PixelType:
    """A real number of the operands' precision: whole numbers make floats where those hold them exactly."""
    precision = widest(one, two)
    if precision != "int":
        return PixelType(precision)
    return FLOAT if fits_float32(one) and fits_float32(two) else DOUBLE


def quotient_type(one: PixelType, two: PixelType) -> PixelType:
    """Whole numbers divide to floats, since a quotient is seldom whole; the range is known unless 0 may divide."""
    precision = real_type(one, two).precision
    low, high = two.range
    if low <= 0 <= high:
        return PixelType(precision)
    return _spanning(np.divide, one, two, precision)


def whole_type(function: str) -> TypeRule2:
    """Bits exist in whole numbers only."""

    def rule(one: PixelType, two: PixelType) -> PixelType:
        if (one.precision, two.precision) != ("int", "int"):
            raise invalid(f"{function}: Bitwise operands must be integer only.")
        return union(union(one, two), type_of_dtype(union(one, two).dtype))

    return rule


def shift_type(one: PixelType, two: PixelType) -> PixelType:
    """A shifted number can be anything."""
    whole_type("Image.leftShift")(one, two)
    return type_of_dtype("int64")


_FROM_OPERANDS = (boolean_type,)


def _quotient(one: Values, two: Values) -> Values:
    """Division by zero gives 0, as the service documents it."""
    quotient: Values = np.divide(one, two, out=np.zeros_like(np.broadcast_arrays(one, two)[0]), where=two != 0)
    return quotient


def _remainder(one: Values, two: Values) -> Values:
    """The sign follows the dividend, as in Java; by zero it is 0."""
    remainder: Values = np.fmod(one, two, out=np.zeros_like(np.broadcast_arrays(one, two)[0]), where=two != 0)
    return remainder


def _truth(compute: Compute2) -> Compute2:
    return lambda one, two: compute(one, two).astype(np.uint8)


_BINARY: dict[str, tuple[Compute2, TypeRule2]] = {
    "add": (np.add, interval_type(np.add)),
    "subtract": (np.subtract, interval_type(np.subtract)),
    "multiply": (np.multiply, interval_type(np.multiply)),
    "divide": (_quotient, quotient_type),
    "mod": (_remainder, union),
    "pow": (np.power, real_type),
    "min": (np.minimum, union),
    "max": (np.maximum, union),
    "first": (lambda one, two: np.broadcast_arrays(one, two)[0], union),
    "firstNonZero": (lambda one, two: np.where(one != 0, one, two), union),
    "atan2": (lambda one, two: np.arctan2(two, one), real_type),  # the vector is [one, two], so x comes first
    "hypot": (np.hypot, real_type),
    "eq": (_truth(np.equal), boolean_type),
    "neq": (_truth(np.not_equal), boolean_type),
    "lt": (_truth(np.less), boolean_type),
    "lte": (_truth(np.less_equal), boolean_type),
    "gt": (_truth(np.greater), boolean_type),
    "gte": (_truth(np.greater_equal), boolean_type),
    "and": (_truth(np.logical_and), boolean_type),
    "or": (_truth(np.logical_or), boolean_type),
    "bitwiseAnd": (np.bitwise_and, whole_type("Image.bitwiseAnd")),
    "bitwiseOr": (np.bitwise_or, whole_type("Image.bitwiseOr")),
    "bitwiseXor": (np.bitwise_xor, whole_type("Image.bitwiseXor")),
    "leftShift": (np.left_shift, shift_type),
    "rightShift": (np.right_shift, shift_type),
}
_OLD_NAMES = {
    "firstNonZero": "first_nonzero",
    "bitwiseAnd": "bitwise_and",
    "bitwiseOr": "bitwise_or",
    "bitwiseXor": "bitwise_xor",
    "leftShift": "left_shift",
    "rightShift": "right_shift",
}
for _name, (_compute, _rule) in _BINARY.items():
    _algorithm = binary(f"Image.{_name}", _compute, _rule)
    registry.add(f"Image.{_name}", _algorithm)
    if _name in _OLD_NAMES:
        registry.add(f"Image.{_OLD_NAMES[_name]}", _algorithm)


def unary(compute: Compute1, rule: TypeRule1) -> Callable[[Image], Image]:
    """An algorithm over one image; properties stay."""

    def apply(value: Image) -> Image:
        return value.each(lambda band: unary_band(band, compute, rule(band.type)))

    return apply


def unary_band(band: Band, compute: Compute1, type_: PixelType) -> Band:
    """A band with a function applied to its values; of arrays to each of their numbers."""
    made = type_.of_arrays(band.type.dimensions)

    def change(raster: Raster) -> Raster:
        check_arrays(raster.values)
        with np.errstate(all="ignore"):
            return settled(compute(raster.values), raster.mask, made, raster.lengths)

    return replace(band, type=made, node=Pointwise(change, band.node))


def _real(type_: PixelType) -> PixelType:
    return real_type(type_, type_)


def _sized(type_: PixelType) -> PixelType:
    low, high = type_.range
    least = 0 if low <= 0 <= high else min(abs(low), abs(high))
    return ranged(type_.precision, least, max(abs(low), abs(high)))


def _stepped(compute: Compute1) -> TypeRule1:
    """The range of a rounded number, its precision kept."""

    def rule(type_: PixelType) -> PixelType:
        low, high = (float(compute(np.asarray(limit))) for limit in type_.range)
        return type_ if type_.precision == "int" else ranged(type_.precision, low, high)

    return rule


def _inverted_type(type_: PixelType) -> PixelType:
    """The smallest signed whole type that holds the input."""
    if type_.precision != "int":
        raise invalid("Image.bitwiseNot: Bitwise operands must be integer only.")
    return next((each for each in _SIGNED if _holds(each, type_)), _SIGNED[-1])


def _holds(outer: PixelType, inner: PixelType) -> bool:
    return outer.range[0] <= inner.range[0] and inner.range[1] <= outer.range[1]


_SIGNED = tuple(type_of_dtype(name) for name in ("int8", "int16", "int32", "int64"))


def _bit_count(values: Values) -> Values:
    """Ones in the two's complement of 64 bits."""
    words = np.ascontiguousarray(values.astype(np.int64)).view(np.uint8).reshape(*values.shape, 8)
    return np.asarray(np.unpackbits(words, axis=-1).sum(axis=-1), dtype=np.uint8)


def _rounded(values: Values) -> Values:
    """Halves go up."""
    return np.floor(values + 0.5)


def _in_real(compute: Compute1) -> Compute1:
    """Whole numbers are computed in double, so that no precision is lost on the way."""
    return lambda values: compute(values.astype(np.float64) if values.dtype.kind != "f" else values)


def _of_fractions(compute: Compute1) -> Compute1:
    """Whole numbers are rounded already."""
    return lambda values: compute(values) if values.dtype.kind == "f" else values


_UNARY: dict[str, tuple[Compute1, TypeRule1]] = {
    "abs": (lambda values: np.abs(values.astype(np.int64) if values.dtype.kind in "iu" else values), _sized),
    "sqrt": (_in_real(np.sqrt), _real),
    "exp": (_in_real(np.exp), _real),
    "log": (_in_real(np.log), _real),
    "log10": (_in_real(np.log10), _real),
    **{
        name: (_in_real(compute), _real)
        for name, compute in {
            "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
            "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "cbrt": np.cbrt,
        }.items()
    },
    "erf": (_in_real(np.vectorize(math.erf, otypes=[np.float64])), _real),
    "erfc": (_in_real(np.vectorize(math.erfc, otypes=[np.float64])), _real),
    "floor": (_of_fractions(np.floor), _stepped(np.floor)),
    "ceil": (_of_fractions(np.ceil), _stepped(np.ceil)),
    "round": (_of_fractions(_rounded), _stepped(_rounded)),
    "signum": (np.sign, lambda type_: ranged(type_.precision, -1, 1)),
    "bitwiseNot": (lambda values: np.invert(values.astype(np.int64)), _inverted_type),
    "bitCount": (_bit_count, lambda _type: PixelType("int", 0, 64)),
    "not": (lambda values: (values == 0).astype(np.uint8), lambda _type: BOOLEAN),
}  # fmt: skip
for _name, (_compute1, _rule1) in _UNARY.items():
    registry.add(f"Image.{_name}", unary(_compute1, _rule1))
registry.add("Image.bitwise_not", unary(*_UNARY["bitwiseNot"]))
