"""Features and collections. A collection from the catalogue stays a query until somebody looks at its elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import DateRange
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image

MAX_ELEMENTS = 5000


INDEX = "system:index"
"""The property that names an element within its collection."""


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """A geometry with properties. Its id is its index, which is a property too, but is not shown among them.

    >>> Feature(None, {"system:index": "7", "height": 3}).as_value()["id"]
    '7'
    """

    geometry: Geometry | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None

    def __post_init__(self) -> None:
        if self.id is not None:
            object.__setattr__(self, "properties", {**self.properties, INDEX: self.id})
        else:
            object.__setattr__(self, "id", self.properties.get(INDEX))

    def with_properties(self, properties: Mapping[str, Any]) -> Feature:
        """The same feature with other properties."""
        return replace(self, properties=dict(properties), id=None)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the feature."""
        properties = {name: value for name, value in self.properties.items() if name != INDEX}
        shown: dict[str, Any] = {"type": "Feature", "geometry": self.geometry, "properties": properties}
        return {**shown, "id": self.id} if self.id is not None else shown


class Filter(Protocol):
    """What a collection needs to know of a filter."""

    def matches(self, element: Any) -> bool:
        """Whether the element stays."""

    def window(self) -> DateRange | None:
        """An interval outside of which nothing can match, where there is one."""

    def region(self) -> Bounds | None:
        """Longitudes and latitudes outside of which nothing can match, where there are some."""


@runtime_checkable
class NamesImages(Protocol):
    """A filter that may know the only images that can match."""

    def indices(self) -> Sequence[str] | None:
        """Their indices, where the filter names them."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Where a filter lets anything pass, without asking it: for elements that will be changed before it looks at them."""

    filter: Filter

    def matches(self, element: Any) -> bool:  # noqa: ARG002 -- the filter itself decides later
        """Whatever it is."""
        return True

    def window(self) -> DateRange | None:
        """The filter's."""
        return self.filter.window()

    def region(self) -> Bounds | None:
        """The filter's."""
        return self.filter.region()


Query = Callable[[Sequence[Filter]], Iterable[Image]]
"""Finds the images of a catalogue's collection that filters may let pass; it may find too many, never too few."""


