"""The tiles of Sentinel-2: squares of 109.8 km on the UTM zones, named after the military grid.

The exceptions around Norway and Svalbard are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.geometry import box

SQUARE = 100_000
SIDE = 109_800
STEP = 60
"""Tiles begin on whole pixels of 60 m."""
SOUTHMOST, NORTHMOST = -56.0, 84.0
"""Latitudes of the tiles' squares: what the public catalogue says that the satellites cover."""

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = {1: "ABCDEFGH", 2: "JKLMNPQR", 0: "STUVWXYZ"}
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_SOUTH = 10_000_000
_SAMPLES = 7
_EXACT_TESTS = 64
"""So many tiles are compared with a region exactly; of more, those that come near it are taken."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile."""

    name: str
    """Such as ``32TPS``."""
    zone: int
    crs: Crs
    left: int
    """UTM coordinates of the upper left corner, in metres."""
    top: int
    square: int
    """Which of the hemisphere's squares it is, whatever the zone."""

    @property
    def bounds(self) -> Bounds:
        """In UTM metres."""
        return (self.left, self.top - SIDE, self.left + SIDE, self.top)


class _Squares(NamedTuple):
    """The squares of one hemisphere of any zone: all zones look the same from their central meridian."""

    cols: NDArray[np.int64]
    rows: NDArray[np.int64]
    latitudes: NDArray[np.float64]
    """Of the centres."""
    reach: NDArray[np.float64]
    """Bounds of the tiles: west, south, east, north in degrees, longitudes from the central meridian."""
    samples: NDArray[np.float64]
    """Longitudes from the central meridian and latitudes of places on a lattice over each tile."""


def tiles_over(bounds: Bounds) -> list[Tile]:
    """The tiles that touch a box of longitudes and latitudes, by name; for a large box some of its neighbours too."""
    return list(_tiles_over(bounds))


@lru_cache(maxsize=512)
def _tiles_over(bounds: Bounds) -> tuple[Tile, ...]:
    found = [tile for zone in range(1, 61) for south in (False, True) for tile in _near(zone, south, bounds)]
    if len(found) <= _EXACT_TESTS:
        found = [tile for tile in found if _touches(tile, bounds)]
    return tuple(sorted(found, key=lambda tile: tile.name))


def _near(zone: int, south: bool, bounds: Bounds) -> Iterator[Tile]:
    west, low, east, high = bounds
    reach, middle = _squares(south).reach, zone * 6.0 - 183.0
    within = (reach[:, 1] <= high) & (reach[:, 3] >= low)
    beside = np.zeros_like(within)
    for turn in (-360.0, 0.0, 360.0):
        beside |= (reach[:, 0] + middle + turn <= east) & (reach[:, 2] + middle + turn >= west)
    tiles = zone_tiles(zone, south) if (within & beside).any() else ()
    return (tiles[number] for number in np.flatnonzero(within & beside))


def _touches(tile: Tile, bounds: Bounds) -> bool:
    west, south, east, north = bounds
    middle = tile.zone * 6.0 - 183.0
    # A box that reaches round the Earth looks broken from the zone: its neighbourhood is all that counts.
    for turn in (-360.0, 0.0, 360.0):
        left, right = max(west + turn, middle - 60.0) - 1e-9, min(east + turn, middle + 60.0) + 1e-9
        if left < right:
            shape = box((left, max(south, -85.0) - 1e-9, right, min(north, 85.0) + 1e-9)).in_crs(tile.crs)
            if shape.intersects(box(tile.bounds, tile.crs).shape):
                return True
    return False


