"""Geometries moved into another system: vertices are added only where an edge would otherwise be too far off."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.values.geometry import Geometry, reshaped
from airflow_ee.emulator.values.sphere import DECIMALS, along, coordinates_of, vectors_of

DEFAULT_ERROR_METRES = 1.0
FINEST = 12
"""How often an edge is halved at most."""

Coordinates = NDArray[np.float64]


def redrawn(geometry: Geometry, crs: Crs, geodesic: bool, margin: float | None) -> Geometry:
    """The geometry in a system, its edges of the kind asked for."""
    geodesic = geodesic and crs.is_geographic
    if geometry.crs == crs and (geometry.geodesic == geodesic or not geometry.has_edges):
        return Geometry(geometry.shape, crs, geodesic, geometry.even_odd, geometry.unbounded)
    if geometry.unbounded:
        raise invalid("Geometry.transform: an unbounded geometry cannot be moved into another system.")
    tolerance = (margin or DEFAULT_ERROR_METRES) / crs.metres_per_unit
    bent = reshaped(geometry.shape, lambda line: _redrawn_line(line, geometry, crs, geodesic, tolerance))
    return Geometry(bent, crs, geodesic, geometry.even_odd)


def _moved(points: Coordinates, source: Crs, target: Crs) -> Coordinates:
    x, y = convert(source, target, points[:, 0], points[:, 1])
    moved = np.column_stack([x, y])
    if not np.isfinite(moved).all():
        raise invalid(f"Unable to transform the geometry into {target.text[:60]}.")
    return np.round(moved, DECIMALS) if target.is_geographic and source != target else moved


def _redrawn_line(line: Coordinates, geometry: Geometry, crs: Crs, geodesic: bool, tolerance: float) -> Coordinates:
    drawn = [_moved(line[:1], geometry.crs, crs)]
    for start, end in itertools.pairwise(line):
        for count in (2**power for power in range(FINEST + 1)):
            fractions = np.arange(2 * count + 1) / (2 * count)
            true = _moved(_on_edge(start, end, fractions, geometry), geometry.crs, crs)
            if _deviation(true, geodesic) <= tolerance:
                break
        drawn.append(true[2::2])
    return np.concatenate(drawn)


def _on_edge(start: Coordinates, end: Coordinates, fractions: Coordinates, geometry: Geometry) -> Coordinates:
    if not geometry.geodesic or geometry.crs != WGS84:
        return start + (end - start) * fractions[:, None]
    ends = vectors_of(np.stack([start, end]))
    places = coordinates_of(along(ends[0], ends[1], fractions))
    places[0], places[-1] = start, end
    places[:, 0] += 360.0 * np.round((start[0] - places[:, 0]) / 360.0)
    return places


def _deviation(true: Coordinates, geodesic: bool) -> float:
    """How far the middles of edges between every other place are from where they should be."""
    starts, middles, ends = true[:-2:2], true[1:-1:2], true[2::2]
    if geodesic:
        halves = vectors_of(starts) + vectors_of(ends)
        offsets = coordinates_of(halves) - middles
        offsets[:, 0] -= 360.0 * np.round(offsets[:, 0] / 360.0)
    else:
        offsets = (starts + ends) / 2 - middles
    return float(np.hypot(offsets[:, 0], offsets[:, 1]).max())
