"""Collections: loading, filtering, mapping, ordering, and what their elements are together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import shapely

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.filters import as_filter
from airflow_ee.emulator.functions.geometry_measures import bounds as bounds_around
from airflow_ee.emulator.functions.geometry_relations import margin_of
from airflow_ee.emulator.functions.promote import (
    Algorithm,
    as_element,
    geometry_of_collection,
    registry,
)
from airflow_ee.emulator.graph import Closure
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.element import (
    INDEX,
    Collection,
    Feature,
    Filter,
    Hint,
    columns_of,
    field_of,
    geometry_of,
    index_of,
    types_of,
)
from airflow_ee.emulator.values.geometry import Geometry, gathered
from airflow_ee.emulator.values.image import Image
from airflow_ee.emulator.values.planes import common_plane


@registry.implements("ImageCollection.load")
def load(id: str, session: Session, version: int | None = None) -> Collection:  # noqa: ARG001 -- public names
    """A collection of the catalogue, as a query that filters make narrower."""
    return session.catalog.load_collection(id, session)


@registry.implements("Collection")
def make_collection(features: Any) -> Collection:
    """A collection of elements, each of which keeps its index if it has one."""
    if isinstance(features, Collection):
        return features
    elements = features if isinstance(features, list) else [features]
    made = [as_element(each) for each in elements]
    of_features = all(isinstance(each, Feature) for each in made)
    return Collection(
        made,
        of_images=bool(made) and all(isinstance(each, Image) for each in made),
        columns=columns_of(made) if of_features else None,
    )


@registry.implements("Collection.fromColumns")
def from_columns(columns: list[Any], property_names: list[Any], property_types: list[Any] | None = None) -> Collection:
    """Features without geometry from the values of each property."""
    if property_types is not None:
        raise invalid("Collection.fromColumns: propertyTypes are not emulated.")
    if len(columns) != len(property_names):
        raise invalid(f"Collection.fromColumns: {len(columns)} columns for {len(property_names)} names.")
    if len({len(column) for column in columns}) > 1:
        raise invalid("Collection.fromColumns: All columns must have the same length.")
    rows = zip(*columns, strict=True)
    features = [Feature(None, dict(zip(map(str, property_names), row, strict=True))) for row in rows]
    return Collection(features, columns=columns_of(features))


@registry.implements("Collection.filter")
def filter_collection(collection: Collection, filter: Any) -> Collection:
    """The elements that match."""
    return collection.filtered(as_filter(filter))


_KEEPING = {
    "Image.select": "input",
    "Image.rename": "input",
    "Image.updateMask": "image",
    "Image.addBands": "dstImg",
}
"""What leaves an image's properties and shape as they are, and the argument whose they are."""


@registry.implements("Collection.map")
def map_collection(collection: Collection, base_algorithm: Algorithm, drop_nulls: bool = False) -> Collection:
    """A function of each element; the index of each is kept where the result has none of its own."""
    if collection.waits and isinstance(base_algorithm, Closure) and base_algorithm.passes(_KEEPING):
        return collection.changed(lambda each: _with_index(each, _mapped(base_algorithm(each))))
    mapped = [(each, base_algorithm(each)) for each in collection.elements]
    if not drop_nulls and any(after is None for _, after in mapped):
        raise invalid("Collection.map: A mapped algorithm must not return null; use dropNulls.")
    made = [_with_index(before, _mapped(after)) for before, after in mapped if after is not None]
    images = all(isinstance(each, Image) for each in made) if made else collection.of_images
    return Collection(made, of_images=images, properties=collection.properties, id=collection.id)


def _mapped(value: Any) -> Any:
    if not isinstance(value, Image | Feature | Collection | Geometry):
        raise invalid("Collection.map: A mapped algorithm must return a Feature or Image.")
    return as_element(value)


def _with_index(before: Any, after: Any) -> Any:
    if after.properties.get(INDEX) is not None or before.properties.get(INDEX) is None:
        return after
    return after.with_properties({**after.properties, INDEX: before.properties[INDEX]})


@registry.implements("Collection.size")
def size(collection: Collection) -> int:
    """How many."""
    return len(collection.elements)


@registry.implements("Collection.first")
def first(collection: Collection) -> Any:
    """The first, or null."""
    return next(iter(collection.head(1)), None)


@registry.implements("Collection.cache")
def cache(collection: Collection) -> Collection:
    """The same collection."""
    return collection


@registry.implements("Collection.limit")
def limit(
    collection: Collection, limit: int | None = None, key: str | None = None, ascending: bool = True
) -> Collection:
    """At most so many, after ordering by a property; elements without it come last."""
    if limit is not None and limit < 0:
        raise invalid(f"Collection.limit: The limit must not be negative, got {limit}.")
    if key is None and limit is not None:
        return collection.some_of(collection.head(limit))
    elements = list(collection.elements)
    if key is not None:
        elements = ordered(elements, key, ascending)
    return collection.some_of(elements if limit is None else elements[:limit])


def ordered(elements: list[Any], key: str, ascending: bool) -> list[Any]:
    """Elements by a property; those that have none come last, and equals stay in order."""
    known = [each for each in elements if field_of(each, key) is not None]
    missing = [each for each in elements if field_of(each, key) is None]
    return sorted(known, key=lambda each: _sortable(field_of(each, key)), reverse=not ascending) + missing


