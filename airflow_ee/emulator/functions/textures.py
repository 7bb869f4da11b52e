"""Texture from the grey-level co-occurrence matrix around each pixel.

R. Haralick et al., "Textural features for image classification" (1973), and R. Conners et al., "Segmentation of a high-resolution
urban scene using texture operators" (1984). No matrix is made: with the pairs of grey levels at hand, each mean over the matrix is a mean
over the pairs, and the share of a pair is how many of the pairs equal it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.together import Surroundings, results
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Padded
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.image import Band, Image, check_bands
from airflow_ee.emulator.values.kernel import Kernel

Array = NDArray[np.float64]
Offset = tuple[int, int]
"""Rows down and columns to the right from a pixel to its partner."""

METRICS = (
    "asm", "contrast", "corr", "var", "idm", "savg", "svar", "sent", "ent", "dvar", "dent", "imcorr1", "imcorr2", "maxcorr",
    "diss", "inertia", "shade", "prom",
)  # fmt: skip

MAX_SIZE = 12
"""Of the window: the work grows with the fourth power."""

_CELLS = 4_000_000
"""Grey levels that are laid side by side at once."""

_TINY = 1e-12

_WIDEST = 2**26
"""Levels of which pairs have exact numbers."""


@of_numbers("Image.glcmTexture")
def glcm_texture(image: Image, size: int = 1, kernel: Kernel | None = None, average: bool = True) -> Image:
    """18 bands ``<band>_<metric>`` for each band: the mean over the directions, or one for each of them."""
    function = "Image.glcmTexture"
    if not 1 <= size <= MAX_SIZE:
        raise invalid(f"{function}: 'size' must be from 1 to {MAX_SIZE}, got {size}.")
    fractional = next((band for band in image.bands if band.type.precision != "int"), None)
    if fractional is not None:
        raise invalid(f"{function}: Only integer inputs are supported; band '{fractional.name}' is not.")
    offsets = _offsets(kernel or registry.call("Kernel.square", {"radius": 1}), size)
    check_bands(len(image.bands) * len(METRICS) * (1 if average else len(offsets)))
    return image.with_bands(made for band in image.bands for made in _textures(band, size, offsets, average))


def _offsets(kernel: Kernel, size: int) -> list[Offset]:
    """The kernel's cells, each direction and distance once, from left to right and from top to bottom."""
    found: list[Offset] = []
    for row, col, _ in kernel.at(1.0).cells:
        if (row, col) != (0, 0) and (-row, -col) not in found:
            found.append((row, col))
    if not found:
        raise invalid("Image.glcmTexture: the kernel has no pixel but its centre.")
    if max(max(abs(row), abs(col)) for row, col in found) > 2 * size:
        raise invalid("Image.glcmTexture: the kernel reaches further than the neighborhood.")
    return found


def _textures(band: Band, size: int, offsets: Sequence[Offset], average: bool) -> Iterator[Band]:
    groups = [offsets] if average else [[each] for each in offsets]
    for group in groups:
        suffix = "" if average else "_{1}_{0}".format(*group[0])
        node = Surroundings([band.node], lambda _grid: (size,) * 4, partial(_measured, size, group))
        names = [f"{band.name}_{metric}{suffix}" for metric in METRICS]
        for name, each in zip(names, results(node, [DOUBLE] * len(METRICS)), strict=True):
            yield replace(band, name=name, type=DOUBLE, node=each)


def _measured(size: int, offsets: Sequence[Offset], padded: Sequence[Padded], _grid: Grid) -> Raster:
    """The metrics of every pixel whose window is known as a whole."""
    (seen,) = padded
    steps = range(-size, size + 1)
    shape = seen.shifted(0, 0).mask.shape
    mask = np.minimum.reduce([seen.shifted(row, col).mask for row in steps for col in steps])
    total = np.zeros((len(METRICS), *shape))
    for offset in offsets:
        pairs = [
            (seen.shifted(row, col).values, seen.shifted(row + offset[0], col + offset[1]).values)
            for row in steps
            for col in steps
            if row + offset[0] in steps and col + offset[1] in steps
        ]
        total += _by_strips(pairs, shape)
    return Raster(total / len(offsets), np.broadcast_to(mask, total.shape))


def _by_strips(pairs: Sequence[tuple[Array, Array]], shape: tuple[int, int]) -> Array:
    found = np.zeros((len(METRICS), *shape))
    step = max(1, _CELLS // (2 * len(pairs) * shape[1]))
    for top in range(0, shape[0], step):
        deadline.check()
        rows = slice(top, top + step)
        one, two = (np.stack([pair[side][rows] for pair in pairs]).astype(np.float64) for side in (0, 1))
        # The matrix is symmetric: every pair counts both ways round.
        found[:, rows] = _metrics(np.concatenate([one, two]), np.concatenate([two, one]))
    return found


def _metrics(one: Array, two: Array) -> Array:
    """All metrics, from the grey levels of the pairs along the first axis."""
    both, own = _shares(_paired(one, two)), _shares(one)
    total, apart = one + two, np.abs(one - two)
    middle = _mean(one)
    spread = _mean((one - middle) ** 2)
    covariance = _mean((one - middle) * (two - middle))
    entropy, single = -_mean(np.log(both)), -_mean(np.log(own))
    # Both of Haralick's HXY1 and HXY2 are the sum of the entropies of the margins, which are equal.
    joint = 2 * single
    leaning = total - 2 * middle
    return np.stack([
        _mean(both),
        _mean(apart**2),
        np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > _TINY),
        spread,
        _mean(1 / (1 + apart**2)),
        _mean(total),
        _mean((total - _mean(total)) ** 2),
        -_mean(np.log(_shares(total))),
        entropy,
        _mean((apart - _mean(apart)) ** 2),
        -_mean(np.log(_shares(apart))),
        np.divide(entropy - joint, single, out=np.zeros_like(single), where=single > _TINY),
        np.sqrt(np.maximum(0.0, 1 - np.exp(-2 * (joint - entropy)))),
        np.zeros_like(spread),
        _mean(apart),
        _mean(apart**2),
        _mean(leaning**3),
        _mean(leaning**4),
    ])  # fmt: skip


def _mean(values: Array) -> Array:
    """Pair after pair, so that a pixel's mean does not hang on the pixels beside it."""
    total = np.zeros(values.shape[1:])
    for each in values:
        total += each
    return total / len(values)


def _shares(levels: Array) -> Array:
    """The share of its like for each entry, in the order of the levels: equal ones lie side by side once they are sorted."""
    deadline.check()
    ordered = np.sort(levels, axis=0)
    places = np.arange(len(ordered))[:, None, None]
    new = np.ones(ordered.shape, np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.maximum.accumulate(np.where(new, places, 0), axis=0)
    last = np.ones_like(new)
    last[:-1] = new[1:]
    ends = np.minimum.accumulate(np.where(last, places, len(ordered))[::-1], axis=0)[::-1]
    return np.asarray((ends - starts + 1) / len(ordered))


def _paired(one: Array, two: Array) -> Array:
    """A number for each pair of levels; levels that are far apart are ranked before."""
    low, span = one.min(), one.max() - one.min() + 1
    if span > _WIDEST:
        _, ranks = np.unique(np.stack([one, two]), return_inverse=True)
        one, two = ranks.reshape(2, *one.shape).astype(np.float64)
        low, span = 0.0, ranks.max() + 1
    return np.asarray((one - low) * span + (two - low))
