"""Images of where the pixels are, and images that lie elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.mixing import field
from airflow_ee.emulator.pixels.raster import Positional, Raster
from airflow_ee.emulator.pixels.types import DOUBLE, PixelType
from airflow_ee.emulator.values.image import Band, Image


def _valid_where_finite(values: NDArray[np.float64], grid: Grid) -> Raster:
    full = np.broadcast_to(values, grid.shape)
    seen = np.isfinite(full)
    return Raster(np.where(seen, full, 0.0), seen.astype(np.float32))


@registry.implements("Image.pixelCoordinates")
def pixel_coordinates(projection: Projection) -> Image:
    """Bands ``x`` and ``y``: the pixel centres in the units of a projection."""
    across = Positional(lambda grid: _valid_where_finite(grid.positions_in(projection).cols, grid))
    down = Positional(lambda grid: _valid_where_finite(grid.positions_in(projection).rows, grid))
    return Image((Band("x", DOUBLE, across, projection), Band("y", DOUBLE, down, projection)))


_PARTS = 65536
"""Parts of a pixel by which places are told apart: far coarser than rounding, far finer than lattices differ."""


def _absolute(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places counted from the coordinate system's origin: a tile that is named by its own corner sees the same numbers."""
    a, b, _, d, e, _ = grid.projection.transform
    at = Projection(grid.projection.crs, (a, b, 0.0, d, e, 0.0)).positions(*grid.centres())
    return np.rint(at.rows * _PARTS).astype(np.int64), np.rint(at.cols * _PARTS).astype(np.int64)


@registry.implements("Image.random")
def random(seed: int = 0, distribution: str = "uniform") -> Image:
    """A band ``random``: the same at the same place of the same lattice, whatever window is asked for."""
    if distribution not in ("uniform", "normal"):
        raise invalid(f"Image.random: Unknown distribution '{distribution}'; use uniform or normal.")

    def uniform(grid: Grid, salt: int) -> NDArray[np.float64]:
        return field(*_absolute(grid), 3 * seed + salt)

    def normal(grid: Grid) -> NDArray[np.float64]:
        far = np.sqrt(-2 * np.log(1 - uniform(grid, 1)))
        return np.asarray(far * np.cos(2 * np.pi * uniform(grid, 2)))

    def read(grid: Grid) -> Raster:
        values = uniform(grid, 0) if distribution == "uniform" else normal(grid)
        return Raster(values, np.ones(grid.shape, np.float32))

    type_ = PixelType("double", 0.0, 1.0) if distribution == "uniform" else DOUBLE
    return Image((Band("random", type_, Positional(read)),))
