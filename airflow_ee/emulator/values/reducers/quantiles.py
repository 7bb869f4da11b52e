"""Percentiles, the median and the mode: reducers that need the values in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.reducers.column import Column
from airflow_ee.emulator.values.reducers.kernel import Array, Kernel, Layers, Output, Pixels, added, stacked, weights_of

MAX_NETWORK = 128
"""Layers up to which comparing whole layers with one another beats sorting pixel by pixel."""

_ROUNDING = 1e-12

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantiles(Kernel):
    """The values below which shares of the weight lie, between neighbours by straight line.

    With equal weights these are numpy's default percentiles, and the median of an even number is the mean of the middle two.
    """

    shares: tuple[float, ...] = (0.5,)
    """From 0 to 1."""

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """One number for each share; null where there is no row."""
        column = columns[0].known(weighted=weighted)
        if not len(column):
            return [None] * len(self.shares)
        values, weights = column.numbers(self.label), column.weight(weighted=weighted)
        return [float(each[0]) for each in between(*by_value(values[:, None], weights[:, None]), self.shares)]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """One number for each share, at every pixel."""
        valid = [layer.mask > 0 for layer in inputs[0]]
        known = np.asarray(np.logical_or.reduce(valid))
        weightless = not weighted or all(
            (layer.mask == each).all() for layer, each in zip(inputs[0], valid, strict=True)
        )
        found = ranked(inputs[0], valid, self.shares) if weightless else weighed(inputs[0], self.shares)
        return [Pixels(np.where(known, each, 0.0), known) for each in found]


def between(ordered: Numbers, weights: Numbers, shares: Sequence[float]) -> Iterator[Numbers]:
    """The quantiles of values in order along the first axis, those without weight last."""
    last = np.maximum((weights > 0).sum(axis=0) - 1, 0)[None]
    ends = (weights[:1] + np.take_along_axis(weights, last, 0)) / 2
    span = added(weights)[None] - ends
    places = np.cumsum(weights, axis=0) - weights / 2 - weights[:1] / 2
    margin = _ROUNDING * np.minimum(span, 1.0)
    for share in shares:
        # With weights of one these are the very steps of `ranked`: which of both a pixel meets hangs on its neighbours.
        place = share * span
        reached = (places <= place + margin) & (weights > 0)
        low = np.clip(reached.sum(axis=0)[None] - 1, 0, last)
        high = np.minimum(low + 1, last)
        before, after = np.take_along_axis(places, low, 0), np.take_along_axis(places, high, 0)
        part = np.divide(place - before, after - before, out=np.zeros_like(before), where=after > before)
        start, end = np.take_along_axis(ordered, low, 0), np.take_along_axis(ordered, high, 0)
        yield (start + (end - start) * np.clip(part, 0, 1))[0]


def weighed(layers: Layers, shares: Sequence[float]) -> Iterator[Numbers]:
    """Quantiles where the masks are fractions."""
    values, weights = stacked([layer.values for layer in layers]), weights_of(layers, weighted=True)
    return between(*by_value(values, weights), shares)


def by_value(values: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """Both in the order of the values, those without weight last. Of equals the lighter comes first, whatever was first before."""
    order = np.lexsort((weights, np.where(weights > 0, values, np.inf)), axis=0)
    return np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)


def ranked(layers: Layers, valid: Sequence[NDArray[np.bool_]], shares: Sequence[float]) -> Iterator[Numbers]:
    """Quantiles where every value counts the same: those of :func:`weighed`, without weights and in the layers' own type."""
    count = np.asarray(np.add.reduce(valid, axis=0, dtype=np.int64))
    ordered = in_order(layers, valid)
    full = bool((count == len(layers)).all())
    for share in shares:
        place = share * np.maximum(count - 1, 0)
        low = np.floor(place + _ROUNDING).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        part = np.clip(place - low, 0, 1)
        if full:
            start, end = ordered[low.flat[0]].astype(np.float64), ordered[high.flat[0]].astype(np.float64)
        else:
            start, end = (np.take_along_axis(ordered, each[None], 0)[0].astype(np.float64) for each in (low, high))
        yield start + (end - start) * part


