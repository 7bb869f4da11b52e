"""Two inputs against one another: lines and correlations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.values.reducers.kernel import Output, Statistic, added

Numbers = NDArray[np.float64]


class _Sums(NamedTuple):
    weight: Numbers
    x: Numbers
    y: Numbers
    xx: Numbers
    xy: Numbers
    yy: Numbers


def _sums(values: list[Numbers], weights: Numbers) -> _Sums:
    """Weighted means of both inputs and their centred products."""
    x, y = values
    weight = added(weights)
    heavy = np.where(weight > 0, weight, 1.0)
    mean_x, mean_y = added(x * weights) / heavy, added(y * weights) / heavy
    off_x, off_y = x - mean_x, y - mean_y
    products = [added(one * two * weights) for one, two in ((off_x, off_x), (off_x, off_y), (off_y, off_y))]
    return _Sums(weight, mean_x, mean_y, *products)


def _ratio(one: Numbers, two: Numbers) -> Numbers:
    return np.asarray(np.divide(one, two, out=np.full(np.shape(one), np.nan), where=two > 0))


def _line(values: list[Numbers], weights: Numbers) -> list[Numbers]:
    """Slope and offset of least squares; of no line where x does not vary."""
    sums = _sums(values, weights)
    slope = _ratio(sums.xy, sums.xx)
    return [slope, sums.y - slope * sums.x]


LINEAR_FIT = Statistic("Reducer.linearFit", (Output("scale"), Output("offset")), 2, True, compute=_line)
