"""Properties of images and features, and images made from them."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import Any

import numpy as np
from shapely import Polygon

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.arrays import array_of
from airflow_ee.emulator.functions.lists import typed
from airflow_ee.emulator.functions.promote import Element, as_number, registry
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import DOUBLE, ranged
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image, check_plain, constant_band

_FOOTPRINT = "system:footprint"


@registry.implements("Element.get")
def get(object: Element, property: str) -> Any:
    """A property, or null."""
    value = object.properties.get(property)  # type: ignore[attr-defined]
    if value is None and property == _FOOTPRINT and isinstance(object, Image) and _is_stored(object):
        return _ring(object.geometry())
    return value


def _ring(geometry: Geometry) -> Geometry:
    """The outline of an area in one piece, which is how the service keeps footprints."""
    shape = geometry.shape
    return replace(geometry, shape=shape.exterior) if isinstance(shape, Polygon) else geometry


@registry.implements("Element.getNumber")
def get_number(object: Element, property: str) -> Any:
    """A property that is a number, or null."""
    return _of_kind("Element.getNumber", get(object, property), (int, float), "Number")


@registry.implements("Element.getString")
def get_string(object: Element, property: str) -> Any:
    """A property that is a text, or null."""
    return _of_kind("Element.getString", get(object, property), str, "String")


@registry.implements("Element.getArray")
def get_array(object: Element, property: str) -> Array | None:
    """A property as an array, or null."""
    found = get(object, property)
    return None if found is None else array_of(found)


def _of_kind(function: str, value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    return None if value is None else typed(function, value, kind, name)


@registry.implements("Element.set")
def set_property(object: Element, key: str, value: Any = None) -> Any:
    """One property more; null takes it away."""
    properties = dict(object.properties)  # type: ignore[attr-defined]
    if value is None:
        properties.pop(key, None)
    else:
        properties[key] = value
    return object.with_properties(properties)  # type: ignore[attr-defined]


@registry.implements("Element.setMulti")
def set_properties(object: Element, properties: dict[str, Any]) -> Any:
    """Several properties more."""
    return object.with_properties({**object.properties, **properties})  # type: ignore[attr-defined]


@registry.implements("Element.replaceProperties")
def replace_properties(destination: Element, source: Element | None = None) -> Any:
    """The properties of another element instead of its own."""
    properties = {} if source is None else source.properties  # type: ignore[attr-defined]
    return destination.with_properties(dict(properties))  # type: ignore[attr-defined]


@registry.implements("Element.propertyNames")
def property_names(element: Element) -> list[str]:
    """Names of the properties, those of the system's own included."""
    names = list(element.properties)  # type: ignore[attr-defined]
    if not isinstance(element, Image):
        return names
    if _is_stored(element) and _FOOTPRINT not in names:
        names.append(_FOOTPRINT)
    return [*names, "system:bands", "system:band_names"]


def _is_stored(image: Image) -> bool:
    """Whether the image is an asset, or still has one's footprint: computed ones have lost it."""
    return image.footprint is not None or image.id is not None


@registry.implements("Element.toDictionary")
def to_dictionary(element: Element, properties: list[Any] | None = None) -> dict[str, Any]:
    """The properties, without the system's own unless asked for by name."""
    own: dict[str, Any] = dict(element.properties)  # type: ignore[attr-defined]
    if properties is not None:
        return {name: value for name, value in own.items() if _named(name, properties)}
    return {name: value for name, value in own.items() if not name.startswith("system:")}


def _named(name: str, patterns: list[Any]) -> bool:
    return any(fnmatch.fnmatchcase(name, str(pattern)) for pattern in patterns)


@registry.implements("Element.copyProperties", "Image.copyProperties")
def copy_properties(
    destination: Element | None = None,
    source: Element | None = None,
    properties: list[Any] | None = None,
    exclude: list[Any] | None = None,
) -> Any:
    """The properties of another element; its times and index only if named."""
    if properties is not None and exclude:
        raise invalid("Element.copyProperties: 'exclude' must not be specified if 'properties' is.")
    if destination is None or source is None:
        return destination
    given: dict[str, Any] = dict(source.properties)  # type: ignore[attr-defined]
    if properties is not None:
        copied = {name: value for name, value in given.items() if _named(name, properties)}
    else:
        copied = {name: value for name, value in given.items() if not name.startswith("system:")}
    copied = {name: value for name, value in copied.items() if not _named(name, exclude or [])}
    return destination.with_properties({**destination.properties, **copied})  # type: ignore[attr-defined]


@registry.implements("Image.id", "Feature.id")
def element_id(element: Element) -> str | None:
    """The index, which is what the service calls an element's id."""
    index = element.properties.get("system:index")  # type: ignore[attr-defined]
    return index if index is not None else getattr(element, "id", None)


@registry.implements("Image.metadata")
def metadata(image: Image, property: str, name: str | None = None) -> Image:
    """A numeric property as an image."""
    value = image.properties.get(property)
    if isinstance(value, Date):
        value = value.milliseconds
    if not isinstance(value, int | float):
        raise invalid(f"Image.metadata: Property '{property}' is missing or is not a number.")
    return Image((replace(constant_band(name or property, float(value)), type=DOUBLE),))


@registry.implements("Image.remap")
def remap(
    image: Image, from_: list[Any], to: list[Any], default_value: Any = None, band_name: str | None = None
) -> Image:
    """Values by a table, in a band named ``remapped``; what the table does not have is masked, or the default."""
    if len(from_) != len(to):
        raise invalid(f"Image.remap: 'from' ({len(from_)}) and 'to' ({len(to)}) must have the same length.")
    if not image.bands:
        raise invalid("Image.remap: Image has no bands.")
    band = image.band(band_name, function="Image.remap") if band_name else image.bands[0]
    check_plain(Image((band,)), "Image.remap")
    sources, targets = (np.array([as_number(each) for each in values], dtype=np.float64) for values in (from_, to))
    order = np.argsort(sources, kind="stable")
    keys, results = sources[order], targets[order]
    outcomes = [*targets.tolist(), *([] if default_value is None else [float(as_number(default_value))])] or [0.0]
    whole = all(each.is_integer() for each in outcomes)
    type_ = ranged("int" if whole else "double", min(outcomes), max(outcomes))

    def change(raster: Raster) -> Raster:
        values = raster.values.astype(np.float64)
        places = np.clip(np.searchsorted(keys, values), 0, max(len(keys) - 1, 0))
        known = keys[places] == values if len(keys) else np.zeros(values.shape, np.bool_)
        mapped = np.where(known, results[places] if len(keys) else 0.0, 0.0 if default_value is None else default_value)
        kept = raster.mask if default_value is not None else np.where(known, raster.mask, np.float32(0))
        return settled(mapped, kept, type_)

    return image.with_bands([replace(band, name="remapped", type=type_, node=Pointwise(change, band.node))])
