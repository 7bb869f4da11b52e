"""Areas, lengths, distances and centres of geometries: on the WGS 84 ellipsoid, or in a projection's own units."""

from __future__ import annotations

import itertools
from functools import lru_cache
from math import asin, ceil, pi, sqrt

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.values.geometry import Geometry, polygons, sound
from airflow_ee.emulator.values.sphere import (
    Gnomonic,
    Segments,
    angles,
    closest,
    coordinates_of,
    unit,
    vectors_of,
    walked,
)

_GEOD = pyproj.Geod(ellps="WGS84")
_AXIS = 6378137.0
_ECCENTRICITY = np.sqrt(_GEOD.es)
_STEP = np.radians(0.05)
"""Steps of 5.6 km, along which any edge is as long as its chord to one part in ten million."""

_MOST_STEPS = 4000

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(5) + np.array([[1.0], [0.0]])) / 2
"""Gauss's quadrature from 0 to 1."""

Coordinates = NDArray[np.float64]


def lines(shape: BaseGeometry) -> list[shapely.LineString]:
    """The lines and lone rings that a shape is made of."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return [part for part in parts if isinstance(part, shapely.LineString) and not part.is_empty]


def rings(shape: BaseGeometry) -> list[shapely.LinearRing]:
    """The rings of a shape's polygons."""
    return [ring for part in polygons(shape) for ring in (part.exterior, *part.interiors)]


def points(shape: BaseGeometry) -> list[shapely.Point]:
    """The lone places that a shape is made of."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return [part for part in parts if isinstance(part, shapely.Point) and not part.is_empty]


def area(geometry: Geometry) -> float:
    """Square metres; parts that overlap count each."""
    if not geometry.even_odd:
        return _area_of(geometry.in_crs(WGS84), geodesic=False)
    if geometry.crs == WGS84:
        return sum(_area_of(_sound(part, geometry.geodesic), geometry.geodesic) for part in polygons(geometry.shape))
    parts = (Geometry(part, geometry.crs, geometry.geodesic) for part in polygons(geometry.shape))
    return sum(_area_of(part.in_crs(WGS84), geodesic=False) for part in parts)


def _sound(part: BaseGeometry, geodesic: bool) -> BaseGeometry:
    """A polygon whose rings do not cross, neither on the sphere nor in the plane, whichever it is on."""
    view = Gnomonic.about(vectors_of(shapely.get_coordinates(part))) if geodesic else None
    if view is None:
        return sound(part)
    flat = view.show(part)
    return part if flat.is_valid else view.back(sound(flat))


def _area_of(shape: BaseGeometry, geodesic: bool) -> float:
    total = 0.0
    for part in polygons(shape):
        shell, *holes = [
            _ring_area(shapely.get_coordinates(ring), geodesic) for ring in (part.exterior, *part.interiors)
        ]
        total += shell - sum(holes)
    return total


def _ring_area(ring: Coordinates, geodesic: bool) -> float:
    """Area inside of a ring: the integral of the authalic latitude's sine over longitude."""
    latitudes, turned = _swept_by_circles(ring) if geodesic else _swept_by_straight_edges(ring)
    integral = abs(float((_authalic(latitudes) * turned).sum()))
    pole = float(_authalic(np.array(pi / 2)))
    encloses_pole = abs(float(turned.sum())) > pi
    return _AXIS**2 / 2 * (2 * pi * pole - integral if encloses_pole else integral)


