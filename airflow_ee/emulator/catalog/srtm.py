"""The simulated USGS/SRTMGL1_003 and CGIAR/SRTM90_V4: a terrain of sine waves, whose slope and aspect can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.places import coordinates, sites_of
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Node, Raster
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.geometry import box

ID = "USGS/SRTMGL1_003"
_SECOND = 0.0002777777777777778
NATIVE = Grid(
    Projection(WGS84, (_SECOND, 0.0, -180.0001388888889, 0.0, -_SECOND, 60.00013888888889)),
    row=0,
    col=0,
    height=417601,
    width=1296001,
)
COARSE_ID = "CGIAR/SRTM90_V4"
_THREE_SECONDS = 0.0008333333535119891
"""Of single precision: the guide on deferred execution shows it so."""
COARSE = Grid(
    Projection(WGS84, (_THREE_SECONDS, 0.0, -180.0, 0.0, -_THREE_SECONDS, 60.0)),
    row=0,
    col=0,
    height=144000,
    width=432000,
)
_SOUTH = -56.0
_UPDATED = datetime(2018, 1, 4, tzinfo=UTC)
_TYPE = type_of_dtype("int16")
BASE = 850.0
"""Metres around which the waves swing."""


class Wave(NamedTuple):
    """One pattern of hills: ``height * sin(east * longitude + phase) * sin(north * latitude + phase)``."""

    height: float
    """Metres."""
    east: int
    """Waves round the Earth: whole numbers, so that nothing breaks at the antimeridian."""
    north: int
    phase: float


WAVES = (
    Wave(height=480.0, east=90, north=110, phase=0.4),
    Wave(height=180.0, east=610, north=530, phase=1.1),
    Wave(height=110.0, east=3900, north=4300, phase=2.3),
    Wave(height=40.0, east=17100, north=18300, phase=0.7),
)


def elevation(longitude: Field | float, latitude: Field | float) -> Field:
    """Metres above the sea.

    >>> bool(0 < elevation(11.3, 46.4) < 1700)
    True
    """
    x, y = np.radians(longitude), np.radians(latitude)
    height = np.asarray(BASE)
    for wave in WAVES:
        height = height + wave.height * np.sin(wave.east * x + wave.phase) * np.sin(wave.north * y + wave.phase)
    return height


class ElevationNode(Node):
    """Whole metres at the centres of the native pixels; masked where the shuttle did not fly."""

    def __init__(self, native: Grid) -> None:
        self._native = native

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """The elevation on the grid."""
        native = self._native
        rows, cols = sites_of(grid, native.projection)
        longitude, latitude = coordinates(grid, native.projection)
        inside = (rows >= 0) & (rows < native.height) & (cols >= 0) & (cols < native.width) & (latitude > _SOUTH)
        values = np.rint(elevation(longitude, latitude))
        return Raster(np.where(inside, values, 0).astype(_TYPE.dtype), inside.astype(np.float32))


def asset() -> ImageAsset:
    """The image of one arc second."""
    return _asset(ID, NATIVE, 132_792_638_252)


def coarse_asset() -> ImageAsset:
    """The image of three arc seconds: the same terrain at the centres of its own pixels."""
    return _asset(COARSE_ID, COARSE, 18_827_626_666)


def _asset(identity: str, native: Grid, size_bytes: int) -> ImageAsset:
    return ImageAsset(
        id=identity,
        kind=Kind.SIMULATED,
        bands=(AssetBand("elevation", _TYPE, native, ElevationNode(native)),),
        updated=_UPDATED,
        start=datetime(2000, 2, 11, tzinfo=UTC),
        end=datetime(2000, 2, 22, tzinfo=UTC),
        properties={"title": "Simulated SRTM", "description": "Made by the emulator: no satellite saw this."},
        footprint=box((-180.0, _SOUTH, 180.0, 60.0)),
        size_bytes=size_bytes,
    )
