"""When Sentinel-2 flies over a tile, and which part of it the satellites see."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from airflow_ee.emulator.catalog.footprints import clipped, in_degrees
from airflow_ee.emulator.catalog.mgrs import SIDE, Tile, samples_of
from airflow_ee.emulator.catalog.orbits import KM_PER_DEGREE, Orbit
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.values.geometry import Geometry

CYCLE_DAYS = 10
TRACKS = 143
REACH = 145.0 / KM_PER_DEGREE
"""Half of the swath of 290 km, in degrees from the track."""
DAYLIGHT = 88.0
"""Degrees along the track on either side of the equator that are looked at."""
_START_LATITUDE = 67.6
"""Where the instrument is switched on: it dates the data take that names the granules."""
LATENCY = timedelta(hours=24)
"""How long after the overpass a granule appears, on the next whole hour."""
_REAL_NAMES = {
    (name[-5:], name[:8]): name
    for name in (
        "20150821T111616_20160314T094808_T30UWU",
        "20160625T100617_20160625T170310_T33UVR",
        "20160711T084022_20160711T084751_T35PKT",
        "20170328T083601_20170328T084228_T35RNK",
        "20170328T083601_20170328T084228_T35RNL",
        "20170328T083601_20170328T084228_T35RNM",
        "20170420T184921_20170420T190203_T10SEG",
        "20170430T190351_20170430T190351_T10SEG",
        "20191022T185429_20191022T185427_T10SEH",
        "20200618T184919_20200618T190341_T10SEG",
        "20210109T185751_20210109T185931_T10SEG",
        "20210114T185729_20210114T185730_T10SEG",
    )
}
"""Names of granules that Google's own examples load, by tile and date."""
_FEW_TILES = 400
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Satellite:
    """One of the two."""

    name: str
    orbit: Orbit
    first_orbit: int
    """The absolute orbit number of revolution 0."""
    since: date


def _orbit(node_time: datetime) -> Orbit:
    # The track of relative orbit 1, from the overpass times in the names of real products and a local time of 10:30.
    return Orbit(inclination=98.5623, revolutions=TRACKS, days=CYCLE_DAYS, node_longitude=168.28, node_time=node_time)


SATELLITES = (
    Satellite("A", _orbit(datetime(2018, 12, 23, 23, 15, 14, 400_000, tzinfo=UTC)), 18302, date(2015, 6, 27)),
    Satellite("B", _orbit(datetime(2018, 12, 28, 23, 15, 14, 400_000, tzinfo=UTC)), 9465, date(2017, 7, 1)),
)
ORBIT = SATELLITES[0].orbit
_START_ALONG = ORBIT.along_at(_START_LATITUDE)


@dataclass(frozen=True)
class Granule:
    """One tile seen in one pass."""

    tile: Tile
    satellite: Satellite
    revolution: int
    along: float
    """Degrees along the track to the middle of what is seen."""
    neighbours: int = 1
    """So many passes are likely to be asked for together: it is quicker to sum them up at once."""

    @property
    def relative_orbit(self) -> int:
        """From 1 to 143."""
        return self.revolution % TRACKS + 1

    @property
    def node_longitude(self) -> float:
        """Where this pass crosses the equator."""
        return ORBIT.longitude_of(self.revolution)

    @cached_property
    def start(self) -> datetime:
        """Begin of the data take, in whole seconds."""
        return self.satellite.orbit.time_of(self.revolution, _START_ALONG).replace(microsecond=0)

    @cached_property
    def sensed(self) -> datetime:
        """When the middle was seen, in whole milliseconds."""
        moment = self.satellite.orbit.time_of(self.revolution, self.along)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    @cached_property
    def index(self) -> str:
        """The ``system:index``: the real one where examples name it."""
        real = _REAL_NAMES.get((self.tile.name, f"{self.start:%Y%m%d}"))
        return real or f"{self.start:%Y%m%dT%H%M%S}_{self.sensed:%Y%m%dT%H%M%S}_T{self.tile.name}"

    @cached_property
    def day(self) -> date:
        """The date of the pass in UTC, whose sky and season all of its granules show."""
        return self.start.date()

    @property
    def footprint(self) -> Geometry:
        """The part of the tile that is seen."""
        return _footprint(self.tile, self.revolution % TRACKS)


