"""Reductions of tables and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import kind_of, registry, texts
from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.element import Collection, geometry_of
from airflow_ee.emulator.values.reducers import Column, Reducer

Items = list[Any]
"""The public name of the argument is ``list``, which hides the type."""


def property_of(element: Any, name: str) -> Any:
    """A property, or null; the index may be kept as the element's id, ``.geo`` is the geometry, dates count in milliseconds."""
    value = element.properties.get(name)
    if value is None and name == ".geo":
        return geometry_of(element)
    if value is None and name in ("system:index", "system:id"):
        return getattr(element, "id", None)
    return value.milliseconds if isinstance(value, Date) else value


@registry.implements("Collection.reduceColumns")
def reduce_columns(
    collection: Collection, reducer: Reducer, selectors: Items, weight_selectors: Items | None = None
) -> dict[str, Any]:
    """The results over the elements' properties, by name; a property that is missing is null."""
    function = "Collection.reduceColumns"
    reducer.check_inputs(len(selectors), function)
    weights = _weights(collection, reducer, texts(weight_selectors or []), function)
    columns = [
        Column.of([property_of(each, name) for each in collection.elements], weight)
        for name, weight in zip(texts(selectors), weights, strict=True)
    ]
    return reducer.of_columns(columns, function=function)


def _weights(
    collection: Collection, reducer: Reducer, selectors: list[str], function: str
) -> list[Sequence[float] | None]:
    """Weights of each input, where they are given for those that are weighted."""
    heavy = reducer.weighted_inputs
    if not selectors:
        return [None] * len(heavy)
    if len(selectors) != sum(heavy):
        raise invalid(f"{function}: Need {sum(heavy)} weights for {reducer.label}, got {len(selectors)}.")
    names = iter(selectors)
    return [_weight(collection, next(names), function) if weighs else None for weighs in heavy]


def _weight(collection: Collection, name: str, function: str) -> list[float]:
    values = [property_of(each, name) for each in collection.elements]
    strange = next((value for value in values if value is not None and not isinstance(value, int | float)), None)
    if strange is not None:
        raise invalid(f"{function}: Property '{name}' is a weight and must be a number.")
    return [max(float(value or 0), 0.0) for value in values]


@registry.implements("List.reduce")
def reduce_list(list: Items, reducer: Reducer) -> Any:
    """The only result, or all of them by name; with several inputs, each item is a list of them."""
    results = reducer.of_columns(_columns(list, reducer.input_count), function="List.reduce")
    return next(iter(results.values())) if len(results) == 1 else results


def _columns(items: Items, inputs: int) -> Items:
    if inputs == 1:
        return [Column.of(items)]
    wrong = [each for each in items if not isinstance(each, list) or len(each) != inputs]
    if wrong:
        raise invalid(f"List.reduce: Need a list of {inputs} inputs for each item, got a {kind_of(wrong[0])}.")
    if not items:
        nothing = np.zeros(0)
        return [Column(nothing, nothing, np.zeros(0, np.bool_))] * inputs
    return [Column.of(each) for each in zip(*items, strict=True)]
