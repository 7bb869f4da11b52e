"""Points and great circles on the sphere that Earth Engine takes for the Earth when edges are geodesic.

Latitudes are those of the ellipsoid, taken as they are. Places are unit vectors, arrays of shape (n, 3).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import ceil, pi

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid

Vectors = NDArray[np.float64]
Coordinates = NDArray[np.float64]

EARTH_RADIUS = 6371010.0
"""Metres; distances along the sphere, as for buffers."""

WIDEST_VIEW = np.radians(80.0)
"""A gnomonic view shows less than a hemisphere; near its edge lengths grow beyond any measure."""

MOST_CORNERS = 100_000

DECIMALS = 12
"""Degrees that come back from a plane are rounded: 1e-12 degrees are a tenth of a micrometre."""


def vectors_of(coordinates: Coordinates) -> Vectors:
    """Unit vectors of longitudes and latitudes in degrees, an array of shape (n, 2)."""
    longitudes, latitudes = np.radians(coordinates[:, 0]), np.radians(coordinates[:, 1])
    across = np.cos(latitudes)
    return np.stack([across * np.cos(longitudes), across * np.sin(longitudes), np.sin(latitudes)], axis=1)


def coordinates_of(vectors: Vectors) -> Coordinates:
    """Longitudes and latitudes in degrees of vectors of any length."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    return np.asarray(np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1)))


def unit(vectors: Vectors) -> Vectors:
    """The same directions with length one; no direction stays none."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def angles(first: Vectors, second: Vectors) -> NDArray[np.float64]:
    """Radians between pairs of unit vectors, exact for near and for opposite ones."""
    halves = np.arctan2(np.linalg.norm(first - second, axis=-1), np.linalg.norm(first + second, axis=-1))
    return np.asarray(2.0 * halves)


def along(start: Vectors, end: Vectors, fractions: NDArray[np.float64]) -> Vectors:
    """Places on the great circle from one unit vector to another."""
    angle = float(angles(start, end))
    if angle == 0.0:
        return np.repeat(start[None, :], len(fractions), axis=0)
    forward = unit(end - start * float(start @ end))
    turned = angle * fractions[:, None]
    return np.asarray(start * np.cos(turned) + forward * np.sin(turned))


def walked(places: Vectors, step: float) -> Vectors:
    """A chain of great circles with a place every ``step`` radians at most."""
    parts = [places[:1]]
    for start, end in itertools.pairwise(places):
        count = max(1, ceil(float(angles(start, end)) / step))
        parts.append(along(start, end, np.linspace(0, 1, count + 1)[1:]))
    return np.concatenate(parts)


def drawn(coordinates: Coordinates, step: float, most: int) -> Coordinates:
    """A line of great circles in longitude and latitude, with vertices every ``step`` radians, at most so many an edge.

    Longitudes go on without a jump: they may leave -180 to 180.
    """
    ends = vectors_of(coordinates)
    parts = [coordinates[:1]]
    for number in range(len(coordinates) - 1):
        count = min(most, max(1, ceil(float(angles(ends[number], ends[number + 1])) / step)))
        # An edge along a meridian keeps its form, and one half round the world has no circle of its own.
        if count > 1 and 0 < abs(coordinates[number + 1, 0] - coordinates[number, 0]) < 180.0:
            inner = coordinates_of(along(ends[number], ends[number + 1], np.linspace(0, 1, count + 1)[1:-1]))
            inner[:, 0] += 360.0 * np.round((coordinates[number, 0] - inner[:, 0]) / 360.0)
            parts.append(inner)
        parts.append(coordinates[number + 1 : number + 2])
    return np.concatenate(parts)


def highest(coordinates: Coordinates) -> NDArray[np.float64]:
    """Latitudes, in degrees, of the vertices of a chain of great circles and of the summits between them."""
    places = vectors_of(coordinates)
    starts, ends = places[:-1], places[1:]
    poles = unit(np.cross(starts, ends))
    summits = unit(np.array([0.0, 0.0, 1.0]) - poles * poles[:, 2:])
    found = [coordinates[:, 1]]
    for each in (summits, -summits):
        inside = np.einsum("ij,ij->i", np.cross(starts, each), poles) > 0
        inside &= np.einsum("ij,ij->i", np.cross(each, ends), poles) > 0
        found.append(coordinates_of(each[inside])[:, 1])
    return np.concatenate(found)


@dataclass(frozen=True, slots=True, eq=False)
class Gnomonic:
    """A plane that touches the sphere: great circles are straight lines on it.

    >>> view = Gnomonic.about(vectors_of(np.array([[10.0, 45.0], [12.0, 47.0]])))
    >>> view.onto_sphere(view.onto_plane(np.array([[11.0, 46.0]]))).tolist()
    [[11.0, 46.0]]
    """

    centre: Vectors
    east: Vectors
    north: Vectors

    @classmethod
    def about(cls, places: Vectors) -> Gnomonic | None:
        """The plane in the middle of places; None where they do not fit onto one."""
        middle = unit(places.mean(axis=0)) if len(places) else np.array([1.0, 0.0, 0.0])
        if not middle.any() or (len(places) and float((places @ middle).min()) < np.cos(WIDEST_VIEW)):
            return None
        east = unit(np.array([-middle[1], middle[0], 0.0]))
        east = east if east.any() else np.array([0.0, 1.0, 0.0])
        return cls(middle, east, np.cross(middle, east))

    def onto_plane(self, coordinates: Coordinates) -> Coordinates:
        """Plane coordinates, in radii of the sphere, of longitudes and latitudes."""
        places = vectors_of(coordinates)
        depth = places @ self.centre
        return np.column_stack([places @ self.east / depth, places @ self.north / depth])

    def onto_sphere(self, points: Coordinates) -> Coordinates:
        """Longitudes and latitudes of plane coordinates."""
        vectors = self.centre + points[:, :1] * self.east + points[:, 1:] * self.north
        return np.round(coordinates_of(vectors), DECIMALS)

    def show(self, shape: BaseGeometry) -> BaseGeometry:
        """A shape of longitudes and latitudes on the plane."""
        return shapely.transform(shape, self.onto_plane)

    def back(self, shape: BaseGeometry) -> BaseGeometry:
        """A shape on the plane in longitude and latitude."""
        return shapely.transform(shape, self.onto_sphere)


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Great-circle segments; a lone place is one whose ends are equal."""

    starts: Vectors
    ends: Vectors

    def nearest(self, place: Vectors) -> tuple[Vectors, float]:
        """The place on any of the segments that is nearest to another, and the angle to it."""
        candidates = np.concatenate([self.starts, self.ends, self._feet(place)])
        distances = angles(candidates, np.broadcast_to(place, candidates.shape))
        best = int(distances.argmin())
        return candidates[best], float(distances[best])

    def _feet(self, place: Vectors) -> Vectors:
        """Feet of perpendiculars that fall on a segment, not beside it."""
        poles = unit(np.cross(self.starts, self.ends))
        feet = unit(place - poles * (poles @ place)[:, None])
        inside = np.einsum("ij,ij->i", np.cross(self.starts, feet), poles) >= 0
        inside &= np.einsum("ij,ij->i", np.cross(feet, self.ends), poles) >= 0
        return np.asarray(feet[inside & poles.any(axis=1) & feet.any(axis=1)])


