"""Histograms whose buckets are as wide as a power of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, frexp, inf, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.reducers.column import Column
from airflow_ee.emulator.values.reducers.kernel import Kernel

DEFAULT_BUCKETS = 256

MAX_BUCKETS = 2**20

_LEAST_EXPONENT = -60
"""The narrowest buckets are so wide, as a power of two: values that are all equal need an end somewhere."""

_DOUBLE_BITS = 52


@dataclass(frozen=True, slots=True)
class Buckets:
    """Equal steps from ``start`` on."""

    start: float
    width: float
    count: int

    @classmethod
    def over(cls, low: float, high: float, *, most: int, least_width: float) -> Buckets:
        """The narrowest power of two with which so many buckets reach from low to high."""
        # Halves, since the ends of all doubles lie further apart than any double.
        reach = max(high / 2 - low / 2, 2.0**_LEAST_EXPONENT)
        exponent = max(ceil(log2(least_width)), floor(log2(reach / most)) + 1)
        exponent = max(exponent, frexp(max(abs(low), abs(high)))[1] - _DOUBLE_BITS)
        while floor(high / 2.0**exponent) - floor(low / 2.0**exponent) >= most:
            exponent += 1
        width = 2.0**exponent
        first, last = floor(low / width), floor(high / width)
        return cls(first * width, width, last - first + 1)

    def places(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bucket of each value."""
        return (np.floor(values / self.width) - self.start / self.width).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Histogram(Kernel):
    """Weights by buckets, as a dictionary: where the buckets begin, how wide they are, their means and their weights."""

    buckets: int = DEFAULT_BUCKETS
    least_width: float = 2.0**_LEAST_EXPONENT

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """One dictionary, or null where there is no row."""
        column = columns[0].known(weighted=weighted)
        if not len(column):
            return [None]
        values, weights = column.numbers(self.label), column.weight(weighted=weighted)
        whole = bool((values == np.trunc(values)).all())
        width = max(self.least_width, 1.0) if whole else self.least_width
        steps = Buckets.over(float(values.min()), float(values.max()), most=self.buckets, least_width=width)
        places = steps.places(values)
        total = np.bincount(places, weights, minlength=steps.count)
        sums = np.bincount(places, weights * values, minlength=steps.count)
        middles = (steps.start / steps.width + np.arange(steps.count) + 0.5) * steps.width
        means = np.divide(sums, total, out=middles, where=total > 0)
        shown = {"bucketMeans": means.tolist(), "bucketMin": steps.start, "bucketWidth": steps.width}
        return [{**shown, "histogram": total.tolist()}]


def bucket_count(label: str, asked: int | None) -> int:
    """The number asked for, rounded up to a power of two."""
    if asked is None:
        return DEFAULT_BUCKETS
    if not 1 <= asked <= MAX_BUCKETS:
        raise invalid(f"{label}: maxBuckets must be from 1 to {MAX_BUCKETS}, got {asked}.")
    return int(2 ** ceil(log2(asked)))


def least_width(label: str, asked: float | None) -> float:
    """The width asked for, or practically none."""
    if asked is None:
        return 2.0**_LEAST_EXPONENT
    if not 0 < asked < inf:
        raise invalid(f"{label}: minBucketWidth must be positive, got {asked:g}.")
    return asked
