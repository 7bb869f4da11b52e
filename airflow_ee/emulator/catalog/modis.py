"""A simulated MODIS/061/MOD13Q1: 16-day vegetation indices at 250 m, with the bands, types, grid and calendar of the real one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind, asset_name
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.lattice import LatticeNode, Shade
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.crs import SINUSOIDAL
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.dates import Date, timestamp
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.image import WORLD

ID = "MODIS/061/MOD13Q1"
FIRST_DAY = date(2000, 2, 18)
PERIOD_DAYS = 16
LATENCY = timedelta(days=8)
"""How long after its last day a composite appears."""

NATIVE = Grid(
    Projection(SINUSOIDAL, (231.65635826395825, 0.0, -20015109.354, 0.0, -231.65635826395834, 10007554.677003)),
    row=0,
    col=0,
    height=86400,
    width=172800,
)

_BANDS = {
    "NDVI": "int16",
    "EVI": "int16",
    "DetailedQA": "uint16",
    "sur_refl_b01": "int16",
    "sur_refl_b02": "int16",
    "sur_refl_b03": "int16",
    "sur_refl_b07": "int16",
    "ViewZenith": "int16",
    "SolarZenith": "int16",
    "RelativeAzimuth": "int16",
    "DayOfYear": "int16",
    "SummaryQA": "int8",
}
_QUALITY_BANDS = ("DetailedQA", "SummaryQA", "DayOfYear")


def composite_start(day: date) -> date:
    """The first day of the composite that a day belongs to: days 1, 17, ... 353 of each year.

    >>> composite_start(date(2020, 12, 31)).isoformat()
    '2020-12-18'
    """
    passed = (day - date(day.year, 1, 1)).days
    return date(day.year, 1, 1) + timedelta(days=passed - passed % PERIOD_DAYS)


def composite_end(start: datetime) -> datetime:
    """The first moment after a composite: the last one of a year ends with it."""
    new_year = datetime(start.year + 1, 1, 1, tzinfo=UTC)
    return min(start + timedelta(days=PERIOD_DAYS), new_year)


@dataclass(frozen=True, slots=True)
class _Composite:
    """What one composite shows."""

    start: date

    @property
    def day_of_year(self) -> int:
        """Of its first day."""
        return self.start.timetuple().tm_yday

    def shade(self, band: str) -> Shade:
        """The pixels of one band."""

        def pixels(longitude: Field, latitude: Field, rows: Field, cols: Field) -> tuple[Field, Field]:
            return self._values(band, longitude, latitude, rows, cols)

        return pixels

    def _values(self, band: str, longitude: Field, latitude: Field, rows: Field, cols: Field) -> tuple[Field, Field]:
        chance = fields.hashed(cols.astype(np.int64), rows.astype(np.int64), 41 + self.start.toordinal())
        place = fields.land(longitude, latitude)
        mask = (~place.water & (chance > 0.003)).astype(np.float64)
        day = self.day_of_year + np.floor(chance * PERIOD_DAYS)
        if band == "DayOfYear":
            return np.where(day > self._last_day, day - self._last_day, day), mask
        if band in ("ViewZenith", "SolarZenith", "RelativeAzimuth"):
            return self._angle(band, latitude, chance), mask
        # A composite keeps the clearest look of its 16 days: clouds must be there on both days looked at to come through.
        looks = (self.start.toordinal(), self.start.toordinal() + 7)
        cloud = np.minimum(*(fields.cloudiness(longitude, latitude, look, self.day_of_year) for look in looks)) ** 2
        if band in _QUALITY_BANDS:
            return self._quality(band, cloud, self._snow(latitude, chance)), mask
        green = fields.ndvi(place, day) + 0.02 * (chance - 0.5)
        return _reflected(band, green - (green - 0.05) * 0.8 * cloud, cloud), mask

    @property
    def _last_day(self) -> int:
        return date(self.start.year, 12, 31).timetuple().tm_yday

    def _snow(self, latitude: Field, chance: Field) -> Any:
        winter = np.cos(2 * np.pi * (self.day_of_year - 15) / 365.25) * np.where(latitude >= 0, 1, -1)
        return np.maximum(np.abs(latitude) - 45, 0) / 20 * winter > 0.35 + 0.6 * chance

    def _angle(self, band: str, latitude: Field, chance: Field) -> Field:
        declination = 23.44 * np.sin(2 * np.pi * (self.day_of_year - 81) / 365.25)
        angles = {
            "ViewZenith": 60 * chance,
            "SolarZenith": np.clip(np.hypot(latitude - declination, 25.0), 0, 90),
            "RelativeAzimuth": 360 * chance - 180,
        }
        return np.asarray(angles[band] * 100)

    @staticmethod
    def _quality(band: str, cloud: Field, snow: Any) -> Field:
        summary = np.select([snow, cloud > 0.5, cloud > 0.1], [2.0, 3.0, 1.0], 0.0)
        if band == "SummaryQA":
            return np.asarray(summary)
        # Bits 0-1 say how good, 2-5 how useful, 10 mixed clouds, 14 snow or ice; the values of the real product.
        bits = {0: 0b0000_0100_0100, 1: 0b0000_0101_0101, 2: 0x4800 | 0x55, 3: 0x0C00 | 0x96}
        chosen = np.select([summary == key for key in bits], [float(value) for value in bits.values()])
        return np.asarray(chosen)


def _reflected(band: str, ndvi: Field, cloud: Field) -> Field:
    red = 0.03 + 0.11 * (1 - np.clip(ndvi, 0, 1)) + 0.35 * cloud
    near = red * (1 + ndvi) / (1 - ndvi)
    blue = 0.55 * red + 0.1 * cloud
    indices = {
        "NDVI": ndvi,
        "EVI": 2.5 * (near - red) / (near + 6 * red - 7.5 * blue + 1),
        "sur_refl_b01": red,
        "sur_refl_b02": near,
        "sur_refl_b03": blue,
        "sur_refl_b07": 0.08 + 0.12 * (1 - np.clip(ndvi, 0, 1)) + 0.1 * cloud,
    }
    return np.asarray(np.clip(indices[band] * 10000, -2000, 10000))


class SimulatedModis:
    """The whole collection: nothing is stored, an image is made when it is named."""

    id = ID
    kind = Kind.SIMULATED

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def _starts(self, first: date, last: date) -> Iterator[date]:
        """Starts of the composites from one day to another."""
        start = composite_start(max(first, FIRST_DAY))
        while start <= last:
            yield start
            start = composite_end(datetime(start.year, start.month, start.day, tzinfo=UTC)).date()

    def _published(self, start: date) -> bool:
        return start >= FIRST_DAY and _midnight(start) + timedelta(days=PERIOD_DAYS) + LATENCY <= self._clock.now()

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The composites whose start the filters allow; every one of them covers the world."""
        windows = [window for window in (each.window() for each in filters) if window is not None]
        today = self._clock.now()
        earliest = max([window.start for window in windows], default=Date(0))
        latest = min([window.end for window in windows], default=Date.of_datetime(today))
        first = _day(max(earliest, Date.of_datetime(_midnight(FIRST_DAY))))
        last = _day(min(latest, Date.of_datetime(today)))
        for start in self._starts(first, last):
            if self._published(start) and all(Date.of_datetime(_midnight(start)) in window for window in windows):
                yield self._asset(start)

    def image(self, index: str) -> ImageAsset | None:
        """The composite that starts on that day."""
        match = re.fullmatch(r"(\d{4})_(\d{2})_(\d{2})", index)
        try:
            start = date(*map(int, match.groups())) if match else None
        except ValueError:
            return None
        if start is None or composite_start(start) != start or not self._published(start):
            return None
        return self._asset(start)

    def _asset(self, start: date) -> ImageAsset:
        composite, began = _Composite(start), _midnight(start)
        bands = tuple(_band(name, dtype, composite) for name, dtype in _BANDS.items())
        end = composite_end(began)
        return ImageAsset(
            id=f"{ID}/{start:%Y_%m_%d}",
            kind=self.kind,
            bands=bands,
            updated=began + timedelta(days=PERIOD_DAYS) + LATENCY,
            start=began,
            end=end,
            properties={
                "num_tiles": 286,
                "google:max_source_file_timestamp": round((end + LATENCY).timestamp() * 1000),
            },
            footprint=WORLD,
            size_bytes=9_876_543_210,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        shown: dict[str, Any] = {"type": "IMAGE_COLLECTION", "name": asset_name(ID), "id": ID}
        shown["updateTime"] = timestamp(self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0))
        if view == "BASIC":
            return shown
        properties = {"title": "Simulated MOD13Q1", "description": "Made by the emulator: no satellite saw this."}
        return {**shown, "startTime": timestamp(_midnight(FIRST_DAY)), "properties": properties}


def _band(name: str, dtype: str, composite: _Composite) -> AssetBand:
    type_ = type_of_dtype(dtype)
    policy = "MODE" if name in _QUALITY_BANDS else "MEAN"
    return AssetBand(name, type_, NATIVE, LatticeNode(NATIVE, type_, composite.shade(name)), policy)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _day(moment: Date) -> date:
    return moment.moment.date()
