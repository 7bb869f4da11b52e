"""The columns of a table, and its values as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry

INDEX = "system:index"
GEOMETRY = ".geo"
_NO_GEOMETRY = '{"type":"MultiPoint","coordinates":[]}'
"""How the service writes the geometry of a feature that has none."""


@dataclass(frozen=True, slots=True)
class Table:
    """Features with the columns that are written of them."""

    features: Sequence[Feature]
    columns: tuple[str, ...]

    @classmethod
    def of(cls, features: Sequence[Feature], selectors: Sequence[str]) -> Table:
        """The selected columns in their order; else the index, the first feature's properties by name, the geometry."""
        if selectors:
            return cls(features, tuple(selectors))
        names = sorted(features[0].properties) if features else []
        named = [name for name in names if name not in (INDEX, GEOMETRY)]
        return cls(features, (INDEX, *named, GEOMETRY))

    @property
    def has_geometry(self) -> bool:
        """Whether geometries are written."""
        return GEOMETRY in self.columns

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are properties."""
        return tuple(name for name in self.columns if name not in (INDEX, GEOMETRY))

    def value(self, number: int, column: str) -> Any:
        """A property of the feature of that number; the index is always known."""
        feature = self.features[number]
        if column == INDEX:
            return index_of(feature, number)
        return feature.properties.get(column)

    def geometry(self, number: int) -> Geometry | None:
        """The geometry of the feature of that number, if geometries are written."""
        return self.features[number].geometry if self.has_geometry else None


def index_of(feature: Feature, number: int) -> str:
    """A feature's index, or its place in the collection."""
    index = feature.properties.get(INDEX, feature.id)
    return str(number if index is None else index)


def text(value: Any) -> str:
    """A property as text, nested ones in brackets: ``[1, 2]``, ``{a=1}``; nothing for null.

    >>> text([1.0, {"a": None}]), text(0.5), text(None)
    ('[1, {a=null}]', '0.5', '')
    """
    return "" if value is None else _nested(value)


def _nested(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Date):
        return value.moment.strftime("%Y-%m-%dT%H:%M:%S")
    if isinstance(value, Geometry):
        return geometry_text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_nested(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_nested(each) for each in value) + "]"
    return json.dumps(value.as_value(), default=str) if hasattr(value, "as_value") else str(value)


def _number(value: float) -> str:
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def geometry_text(geometry: Geometry | None) -> str:
    """A geometry as compact GeoJSON, Earth Engine's own members first."""
    if geometry is None:
        return _NO_GEOMETRY
    return json.dumps(geojson(geometry), separators=(",", ":"))


def geojson(geometry: Geometry) -> dict[str, Any]:
    """A geometry with ``geodesic`` before the rest, as the service orders them."""
    shown = geometry.as_value()
    first: dict[str, Any] = {name: shown[name] for name in ("geodesic", "crs") if name in shown}
    return {**first, **shown}
