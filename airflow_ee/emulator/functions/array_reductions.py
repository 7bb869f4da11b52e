"""Reducers along the axes of arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.array_shapes import axis_of
from airflow_ee.emulator.functions.elementwise import BINARY, Values
from airflow_ee.emulator.functions.promote import as_whole, registry
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.reducers import Column, Reducer

MAX_REDUCTIONS = 1_000_000


@registry.implements("Array.reduce")
def reduce_array(array: Array, reducer: Reducer, axes: list[Any], field_axis: int | None = None) -> Array:
    """The axes reduced to a length of 1; several inputs or results of the reducer lie along the field axis."""
    reduced = [axis_of("Array.reduce", as_whole(axis), array.dimensions) for axis in axes]
    if len(set(reduced)) != len(reduced):
        raise invalid("Array.reduce: an axis must not be named twice.")
    if reducer.input_count == len(reducer.output_names) == 1 and field_axis is None:
        return _reduced(array.values[..., np.newaxis], reducer, reduced, array.dimensions, drop=True)
    if field_axis is None:
        raise invalid("Array.reduce: 'fieldAxis' is required for a reducer with several inputs or outputs.")
    if axis_of("Array.reduce", field_axis, array.dimensions) in reduced:
        raise invalid("Array.reduce: 'fieldAxis' must not be one of the axes to reduce.")
    return _reduced(array.values, reducer, reduced, field_axis)


def _reduced(values: Values, reducer: Reducer, axes: Sequence[int], field: int, *, drop: bool = False) -> Array:
    inputs = values.shape[field]
    reducer.check_inputs(inputs, "Array.reduce")
    kept = [axis for axis in range(values.ndim) if axis not in axes and axis != field]
    rows = math.prod(values.shape[axis] for axis in axes)
    table = np.transpose(values, (*kept, *axes, field)).reshape(-1, rows, inputs)
    if table.shape[0] > MAX_REDUCTIONS:
        raise invalid(f"Array.reduce: {table.shape[0]} reductions are too many.")
    results = [_results(each, reducer, "Array.reduce") for each in table]
    shape = [1 if axis in axes else length for axis, length in enumerate(values.shape)]
    shape[field] = len(reducer.output_names)
    lengths = [shape[axis] for axis in (*kept, *axes, field)]
    back = np.argsort((*kept, *axes, field))
    reduced = np.transpose(_numbers(results, "Array.reduce").reshape(lengths), back)
    return Array(np.ascontiguousarray(reduced[..., 0] if drop else reduced))


def _results(rows: Values, reducer: Reducer, function: str) -> list[Any]:
    columns = [Column.of(rows[:, number].tolist()) for number in range(rows.shape[1])]
    return list(reducer.of_columns(columns, function=function).values())


def _numbers(results: list[list[Any]], function: str) -> Values:
    flat = [value for each in results for value in each]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in flat):
        raise invalid(f"{function}: each of the reducer's results must be a number.")
    return np.asarray(flat, dtype=np.int64 if all(isinstance(value, int) for value in flat) else np.float64)


@registry.implements("Array.accum")
def accumulate(array: Array, axis: int, reducer: Reducer | None = None) -> Array:
    """Each number replaced by the reduction of those up to it along an axis; without a reducer, by their sum."""
    axis_of("Array.accum", axis, array.dimensions)
    if reducer is None:
        return Array(_running_sum(array.values, axis))
    if not reducer.input_count == len(reducer.output_names) == 1:
        raise invalid("Array.accum: the reducer must have one input and one output.")
    along = np.moveaxis(array.values, axis, -1)
    if along.size * max(along.shape[-1], 1) > MAX_REDUCTIONS:
        raise invalid("Array.accum: too many reductions.")
    if not along.size:
        return array
    results = [_results(part[:, np.newaxis], reducer, "Array.accum") for part in _prefixes(along)]
    reduced = _numbers(results, "Array.accum").reshape(along.shape)
    return Array(np.ascontiguousarray(np.moveaxis(reduced, -1, axis)))


def _running_sum(values: Values, axis: int) -> Values:
    along = np.moveaxis(values, axis, 0)
    sums = along.copy()
    for place in range(1, len(along)):
        sums[place] = BINARY["add"]("Array.accum", sums[place - 1], along[place])
    return np.ascontiguousarray(np.moveaxis(sums, 0, axis))


def _prefixes(along: Values) -> Iterator[Values]:
    for row in along.reshape(-1, along.shape[-1]):
        for end in range(1, len(row) + 1):
            yield row[:end]
