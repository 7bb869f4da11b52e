"""Numbers that look random and are the same every time: bits stirred by multiplication and shifts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)


def mixed(bits: Bits) -> Bits:
    """Each number stirred on its own (the finisher of SplitMix64): neighbours come out unrelated."""
    with np.errstate(over="ignore"):
        bits = bits + _STEP
        bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
        bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return np.asarray(bits ^ (bits >> np.uint64(31)), dtype=np.uint64)


def field(rows: NDArray[np.int64], cols: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Uniform numbers from 0 to below 1 for lattice places."""
    base = mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
    stirred = mixed(mixed(rows.astype(np.uint64) ^ base) ^ cols.astype(np.uint64))
    return np.asarray((stirred >> np.uint64(11)).astype(np.float64) * 2.0**-53)
