"""The simulated world: closed-form fields of place and day. Nothing is stored, and everything is known in advance.

Vegetation follows a smooth seasonal curve whose height, base and timing come from noise that is correlated in space and from
a pattern of parcels. Clouds are noise that moves from date to date. All of it is a function of longitude, latitude and date,
so that two collections see the same place, and every grid sees the same pixel. Every pattern has a whole number of cells round
the Earth: nothing breaks at the antimeridian. The formulas are in ``docs/simulation.md``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]

_DAYS = 365.25
_TURN = 360.0
_PARCEL_DEGREES = (0.00625, 0.0045)
"""Width and height of a parcel: about half a kilometre."""
WATER_NDVI = -0.12


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
    """Smooth noise from 0 to 1 whose hills are about ``cell`` degrees wide: hashed corners, blended.

    The corners of the cells in sight are hashed once each, which is what makes it quick. ``cell`` divides the full circle.
    """
    u, v = x / cell, y / cell
    around = round(_TURN / cell)
    col, row = np.floor(u), np.floor(v)
    first_col, first_row = int(col.min()), int(row.min())
    cols, rows = int(col.max()) - first_col + 2, int(row.max()) - first_row + 2
    if cols * rows > 4 * x.size + 1024:
        return _scattered_noise(u, v, around, seed)
    lattice = hashed(
        np.arange(first_col, first_col + cols, dtype=np.int64)[None, :] % around,
        np.arange(first_row, first_row + rows, dtype=np.int64)[:, None],
        seed,
    )
    known = lattice.ravel()
    here = ((row - first_row) * cols + (col - first_col)).astype(np.int64)
    corners = (known[here], known[here + 1], known[here + cols], known[here + cols + 1])
    return _blended(corners, u - col, v - row)


def _scattered_noise(u: Field, v: Field, around: int, seed: int) -> Field:
    """The same for pixels far apart, each with corners of its own."""
    col, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    here, east = col % around, (col + 1) % around
    corners = (
        hashed(here, row, seed),
        hashed(east, row, seed),
        hashed(here, row + 1, seed),
        hashed(east, row + 1, seed),
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
    peak_cosine: Field
    """Cosine and sine of the day of year of the peak, as an angle: the season needs no more of them."""
    peak_sine: Field
    water: NDArray[Any]


def land(longitude: Field, latitude: Field) -> Land:
    """The place's vegetation and water."""
    crop = _parcel(longitude, latitude)
    wide = noise(longitude, latitude, 0.36, 11)
    fine = noise(longitude, latitude, 0.03, 12)
    seasonal = np.clip((np.abs(latitude) - 4.0) / 30.0, 0.0, 1.0)
    height = (0.12 + 0.33 * seasonal) * (0.7 + 0.6 * crop) * (0.8 + 0.4 * fine)
    base = 0.18 + 0.12 * wide + 0.1 * (1 - seasonal) + 0.04 * fine
    # The timing changes by latitude band without a step: half a year lies between the hemispheres.
    delay = 24.0 * (wide - 0.5) + 30.0 * (crop - 0.5)
    peak = 2 * np.pi / _DAYS * (np.where(latitude >= 0, 196.0, 14.0) + delay)
    return Land(base, height, np.cos(peak), np.sin(peak), is_water(longitude, latitude))


def is_water(longitude: Field, latitude: Field) -> NDArray[np.bool_]:
    """Where lakes are."""
    return np.asarray(noise(longitude, latitude, 0.08, 13) < 0.12)


def _parcel(longitude: Field, latitude: Field) -> Field:
    """One number for each field of a farmed landscape: rows of parcels, shifted against each other."""
    width, height = _PARCEL_DEGREES
    row = np.floor(latitude / height).astype(np.int64)
    col = np.floor(longitude / width + (row % 3) * 0.4).astype(np.int64)
    return hashed(col % round(_TURN / width), row, 17)


def season(place: Land, day_of_year: Field | float) -> Field:
    """From 0 in the dead of the season to 1 at the peak."""
    angle = 2 * np.pi / _DAYS * day_of_year
    cosine, sine = (float(angle), float(angle)) if np.ndim(angle) == 0 else (angle, angle)
    wave = 0.5 + 0.5 * (np.cos(cosine) * place.peak_cosine + np.sin(sine) * place.peak_sine)
    return np.asarray(wave * (0.4 + 0.6 * wave))


