"""Clouds in Sentinel-2 scenes by their height: neighbouring detectors see what is high at different places.

D. Frantz et al., "Improvement of the Fmask algorithm for Sentinel-2 images: separating clouds from bright surfaces based on parallax
effects" (2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.together import Surroundings
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Padded
from airflow_ee.emulator.pixels.raster import Mask, Raster, Reprojected
from airflow_ee.emulator.pixels.types import FLOAT
from airflow_ee.emulator.values.image import Band, Image

Array = NDArray[np.float64]

_FUNCTION = "Sentinel2.CDI"
_RADIUS = 3
"""The paper's window is 7 by 7 pixels of 20 m."""

_FINE_PIXELS = 16
"""Of the 10 m band that may go into one of the pixels of 20 m."""


@of_numbers("Sentinel2.CDI")
def cloud_displacement_index(source: Image) -> Image:
    """``cdi``: about 1 where B7 varies against B8A, -1 where the more displaced B8 does, as over clouds."""
    fine, near, edge = (source.band(name, function=_FUNCTION) for name in ("B8", "B7", "B8A"))
    if not (edge.has_grid and fine.has_grid):
        raise invalid(f"{_FUNCTION} of an image without a projection of its own is not emulated")
    mean = {"reducer": registry.call("Reducer.mean", {}), "maxPixels": _FINE_PIXELS}
    (coarse,) = registry.call("Image.reduceResolution", {"image": Image((fine,)), **mean}).bands
    margins = (_RADIUS, _RADIUS, _RADIUS, _RADIUS)
    node = Surroundings([coarse.node, near.node, edge.node], lambda _grid: margins, _displaced)
    lattice = edge.projection
    return source.with_bands([Band("cdi", FLOAT, Reprojected(node, lattice), lattice, edge.extent)])


def _displaced(padded: Sequence[Padded], _grid: Grid) -> Raster:
    mask = np.minimum.reduce([each.mask for each in padded])
    wide, near, edge = (np.where(mask > 0, each.values, 1).astype(np.float64) for each in padded)
    with np.errstate(all="ignore"):
        by_wide, by_near = (_variance(padded[0]._replace(values=band / edge, mask=mask)) for band in (wide, near))
        index = (by_near - by_wide) / (by_near + by_wide)
    return settled(index, _known(padded[0]._replace(mask=mask)), FLOAT)


def _cells() -> list[tuple[int, int]]:
    steps = range(-_RADIUS, _RADIUS + 1)
    return [(row, col) for row in steps for col in steps]


def _known(padded: Padded) -> Mask:
    """Where the whole window is known."""
    return np.asarray(np.minimum.reduce([padded.shifted(row, col).mask for row, col in _cells()]))


def _variance(padded: Padded) -> Array:
    """Of the window, neighbour by neighbour."""
    cells = _cells()
    middle = np.asarray(sum(padded.shifted(row, col).values for row, col in cells) / len(cells))
    deadline.check()
    return np.asarray(sum((padded.shifted(row, col).values - middle) ** 2 for row, col in cells) / len(cells))
