"""Casts: fractions are cut off towards zero, and what does not fit becomes the nearest value that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import unary_band
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.raster import Values
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType, ranged, type_of_dtype
from airflow_ee.emulator.values.image import Band, Image

_TYPES = {
    "uint8": ("uint8", "byte", "toByte", "toUint8"),
    "int8": ("int8", "toInt8"),
    "uint16": ("uint16", "toUint16"),
    "int16": ("int16", "short", "toShort", "toInt16"),
    "uint32": ("uint32", "toUint32"),
    "int32": ("int32", "int", "toInt", "toInt32"),
    "int64": ("int64", "long", "toLong", "toInt64"),
    "float32": ("float", "toFloat"),
    "float64": ("double", "toDouble"),
}


def cast_band(band: Band, type_: PixelType) -> Band:
    """A band with its pixels in another type; real ones keep the range that was known."""
    if type_ in (FLOAT, DOUBLE) and band.type.minimum is not None:
        type_ = ranged(type_.precision, *band.type.range)
    return unary_band(band, lambda values: converted(values, type_), type_)


def converted(values: Values, type_: PixelType) -> Values:
    """An array in the type's array type, clamped to what that can hold."""
    dtype = type_.dtype
    if dtype.kind == "f" or values.dtype == dtype:
        return values.astype(dtype)
    info = np.iinfo(dtype)
    if values.dtype.kind == "f":
        # int64's greatest value has no double: the next smaller double is the limit.
        high = np.nextafter(np.float64(info.max), 0) if info.max > 2**53 else np.float64(info.max)
        return np.trunc(np.clip(np.nan_to_num(values.astype(np.float64)), info.min, high)).astype(dtype)
    return np.clip(values.astype(np.int64), info.min, info.max).astype(dtype)


def _cast(type_: PixelType) -> Callable[[Image], Image]:
    def apply(value: Image) -> Image:
        return value.each(lambda band: cast_band(band, type_))

    return apply


@registry.implements("Image.cast")
def cast(image: Image, band_types: dict[str, Any], band_order: list[Any] | None = None) -> Image:
    """Types by band name; bands that are not named stay as they are."""
    chosen = image if band_order is None else image.with_bands(image.band(name) for name in band_order)
    return chosen.each(lambda band: cast_band(band, _named(band_types[band.name])) if band.name in band_types else band)


def _named(name: Any) -> PixelType:
    """A pixel type by one of its public names."""
    if isinstance(name, PixelType):
        return name
    for dtype, names in _TYPES.items():
        if name == dtype or name in names:
            return type_of_dtype(dtype)
    raise invalid(f"Image.cast: Unknown pixel type '{name}'.")


for _dtype, _names in _TYPES.items():
    for _name in _names:
        registry.add(f"Image.{_name}", _cast(type_of_dtype(_dtype)))
