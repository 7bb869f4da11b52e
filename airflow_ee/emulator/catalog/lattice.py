"""Nodes of simulated pixels: a value for each pixel of a native lattice, by its row and column."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.grid import OUTSIDE, Grid
from airflow_ee.emulator.pixels.raster import Node, Raster
from airflow_ee.emulator.pixels.types import PixelType

Shade = Callable[[Field, Field, Field, Field], tuple[Field, Field]]
"""Values and mask from longitude, latitude, row and column."""


class LatticeNode(Node):
    """Answers a grid by the nearest pixels of the native lattice, each computed at its own centre."""

    def __init__(self, native: Grid, type_: PixelType, shade: Shade) -> None:
        self._native = native
        self._type = type_
        self._shade = shade

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """The pixels whose centres the lattice knows; the others are masked."""
        native = self._native
        sites = grid.sites_in(native.projection)
        inside = (sites.rows >= native.row) & (sites.rows < native.row + native.height)
        inside = inside & (sites.cols >= native.col) & (sites.cols < native.col + native.width)
        nothing = np.zeros(grid.shape, self._type.dtype)
        if not inside.any():
            return Raster(nothing, np.zeros(grid.shape, np.float32))
        rows = np.where(sites.rows == OUTSIDE, native.row, sites.rows).astype(np.float64)
        cols = np.where(sites.cols == OUTSIDE, native.col, sites.cols).astype(np.float64)
        x, y = np.broadcast_arrays(*native.projection.corners(rows + 0.5, cols + 0.5))
        longitude, latitude = convert(native.projection.crs, WGS84, np.ascontiguousarray(x), np.ascontiguousarray(y))
        seen = inside & np.isfinite(longitude) & np.isfinite(latitude)
        values, mask = self._shade(
            np.where(seen, longitude, 0.0), np.where(seen, latitude, 0.0), *np.broadcast_arrays(rows, cols)
        )
        kept = np.where(seen, mask, 0.0).astype(np.float32)
        return Raster(np.where(kept > 0, self._fitted(values), nothing).astype(self._type.dtype), kept)

    def _fitted(self, values: Field) -> Field:
        low, high = self._type.range
        return np.clip(np.rint(values), low, high) if self._type.precision == "int" else values
