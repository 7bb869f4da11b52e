"""Slope, aspect and shaded relief of an elevation model, from the four pixels around each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.crs import WGS84, proj_crs
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Neighbourhood, Padded
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import FLOAT, PixelType, type_of_dtype
from airflow_ee.emulator.values.image import Band, Image, check_plain

Array = NDArray[np.float64]
Formula = Callable[[Array, Array], Array]
"""A value from the rise to the east and the rise to the north, in metres a metre."""

_BYTE = type_of_dtype("uint8")


def steepest(band: Band, name: str, formula: Formula, type_: PixelType = FLOAT) -> Band:
    """A band computed from the gradient; masked where one of the five pixels is."""
    check_plain(Image((band,)), "Terrain")

    def compute(padded: Padded, grid: Grid) -> Raster:
        five = [padded.shifted(row, col) for row, col in ((0, 0), (0, 1), (0, -1), (-1, 0), (1, 0))]
        _, right, left, above, below = (np.where(each.mask > 0, each.values, 0).astype(np.float64) for each in five)
        mask = np.minimum.reduce([each.mask for each in five])
        return settled(formula(*_gradient(grid, right - left, below - above)), mask, type_)

    return replace(band, name=name, type=type_, node=Neighbourhood(band.node, lambda _grid: (1, 1, 1, 1), compute))


def _gradient(grid: Grid, across: Array, down: Array) -> tuple[Array, Array]:
    """Rise to the east and to the north from the differences between the pixels on either side."""
    a, b, _, d, e, _ = grid.projection.transform
    determinant = grid.projection.determinant
    by_x, by_y = (across * e - down * d) / (2 * determinant), (down * a - across * b) / (2 * determinant)
    unit = grid.projection.crs.metres_per_unit
    shorter = shrinking(grid)
    return by_x / (unit * shorter), by_y / (unit * (1.0 if grid.projection.crs.is_geographic else shorter))


def shrinking(grid: Grid) -> Array:
    """How much shorter a step to the east is on the ground: degrees and Mercator's metres shrink with the latitude."""
    crs = grid.projection.crs
    if crs.is_geographic:
        latitudes = grid.centres()[1]
    elif "Mercator" in _method(crs.text) and "Transverse" not in _method(crs.text):
        latitudes = grid.centres_in(WGS84)[1]
    else:
        return np.ones((1, 1))
    return np.maximum(np.cos(np.radians(latitudes)), 1e-6)


def _method(text: str) -> str:
    operation = proj_crs(text).coordinate_operation
    return "" if operation is None else str(operation.method_name)


@registry.implements("Image.gradient")
def gradient(input: Image) -> Image:
    """Bands ``x`` and ``y``: the rise to the east and to the north, per metre."""
    if len(input.bands) != 1:
        raise invalid("Image.gradient of an image with several bands is not emulated")
    band = input.bands[0]
    return input.with_bands([steepest(band, "x", lambda x, _y: x), steepest(band, "y", lambda _x, y: y)])


def _slope(x: Array, y: Array) -> Array:
    return np.asarray(np.degrees(np.arctan(np.hypot(x, y))))


def _aspect(x: Array, y: Array) -> Array:
    """Where the slope faces: 0 is north, 90 east; of flat ground 0."""
    return np.asarray(np.mod(np.degrees(np.arctan2(-x, -y)) * ((x != 0) | (y != 0)), 360.0))


def _shade(azimuth: float, elevation: float) -> Formula:
    zenith = np.radians(90.0 - elevation)

    def shade(x: Array, y: Array) -> Array:
        slope, facing = np.arctan(np.hypot(x, y)), np.radians(_aspect(x, y))
        lit = np.cos(zenith) * np.cos(slope)
        lit = lit + np.sin(zenith) * np.sin(slope) * np.cos(np.radians(azimuth) - facing)
        return np.asarray(np.floor(np.clip(lit, 0.0, 1.0) * 255 + 0.5))

    return shade


def _elevation(image: Image, function: str) -> Band:
    """The only band, or the one named so."""
    return image.bands[0] if len(image.bands) == 1 else image.band("elevation", function=function)


@registry.implements("Terrain.slope")
def slope(input: Image) -> Image:
    """Degrees from the horizontal."""
    return input.with_bands([steepest(_elevation(input, "Terrain.slope"), "slope", _slope)])


@registry.implements("Terrain.aspect")
def aspect(input: Image) -> Image:
    """The direction that a slope faces, in degrees from north."""
    return input.with_bands([steepest(_elevation(input, "Terrain.aspect"), "aspect", _aspect)])


@registry.implements("Terrain.hillshade")
def hillshade(input: Image, azimuth: float = 270, elevation: float = 45) -> Image:
    """How brightly a slope is lit, 0 to 255."""
    band = _elevation(input, "Terrain.hillshade")
    return input.with_bands([steepest(band, "hillshade", _shade(azimuth, elevation), _BYTE)])


@registry.implements("Terrain.products", "Terrain")
def products(input: Image) -> Image:
    """The input's bands, and ``slope``, ``aspect`` and ``hillshade``."""
    band = _elevation(input, "Terrain.products")
    shades = steepest(band, "hillshade", _shade(270, 45), _BYTE)
    return input.with_bands([*input.bands, steepest(band, "slope", _slope), steepest(band, "aspect", _aspect), shades])
