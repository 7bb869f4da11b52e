"""What the filters of a query say of time and place, for collections that are made up while they are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol, Self, TypeVar

from airflow_ee.emulator import deadline
from airflow_ee.emulator.catalog.assets import ImageAsset, asset_name
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import Date, DateRange, timestamp
from airflow_ee.emulator.values.element import Filter, NamesImages

WHOLE_WORLD: Bounds = (-180.0, -90.0, 180.0, 90.0)
WORLD_LIMIT, REGION_LIMIT = 5001, 20_000
"""Images that one query looks at: more than a collection may hold, since other filters may refuse most of them."""


class Sensed(Protocol):
    """What a satellite saw at one moment."""

    @property
    def sensed(self) -> datetime:
        """The moment."""


T = TypeVar("T", bound=Sensed)


@dataclass(frozen=True, slots=True)
class Listing:
    """Where and when images are wanted."""

    windows: tuple[DateRange, ...]
    region: Bounds
    indices: tuple[str, ...] | None = None
    """The only images that are wanted, where a filter names them."""

    @classmethod
    def of(cls, filters: Sequence[Filter]) -> Self:
        """From filters that must all hold."""
        windows = tuple(window for window in (each.window() for each in filters) if window is not None)
        regions = [region for region in (each.region() for each in filters) if region is not None]
        named = (each.indices() for each in filters if isinstance(each, NamesImages))
        indices = next((tuple(dict.fromkeys(each)) for each in named if each is not None), None)
        return cls(windows, min(regions, key=_area, default=WHOLE_WORLD), indices)

    def found(
        self,
        identity: str,
        between: tuple[datetime, datetime],
        search: Callable[[datetime, datetime], Iterable[T]],
        exists: Callable[[T], bool],
    ) -> Iterator[T]:
        """What a search between two moments finds that exists and that every window allows."""
        if between[0] > between[1]:
            return
        allowed = (each for each in search(*between) if self.allows(each.sensed) and exists(each))
        yield from self._bounded(identity, allowed)

    def _bounded(self, identity: str, found: Iterable[T]) -> Iterator[T]:
        """What is found, up to a number that can be looked at in some seconds."""
        limit = WORLD_LIMIT if self.region == WHOLE_WORLD else REGION_LIMIT
        for number, each in enumerate(found):
            if number == limit:
                raise invalid(
                    f"{identity}: more than {limit} images match the dates and the region; filter by a region "
                    "(filterBounds) or by fewer dates."
                )
            deadline.check()
            yield each

    def named(self, image: Callable[[str], ImageAsset | None]) -> list[ImageAsset]:
        """The images that are named and exist, oldest first."""
        found = [each for each in map(image, self.indices or ()) if each is not None and each.start is not None]
        return sorted(found, key=lambda each: (each.start, each.index))

    def allows(self, start: datetime) -> bool:
        """Whether every window has a start."""
        moment = Date.of_datetime(start)
        return all(moment in window for window in self.windows)


def _area(bounds: Bounds) -> float:
    west, south, east, north = bounds
    return (east - west) * (north - south)


def interval(wanted: Listing, first_day: date, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last moment that images can be of."""
    first, last = Date.of_datetime(midnight(first_day)), Date.of_datetime(now)
    earliest = max([first, *(window.start for window in wanted.windows)])
    latest = min([last, *(window.end for window in wanted.windows)])
    # Users may name moments that the calendar does not have: they are cut to where images can be.
    return min(earliest, last).moment, max(latest, Date(first.milliseconds - 1)).moment


def midnight(day: date) -> datetime:
    """The first moment of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def collection_json(identity: str, first_day: date, now: datetime, view: str) -> dict[str, Any]:
    """A REST EarthEngineAsset of a made-up collection."""
    shown: dict[str, Any] = {"type": "IMAGE_COLLECTION", "name": asset_name(identity), "id": identity}
    shown["updateTime"] = timestamp(midnight(now.date()))
    if view == "BASIC":
        return shown
    properties = {"title": f"Simulated {identity}", "description": "Made by the emulator: no satellite saw this."}
    return {**shown, "startTime": timestamp(midnight(first_day)), "properties": properties}
