"""Sums, means and moments; logic, bits and circles: numbers that do not depend on the order of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.values.reducers.column import Column
from airflow_ee.emulator.values.reducers.kernel import (
    Compute,
    Layers,
    Output,
    Pixels,
    Statistic,
    added,
)

Numbers = NDArray[np.float64]
Formula = Callable[[Numbers, Numbers], Numbers]
"""One input's values and the rows' weights to one result."""


def _quotient(one: Numbers, two: Numbers) -> Numbers:
    """What is divided by nothing is not a number."""
    return np.asarray(np.divide(one, two, out=np.full(np.shape(one), np.nan), where=two > 0))


def _total(values: Numbers, weights: Numbers) -> Numbers:
    return added(values * weights)


def _mean(values: Numbers, weights: Numbers) -> Numbers:
    return _quotient(_total(values, weights), added(weights))


def _moment(order: int, values: Numbers, weights: Numbers) -> Numbers:
    return _mean((values - _mean(values, weights)) ** order, weights)


def _variance(values: Numbers, weights: Numbers) -> Numbers:
    return _moment(2, values, weights)


def _sample_variance(values: Numbers, weights: Numbers) -> Numbers:
    count = added(weights)
    squares = _total((values - _mean(values, weights)) ** 2, weights)
    return _quotient(squares, count - 1)


def _deviation(variance: Formula) -> Formula:
    return lambda values, weights: np.asarray(np.sqrt(variance(values, weights)))


def _skew(values: Numbers, weights: Numbers) -> Numbers:
    return _quotient(_moment(3, values, weights), _variance(values, weights) ** 1.5)


def _kurtosis(values: Numbers, weights: Numbers) -> Numbers:
    """In excess of the normal distribution's."""
    return _quotient(_moment(4, values, weights), _variance(values, weights) ** 2) - 3


def _product(values: Numbers, weights: Numbers) -> Numbers:
    with np.errstate(over="ignore"):  # beyond all doubles it is infinite
        return np.asarray(np.where(weights > 0, values, 1.0).prod(axis=0))


def _count(_: Numbers, weights: Numbers) -> Numbers:
    return np.asarray((weights > 0).sum(axis=0), dtype=np.float64)


def _any(values: Numbers, weights: Numbers) -> Numbers:
    return np.asarray(((values != 0) & (weights > 0)).any(axis=0), dtype=np.float64)


def _all(values: Numbers, weights: Numbers) -> Numbers:
    return np.asarray(((values != 0) | (weights <= 0)).all(axis=0), dtype=np.float64)


def _bits(combine: Any, idle: int) -> Formula:
    def reduce(values: Numbers, weights: Numbers) -> Numbers:
        if (values != np.trunc(values)).any():
            raise invalid("Reducer: Bitwise operands must be integer only.")
        used = np.where(weights > 0, values.astype(np.int64), np.int64(idle))
        return np.asarray(combine.reduce(used, axis=0), dtype=np.float64)

    return reduce


