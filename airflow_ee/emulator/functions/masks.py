"""Masks: how valid a pixel is, from 0 to 1. Masked is never zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import joined, pairs, settled, settled_raster
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.shapes import inside
from airflow_ee.emulator.pixels.cells import chosen, typed
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Masked, Pointwise, Raster
from airflow_ee.emulator.pixels.types import FLOAT, PixelType, union
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Band, Image, check_plain, constant, not_named

_FRACTION = PixelType("float", 0.0, 1.0)


def companions(image: Image, other: Image, function: str, *, plain: bool = False) -> dict[int, Band]:
    """The other image's band for each band of the first, by the first one's ``id``: its only one, or one for each."""
    if len(other.bands) not in (1, len(image.bands)) and image.bands and other.bands:
        raise invalid(_incompatible(image, other, function))
    if plain:
        check_plain(other, function)
    return {id(band): match for _, band, match in pairs(image, other, function)}


def _incompatible(image: Image, other: Image, function: str) -> str:
    role = "mask" if "mask" in function.lower() else "other"
    found, wanted = len(other.bands), len(image.bands)
    return f"{function}: Incompatible number of bands in the {role} image: {found}. Expected {wanted} or 1."


@registry.implements("Image.mask")
def mask(image: Image, mask: Image | None = None) -> Image:
    """Without an argument the mask as an image that is valid everywhere; with one, the image under another mask."""
    if mask is not None:
        return _with_mask(image, mask)
    return image.each(lambda band: band.computed(Pointwise(_shown, band.node), _FRACTION))


def _shown(raster: Raster) -> Raster:
    return Raster(raster.mask, np.ones_like(raster.mask))


def _fraction(raster: Raster) -> NDArray[np.float32]:
    """A mask image's pixel as a mask: masked counts as 0, beyond 1 as 1."""
    # A whole number between 0 and 1 is one of them.
    shown = np.clip(raster.values, 0, 1) if raster.values.dtype.kind == "f" else raster.values > 0
    fraction: NDArray[np.float32] = np.multiply(raster.mask, shown, dtype=np.float32, casting="same_kind")
    return fraction


def _with_mask(image: Image, mask: Image) -> Image:
    """What was masked before shows the value of its type that is nearest to zero."""
    nearest = {id(band): np.clip(0, *band.type.range).astype(band.type.dtype) for band in image.bands}
    masks = companions(image, mask, "Image.mask", plain=True)

    def changed(band: Band) -> Band:
        def change(raster: Raster, new: Raster) -> Raster:
            values = np.where(raster.mask > 0, raster.values, nearest[id(band)])
            return Raster(values, _fraction(new), raster.lengths)

        return band.computed(Pointwise(change, band.node, masks[id(band)].node))

    return image.each(changed)


@registry.implements("Image.updateMask")
def update_mask(image: Image, mask: Image) -> Image:
    """The product of both masks: what was masked stays so."""

    def change(raster: Raster, new: Raster) -> Raster:
        return raster._replace(mask=raster.mask * _fraction(new))

    masks = companions(image, mask, "Image.updateMask", plain=True)
    return image.each(lambda band: band.computed(Pointwise(change, band.node, masks[id(band)].node)))


@registry.implements("Image.selfMask")
def self_mask(image: Image) -> Image:
    """Masked where zero."""
    return update_mask(image, image)


@registry.implements("Image.unmask")
def unmask(input: Image, value: Image | None = None, same_footprint: bool = True) -> Image:
    """Another image's pixels where this one is masked; beyond the footprint only if asked to."""
    filling = value if value is not None else constant(0)
    bands = companions(input, filling, "Image.unmask")
    return input.each(
        lambda band: _unmasked(
            band, bands[id(band)], input.footprint if same_footprint else None, bounded=same_footprint
        )
    )


def _unmasked(band: Band, filling: Band, footprint: Geometry | None, *, bounded: bool) -> Band:
    type_ = union(band.type, filling.type)
    ends = bounded and (band.extent is not None or footprint is not None)
    inside = Masked(filling.node, _inside(band, footprint)) if ends else filling.node

    def change(raster: Raster, other: Raster) -> Raster:
        return settled_raster(chosen(raster.mask == 0, typed(other, type_), typed(raster, type_)), type_)

    extent = band.extent if bounded else None
    return replace(band, type=type_, node=Pointwise(change, band.node, inside), extent=extent)


