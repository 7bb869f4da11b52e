"""The pixels of regions, fetched without those between them.

An image is cut into windows around the pixels that regions have, each small enough for one request. What lies between
regions is not fetched, so bytes grow with the regions and not with the area that they are strewn over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.fetch import PixelFetcher, run_bounded
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pixels import PixelSource, fetch_canvas
from airflow_ee.core.plan import plan_tiles
from airflow_ee.core.settings import Limits
from airflow_ee.core.weights import Zone

__all__ = ["PickedPixels", "Pixels", "Sampler", "WholeGrid", "Window", "plan_windows"]

SMALL_WINDOW_PIXELS = 65_536
"""A window of so many pixels is not cut further, however empty: a request more would cost more than its bytes."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Values and validity by band, all of one shape."""

    content: Mapping[str, tuple[Array, npt.NDArray[np.bool_]]]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(self.content)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each band."""
        return next(iter(self.content.values()))[1].shape

    def band(self, name: str) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Values and validity of one band."""
        return self.content[name]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A part of a grid that is fetched at once."""

    row: int
    col: int
    rows: int
    cols: int
    chosen: Array
    """Which of the wanted pixels lie in it, as indices."""

    @property
    def pixels(self) -> int:
        """Number of pixels that are fetched."""
        return self.rows * self.cols


@dataclass(frozen=True, slots=True, eq=False)
class WholeGrid:
    """Every pixel of a grid, as a raster needs them; arrays have the grid's shape."""

    grid: PixelGrid
    zones: tuple[Zone, ...]

    @property
    def pixels(self) -> int:
        """Pixels that are fetched of each image."""
        return self.grid.pixels

    @property
    def size(self) -> int:
        """Pixels that are kept of each image."""
        return self.grid.pixels

    def check(self) -> None:
        """Refuse a grid that no raster can have."""
        self.grid.check_sides()

    def requests(self, bytes_per_pixel: int, limits: Limits) -> int:
        """Requests for each image."""
        return sum(1 for _ in plan_tiles(self.grid, bytes_per_pixel=bytes_per_pixel, limits=limits))

    def fetch(self, fetcher: PixelFetcher, source: PixelSource, directory: Path) -> Pixels:
        """The pixels of an image."""
        canvas = Canvas(self.grid, source.names, directory)
        fetch_canvas(fetcher, source, canvas)
        return Pixels({name: canvas.band(name) for name in source.names})

    def pick(self, zone: int, array: Array) -> Array:
        """The values of a zone, row by row."""
        picked: Array = array.reshape(-1)[self.zones[zone].positions]
        return picked


@dataclass(frozen=True, slots=True, eq=False)
class PickedPixels:
    """Only the pixels of zones, one zone after the other; arrays have one dimension."""

    grid: PixelGrid
    zones: tuple[Zone, ...]
    most_pixels: int
    """Of one request."""
    windows: tuple[Window, ...] = field(init=False)
    _positions: Array = field(init=False)
    _starts: Array = field(init=False)

    def __post_init__(self) -> None:
        positions = np.concatenate([np.empty(0, np.int64), *(zone.positions for zone in self.zones)])
        starts = np.cumsum([0, *(zone.positions.size for zone in self.zones)])
        object.__setattr__(self, "_positions", positions)
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "windows", plan_windows(positions, self.grid.width, self.most_pixels))

    @property
    def pixels(self) -> int:
        """Pixels that are fetched of each image."""
        return sum(window.pixels for window in self.windows)

    @property
    def size(self) -> int:
        """Pixels that are kept of each image; those of two zones count twice."""
        return int(self._positions.size)

    def check(self) -> None:
        """Nothing to refuse: no side of a window is longer than a request's may be."""

    def requests(self, bytes_per_pixel: int, limits: Limits) -> int:
        """Requests for each image."""
        grids = (self._grid_of(window) for window in self.windows)
        return sum(
            1 for grid in grids for _ in plan_tiles(grid, bytes_per_pixel=bytes_per_pixel, limits=limits)
        )  # fmt: skip

    def fetch(self, fetcher: PixelFetcher, source: PixelSource, directory: Path) -> Pixels:
        """The pixels of an image."""
        values: list[Array] = []
        valid = [np.zeros(self.size, bool) for _ in source.names]
        for window, canvas in self._canvases(fetcher, source, directory):
            if not values:
                values = [np.zeros(self.size, band.dtype) for band in canvas.values]
            rows, cols = np.divmod(self._positions[window.chosen], self.grid.width)
            at = (rows - window.row, cols - window.col)
            for index, name in enumerate(source.names):
                band, good = canvas.band(name)
                values[index][window.chosen], valid[index][window.chosen] = band[at], good[at]
        if not values:
            values = [np.zeros(0, band.dtype) for band in source.bands]
        content = zip(values, valid, strict=True)
        return Pixels(dict(zip(source.names, content, strict=True)))

    def pick(self, zone: int, array: Array) -> Array:
        """The values of a zone, row by row."""
        return array[self._starts[zone] : self._starts[zone + 1]]

    def _canvases(self, fetcher: PixelFetcher, source: PixelSource, directory: Path) -> Iterator[tuple[Window, Canvas]]:
        def fetch(index: int) -> Canvas:
            canvas = Canvas(self._grid_of(self.windows[index]), source.names, directory / f"window-{index}")
            fetch_canvas(fetcher, source, canvas)
            return canvas

        windows, check = range(len(self.windows)), fetcher.client.check_not_stopped
        for index, canvas in run_bounded(windows, fetch, concurrency=fetcher.concurrency, check=check):
            yield self.windows[index], canvas

    def _grid_of(self, window: Window) -> PixelGrid:
        return self.grid.window(row=window.row, col=window.col, rows=window.rows, cols=window.cols)


