"""How much of a region images cover with their footprints: of its area on the ground, whatever clouds hide.

A footprint is the outline that the service tells of an image. Pixels inside it may be masked or clouded, and outlines of
scenes may be simplified, so a coverage of 1 says that the region was looked at, and not that it was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from airflow_ee.core.region import Region
    from airflow_ee.core.resources import Asset

__all__ = ["covered_fraction", "footprint_of"]

# Cylindrical, equal-area on the ellipsoid: any part of the world keeps its true share.
EQUAL_AREA = "EPSG:6933"
WORLD = (-180.0, -90.0, 180.0, 90.0)
# Lines that are straight in degrees bend in the projection; pieces this short keep the error of an area below a millionth.
PIECE_DEGREES = 0.1


def covered_fraction(region: Region, images: Iterable[Asset]) -> float:
    """The share of the region's area that lies within a footprint of the images, from 0 to 1.

    Footprints may overlap; where they do, the ground counts once. An image without a footprint covers nothing.

    Examples
    --------
    >>> from airflow_ee.core.region import Region
    >>> from airflow_ee.core.resources import Asset
    >>> west = Region.parse([10, 45, 11, 46]).to_geojson()
    >>> image = Asset(name="projects/p/assets/a", id="a", type="IMAGE", geometry=west)
    >>> covered_fraction(Region.parse([10, 45, 12, 46]), [image])
    0.5
    """
    import shapely

    footprints = [footprint for image in images if (footprint := footprint_of(image)) is not None]
    covered = shapely.union_all(footprints).intersection(region.geometry)
    if covered.equals(region.geometry):
        return 1.0
    return float(min(1.0, round(_area(covered) / _area(region.geometry), 9)))


def footprint_of(image: Asset) -> BaseGeometry | None:
    """An image's footprint in longitude and latitude; None where the service tells none that can be read.

    One that crosses the antimeridian is there on both sides of it. An image without bounds covers the world.
    """
    import shapely
    import shapely.affinity

    if not image.geometry:
        return None
    try:
        polygons = [_polygon(rings) for rings in _rings(image.geometry)]
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    whole = shapely.union_all([shapely.make_valid(polygon) for polygon in polygons])
    around = [shapely.affinity.translate(whole, xoff=degrees) for degrees in (-360.0, 0.0, 360.0)]
    world: BaseGeometry = shapely.union_all(around).intersection(shapely.box(*WORLD))
    return None if world.is_empty else world


def _rings(geometry: Mapping[str, Any]) -> list[Any]:
    """The rings of each polygon of a GeoJSON geometry; scenes' outlines come as closed lines as well."""
    coordinates = geometry.get("coordinates")
    match geometry.get("type"):
        case "Polygon":
            return [coordinates]
        case "MultiPolygon":
            return list(coordinates or ())
        case "LinearRing" | "LineString":
            return [[coordinates]]
        case "GeometryCollection":
            return [rings for part in geometry.get("geometries") or () for rings in _rings(part)]
    raise ValueError(f"no polygon: {geometry.get('type')}")


def _polygon(rings: Any) -> BaseGeometry:
    import numpy as np
    import shapely

    # Texts such as "-Infinity" are numbers to the service: an image without an end reaches as far as the world does.
    points = [np.array([[float(value) for value in point[:2]] for point in ring]) for ring in rings]
    for ring in points:
        if not np.isfinite(ring).all():
            return shapely.box(*WORLD)
        if np.abs(np.diff(ring[:, 0])).max(initial=0.0) > 180 and np.abs(ring[:, 0]).max() <= 180 and not _whole(ring):
            ring[ring[:, 0] < 0, 0] += 360
    return shapely.Polygon(points[0], points[1:])


def _whole(ring: Any) -> bool:
    """Whether a ring goes round the world by its edges, as the outline of a global image does."""
    return bool(ring[:, 0].min() == WORLD[0] and ring[:, 0].max() == WORLD[2])


def _area(geometry: BaseGeometry) -> float:
    import numpy as np
    import pyproj
    import shapely

    transformer = pyproj.Transformer.from_crs("EPSG:4326", EQUAL_AREA, always_xy=True)
    pieces = shapely.segmentize(geometry, PIECE_DEGREES)
    flat = shapely.transform(pieces, lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1])))
    return float(flat.area)
