"""Where images change: derivatives, edges, changes of sign. Distances are counted in pixels of the grid that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Neighbourhood, Padded
from airflow_ee.emulator.pixels.raster import Mask, Raster, Values
from airflow_ee.emulator.pixels.types import BOOLEAN, DOUBLE, FLOAT, PixelType
from airflow_ee.emulator.values.image import Band, Image

Array = NDArray[np.float64]

MAX_SIGMA = 100.0
"""Beyond it a Gaussian would be wider than any kernel may be."""

_DEVIATIONS = 3
"""Standard deviations that a Gaussian reaches."""


def _real(type_: PixelType) -> PixelType:
    return FLOAT if type_.precision == "float" else DOUBLE


@of_numbers("Image.derivative")
def derivative(image: Image) -> Image:
    """Bands ``<band>_x`` and ``<band>_y``: half the difference between the pixels on either side, to the right and downwards."""
    return image.with_bands(each for band in image.bands for each in (_slope(band, "x"), _slope(band, "y")))


def _slope(band: Band, axis: str) -> Band:
    step = (0, 1) if axis == "x" else (1, 0)
    type_ = _real(band.type)

    def compute(padded: Padded, _grid: Grid) -> Raster:
        before, after = padded.shifted(-step[0], -step[1]), padded.shifted(*step)
        mask = np.minimum.reduce([before.mask, after.mask, padded.shifted(0, 0).mask])
        return settled((_known(after) - _known(before)) / 2, mask, type_)

    node = Neighbourhood(band.node, lambda _grid: (step[0], step[0], step[1], step[1]), compute)
    return replace(band, name=f"{band.name}_{axis}", type=type_, node=node)


def _known(raster: Raster) -> Array:
    """Values in double; what is masked is 0, so that garbage under a mask spoils nothing."""
    return np.where(raster.mask > 0, raster.values, 0).astype(np.float64)


@of_numbers("Image.zeroCrossing")
def zero_crossing(image: Image) -> Image:
    """1 where the pixel to the right, below or diagonally below has the opposite sign (Earth Engine's guide to edges)."""

    def compute(padded: Padded, _grid: Grid) -> Raster:
        centre = padded.shifted(0, 0)
        crossed = np.zeros(centre.mask.shape, np.bool_)
        for row, col in ((0, 1), (1, 0), (1, 1)):
            near = padded.shifted(row, col)
            crossed |= (np.sign(_known(centre)) * np.sign(_known(near))) < 0
        return settled(crossed.astype(np.uint8), centre.mask, BOOLEAN)

    return image.each(
        lambda band: band.computed(Neighbourhood(band.node, lambda _grid: (0, 1, 0, 1), compute), BOOLEAN)
    )


@of_numbers("CannyEdgeDetector")
def canny(image: Image, threshold: float, sigma: float = 1.0) -> Image:
    """The size of the gradient on the crests of edges, 0 elsewhere: J. Canny, "A computational approach to edge detection", 1986.

    There is one threshold only, hence no hysteresis.
    """
    if not 0 <= sigma <= MAX_SIGMA:
        raise invalid(f"CannyEdgeDetector: 'sigma' must be from 0 to {MAX_SIGMA:g}, got {sigma:g}.")
    weights = _gaussian(sigma)
    rim = len(weights) // 2 + 2

    def edges(band: Band) -> Band:
        type_ = _real(band.type)

        def detected(padded: Padded, _grid: Grid) -> Raster:
            smooth, mask = _smoothed(_known(Raster(padded.values, padded.mask)), padded.mask, weights)
            sizes, right, down, known = _gradient(smooth, mask)
            crest = _crests(sizes, right, down) & (sizes > threshold)[1:-1, 1:-1]
            return settled(np.where(crest, sizes[1:-1, 1:-1], 0.0), known[1:-1, 1:-1], type_)

        return band.computed(Neighbourhood(band.node, lambda _grid: (rim, rim, rim, rim), detected), type_)

    return image.each(edges)


def _gaussian(sigma: float) -> Array:
    """Weights of a row of pixels that sum to one."""
    radius = int(np.ceil(_DEVIATIONS * sigma))
    if radius == 0:
        return np.ones(1)
    steps = np.arange(-radius, radius + 1.0)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def _smoothed(values: Array, mask: Mask, weights: Array) -> tuple[Array, Mask]:
    """A separable filter without its rim, masked where a pixel under a weight is."""
    for axis in (0, 1):
        length = values.shape[axis] - len(weights) + 1
        parts = [np.arange(place, place + length) for place in range(len(weights))]
        total, least = np.zeros_like(values.take(parts[0], axis)), mask.take(parts[0], axis)
        for part, weight in zip(parts, weights, strict=True):
            deadline.check()
            total += weight * values.take(part, axis)
            least = np.minimum(least, mask.take(part, axis))
        values, mask = total, least
    return values, mask


def _gradient(values: Array, mask: Mask) -> tuple[Array, Array, Array, Mask]:
    """The gradient's size, its parts to the right and downwards, and where it is known, without the outermost pixels."""
    right, down = (values[1:-1, 2:] - values[1:-1, :-2]) / 2, (values[2:, 1:-1] - values[:-2, 1:-1]) / 2
    known = np.minimum.reduce([mask[1:-1, 2:], mask[1:-1, :-2], mask[2:, 1:-1], mask[:-2, 1:-1], mask[1:-1, 1:-1]])
    return np.where(known > 0, np.hypot(right, down), 0.0), right, down, known


_OCTANTS = ((0, 1), (1, 1), (1, 0), (1, -1))
"""Rows and columns to the next pixel in the directions 0, 45, 90 and 135 degrees."""


def _crests(sizes: Array, right: Array, down: Array) -> NDArray[np.bool_]:
    """Where the gradient is no smaller than behind, and larger than ahead, along the nearest of four directions."""
    height, width = sizes.shape
    inner = sizes[1:-1, 1:-1]
    octant = np.floor(np.degrees(np.arctan2(down, right))[1:-1, 1:-1] / 45 + 0.5).astype(np.int64) % 4
    crest = np.zeros(inner.shape, np.bool_)
    for number, (row, col) in enumerate(_OCTANTS):
        ahead = _moved(sizes, row, col, height, width)
        behind = _moved(sizes, -row, -col, height, width)
        crest |= (octant == number) & (inner > ahead) & (inner >= behind)
    return crest


def _moved(values: Values, row: int, col: int, height: int, width: int) -> Values:
    return values[1 + row : height - 1 + row, 1 + col : width - 1 + col]
