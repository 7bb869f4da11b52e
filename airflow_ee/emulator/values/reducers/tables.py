"""Reducers whose results are arrays, and reducers that take aggregates apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.reducers.column import Column, complete
from airflow_ee.emulator.values.reducers.histograms import Histogram
from airflow_ee.emulator.values.reducers.kernel import Kernel, Output, check_width
from airflow_ee.emulator.values.reducers.reducer import Reducer

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
        width = (self.high - self.low) / self.steps
        inside = (values >= self.low) & (values < self.high)
        # Rounding may put a value just below the end into a step beyond it.
        places = np.minimum(((values[inside] - self.low) / width).astype(np.int64), self.steps - 1)
        counts = np.bincount(places, weights[inside], minlength=self.steps)
        return [_two_columns(self.low + width * np.arange(self.steps), counts, cumulative=self.cumulative)]


def _two_columns(edges: NDArray[Any], counts: NDArray[Any], *, cumulative: bool) -> Array:
    return Array(np.column_stack([edges, np.cumsum(counts) if cumulative else counts]))


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
        edges = found["bucketMin"] + found["bucketWidth"] * np.arange(len(counts))
        return [_two_columns(edges, counts, cumulative=self.cumulative)]


@dataclass(frozen=True, slots=True)
class LinearRegression(Kernel):
    """Least squares of some columns on others: coefficients, and the root mean square of what is left."""

    predictors: int = 1

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """Two arrays, or nulls where the rows do not determine the coefficients."""
        rows = complete(columns, weighted=weighted)
        table = np.column_stack([column.numbers(self.label) for column in rows])
        x, y = table[:, : self.predictors], table[:, self.predictors :]
        if len(x) <= self.predictors:
            return [None, None]
        coefficients, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
        if rank < self.predictors:
            return [None, None]
        return [Array(coefficients), Array(np.sqrt(((y - x @ coefficients) ** 2).mean(axis=0)))]


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
    return FixedHistogram(label, (Output("histogram"),), low=low, high=high, steps=steps, cumulative=cumulative)


def linear_regression(predictors: int, responses: int) -> LinearRegression:
    """Predictors first, then responses."""
    label = "Reducer.linearRegression"
    if predictors < 1 or responses < 1:
        raise invalid(f"{label}: numX and numY must be at least 1, got {predictors} and {responses}.")
    check_width(label, predictors + responses)
    outputs = (Output("coefficients"), Output("residuals"))
    return LinearRegression(label, outputs, predictors + responses, False, predictors)


def disaggregated(reducer: Reducer) -> Reducer:
    """The same results of the members."""
    if reducer.input_count != 1:
        raise invalid("Reducer.disaggregate: only reducers of one input are emulated.")
    outputs = tuple(Output(name) for name in reducer.output_names)
    kernel = Disaggregated("Reducer.disaggregate", outputs, 1, any(reducer.weighted_inputs), reducer=reducer)
    return Reducer.of(kernel).described("Reducer.disaggregate", reducer=reducer)
