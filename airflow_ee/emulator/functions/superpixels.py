"""Superpixels grown from seeds.

R. Achanta and S. Süsstrunk, "Superpixels and polygons using simple non-iterative clustering" (2017), with the distance of the authors'
program: squared differences of the bands, and squared pixels times the square of compactness over spacing.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.together import results
from airflow_ee.emulator.pixels.blockwise import Blockwise
from airflow_ee.emulator.pixels.components import components
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Padded
from airflow_ee.emulator.pixels.raster import Node, Positional, Raster
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType
from airflow_ee.emulator.values.image import DEFAULT_PROJECTION, Band, Image

_TURN = 2**26
_LABEL = PixelType("int", 0, _TURN**2)

MAX_RIM = 256
"""Pixels around a block that may be looked at: all of them are clustered, one by one."""

_LOOK_EVERY = 1024
_STRAIGHT = ((0, 1), (1, 0), (0, -1), (-1, 0))
_DIAGONAL = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def _check_size(size: int, function: str) -> None:
    if not 1 <= size <= MAX_RIM:
        raise invalid(f"{function}: 'size' must be from 1 to {MAX_RIM}, got {size}.")


def _numbers(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each pixel of a lattice, never 0 but for one in 60 cm pixels half the Earth away."""
    return (rows % _TURN) * _TURN + cols % _TURN


@of_numbers("Image.Segmentation.seedGrid")
def seed_grid(size: int = 5, grid_type: str = "square") -> Image:
    """A band ``seeds`` with a number at each seed, masked elsewhere. Of the hexagonal grid every other row is moved by half."""
    function = "Image.Segmentation.seedGrid"
    _check_size(size, function)
    if grid_type not in ("square", "hex"):
        raise invalid(f"{function}: Unknown gridType '{grid_type}'; use 'square' or 'hex'.")
    return Image((Band("seeds", _LABEL, _seeds(size, hexagonal=grid_type == "hex")),))


def _seeds(size: int, *, hexagonal: bool) -> Node:
    height = max(1, round(size * sqrt(3) / 2)) if hexagonal else size

    def read(grid: Grid) -> Raster:
        rows = np.arange(grid.row, grid.row + grid.height, dtype=np.int64)[:, None]
        cols = np.arange(grid.col, grid.col + grid.width, dtype=np.int64)[None, :]
        aside = (rows // height % 2) * (size // 2) if hexagonal else 0
        seeded = (rows % height == height // 2) & ((cols + aside) % size == size // 2)
        return Raster(_numbers(rows, cols) * seeded, seeded.astype(np.float32))

    return Positional(read)


@of_numbers("Image.Segmentation.SNIC")
def snic(
    image: Image,
    size: int = 5,
    compactness: float = 1.0,
    connectivity: int = 8,
    neighborhood_size: int | None = None,
    seeds: Image | None = None,
) -> Image:
    """``clusters``, ``<band>_mean`` for each band, and ``seeds`` unless they were given."""
    function = "Image.Segmentation.SNIC"
    _check_size(size, function)
    rim = 2 * size if neighborhood_size is None else neighborhood_size
    if not 0 <= rim <= MAX_RIM:
        raise invalid(f"{function}: 'neighborhoodSize' must be from 0 to {MAX_RIM}, got {rim}.")
    if connectivity not in (4, 8):
        raise invalid(f"{function}: 'connectivity' must be 4 or 8, got {connectivity}.")
    if not image.bands or (seeds is not None and not seeds.bands):
        raise invalid(f"{function}: Image has no bands.")
    start = Band("seeds", _LABEL, _seeds(size, hexagonal=False), DEFAULT_PROJECTION)
    seeded = start if seeds is None else seeds.bands[0]
    rule = _Rule((compactness / size) ** 2, _STRAIGHT + _DIAGONAL if connectivity == 8 else _STRAIGHT)
    node = Blockwise([seeded.node, *(band.node for band in image.bands)], rim, partial(_clustered, rule))
    types = [_LABEL, *(FLOAT if band.type.precision == "float" else DOUBLE for band in image.bands)]
    names = ["clusters", *(f"{band.name}_mean" for band in image.bands)]
    base = image.bands[0]
    made = [Band(*each, base.projection, base.extent) for each in zip(names, types, results(node, types), strict=True)]
    return image.with_bands(made if seeds is not None else [*made, start])


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a squared pixel of distance weighs, and the steps to the neighbours."""

    weight: float
    steps: tuple[tuple[int, int], ...]


def _clustered(rule: _Rule, padded: Sequence[Padded], block: Grid) -> Raster:
    """The clusters' numbers and means in the block itself."""
    seeds, *bands = padded
    valid = np.logical_and.reduce([band.mask > 0 for band in bands])
    values = np.stack([np.where(valid, band.values, 0) for band in bands], axis=-1).astype(np.float64)
    marked = (seeds.mask > 0) & (seeds.values != 0) & valid
    firsts = components(marked, marked, eight=len(rule.steps) == 8)
    labels = _grown(values, valid, firsts, marked, rule)
    inner = seeds._replace(values=labels).shifted(0, 0).values
    known = inner >= 0
    top, _, left, _ = seeds.margins
    rows, cols = np.divmod(np.maximum(inner, 0), values.shape[1])
    numbers = _numbers(rows + block.row - top, cols + block.col - left)
    layers = [
        numbers.astype(np.float64),
        *(_means(values[..., k], labels)[np.maximum(inner, 0)] for k in range(len(bands))),
    ]
    stacked = np.where(known, np.stack(layers), 0)
    return Raster(stacked, np.broadcast_to(known.astype(np.float32), stacked.shape))


def _means(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of each cluster, at the place that its label is."""
    used = labels >= 0
    totals = np.bincount(labels[used], values[used], labels.size)
    return np.asarray(totals / np.maximum(np.bincount(labels[used], minlength=labels.size), 1))


def _grown(
    values: NDArray[np.float64],
    valid: NDArray[np.bool_],
    firsts: NDArray[np.int64],
    marked: NDArray[np.bool_],
    rule: _Rule,
) -> NDArray[np.int64]:
    """For each pixel the first seed pixel of its cluster, -1 where none came: the nearest candidate joins, and adds its neighbours."""
    height, width, depth = values.shape
    labels: list[int] = [-1] * (height * width)
    free: list[bool] = valid.ravel().tolist()
    pixels: list[list[float]] = values.reshape(-1, depth).tolist()
    queue = [(0.0, place, first) for place, first in enumerate(firsts.ravel().tolist()) if marked.flat[place]]
    sums: dict[int, list[float]] = {}
    taken = 0
    while queue:
        _, place, first = heapq.heappop(queue)
        if not free[place]:
            continue
        taken += 1
        if taken % _LOOK_EVERY == 0:
            deadline.check()
        free[place], labels[place] = False, first
        row, col = divmod(place, width)
        total = sums.setdefault(first, [0.0] * (depth + 3))
        for slot, value in enumerate((*pixels[place], row, col, 1.0)):
            total[slot] += value
        count = total[-1]
        centre = [each / count for each in total[:-1]]
        for down, right in rule.steps:
            near_row, near_col = row + down, col + right
            near = near_row * width + near_col
            if 0 <= near_row < height and 0 <= near_col < width and free[near]:
                apart = sum((one - two) ** 2 for one, two in zip(pixels[near], centre, strict=False))
                away = (near_row - centre[depth]) ** 2 + (near_col - centre[depth + 1]) ** 2
                heapq.heappush(queue, (apart + away * rule.weight, near, first))
    return np.array(labels, np.int64).reshape(height, width)
