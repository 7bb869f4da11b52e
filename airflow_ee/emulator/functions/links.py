"""Collections and images brought together by what they have in common, and properties gathered into arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.bands import add_bands
from airflow_ee.emulator.functions.casts import cast
from airflow_ee.emulator.functions.composites import images_of
from airflow_ee.emulator.functions.filters import compared
from airflow_ee.emulator.functions.promote import Element, kind_of, registry, texts
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Masked
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.element import INDEX, Collection, field_of, index_of
from airflow_ee.emulator.values.filters import FilterValue, Operand
from airflow_ee.emulator.values.image import Band, Image


@registry.implements("ImageCollection.combine")
def combine(primary: Collection, secondary: Collection, overwrite: bool = False) -> Collection:
    """The images of the first collection with the bands of those of the same index in the second."""
    others = {index_of(each): each for each in images_of(secondary)}
    pairs = [(each, others[index_of(each)]) for each in images_of(primary) if index_of(each) in others]
    return primary.of(add_bands(image, other, None, overwrite) for image, other in pairs)


@registry.implements("ImageCollection.cast")
def cast_collection(collection: Collection, band_types: dict[str, Any], band_order: list[Any]) -> Collection:
    """Every image with the same bands of the same types in the same order; what an image lacks is masked."""
    if sorted(map(str, band_order)) != sorted(band_types):
        raise invalid("ImageCollection.cast: 'bandOrder' must match the keys of 'bandTypes'.")
    for image in collection.elements:
        unnamed = [name for name in image.names if name not in band_types]
        if unnamed:
            raise invalid(f"ImageCollection.cast: 'bandTypes' must include all bands, but not '{unnamed[0]}'.")
    return collection.of(cast(image, band_types, band_order) for image in collection.elements)


@registry.implements("Image.linkCollection")
def link_collection(
    input: Image,
    image_collection: Collection,
    linked_bands: Any = None,
    linked_properties: Any = None,
    match_property_name: str = INDEX,
) -> Image:
    """Bands and properties of the image that has a property in common; masked and null where there is none."""
    names, properties = _names(linked_bands), _names(linked_properties)
    wanted = field_of(input, match_property_name)
    found = None if wanted is None else _first(image_collection.filtered(_equal(match_property_name, wanted)))
    linked = input.with_properties(
        {**input.properties, **{name: None if found is None else field_of(found, name) for name in properties}}
    )
    if not names:
        return linked
    if found is not None:
        return add_bands(linked, found, names, True)
    model = _first(image_collection)
    if model is None:
        raise invalid("Image.linkCollection: bands of an empty collection are not emulated.")
    return add_bands(linked, model.each(_hidden), names, True)


def _first(images: Collection) -> Image | None:
    return next(iter(images.head(1)), None)


def _equal(name: str, value: Any) -> FilterValue:
    """As a filter, so that the catalogue can find an image by its index without listing the others."""
    return compared("eq", Operand(name), Operand(value=value))


def _names(given: Any) -> list[str]:
    return [] if given is None else texts(given if isinstance(given, list) else [given])


def _hidden(band: Band) -> Band:
    return replace(band, node=Masked(band.node, _nowhere))


def _nowhere(grid: Grid) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.zeros(grid.shape, np.bool_)


@registry.implements("Feature.toArray")
def to_array(feature: Element, properties: list[Any]) -> Array:
    """Numeric properties as an array of one dimension."""
    values = _numbers(feature, properties)
    if values is None:
        raise invalid("Feature.toArray: All of the properties must be numbers.")
    return Array.of(values)


@registry.implements("FeatureCollection.makeArray")
def make_array(collection: Collection, properties: list[Any], name: str = "array") -> Collection:
    """Numeric properties as an array in one more property; features that lack any of them go."""
    found = [(each, _numbers(each, properties)) for each in collection.elements]
    return collection.of(
        each.with_properties({**each.properties, name: Array.of(values)})
        for each, values in found
        if values is not None
    )


def _numbers(element: Any, names: list[Any]) -> list[Any] | None:
    values = [field_of(element, str(name)) for name in names]
    return values if values and all(kind_of(value) == "Number" for value in values) else None
