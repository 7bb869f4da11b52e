"""Geometries: shapely shapes with a coordinate system and Earth Engine's rule for what lies between two vertices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert, parse_crs
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.sphere import EARTH_RADIUS, drawn

EDGE_SEGMENT_METRES = 5000.0
"""A great-circle edge is drawn with steps this long: the chord is then half a metre off at most."""

MOST_EDGE_SEGMENTS = 256

EDGE_SEGMENTS = 64
"""Steps along the longest side of a shape when it is bent into another system."""

Bend = Callable[[NDArray[np.float64]], NDArray[np.float64]]


MOST_VERTICES = 1_000_000
"""Of an edge that is drawn in steps: an edge of endless length would be drawn for ever."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A shape in a coordinate system. Its vertices stay as they were given.

    >>> Geometry.of_json({"type": "Point", "coordinates": [11, 46]}).bounds_in(WGS84)
    (11.0, 46.0, 11.0, 46.0)
    """

    shape: BaseGeometry
    crs: Crs = WGS84
    geodesic: bool = False
    """Whether edges are great circles rather than straight lines in the coordinate system."""
    even_odd: bool = True
    """Whether it does not matter which way round the rings go; else the inside is on their left."""
    unbounded: bool = False
    """Whether it is everywhere, as an image without a footprint is."""
    planar_point: bool = False
    """Whether it is shown as planar though it has no edges, as the service shows points that it made from pixels."""

    @classmethod
    def of_json(cls, geojson: Mapping[str, Any]) -> Geometry:
        """A geometry from GeoJSON, possibly with the members that Earth Engine adds: ``crs``, ``geodesic``, ``evenOdd``."""
        try:
            shape = shapely.force_2d(shapely.geometry.shape(dict(geojson)))
        except (ShapelyError, KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
            raise invalid(f"Invalid GeoJSON geometry: {problem}.") from None
        code = (geojson.get("crs") or {}).get("properties", {}).get("name")
        crs = parse_crs(code) if code else WGS84
        return cls(shape, crs, bool(geojson.get("geodesic", False)), bool(geojson.get("evenOdd", True)))

    @property
    def has_edges(self) -> bool:
        """Whether there is anything between vertices."""
        return any(part.geom_type not in ("Point", "MultiPoint") for part in shapely.get_parts(self.shape))

    @property
    def is_polygonal(self) -> bool:
        """Whether some of it has an inside."""
        return bool(polygons(self.shape))

    def in_crs(self, crs: Crs) -> BaseGeometry:
        """The shape in another system, its edges bent as they should be, its inside as its rule says."""
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
        if not self.geodesic and (self.has_edges or self.planar_point):
            shown["geodesic"] = False
        if not self.even_odd and self.is_polygonal:
            shown["evenOdd"] = False
        return shown


@lru_cache(maxsize=512)
def _shape_in(geometry: Geometry, crs: Crs) -> BaseGeometry:
    shape = geometry.shape
    if geometry.geodesic and geometry.crs.is_geographic:
        shape = reshaped(shape, great_circles)
    shape = filled(shape, geometry.even_odd, geometry.crs)
    if crs == geometry.crs or shape.is_empty:
        return shape
    west, south, east, north = shape.bounds
    longest = max(east - west, north - south)
    if longest > 0:
        shape = segmented(shape, longest / EDGE_SEGMENTS)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = convert(geometry.crs, crs, points[:, 0], points[:, 1])
        return np.column_stack([x, y])

    bent: BaseGeometry = shapely.transform(shape, project)
    if not np.isfinite(bent.bounds).all():
        raise invalid(f"Unable to transform the geometry into {crs.text[:60]}.")
    return bent


def segmented(shape: BaseGeometry, step: float) -> BaseGeometry:
    """A shape with vertices at most ``step`` apart. Part by part: GEOS crashes on collections with an empty member."""
    parts = [part for part in shapely.get_parts(shape) if not part.is_empty]
    if shape.geom_type == "GeometryCollection":
        return shapely.GeometryCollection([segmented(part, step) for part in parts])
    if not parts or shape.geom_type in ("Point", "MultiPoint"):
        return shape
    if not shape.length / step < MOST_VERTICES:
        raise invalid(f"Geometry is too large: its edges would need more than {MOST_VERTICES} vertices.")
    if len(parts) < len(shapely.get_parts(shape)):
        shape = shapely.MultiPolygon(parts) if shape.geom_type == "MultiPolygon" else shapely.MultiLineString(parts)
    divided: BaseGeometry = shapely.segmentize(shape, step)
    return divided


def great_circles(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line in longitude and latitude with the vertices that show its edges as great circles."""
    return drawn(coordinates, EDGE_SEGMENT_METRES / EARTH_RADIUS, MOST_EDGE_SEGMENTS)


