"""Arrays of pixels, taken together where they have the same shape.

A batch is a block of arrays of one shape, with the pixels along its last axis: what is computed with a batch needs no thought
about pixels that have shorter arrays than others, nor about those that are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import (
    Lengths,
    Mask,
    Raster,
    Shape,
    Values,
    check_cells,
    cleared,
    in_line,
    lengthened,
    lengths_of,
    on_grid,
    pixel_shape,
    spread,
    spread_raster,
)
from airflow_ee.emulator.pixels.types import PixelType

Keys = NDArray[np.int64]
"""A whole number at every pixel that is the same for all of a batch."""


class Batch(NamedTuple):
    """What was computed of a batch."""

    values: Values
    lengths: Lengths | None = None
    """Where the results are of different lengths: an axis for the arrays' axes, then the pixels."""
    known: NDArray[np.bool_] | None = None
    """Which pixels have a result; None for all."""


Compute = Callable[..., Values | Batch]
"""Batches of each input, then the keys as plain numbers, to a batch."""


def batched(
    compute: Compute, type_: PixelType, *rasters: Raster, mask: Mask | None = None, keys: Sequence[Keys] = ()
) -> Raster:
    """A raster of what ``compute`` makes of the pixels that none of the rasters masks.

    The mask is the least of theirs, unless one is given.
    """
    return batched_parts(lambda *parts: (compute(*parts),), [type_], *rasters, mask=mask, keys=keys)[0]


def batched_parts(
    compute: Callable[..., Sequence[Values | Batch]],
    types: Sequence[PixelType],
    *rasters: Raster,
    mask: Mask | None = None,
    keys: Sequence[Keys] = (),
) -> tuple[Raster, ...]:
    """The same of a function with several results."""
    shape = pixel_shape(rasters)
    if keys:
        shape = np.broadcast_shapes(shape, *(key.shape for key in keys))
    valid = np.minimum.reduce([spread(each.mask, shape) for each in rasters]) if mask is None else spread(mask, shape)
    found = [_Found(type_, np.array(valid, dtype=np.float32)) for type_ in types]
    full = [spread_raster(each, shape) for each in rasters]
    flat = [in_line(each.values) for each in full]
    for pixels, shapes, numbers in _groups(full, keys, valid.ravel() > 0, shape):
        deadline.check()
        parts = [_cut(values, own, pixels) for values, own in zip(flat, shapes, strict=True)]
        for target, made in zip(found, compute(*parts, *numbers), strict=True):
            target.add(pixels, made if isinstance(made, Batch) else Batch(made))
    return tuple(each.raster(shape) for each in found)


def _cut(values: Values, shape: Shape, pixels: NDArray[np.int64] | None) -> Values:
    part = values[tuple(slice(length) for length in shape)]
    return part if pixels is None else part[..., pixels]


_Group = tuple[NDArray[np.int64] | None, list[Shape], list[int]]


def _groups(
    rasters: Sequence[Raster], keys: Sequence[Keys], known: NDArray[np.bool_], shape: Shape
) -> Iterator[_Group]:
    """Pixels whose arrays have the same shapes, and whose keys are the same: their places, None for all, and what they share."""
    if not known.any():
        return
    places = None if known.all() else np.flatnonzero(known)
    ragged = [in_line(spread(each.lengths, shape)) for each in rasters if each.lengths is not None]
    rows = [row for each in ragged for row in each] + [np.broadcast_to(key, shape).ravel() for key in keys]
    if not rows:
        yield places, [each.axes for each in rasters], []
        return
    table = np.stack(rows) if places is None else np.stack(rows)[:, places]
    for members in _alike(table):
        first = table[:, members[0]].tolist()
        shapes = [each.axes if each.lengths is None else tuple(_taken(first, len(each.axes))) for each in rasters]
        chosen = members if places is None else places[members]
        yield None if len(members) == len(known) else chosen, shapes, first


def _taken(numbers: list[int], count: int) -> list[int]:
    """The first numbers, which are no longer there then."""
    taken = numbers[:count]
    del numbers[:count]
    return taken