def _inside(band: Band, footprint: Geometry | None) -> Callable[[Grid], NDArray[np.bool_]]:
    """Which pixels of a grid lie in the band's extent and in the shape it was clipped to."""

    def keep(grid: Grid) -> NDArray[np.bool_]:
        kept = np.ones(grid.shape, dtype=np.bool_)
        if band.extent is not None:
            kept &= within_extent(band.extent, grid)
        if footprint is not None:
            kept &= inside(footprint, grid)
        return kept

    return keep


def within_extent(extent: Grid, grid: Grid) -> NDArray[np.bool_]:
    """Which pixels of a grid have their centre in another grid."""
    sites = grid.sites_in(extent.projection)
    rows = (sites.rows >= extent.row) & (sites.rows < extent.row + extent.height)
    cols = (sites.cols >= extent.col) & (sites.cols < extent.col + extent.width)
    return np.asarray(np.broadcast_to(rows & cols, grid.shape))


@registry.implements("Image.normalizedDifference")
def normalized_difference(input: Image, band_names: list[Any] | None = None) -> Image:
    """(first - second) / (first + second), named ``nd``; negative input is masked, and properties are gone."""
    check_plain(input, "Image.normalizedDifference")
    names = input.names[:2] if band_names is None else [str(name) for name in band_names]
    if len(names) != 2:
        raise invalid(f"Image.normalizedDifference: Two bands are needed, got {len(names)}.")
    bands = {band.name: band for band in input.bands}
    for name in names:
        if name not in bands:
            raise not_named(input, name, "Image.normalizedDifference")
    first, second = (bands[name] for name in names)

    def change(one: Raster, two: Raster) -> Raster:
        a, b = one.values.astype(np.float64), two.values.astype(np.float64)
        total = a + b
        values = np.divide(a - b, total, out=np.zeros_like(total), where=total != 0)
        good = (a >= 0) & (b >= 0)
        return settled(values, np.where(good, np.minimum(one.mask, two.mask), np.float32(0)), FLOAT)

    type_ = PixelType("float", -1.0, 1.0)
    return Image((joined("nd", type_, Pointwise(change, first.node, second.node), (first, second)),))


@registry.implements("Image.blend")
def blend(bottom: Image, top: Image) -> Image:
    """One image laid over another: the mask of the upper one says how much of the lower one still shows."""
    for image in (bottom, top):
        check_plain(image, "Image.blend")
    return replace(bottom, bands=tuple(_laid(*pair) for pair in pairs(bottom, top, "Image.blend")))


def _laid(name: str, bottom: Band, top: Band) -> Band:
    type_ = union(bottom.type, top.type)

    def change(lower: Raster, upper: Raster) -> Raster:
        shown = lower.mask * (1 - upper.mask)
        mask = upper.mask + shown
        total = upper.values * upper.mask.astype(np.float64) + lower.values * shown.astype(np.float64)
        mixed = np.divide(total, mask, out=np.zeros_like(total), where=mask > 0)
        # Where one of them shows alone its value is kept to the last bit.
        values = np.where(upper.mask == 1, upper.values.astype(type_.dtype), mixed.astype(type_.dtype))
        values = np.where(upper.mask == 0, lower.values.astype(type_.dtype), values)
        return Raster(values, mask.astype(np.float32))

    extent = None if top.extent is None else bottom.extent
    return Band(name, type_, Pointwise(change, bottom.node, top.node), bottom.projection, extent)


@registry.implements("Image.where")
def where(input: Image, test: Image, value: Image) -> Image:
    """The value where the test is true and neither is masked; a masked input stays masked."""
    tests = companions(input, test, "Image.where", plain=True)
    values = companions(input, value, "Image.where")

    def replaced(band: Band) -> Band:
        new = values[id(band)]
        type_ = union(band.type, new.type)

        def change(raster: Raster, condition: Raster, other: Raster) -> Raster:
            use = (condition.values != 0) & (condition.mask > 0) & (other.mask > 0)
            return chosen(use, typed(other, type_), typed(raster, type_))._replace(mask=raster.mask)

        return band.computed(Pointwise(change, band.node, tests[id(band)].node, new.node), type_)

    return input.each(replaced)
