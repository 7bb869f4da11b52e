"""What one request may use while its expression is evaluated, and what it has touched."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_ee.emulator import deadline
from airflow_ee.emulator.catalog.assets import Kind, marker
from airflow_ee.emulator.graph import Evaluator, compile_graph
from airflow_ee.emulator.memory import Meter

if TYPE_CHECKING:
    from airflow_ee.emulator.catalog.catalog import Catalog
    from airflow_ee.emulator.registry import Registry


class Session:
    """One evaluation: the catalogue, the functions, the time, and the kinds of imagery that were touched."""

    def __init__(self, catalog: Catalog, registry: Registry, now: datetime) -> None:
        self.catalog = catalog
        self.registry = registry
        self.now = now
        self.kinds: set[Kind] = set()
        self._meter = Meter()
        self.used_stored_assets = False
        """Whether the answer depends on assets that may be replaced or deleted."""

    @property
    def marker(self) -> str:
        """The value of the answer's marker header."""
        return marker(self.kinds)

    def touch(self, kind: Kind) -> None:
        """Remember that imagery of this kind was used."""
        self.kinds.add(kind)

    def evaluate(self, expression: Mapping[str, Any]) -> Any:
        """The value of an expression."""
        return Evaluator(compile_graph(expression), self.call).run()

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Run an algorithm in this session."""
        deadline.check()
        value = self.registry.call(name, arguments, self)
        self._meter.note(value)
        return value
