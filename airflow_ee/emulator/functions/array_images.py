"""Images whose pixels are arrays: made of bands, cut, joined, sorted, and made bands again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions import array_shapes as shapes
from airflow_ee.emulator.functions.arithmetic import joined, settled_raster
from airflow_ee.emulator.functions.array_bands import Plan, at_pixels, computed, each_band, each_pair, elements
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.masks import companions
from airflow_ee.emulator.functions.promote import as_number, as_whole, registry, texts
from airflow_ee.emulator.pixels.batches import Batch, batched
from airflow_ee.emulator.pixels.cells import lengths_of, pixel_shape, spread
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype, type_of_number
from airflow_ee.emulator.values.batch_matrices import dot
from airflow_ee.emulator.values.image import Band, Image, check_bands, check_plain

ARRAY = "array"
"""The name of a band that all others were joined in."""

_LENGTH = type_of_dtype("int32")
MAX_DIMENSIONS = 16


@registry.implements("Image.toArray")
def to_array(image: Image, axis: int = 0) -> Image:
    """All bands one after the other in one band of arrays."""
    function = "Image.toArray"
    if not image.bands:
        raise invalid(f"{function}: Image has no bands.")
    dimensions = shapes.check_join(function, [band.type.dimensions for band in image.bands], axis)
    type_ = elements([band.type for band in image.bands]).of_arrays(dimensions)
    plan = Plan(type_, lambda *batches: shapes.joined(function, axis, batches))
    node = computed(plan, *(band.node for band in image.bands))
    return image.with_bands([joined(ARRAY, type_, node, image.bands)])


@registry.implements("Image.arrayCat")
def cat(image1: Image, image2: Image, axis: int) -> Image:
    """The arrays of both images, one after the other."""
    function = "Image.arrayCat"

    def plan(*types: PixelType) -> Plan:
        dimensions = shapes.check_join(function, [each.dimensions for each in types], axis)
        return Plan(elements(types).of_arrays(dimensions), lambda *pair: shapes.joined(function, axis, pair))

    return each_pair(image1, image2, function, plan)


@registry.implements("Image.arrayFlatten")
def flatten(image: Image, coordinate_labels: list[Any], separator: str = "_") -> Image:
    """A band for each element of arrays that all have one shape; pixels with empty arrays are masked."""
    function = "Image.arrayFlatten"
    if len(image.bands) != 1:
        raise invalid(f"{function}: Image must have exactly one band, got {len(image.bands)}.")
    band, labels = image.bands[0], [texts(each) for each in _lists(function, coordinate_labels)]
    if len(labels) != band.type.dimensions:
        counts = f"{len(labels)} lists of labels for arrays of {band.type.dimensions} dimensions"
        raise invalid(f"{function}: {counts}.")
    lengths = tuple(map(len, labels))
    check_bands(int(np.prod(lengths)))
    whole = Pointwise(partial(_checked, function, band.type, lengths), band.node)
    type_ = band.type.of_arrays(0)

    def element(place: tuple[int, ...]) -> Band:
        name = separator.join(names[at] for names, at in zip(labels, place, strict=True))
        return replace(band, name=name, type=type_, node=Pointwise(partial(_element, type_, place), whole))

    return image.with_bands(element(place) for place in product(*map(range, lengths)))


def _lists(function: str, values: list[Any]) -> list[list[Any]]:
    if not all(isinstance(each, list) for each in values):
        raise invalid(f"{function}: 'coordinateLabels' must be a list of lists of texts.")
    return values


def _checked(function: str, type_: PixelType, lengths: tuple[int, ...], raster: Raster) -> Raster:
    def check(batch: Values) -> Batch:
        found = batch.shape[:-1]
        if 0 in found and found != lengths:
            return Batch(np.zeros((*lengths, batch.shape[-1]), batch.dtype), known=np.zeros(batch.shape[-1], np.bool_))
        if found != lengths:
            raise invalid(f"{function}: Array lengths {list(found)} do not match the labels' {list(lengths)}.")
        return Batch(batch)

    made = batched(check, type_, raster)
    # Where nothing is valid there is no array to take an element from.
    return made if made.axes == lengths else made._replace(values=np.zeros((*lengths, 1, 1), made.values.dtype))


def _element(type_: PixelType, place: tuple[int, ...], raster: Raster) -> Raster:
    return settled_raster(Raster(raster.values[place], raster.mask), type_)


@registry.implements("Image.arrayProject")
def project(input: Image, axes: list[Any]) -> Image:
    """Only some axes; the others must not be longer than 1."""
    function = "Image.arrayProject"
    wanted = list(map(as_whole, axes))

    def plan(type_: PixelType) -> Plan:
        kept = shapes.check_axes(function, wanted, type_.dimensions)
        return Plan(type_.of_arrays(len(kept)), partial(shapes.projected, function, kept))

    return each_band(input, plan)


def _numbers(raster: Raster) -> list[Any]:
    """What stands at each pixel of plain bands or of vectors, as keys: one for each place."""
    whole = at_pixels(raster)
    shape = pixel_shape([whole])
    values = spread(whole.values, shape)
    return list(values) if whole.axes else [values]


@registry.implements("Image.arrayGet")
def get(image: Image, position: Image) -> Image:
    """One number of each array."""
    function = "Image.arrayGet"
    check_plain(position, function)

    def changed(band: Band) -> Band:
        if band.type.dimensions != len(position.bands):
            counts = f"{len(position.bands)} bands for arrays of {band.type.dimensions} dimensions"
            raise invalid(f"{function}: The position has {counts}.")
        type_ = band.type.of_arrays(0)

        def pick(raster: Raster, *places: Raster) -> Raster:
            mask = np.minimum.reduce([each.mask for each in (raster, *places)])
            keys = [key for place in places for key in _numbers(place)]
            return settled_raster(batched(partial(shapes.taken, function), type_, raster, mask=mask, keys=keys), type_)

        return band.computed(Pointwise(pick, band.node, *(each.node for each in position.bands)), type_)

    return image.each(changed)


@registry.implements("Image.arrayRepeat")
def repeat(input: Image, axis: int, copies: Image) -> Image:
    """Arrays after themselves, again and again."""
    function = "Image.arrayRepeat"
    counts = companions(input, copies, function, plain=True)

    def changed(band: Band) -> Band:
        type_ = band.type.of_arrays(shapes.check_join(function, [band.type.dimensions], axis))

        def again(raster: Raster, count: Raster) -> Raster:
            mask = np.minimum(raster.mask, count.mask)
            return batched(partial(shapes.repeated, function, axis), type_, raster, mask=mask, keys=_numbers(count))

        return band.computed(Pointwise(again, band.node, counts[id(band)].node), type_)

    return input.each(changed)


@registry.implements("Image.arrayReshape")
def reshape(image: Image, lengths: Image, dimensions: int) -> Image:
    """The same numbers along other axes; the lengths are arrays themselves."""
    function = "Image.arrayReshape"
    if len(lengths.bands) != 1 or lengths.bands[0].type.dimensions != 1:
        raise invalid(f"{function}: 'lengths' must have one band of 1-dimensional arrays.")
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise invalid(f"{function}: 'dimensions' must be from 0 to {MAX_DIMENSIONS}, got {dimensions}.")

    def changed(band: Band) -> Band:
        type_ = band.type.of_arrays(dimensions)

        def other(raster: Raster, wanted: Raster) -> Raster:
            mask = np.minimum(raster.mask, wanted.mask)
            if ((lengths_of(wanted)[0] != dimensions) & (mask > 0)).any():
                raise invalid(f"{function}: 'lengths' must have {dimensions} values at every pixel.")
            return batched(
                lambda batch, *numbers: shapes.reshaped(function, numbers, batch),
                type_,
                raster,
                mask=mask,
                keys=_numbers(wanted)[:dimensions],
            )

        return band.computed(Pointwise(other, band.node, lengths.bands[0].node), type_)

    return image.each(changed)


@registry.implements("Image.arrayPad")
def pad(image: Image, lengths: list[Any], pad: float = 0) -> Image:
    """Made longer along each axis where arrays are shorter than that."""
    function = "Image.arrayPad"
    wanted, filler = list(map(as_whole, lengths)), as_number(pad)

    def plan(type_: PixelType) -> Plan:
        if type_.dimensions != len(wanted) or not wanted:
            raise invalid(f"{function}: {len(wanted)} lengths for an array of {type_.dimensions} dimensions.")
        made = elements([type_, type_of_number(filler)])
        wider = partial(shapes.padded, function, wanted, filler)
        return Plan(made.of_arrays(type_.dimensions), lambda batch: wider(batch.astype(made.dtype)))

    return each_band(image, plan)


@registry.implements("Image.arrayTranspose", "Image.matrixTranspose")
def transpose(input: Image, axis1: int = 0, axis2: int = 1) -> Image:
    """Two axes exchanged."""
    function = "Image.arrayTranspose"

    def turned(band: Band) -> Band:
        pair = [shapes.axis_of(function, axis, band.type.dimensions) for axis in (axis1, axis2)]
        return band.computed(Pointwise(partial(_exchanged, pair), band.node))

    return input.each(turned)


def _exchanged(pair: list[int], raster: Raster) -> Raster:
    """Two axes of all arrays, and of their lengths: no need to take the pixels apart."""
    values = shapes.transposed(pair[0], pair[1], raster.values)
    if raster.lengths is None:
        return Raster(values, raster.mask)
    lengths = raster.lengths.copy()
    lengths[pair] = lengths[pair[::-1]]
    return Raster(values, raster.mask, lengths)


def _with_companion(input: Image, other: Image, function: str, compute: Any) -> Image:
    """Each band with the other image's only band, or with its namesake there."""
    others = companions(input, other, function)

    def changed(band: Band) -> Band:
        plan = Plan(band.type, partial(compute, function))
        return band.computed(computed(plan, band.node, others[id(band)].node))

    return input.each(changed)


