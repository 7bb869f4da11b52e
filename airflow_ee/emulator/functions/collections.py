"""Collections: loading, filtering, mapping, ordering."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import Algorithm, as_element, geometry_of_collection, registry
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.filters import FilterValue
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image


@registry.implements("ImageCollection.load")
def load(id: str, session: Session, version: int | None = None) -> Collection:  # noqa: ARG001 -- public names
    """A collection of the catalogue, as a query that filters make narrower."""
    return session.catalog.load_collection(id, session)


@registry.implements("Collection")
def make_collection(features: Any) -> Collection:
    """A collection of features."""
    elements = features if isinstance(features, list) else [features]
    return Collection([as_element(each) for each in elements])


@registry.implements("Collection.filter")
def filter_collection(collection: Collection, filter: FilterValue) -> Collection:
    """The elements that match."""
    return collection.filtered(filter)


@registry.implements("Collection.map")
def map_collection(collection: Collection, base_algorithm: Algorithm, drop_nulls: bool = False) -> Collection:
    """A function of each element; the index of each is kept."""
    mapped = [(each, base_algorithm(each)) for each in collection.elements]
    kept = [(before, after) for before, after in mapped if after is not None or not drop_nulls]
    return collection.of(_with_index(before, as_element(after)) for before, after in kept)


def _with_index(before: Any, after: Any) -> Any:
    """A mapped element takes its source's index, and its id, as the service does."""
    index = before.properties.get("system:index")
    if isinstance(after, Image) and index is not None and after.properties.get("system:index") != index:
        return after.with_properties({**after.properties, "system:index": index})
    if isinstance(after, Feature) and after.id is None:
        return replace(after, id=getattr(before, "id", None) or index)
    return after


@registry.implements("Collection.size")
def size(collection: Collection) -> int:
    """How many."""
    return len(collection.elements)


@registry.implements("Collection.first")
def first(collection: Collection) -> Any:
    """The first, or null."""
    return collection.elements[0] if collection.elements else None


@registry.implements("Collection.limit")
def limit(
    collection: Collection, limit: int | None = None, key: str | None = None, ascending: bool = True
) -> Collection:
    """At most so many, after ordering by a property; elements without it come last."""
    elements = list(collection.elements)
    if key is not None:
        known = [each for each in elements if _property(each, key) is not None]
        missing = [each for each in elements if _property(each, key) is None]
        elements = sorted(known, key=lambda each: _sortable(_property(each, key)), reverse=not ascending) + missing
    return collection.of(elements if limit is None else elements[:limit])


def _property(element: Any, key: str) -> Any:
    return element.properties.get(key)


def _sortable(value: Any) -> tuple[bool, Any]:
    """Numbers before texts."""
    return (isinstance(value, str), value if isinstance(value, int | float | str) else str(value))


@registry.implements("Collection.toList")
def to_list(collection: Collection, count: int, offset: int = 0) -> list[Any]:
    """Elements as a list."""
    return list(collection.elements[offset : offset + count])


@registry.implements("Collection.merge", "ImageCollection.merge")
def merge(collection1: Collection, collection2: Collection) -> Collection:
    """Both, the indices prefixed with ``1_`` and ``2_``."""
    parts = [_prefixed(each, "1_") for each in collection1.elements]
    parts += [_prefixed(each, "2_") for each in collection2.elements]
    return Collection(parts, of_images=collection1.of_images or collection2.of_images)


def _prefixed(element: Any, prefix: str) -> Any:
    index = element.properties.get("system:index", "0")
    if isinstance(element, Image):
        return element.with_properties({**element.properties, "system:index": f"{prefix}{index}"})
    return replace(element, id=f"{prefix}{element.id or index}") if isinstance(element, Feature) else element


@registry.implements("Collection.flatten")
def flatten(collection: Collection) -> Collection:
    """The elements of collections of collections."""
    elements: list[Any] = []
    for each in collection.elements:
        if not isinstance(each, Collection):
            raise invalid("Collection.flatten: every element must be a collection.")
        elements += each.elements
    return Collection(elements, of_images=bool(elements) and isinstance(elements[0], Image))


@registry.implements("Collection.geometry")
def geometry(collection: Collection, max_error: Any = None) -> Geometry:  # noqa: ARG001 -- shapes are exact
    """All shapes in one."""
    return geometry_of_collection(collection)


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
        seen.setdefault(tuple(repr(_property(each, name)) for name in names), each)
    return collection.of(seen.values())
