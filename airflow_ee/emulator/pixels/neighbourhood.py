"""Pixels computed from those around them, in the grid that is asked for: the zoom decides how far a kernel reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import MAX_REPROJECTED_PIXELS, Demand, Mask, Node, Raster, Values

Margins = tuple[int, int, int, int]
"""Pixels above, below, to the left and to the right."""


class Padded(NamedTuple):
    """A raster with a rim around the grid that is to be answered."""

    values: Values
    mask: Mask
    margins: Margins

    def shifted(self, row: int, col: int) -> Raster:
        """The raster as every pixel sees its neighbour ``row`` below and ``col`` to the right."""
        top, bottom, left, right = self.margins
        height, width = self.values.shape[0] - top - bottom, self.values.shape[1] - left - right
        window = (slice(top + row, top + row + height), slice(left + col, left + col + width))
        return Raster(self.values[window], self.mask[window])

    def windows(self, values: Values) -> Values:
        """A view of each pixel's whole neighbourhood: an axis for its rows and one for its columns."""
        top, bottom, left, right = self.margins
        return sliding_window_view(values, (top + bottom + 1, left + right + 1))


def rimmed(grid: Grid, margins: Margins) -> Grid:
    """A grid with a rim; rims on top of rims have an end, so that memory has one."""
    top, bottom, left, right = margins
    wider = grid.window(row=-top, col=-left, height=grid.height + top + bottom, width=grid.width + left + right)
    if wider.height * wider.width > MAX_REPROJECTED_PIXELS:
        raise invalid("User memory limit exceeded.")
    return wider


class Neighbourhood(Node):
    """A function of a band's pixels and a rim around them."""

    def __init__(
        self, node: Node, margins: Callable[[Grid], Margins], function: Callable[[Padded, Grid], Raster]
    ) -> None:
        self._node = node
        self._margins = margins
        self._function = function

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The band on a grid with a rim."""
        return ((self._node, self._rimmed(grid)),)

    def _rimmed(self, grid: Grid) -> Grid:
        return rimmed(grid, self._margins(grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Apply the function to the rimmed pixels."""
        shape = self._rimmed(grid).shape
        values, mask = (np.broadcast_to(each, shape) for each in inputs[0][:2])
        return self._function(Padded(values, mask, self._margins(grid)), grid)
