"""The pixels of regions, and reductions over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.spatial import resolved
from airflow_ee.emulator.pixels.cells import spread_raster
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.grid import Grid, Projection, grid_over
from airflow_ee.emulator.pixels.raster import Node, Raster, answer, block_side
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import DEFAULT_PROJECTION, WORLD, Image
from airflow_ee.emulator.values.reducers import Column, Reducer
from airflow_ee.emulator.values.reducers.column import as_objects, together

Places = NDArray[np.float64]

LEAST_COVERAGE = 0.005
"""Weighted reducers leave out pixels of which the region covers less than half a percent."""

MAX_SCALE = 1e9

MAX_KEPT = 50_000_000
"""Pixels of all bands that are held at once: beyond it the service would run out of memory, and so would this machine."""

MAX_SCANNED = 1_000_000_000
"""Pixels of the region's bounding box: to compute more would take longer than a request may."""


def working_projection(
    image: Image, scale: float | None, crs: Projection | None, crs_transform: list[Any] | None, function: str
) -> Projection:
    """The lattice that a region is drawn on: the first band's own unless the call says otherwise."""
    if not image.bands:
        raise invalid(f"{function}: Image has no bands.")
    check_scale(scale, function)
    base = crs or image.bands[0].projection
    if base == DEFAULT_PROJECTION and scale is None and crs_transform is None:
        reason = "The default WGS84 projection is invalid for aggregations. Specify a scale or crs & crs_transform."
        raise invalid(f"{function}: {reason}")
    return resolved(base, crs_transform, scale, function)


def check_scale(scale: float | None, function: str) -> None:
    """Pixels have a size, and one that the Earth's coordinates can be counted in."""
    if scale is not None and not 0 < scale <= MAX_SCALE:
        raise invalid(f"{function}: scale must be positive and at most {MAX_SCALE:g}, got {scale:g}.")


def bounded(geometry: Geometry | None, image: Image, function: str) -> Geometry:
    """A region, or the image's footprint, that has an end."""
    shape = geometry or image.geometry()
    if shape is WORLD:
        raise invalid(f"{function}: The geometry for image reduction must not be unbounded.")
    return shape


def check_tile_scale(tile_scale: float, function: str) -> None:
    """Memory is bounded whatever it is; but the service takes only some values."""
    if not 0.1 <= tile_scale <= 16:
        raise invalid(f"{function}: tileScale must be between 0.1 and 16, got {tile_scale:g}.")


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What a region has of one block of a grid: pixels in row-major order."""

    grid: Grid
    rows: NDArray[np.int64]
    """Counted from the block's first row."""
    cols: NDArray[np.int64]
    cover: NDArray[np.float64]
    """How much of each pixel the region covers."""
    centred: NDArray[np.bool_]
    """Whether its centre is inside."""

    @property
    def lattice_rows(self) -> NDArray[np.int64]:
        """Rows of the projection."""
        return self.rows + self.grid.row

    @property
    def lattice_cols(self) -> NDArray[np.int64]:
        """Columns of the projection."""
        return self.cols + self.grid.col

    def where(self, kept: NDArray[np.bool_]) -> Patch:
        """Some of the pixels."""
        return Patch(self.grid, self.rows[kept], self.cols[kept], self.cover[kept], self.centred[kept])


def patches(grid: Grid, shape: Geometry, bands: int = 1) -> Iterator[Patch]:
    """The pixels that a region touches, block by block; with many bands the blocks are small."""
    if grid.width * grid.height > MAX_SCANNED:
        raise invalid("Computation timed out.")
    for block in grid.blocks(block_side(bands)):
        cover = coverage(block, shape)
        rows, cols = np.nonzero(cover > 0)
        if rows.size:
            yield Patch(block, rows, cols, cover[rows, cols], _centred(block, shape)[rows, cols])


