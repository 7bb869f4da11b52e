"""Several images of one place made into one, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["MOSAICS", "UNKNOWN_DAY", "Layer", "Mosaic", "MosaicRule"]

MosaicRule = Literal["first", "last", "mean", "median", "min", "max"]
MOSAICS: tuple[MosaicRule, ...] = ("first", "last", "mean", "median", "min", "max")
UNKNOWN_DAY = np.iinfo(np.int32).min
MEDIAN_BLOCK = 1 << 20
"""Values of all images that are sorted at once, so that the memory for it is bounded."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One band of one image: values, where they are valid, and the day on which each was observed."""

    values: Array
    valid: npt.NDArray[np.bool_]
    days: Array
    """Days since 1970-01-01, int32; ``UNKNOWN_DAY`` where nobody knows."""


class Mosaic:
    """One layer from those of several images, which come in order of time.

    Parameters
    ----------
    rule
        ``first``, ``last``: the first or last valid value; ``min``, ``max``: the least or greatest, the first of equals:
        each with the day of its own image. ``mean``, ``median``: of all valid values and of their days, in float64; a
        median keeps all images in memory until the end.

    Examples
    --------
    >>> day = np.zeros(3, np.int32)
    >>> mosaic = Mosaic("first")
    >>> mosaic.add(Layer(np.array([1, 2, 3]), np.array([True, False, False]), day))
    >>> mosaic.add(Layer(np.array([5, 6, 7]), np.array([True, True, False]), day + 4))
    >>> made = mosaic.result()
    >>> made.values[made.valid].tolist(), made.days[made.valid].tolist()
    ([1, 6], [0, 4])
    """

    def __init__(self, rule: MosaicRule) -> None:
        if rule not in MOSAICS:
            raise ValueError(f"mosaic must be one of {', '.join(MOSAICS)}, got {rule!r}")
        self._rule: MosaicRule = rule
        self._kept: list[Layer] = []
        self._sums: _Sums | None = None

    def add(self, layer: Layer) -> None:
        """Take in the next image."""
        if self._rule == "mean":
            self._sums = self._sums or _Sums(layer.values.shape)
            self._sums.add(layer)
        elif self._rule == "median":
            self._kept.append(layer)
        elif not self._kept:
            self._kept.append(Layer(layer.values.copy(), layer.valid.copy(), layer.days.copy()))
        else:
            _choose(self._rule, self._kept[0], layer)

    def result(self) -> Layer:
        """The mosaic of all images so far.

        Raises
        ------
        ValueError
            When there was none.
        """
        if self._sums is not None:
            return self._sums.mean()
        if not self._kept:
            raise ValueError("a mosaic needs at least one image")
        return _median(self._kept) if self._rule == "median" else self._kept[0]


class _Sums:
    """Sums of values and days of each pixel."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._values, self._count = np.zeros(shape), np.zeros(shape, np.int32)
        self._days, self._dated = np.zeros(shape), np.zeros(shape, np.int32)

    def add(self, layer: Layer) -> None:
        dated = layer.valid & (layer.days != UNKNOWN_DAY)
        self._values[layer.valid] += layer.values[layer.valid]
        self._count += layer.valid
        self._days[dated] += layer.days[dated]
        self._dated += dated

    def mean(self) -> Layer:
        valid, known = self._count > 0, self._dated > 0
        values = np.divide(self._values, self._count, out=np.zeros_like(self._values), where=valid)
        days = np.full(values.shape, UNKNOWN_DAY, np.int32)
        days[known] = np.floor(self._days[known] / self._dated[known])
        return Layer(values, valid, days)


def _choose(rule: MosaicRule, kept: Layer, layer: Layer) -> None:
    """Take the pixels of ``layer`` that are better than those kept."""
    if rule == "last":
        better = layer.valid.copy()
    else:
        better = layer.valid & ~kept.valid
        if rule == "min":
            better |= layer.valid & (layer.values < kept.values)
        elif rule == "max":
            better |= layer.valid & (layer.values > kept.values)
    kept.values[better], kept.days[better] = layer.values[better], layer.days[better]
    kept.valid[better] = True


def _median(layers: Sequence[Layer]) -> Layer:
    shape = layers[0].values.shape
    values, days = np.zeros(shape), np.full(shape, UNKNOWN_DAY, np.int32)
    valid = np.any([layer.valid for layer in layers], axis=0)
    flat_values, flat_days = values.reshape(-1), days.reshape(-1)
    seen = [(layer.values, layer.valid) for layer in layers]
    dated = [(layer.days, layer.valid & (layer.days != UNKNOWN_DAY)) for layer in layers]
    step = max(MEDIAN_BLOCK // len(layers), 1)
    for start in range(0, flat_values.size, step):
        block = slice(start, start + step)
        flat_values[block] = _middle(seen, block, 0.0)
        flat_days[block] = np.floor(_middle(dated, block, float(UNKNOWN_DAY)))
    return Layer(values, valid, days)


def _middle(stack: Sequence[tuple[Array, Array]], block: slice, nothing: float) -> Array:
    """Median of the valid values of each pixel of a block; ``nothing`` where there is none."""
    values = np.stack([values.reshape(-1)[block] for values, _ in stack]).astype(np.float64)
    valid = np.stack([valid.reshape(-1)[block] for _, valid in stack])
    # Invalid values are sorted behind all valid ones.
    ordered = np.sort(np.where(valid, values, np.inf), axis=0)
    count = valid.sum(axis=0)
    at = np.arange(values.shape[1])
    low, high = ordered[np.maximum(count - 1, 0) // 2, at], ordered[np.minimum(count // 2, len(stack) - 1), at]
    return np.where(count > 0, (low + high) / 2, nothing)