def in_order(layers: Layers, valid: Sequence[NDArray[np.bool_]]) -> Array:
    """The layers' values in ascending order at every pixel, those that are masked last."""
    dtype = np.result_type(*(layer.values.dtype for layer in layers))
    greatest = (np.iinfo if dtype.kind in "iu" else np.finfo)(dtype).max
    shape = np.broadcast_shapes(*(layer.values.shape for layer in layers))
    whole = np.empty((len(layers), *shape), dtype)
    for target, layer, known in zip(whole, layers, valid, strict=True):
        np.copyto(target, layer.values)
        if not known.all():
            target[np.broadcast_to(~known, shape)] = greatest
    if len(layers) > MAX_NETWORK:
        whole.sort(axis=0)
        return whole
    return _through_network(whole)


def _through_network(whole: Array) -> Array:
    """Sort along the first axis by comparing pairs of whole layers."""
    spare = np.empty_like(whole[0])
    for low, high in _network(len(whole)):
        np.minimum(whole[low], whole[high], out=spare)
        np.maximum(whole[low], whole[high], out=whole[high])
        whole[low] = spare
    return whole


@lru_cache(maxsize=64)
def _network(size: int) -> tuple[tuple[int, int], ...]:
    """Batcher's odd-even merge sort: the pairs that put any ``size`` values in order."""
    pairs = []
    width = 1
    while width < size:
        step = width
        while step >= 1:
            for start in range(step % width, size - step, 2 * step):
                for place in range(start, min(start + step, size - step)):
                    if place // (2 * width) == (place + step) // (2 * width):
                        pairs.append((place, place + step))
            step //= 2
        width *= 2
    return tuple(pairs)


@dataclass(frozen=True, slots=True)
class Mode(Kernel):
    """The value of most weight; of equals the least."""

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """A value of the column, or null."""
        column = columns[0].known(weighted=weighted)
        if not len(column):
            return [None]
        values = column.numbers(self.label) if column.values.dtype == object else column.values
        distinct, where = np.unique(values, return_inverse=True)
        return [distinct[np.bincount(where, column.weight(weighted=weighted)).argmax()].item()]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """A layer's value at every pixel."""
        values, weights = stacked([layer.values for layer in inputs[0]]), weights_of(inputs[0], weighted=weighted)
        best, most = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
        for each, weight in zip(values, weights, strict=True):
            total = added(weights * (values == each))
            wins = (weight > 0) & ((total > most) | ((total == most) & (each < best)))
            best, most = np.where(wins, each, best), np.where(wins, total, most)
        return [Pixels(best, most > 0)]


@dataclass(frozen=True, slots=True)
class IntervalMean(Kernel):
    """The mean of the values from one percentile to another, both included."""

    low: float = 0.0
    high: float = 1.0

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """A number, or null where there is no row."""
        column = columns[0].known(weighted=weighted)
        if not len(column):
            return [None]
        values, weights = column.numbers(self.label)[:, None], column.weight(weighted=weighted)[:, None]
        return [float(self._mean(values, weights)[0])]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """A number at every pixel."""
        values, weights = stacked([layer.values for layer in inputs[0]]), weights_of(inputs[0], weighted=weighted)
        known = np.asarray((weights > 0).any(axis=0))
        return [Pixels(np.where(known, self._mean(values, weights), 0.0), known)]

    def _mean(self, values: Numbers, weights: Numbers) -> Numbers:
        ordered, heavy = by_value(values, weights)
        start, end = between(ordered, heavy, (self.low, self.high))
        reach = _ROUNDING * np.maximum(np.abs(start), np.abs(end))
        used = np.where((ordered >= start - reach) & (ordered <= end + reach), heavy, 0.0)
        weight = added(used)
        inside = np.divide(added(ordered * used), weight, out=np.zeros_like(weight), where=weight > 0)
        return np.where(weight > 0, inside, (start + end) / 2)


def quantiles(label: str, percentiles: Sequence[float], names: Sequence[str]) -> Quantiles:
    """Percentiles from 0 to 100, each with a name."""
    wrong = next((each for each in percentiles if not 0 <= each <= 100), None)
    if wrong is not None:
        raise invalid(f"{label}: Percentiles must be from 0 to 100, got {wrong:g}.")
    shares = tuple(each / 100 for each in percentiles)
    return Quantiles(label, tuple(Output(name) for name in names), 1, True, shares)
