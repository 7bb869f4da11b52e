"""What one geometry is: its size, its place, its parts and its kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.geometry_relations import crs_of
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.values import measures
from airflow_ee.emulator.values.geometry import Geometry, box, polygons
from airflow_ee.emulator.values.sphere import DECIMALS, highest


def bounded(geometry: Geometry, function: str) -> Geometry:
    """A geometry that ends somewhere."""
    if geometry.unbounded:
        raise invalid(f"{function}: an unbounded geometry has no finite measure.")
    return geometry


@registry.implements("Geometry.area")
def area(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> float:  # noqa: ARG001 -- exact
    """Square metres on the ellipsoid, or square units of a projection."""
    bounded(geometry, "Geometry.area")
    crs = crs_of(proj, "Geometry.area")
    return measures.area(geometry) if crs is None else float(geometry.in_crs(crs).area)


@registry.implements("Geometry.length")
def length(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> float:  # noqa: ARG001 -- exact
    """Metres along lines on the ellipsoid, or units of a projection."""
    crs = crs_of(proj, "Geometry.length")
    if crs is None:
        return measures.length(geometry)
    return float(sum(line.length for line in measures.lines(geometry.in_crs(crs))))


@registry.implements("Geometry.perimeter")
def perimeter(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> float:  # noqa: ARG001 -- exact
    """Metres around polygons on the ellipsoid, or units of a projection."""
    bounded(geometry, "Geometry.perimeter")
    crs = crs_of(proj, "Geometry.perimeter")
    if crs is None:
        return measures.perimeter(geometry)
    return float(sum(part.length for part in polygons(geometry.in_crs(crs))))


@registry.implements("Geometry.centroid")
def centroid(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> Geometry:  # noqa: ARG001 -- exact
    """The centre of what has most dimensions, on the sphere."""
    if geometry.shape.is_empty:
        raise invalid("Geometry.centroid: an empty geometry has no centre.")
    bounded(geometry, "Geometry.centroid")
    crs = crs_of(proj, "Geometry.centroid") or WGS84
    place = np.round(measures.centre(geometry), DECIMALS)
    x, y = convert(WGS84, crs, place[:1], place[1:])
    return Geometry(shapely.Point(float(x[0]), float(y[0])), crs, crs.is_geographic)


@registry.implements("Geometry.bounds")
def bounds(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> Geometry:  # noqa: ARG001 -- exact
    """The box around a geometry, in longitude and latitude unless told otherwise."""
    crs = crs_of(proj, "Geometry.bounds") or WGS84
    if geometry.unbounded:
        return geometry
    west, south, east, north = geometry.bounds_in(crs)
    if geometry.geodesic and geometry.crs == WGS84 and _goes_round_the_back(geometry):
        raise invalid("Geometry.bounds: shapes across the antimeridian are not emulated.")
    if geometry.geodesic and geometry.crs == crs == WGS84 and geometry.has_edges and geometry.even_odd:
        lines = [*measures.lines(geometry.shape), *measures.rings(geometry.shape)]
        reach = np.concatenate([highest(shapely.get_coordinates(line)) for line in lines])
        south, north = min(south, float(reach.min())), max(north, float(reach.max()))
    return box((west, south, east, north), crs)


def _goes_round_the_back(geometry: Geometry) -> bool:
    """Whether an edge crosses the antimeridian; one from -180 to 180 goes round the front."""
    for line in (*measures.lines(geometry.shape), *measures.rings(geometry.shape)):
        steps = np.abs(np.diff(shapely.get_coordinates(line)[:, 0]))
        if ((steps > 180.0) & (steps < 360.0)).any():
            return True
    return False


@registry.implements("Geometry.coordinates")
def coordinates(geometry: Geometry) -> Any:
    """The coordinates as lists."""
    if geometry.shape.is_empty:
        return []
    if isinstance(geometry.shape, shapely.GeometryCollection):
        raise invalid("Geometry.coordinates: those of a GeometryCollection are not emulated; take its geometries.")
    return geometry.as_value()["coordinates"]


@registry.implements("Geometry.geometries")
def geometries(geometry: Geometry) -> list[Geometry]:
    """The parts of a geometry, or itself."""
    parts = shapely.get_parts(geometry.shape)
    single = len(parts) == 1 and parts[0].geom_type == geometry.shape.geom_type
    if single:
        return [geometry]
    return [Geometry(part, geometry.crs, geometry.geodesic, geometry.even_odd) for part in parts]


@registry.implements("Geometry.type")
def geometry_type(geometry: Geometry) -> str:
    """The GeoJSON type."""
    return geometry.shape.geom_type


@registry.implements("Geometry.projection")
def geometry_projection(geometry: Geometry) -> Projection:
    """The system, at one unit a pixel."""
    return Projection(geometry.crs)


@registry.implements("Geometry.geodesic", "Geometry.edgesAreGeodesics")
def geodesic(geometry: Geometry) -> bool:
    """Whether edges are great circles."""
    return geometry.geodesic


@registry.implements("Geometry.isUnbounded")
def is_unbounded(geometry: Geometry) -> bool:
    """Whether the geometry is everywhere."""
    return geometry.unbounded
