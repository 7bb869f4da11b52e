"""What the name of a GeoTIFF, or its tags, say of when it was taken and which image it is a part of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_DATES = re.compile(
    r"(?<!\d)(?P<year>(?:18|19|20|21)\d\d)(?P<between>[_-]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
    r"(?:T(?P<time>\d{6})Z?)?(?!\d)"
    r"|(?<![A-Za-z])A(?P<julian_year>\d{4})(?P<day_of_year>\d{3})(?!\d)"
)
"""``2020-06-09``, ``20200609T101559``, and the day of the year as names of MODIS files have it: ``A2020161``."""
_TAGS = ("TIFFTAG_DATETIME", "datetime", "DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED")
_FORMATS = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Named:
    """Which part of which item a file is."""

    item: str
    time: datetime
    part: str = ""


def named(path: Path) -> Named | None:
    """From the first date in the name: up to it the name is the item's, behind it the part's.

    >>> named(Path("T32TPS_20200609T101559_B04.tif"))
    Named(item='T32TPS_20200609T101559', time=datetime.datetime(2020, 6, 9, 10, 15, 59, tzinfo=datetime.timezone.utc), part='B04')
    """
    stem = path.name.removesuffix(path.suffix)
    for match in _DATES.finditer(stem):
        time = _time(match)
        if time is not None:
            return Named(stem[: match.end()], time, stem[match.end() :].strip("._- "))
    return None


def _time(match: re.Match[str]) -> datetime | None:
    """A moment, unless there is no such day."""
    try:
        if match["julian_year"]:
            year, day = int(match["julian_year"]), int(match["day_of_year"])
            start = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
            return start if start.year == year else None
        digits = f"{match['year']}{match['month']}{match['day']}{match['time'] or '000000'}"
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def time_of_tags(path: Path, tags: Mapping[str, str]) -> Named:
    """From the tags of a file that is an item of its own; without a time it cannot be one."""
    for text in (tags[tag].removesuffix("Z") for tag in _TAGS if tag in tags):
        for form in _FORMATS:
            try:
                return Named(path.stem, datetime.strptime(text, form).replace(tzinfo=UTC))
            except ValueError:
                continue
    raise ValueError(
        f"{path} has no date: neither its name has one, such as 2020-06-09, nor one of its tags ({', '.join(_TAGS)})"
    )
