"""Arrays of pixels cut along an axis, everywhere at the same places or at each pixel at its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from airflow_ee.emulator.functions import array_shapes as shapes
from airflow_ee.emulator.functions.array_bands import at_pixels
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.masks import companions
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.batches import Keys, batched
from airflow_ee.emulator.pixels.cells import is_filled, pixel_shape, spread
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.image import Band, Image

_FUNCTION = "Image.arraySlice"


@registry.implements("Image.arraySlice")
def slice_arrays(
    input: Image, axis: int = 0, start: Image | None = None, end: Image | None = None, step: int = 1
) -> Image:
    """A part along an axis; where an end is masked, the slice goes up to that of the array."""
    shapes.check_step(_FUNCTION, step)
    starts, ends = (None if each is None else companions(input, each, _FUNCTION, plain=True) for each in (start, end))

    def changed(band: Band) -> Band:
        cut = _Cut(shapes.axis_of(_FUNCTION, axis, band.type.dimensions), step, starts is not None, ends is not None)
        limits = [each[id(band)].node for each in (starts, ends) if each is not None]
        return band.computed(Pointwise(partial(cut.of_pixels, band.type), band.node, *limits))

    return input.each(changed)


class _Limit(NamedTuple):
    """Where a slice starts or ends at each pixel, and whether it is said at all."""

    places: Keys
    said: Keys

    @classmethod
    def of(cls, raster: Raster) -> _Limit:
        """Where an image says it: nothing where it is masked."""
        whole = at_pixels(raster)
        shape = pixel_shape([whole])
        return cls(spread(whole.values, shape), spread((whole.mask > 0).astype(np.int64), shape))

    @property
    def is_common(self) -> bool:
        """Whether it is the same everywhere."""
        return all(bool(each.min() == each.max()) for each in self)

    @property
    def first(self) -> int | None:
        """What it is at the first pixel."""
        return int(self.places.flat[0]) if self.said.flat[0] else None


_NOT_SAID = _Limit(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64))


@dataclass(frozen=True, slots=True)
class _Cut:
    """An axis, a step, and whether images say where to start and to end."""

    axis: int
    step: int
    starts: bool
    ends: bool

    def of_pixels(self, type_: PixelType, raster: Raster, *limits: Raster) -> Raster:
        """The part of each pixel's array."""
        given = iter(limits)
        start, end = (_Limit.of(next(given)) if said else _NOT_SAID for said in (self.starts, self.ends))
        if start.is_common and end.is_common and is_filled(raster, self.axis):
            return self._alike(raster, start.first, end.first)
        return batched(self._of_batch, type_, raster, keys=[*start, *end])

    def _alike(self, raster: Raster, start: int | None, end: int | None) -> Raster:
        """All pixels cut at the same places: no need to take them apart first."""
        values = shapes.sliced(self.axis, self.step, raster.values, start, end)
        if raster.lengths is None:
            return Raster(values, raster.mask)
        lengths = raster.lengths.copy()
        lengths[self.axis] = values.shape[self.axis]
        return Raster(values, raster.mask, lengths)

    def _of_batch(self, batch: Values, start: int, starts: int, end: int, ends: int) -> Values:
        return shapes.sliced(self.axis, self.step, batch, start if starts else None, end if ends else None)