def filled(shape: BaseGeometry, even_odd: bool, crs: Crs) -> BaseGeometry:
    """A shape whose polygons are sound: crossed rings by the even-odd rule, or the left of rings where that counts.

    What is on the left of a clockwise ring is all the world but its inside.
    """
    shells = polygons(shape)
    if not even_odd and any(not shell.exterior.is_ccw for shell in shells):
        if not crs.is_geographic or len(shells) != len(shapely.get_parts(shape)):
            raise invalid("Geometry: inside-out polygons are emulated in longitude and latitude only.")
        world = shapely.box(-180.0, -90.0, 180.0, 90.0)
        sides = [shell if shell.exterior.is_ccw else world.difference(sound(shell)) for shell in shells]
        return shapely.union_all(sides)
    return sound(shape)


def sound(shape: BaseGeometry) -> BaseGeometry:
    """A shape that can be computed with: valid parts, united."""
    if shape.is_valid:
        return shape
    parts = [part if part.is_valid else shapely.make_valid(part) for part in shapely.get_parts(shape)]
    return shapely.union_all(parts) if len(parts) > 1 else parts[0]


def polygons(shape: BaseGeometry) -> list[shapely.Polygon]:
    """The polygons that a shape is made of."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return [part for part in parts if isinstance(part, shapely.Polygon)]


def reshaped(shape: BaseGeometry, bend: Bend) -> BaseGeometry:
    """The same kind of shape with every place, line and ring changed."""
    if isinstance(shape, shapely.Polygon) and not shape.is_empty:
        rings = [bend(_points(ring)) for ring in shape.interiors]
        return shapely.Polygon(bend(_points(shape.exterior)), rings)
    if isinstance(shape, shapely.LineString) and not shape.is_empty:
        return type(shape)(bend(_points(shape)))
    if isinstance(shape, shapely.Point) and not shape.is_empty:
        return shapely.Point(bend(_points(shape))[0])
    if isinstance(shape, shapely.geometry.base.BaseMultipartGeometry):
        kind: Any = type(shape)
        result: BaseGeometry = kind([reshaped(part, bend) for part in shape.geoms])
        return result
    return shape


def _points(line: BaseGeometry) -> NDArray[np.float64]:
    return shapely.get_coordinates(line)


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down the few levels that GeoJSON has."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def box(bounds: Bounds, crs: Crs = WGS84) -> Geometry:
    """A rectangle with straight edges, counter-clockwise from its lower left."""
    west, south, east, north = bounds
    return Geometry(shapely.Polygon([(west, south), (east, south), (east, north), (west, north), (west, south)]), crs)


def gathered(geometries: Sequence[Geometry]) -> Geometry:
    """Several geometries in one, nothing dissolved; refused where systems or edges differ."""
    if len(geometries) == 1:
        return geometries[0]
    unbounded = next((each for each in geometries if each.unbounded), None)
    if unbounded is not None:
        return unbounded
    systems = {each.crs for each in geometries}
    edges = {(each.geodesic, each.even_odd) for each in geometries if each.has_edges}
    if len(systems) > 1 or len(edges) > 1:
        raise invalid("The geometries of the collection must share the projection and edge interpretation.")
    geodesic, even_odd = next(iter(edges), (True, True))
    parts = [part for each in geometries for part in shapely.get_parts(each.shape)]
    return Geometry(_multi(parts), next(iter(systems), WGS84), geodesic, even_odd)


def _multi(parts: Sequence[BaseGeometry]) -> BaseGeometry:
    kinds = {type(part) for part in parts}
    kind: Any = (
        _MULTIPLE.get(kinds.pop(), shapely.GeometryCollection) if len(kinds) == 1 else shapely.GeometryCollection
    )
    result: BaseGeometry = kind(list(parts))
    return result


_MULTIPLE: dict[type[BaseGeometry], type[BaseGeometry]] = {
    shapely.Point: shapely.MultiPoint,
    shapely.LineString: shapely.MultiLineString,
    shapely.Polygon: shapely.MultiPolygon,
}
