"""The simulated ESA/WorldCover/v100 and v200: a land-cover map of what grows on the simulated ground, 10 m.

Classes, years and the one image of each collection are those of the `catalogue
<https://developers.google.com/earth-engine/datasets/catalog/ESA_WorldCover_v200>`_.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.listing import Listing, collection_json
from airflow_ee.emulator.catalog.places import land_node, place_node, sites_of
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.geometry import box

YEARS = {"ESA/WorldCover/v100": 2020, "ESA/WorldCover/v200": 2021}
_SIDE = 1 / 12_000
NATIVE = Grid(
    Projection(WGS84, (_SIDE, 0.0, -180.0, 0.0, -_SIDE, 84.0)), row=0, col=0, height=1_728_000, width=4_320_000
)
_TYPE = type_of_dtype("uint8")

TREES, SHRUBS, GRASS, CROPS, BUILT, BARE, WATER, WETLAND = 10, 20, 30, 40, 50, 60, 80, 90


def land_cover(place: fields.Land, longitude: Field, latitude: Field) -> Field:
    """The class of a place, from how its NDVI goes through the year.

    >>> here = np.full((1, 1), 11.3), np.full((1, 1), 46.4)
    >>> int(land_cover(fields.land(*here), *here)[0, 0])
    40
    """
    midsummer = np.where(latitude >= 0, 196.0, 14.0)
    shore = fields.noise(longitude, latitude, 0.08, 13) < 0.15
    rules = {
        WATER: place.water > 0,
        WETLAND: shore,
        BUILT: fields.noise(longitude, latitude, 0.09, 61) > 0.93,
        CROPS: place.height > 0.33,
        TREES: place.base > 0.3,
        GRASS: fields.ndvi(place, midsummer) > 0.5,
        SHRUBS: fields.ndvi(place, midsummer) > 0.3,
    }
    return np.select(list(rules.values()), list(rules), BARE)


class _CoverNode(Node):
    """The map."""

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels are, and what grows there."""
        return ((place_node(NATIVE.projection), grid), (land_node(NATIVE.projection), grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Classes; masked where the map ends."""
        longitude, latitude = inputs[0].values
        base, height, cosine, sine, water = inputs[1].values
        rows, cols = sites_of(grid, NATIVE.projection)
        inside = (rows >= 0) & (rows < NATIVE.height) & (cols >= 0) & (cols < NATIVE.width)
        found = land_cover(fields.Land(base, height, cosine, sine, water), longitude, latitude)
        return Raster(np.where(inside, found, 0).astype(_TYPE.dtype), inside.astype(np.float32))


_NODE = _CoverNode()


class SimulatedWorldCover:
    """A collection of one image, named by its year."""

    kind = Kind.SIMULATED

    def __init__(self, clock: Clock, identity: str) -> None:
        self.id = identity
        self._year = YEARS[identity]
        self._clock = clock

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The image, if the filters allow its year's beginning."""
        wanted = Listing.of(filters)
        image = self.image(str(self._year))
        if image is not None and image.start is not None and wanted.allows(image.start):
            yield image

    def image(self, index: str) -> ImageAsset | None:
        """The image of the year, once the year is over."""
        end = datetime(self._year + 1, 1, 1, tzinfo=UTC)
        if index != str(self._year) or end > self._clock.now():
            return None
        return ImageAsset(
            id=f"{self.id}/{index}",
            kind=self.kind,
            bands=(AssetBand("Map", _TYPE, NATIVE, _NODE, "MODE"),),
            updated=datetime(self._year + 1, 10, 1, tzinfo=UTC),
            start=datetime(self._year, 1, 1, tzinfo=UTC),
            end=end,
            footprint=box((-180.0, -60.0, 180.0, 84.0)),
            size_bytes=112_345_678_901,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        return collection_json(self.id, datetime(self._year, 1, 1, tzinfo=UTC).date(), self._clock.now(), view)
