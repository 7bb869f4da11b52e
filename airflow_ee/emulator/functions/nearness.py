"""How far the nearest feature is from each pixel, on a sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.memory import check_items
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Positional, Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.element import Collection, geometry_of
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.measures import segments
from airflow_ee.emulator.values.sphere import EARTH_RADIUS, Segments, Vectors, angles, unit, vectors_of

_PART = 32
"""Pixels a side that share the edges that can be nearest."""

_AT_ONCE = 2_000_000
"""Pairs of a pixel and an edge."""

Angles = NDArray[np.float64]


@registry.implements("Collection.distance")
def distance(features: Collection, search_radius: float = 100_000, max_error: float = 100) -> Image:  # noqa: ARG001 -- edges are never bent
    """Metres to the nearest point, line or outline; masked beyond the search radius."""
    if not search_radius > 0:
        raise invalid(f"Collection.distance: 'searchRadius' must be positive, got {search_radius:g}.")
    edges = _edges(features)

    def read(grid: Grid) -> Raster:
        values, mask = np.zeros(grid.shape), np.zeros(grid.shape, np.float32)
        for part in grid.blocks(_PART):
            if edges is None:
                break
            deadline.check()
            far = _nearest(edges, part, search_radius / EARTH_RADIUS) * EARTH_RADIUS
            top, left = part.row - grid.row, part.col - grid.col
            window = (slice(top, top + part.height), slice(left, left + part.width))
            reached = far <= search_radius
            values[window], mask[window] = np.where(reached, far, 0.0), reached
        return Raster(values, mask)

    return Image((Band("distance", DOUBLE, Positional(read)),))


def _edges(features: Collection) -> Segments | None:
    shapes = [geometry for each in features.elements if (geometry := geometry_of(each)) is not None]
    parts = [segments(shape) for shape in shapes if not shape.shape.is_empty]
    check_items(sum(len(part.starts) for part in parts))
    if not parts:
        return None
    return Segments(np.concatenate([part.starts for part in parts]), np.concatenate([part.ends for part in parts]))


def _nearest(edges: Segments, part: Grid, most: float) -> Angles:
    """Radians to the nearest edge from each pixel of a small grid; infinite where it is farther than ``most``."""
    longitudes, latitudes = part.centres_in(WGS84)
    at = np.column_stack([np.broadcast_to(each, part.shape).ravel() for each in (longitudes, latitudes)])
    seen = np.isfinite(at).all(axis=1)
    places = vectors_of(at[seen])
    found = np.full(len(at), np.inf)
    if len(places):
        found[seen] = _to(_candidates(edges, places, most), places)
    return found.reshape(part.shape)


def _candidates(edges: Segments, places: Vectors, most: float) -> Segments:
    """The edges that can be nearest to one of some places: none is that is farther from one of them by twice their spread."""
    centre = places[len(places) // 2][None]
    spread = float(angles(places, np.broadcast_to(centre, places.shape)).max())
    far = np.concatenate([_pairs(edges, start, centre)[:, 0] for start in range(0, len(edges.starts), _AT_ONCE)])
    kept = far <= min(float(far.min()) + 2 * spread, most + spread) + 1e-12
    return Segments(edges.starts[kept], edges.ends[kept])


def _to(edges: Segments, places: Vectors) -> Angles:
    found = np.full(len(places), np.inf)
    step = max(1, _AT_ONCE // len(places))
    for start in range(0, len(edges.starts), step):
        deadline.check()
        found = np.minimum(found, _pairs(edges, start, places, step).min(axis=0))
    return found


def _pairs(edges: Segments, start: int, places: Vectors, count: int = _AT_ONCE) -> Angles:
    """Radians from some edges (rows) to places (columns)."""
    starts, ends = edges.starts[start : start + count, None], edges.ends[start : start + count, None]
    near = np.minimum(_angle(starts, places), _angle(ends, places))
    poles = unit(np.cross(starts, ends))
    above = _dot(poles, places)
    # The foot of the perpendicular lies between the ends where the place is on the inner side of both end planes.
    between = (_dot(np.cross(poles, starts), places) >= 0) & (_dot(np.cross(ends, poles), places) >= 0)
    between &= poles.any(axis=-1)
    return np.where(between, np.minimum(np.arcsin(np.clip(np.abs(above), 0, 1)), near), near)


def _dot(one: Vectors, two: Vectors) -> Angles:
    return np.asarray(one[..., 0] * two[..., 0] + one[..., 1] * two[..., 1] + one[..., 2] * two[..., 2])


def _angle(one: Vectors, two: Vectors) -> Angles:
    apart = one - two
    return np.asarray(2 * np.arcsin(np.clip(np.sqrt(_dot(apart, apart)) / 2, 0, 1)))
