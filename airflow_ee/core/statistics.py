"""Numbers of a region from pixels and their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "BASE_STATISTICS",
    "STATISTICS",
    "BandStatistics",
    "band_statistics",
    "extra_columns",
    "percentile_columns",
    "weighted_median",
    "weighted_quantile",
]

BASE_STATISTICS = ("mean", "std", "min", "max")
"""Those that every table has columns for."""
STATISTICS = (*BASE_STATISTICS, "median", "sum", "count")
"""All that may be asked for by name; percentiles are columns ``p10`` and so on."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStatistics:
    """Statistics of one band over a region, in physical units; NaN where no pixel is valid."""

    mean: float
    std: float
    """Of the population, weighted as the mean."""
    min: float
    max: float
    weight_sum: float
    """Sum of the weights of valid pixels: pixels' worth of coverage, or square metres."""
    valid_count: int
    """Valid pixels with a weight above 0."""
    pixel_count: int
    """Pixels with a weight above 0."""
    valid_fraction: float
    """Weight of valid pixels over the weight of all."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """What was asked for besides, by column: ``median``, ``sum`` (of values times weights), ``count`` (of valid pixels),
    ``p10``."""


def band_statistics(
    values: Array,
    valid: npt.NDArray[np.bool_],
    weights: Array,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    extra: Sequence[str] = (),
) -> BandStatistics:
    """Statistics of ``scale * value + offset`` over valid pixels with a weight; arrays of one shape, whichever.

    >>> ones = np.ones((1, 4))
    >>> band_statistics(np.array([[0, 2, 4, 9]]), np.array([[1, 1, 1, 0]], bool), ones).mean
    2.0
    """
    counted = weights > 0
    used = counted & valid
    pixel_count, valid_count = int(counted.sum()), int(used.sum())
    weight = weights[used]
    weight_sum = float(weight.sum())
    total = float(weights[counted].sum())
    if valid_count == 0:
        nothing = math.nan
        return BandStatistics(
            mean=nothing, std=nothing, min=nothing, max=nothing, weight_sum=0.0, valid_count=0,
            pixel_count=pixel_count, valid_fraction=0.0, extra=dict.fromkeys(extra, nothing),
        )  # fmt: skip
    physical = values[used].astype(np.float64) * scale + offset
    mean = float((physical * weight).sum() / weight_sum)
    return BandStatistics(
        mean=mean,
        std=math.sqrt(float((weight * (physical - mean) ** 2).sum() / weight_sum)),
        min=float(physical.min()),
        max=float(physical.max()),
        weight_sum=weight_sum,
        valid_count=valid_count,
        pixel_count=pixel_count,
        valid_fraction=weight_sum / total,
        extra=_extra(physical, weight, extra) if extra else {},
    )


def extra_columns(statistics: Sequence[str], percentiles: Sequence[float]) -> tuple[str, ...]:
    """Columns besides those that every table has, in the order of tables.

    >>> extra_columns(["mean", "sum", "median"], [90, 2.5])
    ('median', 'sum', 'p2.5', 'p90')
    """
    unknown = [name for name in statistics if name not in STATISTICS]
    if unknown:
        raise ValueError(f"statistics must be of {', '.join(STATISTICS)}, got {', '.join(map(str, unknown))}")
    named = tuple(name for name in STATISTICS if name in statistics and name not in BASE_STATISTICS)
    return named + percentile_columns(percentiles)


def percentile_columns(percentiles: Sequence[float]) -> tuple[str, ...]:
    """Names of columns of percentiles, rising."""
    outside = [number for number in percentiles if not 0 <= number <= 100]
    if outside:
        raise ValueError(f"percentiles must be in 0..100, got {outside[0]}")
    return tuple(f"p{number:g}" for number in sorted(set(percentiles)))


def weighted_median(values: Array, weights: Array) -> float:
    """The smallest value at which half of the weight is reached.

    >>> weighted_median(np.array([1.0, 5.0, 9.0]), np.array([1.0, 1.0, 3.0]))
    9.0
    """
    return weighted_quantile(values, weights, (0.5,))[0]


def weighted_quantile(values: Array, weights: Array, fractions: Sequence[float]) -> list[float]:
    """The smallest values at which these fractions of the weight are reached: numpy's ``inverted_cdf``.

    A value that was observed is given back, never one in between.

    >>> weighted_quantile(np.array([4, 1, 3, 2]), np.ones(4), [0.25, 0.9])
    [1.0, 4.0]
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    places = np.searchsorted(reached, np.asarray(fractions) * reached[-1])
    return [float(value) for value in values[order][np.minimum(places, len(order) - 1)]]


def _extra(physical: Array, weight: Array, names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {"sum": float((physical * weight).sum()), "count": float(physical.size)}
    fractions = {name: 0.5 if name == "median" else float(name[1:]) / 100 for name in names if name not in found}
    found.update(zip(fractions, weighted_quantile(physical, weight, list(fractions.values())), strict=True))
    return {name: found[name] for name in names}