@lru_cache(maxsize=2)
def _squares(south: bool) -> _Squares:
    """Squares whose centre or a corner lies in the zone; tiles reach some kilometres beyond them."""
    cols, rows = (each.ravel() for each in np.meshgrid(np.arange(1, 9), np.arange(0, 100)))
    crs = Crs("EPSG:32731" if south else "EPSG:32631")

    def places(right: list[float], up: list[float], base_x: float, base_y: float) -> tuple[NDArray[np.float64], ...]:
        x = np.add.outer(cols * SQUARE + base_x, right)
        y = np.add.outer(rows * SQUARE + base_y, up)
        longitudes, latitudes = convert(crs, WGS84, np.ascontiguousarray(x), np.ascontiguousarray(y))
        return longitudes - 3.0, latitudes

    half, full = SQUARE / 2, float(SQUARE)
    longitudes, latitudes = places([0, full, 0, full, half], [0, 0, full, full, half], 0, 0)
    centre = latitudes[:, 4]
    kept = (np.abs(longitudes) <= 3.0).any(axis=1) & (centre >= SOUTHMOST) & (centre < NORTHMOST)
    kept &= (centre < 0) == south
    full = float(SIDE)
    steps = [full * number / (_SAMPLES - 1) for number in range(_SAMPLES)]
    longitudes, latitudes = places(steps * _SAMPLES, [step for step in steps for _ in steps], -STEP / 2, SQUARE - SIDE)
    margin = 0.01
    reach = np.column_stack(
        [
            longitudes.min(axis=1) - margin,
            latitudes.min(axis=1) - margin,
            longitudes.max(axis=1) + margin,
            latitudes.max(axis=1) + margin,
        ]
    )
    return _Squares(cols[kept], rows[kept], centre[kept], reach[kept], np.stack([longitudes[kept], latitudes[kept]]))


@lru_cache(maxsize=120)
def zone_tiles(zone: int, south: bool) -> tuple[Tile, ...]:
    """Every tile of one hemisphere of a zone."""
    squares = _squares(south)
    crs = Crs(f"EPSG:{(32700 if south else 32600) + zone}")
    each = zip(squares.cols.tolist(), squares.rows.tolist(), squares.latitudes.tolist(), strict=True)
    return tuple(_tile(zone, crs, number, *square) for number, square in enumerate(each))


def samples_of(tiles: Sequence[Tile]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of some places all over each tile: one row a tile, some metres off at most."""
    numbers = np.array([tile.square for tile in tiles], np.int64)
    south = np.array([tile.crs.text.startswith("EPSG:327") for tile in tiles])
    middles = np.array([tile.zone * 6.0 - 183.0 for tile in tiles])[:, None]
    found = np.empty((2, len(tiles), _SAMPLES * _SAMPLES))
    for hemisphere in (False, True):
        chosen = south == hemisphere
        found[:, chosen] = _squares(hemisphere).samples[:, numbers[chosen]]
    return found[0] + middles, found[1]


def _tile(zone: int, crs: Crs, number: int, col: int, row: int, latitude: float) -> Tile:
    name = f"{zone:02d}{_band(latitude)}{_COLUMNS[zone % 3][col - 1]}{_row_letter(zone, row)}"
    edge = (row + 1) * SQUARE
    # In the south northings are counted down from ten million, and the whole pixels begin there.
    top = _SOUTH - floor((_SOUTH - edge) / STEP) * STEP if latitude < 0 else ceil(edge / STEP) * STEP
    return Tile(name, zone, crs, floor(col * SQUARE / STEP) * STEP, top, number)


def _band(latitude: float) -> str:
    return _BANDS[min(int((latitude + 80) // 8), len(_BANDS) - 1)]


def _row_letter(zone: int, row: int) -> str:
    return _ROWS[(row + (5 if zone % 2 == 0 else 0)) % 20]


@lru_cache(maxsize=60)
def _by_name(zone: int) -> dict[str, Tile]:
    return {tile.name: tile for south in (False, True) for tile in zone_tiles(zone, south)}


def tile_named(name: str) -> Tile | None:
    """The tile of that name, or None.

    >>> tile = tile_named("32TPS")
    >>> tile.crs.text, tile.left, tile.top
    ('EPSG:32632', 600000, 5200020)
    """
    zone = int(name[:2])
    return _by_name(zone).get(name) if 1 <= zone <= 60 else None
