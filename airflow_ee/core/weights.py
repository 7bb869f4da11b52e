"""How much each pixel of a grid counts for a region.

A region is not its grid: in the sinusoidal grid the bounding rectangle of a longitude-latitude box is sheared, and at
45 N, 121 W one degree fills only a third of it. So every pixel has a weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.features
import shapely
import shapely.affinity
from affine import Affine
from shapely.geometry.base import BaseGeometry

from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.region import Region

__all__ = ["WEIGHTS", "Weights", "Zone", "make_zone", "pixel_weights"]

Weights = Literal["coverage", "center", "area"]
WEIGHTS: tuple[Weights, ...] = ("coverage", "center", "area")
LEAF_SIDE = 16
SLIVER = 1e-6
"""A pixel with less than this of it inside is outside, unless the region itself is as small: edges on pixel borders miss them by
the lattice's rounding (0.1 mm of MODIS's), and a neighbour's value must not become the region's minimum."""
WGS84_SEMI_MAJOR_METRES = 6_378_137.0
WGS84_FLATTENING = 1 / 298.257223563
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """The pixels of one region on a grid, row by row."""

    positions: Array
    """``row * width + column`` of each pixel with a weight, ascending; int64."""
    weights: Array
    """Their weights, float64."""


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

    Raises
    ------
    ValueError
        When part of the region lies outside the grid, or no pixel has a weight.
    """
    zone = make_zone(grid, region, weights)
    if zone.positions.size == 0:
        raise ValueError(
            f"region: no pixel's centre lies inside it, it is smaller than a pixel; use weights='coverage' "
            f"instead of {weights!r}, or a finer grid"
        )
    dense = np.zeros(grid.pixels)
    dense[zone.positions] = zone.weights
    return dense.reshape(grid.shape)


def make_zone(
    grid: PixelGrid, region: Region | None, weights: Weights = "coverage", *, most_pixels: int | None = None
) -> Zone:
    """The pixels of a region with their weights, as :func:`pixel_weights` has them; work and memory grow with the region only.

    No pixel at all has a weight where ``center`` is asked for and the region holds no centre.

    Parameters
    ----------
    most_pixels
        Refuse a region that covers more pixels than this.

    Raises
    ------
    ValueError
        When part of the region lies outside the grid, or it is too large.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    blocks = [_Block(0, 0, np.ones(grid.shape))] if region is None else _blocks(grid, region, weights, most_pixels)
    positions, found = [np.empty(0, np.int64)], [np.empty(0)]
    for block in blocks:
        inside = block.inside
        if weights == "area":
            rows, cols = inside.shape
            inside = inside * _pixel_areas(grid.window(row=block.row, col=block.col, rows=rows, cols=cols))
        at_rows, at_cols = np.nonzero(inside)
        positions.append((at_rows + block.row).astype(np.int64) * grid.width + at_cols + block.col)
        found.append(inside[at_rows, at_cols])
    every, inside = np.concatenate(positions), np.concatenate(found)
    if len(positions) > 2:
        order = np.argsort(every, kind="stable")
        every, inside = every[order], inside[order]
    return Zone(every, inside)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A rectangle of pixels, and how much of each is inside a region."""

    row: int
    col: int
    inside: Array


def _blocks(grid: PixelGrid, region: Region, weights: Weights, most_pixels: int | None) -> Iterator[_Block]:
    """Blocks that hold every pixel of a region once."""
    polygon = _in_pixels(grid, region)
    _require_inside(grid, polygon)
    if most_pixels is not None and polygon.area > most_pixels:
        raise ValueError(
            f"max_pixels: the region covers about {polygon.area:.0f} pixels, more than {most_pixels}; choose a larger scale or "
            "a smaller region, or raise max_pixels"
        )
    if weights == "center":
        yield from (_centers(grid, part) for part in shapely.get_parts(polygon))
        return
    west, north, east, south = polygon.bounds
    col, row = max(math.floor(west), 0), max(math.floor(north), 0)
    height, width = min(math.ceil(south), grid.height) - row, min(math.ceil(east), grid.width) - col
    yield from _coverage(row, col, height, width, polygon)


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


def _centers(grid: PixelGrid, polygon: BaseGeometry) -> _Block:
    west, north, east, south = polygon.bounds
    col, row = max(math.floor(west), 0), max(math.floor(north), 0)
    shape = (max(min(math.ceil(south), grid.height) - row, 1), max(min(math.ceil(east), grid.width) - col, 1))
    moved = shapely.affinity.translate(polygon, -col, -row)
    inside: Array = rasterio.features.geometry_mask([moved], shape, Affine.identity(), invert=True)
    return _Block(row, col, inside.astype(float))


def _coverage(row: int, col: int, height: int, width: int, polygon: BaseGeometry) -> Iterator[_Block]:
    """Exact fraction of each pixel inside the polygon, by cutting the rectangle in quarters until the edge is found."""
    least = SLIVER * min(polygon.area, 1.0)
    stack = [(row, col, height, width, polygon)]
    while stack:
        row, col, height, width, whole = stack.pop()
        # Not clip_by_rect: it is wrong for concave polygons with corners on the lattice.
        piece = shapely.intersection(whole, shapely.box(col, row, col + width, row + height))
        covered = piece.area
        if covered <= 0:
            continue
        if covered >= height * width:
            yield _Block(row, col, np.ones((height, width)))
        elif max(height, width) <= LEAF_SIDE:
            inside = _leaf(row, col, height, width, piece)
            inside[inside < least] = 0.0
            yield _Block(row, col, inside)
        else:
            stack.extend(_quarters(row, col, height, width, piece))


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
