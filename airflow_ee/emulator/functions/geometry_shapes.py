"""New geometries from one: grown, simplified, cut, moved into another system."""

from __future__ import annotations

import itertools
from math import ceil, pi
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.geometry_measures import bounded
from airflow_ee.emulator.functions.geometry_relations import crs_of, margin_of
from airflow_ee.emulator.functions.promote import as_number, registry
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry, box, filled, gathered
from airflow_ee.emulator.values.measures import line_length, lines
from airflow_ee.emulator.values.planes import Plane, common_plane, oriented, view_of
from airflow_ee.emulator.values.redrawing import redrawn
from airflow_ee.emulator.values.sphere import (
    DECIMALS,
    EARTH_RADIUS,
    along,
    circle,
    coordinates_of,
    corner_step,
    vectors_of,
)

DEFAULT_BUFFER_ERROR = 0.01
"""Share of the distance by which a buffer may be wrong unless told otherwise."""

WIDEST_BUFFER = np.radians(10.0)
"""Beyond this an equal-distance plane is more than half a percent off at its rim."""

MOST_CELLS = 100_000


@registry.implements("Geometry.buffer")
def buffer(geometry: Geometry, distance: float, max_error: Any = None, proj: Projection | None = None) -> Geometry:
    """Everything within so many metres on the sphere; less than the geometry where the distance is negative."""
    if distance == 0 or geometry.unbounded:
        return geometry
    crs = crs_of(proj, "Geometry.buffer")
    error = margin_of(max_error) or DEFAULT_BUFFER_ERROR * abs(distance)
    if crs is not None:
        return Geometry(_grown(geometry.in_crs(crs), distance, error), crs)
    if isinstance(geometry.shape, shapely.Point) and not geometry.shape.is_empty:
        return _disc(geometry, distance, error)
    if distance > 0 and isinstance(geometry.shape, shapely.MultiPoint):
        return dissolve(gathered([_disc(part, distance, error) for part in _parts(geometry)]))
    return _sphere_buffer(geometry, distance, error)


def _disc(geometry: Geometry, distance: float, error: float) -> Geometry:
    if distance < 0:
        return Geometry(shapely.GeometryCollection(), WGS84, geodesic=True)
    place = shapely.get_coordinates(geometry.in_crs(WGS84))
    radius = distance / EARTH_RADIUS
    if np.radians(90.0 - abs(place[0, 1])) <= radius:
        raise invalid("Geometry.buffer: buffers around a pole are not emulated.")
    ring = circle(vectors_of(place)[0], radius, error / EARTH_RADIUS)
    ring[:, 0] += 360.0 * np.round((place[0, 0] - ring[:, 0]) / 360.0)
    return Geometry(shapely.Polygon(np.round(ring, DECIMALS)), WGS84, geodesic=True)


def _sphere_buffer(geometry: Geometry, distance: float, error: float) -> Geometry:
    """In a plane about the middle where distances from there are true, and nearly so from anywhere near."""
    view = view_of([geometry])
    if view is None:
        raise invalid(_TOO_WIDE)
    middle = coordinates_of(view.centre[None, :])[0]
    local = Crs(f"+proj=aeqd +lat_0={middle[1]} +lon_0={middle[0]} +R={EARTH_RADIUS} +units=m")
    flat = redrawn(geometry, local, False, error / 4)
    if np.abs(shapely.get_coordinates(flat.shape)).max() + abs(distance) > WIDEST_BUFFER * EARTH_RADIUS:
        raise invalid(_TOO_WIDE)
    grown = _grown(filled(flat.shape, flat.even_odd, local), distance, error)
    if grown.is_empty:
        return Geometry(shapely.GeometryCollection(), WGS84, geodesic=True)
    back = redrawn(Geometry(grown, local), WGS84, True, error / 4)
    return Geometry(oriented(back.shape), WGS84, geodesic=True)


_TOO_WIDE = "Geometry.buffer: buffers that reach further than 1100 km from the middle of a shape are not emulated."


def _grown(shape: BaseGeometry, distance: float, error: float) -> BaseGeometry:
    return oriented(shape.buffer(distance, quad_segs=ceil(pi / 2.0 / corner_step(distance, error))))


