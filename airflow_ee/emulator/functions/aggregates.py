"""Statistics of one property of a collection's elements. Elements without it are passed over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.columns import property_of
from airflow_ee.emulator.functions.promote import kind_of, registry
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.reducers.collectors import as_key, hashable


def _values(collection: Collection, property: str) -> list[Any]:
    values = (property_of(each, property) for each in collection.elements)
    return [value for value in values if value is not None]


def _numbers(collection: Collection, property: str, function: str) -> list[float]:
    values = _values(collection, property)
    strange = next((value for value in values if not isinstance(value, int | float)), None)
    if strange is not None:
        raise invalid(f"{function}: Property '{property}' is not a number but a {kind_of(strange)}.")
    return values


@registry.implements("AggregateFeatureCollection.array")
def aggregate_array(collection: Collection, property: str) -> list[Any]:
    """The values in order."""
    return _values(collection, property)


@registry.implements("AggregateFeatureCollection.first")
def aggregate_first(collection: Collection, property: str) -> Any:
    """The first element's value, or null."""
    return next(iter(_values(collection, property)), None)


@registry.implements("AggregateFeatureCollection.count")
def aggregate_count(collection: Collection, property: str) -> int:
    """How many have the property."""
    return len(_values(collection, property))


@registry.implements("AggregateFeatureCollection.count_distinct")
def aggregate_count_distinct(collection: Collection, property: str) -> int:
    """How many different values there are."""
    return len({hashable(value) for value in _values(collection, property)})


@registry.implements("AggregateFeatureCollection.histogram")
def aggregate_histogram(collection: Collection, property: str) -> dict[str, int]:
    """How often each value occurs, by the value as text."""
    counts: dict[str, int] = {}
    for value in _values(collection, property):
        counts[as_key(value)] = counts.get(as_key(value), 0) + 1
    return counts


def _extreme(name: str, choose: Callable[[list[Any]], Any]) -> Callable[[Collection, str], Any]:
    def aggregate(collection: Collection, property: str) -> Any:
        values = _values(collection, property)
        if len({kind_of(value) for value in values}) > 1 or kind_of(next(iter(values), 0)) not in ("Number", "String"):
            raise invalid(
                f"AggregateFeatureCollection.{name}: Property '{property}' has not only numbers or only texts."
            )
        return choose(values) if values else None

    aggregate.__doc__ = f"The {name} of numbers, or of texts by the alphabet; null of none."
    return aggregate


registry.add("AggregateFeatureCollection.min", _extreme("min", min))
registry.add("AggregateFeatureCollection.max", _extreme("max", max))


def _total(values: list[float]) -> float:
    return float(sum(values))


def _mean(values: list[float]) -> float | None:
    return _total(values) / len(values) if values else None


def _product(values: list[float]) -> float | None:
    return float(math.prod(values)) if values else None


def _variance(values: list[float]) -> float | None:
    return float(np.var(values)) if values else None


def _sample_variance(values: list[float]) -> float | None:
    return float(np.var(values, ddof=1)) if len(values) > 1 else None


def _root(variance: Callable[[list[float]], float | None]) -> Callable[[list[float]], float | None]:
    def deviation(values: list[float]) -> float | None:
        squares = variance(values)
        return None if squares is None else math.sqrt(squares)

    return deviation


NUMERIC: dict[str, Callable[[list[float]], float | None]] = {
    "sum": _total,
    "mean": _mean,
    "product": _product,
    "total_var": _variance,
    "total_sd": _root(_variance),
    "sample_var": _sample_variance,
    "sample_sd": _root(_sample_variance),
}
"""Statistics of numbers, by the name after ``AggregateFeatureCollection.``"""


def _numeric(name: str) -> Callable[[Collection, str], float | None]:
    def aggregate(collection: Collection, property: str) -> float | None:
        return NUMERIC[name](_numbers(collection, property, f"AggregateFeatureCollection.{name}"))

    aggregate.__doc__ = f"The {name} of numbers."
    return aggregate


for _name in NUMERIC:
    registry.add(f"AggregateFeatureCollection.{_name}", _numeric(_name))


@registry.implements("AggregateFeatureCollection.stats")
def aggregate_stats(collection: Collection, property: str) -> dict[str, Any]:
    """All of them at once; every value weighs 1."""
    values = _numbers(collection, property, "AggregateFeatureCollection.stats")
    shown = {name: NUMERIC[name](values) for name in NUMERIC if name != "product"}
    extremes = {"min": min(values, default=None), "max": max(values, default=None)}
    counts = {"valid_count": len(values), "weight_sum": len(values), "total_count": len(collection.elements)}
    sums = {"weighted_sum": shown["sum"], "sum_sq": _total([value * value for value in values])}
    return {**shown, **extremes, **counts, **sums}
