"""A STAC Item beside a raster: where it lies, when it is from, what its bands are, where it came from.

STAC 1.1 with the projection (2.0.0) and raster (1.1.0) extensions; bands are told both as STAC 1.1 and as that extension have them,
because readers look for either. Bytes are a function of the arguments: no clock, keys sorted.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout

__all__ = ["StacItem", "footprint"]

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
PIECES = 32
"""A side of the grid is cut into so many: straight lines of the grid bend in longitude and latitude."""
DECIMALS = 8
"""Of degrees: about a millimetre."""
ROUND_TRIP_PIXELS = 0.01
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StacItem:
    """What a STAC Item says of one raster file or store.

    >>> grid = PixelGrid(crs="EPSG:4326", transform=(0.5, 0, 10, 0, -0.5, 46), width=4, height=2)
    >>> layout = RasterLayout(grid=grid, bands=(BandLayout(name="NDVI", dtype=np.dtype("int16"), scale=0.0001),))
    >>> item = StacItem(id="ndvi", layout=layout, href="ndvi.tif", media_type="image/tiff", start=datetime(2020, 6, 9, tzinfo=UTC))
    >>> item.to_json()["bbox"]
    [10.0, 45.0, 12.0, 46.0]
    """

    id: str
    layout: RasterLayout
    href: str
    """Name of the raster beside the item, or a URL."""
    more_hrefs: tuple[str, ...] = ()
    """Of a raster in several pieces: the others."""
    media_type: str
    start: datetime
    """With a time zone; the moment, when there is no :attr:`end`."""
    end: datetime | None = None
    """Of the interval that the pixels are from."""
    nodata: Mapping[str, float] = field(default_factory=dict)
    """By band, where masked pixels hold a value of their own."""

    def __post_init__(self) -> None:
        if not self.id or "/" in self.id:
            raise ValueError(f"id: a STAC item needs a name without slashes, got {self.id!r}")
        if not self.href:
            raise ValueError("href: a STAC item needs a raster")
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and moment.utcoffset() is None:
                raise ValueError(f"{name} needs a time zone, got {moment.isoformat()}")
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end {self.end.isoformat()} is before start {self.start.isoformat()}")
        unknown = sorted(self.nodata.keys() - set(self.layout.names))
        if unknown:
            raise ValueError(f"nodata: the raster has no band {unknown[0]}, only {', '.join(self.layout.names)}")

    def to_json(self) -> dict[str, Any]:
        """The item as JSON values.

        Raises
        ------
        ValueError
            When the grid's edge has no place on the globe, as :func:`footprint` says.
        """
        geometry, bbox = footprint(self.layout.grid)
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [PROJECTION, RASTER],
            "id": self.id,
            "geometry": geometry,
            "bbox": bbox,
            "properties": {**self._when(), **_projection(self.layout.grid), **self._provenance()},
            "links": [],
            "assets": {
                "data": self._asset(self.href),
                **{f"data_{number}": self._asset(href) for number, href in enumerate(self.more_hrefs, 2)},
            },
        }

    def to_bytes(self) -> bytes:
        """The item as a file has it."""
        return json.dumps(self.to_json(), sort_keys=True, indent=2, allow_nan=False).encode()

    def write(self, location: Location) -> None:
        """Write the item whole or not at all; only a warning where the grid has no outline on the globe.

        A corner of a global sinusoidal grid has no place there, for example; the raster is none the worse for it.
        """
        try:
            content = self.to_bytes()
        except ValueError as problem:
            log.warning("%s gets no STAC item: %s", self.href, problem)
            return
        location.write_bytes(content)

    def _asset(self, href: str) -> dict[str, Any]:
        return {
            "href": href,
            "type": self.media_type,
            "roles": ["data"],
            "bands": [self._band(band) for band in self.layout.bands],
            "raster:bands": [self._raster_band(band) for band in self.layout.bands],
        }

    def _when(self) -> dict[str, Any]:
        if self.end is None:
            return {"datetime": _rfc3339(self.start)}
        return {"datetime": None, "start_datetime": _rfc3339(self.start), "end_datetime": _rfc3339(self.end)}

    def _provenance(self) -> dict[str, Any]:
        """Tags under a prefix of our own, because STAC gives some plain names a meaning; whether pixels are simulated."""
        tags = {f"airflow_ee:{key}": text for key, text in self.layout.tags.items() if key != "simulated"}
        return {**tags, "simulated": self.layout.tags.get("simulated") == "true"}

    def _band(self, band: BandLayout) -> dict[str, Any]:
        return {"name": band.name, **self._values(band)}

    def _raster_band(self, band: BandLayout) -> dict[str, Any]:
        return {**self._values(band), "scale": float(band.scale), "offset": float(band.offset), "sampling": "area"}

    def _values(self, band: BandLayout) -> dict[str, Any]:
        values: dict[str, Any] = {"data_type": band.dtype.name}
        if band.name in self.nodata:
            values["nodata"] = _number(self.nodata[band.name])
        if band.unit:
            values["unit"] = band.unit
        return values


@lru_cache(maxsize=16)
def footprint(grid: PixelGrid) -> tuple[dict[str, Any], list[float]]:
    """The outline of a grid in WGS 84, as GeoJSON, and its box ``[west, south, east, north]``.

    Across the antimeridian the outline is cut in two, and the box's west is greater than its east (RFC 7946, 3.1.9 and 5.2). A grid
    with a pole in it reaches up to the pole and all around.

    Raises
    ------
    ValueError
        When part of the grid's edge has no place on the globe: a corner of a global sinusoidal grid, for example.

    Examples
    --------
    >>> grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 178, 0, -1, 2), width=4, height=2)
    >>> footprint(grid)[1]
    [178.0, 0.0, -178.0, 2.0]
    """
    ring = _edge(grid)
    if abs(ring[-1, 0] - ring[0, 0]) > 180:
        ring = _around_pole(grid, ring)
    outline = shapely.Polygon(ring).simplify(10.0**-DECIMALS / 10)
    west, south, east, north = (round(float(bound), DECIMALS) for bound in outline.bounds)
    west, east = _sides(west, east)
    polygons = [orient(part) for part in _within_the_world(outline)]
    shape = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(shape))
    return geometry, [west, south, east, north]


def _edge(grid: PixelGrid) -> npt.NDArray[np.float64]:
    """Longitudes and latitudes along the grid's edge, closed; longitudes go on beyond 180 rather than jump."""
    steps = np.arange(PIECES) / PIECES
    cols = np.concatenate([steps, np.ones(PIECES), 1 - steps, np.zeros(PIECES), [0.0]]) * grid.width
    rows = np.concatenate([np.zeros(PIECES), steps, np.ones(PIECES), 1 - steps, [0.0]]) * grid.height
    a, b, c, d, e, f = grid.transform
    xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
    crs = parse_crs(grid.crs)
    transformer = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitudes, latitudes = transformer.transform(xs, ys)
    back_x, back_y = transformer.transform(longitudes, latitudes, direction="INVERSE")
    miss_x, miss_y = back_x - xs, back_y - ys
    if crs.is_geographic:
        miss_x = (miss_x + 180) % 360 - 180
    pixel = math.sqrt(abs(a * e - b * d))
    if not np.all(np.hypot(miss_x, miss_y) < ROUND_TRIP_PIXELS * pixel):
        raise ValueError(
            f"grid: its edge {grid.bounds} leaves the part of the world that {crs.name} shows, so it has no outline in "
            "longitude and latitude; cut it to a region"
        )
    return np.column_stack([np.unwrap(longitudes, period=360), latitudes])


