"""An area on the earth in longitude and latitude, read from what users have: a box, GeoJSON, or its text.

Shapely, pyproj and numpy are imported where they are used: operators import this module while Airflow parses DAG files.
"""

from __future__ import annotations

import functools
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyproj
    from shapely.geometry.base import BaseGeometry

__all__ = ["Region"]

# Straight lines in longitude and latitude bend in most projections; this many pieces a side keep the bend far below a pixel.
PIECES = 256
ROUND_TRIP_DEGREES = 1e-6


@dataclass(frozen=True, slots=True)
class Region:
    """A polygon or several, in degrees of longitude and latitude (WGS 84).

    Coordinates are literal: nothing is clamped to the world or wrapped around it. A region over the antimeridian or a
    pole is refused, because its bounding rectangle would go round the earth the other way.

    >>> Region.parse([-5.0, 40.0, -4.0, 41.0]).geometry.bounds
    (-5.0, 40.0, -4.0, 41.0)
    >>> Region.parse([5, 40, 4, 41])
    Traceback (most recent call last):
    ValueError: region: west must be less than east, got 5 and 4; a region over the antimeridian needs one task a side
    """

    geometry: BaseGeometry
    """Shapely Polygon or MultiPolygon."""
    id: str | None = None
    """Of the GeoJSON feature, if it was one."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Of the GeoJSON feature, if it was one."""
    features: int = 1
    """Features of the GeoJSON collection that were joined to one area."""

    def __post_init__(self) -> None:
        import shapely

        if self.geometry.geom_type not in {"Polygon", "MultiPolygon"}:
            raise ValueError(f"region must be a Polygon or MultiPolygon, got {self.geometry.geom_type}")
        if self.geometry.is_empty:
            raise ValueError("region is empty: it covers no area")
        if not self.geometry.is_valid:
            raise ValueError(f"region is not a valid polygon: {shapely.is_valid_reason(self.geometry)}")
        if self.geometry.area == 0:
            raise ValueError("region is empty: it covers no area")
        _check_world(self.geometry)

    @classmethod
    def parse(cls, value: Any) -> Region:
        """Read ``[west, south, east, north]``, a GeoJSON object (geometry, Feature or FeatureCollection), or the text of either.

        Raises
        ------
        ValueError
            When it is none of these, empty, inverted, or leaves the world.
        """
        if isinstance(value, Region):
            return value
        if isinstance(value, str):
            return cls.parse(_parse_text(value))
        if isinstance(value, Mapping):
            feature = value if value.get("type") == "Feature" else {}
            name = feature.get("id")
            return cls(
                _parse_geojson(value),
                id=None if name in (None, "") else str(name),
                properties=dict(feature.get("properties") or {}),
                features=len(value.get("features") or [None]),
            )
        if isinstance(value, Sequence):
            return cls(_parse_box(value))
        raise ValueError(f"region must be [west, south, east, north] or GeoJSON, got {type(value).__name__}")

    def to_geojson(self) -> dict[str, Any]:
        """The geometry as a GeoJSON object, for requests."""
        import shapely

        geojson: dict[str, Any] = json.loads(shapely.to_geojson(self.geometry))
        return geojson

    def project(self, crs: pyproj.CRS) -> BaseGeometry:
        """The same area in ``crs``, with edges cut into pieces so that they follow the projected lines.

        Raises
        ------
        ValueError
            When part of the region has no place in ``crs``.
        """
        import numpy as np
        import shapely

        west, south, east, north = self.geometry.bounds
        pieces = shapely.segmentize(self.geometry, max(east - west, north - south) / PIECES)
        transformer = _transformer_to(crs, threading.get_ident())
        projected: BaseGeometry = shapely.transform(
            pieces, lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
        )
        if not _comes_back(transformer, shapely.get_coordinates(pieces), shapely.get_coordinates(projected)):
            raise ValueError(f"region {self.geometry.bounds} has no place in {crs.name}: choose another crs")
        return projected


@functools.lru_cache(maxsize=64)
def _transformer_to(crs: pyproj.CRS, _thread: int) -> pyproj.Transformer:
    """From longitude and latitude to ``crs``, one for each thread: making one takes 20 ms, and threads may not share it."""
    import pyproj

    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)


def _comes_back(transformer: pyproj.Transformer, points: Any, projected: Any) -> bool:
    """Whether projected points lead back to where they came from; far outside its zone a projection does not."""
    import numpy as np

    if not np.isfinite(projected).all():
        return False
    longitudes, latitudes = transformer.transform(projected[:, 0], projected[:, 1], direction="INVERSE")
    east = (longitudes - points[:, 0] + 180) % 360 - 180
    north = latitudes - points[:, 1]
    return bool(np.all(np.hypot(east * np.cos(np.radians(points[:, 1])), north) < ROUND_TRIP_DEGREES))


def _parse_text(text: str) -> Any:
    stripped = text.strip()
    try:
        return json.loads(stripped if stripped[:1] in "[{" else f"[{stripped}]")
    except json.JSONDecodeError as problem:
        raise ValueError(
            f"region must be 'west,south,east,north', GeoJSON text or a .geojson file, got {text[:80]!r}: {problem}"
        ) from None


def _parse_box(box: Sequence[Any]) -> BaseGeometry:
    import shapely

    if len(box) != 4 or not all(isinstance(edge, int | float) and math.isfinite(edge) for edge in box):
        raise ValueError(f"region as a box must be four numbers, west, south, east, north, got {list(box)[:8]}")
    west, south, east, north = box
    if not west < east:
        raise ValueError(
            f"region: west must be less than east, got {west} and {east}; a region over the antimeridian needs one task a side"
        )
    if not south < north:
        raise ValueError(f"region: south must be less than north, got {south} and {north}")
    rectangle: BaseGeometry = shapely.box(west, south, east, north)
    return rectangle


def _parse_geojson(value: Mapping[str, Any]) -> BaseGeometry:
    import numpy as np
    import shapely

    kind = value.get("type")
    if kind == "Feature":
        geometry = value.get("geometry")
        if not isinstance(geometry, Mapping):
            raise ValueError("region is a GeoJSON Feature without a geometry")
        return _parse_geojson(geometry)
    if kind == "FeatureCollection":
        features = value.get("features") or []
        if not features:
            raise ValueError("region is empty: a GeoJSON FeatureCollection without features")
        union: BaseGeometry = shapely.union_all([_parse_geojson(feature) for feature in features])
        return union
    if kind not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"region must be a GeoJSON Polygon, MultiPolygon or Feature, got type {kind!r}")
    try:
        polygon: BaseGeometry = shapely.from_geojson(json.dumps(value))
    except (shapely.errors.GEOSException, TypeError, ValueError) as problem:
        raise ValueError(f"region is not valid GeoJSON: {problem}") from None
    for ring in shapely.get_rings(polygon):
        longitudes = shapely.get_coordinates(ring)[:, 0]
        if np.abs(np.diff(longitudes)).max(initial=0) > 180:
            raise ValueError(
                "region has an edge over more than 180 degrees of longitude: across the antimeridian, run one task for each "
                "side; the long way round, give a box [west, south, east, north]"
            )
    return polygon


def _check_world(geometry: BaseGeometry) -> None:
    west, south, east, north = geometry.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise ValueError(
            f"region leaves the world: its bounds are {geometry.bounds}, longitude must be in -180..180 and latitude in -90..90; "
            "a region over the antimeridian needs one task a side"
        )
    if west == -180 and east == 180 and geometry.geom_type == "MultiPolygon":
        raise ValueError("region crosses the antimeridian: run one task for each side of it")
