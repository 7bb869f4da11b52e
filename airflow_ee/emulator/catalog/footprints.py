"""Outlines of simulated scenes in longitude and latitude."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.catalog.places import zone_meridian
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.values.geometry import Geometry

Points = NDArray[np.float64]


def clipped(shape: shapely.Polygon, distance: Callable[[Points], Points], reach: float) -> shapely.Polygon:
    """The part of a convex polygon where a distance is within ``-reach`` and ``reach``; straight between the crossings."""
    points = np.asarray(shape.exterior.coords)[:-1]
    if (np.abs(distance(points)) <= reach).all():
        return shape
    for sign in (1.0, -1.0):
        points = _half(points, reach - sign * distance(points))
        if len(points) < 3:
            return shapely.Polygon()
    return shapely.Polygon(points)


def _half(points: Points, inside: Points) -> Points:
    """Sutherland and Hodgman's cut: vertices where ``inside`` is not negative, and the crossings."""
    kept: list[Points] = []
    for number, point in enumerate(points):
        before, now = inside[number - 1], inside[number]
        if (before >= 0) != (now >= 0):
            share = before / (before - now)
            kept.append(points[number - 1] + (point - points[number - 1]) * share)
        if now >= 0:
            kept.append(point)
    return np.array(kept)


def in_degrees(shape: shapely.Polygon, crs: Crs) -> Geometry:
    """A polygon of a UTM zone in longitude and latitude; one that crosses the antimeridian is cut there."""
    if shape.is_empty:
        return Geometry(shape)
    points = np.asarray(shape.exterior.coords)
    longitude, latitude = convert(crs, WGS84, points[:, 0], points[:, 1])
    middle = zone_meridian(crs)
    east = middle + (longitude - middle + 180.0) % 360.0 - 180.0
    whole: BaseGeometry = shapely.Polygon(np.column_stack([east, latitude]))
    if not whole.is_valid:
        whole = shapely.make_valid(whole)
    if east.min() >= -180.0 and east.max() <= 180.0:
        return Geometry(whole)
    turn = 360.0 if east.min() < -180.0 else -360.0
    world = shapely.box(-180.0, -90.0, 180.0, 90.0)
    moved = shapely.transform(whole, lambda xy: xy + np.array([turn, 0.0]))
    return Geometry(shapely.union_all([whole.intersection(world), moved.intersection(world)]))
