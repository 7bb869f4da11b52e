"""Casts: fractions are cut off towards zero, and what does not fit becomes the nearest value that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import unary_band
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.raster import Positional, Raster, Values
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType, ranged, type_of_dtype
from airflow_ee.emulator.values.image import Band, Image, full

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
    type_ = type_.of_arrays(0)
    if type_ in (FLOAT, DOUBLE) and band.type.minimum is not None:
        type_ = ranged(type_.precision, *band.type.range)
    return unary_band(band, lambda values: converted(values, type_), type_)


def converted(values: Values, type_: PixelType) -> Values:
    """An array in the type's array type, clamped to what that can hold."""
    dtype = type_.dtype
    if dtype.kind == "f" or values.dtype == dtype:
        return values.astype(dtype)
    info = np.iinfo(dtype)
    least, most = (info.min, info.max) if type_.minimum is None else (int(type_.range[0]), int(type_.range[1]))
    if values.dtype.kind == "f":
        # int64's greatest value has no double: the next smaller double is the limit.
        high = np.nextafter(np.float64(most), 0) if most > 2**53 else np.float64(most)
        return np.trunc(np.clip(np.nan_to_num(values.astype(np.float64)), least, high)).astype(dtype)
    return np.clip(values.astype(np.int64), least, most).astype(dtype)


def _cast(type_: PixelType) -> Callable[[Image], Image]:
    def apply(value: Image) -> Image:
        return value.each(lambda band: cast_band(band, type_))

    return apply


@registry.implements("Image.cast")
def cast(image: Image, band_types: dict[str, Any], band_order: list[Any] | None = None) -> Image:
    """Types by band name; bands that are not named stay as they are, and those that are missing appear, masked."""
    types = {name: _named(type_) for name, type_ in band_types.items()}
    bands = {band.name: _cast_to(band, types[band.name]) if band.name in types else band for band in image.bands}
    bands |= {name: _transparent(name, types[name]) for name in sorted(types) if name not in bands}
    if band_order is None:
        return image.with_bands(bands.values())
    if sorted(bands) != sorted(map(str, band_order)):
        raise invalid(f"Image.cast: 'bandOrder' must name all the bands of the result: {', '.join(bands)}.")
    return image.with_bands(bands[name] for name in band_order)


def _cast_to(band: Band, type_: PixelType) -> Band:
    if type_.dimensions not in (0, band.type.dimensions):
        counts = f"{band.type.dimensions} to {type_.dimensions}"
        raise invalid(f"Image.cast: Band '{band.name}' cannot be cast from {counts} dimensions.")
    return cast_band(band, type_)


def _transparent(name: str, type_: PixelType) -> Band:
    value = np.clip(0, *type_.range).astype(type_.dtype)
    nothing = Raster(value.reshape((1,) * type_.dimensions + (1, 1)), np.zeros((1, 1), np.float32))
    return Band(name, type_, Positional(lambda grid: full(nothing, grid)))


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
