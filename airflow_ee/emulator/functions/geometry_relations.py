"""Two geometries: whether they meet, how far they are apart, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import shapely
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry
from shapely.ops import nearest_points

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.geometry_constructors import plain_crs
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.values.geometry import Geometry, polygons
from airflow_ee.emulator.values.measures import between, least_distance, nearest_places
from airflow_ee.emulator.values.planes import common_plane


def margin_of(max_error: Any) -> float | None:
    """The error margin in metres, None where none is given; any at all where it is infinite."""
    if isinstance(max_error, Mapping):
        return float("inf") if max_error.get("unit") == "infinite" else max_error.get("value")
    if max_error is None or (isinstance(max_error, int | float) and not isinstance(max_error, bool)):
        return max_error
    raise invalid("An error margin is a number of metres or an ErrorMargin.")


def crs_of(projection: Projection | None, function: str) -> Crs | None:
    """The system that an operation is asked to take place in."""
    return None if projection is None else plain_crs(projection, function)


def combined(
    name: str, left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None
) -> Geometry:
    """The union, intersection or difference of two geometries."""
    if left.unbounded or right.unbounded:
        return _with_everything(name, left, right)
    plane = common_plane((left, right), crs_of(proj, name), margin_of(max_error), name)
    try:
        result = _SETS[name](plane.flat(left), plane.flat(right), grid_size=plane.snapping)
    except GEOSException as problem:
        raise invalid(f"{name}: Unable to perform this geometry operation: {problem}") from None
    if left.is_polygonal and right.is_polygonal:
        result = only_polygons(result)
    return plane.back(result)


def only_polygons(shape: BaseGeometry) -> BaseGeometry:
    """A shape without the edges and points where others merely touch it."""
    parts = polygons(shape)
    if not parts:
        return shapely.GeometryCollection()
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _with_everything(name: str, left: Geometry, right: Geometry) -> Geometry:
    if name == "Geometry.intersection":
        return right if left.unbounded else left
    if name == "Geometry.union":
        return left if left.unbounded else right
    if name == "Geometry.difference" and right.unbounded:
        return Geometry(shapely.GeometryCollection(), geodesic=True)
    raise invalid(f"{name}: what is left of an unbounded geometry is not emulated.")


_SETS: dict[str, Callable[..., Any]] = {
    "Geometry.intersection": shapely.intersection,
    "Geometry.union": shapely.union,
    "Geometry.difference": shapely.difference,
    "Geometry.symmetricDifference": shapely.symmetric_difference,
}


def related(name: str, left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None) -> bool:
    """Whether two geometries meet, or one lies within the other."""
    if left.shape.is_empty or right.shape.is_empty:
        return name == "Geometry.disjoint"
    if left.unbounded or right.unbounded:
        return _RELATED_TO_EVERYTHING[name](left.unbounded, right.unbounded)
    crs, margin = crs_of(proj, name), margin_of(max_error)
    if margin and crs is None and least_distance(left, right) > margin:
        return name == "Geometry.disjoint"
    plane = common_plane((left, right), crs, margin, name)
    return bool(_RELATIONS[name](plane.flat(left), plane.flat(right)))


_RELATIONS: dict[str, Callable[[BaseGeometry, BaseGeometry], bool]] = {
    "Geometry.intersects": lambda left, right: left.intersects(right),
    "Geometry.disjoint": lambda left, right: left.disjoint(right),
    "Geometry.contains": lambda left, right: left.covers(right),
    "Geometry.containedIn": lambda left, right: left.covered_by(right),
}
_RELATED_TO_EVERYTHING: dict[str, Callable[[bool, bool], bool]] = {
    "Geometry.intersects": lambda _left, _right: True,
    "Geometry.disjoint": lambda _left, _right: False,
    "Geometry.contains": lambda left, _right: left,
    "Geometry.containedIn": lambda _left, right: right,
}


def separation(
    function: str, left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None
) -> float:
    """The least distance: metres on the ellipsoid, or units of a projection."""
    _refuse_empty(function, left, right)
    crs = crs_of(proj, function)
    if crs is not None:
        return float(left.in_crs(crs).distance(right.in_crs(crs)))
    if isinstance(left.shape, shapely.Point) and isinstance(right.shape, shapely.Point):
        ends = [shapely.get_coordinates(each.in_crs(WGS84))[0] for each in (left, right)]
        return between(ends[0], ends[1])
    if related("Geometry.intersects", left, right, margin_of(max_error) or 1.0):
        return 0.0
    return between(*nearest_places(left, right))


def is_near(
    function: str,
    left: Geometry,
    right: Geometry,
    distance: float,
    max_error: Any = None,
    proj: Projection | None = None,
) -> bool:
    """Whether two geometries are not further apart than a distance."""
    _refuse_empty(function, left, right)
    if proj is None and least_distance(left, right) > distance:
        return False
    return separation(function, left, right, max_error, proj) <= distance


def _refuse_empty(function: str, left: Geometry, right: Geometry) -> None:
    if left.shape.is_empty or right.shape.is_empty:
        raise invalid(f"{function}: the distance to an empty geometry is not emulated.")


def nearest(
    function: str, left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None
) -> tuple[Geometry, Geometry] | None:
    """The place on each of two geometries that is nearest to the other; None where one is empty."""
    if left.shape.is_empty or right.shape.is_empty:
        return None
    if left.unbounded or right.unbounded:
        raise invalid(f"{function}: an arbitrary point of an unbounded geometry is not emulated.")
    crs = crs_of(proj, function)
    if crs is not None:
        one, other = nearest_points(left.in_crs(crs), right.in_crs(crs))
        return Geometry(one, crs, crs.is_geographic), Geometry(other, crs, crs.is_geographic)
    if related("Geometry.intersects", left, right, margin_of(max_error) or 1.0):
        shared = combined("Geometry.intersection", left, right, margin_of(max_error) or 1.0)
        corners = shapely.get_coordinates(shared.in_crs(WGS84))
        if len(corners):  # there are none where the two only come within the margin
            place = _as_places(corners)
            return place, place
    one_place, other_place = nearest_places(left, right)
    return _as_places(one_place[None, :]), _as_places(other_place[None, :])


def _as_places(coordinates: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Geometry:
    return Geometry(shapely.Point(np.round(coordinates[0], 12)), WGS84, geodesic=True)


def _declare(name: str, work: Callable[..., Any]) -> None:
    def apply(left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None) -> Any:
        return work(name, left, right, max_error, proj)

    registry.add(name, apply)


for _name in _SETS:
    _declare(_name, combined)
for _name in _RELATIONS:
    _declare(_name, related)


@registry.implements("Geometry.distance")
def distance(
    left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None, spherical: bool = False
) -> float:
    """The least distance between two geometries."""
    if spherical and proj is None:
        raise invalid("Geometry.distance: spherical distances are not emulated.")
    return separation("Geometry.distance", left, right, max_error, proj)


@registry.implements("Geometry.withinDistance")
def within_distance(
    left: Geometry, right: Geometry, distance: float, max_error: Any = None, proj: Projection | None = None
) -> bool:
    """Whether the distance is not greater than another."""
    return is_near("Geometry.withinDistance", left, right, distance, max_error, proj)


@registry.implements("Geometry.closestPoint")
def closest_point(
    left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None
) -> Geometry | None:
    """The place on the second geometry that is nearest to the first."""
    found = nearest("Geometry.closestPoint", left, right, max_error, proj)
    return None if found is None else found[1]


@registry.implements("Geometry.closestPoints")
def closest_points(
    left: Geometry, right: Geometry, max_error: Any = None, proj: Projection | None = None
) -> dict[str, Geometry]:
    """The nearest places on both."""
    found = nearest("Geometry.closestPoints", left, right, max_error, proj)
    return {} if found is None else {"left": found[0], "right": found[1]}
