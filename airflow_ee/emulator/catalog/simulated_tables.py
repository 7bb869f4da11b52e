"""Tables that are made up: features by code, in nobody's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from airflow_ee.emulator.catalog.assets import Kind, asset_name
from airflow_ee.emulator.values.dates import timestamp
from airflow_ee.emulator.values.element import Feature

_UPDATED = datetime(2019, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class SimulatedTable:
    """A feature collection of the catalogue whose features are made on first use."""

    id: str
    make: Callable[[], Sequence[Feature]] = field(repr=False)
    description: str = "Made by the emulator: outlines drawn by hand, no borders."
    kind = Kind.SIMULATED

    @cached_property
    def _features(self) -> tuple[Feature, ...]:
        return tuple(self.make())

    def features(self) -> list[Feature]:
        """The features in the order of the table."""
        return list(self._features)

    @property
    def properties(self) -> Mapping[str, Any]:
        """They say what the outlines are."""
        return {
            "title": f"Simulated {self.id}",
            "description": self.description,
        }

    def element_properties(self) -> Mapping[str, Any]:
        """What a collection carries: the same."""
        return self.properties

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset."""
        shown = {"type": "TABLE", "name": asset_name(self.id), "id": self.id, "updateTime": timestamp(_UPDATED)}
        return shown if view == "BASIC" else {**shown, "properties": dict(self.properties)}
