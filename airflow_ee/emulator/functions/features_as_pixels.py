"""Features seen from pixels: their properties reduced, how far they are, and how well a column predicts another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.neighbourhoods import window_type
from airflow_ee.emulator.functions.promote import as_whole, registry, texts
from airflow_ee.emulator.functions.shapes import covers, in_pixels
from airflow_ee.emulator.functions.together import results
from airflow_ee.emulator.memory import check_items
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Positional, Raster
from airflow_ee.emulator.pixels.types import DOUBLE
from airflow_ee.emulator.values.confusion import ConfusionMatrix
from airflow_ee.emulator.values.element import Collection, geometry_of
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.reducers import Column, Reducer

_PART = 32
"""Pixels a side that features are gathered for at once: bounds memory where many of them overlap."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A feature's shape and the numbers that go into the reducer, where there are any."""

    geometry: Geometry
    values: tuple[float | None, ...]


@registry.implements("Collection.reduceToImage")
def reduce_to_image(collection: Collection, properties: list[Any], reducer: Reducer) -> Image:
    """At each pixel a reducer over the properties of the features that cover its centre; lines and points cover what they touch."""
    function, names = "Collection.reduceToImage", texts(properties)
    reducer.check_inputs(len(names), function)
    reducer.check_numbers()
    rows = [
        _Row(geometry, tuple(_number(each.properties.get(name), name) for name in names))
        for each in collection.elements
        if (geometry := geometry_of(each)) is not None and not geometry.shape.is_empty
    ]
    types = [window_type(output, DOUBLE) if len(names) == 1 else DOUBLE for output, _ in reducer.singles()]
    nodes = results(Positional(partial(_gathered, rows, reducer, len(names))), types)
    return Image(tuple(Band(*each) for each in zip(reducer.output_names, types, nodes, strict=True)))


def _number(value: Any, name: str) -> float | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    raise invalid(f"Collection.reduceToImage: the property '{name}' is not a number: {value!r}.")


def _gathered(rows: Sequence[_Row], reducer: Reducer, inputs: int, grid: Grid) -> Raster:
    shapes = [in_pixels(row.geometry, grid) for row in rows]
    tree = shapely.STRtree(shapes)
    count = len(reducer.output_names)
    values, mask = np.zeros((count, *grid.shape)), np.zeros((count, *grid.shape), np.float32)
    for part in grid.blocks(_PART):
        deadline.check()
        near = np.sort(tree.query(shapely.box(part.col, part.row, part.col + part.width, part.row + part.height)))
        if len(near):
            window = (slice(part.row - grid.row, None), slice(part.col - grid.col, None))
            found = _reduced([rows[i] for i in near], [shapes[i] for i in near], reducer, inputs, part)
            for place, (result, known) in enumerate(found):
                values[place][window][: part.height, : part.width] = np.where(known, result, 0)
                mask[place][window][: part.height, : part.width] = known
    return Raster(values, mask)


def _reduced(
    rows: Sequence[_Row], shapes: Sequence[BaseGeometry], reducer: Reducer, inputs: int, part: Grid
) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """The results at the pixels of a small grid, worked out once for all pixels under the same features."""
    covered = np.stack([covers(shape, part).ravel() for shape in shapes])
    patterns, places = np.unique(np.packbits(covered, axis=0), axis=1, return_inverse=True)
    over = np.unpackbits(patterns, axis=0, count=len(rows)).astype(np.bool_)
    table = np.full((len(reducer.output_names), over.shape[1]), np.nan)
    for number, features in enumerate(over.T):
        if features.any():
            chosen = [rows[place].values for place in np.flatnonzero(features).tolist()]
            columns = [Column.of([values[place] for values in chosen]) for place in range(inputs)]
            found = reducer.of_columns(columns, function="Collection.reduceToImage").values()
            table[:, number] = [np.nan if value is None else value for value in found]
    values = table[:, places.ravel()].reshape(len(table), *part.shape)
    return [(each, ~np.isnan(each)) for each in values]


MAX_CLASSES = 2000


@registry.implements("Collection.errorMatrix")
def error_matrix(
    collection: Collection, actual: str, predicted: str, order: list[Any] | None = None
) -> ConfusionMatrix:
    """Counts of pairs of classes: rows are actual ones, columns predicted ones. Pairs of other classes than those named count not."""
    pairs = [[_class(each.properties.get(name), name) for name in (actual, predicted)] for each in collection.elements]
    classes = _contiguous(pairs) if order is None else tuple(map(as_whole, order))
    if len(classes) > MAX_CLASSES:
        raise invalid(f"Collection.errorMatrix: {len(classes)} classes are too many (maximum {MAX_CLASSES}).")
    check_items(len(classes) ** 2)
    places = {each: place for place, each in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for row, column in pairs:
        if row in places and column in places:
            counts[places[row], places[column]] += 1
    return ConfusionMatrix(counts, classes)


def _class(value: Any, name: str) -> int:
    if not isinstance(value, int | float) or not float(value).is_integer():
        raise invalid(f"Collection.errorMatrix: the property '{name}' must be a whole number, got {value!r}.")
    return int(value)


def _contiguous(pairs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """From 0 to the greatest class."""
    every = [each for pair in pairs for each in pair]
    if min(every, default=0) < 0:
        raise invalid("Collection.errorMatrix: classes below 0 need an 'order'.")
    highest = max(every, default=-1)
    return tuple(range(min(highest, MAX_CLASSES) + 1))
