"""Geometries: shapely shapes with a coordinate system and Earth Engine's rule for what lies between two vertices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import pyproj
import shapely
import shapely.geometry
from numpy.typing import NDArray
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.pixels.grid import Bounds

EDGE_SEGMENT_METRES = 5000.0
"""A great-circle edge is drawn with steps this long: the chord is then half a metre off at most."""

EDGE_SEGMENTS = 64
"""Steps along the longest side of a shape when it is bent into another system."""

_GEOD = pyproj.Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A shape in a coordinate system.

    >>> Geometry.of_json({"type": "Point", "coordinates": [11, 46]}).bounds_in(WGS84)
    (11.0, 46.0, 11.0, 46.0)
    """

    shape: BaseGeometry
    crs: Crs = WGS84
    geodesic: bool = False
    """Whether edges are great circles rather than straight lines in the coordinate system."""

    @classmethod
    def of_json(cls, geojson: Mapping[str, Any]) -> Geometry:
        """A geometry from GeoJSON, possibly with the ``crs`` and ``geodesic`` members that Earth Engine writes."""
        try:
            shape = shapely.geometry.shape(dict(geojson))
        except (ShapelyError, KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
            raise invalid(f"Invalid GeoJSON geometry: {problem}.") from None
        code = (geojson.get("crs") or {}).get("properties", {}).get("name")
        return cls(shape, Crs(code) if code else WGS84, bool(geojson.get("geodesic", False)))

    def in_crs(self, crs: Crs) -> BaseGeometry:
        """The shape in another system, its edges bent as they should be."""
        return _shape_in(self, crs)

    def bounds_in(self, crs: Crs) -> Bounds:
        """Smallest x, smallest y, greatest x, greatest y."""
        shape = self.in_crs(crs)
        if shape.is_empty:
            raise invalid("Geometry has no bounds: it is empty.")
        west, south, east, north = shape.bounds
        return west, south, east, north

    def contains(self, x: NDArray[np.float64], y: NDArray[np.float64], crs: Crs) -> NDArray[np.bool_]:
        """Whether points lie inside, points on the edge included only by chance of rounding."""
        shape = self.in_crs(crs)
        shapely.prepare(shape)
        full_x, full_y = np.broadcast_arrays(x, y)
        return np.asarray(shapely.contains_xy(shape, full_x, full_y))

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the geometry."""
        shown: dict[str, Any] = _plain(shapely.geometry.mapping(self.shape))
        if self.crs != WGS84:
            shown["crs"] = {"type": "name", "properties": {"name": self.crs.text}}
        if not self.geodesic and shown["type"] not in ("Point", "MultiPoint"):
            shown["geodesic"] = False
        return shown


@lru_cache(maxsize=512)
def _shape_in(geometry: Geometry, crs: Crs) -> BaseGeometry:
    shape = geometry.shape
    if geometry.geodesic and geometry.crs.is_geographic:
        shape = _along_great_circles(shape)
    if crs == geometry.crs or shape.is_empty:
        return shape
    west, south, east, north = shape.bounds
    longest = max(east - west, north - south)
    if longest > 0:
        shape = shapely.segmentize(shape, longest / EDGE_SEGMENTS)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = convert(geometry.crs, crs, points[:, 0], points[:, 1])
        return np.column_stack([x, y])

    bent: BaseGeometry = shapely.transform(shape, project)
    if not np.isfinite(bent.bounds).all():
        raise invalid(f"Unable to transform the geometry into {crs.text[:60]}.")
    return bent


def _along_great_circles(shape: BaseGeometry) -> BaseGeometry:
    if isinstance(shape, shapely.Polygon):
        rings = [_ring(ring.coords) for ring in shape.interiors]
        return shapely.Polygon(_ring(shape.exterior.coords), rings)
    if isinstance(shape, shapely.LineString):
        return shapely.LineString(_ring(shape.coords))
    if isinstance(shape, shapely.MultiPolygon | shapely.MultiLineString | shapely.GeometryCollection):
        parts: list[Any] = [_along_great_circles(part) for part in shape.geoms]
        return type(shape)(parts)
    return shape


def _ring(coordinates: Any) -> list[tuple[float, float]]:
    points = [(float(point[0]), float(point[1])) for point in coordinates]
    drawn = points[:1]
    for (x1, y1), (x2, y2) in pairwise(points):
        # An edge along a meridian or half round the world keeps its straight form: they agree, or no circle is unique.
        if x1 != x2 and abs(x2 - x1) < 180:
            steps = min(256, ceil(_GEOD.line_length([x1, x2], [y1, y2]) / EDGE_SEGMENT_METRES))
            drawn += [(float(x), float(y)) for x, y in _GEOD.npts(x1, y1, x2, y2, steps - 1)] if steps > 1 else []
        drawn.append((x2, y2))
    return drawn


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down the few levels that GeoJSON has."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def box(bounds: Bounds, crs: Crs = WGS84) -> Geometry:
    """A rectangle with straight edges."""
    return Geometry(shapely.box(*bounds), crs)
