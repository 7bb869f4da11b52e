"""Coarse pixels from all the fine ones that they cover, each by the share of the area that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import spread_raster
from airflow_ee.emulator.pixels.crs import convert
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import MAX_REPROJECTED_PIXELS, Demand, Node, Raster

Array = NDArray[np.float64]
Combine = Callable[[Array, Array], Raster]
"""A raster from values and weights, whose first axis is to be combined."""

_NO_AREA = 1e-9
"""Shares of a pixel that come from rounding alone."""

_STACK_CELLS = 4_000_000


class Aggregated(Node):
    """A node on its own lattice, combined into the pixels of any other grid."""

    def __init__(self, node: Node, projection: Projection, combine: Combine, max_pixels: int) -> None:
        self._node = node
        self._projection = projection
        self._combine = combine
        self._max_pixels = max_pixels

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The window of the lattice under the grid."""
        return ((self._node, self._window(*self._corners(grid))),)

    def _corners(self, grid: Grid) -> tuple[Array, Array]:
        """Rows and columns of the lattice at the corners of the grid's pixels."""
        rows = np.arange(grid.row, grid.row + grid.height + 1, dtype=np.float64)[:, None]
        cols = np.arange(grid.col, grid.col + grid.width + 1, dtype=np.float64)[None, :]
        x, y = (np.ascontiguousarray(each) for each in np.broadcast_arrays(*grid.projection.corners(rows, cols)))
        at = self._projection.positions(*convert(grid.projection.crs, self._projection.crs, x, y))
        return _whole_where_near(at.rows), _whole_where_near(at.cols)

    def _window(self, rows: Array, cols: Array) -> Grid:
        known = np.isfinite(rows) & np.isfinite(cols)
        if not known.any():
            return Grid(self._projection, row=0, col=0, height=1, width=1)
        row, col = int(np.floor(rows[known].min())), int(np.floor(cols[known].min()))
        height, width = int(np.ceil(rows[known].max())) - row, int(np.ceil(cols[known].max())) - col
        per_pixel = height * width / max(1, (rows.shape[0] - 1) * (rows.shape[1] - 1))
        if per_pixel > 4 * self._max_pixels + 64:
            self._refuse(per_pixel)
        if height * width > MAX_REPROJECTED_PIXELS:
            raise invalid(
                f"Image.reduceResolution: Too many input pixels at once ({width}x{height}); ask for a smaller grid."
            )
        return Grid(self._projection, row=row, col=col, height=max(1, height), width=max(1, width))

    def _refuse(self, found: float) -> None:
        raise invalid(
            "Image.reduceResolution: Too many input pixels per output pixel: found about "
            f"{found:.0f}, but maxPixels allows only {self._max_pixels}."
        )

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Combine, a few rows of the grid at once."""
        rows, cols = self._corners(grid)
        window = self._window(rows, cols)
        source = spread_raster(inputs[0], window.shape)
        step = max(1, _STACK_CELLS // max(1, grid.width * (self._max_pixels + 1)))
        parts = [self._strip(source, window, rows[top : top + step + 1], cols[top : top + step + 1])
                 for top in range(0, grid.height, step)]  # fmt: skip
        return Raster(np.concatenate([each.values for each in parts]), np.concatenate([each.mask for each in parts]))

    def _strip(self, source: Raster, window: Grid, rows: Array, cols: Array) -> Raster:
        shape = rows.shape[0] - 1, rows.shape[1] - 1
        corners = [
            (each[:-1, :-1].ravel(), each[:-1, 1:].ravel(), each[1:, 1:].ravel(), each[1:, :-1].ravel())
            for each in (rows, cols)
        ]
        down, across = np.array(corners[0]), np.array(corners[1])
        lost = np.asarray(~(np.isfinite(down) & np.isfinite(across)).all(axis=0))
        down, across = np.where(lost, 0.0, down), np.where(lost, 0.0, across)
        if lost.size == 1:  # numpy sums a lone pixel in another order, and tiles would show
            down, across, lost = down.repeat(2, axis=1), across.repeat(2, axis=1), lost.repeat(2)
        shares, areas, top, left = _shares(down, across)
        if areas.max(initial=0) > self._max_pixels * (1 + 1e-6):
            self._refuse(areas.max())
        # Only now from the window's own corner: the shares must not hang on which window it is, not by a bit.
        values, weights = _gathered(source, shares, top - window.row, left - window.col)
        weights *= ~lost
        combined = self._combine(values, weights)
        size = shape[0] * shape[1]
        return Raster(combined.values[:size].reshape(shape), combined.mask[:size].reshape(shape))


def _whole_where_near(positions: Array) -> Array:
    known = np.where(np.isfinite(positions), positions, 0.0)
    near = np.rint(known)
    return np.asarray(np.where((np.abs(known - near) < 1e-6) & (known == positions), near, positions))


def _shares(down: Array, across: Array) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Of quadrilaterals: the share of each that lies in each cell of its window, their areas, and the windows' corners.

    ``down`` and ``across`` have a row for each of the four vertices. The shares are of shape (rows, columns, quadrilaterals).
    """
    top, left = (np.floor(each.min(axis=0)).astype(np.int64) for each in (down, across))
    height = int((np.ceil(down.max(axis=0)) - top).max(initial=1))
    width = int((np.ceil(across.max(axis=0)) - left).max(initial=1))
    y, x = down - top, across - left
    below = np.zeros((height + 1, width + 1, y.shape[1]))
    for row in range(height + 1):
        for col in range(width + 1):
            below[row, col] = sum(_under(x[i], y[i], x[i - 3], y[i - 3], float(col), float(row)) for i in range(4))
    cells = np.abs(np.diff(np.diff(below, axis=0), axis=1))
    areas = np.abs(sum(x[i] * y[i - 3] - x[i - 3] * y[i] for i in range(4))) / 2
    shares = np.divide(cells, areas, out=np.zeros_like(cells), where=areas > 0)
    return np.where(shares > _NO_AREA, shares, 0.0), areas, top, left


def _under(x1: Array, y1: Array, x2: Array, y2: Array, x: float, y: float) -> Array:
    """Signed area below an edge, of what lies left of ``x``, cut off at ``y``: summed round a polygon, its area in a corner."""
    forward = x2 >= x1
    start, end = np.where(forward, x1, x2), np.where(forward, x2, x1)
    low, high = np.where(forward, y1, y2), np.where(forward, y2, y1)
    run = end - start
    slope = np.divide(high - low, run, out=np.zeros_like(run), where=run > 0)
    last = np.minimum(end, x)
    length = np.maximum(last - start, 0.0)
    one, two = low - y, low + slope * length - y
    least, most = np.minimum(one, two), np.maximum(one, two)
    crossing = np.divide(least**2, 2 * (most - least), out=np.zeros_like(least), where=most > least)
    mean = np.where(most <= 0, (one + two) / 2, np.where(least >= 0, 0.0, -crossing))
    return np.asarray(np.where(forward, 1.0, -1.0) * length * (y + mean))


def _gathered(source: Raster, shares: Array, top: NDArray[np.int64], left: NDArray[np.int64]) -> tuple[Array, Array]:
    """The values of every quadrilateral's cells, and their weights: share times mask."""
    height, width = source.values.shape
    rows = np.arange(shares.shape[0])[:, None, None] + top
    cols = np.arange(shares.shape[1])[None, :, None] + left
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    rows, cols = np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)
    weights = shares * inside * source.mask[rows, cols]
    values = np.where(weights > 0, source.values[rows, cols], 0).astype(np.float64)
    return values.reshape(-1, values.shape[2]), weights.reshape(-1, values.shape[2])
