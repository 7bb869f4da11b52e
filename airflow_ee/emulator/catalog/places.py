"""What simulated bands share: where their pixels are, what grows there, and the sky of a date, each computed once a grid.

Positions, tracks and skies are smooth: they are evaluated at the corners of squares of 160 m, counted from the origin of the
coordinate system, and are bilinear in between (longitudes and latitudes are a few millimetres off at most). The corners are
the same whatever window is asked for, so a pixel has one value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.orbits import Orbit
from airflow_ee.emulator.pixels.crs import SINUSOIDAL, WGS84, Crs, convert
from airflow_ee.emulator.pixels.grid import OUTSIDE, Grid, Projection, Sites
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster

SPACING = 160.0
"""Metres between the corners."""

Layers = NDArray[np.floating]
"""Several values for each pixel: the first axis counts them."""
Evaluate = Callable[[Field, Field], Sequence[Field]]
"""Layers from coordinates of a projected system."""

_KEPT_PIXELS, _KEPT_CORNERS = 512 * 512, 16384
"""Sizes up to which positions are kept for the next band or date."""

_VALID = np.ones((1, 1), np.float32)


def sites_of(grid: Grid, lattice: Projection) -> Sites:
    """Where a grid's pixels fall on a lattice; kept, unless it is large, for the bands and dates that ask for the same."""
    return grid.sites_in(lattice) if grid.height * grid.width > _KEPT_PIXELS else _kept_sites(grid, lattice)


@lru_cache(maxsize=8)
def _kept_sites(grid: Grid, lattice: Projection) -> Sites:
    return grid.sites_in(lattice)


def coordinates(grid: Grid, lattice: Projection) -> tuple[Field, Field]:
    """Centres of the lattice's pixels that a grid's pixels fall into; places outside of the system are at its origin."""
    rows, cols = sites_of(grid, lattice)
    if grid.projection.offset_in(lattice) is None:
        lost = (rows == OUTSIDE) | (cols == OUTSIDE)
        rows, cols = np.where(lost, 0, rows), np.where(lost, 0, cols)
    x, y = lattice.corners(rows.astype(np.float64) + 0.5, cols.astype(np.float64) + 0.5)
    return x, y


def interpolated(evaluate: Evaluate, x: Field, y: Field, dtype: type[np.floating]) -> Layers:
    """Layers at coordinates, bilinear between the corners around each."""
    u, v = x / SPACING, y / SPACING
    col, row = np.floor(u), np.floor(v)
    s, t = (u - col).astype(dtype), (v - row).astype(dtype)
    j, i = col.astype(np.int64), row.astype(np.int64)
    shape = np.broadcast_shapes(x.shape, y.shape)
    left, bottom = int(j.min()), int(i.min())
    cols, rows = int(j.max()) - left + 2, int(i.max()) - bottom + 2
    if cols * rows > 4 * shape[0] * shape[1] + 4096:
        return _scattered(evaluate, i, j, s, t)
    corner_y, corner_x = np.mgrid[bottom : bottom + rows, left : left + cols] * SPACING
    layers = [layer.astype(dtype) for layer in evaluate(corner_x, corner_y)]
    found = np.empty((len(layers), *shape), dtype)
    for target, layer in zip(found, layers, strict=True):
        _spread(layer, i - bottom, j - left, s, t, target)
    return found


def _spread(layer: Field, i: NDArray[np.int64], j: NDArray[np.int64], s: Field, t: Field, target: Layers) -> None:
    """Rows first, then columns: in this order one-dimensional indices and full ones give the same floats."""
    first = layer.flat[0]
    if (layer == first).all():
        target[...] = first
        return
    if i.shape[1] == 1 and j.shape[0] == 1:
        upper = layer[i[:, 0]]
        between = upper + (layer[i[:, 0] + 1] - upper) * t
        west, east = np.take(between, j[0], axis=1), np.take(between, j[0] + 1, axis=1)
    else:
        west, east = layer[i, j], layer[i, j + 1]
        west, east = west + (layer[i + 1, j] - west) * t, east + (layer[i + 1, j + 1] - east) * t
    np.subtract(east, west, out=east)
    np.multiply(east, s, out=east)
    np.add(west, east, out=target)


def _scattered(evaluate: Evaluate, i: NDArray[np.int64], j: NDArray[np.int64], s: Field, t: Field) -> Layers:
    """The same for pixels far apart, each with corners of its own."""
    rows, cols = np.broadcast_arrays(i, j)

    def corner(down: int, right: int) -> Layers:
        x, y = (cols + right) * SPACING, (rows + down) * SPACING
        return np.stack([layer.astype(s.dtype) for layer in evaluate(x, y)])

    west, east = corner(0, 0), corner(0, 1)
    west, east = west + (corner(1, 0) - west) * t, east + (corner(1, 1) - east) * t
    return np.asarray(west + (east - west) * s)


def zone_meridian(crs: Crs) -> float:
    """The central meridian of a UTM zone."""
    return int(crs.text[-2:]) * 6.0 - 183.0


@lru_cache(maxsize=64)
def _corner_places(crs: Crs, left: float, bottom: float, cols: int, rows: int) -> tuple[Field, Field]:
    y, x = np.mgrid[0:rows, 0:cols] * SPACING
    return _unwrapped(crs, x + left, y + bottom)


