"""Reducers of arrays: covariances of vectors, and reducers of each element by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import check_cells, pixel_shape, spread
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.pixels.types import DOUBLE, PixelType
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.batch_matrices import total
from airflow_ee.emulator.values.reducers.column import Column
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels
from airflow_ee.emulator.values.reducers.reducer import Reducer

Numbers = NDArray[np.float64]


def _stack(label: str, column: Column, *, weighted: bool) -> NDArray[Any] | None:
    """The arrays of a column, rows first; None where there is none."""
    known = column.known(weighted=weighted)
    if not len(known):
        return None
    if known.values.ndim > 1:
        return known.values
    items = known.items()
    strange = next((each for each in items if not isinstance(each, Array)), None)
    if strange is not None:
        raise invalid(f"{label}: Cannot convert {type(strange).__name__} to Array.")
    if len({each.shape for each in items}) > 1:
        raise _unequal(label)
    return np.stack([each.values for each in items])


def _unequal(label: str) -> Exception:
    return invalid(f"{label}: all arrays must have the same shape.")


def _layers_of(label: str, layers: Layers) -> tuple[Numbers, NDArray[np.bool_]]:
    """The arrays of layers, which must all have one shape, and where they are known."""
    shape = pixel_shape(layers)
    if len({layer.axes for layer in layers}) > 1 or any(layer.lengths is not None for layer in layers):
        raise _unequal(label)
    check_cells(len(layers) * prod(layers[0].axes) * prod(shape))
    return np.stack([spread(layer.values, shape) for layer in layers]), np.stack(
        [spread(layer.mask, shape) > 0 for layer in layers]
    )


@dataclass(frozen=True, slots=True)
class Covariance(Kernel):
    """Of vectors of one length: a row and a column for each place."""

    takes_arrays: ClassVar[bool] = True
    centred: bool = False
    """Whether the means are zero already."""

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """A matrix, or null where there is no row."""
        rows = _stack(self.label, columns[0], weighted=weighted)
        if rows is None:
            return [None]
        if rows.ndim != 2:
            raise invalid(f"{self.label}: arrays must be 1-dimensional, got {rows.ndim - 1} dimensions.")
        vectors = rows.astype(np.float64)
        off = vectors if self.centred else vectors - vectors.mean(axis=0)
        return [Array(off.T @ off / len(off))]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- 0 or not
        """A matrix at every pixel."""
        values, known = _layers_of(self.label, inputs[0])
        count = np.maximum(known.sum(axis=0), 1)
        used = np.where(known[:, np.newaxis], values, 0.0)
        if not self.centred:
            used = np.where(known[:, np.newaxis], values - total(used) / count, 0.0)
        made = np.zeros((used.shape[1], *used.shape[1:]))
        for place, each in enumerate(made):
            each[...] = total(used[:, place, np.newaxis] * used) / count
        return [Pixels(made, np.asarray(known.any(axis=0)))]

    def result_types(self, types: Sequence[PixelType], count: int) -> list[PixelType]:  # noqa: ARG002 -- always one
        """A matrix of doubles."""
        if types[0].dimensions != 1:
            raise invalid(f"{self.label}: arrays must be 1-dimensional, got {types[0].dimensions} dimensions.")
        return [DOUBLE.of_arrays(2)]


@dataclass(frozen=True, slots=True)
class EachElement(Kernel):
    """A reducer of the numbers at each place of arrays that all have one shape."""

    takes_arrays: ClassVar[bool] = True
    reducer: Reducer = field(kw_only=True)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """An array for each result, or nulls where there is no row."""
        rows = [_stack(self.label, column, weighted=weighted) for column in columns]
        if any(each is None for each in rows):
            return [None for _ in self.outputs]
        whole = [each for each in rows if each is not None]
        if len({each.shape for each in whole}) > 1:
            raise _unequal(self.label)
        places = prod(whole[0].shape[1:])
        flat = [each.reshape(len(each), places) for each in whole]
        found = [
            list(
                self.reducer.of_columns(
                    [Column.of(each[:, at].tolist()) for each in flat], function=self.label
                ).values()
            )
            for at in range(places)
        ]
        return [
            self._array([each[number] for each in found], whole[0].shape[1:]) for number in range(len(self.outputs))
        ]

    def _array(self, results: list[Any], shape: tuple[int, ...]) -> Array | None:
        if any(each is None for each in results):
            return None
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in results):
            raise invalid(f"{self.label}: each of the reducer's results must be a number.")
        return Array(Array.of(results).values.reshape(shape)) if results else Array(np.zeros(shape))

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- its reducer knows
        """An array for each result at every pixel: the arrays' places are further pixels to the reducer."""
        shapes = {layer.axes for layers in inputs for layer in layers}
        if len(shapes) > 1:
            raise _unequal(self.label)
        spread_out = []
        for layers in inputs:
            values, known = _layers_of(self.label, layers)
            masks = [np.broadcast_to(spread(layer.mask, known.shape[1:]), values.shape[1:]) for layer in layers]
            spread_out.append([Raster(each, mask) for each, mask in zip(values, masks, strict=True)])
        axes = tuple(range(len(next(iter(shapes)))))
        results = self.reducer.of_layers(spread_out)
        return [Pixels(each.values, np.asarray(np.all(each.known, axis=axes))) for each in results]

    def result_types(self, types: Sequence[PixelType], count: int) -> list[PixelType]:
        """Arrays like those that came in."""
        dimensions = {type_.dimensions for type_ in types}
        if len(dimensions) > 1 or 0 in dimensions:
            raise invalid(f"{self.label}: its inputs must be arrays of the same dimensions.")
        made = self.reducer.pixel_types([type_.of_arrays(0) for type_ in types], count)
        if any(type_.dimensions for type_ in made):
            raise invalid(f"{self.label}: each of the reducer's results must be a number.")
        return [type_.of_arrays(*dimensions) for type_ in made]


def covariance(name: str, *, centred: bool) -> Covariance:
    """One input, of vectors."""
    label = f"Reducer.{name}"
    return Covariance(label, (Output("covariance", dimensions=2),), 1, False, centred)


def for_each_element(reducer: Reducer) -> Reducer:
    """The same results, as arrays."""
    outputs = tuple(Output(name) for name in reducer.output_names)
    kernel = EachElement(
        "Reducer.forEachElement", outputs, reducer.input_count, any(reducer.weighted_inputs), reducer=reducer
    )
    return Reducer.of(kernel).described("Reducer.forEachElement", reducer=reducer)
