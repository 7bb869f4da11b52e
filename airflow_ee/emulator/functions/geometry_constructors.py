"""Geometries from coordinates, or from other geometries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.affinity import affine_transform
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_geometry, registry
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.values.geometry import Geometry, box

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def plain_crs(projection: Projection, function: str) -> Crs:
    """The system of a projection, where vertices in pixels of a lattice are not emulated."""
    if projection.transform != IDENTITY:
        raise invalid(f"{function}: a projection with a transform of its own is not emulated for geometries.")
    return projection.crs


@dataclass(frozen=True, slots=True)
class _Given:
    """Nested coordinates, and what geometries among them say of their edges and systems."""

    numbers: Any
    sources: tuple[Geometry, ...] = ()

    @classmethod
    def of(cls, value: Any) -> _Given:
        """Geometries are taken apart into their coordinates."""
        if isinstance(value, Geometry):
            return cls(value.as_value()["coordinates"], (value,))
        if not isinstance(value, list):
            return cls(value)
        parts = [cls.of(each) for each in value]
        return cls([part.numbers for part in parts], tuple(source for part in parts for source in part.sources))

    def crs(self, asked: Projection | None, function: str) -> Crs:
        """The system asked for, else that of the geometries, else longitude and latitude."""
        found = {source.crs for source in self.sources}
        wanted = _system(asked, function, found) if asked is not None else next(iter(found), WGS84)
        if found - {wanted}:
            raise invalid(f"{function}: geometries of another projection are not emulated; transform them first.")
        return wanted

    def geodesic(self, asked: bool | None, crs: Crs, function: str) -> bool:
        """Whether edges are great circles: as asked, else as in the geometries, else in longitude and latitude."""
        found = {source.geodesic for source in self.sources if source.has_edges}
        if asked is not None and found - {asked}:
            raise invalid(f"{function}: edges of another kind are not emulated; transform the geometries first.")
        if len(found) > 1:
            raise invalid(f"{function}: All inputs must be geodesic, or none.")
        if asked is None:
            asked = next(iter(found), crs.is_geographic)
        return asked


def _made(
    function: str,
    coordinates: Any,
    make: Callable[[Any], BaseGeometry],
    crs: Projection | None,
    geodesic: bool | None = None,
    even_odd: bool = True,
) -> Geometry:
    given = _Given.of(coordinates)
    try:
        shape = make(given.numbers)
    except (ShapelyError, TypeError, ValueError, LookupError) as problem:
        raise invalid(f"{function}: Invalid coordinates: {problem}.") from None
    system = given.crs(crs, function)
    return Geometry(_placed(shape, crs), system, given.geodesic(geodesic, system, function), even_odd)


def _system(projection: Projection, function: str, sources: set[Crs]) -> Crs:
    """The system of coordinates, which may count in pixels of its lattice; geometries among them have vertices already."""
    return plain_crs(projection, function) if sources else projection.crs


def _placed(shape: BaseGeometry, projection: Projection | None) -> BaseGeometry:
    """A shape given in pixels of a lattice, in the units of its system."""
    if projection is None or projection.transform == IDENTITY:
        return shape
    a, b, c, d, e, f = projection.transform
    return affine_transform(shape, [a, b, d, e, c, f])


def _pairs(coordinates: list[Any]) -> list[Any]:
    """Pairs of numbers, also from one flat list."""
    if coordinates and all(isinstance(each, int | float) for each in coordinates):
        return list(zip(coordinates[::2], coordinates[1::2], strict=True))
    return [(each[0], each[1]) for each in coordinates]


def _depth(coordinates: Any) -> int:
    """How many lists lie around a number; -1 where there is no number at all."""
    depth = 0
    while isinstance(coordinates, list | tuple):
        if not coordinates:
            return -1
        coordinates, depth = coordinates[0], depth + 1
    return depth


def _wrapped(coordinates: list[Any], depth: int) -> list[Any]:
    """Coordinates in as many lists as their kind has; a lone part is the only one. Flat numbers are pairs."""
    found = _depth(coordinates)
    if found == 1:
        coordinates, found = _pairs(coordinates), 2
    if found > depth:
        raise ValueError("coordinates are nested too deeply")
    for _ in range(depth - found if found > 0 else 0):
        coordinates = [coordinates]
    return coordinates


def _ring(coordinates: list[Any]) -> shapely.LinearRing:
    return shapely.LinearRing(_pairs(coordinates))


def _polygon(rings: list[Any]) -> shapely.Polygon:
    if not rings:
        return shapely.Polygon()
    shell, *holes = [_ring(ring) for ring in rings]
    return shapely.Polygon(shell, holes)


@registry.implements("GeometryConstructors.Point")
def point(coordinates: Any, crs: Projection | None = None) -> Geometry:
    """One place."""

    def make(numbers: Any) -> BaseGeometry:
        x, y = numbers
        return shapely.Point(x, y)

    return _made("GeometryConstructors.Point", coordinates, make, crs)


@registry.implements("GeometryConstructors.MultiPoint")
def multi_point(coordinates: list[Any], crs: Projection | None = None) -> Geometry:
    """Several places."""
    return _made(
        "GeometryConstructors.MultiPoint", coordinates, lambda numbers: shapely.MultiPoint(_wrapped(numbers, 2)), crs
    )


@registry.implements("GeometryConstructors.LineString")
def line_string(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- nothing is reprojected
) -> Geometry:
    """A line."""

    def make(numbers: Any) -> BaseGeometry:
        return shapely.LineString(_pairs(numbers))

    return _made("GeometryConstructors.LineString", coordinates, make, crs, geodesic)


@registry.implements("GeometryConstructors.LinearRing")
def linear_ring(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- nothing is reprojected
) -> Geometry:
    """A closed line."""
    return _made("GeometryConstructors.LinearRing", coordinates, _ring, crs, geodesic)


@registry.implements("GeometryConstructors.MultiLineString")
def multi_line_string(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- nothing is reprojected
) -> Geometry:
    """Several lines."""

    def make(numbers: Any) -> BaseGeometry:
        return shapely.MultiLineString([_pairs(line) for line in _wrapped(numbers, 3)])

    return _made("GeometryConstructors.MultiLineString", coordinates, make, crs, geodesic)


@registry.implements("GeometryConstructors.Polygon")
def polygon(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- nothing is reprojected
    even_odd: bool = True,
) -> Geometry:
    """An area: the first ring without the others."""

    def make(numbers: Any) -> BaseGeometry:
        return _polygon(_wrapped(numbers, 3))

    return _made("GeometryConstructors.Polygon", coordinates, make, crs, geodesic, even_odd)


@registry.implements("GeometryConstructors.MultiPolygon")
def multi_polygon(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- nothing is reprojected
    even_odd: bool = True,
) -> Geometry:
    """Several areas."""

    def make(numbers: Any) -> BaseGeometry:
        return shapely.MultiPolygon([_polygon(rings) for rings in _wrapped(numbers, 4)])

    return _made("GeometryConstructors.MultiPolygon", coordinates, make, crs, geodesic, even_odd)


@registry.implements("GeometryConstructors.Rectangle")
def rectangle(
    coordinates: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    even_odd: bool = True,
) -> Geometry:
    """A box from its low and its high corner."""

    def make(numbers: Any) -> BaseGeometry:
        (west, south), (east, north) = _pairs(numbers)
        return box((min(west, east), min(south, north), max(west, east), max(south, north))).shape

    return _made("GeometryConstructors.Rectangle", coordinates, make, crs, geodesic, even_odd)


@registry.implements("GeometryConstructors.BBox")
def bounding_box(west: float, south: float, east: float, north: float) -> Geometry:
    """A box along meridians and parallels, wrapped into the world."""
    if not west < float("inf") or not south <= north:
        raise invalid("GeometryConstructors.BBox: West must not be +Infinity, and south must be at most north.")
    south, north = max(south, -90.0), min(north, 90.0)
    if east - west >= 360.0:
        return box((-180.0, south, 180.0, north))
    start = _wrapped_longitude(west)
    end = _wrapped_longitude(east)
    return box((start, south, end + 360.0 if end < start else end, north))


def _wrapped_longitude(longitude: float) -> float:
    """From -180 (not included, as the clients do it) to 180."""
    turned = longitude % 360.0
    return turned - 360.0 if turned > 180.0 else turned


@registry.implements("GeometryConstructors.MultiGeometry")
def multi_geometry(
    geometries: list[Any],
    crs: Projection | None = None,
    geodesic: bool | None = None,
    max_error: Any = None,  # noqa: ARG001 -- nothing is reprojected
) -> Geometry:
    """Geometries of any kind in one."""
    function = "GeometryConstructors.MultiGeometry"
    parts = tuple(as_geometry(each) for each in geometries)
    if any(not part.even_odd for part in parts):
        raise invalid(f"{function}: polygons with evenOdd false are not emulated here.")
    given = _Given(None, parts)
    system = given.crs(crs, function)
    shape = shapely.GeometryCollection([part.shape for part in parts])
    return Geometry(shape, system, given.geodesic(geodesic, system, function))
