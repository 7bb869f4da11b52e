"""The simulated Sentinel-2 collections: both levels of the images, harmonized and as delivered, and the two cloud layers that go with them.

Granules are made when somebody asks for them. All collections share the index of a granule and its sky.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from typing import Any

from airflow_ee.emulator.catalog import sentinel2_bands as bands
from airflow_ee.emulator.catalog import sentinel2_properties as properties
from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.deferred import Deferred
from airflow_ee.emulator.catalog.listing import Listing, collection_json, interval
from airflow_ee.emulator.catalog.mgrs import SIDE, Tile, tile_named, tiles_over
from airflow_ee.emulator.catalog.places import TrackNode, green_node, sky_node, track_node
from airflow_ee.emulator.catalog.scenes import SceneBand, Swath, whole_hour
from airflow_ee.emulator.catalog.sentinel2_bands import BandKind
from airflow_ee.emulator.catalog.sentinel2_passes import LATENCY, ORBIT, REACH, Granule, granules, named
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Node
from airflow_ee.emulator.values.element import Filter

_ID = re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T(\d{2}[A-Z]{3})")
_NORTH = 10_000_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """One of the collections."""

    id: str
    first_day: date
    bands: tuple[BandKind, ...]
    properties: Callable[[Granule], dict[str, Any]]
    size_bytes: int
    """Of an image that fills its tile."""


PRODUCTS = (
    Product(
        "COPERNICUS/S2_SR_HARMONIZED",
        date(2017, 3, 28),
        bands.SURFACE_BANDS,
        properties.surface_properties,
        1_200_000_000,
    ),
    Product("COPERNICUS/S2_HARMONIZED", date(2015, 6, 27), bands.TOP_BANDS, properties.top_properties, 800_000_000),
    Product(
        "COPERNICUS/S2_SR",
        date(2017, 3, 28),
        bands.DELIVERED_SURFACE_BANDS,
        properties.surface_properties,
        1_200_000_000,
    ),
    Product("COPERNICUS/S2", date(2015, 6, 27), bands.DELIVERED_TOP_BANDS, properties.top_properties, 800_000_000),
    Product(
        "COPERNICUS/S2_CLOUD_PROBABILITY",
        date(2015, 6, 27),
        bands.PROBABILITY_BANDS,
        properties.probability_properties,
        30_000_000,
    ),
    Product(
        "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
        date(2015, 6, 27),
        bands.SCORE_BANDS,
        properties.score_properties,
        160_000_000,
    ),
)


class SimulatedSentinel2:
    """One whole collection."""

    kind = Kind.SIMULATED

    def __init__(self, product: Product, clock: Clock) -> None:
        self.id = product.id
        self._product = product
        self._clock = clock

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The granules that the filters may let pass, oldest first; without a region those of the world."""
        wanted = Listing.of(filters)
        if wanted.indices is not None:
            return wanted.named(self.image)
        found = wanted.found(
            self.id,
            interval(wanted, self._product.first_day, self._clock.now()),
            lambda first, last: granules(tiles_over(wanted.region), first, last),
            self._exists,
        )
        return (self._asset(granule) for granule in found)

    def _exists(self, granule: Granule) -> bool:
        return granule.day >= self._product.first_day and published(granule) <= self._clock.now()

    def image(self, index: str) -> ImageAsset | None:
        """The granule of that name."""
        match = _ID.fullmatch(index)
        tile = tile_named(match[2]) if match else None
        if match is None or tile is None:
            return None
        try:
            start = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None
        for granule in named(tile, start):
            if granule.index == index and self._exists(granule):
                return self._asset(granule)
        return None

    def _asset(self, granule: Granule) -> ImageAsset:
        return ImageAsset(
            id=f"{self.id}/{granule.index}",
            kind=self.kind,
            bands=_bands(self._product, granule),
            updated=published(granule),
            start=granule.sensed,
            end=granule.sensed,
            properties=Deferred(partial(self._product.properties, granule)),
            footprint=granule.footprint,
            size_bytes=self._product.size_bytes,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        return collection_json(self.id, self._product.first_day, self._clock.now(), view)


def published(granule: Granule) -> datetime:
    """When a granule appears."""
    return whole_hour(granule.sensed + LATENCY)


@lru_cache(maxsize=4096)
def tile_grid(tile: Tile, size: int) -> Grid:
    """A tile in pixels of so many metres."""
    transform = (float(size), 0.0, float(tile.left), 0.0, float(-size), float(tile.top))
    return Grid(Projection(tile.crs, transform), row=0, col=0, height=SIDE // size, width=SIDE // size)


@lru_cache(maxsize=4096)
def _window(tile: Tile, size: int) -> Grid:
    """The same as a part of the zone's lattice, which the zone's tiles share: nodes are computed once for all of them."""
    north = _NORTH if tile.crs.text.startswith("EPSG:327") else 0.0
    lattice = Projection(tile.crs, (float(size), 0.0, 0.0, 0.0, float(-size), north))
    row, col = round((north - tile.top) / size), tile.left // size
    return Grid(lattice, row=row, col=col, height=SIDE // size, width=SIDE // size)


def _bands(product: Product, granule: Granule) -> tuple[AssetBand, ...]:
    """The bands, those of one size with the same nodes behind them."""
    looks = {size: _look(granule, size) for size in {kind.size for kind in product.bands}}
    return tuple(_band(kind, granule, looks[kind.size]) for kind in product.bands)


Look = tuple[Grid, TrackNode, dict[str, Node]]


def _look(granule: Granule, size: int) -> Look:
    window = _window(granule.tile, size)
    lattice, day = window.projection, granule.day
    nodes: dict[str, Node] = {
        "green": green_node(lattice, day.timetuple().tm_yday),
        "sky": sky_node(lattice, day),
    }
    return window, track_node(lattice, ORBIT, granule.node_longitude), nodes


def _band(kind: BandKind, granule: Granule, look: Look) -> AssetBand:
    window, track, nodes = look
    swath = Swath(track, REACH if kind.available(granule.day) else -1.0)
    node = SceneBand(window, kind.type, swath, tuple(nodes[need] for need in kind.needs), kind.shade_on(granule.day))
    return AssetBand(kind.name, kind.type, tile_grid(granule.tile, kind.size), node, kind.policy)
