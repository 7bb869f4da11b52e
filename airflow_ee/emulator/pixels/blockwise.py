"""Pixels computed on fixed blocks of a lattice: what hangs on all pixels of a piece is the same whichever part is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Padded, rimmed
from airflow_ee.emulator.pixels.raster import BLOCK_SIDE, Demand, Node, Raster


class Blockwise(Node):
    """A function of several nodes on blocks with a rim, several results along a first axis."""

    def __init__(self, nodes: Sequence[Node], rim: int, function: Callable[[Sequence[Padded], Grid], Raster]) -> None:
        self._nodes = tuple(nodes)
        self._margins = (rim, rim, rim, rim)
        self._function = function

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Every node on every block that the grid reaches into."""
        return tuple((node, rimmed(block, self._margins)) for block in blocks_of(grid) for node in self._nodes)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """The blocks' results put together."""
        parts, count = [], len(self._nodes)
        for number, block in enumerate(blocks_of(grid)):
            shape = rimmed(block, self._margins).shape
            rasters = inputs[number * count : (number + 1) * count]
            padded = [
                Padded(np.broadcast_to(r.values, shape), np.broadcast_to(r.mask, shape), self._margins) for r in rasters
            ]
            parts.append((block, self._function(padded, block)))
        depth, dtype = len(parts[0][1].values), parts[0][1].values.dtype
        whole = Raster(np.zeros((depth, *grid.shape), dtype), np.zeros((depth, *grid.shape), np.float32))
        for block, part in parts:
            ours, theirs = _overlap(grid, block)
            whole.values[(slice(None), *ours)] = part.values[(slice(None), *theirs)]
            whole.mask[(slice(None), *ours)] = part.mask[(slice(None), *theirs)]
        return whole


def blocks_of(grid: Grid) -> Iterator[Grid]:
    """The blocks of the lattice that a grid reaches into.

    >>> from airflow_ee.emulator.pixels.crs import WGS84
    >>> from airflow_ee.emulator.pixels.grid import Projection
    >>> [(block.row, block.col) for block in blocks_of(Grid(Projection(WGS84), row=-1, col=10, height=2, width=2))]
    [(-256, 0), (0, 0)]
    """
    for row in range(grid.row // BLOCK_SIDE, (grid.row + grid.height - 1) // BLOCK_SIDE + 1):
        for col in range(grid.col // BLOCK_SIDE, (grid.col + grid.width - 1) // BLOCK_SIDE + 1):
            side = BLOCK_SIDE
            yield Grid(grid.projection, row=row * side, col=col * side, height=side, width=side)


def _overlap(grid: Grid, block: Grid) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The common pixels as the grid and as the block count them."""
    top, left = max(grid.row, block.row), max(grid.col, block.col)
    bottom = min(grid.row + grid.height, block.row + block.height)
    right = min(grid.col + grid.width, block.col + block.width)
    ours, theirs = (
        (slice(top - each.row, bottom - each.row), slice(left - each.col, right - each.col)) for each in (grid, block)
    )
    return ours, theirs