def _sortable(value: Any) -> tuple[bool, Any]:
    """Numbers before texts."""
    plain = value.milliseconds if isinstance(value, Date) else value
    return (isinstance(plain, str), plain if isinstance(plain, int | float | str) else str(plain))


@registry.implements("Collection.toList")
def to_list(collection: Collection, count: int, offset: int = 0) -> list[Any]:
    """Elements as a list."""
    if count < 0 or offset < 0:
        raise invalid("Collection.toList: count and offset must not be negative.")
    return collection.head(offset + count)[offset:]


@registry.implements("Collection.merge", "ImageCollection.merge")
def merge(collection1: Collection, collection2: Collection) -> Collection:
    """Both, the indices prefixed with ``1_`` and ``2_``."""
    if collection1.waits or collection2.waits:
        return _merged_later(collection1, collection2)
    parts = [_prefixed(each, "1_") for each in collection1.elements]
    parts += [_prefixed(each, "2_") for each in collection2.elements]
    columns = {**collection1.columns, **collection2.columns}
    return Collection(parts, of_images=collection1.of_images or collection2.of_images, columns=columns)


def _merged_later(first: Collection, second: Collection) -> Collection:
    """Both, of which a later filter still says how many are looked at."""

    def query(later: Sequence[Filter]) -> Iterator[Any]:
        hints = [Hint(each) for each in later]
        for prefix, collection in (("1_", first), ("2_", second)):
            yield from (_prefixed(each, prefix) for each in collection.candidates(hints))

    return Collection(query=query, of_images=True)


def _prefixed(element: Any, prefix: str) -> Any:
    return element.with_properties({**element.properties, INDEX: f"{prefix}{index_of(element)}"})


@registry.implements("Collection.flatten")
def flatten(collection: Collection) -> Collection:
    """The elements of collections of collections, their indices after those of their collections."""
    elements: list[Any] = []
    for each in collection.elements:
        if not isinstance(each, Collection):
            raise invalid("Collection.flatten: every element must be a collection.")
        elements += [_prefixed(inner, f"{index_of(each)}_") for inner in each.elements]
    return Collection(elements, of_images=bool(elements) and isinstance(elements[0], Image))


@registry.implements("Collection.geometry")
def geometry(collection: Collection, max_error: Any = None) -> Geometry:  # noqa: ARG001 -- nothing is reprojected
    """All shapes in one, nothing dissolved."""
    return gathered([shape for each in collection.elements if (shape := geometry_of(each)) is not None])


@registry.implements("Collection.bounds")
def bounds(collection: Collection, max_error: Any = None, proj: Projection | None = None) -> Geometry:
    """The box around all shapes."""
    return bounds_around(geometry_of_collection(collection), max_error, proj)


@registry.implements("Collection.union")
def union(collection: Collection, max_error: Any = None) -> Collection:
    """One feature with all shapes dissolved into one."""
    shapes = [shape for each in collection.elements if (shape := geometry_of(each)) is not None]
    if any(shape.unbounded for shape in shapes):
        merged = next(shape for shape in shapes if shape.unbounded)
    elif len(shapes) == 1:
        merged = shapes[0]
    else:
        plane = common_plane(shapes, None, margin_of(max_error), "Collection.union")
        merged = plane.back(shapely.union_all([plane.flat(shape) for shape in shapes], grid_size=plane.snapping))
    return Collection([Feature(merged, {INDEX: "union_result"})])


@registry.implements("Collection.iterate")
def iterate(collection: Collection, function: Algorithm, first: Any = None) -> Any:
    """A function of each element and of its own result before."""
    result = first
    for each in collection.elements:
        result = function(each, result)
    return result


@registry.implements("Collection.distinct")
def distinct(collection: Collection, properties: Any) -> Collection:
    """The first element of each combination of values."""
    names = properties if isinstance(properties, list) else [properties]
    seen: dict[tuple[str, ...], Any] = {}
    for each in collection.elements:
        seen.setdefault(tuple(_serialised(field_of(each, str(name))) for name in names), each)
    return collection.some_of(seen.values())


def _serialised(value: Any) -> str:
    """A value as text that is equal for equal values."""
    if isinstance(value, Geometry):
        return json.dumps(value.as_value(), sort_keys=True)
    if isinstance(value, Image | Feature | Collection):
        raise invalid("Collection.distinct: properties that are elements are not emulated.")
    return f"{types_of(value)[1:]} {value!r}"


@registry.implements("Collection.remap")
def remap(collection: Collection, lookup_in: list[Any], lookup_out: list[Any], column_name: str) -> Collection:
    """A property's values by a table; elements with any other value go."""
    if len(lookup_in) != len(lookup_out):
        raise invalid(
            f"Collection.remap: lookupIn ({len(lookup_in)}) and lookupOut ({len(lookup_out)}) must be of the same size."
        )
    if not all(isinstance(each, str | int) for each in lookup_in):
        raise invalid("Collection.remap: lookupIn is restricted to strings and integers.")
    table = {_serialised(key): int(result) for key, result in zip(lookup_in, lookup_out, strict=True)}
    found = [(each, table.get(_serialised(_whole(field_of(each, column_name))))) for each in collection.elements]
    return collection.of(
        each.with_properties({**each.properties, column_name: result}) for each, result in found if result is not None
    )


def _whole(value: Any) -> Any:
    """A whole double is the integer that it stands for."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
