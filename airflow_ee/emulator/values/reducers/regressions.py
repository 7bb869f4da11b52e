"""Least squares of some inputs on others: coefficients as arrays, at pixels and over rows alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import check_cells, in_line, on_grid, pixel_shape, spread
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.batch_matrices import least_squares, total
from airflow_ee.emulator.values.distributions import upper_f
from airflow_ee.emulator.values.reducers.column import Column, complete
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels, check_width

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

TALWAR = 2.795
"""The outlier margin of Talwar's weights in standard deviations that keeps 95 % efficiency for normal errors (Holland and Welsch 1977)."""

NORMAL_DEVIATION = 0.6745
"""The median of the absolute values of standard normal numbers."""

MAX_ROUNDS = 50


class Rows(NamedTuple):
    """Observations: rows, then columns, then pixels. What is not valid is zero."""

    x: Numbers
    y: Numbers
    valid: Flags
    """Rows, then pixels."""

    @property
    def depth(self) -> Numbers:
        """How many rows each pixel has."""
        return np.asarray(self.valid.sum(axis=0), dtype=np.float64)


class Fit(NamedTuple):
    """Results at pixels, each with its arrays' axes first, and where there are any."""

    results: list[Numbers]
    known: Flags


@dataclass(frozen=True, slots=True)
class Regression(Kernel):
    """Predictors first, then responses; a row with a null in any of them does not count."""

    predictors: int = 1

    def fit(self, rows: Rows) -> Fit:
        """The results of many pixels."""
        return _plain(rows)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """Arrays, or nulls where the rows do not determine the coefficients."""
        known = complete(columns, weighted=weighted)
        table = np.column_stack([column.numbers(self.label) for column in known])[..., np.newaxis]
        valid = np.ones((len(table), 1), dtype=np.bool_)
        fit = self.fit(Rows(table[:, : self.predictors], table[:, self.predictors :], valid))
        return [Array(np.asarray(each[..., 0], order="C")) if fit.known[0] else None for each in fit.results]

    def on_layers(self, inputs: Sequence[Layers], *, weighted: bool) -> list[Pixels]:  # noqa: ARG002 -- 0 or not
        """The same at every pixel."""
        shape = pixel_shape([layer for layers in inputs for layer in layers])
        check_cells(len(inputs) * len(inputs[0]) * prod(shape))
        valid = np.logical_and.reduce([[spread(layer.mask, shape) > 0 for layer in layers] for layers in inputs])
        table = np.stack([[spread(layer.values, shape) for layer in layers] for layers in inputs], axis=1)
        cells = in_line(np.where(valid[:, np.newaxis], table, 0.0))
        fit = self.fit(Rows(cells[:, : self.predictors], cells[:, self.predictors :], in_line(valid)))
        known = fit.known.reshape(shape)
        return [Pixels(on_grid(each, shape), known) for each in fit.results]


def _plain(rows: Rows) -> Fit:
    """Coefficients and root mean squares of residuals; nulls unless there are more rows than predictors."""
    coefficients, regular = _solved(rows.x, rows.y)
    squares = total(_residuals(rows, coefficients) ** 2)
    known = regular & (rows.depth > rows.x.shape[1])
    return Fit([coefficients, np.sqrt(squares / np.maximum(rows.depth, 1))], known)


def _solved(x: Numbers, y: Numbers) -> tuple[Numbers, Flags]:
    missing = x.shape[1] - x.shape[0]
    if missing > 0:  # rows of zeros change nothing, and the columns depend on one another all the same
        x, y = (np.concatenate([each, np.zeros((missing, *each.shape[1:]))]) for each in (x, y))
    found = least_squares(x, y)
    return found.values, found.regular


def _residuals(rows: Rows, coefficients: Numbers) -> Numbers:
    """What is left of each response, zero for rows that do not count."""
    left = rows.y.copy()
    for place in range(rows.x.shape[1]):
        left -= rows.x[:, place, np.newaxis] * coefficients[place]
    return np.where(rows.valid[:, np.newaxis], left, 0.0)


