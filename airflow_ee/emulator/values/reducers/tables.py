"""Reducers whose results are arrays, and reducers that take aggregates apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import Canvas, Raster, check_cells, pixel_shape, spread, spread_raster
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.reducers.column import Column, complete
from airflow_ee.emulator.values.reducers.histograms import Histogram
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels, stacked, weights_of
from airflow_ee.emulator.values.reducers.reducer import Reducer

Numbers = NDArray[np.float64]

MAX_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class FixedHistogram(Kernel):
    """Lower edges of equal steps beside the weights in them; what lies outside is passed over."""

    low: float = field(kw_only=True)
    high: float = field(kw_only=True)
    steps: int = field(kw_only=True)
    cumulative: bool = False

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """An array of two columns."""
        column = columns[0].known(weighted=weighted)
        values, weights = column.numbers(self.label), column.weight(weighted=weighted)
        places, inside = buckets_of(values, self.low, self.high, self.steps)
        counts = np.bincount(places[inside], weights[inside], minlength=self.steps)
        return [_two_columns(edges(self.low, self.high, self.steps), counts, cumulative=self.cumulative)]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """The same at every pixel."""
        shape = pixel_shape(inputs[0])
        weights = weights_of([spread_raster(layer, shape) for layer in inputs[0]], weighted=weighted)
        values = stacked([spread(layer.values, shape) for layer in inputs[0]])
        places, inside = buckets_of(values, self.low, self.high, self.steps)
        counts = counted(places, np.where(inside, weights, 0.0), self.steps)
        lower = np.broadcast_to(edges(self.low, self.high, self.steps).reshape(-1, 1, 1), counts.shape)
        table = np.stack([lower, np.cumsum(counts, axis=0) if self.cumulative else counts], axis=1)
        return [Pixels(table, np.asarray((weights > 0).any(axis=0)))]


def edges(low: float, high: float, steps: int) -> Numbers:
    """Where equal steps begin."""
    return np.asarray(low + (high - low) / steps * np.arange(steps), dtype=np.float64)


def buckets_of(values: Numbers, low: float, high: float, steps: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The step that each value lies in, and whether it lies in any."""
    inside = (values >= low) & (values < high)
    # Rounding may put a value just below the end into a step beyond it.
    places = np.where(inside, values - low, 0.0) / ((high - low) / steps)
    return np.minimum(places.astype(np.int64), steps - 1), inside


def counted(places: NDArray[np.int64], weights: Numbers, buckets: int) -> Numbers:
    """The weight in each bucket at every pixel; the rows are along the first axis."""
    shape = places.shape[1:]
    pixels = prod(shape)
    check_cells(buckets * pixels)
    flat = places.reshape(len(places), pixels) * pixels + np.arange(pixels)
    counts = np.bincount(flat.ravel(), weights.ravel(), minlength=buckets * pixels)
    return counts.astype(np.float64).reshape(buckets, *shape)


@dataclass(frozen=True, slots=True)
class FixedPairs(Kernel):
    """How many rows lie in each cell of a table over two inputs, and the lower edges of its rows and columns."""

    x: tuple[float, float, int] = field(kw_only=True)
    """Lower end, upper end, steps."""
    y: tuple[float, float, int] = field(kw_only=True)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """Three arrays."""
        rows = complete(columns, weighted=weighted)
        x, y = (column.numbers(self.label)[:, np.newaxis] for column in rows)
        table = self._table(x, y, np.ones(x.shape, dtype=np.bool_))
        return [Array(table[..., 0]), Array(edges(*self.x)), Array(edges(*self.y))]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- never weighed
        """The same at every pixel."""
        shape = pixel_shape([layer for layers in inputs for layer in layers])
        known = np.logical_and.reduce([[spread(layer.mask, shape) > 0 for layer in layers] for layers in inputs])
        x, y = (stacked([spread(layer.values, shape) for layer in layers]) for layers in inputs)
        valid = np.asarray(known.any(axis=0))
        lower = [edges(*each).reshape(-1, 1, 1) for each in (self.x, self.y)]
        return [Pixels(self._table(x, y, known), valid), *(Pixels(each, valid) for each in lower)]

    def _table(self, x: Numbers, y: Numbers, known: NDArray[np.bool_]) -> Numbers:
        """A row for each step of x."""
        (across, in_x), (along, in_y) = buckets_of(x, *self.x), buckets_of(y, *self.y)
        steps = self.x[2], self.y[2]
        weights = (known & in_x & in_y).astype(np.float64)
        return counted(across * steps[1] + along, weights, steps[0] * steps[1]).reshape(*steps, *x.shape[1:])


