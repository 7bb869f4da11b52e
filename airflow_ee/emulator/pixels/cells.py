"""What a node answers with: pixels that are numbers, or arrays of numbers.

The axes of arrays come before rows and columns, so that masks and plain bands meet them by numpy's own rules. Where pixels have
arrays of different lengths all lie in one block as long as the longest, with zeros behind the shorter ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.types import PixelType

Values = NDArray[Any]
Mask = NDArray[np.float32]
Lengths = NDArray[np.int64]
Shape = tuple[int, ...]

MAX_CELLS = 2**24
"""Numbers that one band of arrays may have at once, so that no expression takes memory without bound."""


class Raster(NamedTuple):
    """Pixel values and how valid each is, from 0 (masked) to 1. Both broadcast to the grid's shape."""

    values: Values
    """Rows and columns come last; before them, if pixels are arrays, the arrays' axes."""
    mask: Mask
    lengths: Lengths | None = None
    """Of the arrays that are shorter than ``values``: an axis for the arrays' axes, then rows and columns."""

    @property
    def axes(self) -> Shape:
        """The lengths of the longest arrays; nothing for plain numbers."""
        return self.values.shape[:-2]


class TooManyCells(EmulatorError):
    """More numbers than may be held at once: fewer pixels may still do."""


def check_cells(count: int) -> None:
    """Refuse what is too large before it is made.

    >>> check_cells(2**40)
    Traceback (most recent call last):
        ...
    airflow_ee.emulator.pixels.cells.TooManyCells: User memory limit exceeded.
    """
    if count > MAX_CELLS:
        raise TooManyCells("INVALID_ARGUMENT", "User memory limit exceeded.")


def check_arrays(*values: Values) -> None:
    """Refuse what arrays would make together if there were one for each pixel, whether they are views or not."""
    if any(each.ndim > 2 for each in values):
        check_cells(prod(np.broadcast_shapes(*(each.shape for each in values))))


def spread(values: Values, shape: Shape) -> Values:
    """Values seen on every pixel of a grid."""
    return np.broadcast_to(values, (*values.shape[:-2], *shape))


def in_line(values: Values) -> Values:
    """The pixels along one last axis."""
    check_arrays(values)
    return values.reshape(*values.shape[:-2], prod(values.shape[-2:]))


def on_grid(values: Values, shape: Shape) -> Values:
    """Pixels along the last axis in rows and columns again."""
    return values.reshape(*values.shape[:-1], *shape)


def spread_raster(raster: Raster, shape: Shape) -> Raster:
    """A raster seen on every pixel of a grid."""
    lengths = None if raster.lengths is None else spread(raster.lengths, shape)
    return Raster(spread(raster.values, shape), spread(raster.mask, shape), lengths)


def pixel_shape(rasters: Sequence[Raster]) -> Shape:
    """The rows and columns that rasters have together; 1 where they know of none."""
    rows_and_columns = (each.shape[-2:] for raster in rasters for each in (raster.values, raster.mask))
    shape = np.broadcast_shapes(*rows_and_columns)
    return (1,) * (2 - len(shape)) + shape


def lengths_of(raster: Raster) -> Lengths:
    """The length of each axis at each pixel."""
    if raster.lengths is not None:
        return raster.lengths
    return np.asarray(raster.axes, dtype=np.int64).reshape(-1, 1, 1)


def is_filled(raster: Raster, axis: int) -> bool:
    """Whether the arrays of all valid pixels are as long as the block along an axis."""
    if raster.lengths is None:
        return True
    return bool(((raster.lengths[axis] == raster.axes[axis]) | (raster.mask == 0)).all())


def lengthened(values: Values, axes: Shape) -> Values:
    """Zeros added behind, until the axes are so long."""
    missing = [(0, wanted - own) for own, wanted in zip(values.shape, axes, strict=False)]
    if not any(after for _, after in missing):
        return values
    check_cells(prod(axes) * prod(values.shape[len(axes) :]))
    return np.pad(values, [*missing, *[(0, 0)] * (values.ndim - len(missing))])


