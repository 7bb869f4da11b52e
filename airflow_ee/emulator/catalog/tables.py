"""Tables that exports have made: one JSON line for each feature, exact in coordinates and types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import shapely

from airflow_ee.emulator.catalog.assets import Kind, asset_name
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.values.dates import Date, timestamp
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry

FEATURES = "features.jsonl"
MAX_COLUMNS = 1000
MAX_VERTICES = 100_000
MAX_TEXT = 100_000
INDEX = "system:index"


@dataclass(frozen=True, slots=True, eq=False)
class TableAsset:
    """A feature collection of the catalogue."""

    id: str
    kind: Kind
    path: Path
    updated: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)
    start: datetime | None = None
    end: datetime | None = None

    def features(self) -> list[Feature]:
        """The features in the order in which they were written."""
        with self.path.open(encoding="utf-8") as lines:
            return [decoded(json.loads(line)) for line in lines]

    def element_properties(self) -> dict[str, Any]:
        """The properties with the times that a collection carries."""
        moments = {"system:time_start": self.start, "system:time_end": self.end}
        known = {name: moment for name, moment in moments.items() if moment is not None}
        return {**self.properties, **{name: round(Date.of_datetime(each).milliseconds) for name, each in known.items()}}

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset."""
        shown: dict[str, Any] = {"type": "TABLE", "name": asset_name(self.id), "id": self.id}
        shown["updateTime"] = timestamp(self.updated)
        if view == "BASIC":
            return shown
        moments = {"startTime": self.start, "endTime": self.end}
        shown |= {name: timestamp(moment) for name, moment in moments.items() if moment is not None}
        if self.properties:
            shown["properties"] = dict(self.properties)
        return {**shown, "sizeBytes": str(self.path.stat().st_size)}


def write_features(features: Iterable[Feature], folder: Path) -> Iterator[int]:
    """Write a table's features, telling after each how many there are; refuses what a table cannot hold."""
    with (folder / FEATURES).open("w", encoding="utf-8") as lines:
        for number, feature in enumerate(features):
            index = feature.properties.get(INDEX, feature.id)
            lines.write(json.dumps(encoded(feature, str(number if index is None else index))) + "\n")
            yield number + 1


_FLAGS = ("geodesic", "even_odd", "unbounded")


def encoded(feature: Feature, index: str) -> dict[str, Any]:
    """A feature as plain data."""
    named = {name: value for name, value in feature.properties.items() if name != INDEX}
    if len(named) > MAX_COLUMNS:
        raise invalid(f"Table has too many columns: {len(named)} (max: {MAX_COLUMNS}).")
    properties = {name: _value(name, value) for name, value in named.items() if value is not None}
    return {"index": index, "geometry": _shape(feature.geometry), "properties": properties}


def decoded(record: Mapping[str, Any]) -> Feature:
    """The inverse of :func:`encoded`."""
    shape = record["geometry"]
    geometry = None
    if shape is not None:
        geometry = Geometry(
            shapely.from_wkb(bytes.fromhex(shape["wkb"])), Crs(shape["crs"]), **{name: shape[name] for name in _FLAGS}
        )
    properties = {name: _typed(value) for name, value in record["properties"].items()}
    return Feature(geometry, {**properties, INDEX: record["index"]}, record["index"])


def _shape(geometry: Geometry | None) -> dict[str, Any] | None:
    if geometry is None:
        return None
    vertices = shapely.get_num_coordinates(geometry.shape)
    if vertices > MAX_VERTICES:
        raise invalid(f"Geometry has too many vertices: {vertices} (max: {MAX_VERTICES}).")
    wkb = shapely.to_wkb(geometry.shape, hex=True)
    flags = {name: getattr(geometry, name) for name in _FLAGS}
    return {"wkb": wkb, "crs": geometry.crs.text, **flags}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Date):
        return {"date": value.milliseconds}
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise invalid(f"Property '{name}' is too long: {len(value)} characters (max: {MAX_TEXT}).")
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(each, str | bool | int | float) for each in value):
        return value
    raise invalid(f"Property '{name}' has a type that a table asset cannot hold: {type(value).__name__}.")


def _typed(value: Any) -> Any:
    return Date(value["date"]) if isinstance(value, Mapping) else value
