"""Collections as images of arrays: an axis for the images, or one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.array_bands import Plan, computed, elements
from airflow_ee.emulator.functions.array_images import ARRAY
from airflow_ee.emulator.functions.array_shapes import check_join, joined
from airflow_ee.emulator.functions.composites import images_of, stack
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.batches import packed
from airflow_ee.emulator.pixels.cells import (
    Lengths,
    Raster,
    Shape,
    Values,
    check_cells,
    is_inside,
    lengthened,
    lengths_of,
    pixel_shape,
    spread,
)
from airflow_ee.emulator.pixels.raster import Node, Pointwise
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image, check_plain


@registry.implements("ImageCollection.toArray")
def to_array(collection: Collection) -> Image:
    """Rows of the bands of each image that shows all of them at the pixel: no row at all where none does."""
    function = "ImageCollection.toArray"
    images = images_of(collection)
    for image in images:
        check_plain(image, function)
        if len(image.bands) != len(images[0].bands):
            raise invalid(f"{function}: All images must have the same bands, got {images[0].names} and {image.names}.")
    bands = [band for image in images for band in image.bands]
    if not bands:
        return Image(())
    type_ = elements([band.type for band in bands]).of_arrays(2)
    node = Pointwise(partial(_rows, len(images), type_), *(band.node for band in bands))
    return Image((Band(ARRAY, type_, node),))


def _rows(count: int, type_: PixelType, *rasters: Raster) -> Raster:
    shape, width = pixel_shape(rasters), len(rasters) // count
    check_cells(len(rasters) * prod(shape))
    values = np.empty((len(rasters), *shape), type_.dtype)
    keep = np.ones((count, *shape), dtype=np.bool_)
    for place, raster in enumerate(rasters):
        values[place] = raster.values
        keep[place // width] &= raster.mask > 0
    cells = values.reshape(count, width, *shape)
    return packed(cells, keep, np.ones(shape, np.float32))


@registry.implements("ImageCollection.toArrayPerBand")
def to_array_per_band(collection: Collection, axis: int = 0, drop_masked: bool = False) -> Image:
    """Each band's arrays or numbers one after the other; masked where any image is, or without those that are."""
    function = "ImageCollection.toArrayPerBand"
    bands = stack(collection)
    if len({len(layers) for layers in bands.values()}) > 1:
        raise invalid(f"{function}: every image must have all the bands [{', '.join(bands)}].")
    return Image(tuple(_behind(function, name, layers, axis, drop=drop_masked) for name, layers in bands.items()))


def _behind(function: str, name: str, layers: Sequence[Band], axis: int, *, drop: bool) -> Band:
    dimensions = check_join(function, [band.type.dimensions for band in layers], axis)
    type_ = elements([band.type for band in layers]).of_arrays(dimensions)
    nodes: list[Node] = [band.node for band in layers]
    if drop:
        return Band(name, type_, Pointwise(partial(_dropped, function, axis, type_), *nodes))
    plan = Plan(type_, lambda *batches: joined(function, axis, batches))
    return Band(name, type_, computed(plan, *nodes))


def _dropped(function: str, axis: int, type_: PixelType, *rasters: Raster) -> Raster:
    """All places of all arrays along the axis, of which those of masked images and those behind arrays are left out."""
    shape = pixel_shape(rasters)
    parts = [_with_axis(each, axis, shape) for each in rasters]
    valid = [spread(each.mask, shape) > 0 for each in rasters]
    rest = _common_lengths(function, axis, [lengths for _, lengths in parts], valid)
    axes = tuple(map(max, *(values.shape[:-2] for values, _ in parts))) if len(parts) > 1 else parts[0][0].shape[:-2]
    rows, keep = [], []
    check_cells(sum(values.shape[axis] for values, _ in parts) * prod(axes) // max(axes[axis], 1) * prod(shape))
    for (values, lengths), known in zip(parts, valid, strict=True):
        wanted = tuple(values.shape[axis] if place == axis else length for place, length in enumerate(axes))
        rows.append(np.moveaxis(lengthened(values.astype(type_.dtype), wanted), axis, 0))
        keep.append(is_inside((values.shape[axis],), lengths[axis : axis + 1]) & known)
    mask = np.maximum.reduce([spread(each.mask, shape) for each in rasters])
    made = packed(np.concatenate(rows), np.concatenate(keep), mask)
    counts = lengths_of(made)[:1]
    lengths = np.insert(rest, axis, np.broadcast_to(counts, (1, *shape))[0], axis=0)
    same = (lengths == lengths[:, :1, :1]).all()
    values = np.moveaxis(made.values, 0, axis)
    return Raster(values, mask, None if same and values.shape[:-2] == tuple(lengths[:, 0, 0]) else lengths)


def _with_axis(raster: Raster, axis: int, shape: Shape) -> tuple[Values, Lengths]:
    """Values and lengths that have the axis."""
    values, lengths = spread(raster.values, shape), spread(lengths_of(raster), shape)
    if axis < len(raster.axes):
        return values, lengths
    return values[..., np.newaxis, :, :], np.concatenate([lengths, np.ones((1, *shape), np.int64)])


def _common_lengths(function: str, axis: int, lengths: Sequence[Lengths], valid: Sequence[Any]) -> Lengths:
    """The lengths of the other axes, which must be the same for all images that show the pixel."""
    others = [np.delete(each, axis, axis=0) for each in lengths]
    rest = np.maximum.reduce([np.where(known, each, 0) for each, known in zip(others, valid, strict=True)])
    if any(((each != rest) & known).any() for each, known in zip(others, valid, strict=True)):
        raise invalid(f"{function}: Arrays must have the same lengths on all axes but {axis}.")
    return np.asarray(rest)
