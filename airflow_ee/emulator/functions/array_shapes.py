"""What is done to the axes of arrays: of one array, or of a batch of them that all have the same shape.

A batch has its arrays along the last axis (:mod:`airflow_ee.emulator.pixels.batches`); one array is a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.pixels.batches import Batch, compacted
from airflow_ee.emulator.pixels.cells import Shape, check_cells
from airflow_ee.emulator.values.array import Array


def lone(compute: Callable[..., Values | Batch], *arrays: Values) -> Array:
    """What a function of batches makes of single arrays."""
    made = compute(*(each[..., np.newaxis] for each in arrays))
    values = made.values if isinstance(made, Batch) else made
    return Array(np.asarray(values[..., 0], order="C"))


def axis_of(function: str, axis: int, dimensions: int) -> int:
    """An axis that must be there."""
    if not 0 <= axis < dimensions:
        raise invalid(f"{function}: Axis {axis} is out of range for an array of {dimensions} dimensions.")
    return axis


def check_join(function: str, dimensions: Sequence[int], axis: int) -> int:
    """The number of axes of arrays one after the other: along an axis that they do not have, they get one of length 1."""
    if any(each != dimensions[0] for each in dimensions) or not 0 <= axis <= dimensions[0]:
        raise invalid(
            f"{function}: Arrays must have the same dimensions, and axis {axis} must be one of them or the next."
        )
    return max(dimensions[0], axis + 1)


def joined(function: str, axis: int, batches: Sequence[Values]) -> Values:
    """Arrays one after the other."""
    parts = [each[..., np.newaxis, :] if axis == each.ndim - 1 else each for each in batches]
    shapes = {(*each.shape[:axis], *each.shape[axis + 1 : -1]) for each in parts}
    if len(shapes) > 1:
        raise invalid(f"{function}: Arrays must have the same lengths on all axes but {axis}.")
    check_cells(sum(each.size for each in parts))
    return np.concatenate(parts, axis=axis)


def sliced(axis: int, step: int, batch: Values, start: int | None, end: int | None) -> Values:
    """A part along an axis."""
    along: list[slice] = [slice(None)] * batch.ndim
    along[axis] = slice(start, end, step)
    return batch[tuple(along)]


def check_step(function: str, step: int) -> None:
    """Slices go forward."""
    if step < 1:
        raise invalid(f"{function}: Step must be positive, got {step}.")


def repeated(function: str, axis: int, batch: Values, copies: int) -> Values:
    """Arrays after themselves, again and again."""
    if copies < 1:
        raise invalid(f"{function}: {copies} copies are not emulated.")
    check_cells(batch.size * copies)
    whole = batch[..., np.newaxis, :] if axis == batch.ndim - 1 else batch
    return np.concatenate([whole] * copies, axis=axis)


def padded(function: str, lengths: Sequence[int], pad: float, batch: Values) -> Values:
    """Made longer along each axis where it is shorter than that."""
    if len(lengths) != batch.ndim - 1:
        raise invalid(f"{function}: {len(lengths)} lengths for an array of {batch.ndim - 1} dimensions.")
    longer = [(0, max(length - own, 0)) for length, own in zip(lengths, batch.shape, strict=False)]
    check_cells(prod(own + more for own, (_, more) in zip(batch.shape, longer, strict=False)) * batch.shape[-1])
    return np.pad(batch, [*longer, (0, 0)], constant_values=pad)


def reshaped(function: str, lengths: Sequence[int], batch: Values) -> Values:
    """The same numbers along other axes; one length may be left open with -1."""
    wanted = list(lengths)
    if wanted.count(-1) > 1 or any(each < -1 for each in wanted):
        raise invalid(f"{function}: {wanted} is not a shape.")
    size = prod(batch.shape[:-1])
    known = prod(each for each in wanted if each != -1)
    if -1 in wanted and known and size % known == 0:
        wanted[wanted.index(-1)] = size // known
    if -1 in wanted or prod(wanted) != size:
        raise invalid(f"{function}: {size} elements do not fit the shape {list(lengths)}.")
    return batch.reshape(*wanted, batch.shape[-1])


def check_axes(function: str, axes: Sequence[int], dimensions: int) -> list[int]:
    """Axes that are there, each named once."""
    kept = [axis_of(function, axis, dimensions) for axis in axes]
    if len(set(kept)) != len(kept):
        raise invalid(f"{function}: an axis must not be named twice.")
    return kept


def projected(function: str, kept: Sequence[int], batch: Values) -> Values:
    """Only some axes; the others must not be longer than 1, and where they have no place at all nothing is left."""
    dropped = [axis for axis in range(batch.ndim - 1) if axis not in kept]
    if any(batch.shape[axis] > 1 for axis in dropped):
        found = [batch.shape[axis] for axis in dropped]
        raise invalid(f"{function}: Dropped axes must be at most length 1, got {found}.")
    if any(batch.shape[axis] == 0 for axis in dropped):
        return np.zeros((*[0] * len(kept), batch.shape[-1]), batch.dtype)
    return np.transpose(batch, (*kept, *dropped, batch.ndim - 1)).reshape(
        *[batch.shape[axis] for axis in kept], batch.shape[-1]
    )


def transposed(one: int, two: int, batch: Values) -> Values:
    """Two axes exchanged."""
    return np.swapaxes(batch, one, two)


def long_axis(function: str, keys: Shape, array: Shape) -> int:
    """The axis along which keys or masks lie: the only one on which they are long."""
    if len(keys) != len(array) or not keys:
        raise invalid(f"{function}: both arrays must have the same dimensions: {len(keys)}, {len(array)}.")
    long = [axis for axis, length in enumerate(keys) if length != 1]
    axis = long[0] if long else next((axis for axis, length in enumerate(array) if length == 1), 0)
    if len(long) > 1 or keys[axis] != array[axis]:
        text = f"the lengths {list(keys)} do not fit an array of {list(array)}"
        raise invalid(f"{function}: Array arguments must have same length along one axis: {text}.")
    return axis


def selected(function: str, batch: Values, mask: Values) -> Batch:
    """The places along an axis where another array, long on that axis only, is not zero."""
    axis = long_axis(function, mask.shape[:-1], batch.shape[:-1])
    keep = mask.reshape(prod(mask.shape[:-1]), batch.shape[-1]) != 0
    made = compacted(np.moveaxis(batch, axis, 0), keep)
    lengths = made.lengths
    if lengths is not None:
        lengths = np.insert(np.delete(lengths, 0, axis=0), axis, lengths[0], axis=0)
    return Batch(np.moveaxis(made.values, 0, axis), lengths)


def ordered(function: str, batch: Values, keys: Values | None = None) -> Values:
    """In order along the axis on which the keys, or the arrays themselves, are long."""
    by = batch if keys is None else keys
    axis = long_axis(function, by.shape[:-1], batch.shape[:-1])
    flat = by.reshape(prod(by.shape[:-1]), batch.shape[-1])
    order = np.argsort(flat, axis=0, kind="stable")
    shape = [1] * batch.ndim
    shape[axis], shape[-1] = flat.shape
    return np.take_along_axis(batch, order.reshape(shape), axis=axis)


def largest(batch: Values) -> Values:
    """Where the greatest number is first: an index for each axis. Of no number, no index."""
    size = prod(batch.shape[:-1])
    if not size:
        return np.zeros((0, batch.shape[-1]), dtype=np.int64)
    places = np.argmax(batch.reshape(size, batch.shape[-1]), axis=0)
    return np.stack(np.unravel_index(places, batch.shape[:-1])) if batch.ndim > 1 else places[np.newaxis][:0]


def place_of(function: str, place: Sequence[int], shape: Shape, whole_axis: int | None = None) -> tuple[int, ...]:
    """A position that must be there; with ``whole_axis`` that index stands for all of an axis."""
    if len(place) != len(shape):
        raise invalid(f"{function}: position has {len(place)} indices for an array of {len(shape)} dimensions.")
    for index, length in zip(place, shape, strict=True):
        if not 0 <= index < length and index != whole_axis:
            raise invalid(f"{function}: Index {index} is out of bounds for a length of {length}.")
    return tuple(place)


def taken(function: str, batch: Values, *place: int) -> Any:
    """One number of each array."""
    return batch[place_of(function, place, batch.shape[:-1])]
