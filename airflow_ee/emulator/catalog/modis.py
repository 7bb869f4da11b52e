"""The simulated products of MODIS and VIIRS: images of the whole world, with the bands, types, grids and calendars of the real ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.listing import Listing, collection_json, interval, midnight
from airflow_ee.emulator.catalog.modis_calendar import AQUA, DAILY, TERRA, VIIRS, Calendar
from airflow_ee.emulator.catalog.modis_composites import modis_bands, viirs_bands
from airflow_ee.emulator.catalog.modis_daily import daily_bands
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.crs import SINUSOIDAL
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.image import WORLD

LATENCY = timedelta(days=8)
"""How long after its last day a composite appears."""
_DAILY_LATENCY = timedelta(days=2)


def _native(shrinkage: int) -> Grid:
    """The sinusoidal grid of 250 m, or of 500 m or 1 km whose pixels hold whole ones of it."""
    side = 231.65635826395825 * shrinkage
    # The service's own grid of 250 m has this height of a pixel, which differs from the width in the last place.
    height = 231.65635826395834 if shrinkage == 1 else side
    projection = Projection(SINUSOIDAL, (side, 0.0, -20015109.354, 0.0, -height, 10007554.677003))
    return Grid(projection, row=0, col=0, height=86400 // shrinkage, width=172800 // shrinkage)


NATIVE, HALF_KILOMETRE, KILOMETRE = _native(1), _native(2), _native(4)


@dataclass(frozen=True, slots=True)
class Product:
    """A collection of images of the whole world."""

    id: str
    first_day: date
    calendar: Calendar
    bands: Callable[[date], tuple[AssetBand, ...]]
    last_day: date = date.max
    """First day of the last image: versions come to their end."""
    latency: timedelta = LATENCY
    tiles: int = 286

    def appears(self, start: date) -> datetime:
        """When an image is there: so long after the last of all days that it may look at."""
        return midnight(start) + timedelta(days=self.calendar.days) + self.latency


_FINE_COMPOSITES, _COMPOSITES = partial(modis_bands, native=NATIVE), partial(modis_bands, native=HALF_KILOMETRE)
_VIIRS = partial(viirs_bands, native=HALF_KILOMETRE)
_DAYS = partial(daily_bands, fine=HALF_KILOMETRE, coarse=KILOMETRE)
PRODUCTS = {
    product.id: product
    for product in (
        Product("MODIS/061/MOD13Q1", date(2000, 2, 18), TERRA, _FINE_COMPOSITES),
        Product("MODIS/006/MOD13Q1", date(2000, 2, 18), TERRA, _FINE_COMPOSITES, last_day=date(2023, 2, 2)),
        Product("MODIS/061/MYD13Q1", date(2002, 7, 4), AQUA, _FINE_COMPOSITES),
        Product("MODIS/061/MOD13A1", date(2000, 2, 18), TERRA, _COMPOSITES),
        Product("NASA/VIIRS/002/VNP13A1", date(2012, 1, 17), VIIRS, _VIIRS),
        Product("MODIS/061/MOD09GA", date(2000, 2, 24), DAILY, _DAYS, latency=_DAILY_LATENCY),
    )
}


class SimulatedModis:
    """The whole collection: nothing is stored, an image is made when it is named."""

    kind = Kind.SIMULATED

    def __init__(self, clock: Clock, product: Product) -> None:
        self.id = product.id
        self._product = product
        self._clock = clock

    def _starts(self, first: date, last: date) -> Iterator[date]:
        """Starts of the images from one day to another."""
        calendar = self._product.calendar
        start = calendar.start(max(first, self._product.first_day))
        while start <= last:
            yield start
            start = calendar.following(start)

    def _published(self, start: date) -> bool:
        product = self._product
        return product.first_day <= start <= product.last_day and product.appears(start) <= self._clock.now()

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The images whose start the filters allow; every one of them covers the world."""
        wanted = Listing.of(filters)
        if wanted.indices is not None:
            yield from wanted.named(self.image)
            return
        first, last = interval(wanted, self._product.first_day, self._clock.now())
        for start in self._starts(first.date(), last.date()):
            if self._published(start) and wanted.allows(midnight(start)):
                yield self._asset(start)

    def image(self, index: str) -> ImageAsset | None:
        """The image that starts on that day."""
        match = re.fullmatch(r"(\d{4})_(\d{2})_(\d{2})", index)
        try:
            start = date(*map(int, match.groups())) if match else None
        except ValueError:
            return None
        if start is None or self._product.calendar.start(start) != start or not self._published(start):
            return None
        return self._asset(start)

    def _asset(self, start: date) -> ImageAsset:
        product = self._product
        began = midnight(start)
        end = product.calendar.end(began)
        return ImageAsset(
            id=f"{self.id}/{start:%Y_%m_%d}",
            kind=self.kind,
            bands=product.bands(start),
            updated=product.appears(start),
            start=began,
            end=end,
            properties={
                "num_tiles": product.tiles,
                "google:max_source_file_timestamp": round((end + product.latency).timestamp() * 1000),
            },
            footprint=WORLD,
            size_bytes=9_876_543_210,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        return collection_json(self.id, self._product.first_day, self._clock.now(), view)