def is_inside(axes: Shape, lengths: Lengths) -> NDArray[np.bool_]:
    """Which numbers of a block of arrays belong to the arrays, and are no zeros behind them."""
    inside = np.ones((*axes, *lengths.shape[1:]), dtype=np.bool_)
    for axis, length in enumerate(axes):
        places = np.arange(length).reshape(-1, *[1] * (len(axes) - axis - 1), 1, 1)
        inside &= places < lengths[axis]
    return inside


def cleared(values: Values, lengths: Lengths | None) -> Values:
    """Zeros behind the arrays, whatever was computed there."""
    if lengths is None:
        return values
    return np.where(is_inside(values.shape[:-2], lengths), values, values.dtype.type(0))


def typed(raster: Raster, type_: PixelType) -> Raster:
    """The same pixels in a type's array type."""
    check_arrays(raster.values)
    return raster._replace(values=as_dtype(raster.values, type_.dtype))


def as_dtype(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values of a type; of a constant that is seen as a whole block only the one number is changed."""
    if values.dtype == dtype or not _is_constant(values):
        return values.astype(dtype, copy=False)
    return np.broadcast_to(values[(slice(0, 1),) * values.ndim].astype(dtype), values.shape)


def lesser(one: Mask, two: Mask) -> Mask:
    """The lesser of two masks of one shape; beside a constant that is valid everywhere the other one as it is."""
    for mask, other in ((one, two), (two, one)):
        if mask.shape == other.shape and _is_constant(other) and other.item(0) == 1:
            return mask
    return np.minimum(one, two)


def _is_constant(values: Values) -> bool:
    """Whether one number is seen as a whole block."""
    return values.size > 0 and not any(values.strides)


def chosen(condition: NDArray[np.bool_], one: Raster, two: Raster) -> Raster:
    """One raster's pixels where the condition holds, elsewhere the other's."""
    mask = np.where(condition, one.mask, two.mask)
    check_arrays(one.values, condition)
    if one.axes == two.axes and one.lengths is None and two.lengths is None:
        return Raster(np.where(condition, one.values, two.values), mask)
    axes = tuple(map(max, one.axes, two.axes))
    check_cells(prod(axes) * condition.size)
    values = np.where(condition, lengthened(one.values, axes), lengthened(two.values, axes))
    return Raster(values, mask, np.where(condition, lengths_of(one), lengths_of(two)))


class Canvas:
    """A raster that is put together from parts; it gets longer arrays when a part has such."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._values: Values | None = None
        self._lengths: Lengths | None = None
        self._mask = np.zeros(shape, np.float32)

    def put(self, row: int, col: int, shape: Shape, part: Raster) -> None:
        """Pixels from this row and column on."""
        at = (..., slice(row, row + shape[0]), slice(col, col + shape[1]))
        values = self._room(part)
        values[(*(slice(length) for length in part.axes), *at[1:])] = part.values
        self._mask[at] = part.mask
        if self._lengths is not None:
            self._lengths[at] = lengths_of(part)

    def _room(self, part: Raster) -> Values:
        """The values, with room for arrays as long as the part's."""
        before = self._values
        if before is None:
            check_cells(prod(part.axes) * prod(self._shape) if part.axes else 0)
            before = np.zeros((*part.axes, *self._shape), part.values.dtype)
        axes = tuple(map(max, before.shape[:-2], part.axes))
        if self._lengths is None and (part.lengths is not None or not part.axes == axes == before.shape[:-2]):
            own = np.asarray(before.shape[:-2], dtype=np.int64).reshape(-1, 1, 1)
            self._lengths = np.broadcast_to(own, (len(axes), *self._shape)).copy()
        self._values = lengthened(before, axes)
        return self._values

    def finished(self) -> Raster:
        """All that was put there."""
        values = np.zeros(self._shape) if self._values is None else self._values
        return Raster(values, self._mask, self._lengths)
