"""Which images make one row: each its own, those of a day, or all of an interval.

A day of scenes is one of the nautical time zone in the middle of the area (UTC plus a whole number of hours, 15 degrees
wide): there the satellite passes at the same time of day all year, and a day of UTC would cut passes over the Pacific in two.
A day of composites and of collections without a preset is one of UTC: their times are dates.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset

__all__ = [
    "GROUPINGS",
    "Companions",
    "GroupBy",
    "ImageGroup",
    "day_hours",
    "group_images",
    "listing_interval",
    "local_date",
    "newest_baselines",
]

GroupBy = Literal["image", "day", "interval"]
GROUPINGS: tuple[GroupBy, ...] = ("image", "day", "interval")
DEGREES_AN_HOUR = 15.0
_BASELINE = re.compile(r"_N\d\d\.\d\d$")
log = logging.getLogger(__name__)

Companions = Mapping[str, Mapping[str, Asset]]
"""Score images by collection and ``system:index``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """Images that make one row, in order of time."""

    key: str
    """Name of its part file and raster: the image's index, the day, or the interval."""
    images: tuple[Asset, ...]
    interval_start: datetime
    """Beginning of the time that the row stands for, UTC."""
    interval_end: datetime | None
    """Its end, exclusive; None when nobody knows it."""
    image_start: datetime
    """Beginning of the first image."""
    image_end: datetime | None
    """End of the last one, exclusive; of an image of one moment that moment."""
    companions: tuple[Mapping[str, Asset], ...] = ()
    """For each image its score images, by collection."""

    @property
    def cube_time(self) -> datetime:
        """Its date in a cube: its beginning, to the second."""
        return self.interval_start.replace(microsecond=0)

    @property
    def update_time(self) -> str | None:
        """When the service last changed any of the images."""
        times = [image.update_time for image in self.images if image.update_time]
        return max(times, key=datetime.fromisoformat) if times else None

    @property
    def revision(self) -> str:
        """Another text when an image was changed, came, or went, or a score image did."""
        if len(self.images) == 1 and not any(self.companions):
            return self.images[0].update_time or ""
        told = [
            [image.id, image.update_time, *sorted((item.id, item.update_time or "") for item in companions.values())]
            for image, companions in zip(self.images, self.companions or ({},) * len(self.images), strict=True)
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def day_hours(region: Region | None) -> int:
    """Hours by which days of the area are ahead of UTC's: those of its nautical time zone; without an area 0.

    >>> day_hours(Region.parse([150, -20, 151, -19])), day_hours(None)
    (10, 0)
    """
    return 0 if region is None else round(region.geometry.centroid.x / DEGREES_AN_HOUR)


def local_date(moment: datetime, hours: int) -> date:
    """The date in a zone ``hours`` ahead of UTC."""
    return (moment.astimezone(UTC) + timedelta(hours=hours)).date()


def listing_interval(start: datetime, end: datetime, by: GroupBy, hours: int) -> tuple[datetime, datetime]:
    """From when to when images are looked for, so that groups are whole.

    For days the dates of ``start`` and ``end`` count, and the days from the first up to but without the last are taken
    whole: runs one after the other share out the days, whatever the time at which they begin.

    Raises
    ------
    ValueError
        When there is no whole day in the interval.

    Examples
    --------
    >>> first, last = datetime(2023, 6, 1, 6, tzinfo=UTC), datetime(2023, 7, 1, 6, tzinfo=UTC)
    >>> [moment.isoformat() for moment in listing_interval(first, last, "day", 10)]
    ['2023-05-31T14:00:00+00:00', '2023-06-30T14:00:00+00:00']
    """
    if by != "day":
        return start, end
    first, last = start.date(), end.date()
    if first == last:
        raise ValueError(
            f"group_by='day' takes whole days, and none begins in [{start.isoformat()}, {end.isoformat()}): give dates at "
            "least one day apart"
        )
    return _midnight(first, hours), _midnight(last, hours)


def group_images(
    images: Sequence[Asset],
    *,
    by: GroupBy,
    interval: tuple[datetime, datetime],
    hours: int = 0,
    image_end: Callable[[datetime], datetime] | None = None,
    companions: Companions | None = None,
) -> list[ImageGroup]:
    """Sort images into groups, in order of time.

    Parameters
    ----------
    interval
        What was asked for; the interval of the one group when ``by`` is ``interval``.
    hours
        By which days are ahead of UTC's.
    image_end
        End of an image from its beginning, for collections whose images do not tell it.
    companions
        Score images that go with these.

    Raises
    ------
    ValueError
        When an image has no time, and so no place in a series.
    """
    ends = {image.id: image_end(_start(image)) if image_end else image.end_time for image in images}
    found: dict[tuple[str, datetime, datetime | None], list[Asset]] = defaultdict(list)
    for image in sorted(images, key=lambda image: (_start(image), image.id)):
        found[_place(image, ends[image.id], by, interval, hours)].append(image)
    groups = []
    for (key, start, end), members in found.items():
        chosen = members if by == "image" else newest_baselines(members)
        known = [ends[image.id] or _start(image) for image in chosen]
        groups.append(
            ImageGroup(
                key=key,
                images=tuple(chosen),
                interval_start=start,
                interval_end=end,
                image_start=_start(chosen[0]),
                image_end=ends[chosen[0].id] if by == "image" else max(known),
                companions=tuple(_companions_of(image, companions or {}) for image in chosen),
            )
        )
    return groups


def newest_baselines(images: Iterable[Asset]) -> list[Asset]:
    """Without Sentinel-2 granules that are there again from a newer processing baseline: a mean would count both."""
    newest: dict[tuple[str, str], Asset] = {}
    for image in images:
        tile = str(image.properties.get("MGRS_TILE") or image.id)
        pass_ = _BASELINE.sub("", str(image.properties.get("DATATAKE_IDENTIFIER") or image.id))
        earlier = newest.get((tile, pass_))
        if earlier is not None:
            log.info("%s and %s are of one pass, the newer baseline counts", earlier.id, image.id)
        if earlier is None or _baseline(image) > _baseline(earlier):
            newest[tile, pass_] = image
    return sorted(newest.values(), key=lambda image: (_start(image), image.id))


def _baseline(image: Asset) -> str:
    return str(image.properties.get("PROCESSING_BASELINE", ""))


def _start(image: Asset) -> datetime:
    if image.start_time is None:
        raise ValueError(f"{image.id} has no startTime: it has no place in a time series")
    return image.start_time


def _midnight(day: date, hours: int) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=hours)


def _place(
    image: Asset, end: datetime | None, by: GroupBy, interval: tuple[datetime, datetime], hours: int
) -> tuple[str, datetime, datetime | None]:
    """Key and interval of the group that an image belongs to."""
    if by == "image":
        return image.index, _start(image), end
    if by == "interval":
        return "_".join(f"{moment:%Y%m%dT%H%M%S}" for moment in interval), *interval
    day = local_date(_start(image), hours)
    return day.isoformat(), _midnight(day, hours), _midnight(day + timedelta(days=1), hours)


def _companions_of(image: Asset, companions: Companions) -> Mapping[str, Asset]:
    return {name: images[image.index] for name, images in companions.items() if image.index in images}