@registry.implements("Image.arrayMask")
def mask(input: Image, mask: Image) -> Image:
    """The places along an axis where another array, long on that axis only, is not zero."""
    return _with_companion(input, mask, "Image.arrayMask", shapes.selected)


@registry.implements("Image.arraySort")
def sort(image: Image, keys: Image | None = None) -> Image:
    """In order along the axis on which the keys, or the arrays themselves, are long."""
    if keys is None:
        return each_band(image, lambda type_: Plan(type_, partial(shapes.ordered, "Image.arraySort")))
    return _with_companion(image, keys, "Image.arraySort", shapes.ordered)


@registry.implements("Image.arrayArgmax")
def argmax(image: Image) -> Image:
    """Where the greatest number is first, as an index for each axis."""
    return each_band(image, lambda _type: Plan(_LENGTH.of_arrays(1), shapes.largest))


@registry.implements("Image.arrayDotProduct")
def dot_product(image1: Image, image2: Image) -> Image:
    """The sums of the products of vectors."""
    function = "Image.arrayDotProduct"

    def plan(*types: PixelType) -> Plan:
        whole = type_of_dtype("int64") if elements(types).precision == "int" else PixelType(elements(types).precision)
        return Plan(whole, lambda *pair: dot(function, *(each.astype(whole.dtype) for each in pair)))

    return each_pair(image1, image2, function, plan)


@registry.implements("Image.arrayLength")
def length(input: Image, axis: int) -> Image:
    """How long arrays are along an axis."""

    def plan(type_: PixelType) -> Plan:
        along = shapes.axis_of("Image.arrayLength", axis, type_.dimensions)
        return Plan(_LENGTH, lambda batch: np.full(batch.shape[-1], batch.shape[along]))

    return each_band(input, plan)


@registry.implements("Image.arrayLengths")
def lengths(input: Image) -> Image:
    """How long arrays are along each axis, as arrays."""

    def along_all(batch: Values) -> Values:
        return np.repeat(np.asarray(batch.shape[:-1], np.int64)[:, np.newaxis], batch.shape[-1], axis=1)

    return each_band(input, lambda _type: Plan(_LENGTH.of_arrays(1), along_all))


@registry.implements("Image.arrayDimensions")
def dimensions(input: Image) -> Image:
    """How many axes arrays have; numbers have none."""

    def plan(type_: PixelType) -> Plan:
        return Plan(PixelType("int", 0, 255), lambda batch: np.full(batch.shape[-1], type_.dimensions))

    return each_band(input, plan)
