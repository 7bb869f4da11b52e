"""Assets as the catalogue knows them, how they become image values, and how REST shows them."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol, cast

from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Node
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.dates import EPOCH, Date, timestamp
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image, outline

PUBLIC = "projects/earthengine-public/assets/"
LEGACY = "projects/earthengine-legacy/assets/"


class Kind(Enum):
    """Where pixels come from: it is written on every answer."""

    SIMULATED = "simulated"
    MOUNTED = "mounted"
    NONE = "true"


def marker(kinds: Iterable[Kind]) -> str:
    """The strongest warning among the kinds: one simulated pixel makes the whole simulated."""
    present = set(kinds)
    for kind in (Kind.SIMULATED, Kind.MOUNTED):
        if kind in present:
            return str(kind.value)
    return str(Kind.NONE.value)


@dataclass(frozen=True, slots=True, eq=False)
class AssetBand:
    """A band of a stored image: its grid is the whole of it."""

    name: str
    type: PixelType
    grid: Grid
    node: Node
    pyramiding_policy: str = "MEAN"

    def as_json(self) -> dict[str, Any]:
        """A REST ImageBand."""
        return {
            "id": self.name,
            "dataType": self.type.as_json(),
            "grid": self.grid.as_json(),
            "pyramidingPolicy": self.pyramiding_policy,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ImageAsset:
    """An image of the catalogue."""

    id: str
    kind: Kind
    bands: tuple[AssetBand, ...]
    updated: datetime
    start: datetime | None = None
    end: datetime | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    footprint: Geometry | None = None
    size_bytes: int = 0
    uris: tuple[str, ...] = ()
    """The files of a bucket that have its pixels, where it is not stored."""
    in_collection: bool = True

    @property
    def index(self) -> str:
        """The last part of the id."""
        return self.id.rsplit("/", 1)[-1]

    @property
    def geometry(self) -> Geometry:
        """The footprint in longitude and latitude."""
        return self.footprint or outline(self.bands[0].grid)

    def to_image(self) -> Image:
        """The lazy value that an expression works with."""
        bands = tuple(Band(band.name, band.type, band.node, band.grid.projection, band.grid) for band in self.bands)
        version = round((self.updated - EPOCH) / timedelta(microseconds=1))
        return Image(bands, self.element_properties(), self.id, version, self.footprint)

    def element_properties(self) -> Mapping[str, Any]:
        """The properties with the ``system:`` ones that an element carries; deferred ones stay so."""
        system: dict[str, Any] = {"system:index": self.index}
        if self.start is not None:
            system["system:time_start"] = round(Date.of_datetime(self.start).milliseconds)
        if self.end is not None:
            system["system:time_end"] = round(Date.of_datetime(self.end).milliseconds)
        if self.size_bytes:
            system["system:asset_size"] = self.size_bytes
        return ChainMap(system, cast("dict[str, Any]", self.properties))

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset."""
        shown: dict[str, Any] = {"type": "IMAGE", "name": asset_name(self.id), "id": self.id}
        shown["updateTime"] = timestamp(self.updated)
        if view == "BASIC":
            return shown
        if self.start is not None:
            shown["startTime"] = timestamp(self.start)
        if self.end is not None:
            shown["endTime"] = timestamp(self.end)
        shown["properties"] = {**self.properties, "system:index": self.index}
        shown["geometry"] = self.geometry.as_value()
        shown["bands"] = [band.as_json() for band in self.bands]
        if self.uris:
            shown["cloudStorageLocation"] = {"uris": list(self.uris)}
        return {**shown, "sizeBytes": str(self.size_bytes)} if self.size_bytes else shown


class CollectionAsset(Protocol):
    """An image collection of the catalogue."""

    id: str
    kind: Kind

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """Images that the filters may let pass, oldest first."""

    def image(self, index: str) -> ImageAsset | None:
        """The image of that ``system:index``."""

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset."""


def asset_name(asset_id: str) -> str:
    """The REST name of an id.

    >>> asset_name("MODIS/061/MOD13Q1")
    'projects/earthengine-public/assets/MODIS/061/MOD13Q1'
    """
    if re.match(r"projects/[^/]+/assets(/|$)", asset_id):
        return asset_id
    owned = asset_id.split("/", 1)[0] in ("users", "projects")
    return (LEGACY if owned else PUBLIC) + asset_id


def asset_id(name: str) -> str:
    """The id behind a REST name; ids of Cloud projects are their names.

    >>> asset_id("projects/earthengine-public/assets/MODIS/061/MOD13Q1")
    'MODIS/061/MOD13Q1'
    """
    for prefix in (PUBLIC, LEGACY):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
