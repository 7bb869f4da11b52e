"""Geometries and features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_geometry, registry
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry, box
from airflow_ee.emulator.values.image import Image

_GEOD = pyproj.Geod(ellps="WGS84")
_SPHERE_RADIUS = 6371010.0
"""Earth Engine buffers and measures on a sphere; areas and lengths here are on the ellipsoid."""


def _crs(projection: Projection | None) -> Crs:
    return projection.crs if projection is not None else WGS84


def made(function: str, make: Callable[[], BaseGeometry], crs: Projection | None, geodesic: bool | None) -> Geometry:
    """A geometry, or the refusal of coordinates that make none; edges are great circles unless told otherwise."""
    try:
        shape = make()
    except (ShapelyError, TypeError, ValueError, IndexError) as problem:
        raise invalid(f"{function}: Invalid coordinates: {problem}.") from None
    system = _crs(crs)
    return Geometry(shape, system, geodesic if geodesic is not None else system.is_geographic)


def _pairs(coordinates: list[Any]) -> list[Any]:
    """Pairs of numbers, also from one flat list."""
    if coordinates and all(isinstance(each, int | float) for each in coordinates):
        return list(zip(coordinates[::2], coordinates[1::2], strict=True))
    return coordinates


def _rings(coordinates: list[Any]) -> list[Any]:
    """A list of rings; a lone ring, or flat numbers, are one."""
    pairs = _pairs(coordinates)
    is_ring = bool(pairs) and isinstance(pairs[0][0], int | float)
    return [pairs] if is_ring else [_pairs(ring) for ring in pairs]


@registry.implements("GeometryConstructors.Point")
def point(coordinates: list[Any], crs: Projection | None = None) -> Geometry:
    """One place."""
    return made("GeometryConstructors.Point", lambda: shapely.Point(coordinates), crs, False)


@registry.implements("GeometryConstructors.MultiPoint")
def multi_point(coordinates: list[Any], crs: Projection | None = None) -> Geometry:
    """Several places."""
    return made("GeometryConstructors.MultiPoint", lambda: shapely.MultiPoint(_pairs(coordinates)), crs, False)


@registry.implements("GeometryConstructors.LineString")
def line_string(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001
) -> Geometry:
    """A line."""
    return made("GeometryConstructors.LineString", lambda: shapely.LineString(_pairs(coordinates)), crs, geodesic)


@registry.implements("GeometryConstructors.LinearRing")
def linear_ring(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001
) -> Geometry:
    """A closed line."""
    return made("GeometryConstructors.LinearRing", lambda: shapely.LinearRing(_pairs(coordinates)), crs, geodesic)


@registry.implements("GeometryConstructors.Polygon")
def polygon(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- shapes are exact
    even_odd: bool = True,  # noqa: ARG001 -- rings say what is outside
) -> Geometry:
    """An area: the first ring without the others."""

    def make() -> BaseGeometry:
        shell, *holes = _rings(coordinates)
        return shapely.Polygon(shell, holes)

    return made("GeometryConstructors.Polygon", make, crs, geodesic)


@registry.implements("GeometryConstructors.MultiPolygon")
def multi_polygon(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001
    even_odd: bool = True,  # noqa: ARG001
) -> Geometry:
    """Several areas."""

    def make() -> BaseGeometry:
        return shapely.union_all([shapely.Polygon(rings[0], rings[1:]) for rings in map(_rings, coordinates)])

    return made("GeometryConstructors.MultiPolygon", make, crs, geodesic)


@registry.implements("GeometryConstructors.Rectangle")
def rectangle(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    even_odd: bool = True,  # noqa: ARG001
) -> Geometry:
    """A box from two corners."""

    def make() -> BaseGeometry:
        (x1, y1), (x2, y2) = _pairs(coordinates)
        corners = shapely.MultiPoint([(x1, y1), (x2, y2)])
        return shapely.box(*corners.bounds)

    return made("GeometryConstructors.Rectangle", make, crs, geodesic)


@registry.implements("GeometryConstructors.BBox")
def bounding_box(west: float, south: float, east: float, north: float) -> Geometry:
    """A box along meridians and parallels."""
    return box((west, south, east, north))


@registry.implements("Geometry.bounds")
def bounds(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> Geometry:  # noqa: ARG001
    """The box around a geometry."""
    crs = proj.crs if proj is not None else geometry.crs
    return box(geometry.bounds_in(crs), crs)


@registry.implements("Geometry.centroid")
def centroid(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> Geometry:  # noqa: ARG001
    """The middle."""
    crs = proj.crs if proj is not None else geometry.crs
    return Geometry(geometry.in_crs(crs).centroid, crs)


@registry.implements("Geometry.area")
def area(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> float:  # noqa: ARG001
    """Square metres on the ellipsoid, or square units of a given projection."""
    if proj is not None:
        return float(geometry.in_crs(proj.crs).area)
    return abs(float(_GEOD.geometry_area_perimeter(shapely.force_2d(geometry.in_crs(WGS84)))[0]))


@registry.implements("Geometry.length", "Geometry.perimeter")
def length(geometry: Geometry, max_error: Any = None, proj: Projection | None = None) -> float:  # noqa: ARG001
    """Metres on the ellipsoid."""
    if proj is not None:
        return float(geometry.in_crs(proj.crs).length)
    return float(_GEOD.geometry_length(geometry.in_crs(WGS84)))


@registry.implements("Geometry.buffer")
def buffer(geometry: Geometry, distance: float, max_error: Any = None, proj: Projection | None = None) -> Geometry:  # noqa: ARG001
    """Everything within so many metres, drawn in an equal-distance projection about the middle."""
    if proj is not None:
        return Geometry(geometry.in_crs(proj.crs).buffer(distance, quad_segs=16), proj.crs)
    middle = geometry.in_crs(WGS84).centroid
    local = Crs(f"+proj=aeqd +lat_0={middle.y} +lon_0={middle.x} +R={_SPHERE_RADIUS} +units=m")
    grown = Geometry(geometry.in_crs(local).buffer(distance, quad_segs=16), local)
    return Geometry(grown.in_crs(WGS84), WGS84, geodesic=True)


@registry.implements("Geometry.transform")
def transform(
    geometry: Geometry,
    proj: Projection | None = None,
    max_error: Any = None,  # noqa: ARG001 -- shapes are exact
    geodesic: bool | None = None,
) -> Geometry:
    """The geometry in another system."""
    crs = _crs(proj)
    return Geometry(geometry.in_crs(crs), crs, bool(geodesic))


@registry.implements("Geometry.coordinates")
def coordinates(geometry: Geometry) -> Any:
    """The coordinates as lists."""
    return geometry.as_value()["coordinates"]


@registry.implements("Geometry.type")
def geometry_type(geometry: Geometry) -> str:
    """The GeoJSON type."""
    return geometry.shape.geom_type


@registry.implements("Geometry.projection")
def geometry_projection(geometry: Geometry) -> Projection:
    """The system, at one unit a pixel."""
    return Projection(geometry.crs)


def _combining(name: str, combine: Callable[[BaseGeometry, BaseGeometry], Any]) -> None:
    def apply(left: Any, right: Any, max_error: Any = None, proj: Projection | None = None) -> Any:  # noqa: ARG001
        crs = _crs(proj)
        result = combine(as_geometry(left).in_crs(crs), as_geometry(right).in_crs(crs))
        return Geometry(result, crs) if isinstance(result, BaseGeometry) else bool(np.asarray(result))

    registry.add(f"Geometry.{name}", apply)


for _name, _combine in {
    "intersection": lambda left, right: left.intersection(right),
    "union": lambda left, right: left.union(right),
    "difference": lambda left, right: left.difference(right),
    "symmetricDifference": lambda left, right: left.symmetric_difference(right),
    "intersects": lambda left, right: left.intersects(right),
    "contains": lambda left, right: left.contains(right),
    "containedIn": lambda left, right: left.within(right),
    "disjoint": lambda left, right: left.disjoint(right),
}.items():
    _combining(_name, _combine)


@registry.implements("Feature")
def feature(geometry: Any = None, metadata: dict[str, Any] | None = None, geometry_key: str | None = None) -> Feature:  # noqa: ARG001
    """A geometry with properties."""
    if isinstance(geometry, Feature):
        return geometry.with_properties({**geometry.properties, **(metadata or {})})
    return Feature(None if geometry is None else as_geometry(geometry), metadata or {})


@registry.implements("Feature.geometry", "Element.geometry", "Image.geometry")
def feature_geometry(
    feature: Any,
    max_error: Any = None,  # noqa: ARG001 -- shapes are exact
    proj: Projection | None = None,
    geodesics: bool | None = None,  # noqa: ARG001
) -> Geometry:
    """Where the element is."""
    own = feature.geometry() if isinstance(feature, Image) else as_geometry(feature)
    return own if proj is None else Geometry(own.in_crs(proj.crs), proj.crs)


@registry.implements("Feature.setGeometry")
def set_geometry(feature: Feature, geometry: Geometry | None = None) -> Feature:
    """The feature elsewhere."""
    return replace(feature, geometry=geometry)
