"""Values moved into other ranges: clamped, scaled to 0..1, read off a piecewise line or a polynomial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import real_type, settled, unary_band
from airflow_ee.emulator.functions.promote import as_number, registry
from airflow_ee.emulator.pixels.raster import Pointwise, Raster, Values
from airflow_ee.emulator.pixels.types import DOUBLE, PixelType, is_whole, ranged
from airflow_ee.emulator.values.image import Band, Image, check_plain

_BEHAVIORS = ("extrapolate", "clamp", "input", "mask")


@registry.implements("Image.clamp")
def clamp(input: Image, low: float, high: float) -> Image:
    """Values below or above a range become its nearest end."""
    if low > high:
        raise invalid(f"Image.clamp: 'low' ({low:g}) must not be greater than 'high' ({high:g}).")

    def clamped(band: Band) -> Band:
        type_ = _clamped_type(band.type, low, high)
        return unary_band(band, lambda values: np.clip(values.astype(type_.dtype), low, high), type_)

    return input.each(clamped)


def _clamped_type(type_: PixelType, low: float, high: float) -> PixelType:
    ends = [float(np.clip(limit, low, high)) for limit in type_.range]
    if type_.precision == "int" and not all(is_whole(end) for end in ends):
        return ranged("double", *ends)
    return ranged(type_.precision, *ends)


@registry.implements("Image.unitScale")
def unit_scale(input: Image, low: float, high: float) -> Image:
    """A range becomes 0 to 1; what lies outside is not cut off."""
    if low == high:
        raise invalid("Image.unitScale: 'low' and 'high' must differ.")

    def scaled(values: Values) -> Values:
        return np.asarray((values.astype(np.float64) - low) / (high - low))

    return input.each(lambda band: unary_band(band, scaled, _image_of(band.type, scaled)))


def _image_of(type_: PixelType, compute: Callable[[Values], Values]) -> PixelType:
    """The real type of a monotone function's results."""
    ends = [float(compute(np.asarray(limit))) for limit in type_.range]
    return ranged(real_type(type_, type_).precision, min(ends), max(ends))


@registry.implements("Image.polynomial")
def polynomial(image: Image, coefficients: list[Any]) -> Image:
    """A polynomial of each value; the constant term comes first."""
    terms = [float(as_number(each)) for each in coefficients]
    return image.each(lambda band: unary_band(band, lambda values: _horner(values.astype(np.float64), terms), DOUBLE))


def _horner(values: Values, terms: list[float]) -> Values:
    total: Values = np.zeros(values.shape)
    for term in reversed(terms):
        total = total * values + term
    return total


@registry.implements("Image.interpolate")
def interpolate(image: Image, x: list[Any], y: list[Any], behavior: str = "extrapolate") -> Image:
    """The first band's values read off a line through points."""
    xs, ys = (np.array([float(as_number(each)) for each in values]) for values in (x, y))
    _check_points(xs, ys, behavior)
    if not image.bands:
        raise invalid("Image.interpolate: Image has no bands.")
    band = image.bands[0]
    check_plain(Image((band,)), "Image.interpolate")

    def change(raster: Raster) -> Raster:
        values = raster.values.astype(np.float64)
        found = np.interp(values, xs, ys)
        outside = (values < xs[0]) | (values > xs[-1])
        if behavior == "extrapolate":
            found = np.where(outside, _extended(values, xs, ys), found)
        elif behavior == "input":
            found = np.where(outside, values, found)
        mask = np.where(outside, np.float32(0), raster.mask) if behavior == "mask" else raster.mask
        return settled(found, mask, DOUBLE)

    return image.with_bands([replace(band, type=DOUBLE, node=Pointwise(change, band.node))])


def _check_points(xs: Values, ys: Values, behavior: str) -> None:
    if behavior not in _BEHAVIORS:
        raise invalid(f"Image.interpolate: Unknown behavior '{behavior}'; use one of {', '.join(_BEHAVIORS)}.")
    if len(xs) != len(ys) or len(xs) < 2:
        raise invalid("Image.interpolate: 'x' and 'y' must have the same length, of two at least.")
    if not (np.diff(xs) > 0).all():
        raise invalid("Image.interpolate: 'x' must be strictly increasing.")


def _extended(values: Values, xs: Values, ys: Values) -> Values:
    first = ys[0] + (values - xs[0]) * (ys[1] - ys[0]) / (xs[1] - xs[0])
    last = ys[-1] + (values - xs[-1]) * (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    return np.asarray(np.where(values < xs[0], first, last))
