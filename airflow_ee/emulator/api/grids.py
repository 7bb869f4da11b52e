"""Which pixels a request means: complete grids as they are, half-filled ones from the image and the region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.pixels.crs import parse_crs
from airflow_ee.emulator.pixels.grid import (
    Bounds,
    Grid,
    Projection,
    bounds_in,
    grid_fitted,
    grid_over,
    projection_from_json,
)
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image


def requested_grid(image: Image, grid: Mapping[str, Any] | None, region: Mapping[str, Any] | None) -> Grid:
    """The grid of a getPixels or computePixels call.

    Without dimensions the grid covers the region, or else the image's footprint. With dimensions and an affine transform it is
    exact; with dimensions alone the region, or footprint, is cut into that many pixels.
    """
    grid = grid or {}
    base = base_band(image.bands)
    dimensions = _dimensions(grid)
    if dimensions and grid.get("affineTransform"):
        projection = projection_from_json(grid, base.projection if base else None)
        return _sized(_covering(projection, base, region) if region else None, projection, dimensions)
    if dimensions:
        crs = parse_crs(grid["crsCode"]) if grid.get("crsCode") else _projection(base, grid).crs
        bounds = _bounds(Projection(crs), base, region)
        return grid_fitted(crs, bounds, width=dimensions[0], height=dimensions[1])
    return _covering(_projection(base, grid), base, region)


def _sized(covering: Grid | None, projection: Projection, dimensions: tuple[int, int]) -> Grid:
    """An exact grid; with a region as well, the region rescaled to the size."""
    width, height = dimensions
    if covering is None:
        return Grid(projection, row=0, col=0, height=height, width=width)
    return grid_fitted(projection.crs, covering.bounds, width=width, height=height)


def _covering(projection: Projection, base: Band | None, region: Mapping[str, Any] | None) -> Grid:
    if region is None and base is not None and base.extent is not None and base.projection == projection:
        if 0 in base.extent.shape:
            raise invalid("Image is empty: what it was clipped to does not meet it.")
        return base.extent
    return grid_over(projection, _bounds(projection, base, region))


def _projection(base: Band | None, grid: Mapping[str, Any]) -> Projection:
    if base is None and not grid.get("affineTransform"):
        raise invalid("Pixel grid must be specified: the image has no fixed projection.")
    return projection_from_json(grid, base.projection if base else None)


def _bounds(projection: Projection, base: Band | None, region: Mapping[str, Any] | None) -> Bounds:
    if region is not None:
        return Geometry.of_json(region).bounds_in(projection.crs)
    if base is None or base.extent is None:
        raise invalid("Pixel grid must specify dimensions: the image is unbounded.")
    return bounds_in(projection.crs, base.extent)


def base_band(bands: Sequence[Band]) -> Band | None:
    """The band whose grid stands for the image: the first, if it has one that means anything."""
    return bands[0] if bands and bands[0].has_grid else None


def _dimensions(grid: Mapping[str, Any]) -> tuple[int, int] | None:
    if "dimensions" not in grid:
        return None
    width, height = (int(grid["dimensions"].get(side, 0)) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise field_violation("grid.dimensions", f"Pixel grid dimensions ({width}x{height}) must be positive.")
    return width, height