def _swept_by_straight_edges(ring: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Latitudes at the nodes of a quadrature along a ring, and the longitude that each stands for, in radians."""
    places = np.radians(_fine(ring))
    steps = np.diff(places, axis=0)
    return places[:-1, 1:] + steps[:, 1:] * _NODES, steps[:, :1] * _WEIGHTS


def _swept_by_circles(ring: Coordinates) -> tuple[Coordinates, Coordinates]:
    """The same along great circles: the longitude turns with the vertical part of the moment of position and step."""
    places = walked(vectors_of(ring), np.radians(1.0))
    starts, ends = places[:-1], places[1:]
    spans = angles(starts, ends)[:, None, None]
    forward = unit(ends - starts * np.einsum("ij,ij->i", starts, ends)[:, None])[:, None, :]
    turns = spans * _NODES[:, None]
    at = starts[:, None, :] * np.cos(turns) + forward * np.sin(turns)
    onward = (forward * np.cos(turns) - starts[:, None, :] * np.sin(turns)) * spans
    across = np.hypot(at[..., 0], at[..., 1])
    moment = at[..., 0] * onward[..., 1] - at[..., 1] * onward[..., 0]
    rate = np.divide(moment, across**2, out=np.zeros_like(moment), where=across > 0)
    return np.arctan2(at[..., 2], across), rate * _WEIGHTS


def _authalic(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Snyder's q: the area from the equator to a latitude, in units of half the squared axis a radian."""
    sine = np.sin(latitude)
    part = sine / (1 - (_ECCENTRICITY * sine) ** 2) + np.arctanh(_ECCENTRICITY * sine) / _ECCENTRICITY
    return np.asarray((1 - _ECCENTRICITY**2) * part)


def _fine(line: Coordinates) -> Coordinates:
    """A line of straight edges in longitude and latitude, with steps short enough to measure along."""
    parts = [line[:1]]
    for start, end in itertools.pairwise(line):
        count = min(_MOST_STEPS, max(1, ceil(np.radians(float(np.abs(end - start).max())) / _STEP)))
        parts.append(start + (end - start) * np.linspace(0, 1, count + 1)[1:, None])
    return np.concatenate(parts)


def length(geometry: Geometry) -> float:
    """Metres along the lines; polygons have none."""
    shape = geometry.shape if geometry.crs == WGS84 else geometry.in_crs(WGS84)
    geodesic = geometry.geodesic and geometry.crs == WGS84
    return sum(line_length(shapely.get_coordinates(line), geodesic) for line in lines(shape))


def perimeter(geometry: Geometry) -> float:
    """Metres around the polygons; lines have none."""
    shape = geometry.shape if geometry.crs == WGS84 else geometry.in_crs(WGS84)
    geodesic = geometry.geodesic and geometry.crs == WGS84
    return sum(line_length(shapely.get_coordinates(ring), geodesic) for ring in rings(shape))


def line_length(line: Coordinates, geodesic: bool) -> float:
    """Metres along longitudes and latitudes."""
    places = coordinates_of(walked(vectors_of(line), _STEP)) if geodesic else _fine(line)
    return float(_GEOD.line_length(places[:, 0], places[:, 1]))


def between(first: Coordinates, second: Coordinates) -> float:
    """Metres on the ellipsoid between two places."""
    return float(_GEOD.inv(first[0], first[1], second[0], second[1])[2])


def segments(geometry: Geometry) -> Segments:
    """All edges as great circles; straight ones in steps."""
    shape = geometry.in_crs(WGS84) if geometry.crs != WGS84 else geometry.shape
    own = geometry.geodesic and geometry.crs == WGS84
    chains = [shapely.get_coordinates(line) for line in (*lines(shape), *rings(shape))]
    chains = [chain if own else _fine(chain) for chain in chains]
    alone = [shapely.get_coordinates(point) for point in points(shape)]
    starts = [vectors_of(chain[:-1]) for chain in chains] + [vectors_of(place) for place in alone]
    ends = [vectors_of(chain[1:]) for chain in chains] + [vectors_of(place) for place in alone]
    return Segments(np.concatenate(starts), np.concatenate(ends))


LEAST_RADIUS = 6335439.0
"""Metres a radian: the ellipsoid is nowhere bent more strongly."""


@lru_cache(maxsize=65536)
def _cap(geometry: Geometry) -> tuple[float, float, float, float]:
    """A round piece of the sphere that a geometry lies in: a unit vector, and the angle around it."""
    parts = segments(geometry)
    ends = np.concatenate([parts.starts, parts.ends])
    middle = unit(ends.mean(axis=0))
    radius = float(angles(ends, np.broadcast_to(middle, ends.shape)).max()) if middle.any() else pi
    # Great circles stay inside of a cap that is less than a hemisphere, and so does what they enclose.
    whole = radius >= pi / 2 or not geometry.even_odd
    return float(middle[0]), float(middle[1]), float(middle[2]), pi if whole else radius


def least_distance(left: Geometry, right: Geometry) -> float:
    """Metres that two geometries are apart at least, found without looking at their edges again."""
    x1, y1, z1, radius1 = _cap(left)
    x2, y2, z2, radius2 = _cap(right)
    apart = 2.0 * asin(min(1.0, sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2 + (z1 - z2) ** 2) / 2.0))
    return max(0.0, apart - radius1 - radius2 - 1e-9) * LEAST_RADIUS


def nearest_places(left: Geometry, right: Geometry) -> tuple[Coordinates, Coordinates]:
    """Longitude and latitude of the nearest places on two geometries that do not meet."""
    one, other, _ = closest(segments(left), segments(right))
    both = coordinates_of(np.stack([one, other]))
    return both[0], both[1]


def centre(geometry: Geometry) -> Coordinates:
    """Longitude and latitude of the centre of mass of what has most dimensions, on the sphere."""
    if geometry.is_polygonal:
        total = _areal_centre(geometry)
    elif lines(geometry.shape):
        total = _linear_centre(segments(geometry))
    else:
        total = segments(geometry).starts.sum(axis=0)
    return np.asarray(coordinates_of(total[None, :])[0])


def _linear_centre(parts: Segments) -> NDArray[np.float64]:
    spans = angles(parts.starts, parts.ends)
    return np.asarray((unit(parts.starts + parts.ends) * (2 * np.sin(spans / 2))[:, None]).sum(axis=0))


def _areal_centre(geometry: Geometry) -> NDArray[np.float64]:
    """Twice the integral of the position over an area is that of position times step along its edge."""
    own = geometry.crs == WGS84 and geometry.even_odd
    shapes = [_sound(each, geometry.geodesic) for each in polygons(geometry.shape)] if own else [geometry.in_crs(WGS84)]
    total = np.zeros(3)
    for part in (part for shape in shapes for part in polygons(shape)):
        around = vectors_of(shapely.get_coordinates(part.exterior)).mean(axis=0)
        for number, ring in enumerate((part.exterior, *part.interiors)):
            chain = shapely.get_coordinates(ring)
            places = vectors_of(chain if own and geometry.geodesic else _fine(chain))
            moment = _ring_moment(places)
            outward = moment if float(moment @ around) >= 0 else -moment
            total += outward if number == 0 else -outward
    return total


def _ring_moment(places: NDArray[np.float64]) -> NDArray[np.float64]:
    starts, ends = places[:-1], places[1:]
    return np.asarray((unit(np.cross(starts, ends)) * angles(starts, ends)[:, None]).sum(axis=0) / 2)
