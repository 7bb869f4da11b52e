"""Bands of simulated scenes: a window of a lattice, masked where the instrument did not look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.catalog.places import Layers, sites_of
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster
from airflow_ee.emulator.pixels.types import PixelType

Shade = Callable[..., NDArray[Any]]
"""Values from the layers that a band asked for, before they are fitted to the band's type."""


@dataclass(frozen=True, slots=True, eq=False)
class Swath:
    """What an instrument sees of a track."""

    node: Node
    """Layers of a :class:`places.TrackNode`."""
    reach: float
    """Greatest distance from the track, in degrees."""
    along: tuple[float, float] = (-90.0, 90.0)
    """First and last degree along the track: the day side, or one scene."""

    def sees(self, track: Layers) -> NDArray[np.bool_]:
        """Whether pixels are in the swath."""
        along, across = track
        seen = np.abs(across) <= self.reach
        return np.asarray(seen & (along >= self.along[0]) & (along <= self.along[1]))


class SceneBand(Node):
    """One band of a scene."""

    def __init__(self, window: Grid, type_: PixelType, swath: Swath, inputs: tuple[Node, ...], shade: Shade) -> None:
        self._window = window
        self._type = type_
        self._swath = swath
        self._inputs = inputs
        self._shade = shade

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The track and the layers, unless the grid misses the window."""
        if not self._inside(grid).any():
            return ()
        return tuple((node, grid) for node in (self._swath.node, *self._inputs))

    def _inside(self, grid: Grid) -> NDArray[np.bool_]:
        window = self._window
        rows, cols = sites_of(grid, window.projection)
        down = (rows >= window.row) & (rows < window.row + window.height)
        return np.asarray(down & (cols >= window.col) & (cols < window.col + window.width))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """The pixels of the window that the instrument saw; the others are masked zeros."""
        if not inputs:
            return Raster(np.zeros(grid.shape, self._type.dtype), np.zeros(grid.shape, np.float32))
        track, *layers = (each.values for each in inputs)
        seen = self._inside(grid) & self._swath.sees(track)
        values = np.broadcast_to(self._shade(*layers), grid.shape)
        return fitted(values, seen, self._type)


def fitted(values: NDArray[Any], seen: NDArray[np.bool_], type_: PixelType) -> Raster:
    """Values in a band's type; what was not seen is a masked zero."""
    mask = seen.astype(np.float32)
    if type_.precision == "int":
        low, high = type_.range
        values = np.clip(np.rint(values), low, high)
    kept = values.astype(type_.dtype)
    return Raster(kept if seen.all() else np.where(seen, kept, type_.dtype.type(0)), mask)


def whole_hour(moment: datetime) -> datetime:
    """The next whole hour: images appear on whole hours, so that nothing changes between them."""
    floor = moment.replace(minute=0, second=0, microsecond=0)
    return floor if floor == moment else floor + timedelta(hours=1)
