"""Where an image is: projections, resampling, clipping, and images of places themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.masks import within_extent
from airflow_ee.emulator.functions.promote import as_geometry, as_transform, registry
from airflow_ee.emulator.functions.shapes import inside
from airflow_ee.emulator.pixels.crs import SINUSOIDAL, WGS84, proj_crs
from airflow_ee.emulator.pixels.grid import Bounds, Grid, Projection, bounds_in, grid_over
from airflow_ee.emulator.pixels.raster import Interpolated, Masked, Node, Positional, Raster, Reprojected, Values
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import DEFAULT_PROJECTION, Band, Image, check_plain

_WGS84_AXIS = 6378137.0
_WGS84_ECCENTRICITY_SQUARED = 0.0066943799901413165


def resolved(base: Projection, crs_transform: list[Any] | None, scale: float | None, function: str) -> Projection:
    """A projection with the transform or the scale that a call gives; not with both."""
    if crs_transform is not None and scale is not None:
        raise invalid(f"{function}: Cannot specify both crsTransform and scale.")
    if crs_transform is not None:
        return Projection(base.crs, as_transform(crs_transform))
    return base if scale is None else base.at_scale(scale)


@registry.implements("Image.reproject")
def reproject(
    image: Image, crs: Projection, crs_transform: list[Any] | None = None, scale: float | None = None
) -> Image:
    """The image computed on this lattice, whatever grid is asked for later."""
    projection = resolved(_upright(crs, crs_transform, scale), crs_transform, scale, "Image.reproject")

    def moved(band: Band) -> Band:
        node = Reprojected(band.node, projection)
        return replace(band, node=node, projection=projection, extent=_moved_extent(band, projection))

    return image.each(moved)


def _upright(projection: Projection, crs_transform: list[Any] | None, scale: float | None) -> Projection:
    """A bare code with a scale: rows go south, as in every image."""
    if scale is not None and crs_transform is None and projection.transform == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0):
        return Projection(projection.crs, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    return projection


def _moved_extent(band: Band, projection: Projection) -> Grid | None:
    if band.extent is None:
        return None
    return grid_over(projection, bounds_in(projection.crs, band.extent))


@registry.implements("Image.setDefaultProjection")
def set_default_projection(
    image: Image, crs: Projection, crs_transform: list[Any] | None = None, scale: float | None = None
) -> Image:
    """Another projection on the label; the pixels are still computed in whatever grid is asked for."""
    projection = resolved(_upright(crs, crs_transform, scale), crs_transform, scale, "Image.setDefaultProjection")
    return image.each(lambda band: replace(band, projection=projection, extent=_moved_extent(band, projection)))


@registry.implements("Image.clip")
def clip(input: Image, geometry: Any) -> Image:
    """Masked where the pixel's centre is outside of the geometry, or where a line or point does not touch the pixel."""
    shape: Geometry = as_geometry(geometry)
    if shape.shape.is_empty:
        raise invalid("Image.clip: The geometry for image clipping must not be empty.")
    clipped = input.each(lambda band: _cut(band, Masked(band.node, lambda grid: inside(shape, grid)), shape))
    return replace(clipped, footprint=shape, properties={**input.properties, "system:footprint": shape})


@registry.implements("Image.clipToCollection")
def clip_to_collection(input: Image, collection: Geometry) -> Image:
    """Masked outside of every element's geometry."""
    return clip(input, collection)


def _cut(band: Band, node: Node, shape: Geometry) -> Band:
    if not band.has_grid:
        return replace(band, node=node)
    window = grid_over(band.projection, shape.bounds_in(band.projection.crs))
    return replace(band, node=node, extent=window if band.extent is None else overlap(band.extent, window))


def overlap(first: Grid, second: Grid) -> Grid:
    """What two windows of one projection have in common; an empty window where they have nothing."""
    top, left = max(first.row, second.row), max(first.col, second.col)
    bottom = min(first.row + first.height, second.row + second.height)
    right = min(first.col + first.width, second.col + second.width)
    return Grid(first.projection, row=top, col=left, height=max(0, bottom - top), width=max(0, right - left))


@registry.implements("Image.clipToBoundsAndScale")
def clip_to_bounds_and_scale(
    input: Image,
    geometry: Geometry | None = None,
    width: int | None = None,
    height: int | None = None,
    max_dimension: int | None = None,
    scale: float | None = None,
) -> Image:
    """The bounding box of a geometry, in pixels of another size: how clients say which grid to export."""
    if sum(given is not None for given in (width or height, max_dimension, scale)) > 1:
        raise invalid("Image.clipToBoundsAndScale: width and height, maxDimension and scale exclude each other.")

    def cut(band: Band) -> Band:
        grid = _bounded_grid(band, geometry, (width, height), max_dimension, scale)
        return replace(band, node=Masked(band.node, _within(grid)), projection=grid.projection, extent=grid)

    return input.each(cut)


def _bounded_grid(
    band: Band,
    geometry: Geometry | None,
    size: tuple[int | None, int | None],
    max_dimension: int | None,
    scale: float | None,
) -> Grid:
    bounds = _box(band, geometry)
    if size[0] is not None or size[1] is not None or max_dimension is not None:
        return _fitted(band.projection, bounds, size, max_dimension)
    projection = band.projection if scale is None else band.projection.at_scale(scale)
    grid = grid_over(projection, bounds)
    return grid if geometry is not None or band.extent is None or scale is not None else band.extent


