"""Pixels as mixtures of known spectra, by least squares with or without constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.promote import as_list, as_number
from airflow_ee.emulator.functions.together import results
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.image import Band, Image

Matrix = NDArray[np.float64]

MAX_NON_NEGATIVE = 10
"""Spectra that may be mixed without negative shares: all their subsets are tried."""

_HAIR = 1e-12
"""A share this little below 0 is 0 but for rounding."""


@of_numbers("Image.unmix")
def unmix(image: Image, endmembers: list[Any], sum_to_one: bool = False, non_negative: bool = False) -> Image:
    """The share of each spectrum in bands ``band_0`` and so on."""
    spectra = _spectra(endmembers, len(image.bands))
    count = spectra.shape[1]
    if non_negative and count > MAX_NON_NEGATIVE:
        raise invalid(f"Image.unmix of more than {MAX_NON_NEGATIVE} endmembers with 'nonNegative' is not emulated")
    share = partial(_shares, spectra, sum_to_one=sum_to_one, non_negative=non_negative)
    together = Pointwise(share, *(band.node for band in image.bands))
    nodes = results(together, [DOUBLE] * count)
    base = image.bands[0]
    return image.with_bands(
        Band(f"band_{number}", DOUBLE, node, base.projection, base.extent) for number, node in enumerate(nodes)
    )


def _spectra(endmembers: Sequence[Any], bands: int) -> Matrix:
    """A column for each endmember."""
    rows = [[float(as_number(value)) for value in as_list(each)] for each in endmembers]
    if not rows or not bands:
        raise invalid("Image.unmix: at least one endmember and one band are needed.")
    wrong = next((row for row in rows if len(row) != bands), None)
    if wrong is not None:
        raise invalid(f"Image.unmix: every endmember needs {bands} values, one for each band, got {len(wrong)}.")
    return np.array(rows).T


def _shares(spectra: Matrix, *rasters: Raster, sum_to_one: bool, non_negative: bool) -> Raster:
    shape = np.broadcast_shapes(*(raster.values.shape for raster in rasters))
    mask = np.minimum.reduce([np.broadcast_to(raster.mask, shape) for raster in rasters])
    pixels = np.stack([np.broadcast_to(raster.values, shape) for raster in rasters]).astype(np.float64)
    pixels = np.where(mask > 0, pixels, 0.0).reshape(len(rasters), -1)
    solve = _least_squares_of_subsets if non_negative else _least_squares
    found = solve(spectra, pixels, sum_to_one)
    count = spectra.shape[1]
    return Raster(found.reshape(count, *shape), np.broadcast_to(mask, (count, *shape)))


def _least_squares(spectra: Matrix, pixels: Matrix, sum_to_one: bool) -> Matrix:
    """The pseudo-inverse times each pixel; with shares that sum to one, those of all but the last spectrum are free."""
    if not sum_to_one:
        return _product(_inverse(spectra), pixels)
    last = spectra[:, -1:]
    free = _product(_inverse(spectra[:, :-1] - last), pixels - last)
    return np.concatenate([free, 1 - free.sum(axis=0, keepdims=True)])


def _inverse(matrix: Matrix) -> Matrix:
    """The pseudo-inverse; of a matrix without columns one without rows."""
    return np.asarray(np.linalg.pinv(matrix), dtype=np.float64) if matrix.size else matrix.T


def _product(matrix: Matrix, pixels: Matrix) -> Matrix:
    """A matrix times every pixel, added up in the order of the bands: libraries' order hangs on how many pixels there are."""
    total = np.zeros((len(matrix), pixels.shape[1]))
    for column, values in zip(matrix.T, pixels, strict=True):
        total += column[:, None] * values
    return total


def _least_squares_of_subsets(spectra: Matrix, pixels: Matrix, sum_to_one: bool) -> Matrix:
    """The best mixture without negative shares: that of the spectra that take part, which one of the subsets is."""
    count = spectra.shape[1]
    best = np.zeros((count, pixels.shape[1]))
    missed = np.full(pixels.shape[1], np.inf) if sum_to_one else (pixels**2).sum(axis=0)
    for subset in _subsets(count):
        deadline.check()
        shares = np.zeros_like(best)
        shares[list(subset)] = _least_squares(spectra[:, subset], pixels, sum_to_one)
        rest = ((pixels - _product(spectra, shares)) ** 2).sum(axis=0)
        better = (shares >= -_HAIR).all(axis=0) & (rest < missed)
        best[:, better], missed[better] = np.maximum(shares[:, better], 0.0), rest[better]
    return best


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    return (subset for size in range(1, count + 1) for subset in combinations(range(count), size))
