"""Planes that shapes are combined on, chosen so that the edges of all of them are straight there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, Crs
from airflow_ee.emulator.values.geometry import Geometry, polygons, segmented, sound
from airflow_ee.emulator.values.sphere import Gnomonic, vectors_of

STEP_DEGREES = 0.05
"""Straight edges in longitude and latitude are great circles with vertices this close, less than a metre off."""

SNAP_RADIANS = 1e-14

NO_ERROR_MARGIN = "Unable to perform this geometry operation. Please specify a non-zero error margin."


@dataclass(frozen=True, slots=True)
class Plane:
    """A coordinate system's own plane, or one that touches the sphere."""

    crs: Crs = WGS84
    view: Gnomonic | None = None

    @property
    def snapping(self) -> float | None:
        """Edges this close are one: great circles that coincide differ by rounding when they come onto a plane."""
        return None if self.view is None else SNAP_RADIANS

    def flat(self, geometry: Geometry) -> BaseGeometry:
        """A geometry on this plane."""
        if self.view is None:
            return geometry.in_crs(self.crs)
        if geometry.geodesic and geometry.crs == WGS84 and geometry.even_odd:
            return sound(self.view.show(geometry.shape))
        return sound(self.view.show(segmented(geometry.in_crs(WGS84), STEP_DEGREES)))

    def back(self, shape: BaseGeometry) -> Geometry:
        """What was found on this plane, as a geometry."""
        if shape.is_empty:
            return Geometry(shapely.GeometryCollection(), self.crs, geodesic=self.view is not None)
        if self.view is None:
            return Geometry(oriented(shape), self.crs)
        return Geometry(oriented(shapely.remove_repeated_points(self.view.back(shape))), WGS84, geodesic=True)


def oriented(shape: BaseGeometry) -> BaseGeometry:
    """A shape whose polygons go round counter-clockwise, and their holes clockwise."""
    if isinstance(shape, shapely.Polygon) and not shape.is_empty:
        holes = [hole.coords if not hole.is_ccw else hole.coords[::-1] for hole in shape.interiors]
        return shapely.Polygon(shape.exterior.coords if shape.exterior.is_ccw else shape.exterior.coords[::-1], holes)
    if isinstance(shape, shapely.MultiPolygon | shapely.GeometryCollection):
        kind: Any = type(shape)
        result: BaseGeometry = kind([oriented(part) for part in shape.geoms])
        return result
    return shape


def common_plane(geometries: Iterable[Geometry], crs: Crs | None, margin: float | None, function: str) -> Plane:
    """Where geometries meet: the system asked for, the one that all are straight in, else the sphere.

    Straight edges come onto the sphere with an error, which the caller has to allow.
    """
    given = list(geometries)
    if crs is not None:
        return Plane(crs)
    with_edges = [each for each in given if each.has_edges]
    planar = [each for each in with_edges if not each.geodesic]
    if planar and len(planar) == len(with_edges) and len({each.crs for each in planar}) == 1:
        return Plane(planar[0].crs)
    if (planar or any(each.crs != WGS84 for each in with_edges)) and not margin:
        raise invalid(f"{function}: {NO_ERROR_MARGIN}")
    return Plane(WGS84, view_of(given))


def view_of(geometries: Iterable[Geometry]) -> Gnomonic | None:
    """The plane that touches the sphere in the middle of geometries; None where they are too wide for one."""
    corners = [_corners(each) for each in geometries if not each.shape.is_empty]
    if not corners or any(not np.isfinite(each).all() for each in corners):
        return None
    return Gnomonic.about(vectors_of(np.concatenate(corners)))


def _corners(geometry: Geometry) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    turned = not geometry.even_odd and any(not part.exterior.is_ccw for part in polygons(geometry.shape))
    if geometry.crs == WGS84 and not turned:
        return shapely.get_coordinates(geometry.shape)
    return shapely.get_coordinates(geometry.in_crs(WGS84))