def _box(band: Band, geometry: Geometry | None) -> Bounds:
    if geometry is not None:
        return geometry.bounds_in(band.projection.crs)
    if band.extent is None:
        raise invalid("Image.clipToBoundsAndScale: a geometry is needed, since the image is unbounded.")
    return band.extent.bounds


def _fitted(
    projection: Projection, bounds: Bounds, size: tuple[int | None, int | None], max_dimension: int | None
) -> Grid:
    """The box in a given number of pixels: the lattice's own pixels where their number fits already."""
    west, south, east, north = bounds
    across, down = east - west, north - south
    if not (across > 0 and down > 0):
        raise invalid("Image.clipToBoundsAndScale: the geometry has no width or no height; give a scale instead.")
    width, height = size
    if max_dimension is not None:
        width = max_dimension if across >= down else max(1, round(max_dimension * across / down))
        height = max_dimension if down >= across else max(1, round(max_dimension * down / across))
    width = width or max(1, round((height or 1) * across / down))
    height = height or max(1, round(width * down / across))
    own = grid_over(projection, bounds)
    if own.shape == (height, width):
        return own
    step_x, step_y = across / width, down / height
    fitted = Projection(projection.crs, (step_x, 0.0, west, 0.0, -step_y, north))
    return Grid(fitted, row=0, col=0, height=height, width=width)


def _within(extent: Grid) -> Any:
    return lambda grid: within_extent(extent, grid)


@registry.implements("Image.resample")
def resample(image: Image, mode: str = "bilinear") -> Image:
    """Interpolated from the image's own lattice instead of read by the nearest pixel."""
    kernels = {"bilinear": _bilinear, "bicubic": _bicubic}
    if mode not in kernels:
        raise invalid(f"Image.resample: Unknown mode '{mode}'; use bilinear or bicubic.")

    check_plain(image, "Image.resample")

    def smoothed(band: Band) -> Band:
        if not band.has_grid:
            return band
        type_ = PixelType("double") if band.type.precision != "float" else FLOAT
        return band.computed(Interpolated(band.node, band.projection, kernels[mode], type_.dtype), type_)

    return image.each(smoothed)


def _bilinear(fraction: Values) -> list[Values]:
    return [1 - fraction, fraction]


def _bicubic(fraction: Values) -> list[Values]:
    """Catmull-Rom: Keys' kernel with a = -0.5."""
    t, t2, t3 = fraction, fraction**2, fraction**3
    return [
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1,
        -1.5 * t3 + 2 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    ]


@registry.implements("Image.projection")
def projection(image: Image) -> Projection:
    """The projection that all bands share."""
    projections = {band.projection for band in image.bands}
    if len(projections) != 1:
        raise invalid(
            "Image.projection: The bands of the specified image contain different projections. "
            "Use Image.select to pick a single band."
        )
    return projections.pop()


def _everywhere(values: NDArray[np.float64], grid: Grid) -> Raster:
    seen = np.isfinite(values)
    return Raster(np.where(seen, values, 0.0), np.broadcast_to(seen, grid.shape).astype(np.float32))


def _longitudes(grid: Grid) -> Raster:
    return _everywhere(np.broadcast_to(grid.centres_in(WGS84)[0], grid.shape), grid)


def _latitudes(grid: Grid) -> Raster:
    return _everywhere(np.broadcast_to(grid.centres_in(WGS84)[1], grid.shape), grid)


@registry.implements("Image.pixelLonLat")
def pixel_lon_lat() -> Image:
    """Bands ``longitude`` and ``latitude`` of the pixel centres, in degrees."""
    bands = {"longitude": _longitudes, "latitude": _latitudes}
    return Image(tuple(Band(name, DOUBLE, Positional(each), DEFAULT_PROJECTION) for name, each in bands.items()))


def _areas(grid: Grid) -> Raster:
    """Square metres on the ground: a projection's own distortion is taken out."""
    size = abs(grid.projection.determinant)
    if not grid.projection.crs.is_geographic:
        return _everywhere(size * grid.projection.crs.metres_per_unit**2 / _areal_scale(grid), grid)
    latitude = np.radians(np.broadcast_to(grid.centres()[1], grid.shape))
    flattening = 1 - _WGS84_ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
    per_square_radian = _WGS84_AXIS**2 * (1 - _WGS84_ECCENTRICITY_SQUARED) * np.cos(latitude) / flattening**2
    return _everywhere(size * np.radians(1.0) ** 2 * per_square_radian, grid)


def _areal_scale(grid: Grid) -> NDArray[np.float64]:
    """How much larger than the ground the map is, at each pixel."""
    crs = grid.projection.crs
    if crs == SINUSOIDAL:  # equal in area by construction
        return np.ones(grid.shape)
    longitudes, latitudes = grid.centres_in(WGS84)
    factors = pyproj.Proj(proj_crs(crs.text)).get_factors(longitudes, latitudes)
    return np.asarray(factors.areal_scale)


@registry.implements("Image.pixelArea")
def pixel_area() -> Image:
    """A band ``area``."""
    return Image((Band("area", DOUBLE, Positional(_areas), DEFAULT_PROJECTION),))
