"""Numbers that look random and are the same every time: a hash of what they belong to, and of a seed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def of_places(rows: NDArray[np.int64], cols: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number from 0 to less than 1 for each place of a lattice, whichever window the place is seen through.

    >>> bool(of_places(np.array([3]), np.array([7]), 1)[0] == of_places(np.array([0, 3]), np.array([0, 7]), 1)[1])
    True
    """
    with np.errstate(over="ignore"):
        state = _mixed(np.full(rows.shape, seed % 2**64, dtype=np.uint64) + _STEP)
        state = _mixed(state + rows.astype(np.uint64) * _STEP)
        state = _mixed(state + cols.astype(np.uint64) * _STEP)
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finisher of splitmix64."""
    for shift, factor in _MIXERS:
        state = (state ^ (state >> shift)) * factor
    return state ^ (state >> np.uint64(31))


def of_keys(keys: list[Any], seed: int, stream: int = 0) -> float:
    """A number from 0 to less than 1 for an element that some values identify."""
    digest = hashlib.sha256(repr((seed, stream, keys)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
