"""Landsat's paths and rows: where the scenes of the Worldwide Reference System 2 lie, and when a satellite sees them.

The frames are computed from a circular orbit: 233 paths in 16 days, row 60 on the equator, 248 rows round the Earth. Scenes
south of 60 degrees, which the real collection shows in a polar projection, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from math import ceil, floor

import numpy as np
import shapely
from numpy.typing import NDArray

from airflow_ee.emulator.catalog.footprints import in_degrees
from airflow_ee.emulator.catalog.orbits import KM_PER_DEGREE, Orbit
from airflow_ee.emulator.catalog.sun import Sun, sun_at
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.pixels.grid import Bounds, Grid, Projection
from airflow_ee.emulator.values.geometry import Geometry

PATHS, DAY_ROWS = 233, 122
EQUATOR_ROW = 60
ROW_STEP = 360.0 / 248
HALF_LENGTH, REACH = 90.0 / KM_PER_DEGREE, 92.5 / KM_PER_DEGREE
"""Half of a scene's 180 km along the track, and of the swath of 185 km, in degrees."""
PIXEL = 30.0
SOUTHMOST = -60.0
LOWEST_SUN = 14.0
"""Surface reflectance is not made of scenes where the sun stands lower."""

_FIRST_PATH, _NEXT_PATH = 44, 16
"""Path of revolution 0, and by how much each revolution's path is greater than the one before."""


@dataclass(frozen=True, slots=True)
class Satellite:
    """Landsat 8 or 9."""

    number: int
    orbit: Orbit


def _orbit(node_time: datetime) -> Orbit:
    return Orbit(
        inclination=98.2,
        revolutions=PATHS,
        days=16,
        node_longitude=-64.6 - (_FIRST_PATH - 1) * 360.0 / PATHS,
        node_time=node_time,
    )


LANDSAT_8 = Satellite(8, _orbit(datetime(2024, 10, 7, 18, 56, 19, tzinfo=UTC)))
LANDSAT_9 = Satellite(9, _orbit(datetime(2024, 10, 15, 18, 56, 19, tzinfo=UTC)))
ORBIT = LANDSAT_8.orbit


@dataclass(frozen=True, slots=True)
class Frame:
    """A path and a row."""

    path: int
    row: int

    @property
    def exists(self) -> bool:
        """Whether there is such a frame, seen by day and not in the polar south."""
        return 1 <= self.path <= PATHS and 1 <= self.row <= DAY_ROWS and self.centre[1] >= SOUTHMOST

    @property
    def along(self) -> float:
        """Degrees along the track to the scene's centre."""
        return (self.row - EQUATOR_ROW) * ROW_STEP

    @property
    def limits(self) -> tuple[float, float]:
        """Degrees along the track to both ends."""
        return self.along - HALF_LENGTH, self.along + HALF_LENGTH

    @property
    def node_longitude(self) -> float:
        """Where the path crosses the equator."""
        return ORBIT.longitude_of(revolution_of(self.path))

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude."""
        longitude, latitude = ORBIT.place(self.node_longitude, np.array(self.along), np.array(0.0))
        return float(longitude), float(latitude)

    def window(self, size: float = PIXEL) -> Grid:
        """The scene's pixels as a part of its zone's lattice: centres on whole multiples of their size, which divides 30 m."""
        coarse = _window(self)
        if size == PIXEL:
            return coarse
        parts, half = int(PIXEL // size), size / 2
        lattice = Projection(coarse.projection.crs, (size, 0.0, -half, 0.0, -size, half))
        # From the centre of the first pixel of 30 m to that of the last one.
        height, width = ((count - 1) * parts + 1 for count in (coarse.height, coarse.width))
        return Grid(lattice, row=coarse.row * parts, col=coarse.col * parts, height=height, width=width)

    def footprint(self) -> Geometry:
        """The scene's outline."""
        return _footprint(self)


@dataclass(frozen=True)
class Scene:
    """A frame seen in one revolution."""

    satellite: Satellite
    frame: Frame
    revolution: int

    @cached_property
    def sensed(self) -> datetime:
        """When the centre was seen, in whole milliseconds."""
        moment = self.satellite.orbit.time_of(self.revolution, self.frame.along)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    @cached_property
    def day(self) -> date:
        """The date of the pass in UTC, when it crosses the equator: all of its scenes show that day's sky and season."""
        return self.satellite.orbit.time_of(self.revolution).date()

    @cached_property
    def sun(self) -> Sun:
        """The sun over the centre."""
        return sun_at(self.sensed, *self.frame.centre)

    @property
    def name(self) -> str:
        """Path, row and date, as they stand in names: ``044034_20140318``."""
        return f"{self.frame.path:03d}{self.frame.row:03d}_{self.sensed:%Y%m%d}"


