"""Colour spaces, and colours for values that have none of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import joined, real_type, settled
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.mixing import mixed
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype
from airflow_ee.emulator.values.image import Band, Image, check_plain

Array = NDArray[np.float64]
Convert = Callable[[Array, Array, Array], Sequence[Array]]

_RANDOM_NAMES = ("viz-red", "viz-green", "viz-blue")


@registry.implements("Image.rgbToHsv")
def rgb_to_hsv(image: Image) -> Image:
    """Bands ``hue``, ``saturation`` and ``value`` of red, green and blue from 0 to 1."""
    return _converted(image, "Image.rgbToHsv", ("hue", "saturation", "value"), _to_hsv)


@registry.implements("Image.hsvToRgb")
def hsv_to_rgb(image: Image) -> Image:
    """Bands ``red``, ``green`` and ``blue`` of hue, saturation and value from 0 to 1."""
    return _converted(image, "Image.hsvToRgb", ("red", "green", "blue"), _to_rgb)


def _converted(image: Image, function: str, names: Sequence[str], convert: Convert) -> Image:
    if len(image.bands) != 3:
        raise invalid(f"{function}: The image must have 3 bands, got {len(image.bands)}.")
    check_plain(image, function)
    type_ = image.bands[0].type
    for band in image.bands[1:]:
        type_ = real_type(type_, band.type)
    type_ = PixelType(real_type(type_, type_).precision)

    def channel(index: int) -> Band:
        def change(*rasters: Raster) -> Raster:
            colours = convert(*(raster.values.astype(np.float64) for raster in rasters))
            return settled(colours[index], np.minimum.reduce([raster.mask for raster in rasters]), type_)

        return joined(names[index], type_, Pointwise(change, *(band.node for band in image.bands)), image.bands)

    return image.with_bands(channel(index) for index in range(3))


def _to_hsv(red: Array, green: Array, blue: Array) -> Sequence[Array]:
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    span = high - low
    safe = np.where(span == 0, 1.0, span)
    turn = np.where(
        high == red, (green - blue) / safe, np.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    hue = np.where(span == 0, 0.0, np.mod(turn / 6, 1.0))
    hue = np.where(hue >= 1.0, 0.0, hue)  # a hair below red is red
    return hue, np.divide(span, high, out=np.zeros_like(span), where=high != 0), high


def _to_rgb(hue: Array, saturation: Array, value: Array) -> Sequence[Array]:
    sector = np.mod(hue, 1.0) * 6

    def channel(start: float) -> Array:
        place = np.mod(start + sector, 6.0)
        return np.asarray(value - value * saturation * np.clip(np.minimum(place, 4 - place), 0.0, 1.0))

    return channel(5.0), channel(3.0), channel(1.0)


@registry.implements("Image.randomVisualizer")
def random_visualizer(image: Image) -> Image:
    """A colour of its own for each value of the first band, then the bands themselves."""
    if not image.bands:
        raise invalid("Image.randomVisualizer: The image has no bands.")
    first = image.bands[0]
    check_plain(Image((first,)), "Image.randomVisualizer")

    def channel(index: int, name: str) -> Band:
        def change(raster: Raster) -> Raster:
            bits = mixed(raster.values.astype(np.float64).view(np.uint64))
            return Raster((bits >> np.uint64(16 * index + 8)).astype(np.uint8), raster.mask)

        return replace(first, name=name, type=type_of_dtype("uint8"), node=Pointwise(change, first.node))

    colours = [channel(index, name) for index, name in enumerate(_RANDOM_NAMES)]
    return image.with_bands([*colours, *image.bands])
