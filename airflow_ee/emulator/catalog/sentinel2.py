"""A simulated COPERNICUS/S2_SR_HARMONIZED: granules for any place, made when a filter's region asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind, asset_name
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.lattice import LatticeNode, Shade
from airflow_ee.emulator.catalog.mgrs import SIDE, Tile, tile_named, tiles_over
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.dates import Date, timestamp
from airflow_ee.emulator.values.element import Filter

ID = "COPERNICUS/S2_SR_HARMONIZED"
FIRST_DAY = date(2017, 3, 28)
REVISIT_DAYS = 5
LATENCY = timedelta(days=1)
MAX_GRANULES = 20_000

_SIZES = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20, "B9": 60, "B11": 20,
    "B12": 20, "AOT": 10, "WVP": 10, "SCL": 20, "MSK_CLDPRB": 20, "MSK_SNWPRB": 20, "QA60": 60,
}  # fmt: skip
_BYTES = ("SCL", "MSK_CLDPRB", "MSK_SNWPRB")
_LEVEL = {"B1": 0.35, "B2": 0.45, "B3": 0.8, "B4": 1.0, "B5": 1.3, "B11": 1.6, "B12": 1.2}
"""Reflectance of bands that follow the red one, relative to it."""
_SHARE = {"B6": 0.75, "B7": 0.92, "B8": 1.0, "B8A": 1.02, "B9": 0.95}
"""Reflectance of bands that follow the near infrared."""
_ID = re.compile(r"(\d{8})T(\d{6})_(\d{8})T(\d{6})_T(\d{2}[A-Z]{3})")
_ANCHOR = date(2020, 6, 1)


@dataclass(frozen=True, slots=True)
class Granule:
    """One tile on one date."""

    tile: Tile
    day: date

    @property
    def sensed(self) -> datetime:
        """Half past ten by the sun, more or less: 24 minutes earlier for each zone to the east."""
        base = datetime(self.day.year, self.day.month, self.day.day, 10, 10, 31, tzinfo=UTC)
        return base.replace(hour=0, minute=0, second=0) + (
            timedelta(hours=10, minutes=10, seconds=31) - timedelta(minutes=24) * (self.tile.zone - 32)
        ) % timedelta(days=1)

    @property
    def index(self) -> str:
        """The ``system:index``."""
        return f"{self.sensed:%Y%m%dT%H%M%S}_{self.sensed + timedelta(seconds=1):%Y%m%dT%H%M%S}_T{self.tile.name}"

    @property
    def day_of_year(self) -> int:
        """From 1."""
        return self.day.timetuple().tm_yday

    def grid(self, size: int) -> Grid:
        """The tile in pixels of so many metres."""
        transform = (float(size), 0.0, float(self.tile.left), 0.0, float(-size), float(self.tile.top))
        return Grid(Projection(self.tile.crs, transform), row=0, col=0, height=SIDE // size, width=SIDE // size)

    def shade(self, band: str) -> Shade:
        """The pixels of one band."""

        def pixels(longitude: Field, latitude: Field, _rows: Field, _cols: Field) -> tuple[Field, Field]:
            cloud = fields.cloudiness(longitude, latitude, self.day.toordinal(), self.day_of_year)
            return self._values(band, longitude, latitude, cloud), np.ones_like(longitude)

        return pixels

    def _values(self, band: str, longitude: Field, latitude: Field, cloud: Field) -> Field:
        if band == "MSK_CLDPRB":
            return 100 * cloud
        if band in ("MSK_SNWPRB", "QA60"):
            return np.zeros_like(cloud)
        if band in ("AOT", "WVP"):
            return np.full_like(cloud, 120.0 if band == "AOT" else 1500.0) + 300 * cloud
        place = fields.land(longitude, latitude)
        green = fields.ndvi(place, self.day_of_year)
        shadow = fields.cloudiness(longitude - 0.012, latitude - 0.01, self.day.toordinal(), self.day_of_year) > 0.6
        if band == "SCL":
            bare = np.where(place.water, 6.0, np.where(green > 0.35, 4.0, 5.0))
            return np.select([cloud > 0.75, cloud > 0.4, cloud > 0.2, shadow], [9.0, 8.0, 7.0, 3.0], bare)
        return self._reflectance(band, green, cloud, np.where(shadow & (cloud <= 0.2), 0.45, 1.0))

    @staticmethod
    def _reflectance(band: str, green: Field, cloud: Field, light: Field) -> Field:
        red = 0.02 + 0.12 * (1 - np.clip(green, 0, 1))
        near = red * (1 + green) / (1 - green)
        ground = near * _SHARE[band] if band in _SHARE else red * _LEVEL[band]
        return (ground * light * (1 - cloud) + 0.75 * cloud) * 10_000


@lru_cache(maxsize=8192)
def cloudy_percentage(granule: Granule) -> float:
    """From a few hundred places of the tile."""
    steps = (np.arange(16) + 0.5) / 16 * SIDE
    x, y = np.meshgrid(granule.tile.left + steps, granule.tile.top - steps)
    longitude, latitude = convert(granule.tile.crs, WGS84, x, y)
    cloud = fields.cloudiness(longitude, latitude, granule.day.toordinal(), granule.day_of_year)
    return round(100 * float((cloud > 0.4).mean()), 6)


def flies_over(tile: Tile, day: date) -> bool:
    """Whether a satellite passes: every fifth day, zone by zone."""
    return ((day - _ANCHOR).days - (tile.zone - 32)) % REVISIT_DAYS == 0


class SimulatedSentinel2:
    """The whole collection."""

    id = ID
    kind = Kind.SIMULATED

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The granules that the filters allow, oldest first. Without a region there would be a world of them."""
        regions = [region for region in (each.region() for each in filters) if region is not None]
        if not regions:
            raise invalid(f"{ID} is simulated for the places that are asked for: filter it by a region (filterBounds).")
        tiles = tiles_over(regions[0])
        first, last = self._days(filters)
        granules = len(tiles) * max(0, (last - first).days) / REVISIT_DAYS
        if granules > MAX_GRANULES:
            raise invalid(f"{ID}: about {granules:.0f} granules match; filter by date or by a smaller region.")
        for day in _days(first, last):
            yield from (self._asset(Granule(tile, day)) for tile in tiles if self._exists(tile, day))

    def _days(self, filters: Sequence[Filter]) -> tuple[date, date]:
        windows = [window for window in (each.window() for each in filters) if window is not None]
        now = Date.of_datetime(self._clock.now())
        start = max([window.start for window in windows], default=Date(0))
        end = min([*(window.end for window in windows), now])
        return max(FIRST_DAY, max(start, Date(0)).moment.date()), max(end, Date(0)).moment.date()

    def _exists(self, tile: Tile, day: date) -> bool:
        return day >= FIRST_DAY and flies_over(tile, day) and Granule(tile, day).sensed + LATENCY <= self._clock.now()

    def image(self, index: str) -> ImageAsset | None:
        """The granule of that name."""
        match = _ID.fullmatch(index)
        tile = tile_named(match[5]) if match else None
        if match is None or tile is None:
            return None
        try:
            granule = Granule(tile, datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date())
        except ValueError:
            return None
        return self._asset(granule) if granule.index == index and self._exists(tile, granule.day) else None

    def _asset(self, granule: Granule) -> ImageAsset:
        return ImageAsset(
            id=f"{ID}/{granule.index}",
            kind=self.kind,
            bands=tuple(_band(name, size, granule) for name, size in _SIZES.items()),
            updated=granule.sensed + LATENCY,
            start=granule.sensed,
            properties={
                "CLOUDY_PIXEL_PERCENTAGE": cloudy_percentage(granule),
                "MGRS_TILE": granule.tile.name,
                "SPACECRAFT_NAME": f"Sentinel-2{'AB'[(granule.day - _ANCHOR).days // REVISIT_DAYS % 2]}",
                "SENSING_ORBIT_NUMBER": (granule.tile.zone * 17) % 143 + 1,
                "PROCESSING_BASELINE": "05.00",
                "GENERAL_QUALITY": "PASSED",
                "NODATA_PIXEL_PERCENTAGE": 0,
            },
            size_bytes=1_100_000_000,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        shown: dict[str, Any] = {"type": "IMAGE_COLLECTION", "name": asset_name(ID), "id": ID}
        shown["updateTime"] = timestamp(self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0))
        if view == "BASIC":
            return shown
        start = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
        properties = {"title": "Simulated Sentinel-2", "description": "Made by the emulator: no satellite saw this."}
        return {**shown, "startTime": timestamp(start), "properties": properties}


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _band(name: str, size: int, granule: Granule) -> AssetBand:
    type_ = type_of_dtype("uint8" if name in _BYTES else "uint16")
    grid = granule.grid(size)
    policy = "MODE" if name in ("SCL", "QA60") else "MEAN"
    return AssetBand(name, type_, grid, LatticeNode(grid, type_, granule.shade(name)), policy)