def revolution_of(path: int) -> int:
    """The first revolution on a path."""
    return (path - _FIRST_PATH) * pow(_NEXT_PATH, -1, PATHS) % PATHS


def path_of(revolution: int) -> int:
    """From 1 to 233."""
    return (_FIRST_PATH - 1 + revolution * _NEXT_PATH) % PATHS + 1


def scenes(satellite: Satellite, frames: Sequence[Frame], first: datetime, last: datetime) -> Iterator[Scene]:
    """What is seen of frames between two moments (and a little around them), in order."""
    rows: dict[int, list[int]] = {}
    for frame in frames:
        rows.setdefault(frame.path, []).append(frame.row)
    orbit, margin = satellite.orbit, timedelta(hours=1)
    for revolution in range(orbit.revolution_at(first - margin), orbit.revolution_at(last + margin) + 1):
        path = path_of(revolution)
        for row in sorted(rows.get(path, ())):
            yield Scene(satellite, Frame(path, row), revolution)


def scene_on(satellite: Satellite, frame: Frame, day: datetime) -> Scene | None:
    """The scene of a frame on a day that is given by its first moment, if there is one."""
    orbit = satellite.orbit
    near = orbit.revolution_at(day + timedelta(hours=12), frame.along)
    cycles = round((near - revolution_of(frame.path)) / PATHS)
    scene = Scene(satellite, frame, revolution_of(frame.path) + cycles * PATHS)
    return scene if scene.sensed.date() == day.date() else None


def frames_over(bounds: Bounds) -> Sequence[Frame]:
    """The frames whose surroundings touch a box of longitudes and latitudes."""
    west, south, east, north = bounds
    table = _table()
    beside = np.zeros(len(table.frames), np.bool_)
    for turn in (-360.0, 0.0, 360.0):
        beside |= (table.reach[:, 0] + turn <= east) & (table.reach[:, 2] + turn >= west)
    near = beside & (table.reach[:, 1] <= north) & (table.reach[:, 3] >= south)
    return [table.frames[number] for number in np.flatnonzero(near).tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    frames: Sequence[Frame]
    reach: NDArray[np.float64]
    """West, south, east and north of each; across the antimeridian longitudes run on."""


@lru_cache(maxsize=1)
def _table() -> _Table:
    frames = [Frame(path, row) for path in range(1, PATHS + 1) for row in range(1, DAY_ROWS + 1)]
    nodes = np.array([frame.node_longitude for frame in frames])[:, None]
    along = np.array([frame.along for frame in frames])[:, None]
    ends = np.array([-1.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    sides = np.array([-1.0, 0.0, 1.0, -1.0, 1.0, -1.0, 0.0, 1.0, 0.0])
    longitude, latitude = ORBIT.place(
        nodes, along + ends * HALF_LENGTH, np.broadcast_to(sides * REACH, (len(frames), 9))
    )
    middle = longitude[:, 8:]
    east = middle + (longitude - middle + 180.0) % 360.0 - 180.0
    margin = 0.05
    reach = np.column_stack(
        [east.min(1) - margin, latitude.min(1) - margin, east.max(1) + margin, latitude.max(1) + margin]
    )
    kept = np.flatnonzero(latitude[:, 8] >= SOUTHMOST).tolist()
    return _Table([frames[number] for number in kept], reach[kept])


@lru_cache(maxsize=32768)
def _outline(frame: Frame) -> tuple[Crs, NDArray[np.float64]]:
    """The system of the scene's zone, always a northern one, and the scene's edge in it."""
    longitude, _ = frame.centre
    crs = Crs(f"EPSG:{32601 + floor((longitude + 180.0) / 6.0) % 60}")
    steps = np.linspace(-1.0, 1.0, 9)[:-1]
    ones = np.ones_like(steps)
    along = frame.along + HALF_LENGTH * np.concatenate([-ones, steps, ones, -steps])
    across = REACH * np.concatenate([steps, ones, -steps, -ones])
    x, y = convert(WGS84, crs, *ORBIT.place(frame.node_longitude, along, across))
    # Both hemispheres use the northern zones: northings are negative in the south.
    return crs, np.column_stack([x, y])


@lru_cache(maxsize=32768)
def _window(frame: Frame) -> Grid:
    crs, edge = _outline(frame)
    half = PIXEL / 2
    lattice = Projection(crs, (PIXEL, 0.0, -half, 0.0, -PIXEL, half))
    (left, bottom), (right, top) = edge.min(axis=0), edge.max(axis=0)
    col, row = floor((left + half) / PIXEL), floor((half - top) / PIXEL)
    width, height = ceil((right + half) / PIXEL) - col, ceil((half - bottom) / PIXEL) - row
    return Grid(lattice, row=row, col=col, height=height, width=width)


@lru_cache(maxsize=32768)
def _footprint(frame: Frame) -> Geometry:
    crs, edge = _outline(frame)
    return in_degrees(shapely.Polygon(edge), crs)
