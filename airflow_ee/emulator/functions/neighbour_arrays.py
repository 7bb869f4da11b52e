"""Each pixel's neighbours as an array or as bands of their own, and the bits of whole numbers as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.array_bands import Plan, each_band
from airflow_ee.emulator.functions.casts import converted
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.neighbourhoods import around
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.batches import Batch
from airflow_ee.emulator.pixels.cells import check_cells
from airflow_ee.emulator.pixels.neighbourhood import Padded
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import BOOLEAN, PixelType
from airflow_ee.emulator.values.image import Band, Image, check_bands, check_plain
from airflow_ee.emulator.values.kernel import Kernel, Weights

_BITS = 64


@registry.implements("Image.neighborhoodToArray")
def to_array(image: Image, kernel: Kernel, default_value: float = 0) -> Image:
    """The whole of a kernel's window as rows of an array; what is masked there has the default value."""
    function = "Image.neighborhoodToArray"
    check_plain(image, function)

    def gathered(band: Band) -> Band:
        filler = converted(np.asarray(float(default_value)), band.type)

        def window(padded: Padded, weights: Weights) -> Raster:
            height, width = weights.matrix.shape
            centre = padded.shifted(0, 0)
            check_cells(height * width * centre.mask.size)
            cells = np.empty((height, width, *centre.mask.shape), band.type.dtype)
            for row in range(height):
                for col in range(width):
                    near = padded.shifted(row - weights.row, col - weights.col)
                    cells[row, col] = np.where(near.mask > 0, near.values, filler)
            return Raster(cells, centre.mask)

        return around(band, kernel, window, band.type.of_arrays(2))

    return image.each(gathered)


@registry.implements("Image.neighborhoodToBands")
def to_bands(image: Image, kernel: Kernel) -> Image:
    """A band for each neighbour whose weight is not zero, row by row: ``<band>_<x>_<y>``, counted from the pixel itself."""
    function = "Image.neighborhoodToBands"
    check_plain(image, function)
    weights = _fixed(kernel, function)
    check_bands(len(image.bands) * len(weights.cells))
    return image.with_bands(near for band in image.bands for near in _neighbours(band, kernel, weights))


def _fixed(kernel: Kernel, function: str) -> Weights:
    """The weights of a kernel that is the same at every scale."""
    weights = kernel.at(1.0)
    other = kernel.at(2.0)
    if weights.matrix.shape != other.matrix.shape:
        raise invalid(f"{function}: The kernel must be measured in pixels.")
    return weights


def _neighbours(band: Band, kernel: Kernel, weights: Weights) -> Iterator[Band]:
    for row, col, _ in weights.cells:

        def shifted(padded: Padded, _weights: Weights, row: int = row, col: int = col) -> Raster:
            return padded.shifted(row, col)

        yield replace(around(band, kernel, shifted, band.type), name=f"{band.name}_{col}_{row}")


@registry.implements("Image.bitsToArrayImage")
def bits(input: Image) -> Image:
    """The bits of whole numbers, the lowest first, up to the highest that is 1; of 0 a single 0, of negative ones all 64."""
    function = "Image.bitsToArrayImage"
    check_plain(input, function)

    def plan(type_: PixelType) -> Plan:
        if type_.precision != "int":
            raise invalid(f"{function}: Bitwise operands must be integer only.")
        return Plan(BOOLEAN.of_arrays(1), _bits)

    return each_band(input, plan)


def _bits(batch: Values) -> Batch:
    check_cells(_BITS * batch.size)
    words = batch.astype(np.int64).view(np.uint64)
    table = (words >> np.arange(_BITS, dtype=np.uint64)[:, np.newaxis]) & np.uint64(1)
    lengths = np.maximum(((table > 0) * np.arange(1, _BITS + 1)[:, np.newaxis]).max(axis=0), 1)
    return Batch(table[: int(lengths.max())], lengths[np.newaxis])
