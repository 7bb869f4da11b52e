"""The registry, and how values become what a function asks for: a number where an image is wanted, and so on.

The service does the same: clients send plain numbers, texts and lists, and count on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, identify, parse_crs
from airflow_ee.emulator.pixels.grid import Affine6, Projection
from airflow_ee.emulator.registry import Registry
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.element import Collection, Feature, geometry_of
from airflow_ee.emulator.values.geometry import Geometry, gathered
from airflow_ee.emulator.values.image import Image, array_band, constant, constant_band
from airflow_ee.emulator.values.reducers import Reducer

registry = Registry()

FIRST_EXTRA_NAME = "constant"


def cannot(value: Any, target: str) -> Exception:
    """The complaint about a value of the wrong kind."""
    return invalid(f"Cannot convert {kind_of(value)} to {target}.")


def kind_of(value: Any) -> str:
    """What the service would call a value's type."""
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int | float):
        return "Number"
    names = {str: "String", list: "List", dict: "Dictionary", type(None): "null"}
    if isinstance(value, Collection):
        return "ImageCollection" if value.of_images else "FeatureCollection"
    return names.get(type(value), type(value).__name__)


@registry.promotes(Image)
def as_image(value: Any) -> Image:
    """Numbers and lists of numbers are constant images; anything else must be an image already."""
    if isinstance(value, Image):
        return value
    if isinstance(value, bool | int | float):
        return constant(float(value) if isinstance(value, float) else int(value))
    if isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
        names = [f"{FIRST_EXTRA_NAME}_{number}" if number else FIRST_EXTRA_NAME for number in range(len(value))]
        return Image(tuple(constant_band(name, each) for name, each in zip(names, value, strict=True)))
    if isinstance(value, list) and value and all(isinstance(each, Image) for each in value):
        return Image((), {}).with_bands(band for image in value for band in image.bands)
    if isinstance(value, Array):
        return Image((array_band(FIRST_EXTRA_NAME, value),))
    raise cannot(value, "Image")


@registry.promotes(Collection)
def as_collection(value: Any) -> Collection:
    """Lists of elements are collections; a lone image or feature is a collection of one."""
    if isinstance(value, Collection):
        return value
    if isinstance(value, Image):
        return Collection([value], of_images=True)
    if isinstance(value, Feature | Geometry):
        return Collection([as_feature(value)])
    if isinstance(value, list):
        images = bool(value) and all(isinstance(each, Image) for each in value)
        return Collection(value if images else [as_element(each) for each in value], of_images=images)
    raise cannot(value, "Collection")


@registry.promotes(Feature)
def as_feature(value: Any) -> Feature:
    """Geometries are features without properties; images keep theirs."""
    if isinstance(value, Feature):
        return value
    if isinstance(value, Image):
        return Feature(value.geometry(), value.properties)
    return Feature(as_geometry(value))


@registry.promotes(Geometry)
def as_geometry(value: Any) -> Geometry:
    """Features, images, collections and GeoJSON have a geometry."""
    if isinstance(value, Mapping):
        return Geometry.of_json(value["geometry"] if value.get("type") == "Feature" else value)
    if isinstance(value, Collection):
        return geometry_of_collection(value)
    geometry = geometry_of(value)
    if geometry is None:
        raise cannot(value, "Geometry")
    return geometry


def geometry_of_collection(collection: Collection) -> Geometry:
    """All the elements' shapes in one, in longitude and latitude where they are not of one kind."""
    shapes = [geometry for each in collection.elements if (geometry := geometry_of(each)) is not None]
    kinds = {(shape.crs, shape.geodesic, shape.even_odd) for shape in shapes if shape.has_edges}
    if len(kinds) > 1 or len({shape.crs for shape in shapes}) > 1:
        shapes = [Geometry(shape.in_crs(WGS84)) for shape in shapes]
    return gathered(shapes)


@registry.promotes(Projection)
def as_projection(value: Any) -> Projection:
    """Codes and WKT are projections of one unit a pixel; so are the JSON forms that defaults come in."""
    if isinstance(value, Projection):
        return value
    if isinstance(value, str):
        crs = parse_crs(value)
        return Projection(crs if crs.is_code else identify(value))
    if isinstance(value, Mapping) and "crs" in value:
        return Projection(parse_crs(value["crs"]), as_transform(value.get("transform") or [1, 0, 0, 0, 1, 0]))
    raise cannot(value, "Projection")


def as_transform(value: list[Any]) -> Affine6:
    """Six numbers in the order of EE: xScale, xShear, xTranslation, yShear, yScale, yTranslation."""
    if len(value) != 6:
        raise invalid(f"A CRS transform needs 6 numbers, got {len(value)}.")
    terms = [float(as_number(each)) for each in value]
    return (terms[0], terms[1], terms[2], terms[3], terms[4], terms[5])


registry.promotes(Date)(Date.of)


@registry.promotes(DateRange)
def as_date_range(value: Any) -> DateRange:
    """A single instant is a range of one millisecond."""
    if isinstance(value, DateRange):
        return value
    start = Date.of(value)
    return DateRange(start, Date(start.milliseconds + 1))


@registry.promotes(Reducer)
def as_reducer(value: Any) -> Reducer:
    """Only reducers are reducers."""
    if isinstance(value, Reducer):
        return value
    raise cannot(value, "Reducer")


@registry.promotes(float)
def as_number(value: Any) -> float:
    """Numbers stay as they are, so that whole ones remain whole."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    raise cannot(value, "Number")


@registry.promotes(int)
def as_whole(value: Any) -> int:
    """Whole numbers; fractions are cut off as the service does."""
    number = as_number(value)
    if not math.isfinite(number):
        raise invalid(f"Cannot convert {number} to Integer.")
    return int(number)


@registry.promotes(str)
def as_text(value: Any) -> str:
    """Only texts are texts."""
    if isinstance(value, str):
        return value
    raise cannot(value, "String")


def texts(values: list[Any]) -> list[str]:
    """A list of texts only."""
    return [as_text(value) for value in values]


@registry.promotes(bool)
def as_boolean(value: Any) -> bool:
    """Numbers are true unless zero."""
    if isinstance(value, bool | int | float):
        return bool(value)
    raise cannot(value, "Boolean")


@registry.promotes(list)
def as_list(value: Any) -> list[Any]:
    """Lists stay lists."""
    if isinstance(value, list):
        return value
    raise cannot(value, "List")


@registry.promotes(dict)
def as_dictionary(value: Any) -> dict[str, Any]:
    """Dictionaries stay so; of an element they are the properties."""
    if isinstance(value, Mapping):
        return dict(value)
    raise cannot(value, "Dictionary")


class Element:
    """Annotation for arguments that take an image, a feature or a collection."""


@registry.promotes(Element)
def as_element(value: Any) -> Any:
    """Geometries become features."""
    if isinstance(value, Image | Feature | Collection):
        return value
    if isinstance(value, Geometry | Mapping):
        return as_feature(value)
    raise cannot(value, "Element")


class Algorithm:
    """Annotation for arguments that take a function."""

    def __call__(self, *values: Any) -> Any:
        """Call the function with positional arguments."""
        raise NotImplementedError


@registry.promotes(Algorithm)
def as_algorithm(value: Any) -> Callable[..., Any]:
    """Lambdas and computed functions are callable."""
    if callable(value):
        return value  # type: ignore[no-any-return]
    raise cannot(value, "Algorithm")