@registry.implements("Geometry.convexHull")
def convex_hull(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> Geometry:
    """The smallest convex shape around a geometry."""
    bounded(geometry, "Geometry.convexHull")
    if isinstance(geometry.shape, shapely.Point):
        return geometry
    plane = common_plane([geometry], crs_of(proj, "Geometry.convexHull"), margin_of(max_error), "Geometry.convexHull")
    return plane.back(plane.flat(geometry).convex_hull)


@registry.implements("Geometry.dissolve")
def dissolve(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> Geometry:
    """The parts of a geometry as one."""
    if geometry.unbounded or shapely.get_num_geometries(geometry.shape) == 1:
        return geometry
    plane = common_plane([geometry], crs_of(proj, "Geometry.dissolve"), margin_of(max_error), "Geometry.dissolve")
    return plane.back(shapely.union_all([plane.flat(part) for part in _parts(geometry)], grid_size=plane.snapping))


def _parts(geometry: Geometry) -> list[Geometry]:
    parts = shapely.get_parts(geometry.shape)
    return [Geometry(part, geometry.crs, geometry.geodesic, geometry.even_odd) for part in parts]


@registry.implements("Geometry.simplify")
def simplify(geometry: Geometry, max_error: Any, proj: Projection | None = None) -> Geometry:
    """Fewer vertices, nowhere further away than the error margin."""
    margin = margin_of(max_error)
    if not margin:
        raise invalid("Geometry.simplify: the error margin must be greater than zero.")
    crs = crs_of(proj, "Geometry.simplify")
    source = geometry if crs in (None, geometry.crs) else transform(geometry, proj, max_error)
    view = view_of([source]) if source.crs == WGS84 else None
    if view is not None:
        flat = Plane(WGS84, view)
        simpler = view.back(view.show(source.shape).simplify(margin / EARTH_RADIUS))
        return Geometry(simpler, flat.crs, source.geodesic, source.even_odd)
    simpler = source.shape.simplify(margin / source.crs.metres_per_unit)
    return Geometry(simpler, source.crs, source.geodesic, source.even_odd)


@registry.implements("Geometry.transform")
def transform(
    geometry: Geometry,
    proj: Projection | None = None,
    max_error: Any = None,
    geodesic: bool | None = None,
) -> Geometry:
    """The geometry in another system, with vertices added where its edges would be further off than the error."""
    crs = crs_of(proj, "Geometry.transform") or WGS84
    return redrawn(geometry, crs, crs.is_geographic if geodesic is None else geodesic, margin_of(max_error))


@registry.implements("Geometry.cutLines")
def cut_lines(
    geometry: Geometry, distances: list[Any], max_error: Any = None, proj: Projection | None = None
) -> Geometry:
    """Lines in pieces that end at given distances from their start."""
    crs = crs_of(proj, "Geometry.cutLines") or WGS84
    source = redrawn(geometry, crs, geometry.geodesic and crs.is_geographic, margin_of(max_error))
    in_metres = proj is None
    ordered = sorted(as_number(each) for each in distances)
    pieces: list[shapely.LineString] = []
    if lines(geometry.shape) and len(lines(geometry.shape)) == len(shapely.get_parts(geometry.shape)):
        for line in lines(source.shape):
            pieces += _cut(shapely.get_coordinates(line), ordered, source.geodesic, in_metres)
    return Geometry(shapely.MultiLineString(pieces), crs, source.geodesic)


def _cut(
    line: NDArray[np.float64], distances: list[float], geodesic: bool, in_metres: bool
) -> list[shapely.LineString]:
    """Pieces of one line; distances outside of it cut nothing."""
    pieces, current, passed, pending = [], [line[0]], 0.0, [each for each in distances if each > 0]
    for start, end in itertools.pairwise(line):
        edge = np.stack([start, end])
        length = line_length(edge, geodesic) if in_metres else float(np.hypot(*(end - start)))
        while pending and pending[0] < passed + length:
            place = _between(start, end, (pending.pop(0) - passed) / length, geodesic)
            pieces.append([*current, place])
            current = [place]
        passed += length
        current.append(end)
    return [shapely.LineString(piece) for piece in (*pieces, current)]


def _between(
    start: NDArray[np.float64], end: NDArray[np.float64], fraction: float, geodesic: bool
) -> NDArray[np.float64]:
    if not geodesic:
        return start + (end - start) * fraction
    ends = vectors_of(np.stack([start, end]))
    return np.asarray(np.round(coordinates_of(along(ends[0], ends[1], np.array([fraction])))[0], DECIMALS))


@registry.implements("Geometry.coveringGrid")
def covering_grid(geometry: Geometry, proj: Projection, scale: float | None = None) -> Collection:
    """The cells of a lattice that a geometry reaches into, named by column and row."""
    bounded(geometry, "Geometry.coveringGrid")
    lattice = proj if scale is None else proj.at_scale(scale)
    shape = geometry.in_crs(lattice.crs)
    if shape.is_empty:
        return Collection([])
    west, south, east, north = shape.bounds
    at = lattice.positions(np.array([west, west, east, east]), np.array([south, north, south, north]))
    cols = range(int(np.floor(at.cols.min())), int(np.ceil(at.cols.max() + (west == east))))
    rows = range(int(np.floor(at.rows.min())), int(np.ceil(at.rows.max() + (south == north))))
    if len(cols) * len(rows) > MOST_CELLS:
        raise invalid(f"Geometry.coveringGrid: {len(cols) * len(rows)} cells are too many; give a scale.")
    shapely.prepare(shape)
    cells = ((col, row, _cell(lattice, col, row)) for row in rows for col in cols)
    kept = [(col, row, cell) for col, row, cell in cells if _reaches_into(shape, cell.shape)]
    return Collection([Feature(cell, {"system:index": f"{col},{row}"}) for col, row, cell in kept])


def _cell(lattice: Projection, col: int, row: int) -> Geometry:
    rows, cols = np.array([row, row + 1.0]), np.array([col, col + 1.0])
    if not lattice.is_separable:
        raise invalid("Geometry.coveringGrid: a rotated lattice is not emulated.")
    x, y = lattice.corners(rows, cols)
    return box((float(x.min()), float(y.min()), float(x.max()), float(y.max())), lattice.crs)


def _reaches_into(shape: BaseGeometry, cell: BaseGeometry) -> bool:
    """Whether more than an edge is shared, where both have an inside."""
    if not shape.intersects(cell):
        return False
    return shape.area == 0 or not shape.touches(cell)