def centres_of(projection: Projection, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> tuple[Places, Places]:
    """Longitudes and latitudes of a lattice's pixels."""
    x, y = projection.corners(rows.astype(np.float64) + 0.5, cols.astype(np.float64) + 0.5)
    return convert(projection.crs, WGS84, *np.broadcast_arrays(x, y))


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One band's pixels of a patch."""

    values: NDArray[Any]
    """As a column has them."""
    mask: NDArray[np.float32]


def samples(nodes: Sequence[Node], patch: Patch) -> list[Samples]:
    """The pixels of a patch, of every node."""
    found = []
    for raster in answer(nodes, patch.grid):
        whole = spread_raster(raster, patch.grid.shape)
        found.append(Samples(_cells(whole, patch), whole.mask[patch.rows, patch.cols]))
    return found


def _cells(raster: Raster, patch: Patch) -> NDArray[Any]:
    """The pixels one after the other; arrays of different shapes as objects."""
    cells = np.moveaxis(raster.values[..., patch.rows, patch.cols], -1, 0)
    if raster.lengths is None:
        return cells
    lengths = raster.lengths[:, patch.rows, patch.cols].T.tolist()
    shapes = [tuple(slice(length) for length in each) for each in lengths]
    return as_objects([Array.of_pixel(cell[shape]) for cell, shape in zip(cells, shapes, strict=True)])


def region_columns(nodes: Sequence[Node], grid: Grid, shape: Geometry) -> list[Column]:
    """For each node the pixels of a region; those that no node has are left out."""
    parts: list[list[Column]] = [[] for _ in nodes]
    kept = 0
    for patch in patches(grid, shape, len(nodes)):
        columns = [_column(each, patch) for each in samples(nodes, patch)]
        used = np.logical_or.reduce([(column.weights > 0) | column.counted for column in columns])
        kept += int(used.sum()) * sum(prod(column.values.shape[1:]) for column in columns)
        if kept > MAX_KEPT:
            raise invalid("User memory limit exceeded.")
        for part, column in zip(parts, columns, strict=True):
            part.append(column.where(used))
    return [_joined(part) for part in parts]


def _column(sample: Samples, patch: Patch) -> Column:
    weights = np.where(patch.cover >= LEAST_COVERAGE, np.minimum(sample.mask, patch.cover), 0.0)
    return Column(sample.values, weights.astype(np.float64), patch.centred & (sample.mask > 0))


def _joined(parts: Sequence[Column]) -> Column:
    if not parts:
        return Column(np.zeros(0), np.zeros(0), np.zeros(0, np.bool_))
    return Column(
        together([part.values for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.counted for part in parts]),
    )


@registry.implements("Image.reduceRegion")
def reduce_region(
    image: Image,
    reducer: Reducer,
    geometry: Geometry | None = None,
    scale: float | None = None,
    crs: Projection | None = None,
    crs_transform: list[Any] | None = None,
    best_effort: bool = False,
    max_pixels: float = 10_000_000,
    tile_scale: float = 1,
) -> dict[str, Any]:
    """The results over a region: by band name, by ``<band>_<result>`` where there are several, or by result for all bands."""
    function = "Image.reduceRegion"
    check_tile_scale(tile_scale, function)
    if not image.bands:
        return {}
    projection = working_projection(image, scale, crs, crs_transform, function)
    shape = bounded(geometry, image, function)
    _check_bands(image, reducer, function)
    grid = region_grid(projection, shape, function, best_effort=best_effort, max_pixels=max_pixels)
    results = _region_results(image, reducer, grid, shape, function)
    return results.named(image.names) if reducer.input_count == 1 else results.joint


@dataclass(frozen=True, slots=True)
class Results:
    """Results over one region: of each band by itself, or of all bands together."""

    each: list[dict[str, Any]]
    joint: dict[str, Any]

    def named(self, bands: Sequence[str]) -> dict[str, Any]:
        """Names with the band in them."""
        shown: dict[str, Any] = {}
        for band, results in zip(bands, self.each, strict=True):
            for name, value in results.items():
                shown[band if len(results) == 1 else f"{band}_{name}"] = value
        return shown


def _region_results(image: Image, reducer: Reducer, grid: Grid, shape: Geometry, function: str) -> Results:
    columns = region_columns([band.node for band in image.bands], grid, shape)
    if reducer.input_count != 1:
        return Results([], reducer.of_columns(columns, function=function))
    return Results([reducer.of_columns([_own(column)], function=function) for column in columns], {})


def _own(column: Column) -> Column:
    """Without the pixels that only other bands have."""
    used = (column.weights > 0) | column.counted
    return column if used.all() else column.where(used)


def _check_bands(image: Image, reducer: Reducer, function: str) -> None:
    if reducer.input_count != 1:
        reducer.check_inputs(len(image.bands), function)


def region_grid(
    projection: Projection, shape: Geometry, function: str, *, best_effort: bool, max_pixels: float
) -> Grid:
    """The pixels over a region's bounds; of too many, larger ones if the best effort will do."""
    grid = grid_over(projection, shape.bounds_in(projection.crs))
    pixels = grid.width * grid.height
    if pixels <= max_pixels:
        return grid
    if not best_effort:
        advice = (
            "Ensure that you are not aggregating at a higher resolution than you intended; that is the most frequent cause "
            "of this error. If not, then you may set the 'maxPixels' argument to a limit suitable for your computation; set "
            "'bestEffort' to true to aggregate at whatever scale results in 'maxPixels' total pixels or less."
        )
        found = f"Found {pixels}, but maxPixels allows only {round(max_pixels)}."
        raise invalid(f"{function}: Too many pixels in the region. {found}\n{advice}")
    factor = np.sqrt(pixels / max(max_pixels, 1)) * 1.01
    a, b, c, d, e, f = projection.transform
    coarser = Projection(projection.crs, (a * factor, b * factor, c, d * factor, e * factor, f))
    return grid_over(coarser, shape.bounds_in(projection.crs))


@registry.implements("Image.reduceRegions")
def reduce_regions(
    image: Image,
    collection: Collection,
    reducer: Reducer,
    scale: float | None = None,
    crs: Projection | None = None,
    crs_transform: list[Any] | None = None,
    tile_scale: float = 1,
    max_pixels_per_region: float | None = None,
) -> Collection:
    """Every feature with the results over its geometry: by result for one band, else as :func:`reduce_region` names them."""
    function = "Image.reduceRegions"
    check_tile_scale(tile_scale, function)
    projection = working_projection(image, scale, crs, crs_transform, function)
    _check_bands(image, reducer, function)
    most = np.inf if max_pixels_per_region is None else max_pixels_per_region

    def augmented(feature: Any) -> Feature:
        shape = shape_of(feature, function)
        grid = region_grid(projection, shape, function, best_effort=False, max_pixels=most)
        results = _region_results(image, reducer, grid, shape, function)
        return feature.with_properties({**feature.properties, **property_names(image, results)})  # type: ignore[no-any-return]

    return collection.of(augmented(each) for each in collection.elements)


def shape_of(feature: Any, function: str) -> Geometry:
    """The region that a feature is."""
    if not isinstance(feature, Feature) or feature.geometry is None:
        raise invalid(f"{function}: every element must be a feature with a geometry.")
    return feature.geometry


def property_names(image: Image, results: Results) -> dict[str, Any]:
    """Results as a feature's properties: the band is named where there are several."""
    if results.joint:
        return results.joint
    return results.each[0] if len(image.bands) == 1 else results.named(image.names)


def _centred(grid: Grid, shape: Geometry) -> NDArray[np.bool_]:
    region = shape.in_crs(grid.projection.crs)
    if region.area == 0:  # a point or a line: the pixels that it touches
        return coverage(grid, shape) > 0
    return shape.contains(*grid.centres(), grid.projection.crs)


def coverage(grid: Grid, shape: Geometry) -> NDArray[np.float64]:
    """The fraction of each pixel that a region covers; 1 for what a point or line touches."""
    region = shape.in_crs(grid.projection.crs)
    shapely.prepare(region)
    whole = shapely.box(*grid.bounds)
    if not region.intersects(whole):
        return np.zeros(grid.shape)
    if region.contains(whole):
        return np.ones(grid.shape)
    if region.geom_type in ("Point", "MultiPoint"):
        return _owned(grid, shapely.get_coordinates(region))
    pixels = _outlines(grid)
    touched = shapely.intersects(region, pixels)
    if region.area == 0:
        return np.asarray(touched, dtype=np.float64)
    cover = np.zeros(grid.shape)
    cover[touched] = 1.0
    partly = touched & ~shapely.contains_properly(region, pixels)
    cover[partly] = shapely.area(shapely.intersection(region, pixels[partly])) / abs(grid.projection.determinant)
    return np.clip(cover, 0.0, 1.0)


def _owned(grid: Grid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point on an edge belongs to one pixel only."""
    at = grid.projection.positions(points[:, 0], points[:, 1])
    rows, cols = np.floor(at.rows).astype(np.int64) - grid.row, np.floor(at.cols).astype(np.int64) - grid.col
    inside = (rows >= 0) & (rows < grid.height) & (cols >= 0) & (cols < grid.width)
    cover = np.zeros(grid.shape)
    cover[rows[inside], cols[inside]] = 1.0
    return cover


def _outlines(grid: Grid) -> Any:
    rows = np.arange(grid.row, grid.row + grid.height + 1, dtype=np.float64)[:, None]
    cols = np.arange(grid.col, grid.col + grid.width + 1, dtype=np.float64)[None, :]
    x, y = np.broadcast_arrays(*grid.projection.corners(rows, cols))
    corners = [
        (slice(None, -1), slice(None, -1)),
        (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(1, None)),
        (slice(1, None), slice(None, -1)),
    ]
    rings = np.stack([np.stack([x[at], y[at]], axis=-1) for at in corners], axis=2)
    return shapely.polygons(rings)
