"""The shadows that mountains cast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.distances import MAX_NEIGHBOURHOOD, only_band, reach, walk
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.terrain import shrinking
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Neighbourhood, Padded
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import BOOLEAN
from airflow_ee.emulator.values.image import Image

_FUNCTION = "Terrain.hillShadow"


@of_numbers("Terrain.hillShadow", "HillShadow")
def hill_shadow(
    image: Image, azimuth: float, zenith: float, neighborhood_size: int = 0, hysteresis: bool = False
) -> Image:
    """``shadow``: 0 where a pixel on the way to the light rises above its ray, 1 elsewhere."""
    if hysteresis:
        raise invalid(f"{_FUNCTION} with the argument 'hysteresis' is not emulated")
    if neighborhood_size == 0:
        raise invalid(f"{_FUNCTION} without the argument 'neighborhoodSize' is not emulated")
    if not 1 <= neighborhood_size <= MAX_NEIGHBOURHOOD:
        raise invalid(
            f"{_FUNCTION}: 'neighborhoodSize' must be from 1 to {MAX_NEIGHBOURHOOD}, got {neighborhood_size}."
        )
    if not 0 <= zenith <= 90:
        raise invalid(f"{_FUNCTION}: 'zenith' must be from 0 to 90 degrees, got {zenith:g}.")
    band = only_band(image, _FUNCTION)
    ray = walk(90 - azimuth, neighborhood_size)[1:]
    rise = np.tan(np.radians(90 - zenith))

    def lit(padded: Padded, grid: Grid) -> Raster:
        side = _side(grid) * shrinking(grid)
        here = padded.shifted(0, 0)
        clear = np.ones(here.mask.shape, np.bool_)
        for row, col in ray:
            deadline.check()
            near = padded.shifted(row, col)
            above = near.values - here.values.astype(np.float64)
            clear &= ~((near.mask > 0) & (above > np.hypot(row, col) * side * rise))
        return settled(clear.astype(np.uint8), here.mask, BOOLEAN)

    node = Neighbourhood(band.node, lambda _grid: reach(ray), lit)
    return image.with_bands([replace(band, name="shadow", type=BOOLEAN, node=node)])


def _side(grid: Grid) -> float:
    """The side of a pixel in the projection's metres; pixels must be squares with north at the top."""
    a, _, _, _, e, _ = grid.projection.transform
    if grid.projection.crs.is_geographic or not grid.projection.is_separable or a != -e or a < 0:
        raise invalid(f"{_FUNCTION} on other than square pixels in metres, north up, is not emulated")
    return a * grid.projection.crs.metres_per_unit
