"""Reducers that collect: lists, tables of frequencies, and counts of what need not be a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.batches import packed
from airflow_ee.emulator.pixels.cells import check_cells, pixel_shape, spread
from airflow_ee.emulator.pixels.types import PixelType, union
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.reducers.column import Column, complete
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels, check_width, stacked, weights_of


@dataclass(frozen=True, slots=True)
class ToList(Kernel):
    """The rows as a list: of values, or of lists of values. A row with a null in an input that is not optional is left out."""

    grouped: bool = False
    optional: int = 0
    takes_arrays: ClassVar[bool] = True

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """The list, perhaps empty."""
        return [[list(row) if self.grouped else row[0] for row in self._rows(columns, weighted)]]

    def _rows(self, columns: Sequence[Column], weighted: bool) -> list[tuple[Any, ...]]:
        present = np.logical_or.reduce([column.present for column in columns])
        kept = complete([column.where(present) for column in columns], weighted=weighted, optional=self.optional)
        return list(zip(*(_nullable(column) for column in kept), strict=True))

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- 0 or not
        """An array at every pixel, as long as there are layers that show all inputs."""
        shape = pixel_shape([layer for layers in inputs for layer in layers])
        check_cells(len(inputs) * len(inputs[0]) * prod(shape))
        keep = np.logical_and.reduce([[spread(layer.mask, shape) > 0 for layer in layers] for layers in inputs])
        values = np.stack([[spread(layer.values, shape) for layer in layers] for layers in inputs], axis=1)
        cells = values if self.grouped else values[:, 0]
        made = packed(cells, keep, keep.any(axis=0).astype(np.float32))
        return [Pixels(made.values, made.mask > 0, made.lengths)]

    def result_types(self, types: Sequence[PixelType], count: int) -> list[PixelType]:  # noqa: ARG002 -- of any length
        """Vectors, or rows of tuples."""
        if any(type_.dimensions for type_ in types):
            raise invalid(f"{self.label}: Cannot convert Array to Number.")
        if self.optional:
            raise invalid(
                f"{self.label}: numOptional is not emulated where arrays are made, since these hold no nulls."
            )
        return [reduce(union, types).of_arrays(2 if self.grouped else 1)]


def _nullable(column: Column) -> list[Any]:
    items = column.items()
    return items if column.counted.all() else [column.item(row) for row in range(len(items))]


@dataclass(frozen=True, slots=True)
class ToCollection(ToList):
    """The rows as features without geometry."""

    properties: tuple[str, ...] = ()

    @property
    def fits_pixels(self) -> bool:
        """Never."""
        return False

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """One collection; its features are numbered."""
        rows = self._rows(columns, weighted)
        return [
            Collection(
                [Feature(None, dict(zip(self.properties, row, strict=True)), str(n)) for n, row in enumerate(rows)]
            )
        ]


@dataclass(frozen=True, slots=True)
class Frequencies(Kernel):
    """How much weight each value has, by the value as text."""

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """A dictionary, perhaps empty; numbers come in ascending order."""
        column = columns[0].known(weighted=weighted)
        weights = column.weight(weighted=weighted)
        if column.values.dtype != object:
            distinct, where = np.unique(column.values, return_inverse=True)
            return [dict(zip(map(as_key, distinct.tolist()), np.bincount(where, weights).tolist(), strict=True))]
        table: dict[str, float] = {}
        for value, weight in zip(column.items(), weights.tolist(), strict=True):
            table[as_key(value)] = table.get(as_key(value), 0.0) + weight
        return [table]


def as_key(value: Any) -> str:
    """A value as a dictionary's key."""
    return (
        str(int(value)) if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()) else str(value)
    )


@dataclass(frozen=True, slots=True)
class Counter(Kernel):
    """Counts of values of any kind."""

    count: Callable[[list[Any]], int] = field(kw_only=True)
    """Of one column's items, nulls as None."""
    count_layers: Callable[[NDArray[np.float64], NDArray[np.bool_]], NDArray[Any]] = field(kw_only=True)
    """Of values and where they are known, the first axis reduced."""

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:  # noqa: ARG002 -- a count has no weights
        """One whole number."""
        return [self.count(_nullable(columns[0].where(columns[0].present)))]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """One whole number at every pixel."""
        values = stacked([layer.values for layer in inputs[0]])
        known = weights_of(inputs[0], weighted=weighted) > 0
        return [Pixels(self.count_layers(values, known), np.asarray(known.any(axis=0)))]


def hashable(value: Any) -> Any:
    """Something that is equal for equal values and can be looked up."""
    if isinstance(value, list):
        return tuple(hashable(each) for each in value)
    if isinstance(value, dict):
        return tuple(sorted((key, repr(hashable(each))) for key, each in value.items()))
    return value


def _distinct(items: list[Any]) -> int:
    """A null in a list is a value too; masked pixels are none."""
    return len({hashable(each) for each in items})


def _distinct_known(items: list[Any]) -> int:
    return _distinct([each for each in items if each is not None])


def _runs(items: list[Any]) -> int:
    known = [hashable(each) for each in items if each is not None]
    return sum(place == 0 or each != known[place - 1] for place, each in enumerate(known))


def _distinct_layers(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[Any]:
    ordered = np.sort(np.where(known, values, np.nan), axis=0)  # what is not a number comes last
    news = (ordered[1:] != ordered[:-1]) & ~np.isnan(ordered[1:])
    return np.asarray(news.sum(axis=0) + known.any(axis=0))


def _runs_layers(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[Any]:
    count = np.zeros(values.shape[1:], np.int64)
    before = np.full(values.shape[1:], np.nan)
    for value, valid in zip(values, known, strict=True):
        count += valid & (value != before)
        before = np.where(valid, value, before)
    return count


def _every_layer(values: NDArray[np.float64], _: NDArray[np.bool_]) -> NDArray[Any]:
    return np.full(values.shape[1:], len(values))


def _counter(name: str, count: Any, count_layers: Any) -> Counter:
    return Counter(f"Reducer.{name}", (Output("count", "count"),), 1, False, count=count, count_layers=count_layers)


COUNTERS: dict[str, Counter] = {
    "countEvery": _counter("countEvery", len, _every_layer),
    "countDistinct": _counter("countDistinct", _distinct, _distinct_layers),
    "countDistinctNonNull": _counter("countDistinctNonNull", _distinct_known, _distinct_layers),
    "countRuns": _counter("countRuns", _runs, _runs_layers),
}
"""Kernels by the name after ``Reducer.``"""


def to_list(tuple_size: int | None, optional: int) -> ToList:
    """One input, or as many as a tuple has."""
    inputs = 1 if tuple_size is None else tuple_size
    _check_optional("Reducer.toList", inputs, optional)
    return ToList("Reducer.toList", (Output("list"),), inputs, False, tuple_size is not None, optional)


def to_collection(properties: Sequence[str], optional: int) -> ToCollection:
    """As many inputs as properties."""
    _check_optional("Reducer.toCollection", len(properties), optional)
    outputs = (Output("features"),)
    return ToCollection("Reducer.toCollection", outputs, len(properties), False, True, optional, tuple(properties))


def _check_optional(label: str, inputs: int, optional: int) -> None:
    check_width(label, inputs)
    if inputs < 1:
        raise invalid(f"{label}: at least one input is needed, got {inputs}.")
    if not 0 <= optional <= inputs:
        raise invalid(f"{label}: numOptional must be from 0 to {inputs}, got {optional}.")
