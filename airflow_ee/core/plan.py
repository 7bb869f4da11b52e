"""Cut a grid into tiles that each fit one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

from airflow_ee.core.errors import RequestTooLarge
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.settings import Limits

__all__ = ["Tile", "plan_tiles", "split_tile"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of a larger grid that is asked for at once."""

    row: int
    """First row in the larger grid."""
    col: int
    """First column in the larger grid."""
    grid: PixelGrid
    """The tile's own grid, on the same lattice."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the larger grid, for numpy."""
        return slice(self.row, self.row + self.grid.height), slice(self.col, self.col + self.grid.width)

    def __str__(self) -> str:
        return f"tile at row {self.row}, column {self.col} ({self.grid.height} rows, {self.grid.width} columns)"


def plan_tiles(grid: PixelGrid, *, bytes_per_pixel: int, limits: Limits, block: int = 256) -> Iterator[Tile]:
    """Cut ``grid`` into row-major tiles, each a request that the service takes.

    Parameters
    ----------
    bytes_per_pixel
        Of all bands together as the service counts: value bytes plus one mask byte for each band.
    block
        Tiles start at multiples of this many pixels where the limits let them, so that a tile fills whole blocks of the
        file that it goes to.

    Examples
    --------
    >>> grid = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=5000, height=3000)
    >>> [str(tile) for tile in plan_tiles(grid, bytes_per_pixel=3, limits=Limits())][:2]
    ['tile at row 0, column 0 (2304 rows, 2304 columns)', 'tile at row 0, column 2304 (2304 rows, 2304 columns)']
    """
    maximum = min(limits.target_bytes, limits.max_request_bytes)
    budget = maximum // bytes_per_pixel
    if budget < 1:
        raise RequestTooLarge(
            f"One pixel of all bands has {bytes_per_pixel} bytes, more than the {maximum} of a request."
        )
    cols = _whole_blocks(min(grid.width, limits.max_side, max(isqrt(budget), 1)), grid.width, block)
    rows = _whole_blocks(min(grid.height, limits.max_side, budget // cols), grid.height, block)
    for row in range(0, grid.height, rows):
        for col in range(0, grid.width, cols):
            height, width = min(rows, grid.height - row), min(cols, grid.width - col)
            yield Tile(row, col, grid.window(row=row, col=col, rows=height, cols=width))


def split_tile(tile: Tile, floor_side: int) -> tuple[Tile, ...]:
    """The four quarters of a tile (two, when one side is at the floor); empty when it cannot be cut further."""
    heights = _halves(tile.grid.height, floor_side)
    widths = _halves(tile.grid.width, floor_side)
    if len(heights) == len(widths) == 1:
        return ()
    parts = []
    row = 0
    for height in heights:
        col = 0
        for width in widths:
            parts.append(
                Tile(tile.row + row, tile.col + col, tile.grid.window(row=row, col=col, rows=height, cols=width))
            )
            col += width
        row += height
    return tuple(parts)


def _whole_blocks(side: int, whole: int, block: int) -> int:
    return side if side >= whole or side < block else side // block * block


def _halves(side: int, floor_side: int) -> tuple[int, ...]:
    return (side,) if side < 2 * floor_side else (side // 2, side - side // 2)
