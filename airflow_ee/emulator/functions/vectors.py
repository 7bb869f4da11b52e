"""Pixels to features: each segment of equal pixels becomes one, with what a reducer makes of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.regions import (
    Results,
    bounded,
    check_tile_scale,
    property_names,
    region_grid,
    working_projection,
)
from airflow_ee.emulator.functions.shapes import inside
from airflow_ee.emulator.pixels.components import components, numbered
from airflow_ee.emulator.pixels.crs import WGS84, convert
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Raster, render
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image
from airflow_ee.emulator.values.reducers import Column, Reducer

Numbers = NDArray[np.int32]
"""Segments counted from 1, 0 where there is none."""

_FUNCTION = "Image.reduceToVectors"

MAX_VALUES = 20_000_000
"""Pixels of all bands: each takes some forty bytes while segments are found."""

MAX_SEGMENTS = 200_000
"""Polygons take a thousand bytes or two each."""


@of_numbers("Image.reduceToVectors", "Image.reduceToVectorsStreaming")
def reduce_to_vectors(
    image: Image,
    reducer: Reducer | None = None,
    geometry: Geometry | None = None,
    scale: float | None = None,
    geometry_type: str = "polygon",
    eight_connected: bool = True,
    label_property: str | None = "label",
    crs: Projection | None = None,
    crs_transform: list[Any] | None = None,
    best_effort: bool = False,
    max_pixels: float = 10_000_000,
    tile_scale: float = 1,
    geometry_in_native_projection: bool = False,
) -> Collection:
    """A feature for each segment of the first band, in the order of their first pixels."""
    check_tile_scale(tile_scale, _FUNCTION)
    outline = _outliner(geometry_type)
    projection = working_projection(image, scale, crs, crs_transform, _FUNCTION)
    reduce = _segment_reducer(image, reducer)
    shape = bounded(geometry, image, _FUNCTION)
    grid = region_grid(projection, shape, _FUNCTION, best_effort=best_effort, max_pixels=max_pixels)
    _check_memory(grid.width * grid.height * len(image.bands), MAX_VALUES)
    labels, *others = render([band.node for band in image.bands], grid)
    numbers, count = _segments(labels, inside(shape, grid), eight=eight_connected)
    _check_memory(count, MAX_SEGMENTS)
    shapes = outline(numbers, count, grid, eight_connected)
    features = []
    for place, (rows, each) in enumerate(zip(_members(numbers, count), shapes, strict=True)):
        deadline.check()
        properties = reduce([_column(raster, rows) for raster in (labels, *others)])
        if label_property is not None:
            properties[label_property] = labels.values.ravel()[rows[0]].item()
        shown = Geometry(each, grid.projection.crs) if geometry_in_native_projection else _in_degrees(each, grid)
        features.append(Feature(shown, {"system:index": str(place), **properties}))
    return Collection(features)


def _check_memory(count: int, most: int) -> None:
    if count > most:
        raise invalid("User memory limit exceeded.")


def _segment_reducer(image: Image, reducer: Reducer | None) -> Callable[[Sequence[Column]], dict[str, Any]]:
    """A function of a segment's columns, that of the labels first."""
    if image.bands[0].type.precision != "int":
        raise invalid(
            f"{_FUNCTION}: The first band of the input image, '{image.names[0]}', must be of an integer type."
        )
    others = image.with_bands(image.bands[1:])
    count = len(others.bands)
    if reducer is None and not count:
        return lambda columns: {"count": len(columns[0])}
    chosen = reducer or registry.call("Reducer.countEvery", {})
    if count == 0 or chosen.input_count not in (1, count):
        raise invalid(f"{_FUNCTION}: Need 1+{chosen.input_count} bands for {chosen.label}, image has {count + 1}.")

    def reduce(columns: Sequence[Column]) -> dict[str, Any]:
        if chosen.input_count == count > 1:
            return chosen.of_columns(columns[1:], function=_FUNCTION)
        each = [chosen.of_columns([column], function=_FUNCTION) for column in columns[1:]]
        return dict(property_names(others, Results(each, {})))

    return reduce


def _column(raster: Raster, rows: NDArray[np.int64]) -> Column:
    mask = raster.mask.ravel()[rows].astype(np.float64)
    return Column(raster.values.ravel()[rows], mask, mask > 0)


def _segments(labels: Raster, covered: NDArray[np.bool_], *, eight: bool) -> tuple[Numbers, int]:
    valid = (labels.mask > 0) & covered
    return numbered(components(labels.values, valid, eight=eight), valid)


def _members(numbers: Numbers, count: int) -> Iterator[NDArray[np.int64]]:
    """The pixels of each segment, row by row."""
    flat = numbers.ravel()
    order = np.argsort(flat, kind="stable")
    edges = np.searchsorted(flat[order], np.arange(1, count + 2))
    return (order[start:end] for start, end in pairwise(edges))


Outliner = Callable[[Numbers, int, Grid, bool], Sequence[BaseGeometry]]


def _outliner(geometry_type: str) -> Outliner:
    known: Mapping[str, Outliner] = {"polygon": _polygons, "bb": _boxes, "centroid": _centroids}
    if geometry_type not in known:
        raise invalid(f"{_FUNCTION}: Unknown geometryType '{geometry_type}'; use one of {', '.join(known)}.")
    return known[geometry_type]


def _polygons(numbers: Numbers, count: int, grid: Grid, eight: bool) -> Sequence[BaseGeometry]:
    """Outlines along the edges of pixels; pixels that share corners only are parts of their own, so that polygons are sound."""
    found: list[BaseGeometry] = [shapely.Polygon()] * count
    drawn = rasterio.features.shapes(
        numbers, mask=numbers > 0, connectivity=8 if eight else 4, transform=Affine(*grid.transform)
    )
    for shape, number in drawn:
        polygon = shapely.geometry.shape(shape)
        found[int(number) - 1] = polygon if polygon.is_valid else shapely.make_valid(polygon)
    return found


def _boxes(numbers: Numbers, count: int, grid: Grid, _eight: bool) -> Sequence[BaseGeometry]:
    boxes = []
    for members in _members(numbers, count):
        rows, cols = np.divmod(members, grid.width)
        boxes.append(_rectangle(grid, int(rows[0]), int(rows[-1]) + 1, int(cols.min()), int(cols.max()) + 1))
    return boxes


def _rectangle(grid: Grid, top: int, bottom: int, left: int, right: int) -> BaseGeometry:
    rows, cols = np.array([top, bottom, bottom, top]), np.array([left, left, right, right])
    return shapely.Polygon(np.column_stack(_placed(grid, rows.astype(np.float64), cols.astype(np.float64))))


def _placed(grid: Grid, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Coordinates of places that are counted from the grid's first pixel."""
    x, y = grid.projection.corners(rows + grid.row, cols + grid.col)
    return [x, y]


def _centroids(numbers: Numbers, count: int, grid: Grid, _eight: bool) -> Sequence[BaseGeometry]:
    """The means of the pixels' centres."""
    rows, cols = (each.ravel() + 0.5 for each in np.indices(grid.shape))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    means = [np.bincount(numbers.ravel(), each, count + 1)[1:] / sizes for each in (rows, cols)]
    return [shapely.Point(x, y) for x, y in zip(*_placed(grid, *means), strict=True)]


def _in_degrees(shape: BaseGeometry, grid: Grid) -> Geometry:
    """The vertices in longitude and latitude, with straight edges between them."""

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(convert(grid.projection.crs, WGS84, points[:, 0], points[:, 1]))

    moved: BaseGeometry = shapely.transform(shape, place)
    return Geometry(moved, planar_point=True)
