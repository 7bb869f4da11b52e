"""The simulated world: closed-form fields of place and day. Nothing is stored, and everything is known in advance.

Vegetation follows a smooth seasonal curve whose height, base and timing come from noise that is correlated in space and from
a pattern of parcels. Clouds are noise that moves from date to date. All of it is a function of longitude, latitude and date,
so that two collections see the same place, and every grid sees the same pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]

_DAYS = 365.25
_PARCEL_DEGREES = (0.0062, 0.0045)
"""Width and height of a parcel: about half a kilometre."""


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scrambled whole numbers (the finisher of splitmix64); overflow is what makes it work."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def hashed(col: NDArray[np.int64], row: NDArray[np.int64], seed: int) -> Field:
    """A number from 0 up to 1 for each cell of an endless lattice."""
    with np.errstate(over="ignore"):
        state = col.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = _mixed(state + row.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(seed * 0x165667B1 + 1))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def noise(x: Field, y: Field, cell: float, seed: int) -> Field:
    """Smooth noise from 0 to 1 whose hills are about ``cell`` wide: hashed corners, blended.

    The corners of the cells in sight are hashed once each, which is what makes it quick.
    """
    u, v = x / cell, y / cell
    col, row = np.floor(u), np.floor(v)
    first_col, first_row = int(col.min()), int(row.min())
    cols, rows = int(col.max()) - first_col + 2, int(row.max()) - first_row + 2
    if cols * rows > 4 * x.size + 1024:
        return _scattered_noise(u, v, seed)
    lattice = hashed(
        np.arange(first_col, first_col + cols, dtype=np.int64)[None, :],
        np.arange(first_row, first_row + rows, dtype=np.int64)[:, None],
        seed,
    )
    i, j = row.astype(np.int64) - first_row, col.astype(np.int64) - first_col
    corners = (lattice[i, j], lattice[i, j + 1], lattice[i + 1, j], lattice[i + 1, j + 1])
    return _blended(corners, u - col, v - row)


def _scattered_noise(u: Field, v: Field, seed: int) -> Field:
    """The same for pixels far apart, each with corners of its own."""
    col, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    corners = (
        hashed(col, row, seed),
        hashed(col + 1, row, seed),
        hashed(col, row + 1, seed),
        hashed(col + 1, row + 1, seed),
    )
    return _blended(corners, u - col, v - row)


def _blended(corners: tuple[Field, Field, Field, Field], s: Field, t: Field) -> Field:
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    top = corners[0] + (corners[1] - corners[0]) * s
    bottom = corners[2] + (corners[3] - corners[2]) * s
    return np.asarray(top + (bottom - top) * t)


class Land(NamedTuple):
    """What a place is, whatever the date."""

    base: Field
    """NDVI out of season."""
    height: Field
    """What the season adds at its peak."""
    peak: Field
    """Day of year of the peak."""
    water: NDArray[np.bool_]


def land(longitude: Field, latitude: Field) -> Land:
    """The place's vegetation and water."""
    crop = _parcel(longitude, latitude)
    wide = noise(longitude, latitude, 0.35, 11)
    fine = noise(longitude, latitude, 0.03, 12)
    seasonal = np.clip((np.abs(latitude) - 4.0) / 30.0, 0.0, 1.0)
    height = (0.12 + 0.33 * seasonal) * (0.7 + 0.6 * crop) * (0.8 + 0.4 * fine)
    base = 0.18 + 0.12 * wide + 0.1 * (1 - seasonal) + 0.04 * fine
    peak = np.where(latitude >= 0, 196.0, 14.0) + 24.0 * (wide - 0.5) + 30.0 * (crop - 0.5)
    water = noise(longitude, latitude, 0.08, 13) < 0.12
    return Land(base, height, peak, water)


def _parcel(longitude: Field, latitude: Field) -> Field:
    """One number for each field of a farmed landscape: rows of parcels, shifted against each other."""
    row = np.floor(latitude / _PARCEL_DEGREES[1]).astype(np.int64)
    shift = (row % 3) * 0.4
    col = np.floor(longitude / _PARCEL_DEGREES[0] + shift).astype(np.int64)
    return hashed(col, row, 17)


def season(day_of_year: Field | float, peak: Field) -> Field:
    """From 0 in the dead of the season to 1 at the peak."""
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * (day_of_year - peak) / _DAYS)
    return np.asarray(wave**1.6)


def ndvi(place: Land, day_of_year: Field | float) -> Field:
    """NDVI under a clear sky."""
    green = np.clip(place.base + place.height * season(day_of_year, place.peak), 0.05, 0.88)
    return np.where(place.water, -0.12, green)


def truth(longitude: Field | float, latitude: Field | float, day_of_year: Field | float) -> Field:
    """NDVI under a clear sky, without noise: what the simulated collections show where nothing is in the way.

    >>> summer, winter = truth(11.3, 46.4, 196), truth(11.3, 46.4, 15)
    >>> bool(winter < 0.4 < summer)
    True
    """
    x, y = np.broadcast_arrays(np.asarray(longitude, np.float64), np.asarray(latitude, np.float64))
    return ndvi(land(x, y), day_of_year)


def cloudiness(longitude: Field, latitude: Field, ordinal: int, day_of_year: float) -> Field:
    """How thick the clouds are on a date, from 0 (clear) to 1: more of them in the local summer."""
    weather = hashed(np.array([ordinal]), np.array([0]), 23)[0]
    summer = np.where(latitude >= 0, 1.0, -1.0) * -np.cos(2 * np.pi * (day_of_year - 15) / _DAYS)
    drift_x, drift_y = ordinal * 0.37, ordinal * 0.19
    pattern = noise(longitude + drift_x, latitude + drift_y, 0.22, 29) * 0.65
    pattern = pattern + noise(longitude + drift_x, latitude + drift_y, 0.05, 31) * 0.35
    cover = 0.12 + 0.5 * weather**1.5 + 0.08 * summer
    return np.asarray(np.clip((pattern - (1.0 - cover)) / 0.12 + 0.5, 0.0, 1.0))
