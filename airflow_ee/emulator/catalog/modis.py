"""The simulated MODIS/061/MOD13Q1 and MODIS/006/MOD13Q1: 16-day vegetation indices at 250 m, with the bands, types, grid and calendar of the real one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog import fields, optics
from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.listing import Listing, collection_json, interval, midnight
from airflow_ee.emulator.catalog.optics import WAVELENGTHS
from airflow_ee.emulator.catalog.places import land_node, place_node, sites_of
from airflow_ee.emulator.catalog.scenes import fitted
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.crs import SINUSOIDAL
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.image import WORLD

ID = "MODIS/061/MOD13Q1"
FIRST_DAY = date(2000, 2, 18)
VERSIONS = {ID: date.max, "MODIS/006/MOD13Q1": date(2023, 2, 2)}
"""The collections, each with the first day of its last composite: version 6 is no longer made."""
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
_LOST_SHARE = 0.003
"""Pixels that are masked by chance, of all."""
_MARGINAL_SHARE = 0.08
"""Pixels that are called marginal by chance, of those that are clear: haze that NDVI does not show."""
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


class _LookNode(Node):
    """What one composite kept of each pixel: day of the year, cloud, snow, a number by chance, and NDVI on that day."""

    def __init__(self, start: date) -> None:
        self._start = start
        self._day_of_year = start.timetuple().tm_yday

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels are, and what grows there."""
        return ((place_node(NATIVE.projection), grid), (land_node(NATIVE.projection), grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Five layers."""
        longitude, latitude = inputs[0].values
        rows, cols = sites_of(grid, NATIVE.projection)
        chance = fields.hashed(cols, rows, 41 + self._start.toordinal())
        day: Any = (self._day_of_year + np.floor(chance * PERIOD_DAYS)).astype(np.float32)
        base, height, cosine, sine, water = inputs[1].values
        green = fields.ndvi(fields.Land(base, height, cosine, sine, water > 0), day)
        # A composite keeps the clearest look of its 16 days: clouds must be there on both days looked at to come through.
        looks = (self._start.toordinal(), self._start.toordinal() + 7)
        clouds = (fields.cloudiness(longitude, latitude, look, float(self._day_of_year)) for look in looks)
        snow = fields.snow(longitude, latitude, float(self._day_of_year))
        layers = (day, np.minimum(*clouds) ** 2, snow, chance, green)
        return Raster(
            np.stack([np.broadcast_to(each, grid.shape).astype(np.float32) for each in layers]), inputs[0].mask
        )


Shade = Callable[[Field, Field], Field]
"""Digital numbers from the looks and the latitude of the places."""


class _CompositeBand(Node):
    """One band of a composite; water and some pixels by chance are masked."""

    def __init__(self, type_: PixelType, look: _LookNode, shade: Shade) -> None:
        self._type = type_
        self._look = look
        self._shade = shade

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The looks, and where the pixels are."""
        return ((self._look, grid), (place_node(NATIVE.projection), grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Pixels outside of the projection's outline are masked as well."""
        look, place = (each.values for each in inputs)
        rows, cols = sites_of(grid, NATIVE.projection)
        inside = (rows >= 0) & (rows < NATIVE.height) & (cols >= 0) & (cols < NATIVE.width)
        seen = inside & (inputs[1].mask > 0) & (look[4] > 0) & (look[3] > _LOST_SHARE)
        return fitted(np.broadcast_to(self._shade(look, place[1]), grid.shape), seen, self._type)


def _seen(colour: str, look: Field) -> Field:
    clear = np.zeros_like(look[1])
    return optics.reflectance(WAVELENGTHS[colour], look[4], np.stack([look[1], clear, clear, look[2]]))


def _colour(colour: str, look: Field, _latitude: Field) -> Field:
    return np.asarray(np.clip(_seen(colour, look), 0, 1) * 10_000)


def _ndvi(look: Field, _latitude: Field) -> Field:
    near, red = _seen("near", look), _seen("red", look)
    return np.asarray(np.clip((near - red) / (near + red) * 10_000, -2000, 10_000))


def _evi(look: Field, _latitude: Field) -> Field:
    near, red, blue = (_seen(colour, look) for colour in ("near", "red", "blue"))
    return np.asarray(np.clip(2.5 * (near - red) / (near + 6 * red - 7.5 * blue + 1) * 10_000, -2000, 10_000))


def _summary(look: Field, _latitude: Field) -> Field:
    """0 where nothing at all is in the way: there NDVI is the truth."""
    cloud, snow, chance = look[1], look[2], look[3]
    marginal = (cloud > 0) | (chance * PERIOD_DAYS % 1 < _MARGINAL_SHARE)
    return np.asarray(np.select([cloud > 0.5, snow > 0, marginal], [3.0, 2.0, 1.0], 0.0))


def _detailed(look: Field, latitude: Field) -> Field:
    """Bits 0-1 say how good, 2-5 how useful, 6-7 aerosol, 8 clouds beside, 10 mixed clouds, 11-13 land, 14 snow."""
    bits = {0: 0x0844, 1: 0x0989, 2: 0x4851, 3: 0x0DE2}
    summary = _summary(look, latitude)
    return np.asarray(np.select([summary == key for key in bits], [float(value) for value in bits.values()]))


def _solar_zenith(day_of_year: int, _look: Field, latitude: Field) -> Field:
    declination = 23.44 * np.sin(2 * np.pi * (day_of_year - 81) / 365.25)
    return np.asarray(np.clip(np.hypot(latitude - declination, 25.0), 0, 90) * 100)


def _wrapped(last_day: int, look: Field, _latitude: Field) -> Field:
    """The last composite of a year reaches into the next one: days are those of the year that they are in."""
    return np.asarray(np.where(look[0] > last_day, look[0] - last_day, look[0]))


def _shades(start: date) -> dict[str, Shade]:
    return {
        "NDVI": _ndvi,
        "EVI": _evi,
        "DetailedQA": _detailed,
        "sur_refl_b01": partial(_colour, "red"),
        "sur_refl_b02": partial(_colour, "near"),
        "sur_refl_b03": partial(_colour, "blue"),
        "sur_refl_b07": partial(_colour, "swir 2"),
        "ViewZenith": lambda look, _latitude: 6000 * look[3],
        "SolarZenith": partial(_solar_zenith, start.timetuple().tm_yday),
        "RelativeAzimuth": lambda look, _latitude: 36_000 * look[3] - 18_000,
        "DayOfYear": partial(_wrapped, date(start.year, 12, 31).timetuple().tm_yday),
        "SummaryQA": _summary,
    }


class SimulatedModis:
    """The whole collection: nothing is stored, an image is made when it is named."""

    kind = Kind.SIMULATED

    def __init__(self, clock: Clock, identity: str = ID) -> None:
        self.id = identity
        self._last_day = VERSIONS[identity]
        self._clock = clock

    def _starts(self, first: date, last: date) -> Iterator[date]:
        """Starts of the composites from one day to another."""
        start = composite_start(max(first, FIRST_DAY))
        while start <= last:
            yield start
            start = composite_end(datetime(start.year, start.month, start.day, tzinfo=UTC)).date()

    def _published(self, start: date) -> bool:
        in_time = FIRST_DAY <= start <= self._last_day
        return in_time and midnight(start) + timedelta(days=PERIOD_DAYS) + LATENCY <= self._clock.now()

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The composites whose start the filters allow; every one of them covers the world."""
        wanted = Listing.of(filters)
        if wanted.indices is not None:
            yield from wanted.named(self.image)
            return
        first, last = interval(wanted, FIRST_DAY, self._clock.now())
        for start in self._starts(first.date(), last.date()):
            if self._published(start) and wanted.allows(midnight(start)):
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
        began = midnight(start)
        end = composite_end(began)
        return ImageAsset(
            id=f"{self.id}/{start:%Y_%m_%d}",
            kind=self.kind,
            bands=_bands(start),
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
        return collection_json(self.id, FIRST_DAY, self._clock.now(), view)


@lru_cache(maxsize=1024)
def _bands(start: date) -> tuple[AssetBand, ...]:
    look, shades = _LookNode(start), _shades(start)

    def band(name: str, dtype: str) -> AssetBand:
        type_ = type_of_dtype(dtype)
        policy = "MODE" if name in _QUALITY_BANDS else "MEAN"
        return AssetBand(name, type_, NATIVE, _CompositeBand(type_, look, shades[name]), policy)

    return tuple(band(name, dtype) for name, dtype in _BANDS.items())