def granules(tiles: Sequence[Tile], first: datetime, last: datetime) -> Iterator[Granule]:
    """What is seen of tiles between two moments (and a little around them), pass by pass."""
    seen = _seen(tiles)
    neighbours = _BATCH if len(tiles) <= _FEW_TILES else 1
    streams = [_passes(satellite, seen, first, last) for satellite in SATELLITES]
    for _, satellite, revolution in heapq.merge(*streams, key=lambda each: each[0]):
        found = [Granule(tile, satellite, revolution, along, neighbours) for tile, along in seen(revolution % TRACKS)]
        yield from sorted(found, key=lambda granule: granule.along)


Seen = Callable[[int], Sequence[tuple[Tile, float]]]


def _passes(
    satellite: Satellite, seen: Seen, first: datetime, last: datetime
) -> Iterator[tuple[datetime, Satellite, int]]:
    since = datetime(satellite.since.year, satellite.since.month, satellite.since.day, tzinfo=UTC)
    orbit, margin = satellite.orbit, timedelta(hours=1)
    for revolution in range(orbit.revolution_at(max(first, since) - margin), orbit.revolution_at(last + margin) + 1):
        if seen(revolution % TRACKS):
            yield orbit.time_of(revolution), satellite, revolution


def _seen(tiles: Sequence[Tile]) -> Seen:
    """The tiles of a track: from a table where there are few, track by track where there is a world of them."""
    if len(tiles) <= _FEW_TILES:
        table: dict[int, list[tuple[Tile, float]]] = {}
        for tile in tiles:
            for track, along in coverage(tile).items():
                table.setdefault(track, []).append((tile, along))
        return lambda track: table.get(track, ())
    longitudes, latitudes = _middles(tuple(tiles))

    @lru_cache(maxsize=TRACKS)
    def near(track: int) -> Sequence[tuple[Tile, float]]:
        at = ORBIT.track(ORBIT.longitude_of(track), longitudes, latitudes)
        close = np.flatnonzero((np.abs(at.across) < REACH + 1.0) & (np.abs(at.along) < DAYLIGHT))
        some = [tiles[number] for number in close.tolist()]
        alongs = _alongs(track, *samples_of(some))
        return [(tile, along) for tile, along in zip(some, alongs, strict=True) if along is not None]

    return near


@lru_cache(maxsize=2)
def _middles(tiles: tuple[Tile, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    longitudes, latitudes = samples_of(tiles)
    middle = longitudes.shape[1] // 2
    return longitudes[:, middle], latitudes[:, middle]


def named(tile: Tile, start: datetime) -> Iterable[Granule]:
    """The granules of a tile of the pass whose data take begins nearest to a moment: one at most, but for chance."""
    tracks = coverage(tile)
    for satellite in SATELLITES:
        revolution = satellite.orbit.revolution_at(start, _START_ALONG)
        along = tracks.get(revolution % TRACKS)
        if along is not None:
            yield Granule(tile, satellite, revolution, along)


@lru_cache(maxsize=65536)
def coverage(tile: Tile) -> dict[int, float]:
    """The tracks (from 0) that see some of the tile, each with the degrees along it to the middle of what is seen."""
    places = samples_of([tile])
    middle = places[0].shape[1] // 2
    across = ORBIT.track(_nodes(), places[0][0, middle], places[1][0, middle]).across
    near = np.flatnonzero(np.abs(across) < REACH + 1.0).tolist()
    alongs = ((track, _alongs(track, *places)[0]) for track in near)
    return {track: along for track, along in alongs if along is not None}


def _alongs(track: int, longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> list[float | None]:
    """Degrees along a track to the middle of what it sees of each row of places; None where it sees none."""
    at = ORBIT.track(ORBIT.longitude_of(track), longitudes, latitudes)
    seen = (np.abs(at.across) <= REACH) & (np.abs(at.along) <= DAYLIGHT)
    count = seen.sum(axis=1)
    means = np.where(seen, at.along, 0.0).sum(axis=1) / np.maximum(count, 1)
    # The middle names the granule by its second: it must not depend on how many tiles are looked at together.
    return [round(mean, 4) if number else None for mean, number in zip(means.tolist(), count.tolist(), strict=True)]


@lru_cache(maxsize=1)
def _nodes() -> NDArray[np.float64]:
    return np.array([ORBIT.longitude_of(track) for track in range(TRACKS)])


@lru_cache(maxsize=65536)
def _footprint(tile: Tile, track: int) -> Geometry:
    def across(points: NDArray[np.float64]) -> NDArray[np.float64]:
        longitude, latitude = convert(tile.crs, WGS84, points[:, 0], points[:, 1])
        return ORBIT.track(ORBIT.longitude_of(track), longitude, latitude).across

    square = shapely.segmentize(shapely.box(*tile.bounds), SIDE / 8 + 1)
    return in_degrees(clipped(square, across, REACH), tile.crs)
