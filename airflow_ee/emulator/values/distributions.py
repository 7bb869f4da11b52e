"""Chances of statistics that are at least as far off: what tests of significance answer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

_STEPS = 300
_TINY = 1e-300
_ENOUGH = 1e-15

_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])


def incomplete_beta(a: ArrayLike, b: ArrayLike, x: ArrayLike, rest: ArrayLike) -> Numbers:
    """The regularised incomplete beta function of x (Abramowitz and Stegun 26.5.8, by Lentz's method).

    ``rest`` is 1 - x, which near 1 the caller knows better than a difference tells.

    >>> float(incomplete_beta(2.0, 3.0, 0.5, 0.5).round(12))
    0.6875
    """
    one, two, at, left = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (a, b, x, rest)))
    # The fraction converges quickly on this side of the middle; the function mirrors itself on the other.
    mirrored = at > (one + 1) / (one + two + 2)
    first, second = np.where(mirrored, two, one), np.where(mirrored, one, two)
    place, beyond = np.where(mirrored, left, at), np.where(mirrored, at, left)
    inner = (place > 0) & (beyond > 0)
    safe = np.where(inner, place, 0.5)
    front = _log_gamma(first + second) - _log_gamma(first) - _log_gamma(second)
    front = np.exp(front + first * np.log(safe) + second * np.log(np.where(inner, beyond, 0.5))) / first
    value = np.where(inner, front * _fraction(first, second, safe), np.where(place > 0, 1.0, 0.0))
    return np.asarray(np.where(mirrored, 1 - value, value))


def _fraction(a: Numbers, b: Numbers, x: Numbers) -> Numbers:
    upper = np.ones_like(x)
    lower = 1 / _off_zero(1 - (a + b) * x / (a + 1))
    value = lower.copy()
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            lower = 1 / _off_zero(1 + term * lower)
            upper = _off_zero(1 + term / upper)
            change = upper * lower
            value = value * change
        if (np.abs(change - 1) < _ENOUGH).all():
            break
    return value


def _off_zero(values: Numbers) -> Numbers:
    return np.where(np.abs(values) < _TINY, _TINY, values)


def upper_f(ratio: Numbers, above: float, below: ArrayLike) -> Numbers:
    """The chance of a ratio of variances at least as great, with so many degrees of freedom (Fisher's F)."""
    free = np.asarray(below, np.float64)
    share = above * np.maximum(ratio, 0.0)
    return incomplete_beta(free / 2, above / 2, free / (free + share), _part(share, free))


def two_sided_t(statistic: Numbers, free: ArrayLike) -> Numbers:
    """The chance of a statistic at least as far from 0 (Student's t)."""
    count = np.asarray(free, np.float64)
    square = statistic**2
    return incomplete_beta(count / 2, 0.5, count / (count + square), _part(square, count))


def _part(one: Numbers, two: Numbers) -> Numbers:
    """One of the sum of both; all of it where it is endless."""
    return np.asarray(np.where(np.isinf(one), 1.0, np.where(np.isinf(one), 0.0, one) / (two + one)))