def _unwrapped(crs: Crs, x: Field, y: Field) -> tuple[Field, Field]:
    """Longitude and latitude without a jump at the antimeridian; what lies outside of the system is put at its middle."""
    longitude, latitude = convert(crs, WGS84, np.ascontiguousarray(x), np.ascontiguousarray(y))
    known, middle = np.isfinite(longitude) & np.isfinite(latitude), zone_meridian(crs)
    east = np.where(known, longitude, middle) - middle
    return middle + np.where(east >= 180, east - 360, np.where(east < -180, east + 360, east)), np.where(
        known, latitude, 0.0
    )


def places_at(crs: Crs, x: Field, y: Field) -> tuple[Field, Field]:
    """Longitude and latitude of corners: a whole window of them is kept for the next date."""
    rows, cols = x.shape
    if rows > 1 and cols > 1 and x[0, 1] - x[0, 0] == SPACING and (x[0] == x[-1]).all() and rows * cols < _KEPT_CORNERS:
        return _corner_places(crs, float(x[0, 0]), float(y[0, 0]), cols, rows)
    return _unwrapped(crs, x, y)


class PlaceNode(Node):
    """Longitude and latitude of a lattice's pixel centres: two layers."""

    def __init__(self, lattice: Projection) -> None:
        self._lattice = lattice

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """Both, on the grid."""
        x, y = coordinates(grid, self._lattice)
        crs = self._lattice.crs
        if crs in (WGS84, SINUSOIDAL):
            return _raster(*convert(crs, WGS84, *(np.ascontiguousarray(each) for each in np.broadcast_arrays(x, y))))
        return Raster(interpolated(lambda u, v: places_at(crs, u, v), x, y, np.float64), _VALID)


def _raster(longitude: Field, latitude: Field) -> Raster:
    """Both layers; masked where the system shows no place."""
    known = np.isfinite(longitude) & np.isfinite(latitude)
    return Raster(np.where(known, np.stack([longitude, latitude]), 0.0), known.astype(np.float32))


class LandNode(Node):
    """The layers of :class:`fields.Land`."""

    def __init__(self, lattice: Projection) -> None:
        self._place = place_node(lattice)

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels are."""
        return ((self._place, grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """What grows there."""
        longitude, latitude = inputs[0].values
        found = np.empty((5, *grid.shape), np.float32)
        for target, layer in zip(found, fields.land(longitude, latitude), strict=True):
            target[...] = layer
        return Raster(found, _VALID)


class GreenNode(Node):
    """NDVI under a clear sky on a day of the year; water is below zero, land above."""

    def __init__(self, lattice: Projection, day_of_year: int) -> None:
        self._land = land_node(lattice)
        self._day_of_year = day_of_year

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """What grows there."""
        return ((self._land, grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- the layers have its shape
        """The season's share."""
        base, height, cosine, sine, water = inputs[0].values
        place = fields.Land(base, height, cosine, sine, water > 0)
        return Raster(fields.ndvi(place, float(self._day_of_year)), _VALID)


class DayNode(Node):
    """Layers that ``fields`` tells of a place and a day: ``function(longitude, latitude, ordinal, day_of_year)``."""

    def __init__(self, lattice: Projection, day: date, function: Callable[..., Sequence[Field]]) -> None:
        self._lattice = lattice
        self._ordinal, self._day_of_year = day.toordinal(), day.timetuple().tm_yday
        self._function = function

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """The layers of the date on the grid."""
        x, y = coordinates(grid, self._lattice)
        return Raster(interpolated(self._evaluate, x, y, np.float32), _VALID)

    def _evaluate(self, x: Field, y: Field) -> Sequence[Field]:
        return self._function(*places_at(self._lattice.crs, x, y), self._ordinal, float(self._day_of_year))


class TrackNode(Node):
    """Degrees along and across a ground track: two layers."""

    def __init__(self, lattice: Projection, orbit: Orbit, node_longitude: float) -> None:
        self._lattice = lattice
        self._orbit = orbit
        self._node_longitude = node_longitude

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """Both, on the grid."""
        x, y = coordinates(grid, self._lattice)
        return Raster(interpolated(self._evaluate, x, y, np.float32), _VALID)

    def _evaluate(self, x: Field, y: Field) -> Sequence[Field]:
        return self._orbit.track(self._node_longitude, *places_at(self._lattice.crs, x, y))


@lru_cache(maxsize=1024)
def place_node(lattice: Projection) -> PlaceNode:
    """The one node of a lattice: shared nodes are computed once a grid."""
    return PlaceNode(lattice)


@lru_cache(maxsize=1024)
def land_node(lattice: Projection) -> LandNode:
    """The one node of a lattice."""
    return LandNode(lattice)


@lru_cache(maxsize=8192)
def green_node(lattice: Projection, day_of_year: int) -> GreenNode:
    """The one node of a lattice and a day of the year."""
    return GreenNode(lattice, day_of_year)


@lru_cache(maxsize=8192)
def sky_node(lattice: Projection, day: date) -> DayNode:
    """The one node of a lattice and a date."""
    return DayNode(lattice, day, fields.sky)


@lru_cache(maxsize=8192)
def track_node(lattice: Projection, orbit: Orbit, node_longitude: float) -> TrackNode:
    """The one node of a lattice and a track."""
    return TrackNode(lattice, orbit, node_longitude)