def ndvi(place: Land, day_of_year: Field | float) -> Field:
    """NDVI under a clear sky, where no snow lies."""
    green = np.clip(place.base + place.height * season(place, day_of_year), 0.05, 0.88)
    return np.where(place.water, green.dtype.type(WATER_NDVI), green)


def truth(longitude: Field | float, latitude: Field | float, day_of_year: Field | float) -> Field:
    """NDVI under a clear sky, without noise: what the simulated collections show where nothing is in the way.

    >>> summer, winter = truth(11.3, 46.4, 196), truth(11.3, 46.4, 15)
    >>> bool(winter < 0.4 < summer)
    True
    """
    x, y = np.broadcast_arrays(np.asarray(longitude, np.float64), np.asarray(latitude, np.float64))
    return ndvi(land(x, y), day_of_year)


class Sky(NamedTuple):
    """What is between a satellite and a place on a date, and what lies on the ground; each from 0 to 1."""

    cloud: Field
    """How thick the clouds are: 0 is clear."""
    shadow: Field
    """The same of the cloud whose shadow falls on the place."""
    cirrus: Field
    snow: Field


def sky(longitude: Field, latitude: Field, ordinal: int | Field, day_of_year: float | Field) -> Sky:
    """The sky of a date, which is given as its proleptic ordinal and its day of year."""
    # A cloud casts its shadow away from the noon sun: northwards in the north.
    sunward = np.where(latitude >= 0, -0.01, 0.01)
    return Sky(
        cloudiness(longitude, latitude, ordinal, day_of_year),
        cloudiness(longitude + 0.012, latitude + sunward, ordinal, day_of_year),
        _cirrus(longitude, latitude, ordinal),
        snow(longitude, latitude, day_of_year),
    )


def cloudiness(longitude: Field, latitude: Field, ordinal: int | Field, day_of_year: float | Field) -> Field:
    """How thick the clouds are on a date, from 0 (clear) to 1: more of them in the local summer."""
    return np.clip(_cover(longitude, latitude, ordinal, day_of_year), 0.0, 1.0)


def cloud_distance(longitude: Field, latitude: Field, ordinal: int | Field, day_of_year: float | Field) -> Field:
    """Roughly how many kilometres the next cloud is away: 0 in clouds, 100 at most."""
    return np.asarray(np.clip(-3.0 * _cover(longitude, latitude, ordinal, day_of_year), 0.0, 100.0))


def _cover(longitude: Field, latitude: Field, ordinal: int | Field, day_of_year: float | Field) -> Field:
    """Above 0 in clouds, and the more below it the clearer the place is."""
    weather = hashed(np.asarray(ordinal, np.int64), np.asarray(0, np.int64), 23)
    summer = np.where(latitude >= 0, 1.0, -1.0) * -np.cos(2 * np.pi / _DAYS * (np.asarray(day_of_year) - 15))
    east, north = longitude + np.asarray(ordinal) % 9973 * 0.37, latitude + np.asarray(ordinal) % 9973 * 0.19
    pattern = noise(east, north, 0.225, 29) * 0.65 + noise(east, north, 0.05, 31) * 0.35
    cover = 0.12 + 0.5 * weather * np.sqrt(weather) + 0.08 * summer
    return np.asarray((pattern - (1.0 - cover)) / 0.12 + 0.5)


def _cirrus(longitude: Field, latitude: Field, ordinal: int | Field) -> Field:
    drift = np.asarray(ordinal) % 9967 * 0.53
    pattern = noise(longitude + drift, latitude - drift, 0.6, 37)
    return np.asarray(np.clip((pattern - 0.86) / 0.1, 0.0, 1.0))


def snow(longitude: Field, latitude: Field, day_of_year: float | Field) -> Field:
    """How much snow lies: in the cold half of the year, from 42 degrees polewards."""
    winter = np.where(latitude >= 0, 1.0, -1.0) * np.cos(2 * np.pi / _DAYS * (np.asarray(day_of_year) - 15))
    cold = np.clip(np.abs(latitude) - 42.0, 0.0, None) / 25.0 * winter
    if not (cold > 0.3).any():
        return np.zeros(np.broadcast_shapes(np.shape(longitude), np.shape(cold)))
    depth = cold - 0.3 - 0.5 * noise(longitude, latitude, 0.36, 11)
    return np.asarray(np.clip(depth / 0.1, 0.0, 1.0))
