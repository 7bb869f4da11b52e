"""Reducers along the axes of the arrays that pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.array_bands import Plan, each_band, elements
from airflow_ee.emulator.functions.array_shapes import axis_of, check_axes
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.neighbourhoods import window_type
from airflow_ee.emulator.functions.promote import as_whole, registry
from airflow_ee.emulator.pixels.batches import Batch
from airflow_ee.emulator.pixels.cells import Lengths, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype
from airflow_ee.emulator.values.image import Image
from airflow_ee.emulator.values.reducers import Layers, Pixels, Reducer

MAX_STEPS = 100_000
"""Reductions of one array: those up to each place of an axis."""


@dataclass(frozen=True, slots=True)
class _Reduction:
    """A reducer along some axes. Its inputs and results lie along the field axis, if it has several."""

    function: str
    reducer: Reducer
    axes: tuple[int, ...]
    field: int | None

    def __call__(self, batch: Values) -> Batch:
        """What becomes of a batch."""
        whole = batch[np.newaxis] if self.field is None else np.moveaxis(batch, self.field, 0)
        self.reducer.check_inputs(len(whole), self.function)
        places = [axis + (self.field is None or axis < self.field) for axis in self.axes]
        rows = prod(whole.shape[place] for place in places)
        rest = [place for place in range(1, whole.ndim) if place not in places]
        layers = np.transpose(whole, (0, *places, *rest)).reshape(len(whole), rows, *(whole.shape[at] for at in rest))
        results = self._nothing(layers) if not rows else self.reducer.of_layers([_layers(each) for each in layers])
        known = np.logical_and.reduce([np.broadcast_to(each.known, layers.shape[2:]) for each in results])
        found = np.stack([np.broadcast_to(each.values, layers.shape[2:]) for each in results])
        missing = ~known.any(axis=tuple(range(known.ndim - 1)))
        values = self._placed(found, places)
        return Batch(values, self._lengths(values, missing), _everywhere(known) | missing)

    def _placed(self, found: Values, places: Sequence[int]) -> Values:
        """The results along the field axis, and the reduced axes back in their places."""
        spread = np.expand_dims(found, sorted(places))
        return spread[0] if self.field is None else np.moveaxis(spread, 0, self.field)

    def _lengths(self, values: Values, missing: NDArray[np.bool_]) -> Lengths | None:
        """Of pixels without any result the reduced axes have no length at all."""
        if not missing.any():
            return None
        lengths = np.repeat(np.asarray(values.shape[:-1], np.int64)[:, np.newaxis], len(missing), axis=1)
        lengths[list(self.axes)] = np.where(missing, 0, 1)
        return lengths

    def _nothing(self, layers: Values) -> list[Pixels]:
        """Of no rows: zero for what counts or adds, and no result else."""
        empty = [output.empty for step in self.reducer.steps for output in step.kernel.outputs]
        shape = layers.shape[2:]
        return [
            Pixels(np.full(shape, value or 0.0), np.full(shape, value is not None))
            for name, value in zip(self.reducer.names, empty, strict=True)
            if name
        ]


def _everywhere(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """At which pixels every number is known."""
    return np.asarray(known.all(axis=tuple(range(known.ndim - 1))))


def _layers(values: Values) -> Layers:
    valid = np.ones(values.shape[1:], np.float32)
    return [Raster(each, valid) for each in values]


def _checked(function: str, reducer: Reducer, type_: PixelType) -> list[PixelType]:
    """The types of the results, which must be numbers."""
    plain = [type_.of_arrays(0)] * reducer.input_count
    if any(made.dimensions for made in reducer.pixel_types(plain, 1)):
        raise invalid(f"{function}: each of the reducer's results must be a number.")
    return [window_type(single.output, plain[0]) for single in reducer.singles()]


@registry.implements("Image.arrayReduce")
def array_reduce(input: Image, reducer: Reducer, axes: list[Any], field_axis: int | None = None) -> Image:
    """The axes reduced to a length of 1; several inputs or results of the reducer lie along the field axis."""
    function = "Image.arrayReduce"
    wanted = list(map(as_whole, axes))
    several = not reducer.input_count == len(reducer.output_names) == 1
    if several and field_axis is None:
        raise invalid(f"{function}: 'fieldAxis' is required for a reducer with several inputs or outputs.")

    def plan(type_: PixelType) -> Plan:
        kept = check_axes(function, wanted, type_.dimensions)
        if field_axis is not None and axis_of(function, field_axis, type_.dimensions) in kept:
            raise invalid(f"{function}: 'fieldAxis' must not be one of the axes to reduce.")
        made = elements(_checked(function, reducer, type_)).of_arrays(type_.dimensions)
        return Plan(made, _Reduction(function, reducer, tuple(kept), field_axis))

    return each_band(input, plan)


@registry.implements("Image.arrayAccum")
def array_accumulate(input: Image, axis: int, reducer: Reducer | None = None) -> Image:
    """Each number replaced by the reduction of those up to it along an axis; without a reducer, by their sum."""
    function = "Image.arrayAccum"
    if reducer is not None and not reducer.input_count == len(reducer.output_names) == 1:
        raise invalid(f"{function}: the reducer must have one input and one output.")

    def plan(type_: PixelType) -> Plan:
        along = axis_of(function, axis, type_.dimensions)
        if reducer is None:
            made = type_of_dtype("int64") if type_.precision == "int" else PixelType(type_.precision)
            return Plan(made.of_arrays(type_.dimensions), lambda batch: batch.astype(made.dtype).cumsum(axis=along))
        (result,) = _checked(function, reducer, type_)
        return Plan(result.of_arrays(type_.dimensions), partial(_accumulated, function, reducer, along))

    return each_band(input, plan)


def _accumulated(function: str, reducer: Reducer, axis: int, batch: Values) -> Batch:
    along = np.moveaxis(batch, axis, 0)
    if len(along) ** 2 > MAX_STEPS * 2:
        raise invalid(f"{function}: an axis of {len(along)} places is too long for this reducer.")
    layers = _layers(along)
    found: list[Values] = []
    known: list[NDArray[np.bool_]] = []
    for end in range(1, len(layers) + 1):
        deadline.check()
        (made,) = reducer.of_layers([layers[:end]])
        found.append(np.broadcast_to(made.values, along.shape[1:]))
        known.append(np.broadcast_to(made.known, along.shape[1:]))
    if not found:
        return Batch(batch)
    return Batch(np.moveaxis(np.stack(found), 0, axis), known=_everywhere(np.stack(known)))