def _alike(table: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The columns that are equal, as their numbers in order."""
    codes = np.zeros(table.shape[1], dtype=np.int64)
    for row in table:
        # Renumbered after each row, so that no code gets beyond the product of two counts.
        codes = np.unique(codes * (np.ptp(row) + 1) + (row - row.min()), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


class _Found:
    """The results of batches, put in their places."""

    def __init__(self, type_: PixelType, mask: Mask) -> None:
        self.mask = mask
        self._type = type_
        self._parts: list[tuple[NDArray[np.int64] | None, Batch]] = []

    def add(self, pixels: NDArray[np.int64] | None, batch: Batch) -> None:
        """The results of some pixels, None for all."""
        if batch.known is not None and not batch.known.all():
            masked = np.flatnonzero(~batch.known)
            self.mask.reshape(-1)[masked if pixels is None else pixels[masked]] = 0
        self._parts.append((pixels, batch))

    def raster(self, shape: Shape) -> Raster:
        """All results; zeros where there are none."""
        dtype, count = self._type.dtype, prod(shape)
        shapes = [batch.values.shape[:-1] for _, batch in self._parts]
        axes = tuple(max(lengths) for lengths in zip(*shapes, strict=True)) or (0,) * self._type.dimensions
        same = all(own == axes for own in shapes) and all(batch.lengths is None for _, batch in self._parts)
        check_cells(prod(axes) * count if axes else 0)
        if len(self._parts) == 1 and self._parts[0][0] is None:
            values = _stored(self._parts[0][1].values, dtype)
        else:
            values = np.zeros((*axes, count), dtype)
            for pixels, batch in self._parts:
                at = slice(None) if pixels is None else pixels
                values[(*(slice(length) for length in batch.values.shape[:-1]), at)] = _stored(batch.values, dtype)
        lengths = None if same else on_grid(self._lengths(len(axes), count), shape)
        whole = on_grid(values, shape)
        return Raster(cleared(whole, lengths) if lengths is not None else whole, self.mask, lengths)

    def _lengths(self, dimensions: int, count: int) -> Lengths:
        lengths = np.zeros((dimensions, count), dtype=np.int64)
        for pixels, batch in self._parts:
            own = np.asarray(batch.values.shape[:-1], dtype=np.int64)[:, np.newaxis]
            lengths[:, slice(None) if pixels is None else pixels] = own if batch.lengths is None else batch.lengths
        return lengths


def _stored(values: Values, dtype: np.dtype[np.generic]) -> Values:
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype, copy=False)


def matched(function: str, one: Raster, two: Raster, mask: Mask) -> tuple[Raster, Raster, Lengths | None]:
    """Two rasters in blocks of one shape, and the lengths of both; refuses valid pixels with arrays of different shapes."""
    if one.axes == two.axes and one.lengths is None and two.lengths is None:
        return one, two, None
    different = ((lengths_of(one) != lengths_of(two)).any(axis=0)) & (mask > 0)
    if different.any():
        raise invalid(
            f"{function}: Array sizes must match: {_lengths_at(one, different)} and {_lengths_at(two, different)}."
        )
    axes = tuple(map(max, one.axes, two.axes))
    lengths = np.where(mask > 0, lengths_of(one), np.minimum(lengths_of(one), lengths_of(two)))
    first, second = (each._replace(values=lengthened(each.values, axes)) for each in (one, two))
    return first, second, lengths


def _lengths_at(raster: Raster, wrong: NDArray[np.bool_]) -> list[int]:
    """The lengths at the first pixel that is wrong."""
    lengths = spread(lengths_of(raster), wrong.shape)
    found: list[int] = lengths[:, wrong][:, 0].tolist()
    return found


def packed(values: Values, keep: NDArray[np.bool_], mask: Mask) -> Raster:
    """Like :func:`compacted` for values in rows and columns."""
    made = compacted(in_line(values), in_line(keep))
    lengths = None if made.lengths is None else on_grid(made.lengths, mask.shape)
    return Raster(on_grid(made.values, mask.shape), mask, lengths)


def compacted(values: Values, keep: NDArray[np.bool_]) -> Batch:
    """Of each pixel the places along the first axis that are kept, one after the other. ``keep`` has that axis and the pixels."""
    if keep.all():
        return Batch(values)
    counts = keep.sum(axis=0)
    rest = values.shape[1:-1]
    cells = values.reshape(values.shape[0], prod(rest), values.shape[-1])
    kept = np.zeros((int(counts.max(initial=0)), *cells.shape[1:]), values.dtype)
    places = np.cumsum(keep, axis=0) - 1
    for place, row, chosen in zip(places, cells, keep, strict=True):
        pixels = np.flatnonzero(chosen)
        kept[place[pixels], :, pixels] = row[:, pixels].T
    others = np.broadcast_to(np.asarray(rest, dtype=np.int64).reshape(-1, 1), (len(rest), len(counts)))
    return Batch(kept.reshape(kept.shape[0], *rest, values.shape[-1]), np.concatenate([counts[np.newaxis], others]))