Sampler = WholeGrid | PickedPixels


def plan_windows(positions: Array, width: int, most_pixels: int) -> tuple[Window, ...]:
    """Windows that hold all wanted pixels, each once, in few requests and without fetching much else.

    No window has more than ``most_pixels``, nor a side longer than its root. One of more than 65,536 pixels is cut in four
    where that saves half of what would be fetched.

    Parameters
    ----------
    positions
        ``row * width + column`` of the wanted pixels, in any order; one may be there several times.

    Examples
    --------
    >>> [(window.row, window.col, window.pixels) for window in plan_windows(np.array([0, 1, 10_000_000]), 1000, 10**6)]
    [(0, 0, 2), (10000, 0, 1)]
    """
    if positions.size == 0:
        return ()
    rows, cols = np.divmod(positions, width)
    side = isqrt(most_pixels)
    found: list[Window] = []
    for block in _blocks(rows, cols, side):
        found.extend(_without_gaps(rows, cols, block))
    return tuple(sorted(found, key=lambda window: (window.row, window.col)))


def _blocks(rows: Array, cols: Array, side: int) -> Iterator[Array]:
    """Indices of wanted pixels, by equal blocks of their bounding rectangle that are at most ``side`` long."""
    first_row, first_col = rows.min(), cols.min()
    height, width = int(rows.max() - first_row) + 1, int(cols.max() - first_col) + 1
    block_height, block_width = ceil(height / ceil(height / side)), ceil(width / ceil(width / side))
    across = ceil(width / block_width)
    block = (rows - first_row) // block_height * across + (cols - first_col) // block_width
    order = np.argsort(block, kind="stable")
    borders = np.flatnonzero(np.diff(block[order])) + 1
    yield from np.split(order, borders)


def _without_gaps(rows: Array, cols: Array, chosen: Array) -> Sequence[Window]:
    """One window around the chosen pixels, or several smaller ones that together fetch at most half as much."""
    own_rows, own_cols = rows[chosen], cols[chosen]
    row, col = int(own_rows.min()), int(own_cols.min())
    whole = Window(row, col, int(own_rows.max()) - row + 1, int(own_cols.max()) - col + 1, chosen)
    if whole.pixels <= SMALL_WINDOW_PIXELS or chosen.size * 2 > whole.pixels:
        return [whole]
    quarter = (own_rows >= row + whole.rows // 2) * 2 + (own_cols >= col + whole.cols // 2)
    parts = [
        window
        for number in range(4)
        if (quarter == number).any()
        for window in _without_gaps(rows, cols, chosen[quarter == number])
    ]
    return parts if sum(part.pixels for part in parts) * 2 <= whole.pixels else [whole]
