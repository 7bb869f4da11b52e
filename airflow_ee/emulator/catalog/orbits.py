"""Circular orbits that repeat: when a satellite passes the equator, and how far places lie from its track.

Angles are degrees seen from the Earth's centre. ``along`` counts from the descending node (where the satellite crosses the equator
southwards, by day for the satellites here), positive southwards; ``across`` is the distance from the track, positive to the
east. The Earth turns under the orbit, which is why the node that a place sees drifts west while the satellite moves on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]

EARTH_RADIUS_KM = 6371.0
KM_PER_DEGREE = EARTH_RADIUS_KM * np.pi / 180.0
_FLATNESS = (1 - 1 / 298.257223563) ** 2
"""Takes the tangent of a latitude on the ellipsoid to that of the angle at the Earth's centre."""


class Track(NamedTuple):
    """Where places lie relative to a ground track, in degrees."""

    along: Field
    across: Field


@dataclass(frozen=True, slots=True)
class Orbit:
    """One satellite's orbit.

    >>> from datetime import UTC
    >>> start = datetime(2020, 1, 1, tzinfo=UTC)
    >>> orbit = Orbit(inclination=98.2, revolutions=233, days=16, node_longitude=-64.6, node_time=start)
    >>> round(orbit.longitude_of(1) - orbit.longitude_of(0), 3)
    -24.721
    """

    inclination: float
    revolutions: int
    """In one cycle."""
    days: int
    """Length of the cycle."""
    node_longitude: float
    """Longitude of the descending node of revolution 0."""
    node_time: datetime
    """When the satellite passes that node."""

    @property
    def period(self) -> timedelta:
        """Time of one revolution."""
        return timedelta(days=self.days) / self.revolutions

    @property
    def drift(self) -> float:
        """Degrees that the Earth turns under the orbit in one revolution."""
        return 360.0 * self.days / self.revolutions

    def longitude_of(self, revolution: int) -> float:
        """Longitude of a revolution's descending node, from -180 to 180; the cycle makes it periodic."""
        turned = self.node_longitude - self.drift * (revolution % self.revolutions)
        return (turned + 180.0) % 360.0 - 180.0

    def time_of(self, revolution: int, along: float = 0.0) -> datetime:
        """When the satellite is so far along its track."""
        cycles, rest = divmod(revolution, self.revolutions)
        passed = (
            timedelta(days=self.days * cycles) + timedelta(days=self.days) * (rest + along / 360.0) / self.revolutions
        )
        return self.node_time + passed

    def revolution_at(self, moment: datetime, along: float = 0.0) -> int:
        """The revolution that is nearest to being so far along at a moment."""
        return round((moment - self.node_time) / self.period - along / 360.0)

    def along_at(self, latitude: float) -> float:
        """How far along the daytime track reaches a latitude."""
        phi = np.arctan(_FLATNESS * np.tan(np.radians(latitude)))
        ratio = np.sin(phi) / np.sin(np.radians(self.inclination))
        return float(-np.degrees(np.arcsin(np.clip(ratio, -1.0, 1.0))))

    def track(self, node_longitude: float | Field, longitude: Field, latitude: Field) -> Track:
        """Where places lie relative to the track of the node at ``node_longitude``."""
        slope = np.radians(self.inclination)
        phi = np.arctan(_FLATNESS * np.tan(np.radians(latitude)))
        along = -np.arcsin(np.clip(np.sin(phi) / np.sin(slope), -1.0, 1.0))
        across = np.zeros_like(along)
        for _ in range(2):
            # The node's longitude depends on how far the satellite has come: two rounds are exact to some metres.
            east = np.radians(longitude - node_longitude) + along * (self.drift / 360.0)
            x, y, z = np.cos(phi) * np.cos(east), np.cos(phi) * np.sin(east), np.sin(phi)
            along = np.arctan2(y * np.cos(slope) - z * np.sin(slope), x)
            across = np.arcsin(np.clip(y * np.sin(slope) + z * np.cos(slope), -1.0, 1.0))
        return Track(np.degrees(along), np.degrees(across))

    def place(self, node_longitude: float | Field, along: Field, across: Field) -> tuple[Field, Field]:
        """Longitude and latitude of positions along and across a track: the inverse of :meth:`track`."""
        slope, u, w = np.radians(self.inclination), np.radians(along), np.radians(across)
        forward, side = np.sin(u) * np.cos(w), np.sin(w)
        x = np.cos(u) * np.cos(w)
        y = forward * np.cos(slope) + side * np.sin(slope)
        z = -forward * np.sin(slope) + side * np.cos(slope)
        longitude = node_longitude + np.degrees(np.arctan2(y, x)) - self.drift * along / 360.0
        latitude = np.degrees(np.arctan(z / np.sqrt(x * x + y * y) / _FLATNESS))
        return np.asarray((longitude + 180.0) % 360.0 - 180.0), latitude
