"""The simulated USGS/SRTMGL1_003: a terrain of sine waves, whose slope and aspect can be worked out by hand."""

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

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """The elevation on the grid."""
        rows, cols = sites_of(grid, NATIVE.projection)
        inside = (rows >= 0) & (rows < NATIVE.height) & (cols >= 0) & (cols < NATIVE.width)
        values = np.rint(elevation(*coordinates(grid, NATIVE.projection)))
        return Raster(np.where(inside, values, 0).astype(_TYPE.dtype), inside.astype(np.float32))


def asset() -> ImageAsset:
    """The one image."""
    return ImageAsset(
        id=ID,
        kind=Kind.SIMULATED,
        bands=(AssetBand("elevation", _TYPE, NATIVE, ElevationNode()),),
        updated=_UPDATED,
        start=datetime(2000, 2, 11, tzinfo=UTC),
        end=datetime(2000, 2, 22, tzinfo=UTC),
        properties={"title": "Simulated SRTM", "description": "Made by the emulator: no satellite saw this."},
        footprint=box((-180.0, -56.0, 180.0, 60.0)),
        size_bytes=132_792_638_252,
    )
