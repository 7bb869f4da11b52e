"""Where the sun stands, to a tenth of a degree or so."""

from __future__ import annotations

from datetime import datetime
from math import asin, atan2, cos, degrees, pi, radians, sin
from typing import NamedTuple


class Sun(NamedTuple):
    """The sun as a place sees it, in degrees."""

    elevation: float
    azimuth: float
    """Clockwise from north, from 0 to 360."""


def sun_at(moment: datetime, longitude: float, latitude: float) -> Sun:
    """The sun at a moment and place.

    >>> from datetime import UTC
    >>> round(sun_at(datetime(2024, 3, 20, 12, 7, tzinfo=UTC), 0, 0).elevation)
    90
    """
    hours = moment.hour + moment.minute / 60 + moment.second / 3600
    year = 2 * pi / 365.25 * (moment.timetuple().tm_yday - 1 + (hours - 12) / 24)
    declination = radians(
        0.396 - 22.913 * cos(year) + 4.025 * sin(year) - 0.387 * cos(2 * year) + 0.052 * sin(2 * year)
    )
    late = 229.18 * (
        0.000075 + 0.001868 * cos(year) - 0.032077 * sin(year) - 0.014615 * cos(2 * year) - 0.04089 * sin(2 * year)
    )
    hour_angle = radians((hours - 12) * 15 + late / 4 + longitude)
    phi = radians(latitude)
    height = asin(sin(phi) * sin(declination) + cos(phi) * cos(declination) * cos(hour_angle))
    east = -cos(declination) * sin(hour_angle)
    north = sin(declination) * cos(phi) - cos(declination) * sin(phi) * cos(hour_angle)
    return Sun(degrees(height), degrees(atan2(east, north)) % 360)


def earth_sun_distance(moment: datetime) -> float:
    """In astronomical units."""
    return 1 - 0.01672 * cos(2 * pi / 365.256 * (moment.timetuple().tm_yday - 4))
