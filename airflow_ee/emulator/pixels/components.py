"""Pixels of equal value that hang together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline


def components(values: NDArray[Any], valid: NDArray[np.bool_], *, eight: bool) -> NDArray[np.int64]:
    """For all pixels that hang together the index of the first of them; the least index spreads, and labels follow labels."""
    labels = np.arange(values.size, dtype=np.int64).reshape(values.shape)
    links = [_links(values, valid, row, col) for row, col in _STEPS[: 4 if eight else 2]]
    while True:
        deadline.check()
        before = labels.copy()
        for one, two, joined in links:
            least = np.minimum(labels[one], labels[two])
            labels[one] = np.where(joined, least, labels[one])
            labels[two] = np.where(joined, np.minimum(least, labels[two]), labels[two])
        labels = labels.ravel()[labels]
        if np.array_equal(before, labels):
            return labels


_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _links(values: NDArray[Any], valid: NDArray[np.bool_], row: int, col: int) -> Any:
    """Two views of neighbouring pixels, and where they belong together."""
    height, width = values.shape
    one = (slice(0, height - row), slice(max(0, -col), width - max(0, col)))
    two = (slice(row, height), slice(max(0, col), width + min(0, col)))
    return one, two, (values[one] == values[two]) & valid[one] & valid[two]


def numbered(labels: NDArray[np.int64], valid: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Components counted from 1 in the order of their first pixels, 0 where nothing is valid; and how many there are."""
    found, places = np.unique(labels[valid], return_inverse=True)
    numbers = np.zeros(labels.shape, np.int32)
    numbers[valid] = places + 1
    return numbers, len(found)