def _resultant(values: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """The mean of unit vectors in the angles' directions."""
    return _mean(np.sin(values), weights), _mean(np.cos(values), weights)


def _circular_mean(values: Numbers, weights: Numbers) -> Numbers:
    return np.asarray(np.arctan2(*_resultant(values, weights)))


def _circular_variance(values: Numbers, weights: Numbers) -> Numbers:
    return np.asarray(1 - np.hypot(*_resultant(values, weights)))


def _circular_deviation(values: Numbers, weights: Numbers) -> Numbers:
    length = np.minimum(np.hypot(*_resultant(values, weights)), 1.0)
    return np.asarray(np.sqrt(-2 * np.log(length, out=np.full(length.shape, np.nan), where=length > 0)))


def of_formula(formula: Formula) -> Compute:
    """A formula of one input as what a :class:`Statistic` computes."""
    return lambda values, weights: [formula(values[0], weights)]


@dataclass(frozen=True, slots=True)
class Sums(Statistic):
    """Sum, mean and count at pixels: layer by layer, since these need no stack of them."""

    finish: Formula = field(kw_only=True)

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """The results at every pixel."""
        shape = np.broadcast_shapes(*(layer.values.shape for layer in inputs[0]))
        total, weight = np.zeros(shape), np.zeros(shape)
        known = np.zeros(shape, np.bool_)
        for layer in inputs[0]:
            _add(layer, total, weight, known, weighted=weighted)
        return self.settled([self.finish(total, weight)], known)


@dataclass(frozen=True, slots=True)
class Count(Sums):
    """How many rows have a value, of whatever kind."""

    takes_arrays: ClassVar[bool] = True

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """How many layers show the pixel, whatever they show."""
        masks = [Raster(layer.mask, layer.mask) for layer in inputs[0]]
        return Sums.on_layers(self, [masks], weighted=weighted)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """A whole number."""
        return [int(columns[0].rows(weighted=weighted).sum())]


def _add(layer: Raster, total: Numbers, weight: Numbers, known: NDArray[np.bool_], *, weighted: bool) -> None:
    valid = layer.mask > 0
    if valid.all() and (not weighted or (layer.mask == 1).all()):
        total += layer.values
        weight += 1.0
        known |= True
        return
    heavy = layer.mask.astype(np.float64) if weighted else valid.astype(np.float64)
    total += layer.values * heavy
    weight += heavy
    known |= valid


def _sums(name: str, formula: Formula, finish: Formula, *, output: Output) -> Sums:
    return Sums(f"Reducer.{name}", (output,), 1, True, compute=of_formula(formula), finish=finish)


def _statistic(name: str, output: Output, formula: Formula, *, weighted: bool = True) -> Statistic:
    return Statistic(f"Reducer.{name}", (output,), 1, weighted, compute=of_formula(formula))


@dataclass(frozen=True, slots=True)
class Whole(Statistic):
    """Bits: whole numbers only, which pixels' types tell before any pixel is there."""

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:
        """The results at every pixel."""
        if any(layer.values.dtype.kind == "f" for layer in inputs[0]):
            raise invalid(f"{self.label}: Bitwise operands must be integer only.")
        return Statistic.on_layers(self, inputs, weighted=weighted)


STATISTICS: dict[str, Statistic] = {
    "sum": _sums("sum", _total, lambda total, _: total, output=Output("sum", "sum", empty=0.0)),
    "mean": _sums("mean", _mean, _quotient, output=Output("mean", "between")),
    "count": Count(
        "Reducer.count",
        (Output("count", "count", empty=0.0),),
        1,
        False,
        compute=of_formula(_count),
        finish=lambda _, weight: weight,
    ),
    "variance": _statistic("variance", Output("variance"), _variance),
    "stdDev": _statistic("stdDev", Output("stdDev"), _deviation(_variance)),
    "sampleVariance": _statistic("sampleVariance", Output("variance"), _sample_variance),
    "sampleStdDev": _statistic("sampleStdDev", Output("stdDev"), _deviation(_sample_variance)),
    "skew": _statistic("skew", Output("skew"), _skew),
    "kurtosis": _statistic("kurtosis", Output("kurtosis"), _kurtosis),
    "product": _statistic("product", Output("product"), _product, weighted=False),
    "anyNonZero": _statistic("anyNonZero", Output("any", "bit"), _any, weighted=False),
    "allNonZero": _statistic("allNonZero", Output("all", "bit"), _all, weighted=False),
    "circularMean": _statistic("circularMean", Output("circularMean"), _circular_mean),
    "circularVariance": _statistic("circularVariance", Output("circularVariance"), _circular_variance),
    "circularStddev": _statistic("circularStddev", Output("circularStdDev"), _circular_deviation),
    "bitwiseAnd": Whole(
        "Reducer.bitwiseAnd", (Output("bitwiseAnd", "bits"),), 1, False, compute=of_formula(_bits(np.bitwise_and, -1))
    ),
    "bitwiseOr": Whole(
        "Reducer.bitwiseOr", (Output("bitwiseOr", "bits"),), 1, False, compute=of_formula(_bits(np.bitwise_or, 0))
    ),
}
"""Kernels of the reducers without arguments, by the name after ``Reducer.``"""
