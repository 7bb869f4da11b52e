"""Which pixels a shape covers."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.values.geometry import Geometry

Covered = NDArray[np.bool_]


def inside(geometry: Geometry, grid: Grid) -> Covered:
    """The pixels whose centre lies in a geometry; of one without an area, those that it touches."""
    if geometry.shape.area > 0:
        return geometry.contains(*grid.centres(), grid.projection.crs)
    return covers(in_pixels(geometry, grid), grid)


def in_pixels(geometry: Geometry, grid: Grid) -> BaseGeometry:
    """A shape in columns and rows of a grid's lattice."""
    shape = geometry.in_crs(grid.projection.crs)

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        at = grid.projection.positions(points[:, 0], points[:, 1])
        return np.column_stack([at.cols, at.rows])

    moved: BaseGeometry = shapely.transform(shape, place)
    return moved


def covers(shape: BaseGeometry, grid: Grid) -> Covered:
    """Which pixels have their centre in a shape; a point takes the pixel that it lies in, a line those it runs through."""
    covered = np.zeros(grid.shape, np.bool_)
    for part in shapely.get_parts(shape) if hasattr(shape, "geoms") else [shape]:
        window = _window(part.bounds, grid)
        if window is None:
            continue
        rows, cols = np.mgrid[window]
        if part.area > 0:
            shapely.prepare(part)
            inside = shapely.contains_xy(part, cols + 0.5 + grid.col, rows + 0.5 + grid.row)
        else:
            west, north = cols + grid.col, rows + grid.row
            inside = shapely.intersects(part, shapely.box(west, north, west + 1, north + 1))
        covered[window] |= inside
    return covered


def _window(bounds: tuple[float, float, float, float], grid: Grid) -> tuple[slice, slice] | None:
    """The part of a grid that bounds in pixels touch."""
    west, north, east, south = bounds
    left, top = (max(0, int(np.floor(edge)) - start) for edge, start in ((west, grid.col), (north, grid.row)))
    right = min(grid.width, int(np.floor(east)) - grid.col + 1)
    bottom = min(grid.height, int(np.floor(south)) - grid.row + 1)
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None
