"""Many images to one: reductions of stacks, mosaics, and collections made of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.promote import as_collection, registry
from airflow_ee.emulator.functions.reducers import PLAIN
from airflow_ee.emulator.pixels.cells import chosen, typed
from airflow_ee.emulator.pixels.raster import Node, Pointwise, Raster, Several
from airflow_ee.emulator.pixels.types import PixelType, union
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image, check_plain
from airflow_ee.emulator.values.reducers import Layers, Reducer


def stack(collection: Collection) -> dict[str, list[Band]]:
    """The bands of all the images by name, in the order in which the names appear first."""
    bands: dict[str, list[Band]] = {}
    for image in images_of(collection):
        for band in image.bands:
            bands.setdefault(band.name, []).append(band)
    return bands


def images_of(collection: Collection) -> list[Image]:
    """The elements of a collection that has only images."""
    strange = next((each for each in collection.elements if not isinstance(each, Image)), None)
    if strange is not None:
        raise invalid(f"ImageCollection: every element must be an image, got a {type(strange).__name__}.")
    return collection.elements


def combined_type(types: Sequence[PixelType]) -> PixelType:
    """The type of a band over a stack of images."""
    result = types[0]
    for each in types[1:]:
        result = union(result, each)
    return result


def reduced(names: Sequence[str], reducer: Reducer, inputs: Sequence[Sequence[Band]]) -> list[Band]:
    """A band for each result over equally deep stacks of bands; it has no projection of its own."""
    types = [combined_type([band.type for band in bands]) for bands in inputs]
    depth = len(inputs[0])
    made = reducer.pixel_types(types, depth)
    nodes = [band.node for bands in inputs for band in bands]
    found: list[Band] = []
    for step in reducer.by_step():
        count = len(step.output_names)
        # Results of one step are computed together, once for all the bands that show them.
        together = Several(partial(_reduce, step, depth), *nodes)
        for place in range(count):
            type_ = made[len(found)]
            node = Pointwise(partial(_result, place, type_), together)
            found.append(Band(names[len(found)], type_, node))
    return found


def _reduce(reducer: Reducer, depth: int, *rasters: Raster) -> tuple[Raster, ...]:
    inputs: list[Layers] = [rasters[start : start + depth] for start in range(0, len(rasters), depth)]
    results = reducer.of_layers(inputs)
    return tuple(Raster(each.values, each.known.astype(np.float32), each.lengths) for each in results)


def _result(place: int, type_: PixelType, results: Sequence[Raster]) -> Raster:
    values, mask, lengths = results[place]
    return settled(np.where(mask > 0, values, 0), mask, type_, lengths)


def reduced_stack(collection: Collection, reducer: Reducer, function: str, *, named: bool = True) -> list[Band]:
    """The bands of a reduced collection: each band by itself, or all of them as the inputs of one reducer."""
    bands = stack(collection)
    if reducer.input_count == 1:
        return [
            each
            for name, layers in bands.items()
            for each in reduced(_names(name, reducer, named=named), reducer, [layers])
        ]
    if not bands:
        return []
    reducer.check_inputs(len(bands), function)
    if len({len(layers) for layers in bands.values()}) > 1:
        raise invalid(f"{function}: every image must have all the bands [{', '.join(bands)}] for {reducer.label}.")
    return reduced(reducer.output_names, reducer, list(bands.values()))


def _names(band: str, reducer: Reducer, *, named: bool) -> list[str]:
    return [f"{band}_{name}" for name in reducer.output_names] if named else [band]


def _reduce_by(kind: str) -> Callable[[Collection], Image]:
    reducer = Reducer.of(PLAIN[kind]) if kind in PLAIN else None

    def apply(collection: Collection) -> Image:
        chosen = reducer or registry.call(f"Reducer.{kind}", {})
        return Image(tuple(reduced_stack(collection, chosen, f"reduce.{kind}", named=False)))

    apply.__doc__ = f"Each band by Reducer.{kind}, under its own name."
    return apply


for _algorithm, _kind in {
    "mean": "mean", "median": "median", "min": "min", "max": "max", "sum": "sum", "count": "count", "mode": "mode",
    "product": "product", "and": "allNonZero", "or": "anyNonZero",
}.items():  # fmt: skip
    registry.add(f"reduce.{_algorithm}", _reduce_by(_kind))


@registry.implements("ImageCollection.reduce")
def reduce_collection(collection: Collection, reducer: Reducer, parallel_scale: float = 1) -> Image:  # noqa: ARG001 -- memory is bounded anyway
    """Bands ``<band>_<result>``; of a reducer with several inputs, the results' own names."""
    return Image((), {}).with_bands(reduced_stack(collection, reducer, "ImageCollection.reduce"))


