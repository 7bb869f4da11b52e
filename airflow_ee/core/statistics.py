"""Numbers of a region from pixels: which pixels count, how much each, and what of them is told.

A region is not its grid: in the sinusoidal grid the bounding rectangle of a longitude-latitude box is sheared, and at
45 N, 121 W one degree fills only a third of it. So every pixel has a weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.features
import shapely
from affine import Affine
from shapely.geometry.base import BaseGeometry

from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.region import Region

__all__ = ["WEIGHTS", "BandStatistics", "Weights", "band_statistics", "pixel_weights", "weighted_median"]

Weights = Literal["coverage", "center", "area"]
WEIGHTS: tuple[Weights, ...] = ("coverage", "center", "area")
LEAF_SIDE = 16
WGS84_SEMI_MAJOR_METRES = 6_378_137.0
WGS84_FLATTENING = 1 / 298.257223563
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStatistics:
    """Statistics of one band over a region, in physical units; NaN where no pixel is valid."""

    mean: float
    std: float
    """Of the population, weighted as the mean."""
    min: float
    max: float
    weight_sum: float
    """Sum of the weights of valid pixels: pixels' worth of coverage, or square metres."""
    valid_count: int
    """Valid pixels with a weight above 0."""
    pixel_count: int
    """Pixels with a weight above 0."""
    valid_fraction: float
    """Weight of valid pixels over the weight of all."""


def pixel_weights(grid: PixelGrid, region: Region | None, weights: Weights = "coverage") -> Array:
    """Weight of every pixel, float64 of shape (height, width).

    Parameters
    ----------
    region
        None: every pixel of the grid belongs to it wholly.
    weights
        ``coverage``: the fraction of the pixel inside the region (Earth Engine's own reducers do so); ``center``: 1 where
        the pixel's centre is inside; ``area``: coverage times the pixel's area in square metres, on the
        ellipsoid of the crs (MODIS's is a sphere), for a crs whose pixels differ in size.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    if region is None:
        inside = np.ones(grid.shape)
    else:
        polygon = _in_pixels(grid, region)
        _require_inside(grid, polygon)
        inside = _centers(grid, polygon) if weights == "center" else _coverage(grid, polygon)
        if not inside.any():
            raise ValueError(
                f"region: no pixel's centre lies inside it, it is smaller than a pixel; use weights='coverage' "
                f"instead of {weights!r}, or a finer grid"
            )
    return inside * _pixel_areas(grid) if weights == "area" else inside


def band_statistics(
    values: Array, valid: npt.NDArray[np.bool_], weights: Array, *, scale: float = 1.0, offset: float = 0.0
) -> BandStatistics:
    """Statistics of ``scale * value + offset`` over valid pixels with a weight.

    >>> ones = np.ones((1, 4))
    >>> band_statistics(np.array([[0, 2, 4, 9]]), np.array([[1, 1, 1, 0]], bool), ones).mean
    2.0
    """
    counted = weights > 0
    used = counted & valid
    pixel_count, valid_count = int(counted.sum()), int(used.sum())
    weight = weights[used]
    weight_sum = float(weight.sum())
    total = float(weights[counted].sum())
    if valid_count == 0:
        nothing = math.nan
        return BandStatistics(
            mean=nothing, std=nothing, min=nothing, max=nothing, weight_sum=0.0, valid_count=0,
            pixel_count=pixel_count, valid_fraction=0.0,
        )  # fmt: skip
    physical = values[used].astype(np.float64) * scale + offset
    mean = float((physical * weight).sum() / weight_sum)
    return BandStatistics(
        mean=mean,
        std=math.sqrt(float((weight * (physical - mean) ** 2).sum() / weight_sum)),
        min=float(physical.min()),
        max=float(physical.max()),
        weight_sum=weight_sum,
        valid_count=valid_count,
        pixel_count=pixel_count,
        valid_fraction=weight_sum / total,
    )


def weighted_median(values: Array, weights: Array) -> float:
    """The smallest value at which half of the weight is reached.

    >>> weighted_median(np.array([1.0, 5.0, 9.0]), np.array([1.0, 1.0, 3.0]))
    9.0
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _in_pixels(grid: PixelGrid, region: Region) -> BaseGeometry:
    """The region in pixel coordinates, where every pixel is a unit square whatever the transform."""
    a, b, c, d, e, f = (~Affine(*grid.transform))[:6]
    polygon: BaseGeometry = shapely.transform(
        region.project(parse_crs(grid.crs)),
        lambda xy: np.column_stack((a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f)),
    )
    return polygon


