"""The cheapest way from a source to each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.distances import MAX_NEIGHBOURHOOD, only_band
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.together import Surroundings
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Margins, Padded, rimmed
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.image import Band, Image

Array = NDArray[np.float64]

EARTH_RADIUS = 6378137.0
"""Metres, as documented for geodetic distances."""

_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


@of_numbers("Image.cumulativeCost")
def cumulative_cost(cost: Image, source: Image, max_distance: float, geodetic_distance: bool = True) -> Image:
    """``cumulative_cost``: metres times cost along the cheapest way over neighbouring pixels.

    A way has as many steps as pixels go into the distance, so that what decides lies within it of each pixel.
    """
    function = "Image.cumulativeCost"
    if not max_distance > 0:
        raise invalid(f"{function}: 'maxDistance' must be positive, got {max_distance:g}.")
    if len(cost.bands) > 1:
        raise invalid(f"{function} over several cost bands is not emulated")
    price, start = only_band(cost, function), only_band(source, function)

    def margins(grid: Grid) -> Margins:
        steps = _steps(grid, max_distance)
        return steps, steps, steps, steps

    node = Surroundings([price.node, start.node], margins, partial(_cheapest, geodetic_distance))
    return cost.with_bands([Band("cumulative_cost", DOUBLE, node, price.projection, price.extent)])


def _steps(grid: Grid, max_distance: float) -> int:
    steps = ceil(max_distance / grid.projection.nominal_scale - 1e-9)
    if steps > MAX_NEIGHBOURHOOD:
        raise invalid(
            f"Image.cumulativeCost: a 'maxDistance' of {steps} pixels is too large (maximum {MAX_NEIGHBOURHOOD})."
        )
    return steps


def _cheapest(geodetic: bool, padded: Sequence[Padded], grid: Grid) -> Raster:
    price, start = padded
    steps = price.margins[0]
    wider = rimmed(grid, price.margins)
    open_ = (price.mask > 0) & (price.values >= 0)
    prices = np.where(open_, price.values, np.inf).astype(np.float64)
    found = np.where(open_ & (start.values != 0) & (start.mask > 0), 0.0, np.inf)
    lengths = [_lengths(wider, row, col, geodetic) for row, col in _STEPS]
    for _ in range(steps):
        deadline.check()
        before = found.copy()
        for (row, col), length in zip(_STEPS, lengths, strict=True):
            _relax(found, before, prices, row, col, length)
        if np.array_equal(before, found):
            break
    inner = (slice(steps, -steps), slice(steps, -steps))
    reached = np.isfinite(found[inner])
    return settled(np.where(reached, found[inner], 0.0), price.mask[inner] * reached, DOUBLE)


def _relax(found: Array, before: Array, prices: Array, row: int, col: int, length: Array) -> None:
    """One step between the pixels of each pair, either way; half of it costs what one pixel says, half what the other does."""
    one, two = _pair(found.shape, row, col)
    step = (prices[one] + prices[two]) / 2 * length
    with np.errstate(invalid="ignore"):
        np.fmin(found[two], before[one] + step, out=found[two])
        np.fmin(found[one], before[two] + step, out=found[one])


def _pair(shape: tuple[int, ...], row: int, col: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    height, width = shape
    one = (slice(0, height - row), slice(max(0, -col), width - max(0, col)))
    two = (slice(row, height), slice(max(0, col), width + min(0, col)))
    return one, two


def _lengths(grid: Grid, row: int, col: int, geodetic: bool) -> Array:
    """Metres between the pixels of each pair."""
    if geodetic:
        longitudes, latitudes = (np.broadcast_to(each, grid.shape) for each in grid.centres_in(WGS84))
        return _on_sphere(np.radians(longitudes), np.radians(latitudes), row, col)
    a, b, _, d, e, _ = grid.projection.transform
    metres = grid.projection.crs.metres_per_unit
    return np.full((1, 1), np.hypot(a * col + b * row, d * col + e * row) * metres)


def _on_sphere(longitudes: Array, latitudes: Array, row: int, col: int) -> Array:
    """The haversine formula."""
    one, two = _pair(longitudes.shape, row, col)
    up, across = np.sin((latitudes[two] - latitudes[one]) / 2), np.sin((longitudes[two] - longitudes[one]) / 2)
    square = up**2 + np.cos(latitudes[one]) * np.cos(latitudes[two]) * across**2
    return np.asarray(2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(square, 0, 1))))