@registry.implements("Image.reduce")
def reduce_bands(image: Image, reducer: Reducer) -> Image:
    """All bands to one of each result."""
    if not image.bands:
        raise invalid("Image.reduce: Image has no bands.")
    reducer.check_inputs(1, "Image.reduce")
    base = image.bands[0]
    bands = reduced(reducer.output_names, reducer, [image.bands])
    return image.with_bands(replace(band, projection=base.projection, extent=base.extent) for band in bands)


@registry.implements("ImageCollection.mosaic")
def mosaic(collection: Collection) -> Image:
    """The last image on top, wherever it is not masked."""
    return Image(tuple(_layered(name, bands) for name, bands in stack(collection).items()))


def _layered(name: str, bands: Sequence[Band]) -> Band:
    type_ = combined_type([band.type for band in bands])
    return Band(name, type_, Pointwise(partial(_on_top, type_), *(band.node for band in bands)))


def _on_top(type_: PixelType, *rasters: Raster) -> Raster:
    whole = typed(rasters[-1], type_)
    for raster in rasters[-2::-1]:
        shown = whole.mask > 0
        if shown.all():
            break
        whole = chosen(shown, whole, typed(raster, type_))
    return whole


@registry.implements("ImageCollection.qualityMosaic")
def quality_mosaic(collection: Collection, quality_band: str) -> Image:
    """All bands of the image whose quality is the highest at the pixel."""
    images = images_of(collection)
    bands = [image.band(quality_band, function="ImageCollection.qualityMosaic") for image in images]
    check_plain(Image(tuple(bands)), "ImageCollection.qualityMosaic")
    qualities = [band.node for band in bands]
    return Image(tuple(_best(name, images, qualities) for name in images[0].names)) if images else Image(())


def _best(name: str, images: Sequence[Image], qualities: Sequence[Node]) -> Band:
    bands = [image.band(name, function="ImageCollection.qualityMosaic") for image in images]
    type_ = combined_type([band.type for band in bands])

    def change(*rasters: Raster) -> Raster:
        quality, content = rasters[: len(images)], rasters[len(images) :]
        best = np.where(quality[0].mask > 0, quality[0].values.astype(np.float64), -np.inf)
        whole = typed(content[0], type_)
        for score, layer in zip(quality[1:], content[1:], strict=True):
            wins = (score.mask > 0) & (score.values > best)
            best = np.where(wins, score.values, best)
            whole = chosen(wins, typed(layer, type_), whole)
        return whole._replace(mask=np.where(np.isfinite(best), whole.mask, np.float32(0)))

    return Band(name, type_, Pointwise(change, *qualities, *(band.node for band in bands)))


@registry.implements("ImageCollection.toBands")
def to_bands(collection: Collection) -> Image:
    """Every band of every image, prefixed with the image's index."""
    bands = [
        replace(band, name=f"{image.properties.get('system:index', number)}_{band.name}")
        for number, image in enumerate(images_of(collection))
        for band in image.bands
    ]
    return Image((), {}).with_bands(bands)


@registry.implements("ImageCollection.fromImages")
def fromimages_of(images: Any) -> Collection:
    """A collection of images; those without an index are numbered."""
    collection: Collection = as_collection(images)
    numbered = [
        image if "system:index" in image.properties else _indexed(image, number)
        for number, image in enumerate(images_of(collection))
    ]
    return Collection(numbered, of_images=True)


def _indexed(image: Image, number: int) -> Image:
    return image.with_properties({**image.properties, "system:index": str(number)})
