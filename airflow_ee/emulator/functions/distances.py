"""How far the nearest pixels that are not zero are, within a window and in one direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.together import Surroundings, results
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Margins, Neighbourhood, Padded
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT
from airflow_ee.emulator.values.image import Band, Image

Array = NDArray[np.float64]

MAX_NEIGHBOURHOOD = 1024
"""Pixels on each side that may be looked at."""

_METRICS: dict[str, Callable[[int, Array], Array]] = {
    "squared_euclidean": lambda across, down: across**2 + down**2,
    "manhattan": lambda across, down: across + down,
    "chebyshev": np.maximum,
}
"""A distance from the steps to the side and those up or down."""


def checked_margins(neighborhood: int, units: str, function: str) -> Margins:
    """The window of a distance transform."""
    if units != "pixels":
        raise invalid(f"{function}: Unknown units '{units}'; only 'pixels' are supported.")
    if not 1 <= neighborhood <= MAX_NEIGHBOURHOOD:
        raise invalid(f"{function}: 'neighborhood' must be from 1 to {MAX_NEIGHBOURHOOD}, got {neighborhood}.")
    return neighborhood, neighborhood, neighborhood, neighborhood


def only_band(image: Image, function: str) -> Band:
    """The band of an image that must not have others."""
    if len(image.bands) != 1:
        raise invalid(f"{function}: the image must have one band, got {len(image.bands)}.")
    return image.bands[0]


@of_numbers("Image.fastDistanceTransform")
def fast_distance_transform(
    image: Image, neighborhood: int = 256, units: str = "pixels", metric: str = "squared_euclidean"
) -> Image:
    """The distance in pixels, squared by default, to the nearest pixel that is not zero; masked where the window has none."""
    function = "Image.fastDistanceTransform"
    margins = checked_margins(neighborhood, units, function)
    if metric not in _METRICS:
        raise invalid(f"{function}: Unknown metric '{metric}'; use one of {', '.join(_METRICS)}.")

    def nearest(padded: Padded, _grid: Grid) -> Raster:
        down = _vertical((padded.values != 0) & (padded.mask > 0), neighborhood)
        width = padded.values.shape[1] - 2 * neighborhood
        best = np.full((len(down), width), np.inf)
        for shift in range(2 * neighborhood + 1):
            deadline.check()
            np.minimum(best, _METRICS[metric](abs(shift - neighborhood), down[:, shift : shift + width]), out=best)
        return settled(best, np.ones(best.shape, np.float32), FLOAT)

    band = only_band(image, function)
    node = Neighbourhood(band.node, lambda _grid: margins, nearest)
    return image.with_bands([Band("distance", FLOAT, node, band.projection, band.extent)])


def _vertical(marked: NDArray[np.bool_], reach: int) -> Array:
    """Steps to the nearest marked pixel up or down, without the rim above and below; infinite beyond the reach."""
    steps = np.where(marked, 0.0, np.inf)
    for order in (range(1, len(steps)), range(len(steps) - 2, -1, -1)):
        before = -1 if order.step > 0 else 1
        for row in order:
            np.minimum(steps[row], steps[row + before] + 1, out=steps[row])
    inner = steps[reach : len(steps) - reach]
    return np.where(inner <= reach, inner, np.inf)


@of_numbers("Image.rsedTransform")
def rsed_transform(image: Image, neighborhood: int = 256, units: str = "pixels") -> Image:
    """The highest of the parabolas that hang from the pixels: their value less the squared distance, and not below 0."""
    margins = checked_margins(neighborhood, units, "Image.rsedTransform")

    def highest(padded: Padded, _grid: Grid) -> Raster:
        heights = np.where((padded.mask > 0) & (padded.values != 0), padded.values, -np.inf).astype(np.float64)
        for axis in (0, 1):
            heights = _raised(heights, neighborhood, axis)
        return settled(np.maximum(heights, 0.0), np.ones(heights.shape, np.float32), DOUBLE)

    return image.each(lambda band: band.computed(Neighbourhood(band.node, lambda _grid: margins, highest), DOUBLE))


def _raised(heights: Array, reach: int, axis: int) -> Array:
    length = heights.shape[axis] - 2 * reach
    best = np.full((length, heights.shape[1]) if axis == 0 else (heights.shape[0], length), -np.inf)
    for shift in range(2 * reach + 1):
        deadline.check()
        part = heights[shift : shift + length] if axis == 0 else heights[:, shift : shift + length]
        np.maximum(best, part - (shift - reach) ** 2, out=best)
    return best


@of_numbers("Image.directionalDistanceTransform")
def directional_distance_transform(
    source: Image, angle: float, max_distance: int, label_band: str | None = None
) -> Image:
    """``distance`` in pixels to the first pixel that is not zero, going counter-clockwise from the right; masked where none comes.

    Earth Engine's tutorial on cloud shadows goes that way: 90 less the azimuth of the sun leads towards the sun. With a label
    band the other bands have the values of the pixel that is found.
    """
    function = "Image.directionalDistanceTransform"
    if not 1 <= max_distance <= MAX_NEIGHBOURHOOD:
        raise invalid(f"{function}: 'maxDistance' must be from 1 to {MAX_NEIGHBOURHOOD}, got {max_distance}.")
    label = only_band(source, function) if label_band is None else source.band(label_band, function=function)
    others = [band for band in source.bands if band is not label]
    ray = walk(angle, max_distance)
    margins = reach(ray)
    node = Surroundings([label.node, *(band.node for band in others)], lambda _grid: margins, partial(_found, ray))
    types = [FLOAT, *(band.type for band in others)]
    bands = zip(["distance", *(band.name for band in others)], types, results(node, types), strict=True)
    return source.with_bands(Band(*each, label.projection, label.extent) for each in bands)


def reach(ray: Sequence[tuple[int, int]]) -> Margins:
    """The rim that a ray from every pixel needs."""
    rows, cols = [row for row, _ in ray], [col for _, col in ray]
    return -min(0, *rows), max(0, *rows), -min(0, *cols), max(0, *cols)


def walk(angle: float, most: int) -> list[tuple[int, int]]:
    """Rows and columns of the pixels along a ray, a step of the longer side at a time, from the pixel itself on."""
    turned = np.radians(angle)
    down, right = -np.sin(turned), np.cos(turned)
    longer = max(abs(down), abs(right))
    steps = [(round(step * down / longer), round(step * right / longer)) for step in range(most + 1)]
    return [(row, col) for row, col in steps if np.hypot(row, col) <= most]


def _found(ray: Sequence[tuple[int, int]], padded: Sequence[Padded], _grid: Grid) -> Raster:
    """The distance, and each other band at the pixel that was found."""
    label, *others = padded
    shape = label.shifted(0, 0).mask.shape
    values = np.zeros((len(padded), *shape))
    mask = np.zeros(values.shape, np.float32)
    open_ = np.ones(shape, np.bool_)
    for row, col in ray:
        deadline.check()
        near = label.shifted(row, col)
        hit = open_ & (near.values != 0) & (near.mask > 0)
        values[0][hit], mask[0][hit] = np.hypot(row, col), 1
        for place, other in enumerate(others, 1):
            seen = other.shifted(row, col)
            values[place][hit], mask[place][hit] = seen.values[hit], seen.mask[hit]
        open_ &= ~hit
    return Raster(values, mask)