def closest(first: Segments, second: Segments) -> tuple[Vectors, Vectors, float]:
    """The nearest places of two sets of segments that do not cross, and the angle between them.

    One of the two is always an end of a segment.
    """
    best: tuple[Vectors, Vectors, float] | None = None
    for place in np.concatenate([first.starts, first.ends]):
        found, angle = second.nearest(place)
        if best is None or angle < best[2]:
            best = (place, found, angle)
    for place in np.concatenate([second.starts, second.ends]):
        found, angle = first.nearest(place)
        if best is None or angle < best[2]:
            best = (found, place, angle)
    assert best is not None
    return best


def corner_step(radius: float, error: float) -> float:
    """Radians between the corners of a circle that lies within half of an error, in the unit of the radius."""
    step = float(2.0 * np.arccos(1.0 - min(1.0, error / (2.0 * abs(radius)))))
    if step * MOST_CORNERS < 2.0 * pi:
        raise invalid(f"A circle within this error needs more than {MOST_CORNERS} corners; allow a larger error.")
    return step


def circle(centre: Vectors, radius: float, error: float) -> Coordinates:
    """A ring about a place, counter-clockwise from due north; ``radius`` and ``error`` in radians.

    Vertices lie on the circle. They are as far apart as half of the error allows, the last step being the remainder: rings
    that the service drew look so.
    """
    step = corner_step(radius, error)
    bearings = -step * np.arange(ceil(2.0 * pi / step - 1e-9))
    east = unit(np.array([-centre[1], centre[0], 0.0]))
    east = east if east.any() else np.array([0.0, 1.0, 0.0])
    north = np.cross(centre, east)
    outward = np.cos(bearings)[:, None] * north + np.sin(bearings)[:, None] * east
    ring = coordinates_of(centre * np.cos(radius) + outward * np.sin(radius))
    return np.concatenate([ring, ring[:1]])
