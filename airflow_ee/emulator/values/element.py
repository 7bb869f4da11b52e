"""Features and collections. A collection from the catalogue stays a query until somebody looks at its elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Bounds
from airflow_ee.emulator.values.dates import DateRange
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image

MAX_ELEMENTS = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """A geometry with properties."""

    geometry: Geometry | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None

    def with_properties(self, properties: Mapping[str, Any]) -> Feature:
        """The same feature with other properties."""
        return replace(self, properties=dict(properties))

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the feature."""
        shown: dict[str, Any] = {"type": "Feature", "geometry": self.geometry, "properties": dict(self.properties)}
        return {**shown, "id": self.id} if self.id is not None else shown


class Filter(Protocol):
    """What a collection needs to know of a filter."""

    def matches(self, element: Any) -> bool:
        """Whether the element stays."""

    def window(self) -> DateRange | None:
        """An interval outside of which nothing can match, where there is one."""

    def region(self) -> Bounds | None:
        """Longitudes and latitudes outside of which nothing can match, where there are some."""


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
    ) -> None:
        self._elements = None if query else list(elements)
        self._query = query
        self._filters = filters
        self.of_images = of_images
        self.properties: Mapping[str, Any] = dict(properties or {})
        self.id = id

    @property
    def elements(self) -> list[Any]:
        """The elements; a query is answered once."""
        if self._elements is None:
            self._elements = self._answer()
        return self._elements

    def _answer(self) -> list[Any]:
        found: list[Any] = []
        assert self._query is not None
        for image in self._query(self._filters):
            if all(each.matches(image) for each in self._filters):
                found.append(image)
            if len(found) > MAX_ELEMENTS:
                raise invalid(f"Collection query aborted after accumulating over {MAX_ELEMENTS} elements.")
        return found

    def filtered(self, condition: Filter) -> Collection:
        """Only the elements that match; a query becomes narrower instead of being answered."""
        if self._elements is None:
            return self._like(query=self._query, filters=(*self._filters, condition))
        return self._like(element for element in self._elements if condition.matches(element))

    def of(self, elements: Iterable[Any]) -> Collection:
        """The same collection with other elements."""
        return self._like(elements)

    def _like(
        self, elements: Iterable[Any] = (), *, query: Query | None = None, filters: tuple[Filter, ...] = ()
    ) -> Collection:
        return Collection(
            elements, of_images=self.of_images, query=query, filters=filters, properties=self.properties, id=self.id
        )

    def with_properties(self, properties: Mapping[str, Any]) -> Collection:
        """The same collection with other properties."""
        return Collection(self.elements, of_images=self.of_images, properties=properties, id=self.id)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the collection."""
        shown: dict[str, Any] = {"type": "ImageCollection" if self.of_images else "FeatureCollection"}
        if self.id is not None:
            shown["id"] = self.id
        if self.of_images:
            shown["bands"] = []
        else:
            shown["columns"] = {}
        if self.properties:
            shown["properties"] = dict(self.properties)
        return {**shown, "features": self.elements}


Element = Image | Feature | Collection


def geometry_of(element: Any) -> Geometry | None:
    """Where an element is."""
    if isinstance(element, Geometry):
        return element
    if isinstance(element, Image):
        return element.geometry()
    return element.geometry if isinstance(element, Feature) else None


def bounds_of(element: Any) -> Bounds | None:
    """The longitudes and latitudes of an element."""
    geometry = geometry_of(element)
    return None if geometry is None or geometry.shape.is_empty else geometry.bounds_in(WGS84)