def _require_inside(grid: PixelGrid, polygon: BaseGeometry) -> None:
    # Snapped grids let an edge miss a pixel border by a millionth of a pixel.
    slack = 2e-6
    extent = shapely.box(-slack, -slack, grid.width + slack, grid.height + slack)
    outside = shapely.difference(polygon, extent).area / polygon.area
    if outside > 0:
        raise ValueError(
            f"region: {outside:.2%} of it lies outside the grid, whose bounds are {grid.bounds} in {grid.crs[:40]}; use a smaller "
            "region, or a grid that covers it (scale and crs make one)"
        )


def _centers(grid: PixelGrid, polygon: BaseGeometry) -> Array:
    inside: Array = rasterio.features.geometry_mask([polygon], grid.shape, Affine.identity(), invert=True)
    return inside.astype(float)


def _coverage(grid: PixelGrid, polygon: BaseGeometry) -> Array:
    """Exact fraction of each pixel inside the polygon, by cutting the grid in quarters until the edge is found."""
    fractions = np.zeros(grid.shape)
    stack = [(0, 0, grid.height, grid.width, polygon)]
    while stack:
        row, col, height, width, whole = stack.pop()
        # Not clip_by_rect: it is wrong for concave polygons with corners on the lattice.
        piece = shapely.intersection(whole, shapely.box(col, row, col + width, row + height))
        covered = piece.area
        if covered <= 0:
            continue
        if covered >= height * width:
            fractions[row : row + height, col : col + width] = 1.0
        elif max(height, width) <= LEAF_SIDE:
            fractions[row : row + height, col : col + width] = _leaf(row, col, height, width, piece)
        else:
            stack.extend(_quarters(row, col, height, width, piece))
    return fractions


def _quarters(
    row: int, col: int, height: int, width: int, piece: BaseGeometry
) -> list[tuple[int, int, int, int, BaseGeometry]]:
    top, left = max(height // 2, 1), max(width // 2, 1)
    rows = [(row, top), (row + top, height - top)]
    cols = [(col, left), (col + left, width - left)]
    return [(r, c, h, w, piece) for r, h in rows for c, w in cols if h and w]


def _leaf(row: int, col: int, height: int, width: int, piece: BaseGeometry) -> Array:
    rows, cols = np.mgrid[row : row + height, col : col + width]
    squares = shapely.box(cols, rows, cols + 1, rows + 1)
    areas: Array = shapely.area(shapely.intersection(squares, piece))
    return np.minimum(areas, 1.0)


def _pixel_areas(grid: PixelGrid) -> Array:
    """Area of each pixel in square metres."""
    crs = parse_crs(grid.crs)
    a, b, _, d, e, _ = grid.transform
    if crs.is_geographic and b == d == 0:
        edges = np.radians([grid.xy(0, row)[1] for row in range(grid.height + 1)])
        bands = np.abs(np.diff(_area_from_equator(edges))) * abs(math.radians(a))
        return np.broadcast_to(bands[:, None], grid.shape)
    rows, cols = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    transformer = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitudes, latitudes = transformer.transform(*grid.xy(cols, rows))
    factors = pyproj.Proj(crs).get_factors(longitudes, latitudes)
    unit_metres = float(crs.axis_info[0].unit_conversion_factor or 1.0)
    return np.asarray(abs(a * e - b * d) * unit_metres**2 / np.asarray(factors.areal_scale))


def _area_from_equator(latitude: Array) -> Array:
    """Area between the equator and a latitude, a radian of longitude wide, on the WGS 84 ellipsoid.

    Closed form of the meridional zone's area (Snyder 1987, Map Projections: A Working Manual, equation 3-12).
    """
    eccentricity = math.sqrt(WGS84_FLATTENING * (2 - WGS84_FLATTENING))
    sine = np.sin(latitude)
    e_sine = eccentricity * sine
    zone = sine / (1 - e_sine**2) + np.arctanh(e_sine) / eccentricity
    return np.asarray(WGS84_SEMI_MAJOR_METRES**2 * (1 - eccentricity**2) / 2 * zone)