def _two_columns(lower: NDArray[Any], counts: NDArray[Any], *, cumulative: bool) -> Array:
    return Array(np.column_stack([lower, np.cumsum(counts) if cumulative else counts]))


@dataclass(frozen=True, slots=True)
class AutoHistogram(Histogram):
    """A histogram with steps of its own as an array: lower edges beside weights."""

    cumulative: bool = False

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """An array of two columns, or null where there is no row."""
        (found,) = Histogram.on_columns(self, columns, weighted=weighted)
        if found is None:
            return [None]
        counts = np.asarray(found["histogram"])
        lower = found["bucketMin"] + found["bucketWidth"] * np.arange(len(counts))
        return [_two_columns(lower, counts, cumulative=self.cumulative)]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """The same at every pixel, one after the other, since each has buckets of its own."""
        shape = pixel_shape(inputs[0])
        weights = weights_of([spread_raster(layer, shape) for layer in inputs[0]], weighted=weighted)
        values = stacked([spread(layer.values, shape) for layer in inputs[0]])
        known = np.asarray((weights > 0).any(axis=0))
        canvas = Canvas(shape)
        for row, col in np.ndindex(shape):
            deadline.check()
            if known[row, col]:
                heavy = weights[:, row, col]
                (found,) = self.on_columns([Column(values[:, row, col], heavy, heavy > 0)], weighted=True)
                table = found.values[..., np.newaxis, np.newaxis]
                canvas.put(row, col, (1, 1), Raster(table, np.ones((1, 1), np.float32)))
        whole = canvas.finished()
        cells = whole.values if whole.axes else np.zeros((0, 2, *shape))
        return [Pixels(cells, known, whole.lengths)]


@dataclass(frozen=True, slots=True)
class Disaggregated(Kernel):
    """A reducer that is given the members of lists, dictionaries and arrays one by one."""

    reducer: Reducer = field(kw_only=True)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:  # noqa: ARG002 -- its reducer knows
        """What the reducer makes of all members."""
        column = columns[0]
        members = [_members(column.item(row)) for row in range(len(column))]
        weights = [np.full(len(each), weight) for each, weight in zip(members, column.weights, strict=True)]
        whole = Column.of(list(chain.from_iterable(members)), np.concatenate([np.zeros(0), *weights]).tolist())
        return list(self.reducer.of_columns([whole], function=self.label).values())


def _members(value: Any) -> list[Any]:
    if isinstance(value, Array):
        members: list[Any] = value.values.ravel().tolist()
        return members
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def fixed_histogram(low: float, high: float, steps: int, *, cumulative: bool) -> FixedHistogram:
    """So many equal steps."""
    label = "Reducer.fixedHistogram"
    if not low < high:
        raise invalid(f"{label}: min must be less than max, got {low:g} and {high:g}.")
    if not 1 <= steps <= MAX_STEPS:
        raise invalid(f"{label}: steps must be from 1 to {MAX_STEPS}, got {steps}.")
    return FixedHistogram(
        label, (Output("histogram", dimensions=2),), low=low, high=high, steps=steps, cumulative=cumulative
    )


def fixed_pairs(x: tuple[float, float, int], y: tuple[float, float, int]) -> FixedPairs:
    """So many equal steps in both directions."""
    label = "Reducer.fixed2DHistogram"
    for name, (low, high, steps) in zip("xy", (x, y), strict=True):
        if not low < high:
            raise invalid(f"{label}: {name}Min must be less than {name}Max, got {low:g} and {high:g}.")
        if not 1 <= steps <= MAX_STEPS:
            raise invalid(f"{label}: {name}Steps must be from 1 to {MAX_STEPS}, got {steps}.")
    if x[2] * y[2] > MAX_STEPS:
        raise invalid(f"{label}: {x[2]} by {y[2]} buckets are too many (maximum {MAX_STEPS}).")
    outputs = (Output("histogram", dimensions=2), Output("xAxis", dimensions=1), Output("yAxis", dimensions=1))
    return FixedPairs(label, outputs, 2, False, x=x, y=y)


def disaggregated(reducer: Reducer) -> Reducer:
    """The same results of the members."""
    if reducer.input_count != 1:
        raise invalid("Reducer.disaggregate: only reducers of one input are emulated.")
    outputs = tuple(Output(name) for name in reducer.output_names)
    kernel = Disaggregated("Reducer.disaggregate", outputs, 1, any(reducer.weighted_inputs), reducer=reducer)
    return Reducer.of(kernel).described("Reducer.disaggregate", reducer=reducer)