def _around_pole(grid: PixelGrid, ring: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The outline of a grid with a pole in it: its edge goes round the world once, the rest is the way along the pole."""
    poles = [latitude for latitude in (90.0, -90.0) if _covers(grid, latitude)]
    if len(poles) != 1:
        raise ValueError(f"grid: {grid.bounds} goes round the world but not round one pole; cut it to a region")
    corners = [(ring[-1, 0], poles[0]), (ring[0, 0], poles[0]), ring[0]]
    return np.vstack([ring, corners])


def _covers(grid: PixelGrid, latitude: float) -> bool:
    """Whether a pole lies in the grid."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", parse_crs(grid.crs), always_xy=True).transform(0.0, latitude)
    a, b, c, d, e, f = grid.transform
    col = (e * (x - c) - b * (y - f)) / (a * e - b * d)
    row = (a * (y - f) - d * (x - c)) / (a * e - b * d)
    return bool(0 <= col <= grid.width and 0 <= row <= grid.height)


def _within_the_world(outline: BaseGeometry) -> list[shapely.Polygon]:
    """The outline cut at the antimeridian, each part moved to longitudes of -180 to 180."""
    parts = []
    for turn in range(-2, 3):
        part = outline.intersection(shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        # An edge on the antimeridian leaves a sliver on the other side.
        if part.area > 1e-9 * outline.area:
            parts.append(shapely.transform(translate(part, -360 * turn), _rounded))
    union = shapely.union_all(parts)
    return [part for part in getattr(union, "geoms", [union]) if part.geom_type == "Polygon"]


def _rounded(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.round(points, DECIMALS)


def _sides(west: float, east: float) -> tuple[float, float]:
    """West and east of a box, in -180 to 180; west is greater where the box goes over the antimeridian."""
    if east - west >= 360:
        return -180.0, 180.0
    turns = math.floor((west + 180) / 360)
    west, east = west - 360 * turns, east - 360 * turns
    return round(west, DECIMALS), round(east - 360 if east > 180 else east, DECIMALS)


def _projection(grid: PixelGrid) -> dict[str, Any]:
    crs = parse_crs(grid.crs)
    authority = crs.to_authority(min_confidence=100)
    named = (
        {"proj:code": ":".join(authority)} if authority else {"proj:code": None, "proj:wkt2": crs.to_wkt("WKT2_2019")}
    )
    return {
        **named,
        "proj:bbox": [float(bound) for bound in grid.bounds],
        "proj:shape": list(grid.shape),
        "proj:transform": [float(number) for number in grid.transform],
    }


def _number(value: float) -> float | int | str:
    """As STAC has numbers that JSON has not."""
    if math.isfinite(value):
        return int(value) if value == int(value) else float(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
