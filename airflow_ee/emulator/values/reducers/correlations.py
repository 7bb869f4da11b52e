"""Two inputs against one another: correlations, of values and of ranks, and the slope of Sen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import check_cells
from airflow_ee.emulator.values.distributions import two_sided_t
from airflow_ee.emulator.values.reducers.kernel import Output, Statistic, added

Numbers = NDArray[np.float64]

MAX_ROWS = 20_000
"""Rows whose pairs are compared with one another."""


def _ratio(one: Numbers, two: Numbers) -> Numbers:
    return np.asarray(np.divide(one, two, out=np.full(np.shape(one), np.nan), where=two > 0))


def _product_moment(values: list[Numbers], valid: Numbers) -> Numbers:
    """Pearson's coefficient."""
    count = np.maximum(added(valid), 1)
    off_x, off_y = (np.where(valid > 0, each - added(each * valid) / count, 0.0) for each in values)
    spread = np.sqrt(added(off_x**2) * added(off_y**2))
    return np.clip(_ratio(added(off_x * off_y), spread), -1, 1)


def _pearson(values: list[Numbers], weights: Numbers) -> list[Numbers]:
    """The coefficient, and the chance of one as far from 0 for unrelated normal numbers (Student's t, n - 2)."""
    valid = (weights > 0).astype(np.float64)
    found = _product_moment(values, valid)
    free = added(valid) - 2
    with np.errstate(all="ignore"):
        statistic = found * np.sqrt(np.maximum(free, 0) / (1 - found**2))
    possible = (free > 0) & ~np.isnan(found)
    finite = np.where(possible & np.isfinite(statistic), statistic, 0.0)
    chance = np.where(np.isinf(statistic), 0.0, two_sided_t(finite, np.maximum(free, 1)))
    return [found, np.where(possible, chance, np.nan)]


def _spearman(values: list[Numbers], weights: Numbers) -> list[Numbers]:
    """Pearson's coefficient of ranks; equal values share the mean of theirs."""
    valid = weights > 0
    return [_product_moment([_ranks(each, valid) for each in values], valid.astype(np.float64))]


def _ranks(values: Numbers, valid: NDArray[np.bool_]) -> Numbers:
    """Ranks from 1 on among the valid rows."""
    _check_pairs(values)
    ranks = np.zeros(values.shape)
    for row, value in enumerate(values):
        deadline.check()
        below = added(((values < value) & valid).astype(np.float64))
        same = added(((values == value) & valid).astype(np.float64))
        ranks[row] = below + (same + 1) / 2
    return ranks


def _check_pairs(values: Numbers) -> None:
    if len(values) > MAX_ROWS:
        raise invalid(f"Reducer: {len(values)} rows are too many to be compared with one another.")


def _kendall(values: list[Numbers], weights: Numbers) -> list[Numbers]:
    """Tau-b: concordant less discordant pairs, over those that are not tied in either input.

    The second result is the p-value, which users report to be missing.
    """
    valid = weights > 0
    y = values[-1]
    x = values[0] if len(values) > 1 else np.cumsum(valid, axis=0).astype(np.float64)
    _check_pairs(y)
    pairs, untied_x, untied_y = (np.zeros(y.shape[1:]) for _ in range(3))
    for row in range(1, len(y)):
        deadline.check()
        both = valid[:row] & valid[row]
        rising = [np.where(both, np.sign(each[row] - each[:row]), 0.0) for each in (x, y)]
        pairs += added(rising[0] * rising[1])
        untied_x += added(np.abs(rising[0]))
        untied_y += added(np.abs(rising[1]))
    return [_ratio(pairs, np.sqrt(untied_x * untied_y)), np.full(pairs.shape, np.nan)]


def _sen(values: list[Numbers], weights: Numbers) -> list[Numbers]:
    """The median of the slopes between all pairs of rows, and of what is left of y then (Theil 1950, Sen 1968)."""
    x, y = values
    valid = weights > 0
    rows = len(y)
    _check_pairs(y)
    check_cells(rows * (rows - 1) // 2 * y[0].size if rows else 0)
    slopes = []
    for row in range(1, rows):
        deadline.check()
        run = x[row] - x[:row]
        good = valid[:row] & valid[row] & (run != 0)
        slopes.append(np.divide(y[row] - y[:row], run, out=np.full(run.shape, np.nan), where=good))
    slope = _medians(np.concatenate(slopes) if slopes else np.full((1, *y.shape[1:]), np.nan))
    return [slope, _medians(np.where(valid, y - slope * x, np.nan))]


def _medians(values: Numbers) -> Numbers:
    """Medians of what is a number; not a number where nothing is."""
    ordered = np.sort(values, axis=0)  # what is not a number comes last
    count = (~np.isnan(values)).sum(axis=0)[np.newaxis]
    low, high = np.maximum((count - 1) // 2, 0), np.maximum(count // 2, 0)
    ends = [np.take_along_axis(ordered, np.minimum(each, len(values) - 1), 0)[0] for each in (low, high)]
    return np.asarray(np.where(count[0] > 0, (ends[0] + ends[1]) / 2, np.nan))


def kendalls_correlation(inputs: int) -> Statistic:
    """Of two inputs, or of one and the order of the rows."""
    label = "Reducer.kendallsCorrelation"
    if inputs not in (1, 2):
        raise invalid(f"{label}: numInputs must be 1 or 2, got {inputs}.")
    return Statistic(label, (Output("tau"), Output("p-value")), inputs, False, compute=_kendall)


CORRELATIONS: dict[str, Statistic] = {
    "pearsonsCorrelation": Statistic(
        "Reducer.pearsonsCorrelation", (Output("correlation"), Output("p-value")), 2, False, compute=_pearson
    ),
    "spearmansCorrelation": Statistic(
        "Reducer.spearmansCorrelation", (Output("correlation"),), 2, False, compute=_spearman
    ),
    "sensSlope": Statistic("Reducer.sensSlope", (Output("slope"), Output("offset")), 2, False, compute=_sen),
}
"""Kernels by the name after ``Reducer.``"""
