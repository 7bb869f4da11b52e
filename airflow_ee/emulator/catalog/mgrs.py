"""The tiles of Sentinel-2: squares of 109.8 km on the UTM zones, named after the military grid.

The exceptions around Norway and Svalbard are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np

from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.geometry import box

SQUARE = 100_000
SIDE = 109_800
STEP = 60
"""Tiles begin on whole pixels of 60 m."""

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = {1: "ABCDEFGH", 2: "JKLMNPQR", 0: "STUVWXYZ"}
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_SOUTH = 10_000_000


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

    @property
    def bounds(self) -> Bounds:
        """In UTM metres."""
        return (self.left, self.top - SIDE, self.left + SIDE, self.top)


def tiles_over(bounds: Bounds) -> list[Tile]:
    """The tiles that touch a box of longitudes and latitudes, by name."""
    west, south, east, north = bounds
    south, north = max(south, -79.9), min(north, 83.9)
    found: dict[str, Tile] = {}
    for zone in range(_zone_of(west), _zone_of(east) + 1):
        # Tiles reach some kilometres beyond their zone's edge; the neighbours' share of that is left to the neighbours.
        left, right = max(west, zone * 6 - 186.0), min(east, zone * 6 - 180.0)
        for hemisphere_south, (low, high) in ((True, (south, min(north, 0.0))), (False, (max(south, 0.0), north))):
            if low < high or (low == high and hemisphere_south == (low < 0)):
                found |= {tile.name: tile for tile in _in_zone(zone, hemisphere_south, (left, low, right, high))}
    return [found[name] for name in sorted(found)]


def _zone_of(longitude: float) -> int:
    return min(60, max(1, floor((longitude + 180.0) / 6.0) + 1))


def _crs(zone: int, south: bool) -> Crs:
    return Crs(f"EPSG:{(32700 if south else 32600) + zone}")


def _in_zone(zone: int, south: bool, bounds: Bounds) -> Iterator[Tile]:
    crs = _crs(zone, south)
    grown = (bounds[0] - 1e-9, bounds[1] - 1e-9, bounds[2] + 1e-9, bounds[3] + 1e-9)
    left, bottom, right, top = box(grown).bounds_in(crs)
    wanted = box(grown).in_crs(crs)
    for col in range(max(1, floor((left - SIDE + SQUARE) / SQUARE)), min(8, floor(right / SQUARE)) + 1):
        for row in range(floor((bottom - SIDE + SQUARE) / SQUARE) - 1, floor(top / SQUARE) + 1):
            tile = _tile(zone, south, col, row)
            if tile is not None and wanted.intersects(box(tile.bounds, crs).shape):
                yield tile


@lru_cache(maxsize=4096)
def _tile(zone: int, south: bool, col: int, row: int) -> Tile | None:
    """The tile of a 100 km square, or None where the square is outside of its zone."""
    crs = _crs(zone, south)
    xs, ys = np.array([0, 1, 0, 1, 0.5]), np.array([0, 0, 1, 1, 0.5])
    longitudes, latitudes = convert(crs, WGS84, (xs + col) * SQUARE, (ys + row) * SQUARE)
    low, high = zone * 6 - 186.0, zone * 6 - 180.0
    if not ((longitudes >= low) & (longitudes <= high)).any() or not -80 <= latitudes[4] < 84:
        return None
    if south == (latitudes[4] >= 0):
        return None
    name = f"{zone:02d}{_band(latitudes[4])}{_COLUMNS[zone % 3][col - 1]}{_row_letter(zone, row)}"
    edge = (row + 1) * SQUARE
    # In the south northings are counted down from ten million, and the whole pixels begin there.
    top = _SOUTH - floor((_SOUTH - edge) / STEP) * STEP if south else ceil(edge / STEP) * STEP
    return Tile(name, zone, crs, floor(col * SQUARE / STEP) * STEP, top)


def _band(latitude: float) -> str:
    return _BANDS[min(int((latitude + 80) // 8), len(_BANDS) - 1)]


def _row_letter(zone: int, row: int) -> str:
    return _ROWS[(row + (5 if zone % 2 == 0 else 0)) % 20]


@lru_cache(maxsize=1024)
def tile_named(name: str) -> Tile | None:
    """The tile of that name, or None.

    >>> tile = tile_named("32TPS")
    >>> tile.crs.text, tile.left, tile.top
    ('EPSG:32632', 600000, 5200020)
    """
    zone, band = int(name[:2]), name[2]
    letters = _COLUMNS[zone % 3] if 1 <= zone <= 60 else ""
    if band not in _BANDS or name[3] not in letters or name[4] not in _ROWS:
        return None
    south = band < "N"
    col = letters.index(name[3]) + 1
    for row in range(100):
        if _row_letter(zone, row) == name[4]:
            tile = _tile(zone, south, col, row)
            if tile is not None and tile.name == name:
                return tile
    return None