class Collection:
    """Elements in order, with properties of their own."""

    def __init__(
        self,
        elements: Iterable[Any] = (),
        *,
        of_images: bool = False,
        query: Query | None = None,
        filters: tuple[Filter, ...] = (),
        properties: Mapping[str, Any] | None = None,
        id: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self._elements = None if query else [_numbered(each, number) for number, each in enumerate(elements)]
        self._query = query
        self._filters = filters
        self.of_images = of_images
        self.properties: Mapping[str, Any] = dict(properties or {})
        self.id = id
        self.columns: Mapping[str, str] = dict(columns or {})
        """Types of the elements' properties by name, where the collection was made with any."""

    @property
    def elements(self) -> list[Any]:
        """The elements; a query is answered once."""
        if self._elements is None:
            self._elements = self._answer()
        return self._elements

    def head(self, count: int) -> list[Any]:
        """The first elements; a query that has not been answered yet goes no further than that."""
        if self._elements is not None or count > MAX_ELEMENTS:
            return self.elements[:count]
        return list(islice(self._matches(), count))

    def _matches(self) -> Iterator[Any]:
        assert self._query is not None
        return (image for image in self._query(self._filters) if all(each.matches(image) for each in self._filters))

    def _answer(self) -> list[Any]:
        found: list[Any] = []
        for image in self._matches():
            found.append(image)
            if len(found) > MAX_ELEMENTS:
                raise invalid(f"Collection query aborted after accumulating over {MAX_ELEMENTS} elements.")
        return found

    def filtered(self, condition: Filter) -> Collection:
        """Only the elements that match; a query becomes narrower instead of being answered."""
        if self._elements is None:
            return self._like(query=self._query, filters=(*self._filters, condition))
        return self.some_of(element for element in self._elements if condition.matches(element))

    @property
    def waits(self) -> bool:
        """Whether it is a query that nobody has asked yet: filters that follow make it narrower."""
        return self._elements is None

    def changed(self, change: Callable[[Any], Any]) -> Collection:
        """A query's elements after a change that leaves their properties and shapes; it goes on waiting for filters."""

        def query(later: Sequence[Filter]) -> Iterator[Any]:
            return map(change, self._like(query=self._query, filters=(*self._filters, *later)).candidates())

        return self._like(query=query)

    def candidates(self, hints: Iterable[Hint] = ()) -> Iterator[Any]:
        """The elements one by one, of a query only those that the hints leave."""
        if self._elements is not None:
            return iter(self._elements)
        return self._like(query=self._query, filters=(*self._filters, *hints))._matches()

    def of(self, elements: Iterable[Any]) -> Collection:
        """The same collection with other elements, whose columns nobody knows."""
        return self._like(elements)

    def some_of(self, elements: Iterable[Any]) -> Collection:
        """The same collection with fewer elements, or in another order."""
        return self._like(elements, columns=self.columns)

    def _like(
        self,
        elements: Iterable[Any] = (),
        *,
        query: Query | None = None,
        filters: tuple[Filter, ...] = (),
        columns: Mapping[str, str] | None = None,
    ) -> Collection:
        return Collection(
            elements,
            of_images=self.of_images,
            query=query,
            filters=filters,
            properties=self.properties,
            id=self.id,
            columns=columns,
        )

    def with_properties(self, properties: Mapping[str, Any]) -> Collection:
        """The same collection with other properties."""
        return Collection(
            self.elements, of_images=self.of_images, properties=properties, id=self.id, columns=self.columns
        )

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the collection, its elements left out."""
        shown: dict[str, Any] = {"type": "ImageCollection" if self.of_images else "FeatureCollection"}
        if self.id is not None:
            shown["id"] = self.id
        if self.of_images:
            shown["bands"] = []
        else:
            shown["columns"] = dict(sorted(self.columns.items()))
        properties = {name: value for name, value in self.properties.items() if name != INDEX}
        if properties:
            shown["properties"] = properties
        return shown


Element = Image | Feature | Collection


def geometry_of(element: Any) -> Geometry | None:
    """Where an element is."""
    if isinstance(element, Geometry):
        return element
    if isinstance(element, Image):
        return element.geometry()
    return element.geometry if isinstance(element, Feature) else None


def _numbered(element: Any, number: int) -> Any:
    """An element of a collection has an index: its own, or its place."""
    if isinstance(element, Image | Feature | Collection) and element.properties.get(INDEX) is None:
        return element.with_properties({**element.properties, INDEX: str(number)})
    return element


def index_of(element: Any) -> str:
    """The index of an element."""
    return str(element.properties.get(INDEX, "0"))


GEOMETRY_FIELDS = (".geo", ".all", "system:footprint")


def field_of(element: Any, name: str) -> Any:
    """A property, or the geometry under one of the names that stand for it."""
    if name in GEOMETRY_FIELDS and element.properties.get(name) is None:
        return geometry_of(element)
    return element.properties.get(name)


def columns_of(elements: Iterable[Any]) -> dict[str, str]:
    """The types of features' properties by name: of several types what they have in common."""
    found: dict[str, tuple[str, ...]] = {INDEX: ("String", "Object")}
    for element in elements:
        for name, value in element.properties.items():
            if value is not None:
                types = _column_types(value)
                found[name] = tuple(each for each in found.get(name, types) if each in types)
    return {name: types[0] for name, types in found.items()}


def _column_types(value: Any) -> tuple[str, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        return ("Integer" if -(2**31) <= value < 2**31 else "Long", "Number", "Object")
    if isinstance(value, list) and value:
        kinds = {_column_types(each)[0] for each in value if each is not None}
        return (f"List<{kinds.pop()}>", "List", "Object") if len(kinds) == 1 else ("List", "Object")
    return types_of(value)


def types_of(value: Any) -> tuple[str, ...]:
    """The service's names for a value's type, the narrowest first."""
    if isinstance(value, bool):
        return ("Boolean", "Object")
    if isinstance(value, int | float):
        return ("Integer" if isinstance(value, int) else "Float", "Number", "Object")
    if isinstance(value, Geometry):
        return (value.shape.geom_type, "Geometry", "Object")
    if isinstance(value, Collection):
        return ("ImageCollection", "FeatureCollection", "Element", "Object")[0 if value.of_images else 1 :]
    if isinstance(value, Image | Feature):
        return (type(value).__name__, "Element", "Object")
    plain: dict[type, str] = {str: "String", list: "List", dict: "Dictionary"}
    return (plain.get(type(value), type(value).__name__), "Object")
