"""Reducers: many values and their weights to a few. One definition serves stacks of images, regions and lists.

Values come as an array whose first axis is reduced; weights have its shape, and 0 means that there is no value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.types import DOUBLE, FLOAT, PixelType, ranged, union

Array = NDArray[np.float64]
TypeRule = Literal["same", "real", "count", "sum"]
Reduce = Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a reducer."""

    name: str
    reduce: Reduce
    type_rule: TypeRule = "real"
    weighted: bool = True
    empty: float | None = None
    """The result where there is no value; None where that is masked."""

    def type_for(self, type_: PixelType, count: int) -> PixelType:
        """The type of the result over ``count`` values of a type."""
        low, high = type_.range
        if self.type_rule == "same":
            return type_
        if self.type_rule == "count":
            return PixelType("int", 0, count)
        if self.type_rule == "sum" and type_.precision == "int":
            return ranged("int", min(0.0, low * count), max(0.0, high * count))
        return FLOAT if type_.precision == "float" else DOUBLE

    def weights(self, weights: Array) -> Array:
        """The weights that this result goes by."""
        return weights if self.weighted else (weights > 0).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Reducer:
    """Results in order; all of them from the same input."""

    outputs: tuple[Output, ...]

    @property
    def names(self) -> list[str]:
        """Names of the results."""
        return [output.name for output in self.outputs]

    def renamed(self, names: Sequence[str]) -> Reducer:
        """The same results under other names."""
        if len(names) != len(self.outputs):
            raise invalid(f"Reducer: {len(names)} output names for {len(self.outputs)} outputs.")
        return Reducer(tuple(replace(each, name=name) for each, name in zip(self.outputs, names, strict=True)))

    def unweighted(self) -> Reducer:
        """Every value counts the same."""
        return Reducer(tuple(replace(each, weighted=False) for each in self.outputs))

    def of_values(self, values: Array, weights: Array) -> dict[str, float | None]:
        """The results for one list of values; None where there is nothing to tell."""
        found: dict[str, float | None] = {}
        for output in self.outputs:
            used = output.weights(weights)
            if (used > 0).any():
                found[output.name] = float(output.reduce(values[:, None], used[:, None])[0])
            else:
                found[output.name] = output.empty
        return found

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the reducer."""
        return {"type": "Reducer", "outputs": self.names}


def combined_type(types: Sequence[PixelType]) -> PixelType:
    """The type of a band over a stack of images."""
    result = types[0]
    for each in types[1:]:
        result = union(result, each)
    return result


def _total(values: Array, weights: Array) -> Array:
    return np.asarray((values * weights).sum(axis=0))


def _mean(values: Array, weights: Array) -> Array:
    weight = weights.sum(axis=0)
    return np.asarray(np.divide(_total(values, weights), weight, out=np.zeros_like(weight), where=weight > 0))


def _variance(values: Array, weights: Array) -> Array:
    return _mean((values - _mean(values, weights)) ** 2, weights)


def _sample_variance(values: Array, weights: Array) -> Array:
    count = weights.sum(axis=0)
    return np.asarray(
        np.divide(_variance(values, weights) * count, count - 1, out=np.zeros_like(count), where=count > 1)
    )


def _least(values: Array, weights: Array) -> Array:
    return np.asarray(np.where(weights > 0, values, np.inf).min(axis=0))


def _greatest(values: Array, weights: Array) -> Array:
    return np.asarray(np.where(weights > 0, values, -np.inf).max(axis=0))


def _product(values: Array, weights: Array) -> Array:
    return np.asarray(np.where(weights > 0, values, 1.0).prod(axis=0))


def _first(values: Array, weights: Array) -> Array:
    return np.asarray(np.take_along_axis(values, (weights > 0).argmax(axis=0)[None], axis=0)[0])


def _last(values: Array, weights: Array) -> Array:
    return _first(values[::-1], weights[::-1])


def _count(values: Array, weights: Array) -> Array:  # noqa: ARG001 -- a count looks at no value
    return np.asarray((weights > 0).sum(axis=0), dtype=np.float64)


def _any(values: Array, weights: Array) -> Array:
    return np.asarray(((values != 0) & (weights > 0)).any(axis=0), dtype=np.float64)


def _all(values: Array, weights: Array) -> Array:
    return np.asarray(((values != 0) | (weights <= 0)).all(axis=0), dtype=np.float64)


def _mode(values: Array, weights: Array) -> Array:
    """The heaviest value; of equals the least."""
    if values.shape[1:] == (1,):
        distinct, where = np.unique(values[:, 0], return_inverse=True)
        return np.asarray(distinct[[np.bincount(where, weights[:, 0]).argmax()]])
    order = np.argsort(values, axis=0, kind="stable")
    ordered, heavy = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    total = np.stack([(heavy * (ordered == ordered[i])).sum(axis=0) * (heavy[i] > 0) for i in range(len(ordered))])
    return np.asarray(np.take_along_axis(ordered, total.argmax(axis=0)[None], axis=0)[0])


def percentile_of(share: float) -> Reduce:
    """The value below which a share of the weight lies, between neighbours by straight line.

    With equal weights this is numpy's default percentile, and the median of an even number is the mean of the middle two.
    """

    def reduce(values: Array, weights: Array) -> Array:
        order = np.argsort(np.where(weights > 0, values, np.inf), axis=0, kind="stable")
        ordered, heavy = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
        last = np.maximum((heavy > 0).sum(axis=0) - 1, 0)[None]
        ends = (heavy[:1] + np.take_along_axis(heavy, last, 0)) / 2
        span = heavy.sum(axis=0, keepdims=True) - ends
        centres = np.cumsum(heavy, axis=0) - heavy / 2 - heavy[:1] / 2
        places = np.divide(centres, span, out=np.zeros_like(centres), where=span > 1e-12)
        reached = (places <= share + 1e-12) & (heavy > 0)
        low = np.clip(reached.sum(axis=0)[None] - 1, 0, last)
        high = np.minimum(low + 1, last)
        before, after = np.take_along_axis(places, low, 0), np.take_along_axis(places, high, 0)
        part = np.divide(share - before, after - before, out=np.zeros_like(before), where=after > before)
        start, end = np.take_along_axis(ordered, low, 0), np.take_along_axis(ordered, high, 0)
        return np.asarray((start + (end - start) * np.clip(part, 0, 1))[0])

    return reduce


def percentiles(shares: Sequence[float], names: Sequence[str] | None = None) -> Reducer:
    """Results ``p10`` and so on."""
    labels = names or [f"p{share:g}" for share in shares]
    outputs = (Output(name, percentile_of(share / 100)) for name, share in zip(labels, shares, strict=True))
    return Reducer(tuple(outputs))


SIMPLE: dict[str, Reducer] = {
    "mean": Reducer((Output("mean", _mean),)),
    "sum": Reducer((Output("sum", _total, "sum", empty=0.0),)),
    "median": Reducer((Output("median", percentile_of(0.5)),)),
    "min": Reducer((Output("min", _least, "same", weighted=False),)),
    "max": Reducer((Output("max", _greatest, "same", weighted=False),)),
    "minMax": Reducer(
        (Output("min", _least, "same", weighted=False), Output("max", _greatest, "same", weighted=False))
    ),
    "count": Reducer((Output("count", _count, "count", weighted=False, empty=0.0),)),
    "stdDev": Reducer((Output("stdDev", lambda values, weights: np.sqrt(_variance(values, weights))),)),
    "variance": Reducer((Output("variance", _variance),)),
    "sampleStdDev": Reducer((Output("stdDev", lambda values, weights: np.sqrt(_sample_variance(values, weights))),)),
    "sampleVariance": Reducer((Output("variance", _sample_variance),)),
    "mode": Reducer((Output("mode", _mode, "same"),)),
    "first": Reducer((Output("first", _first, "same", weighted=False),)),
    "firstNonNull": Reducer((Output("first", _first, "same", weighted=False),)),
    "last": Reducer((Output("last", _last, "same", weighted=False),)),
    "lastNonNull": Reducer((Output("last", _last, "same", weighted=False),)),
    "product": Reducer((Output("product", _product, weighted=False),)),
    "anyNonZero": Reducer((Output("any", _any, "count", weighted=False),)),
    "allNonZero": Reducer((Output("all", _all, "count", weighted=False),)),
}
"""Reducers without arguments, by the name after ``Reducer.``"""
