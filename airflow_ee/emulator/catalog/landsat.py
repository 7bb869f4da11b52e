"""The simulated Landsat 8 and 9: surface reflectance and temperature, and what is seen at the top of the atmosphere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from airflow_ee.emulator.catalog import landsat_bands, landsat_top
from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.deferred import Deferred
from airflow_ee.emulator.catalog.landsat_bands import BandKind, distance_node
from airflow_ee.emulator.catalog.landsat_properties import LATENCY, scene_properties, top_properties
from airflow_ee.emulator.catalog.listing import Listing, collection_json, interval
from airflow_ee.emulator.catalog.places import green_node, place_node, sky_node, track_node
from airflow_ee.emulator.catalog.scenes import SceneBand, Swath, whole_hour
from airflow_ee.emulator.catalog.wrs2 import (
    LANDSAT_8,
    LANDSAT_9,
    LOWEST_SUN,
    ORBIT,
    REACH,
    Frame,
    Satellite,
    Scene,
    frames_over,
    scene_on,
    scenes,
)
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Node
from airflow_ee.emulator.values.element import Filter

_SIZE_BYTES = 1_100_000_000


@dataclass(frozen=True, slots=True)
class Product:
    """One of the collections."""

    id: str
    prefix: str
    satellite: Satellite
    first_day: date
    bands: Callable[[Scene], Sequence[BandKind]]
    properties: Callable[[Scene], dict[str, Any]]


def _surface_bands(scene: Scene) -> Sequence[BandKind]:
    return landsat_bands.bands(scene.day.timetuple().tm_yday)


_FIRST_8, _FIRST_9 = date(2013, 3, 18), date(2021, 10, 31)
PRODUCTS = (
    Product("LANDSAT/LC08/C02/T1_L2", "LC08", LANDSAT_8, _FIRST_8, _surface_bands, scene_properties),
    Product("LANDSAT/LC09/C02/T1_L2", "LC09", LANDSAT_9, _FIRST_9, _surface_bands, scene_properties),
    Product("LANDSAT/LC08/C02/T1_TOA", "LC08", LANDSAT_8, _FIRST_8, landsat_top.bands, top_properties),
    Product("LANDSAT/LC09/C02/T1_TOA", "LC09", LANDSAT_9, _FIRST_9, landsat_top.bands, top_properties),
)


class SimulatedLandsat:
    """One whole collection."""

    kind = Kind.SIMULATED

    def __init__(self, product: Product, clock: Clock) -> None:
        self.id = product.id
        self._product = product
        self._clock = clock

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The scenes that the filters may let pass, oldest first; without a region those of the world."""
        wanted = Listing.of(filters)
        if wanted.indices is not None:
            return wanted.named(self.image)
        found = wanted.found(
            self.id,
            interval(wanted, self._product.first_day, self._clock.now()),
            lambda first, last: scenes(self._product.satellite, frames_over(wanted.region), first, last),
            self._exists,
        )
        return (self._asset(scene) for scene in found)

    def _exists(self, scene: Scene) -> bool:
        in_time = scene.sensed.date() >= self._product.first_day and published(scene) <= self._clock.now()
        return in_time and scene.sun.elevation >= LOWEST_SUN

    def image(self, index: str) -> ImageAsset | None:
        """The scene of that name."""
        match = re.fullmatch(rf"{self._product.prefix}_(\d{{3}})(\d{{3}})_(\d{{8}})", index)
        try:
            day = datetime.strptime(match[3], "%Y%m%d").replace(tzinfo=UTC) if match else None
        except ValueError:
            return None
        if match is None or day is None:
            return None
        frame = Frame(int(match[1]), int(match[2]))
        scene = scene_on(self._product.satellite, frame, day) if frame.exists else None
        return self._asset(scene) if scene is not None and self._exists(scene) else None

    def _asset(self, scene: Scene) -> ImageAsset:
        return ImageAsset(
            id=f"{self.id}/{self._product.prefix}_{scene.name}",
            kind=self.kind,
            bands=_bands(self._product.bands(scene), scene),
            updated=published(scene),
            start=scene.sensed,
            properties=Deferred(partial(self._product.properties, scene)),
            footprint=scene.frame.footprint(),
            size_bytes=_SIZE_BYTES,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        return collection_json(self.id, self._product.first_day, self._clock.now(), view)


def published(scene: Scene) -> datetime:
    """When a scene appears."""
    return whole_hour(scene.sensed + LATENCY)


def _bands(kinds: Sequence[BandKind], scene: Scene) -> tuple[AssetBand, ...]:
    """The bands, those of one size with the same nodes behind them."""
    looks = {size: _look(scene, size) for size in {kind.size for kind in kinds}}
    return tuple(_band(kind, scene, looks[kind.size]) for kind in kinds)


Look = tuple[Grid, dict[str, Node]]


def _look(scene: Scene, size: int) -> Look:
    window, day = scene.frame.window(size), scene.day
    lattice, day_of_year = window.projection, day.timetuple().tm_yday
    nodes: dict[str, Node] = {
        "green": green_node(lattice, day_of_year),
        "sky": sky_node(lattice, day),
        "place": place_node(lattice),
        "distance": distance_node(lattice, day),
        "track": track_node(lattice, ORBIT, scene.frame.node_longitude),
    }
    return window, nodes


def _band(kind: BandKind, scene: Scene, look: Look) -> AssetBand:
    window, nodes = look
    swath = Swath(nodes["track"], REACH, scene.frame.limits)
    own = Grid(
        Projection(window.projection.crs, window.transform), row=0, col=0, height=window.height, width=window.width
    )
    node = SceneBand(window, kind.type, swath, tuple(nodes[need] for need in kind.needs), kind.shade)
    return AssetBand(kind.name, kind.type, own, node, kind.policy)