@dataclass(frozen=True, slots=True)
class RobustRegression(Regression):
    """Least squares again and again without the rows that lie too far off (Talwar's weights: 1 or 0)."""

    margin: float | None = None

    def fit(self, rows: Rows) -> Fit:
        """The results once no row comes or goes any more."""
        used = rows.valid
        enough = rows.depth >= rows.x.shape[1]
        for _ in range(MAX_ROUNDS):
            kept = used[:, np.newaxis]
            coefficients, regular = _solved(np.where(kept, rows.x, 0.0), np.where(kept, rows.y, 0.0))
            off = np.sqrt((_residuals(rows, coefficients) ** 2).mean(axis=1))
            inliers = rows.valid & (off <= self._limit(off, rows.valid))
            # A pixel where too few rows are left keeps those that it had.
            inliers = np.where(regular & (inliers.sum(axis=0) >= rows.x.shape[1]), inliers, used)
            if (inliers == used).all():
                break
            used = inliers
        squares = total(np.where(used[:, np.newaxis], _residuals(rows, coefficients), 0.0) ** 2)
        return Fit([coefficients, np.sqrt(squares / np.maximum(used.sum(axis=0), 1))], regular & enough)

    def _limit(self, off: Numbers, valid: Flags) -> Numbers:
        """How far off a row may be: as was asked, or by the median of all."""
        if self.margin is not None:
            return np.full(off.shape[1:], self.margin)
        middle = np.zeros(off.shape[1:])
        known = valid.any(axis=0)
        middle[known] = np.nanmedian(np.where(valid, off, np.nan)[:, known], axis=0)
        return TALWAR * middle / NORMAL_DEVIATION + 1e-12


@dataclass(frozen=True, slots=True)
class RidgeRegression(Regression):
    """Least squares with a penalty on the squares of all coefficients but the constant one, which comes last."""

    penalty: float = field(kw_only=True, default=0.1)

    def fit(self, rows: Rows) -> Fit:
        """Coefficients, root mean squares of residuals, and the chance of so good a fit without any dependence (F test)."""
        width, count = rows.x.shape[1], np.maximum(rows.depth, 1)
        middles = [total(each) / count for each in (rows.x, rows.y)]
        x, y = _centred(rows, rows.x, middles[0]), _centred(rows, rows.y, middles[1])
        # The penalty as further rows: the square root of it times each coefficient should be zero.
        extra = np.repeat((np.sqrt(self.penalty) * np.eye(width))[..., np.newaxis], x.shape[-1], axis=-1)
        padding = np.zeros((width, *y.shape[1:]))
        slopes, regular = _solved(np.concatenate([x, extra]), np.concatenate([y, padding]))
        constant = middles[1] - total(middles[0][:, np.newaxis] * slopes)
        left = total(_residuals(rows._replace(x=x, y=y), slopes) ** 2)
        free = rows.depth - width - 1
        known = regular & (rows.depth >= width + 1)
        explained, spare = (total(y**2) - left) / width, left / np.maximum(free, 1)
        ratio = np.divide(explained, spare, out=np.full(left.shape, np.inf), where=spare > 0)
        chance = np.where(free > 0, upper_f(ratio, float(width), np.maximum(free, 1)), 1.0)
        return Fit([np.concatenate([slopes, constant[np.newaxis]]), np.sqrt(left / count), chance], known)


def _centred(rows: Rows, values: Numbers, middle: Numbers) -> Numbers:
    return np.where(rows.valid[:, np.newaxis], values - middle, 0.0)


def _check(label: str, predictors: int, responses: int) -> None:
    if predictors < 1 or responses < 1:
        raise invalid(f"{label}: numX and numY must be at least 1, got {predictors} and {responses}.")
    check_width(label, predictors + responses)


_COEFFICIENTS = Output("coefficients", dimensions=2)
_RESIDUALS = Output("residuals", dimensions=1)


def linear_regression(predictors: int, responses: int) -> Regression:
    """Predictors first, then responses."""
    label = "Reducer.linearRegression"
    _check(label, predictors, responses)
    return Regression(label, (_COEFFICIENTS, _RESIDUALS), predictors + responses, False, predictors)


def robust_regression(predictors: int, responses: int, margin: float | None) -> RobustRegression:
    """The same without outliers."""
    label = "Reducer.robustLinearRegression"
    _check(label, predictors, responses)
    if margin is not None and not margin > 0:
        raise invalid(f"{label}: beta must be positive, got {margin:g}.")
    outputs = (_COEFFICIENTS, _RESIDUALS)
    return RobustRegression(label, outputs, predictors + responses, False, predictors, margin)


def ridge_regression(predictors: int, responses: int, penalty: float) -> RidgeRegression:
    """The same with a penalty, and with a constant that nobody needs to ask for."""
    label = "Reducer.ridgeRegression"
    _check(label, predictors, responses)
    if not 0 <= penalty < np.inf:
        raise invalid(f"{label}: lambda must not be negative, got {penalty:g}.")
    outputs = (_COEFFICIENTS, _RESIDUALS, Output("pValue", dimensions=1))
    return RidgeRegression(label, outputs, predictors + responses, False, predictors, penalty=penalty)
