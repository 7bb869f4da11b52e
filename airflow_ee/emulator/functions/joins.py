"""Joins: elements of one collection with those of another that a filter says belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.collections import ordered
from airflow_ee.emulator.functions.filters import as_filter, compared
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.element import INDEX, Collection, Feature, field_of, index_of
from airflow_ee.emulator.values.filters import FilterValue, Operand


@dataclass(frozen=True, slots=True)
class Join:
    """How the matches of an element make a result."""

    kind: str
    key: str = ""
    second_key: str = ""
    ordering: str | None = None
    ascending: bool = True
    measure_key: str | None = None
    outer: bool = False

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the join."""
        return {"type": f"Join.{self.kind}"}


@registry.implements("Join.simple")
def simple() -> Join:
    """Elements that have a match."""
    return Join("simple")


@registry.implements("Join.inverted")
def inverted() -> Join:
    """Elements that have none."""
    return Join("inverted")


@registry.implements("Join.saveFirst")
def save_first(
    match_key: str,
    ordering: str | None = None,
    ascending: bool = True,
    measure_key: str | None = None,
    outer: bool = False,
) -> Join:
    """Elements with their first match as a property."""
    return Join("saveFirst", match_key, "", ordering, ascending, measure_key, outer)


@registry.implements("Join.saveBest")
def save_best(match_key: str, measure_key: str, outer: bool = False) -> Join:
    """Elements with their nearest match as a property."""
    return Join("saveBest", match_key, measure_key=measure_key, outer=outer)


@registry.implements("Join.saveAll")
def save_all(
    matches_key: str,
    ordering: str | None = None,
    ascending: bool = True,
    measure_key: str | None = None,
    outer: bool = False,
) -> Join:
    """Elements with all their matches as a property."""
    return Join("saveAll", matches_key, "", ordering, ascending, measure_key, outer)


@registry.implements("Join.inner")
def inner(primary_key: str = "primary", secondary_key: str = "secondary", measure_key: str | None = None) -> Join:
    """Features that hold two elements each, one for every pair that matches."""
    return Join("inner", primary_key, secondary_key, measure_key=measure_key)


@registry.implements("Join.apply")
def apply(join: Any, primary: Collection, secondary: Collection, condition: Any) -> Collection:
    """The result of a join of two collections."""
    if not isinstance(join, Join):
        raise invalid("Join.apply: 'join' must be a Join.")
    condition = as_filter(condition)
    if join.kind == "saveBest" and not condition.measures:
        raise invalid("Join.apply: saveBest needs a condition with a measure: maxDifference or withinDistance.")
    matches = _matcher(_candidates(primary, secondary, condition), condition)
    if join.kind in ("simple", "inverted"):
        wanted = join.kind == "simple"
        return primary.some_of(each for each in primary.elements if (next(matches(each), None) is not None) == wanted)
    if join.kind == "inner":
        return Collection(_pairs(join, primary, matches, condition))
    saved = (_saved(join, each, matches, condition) for each in primary.elements)
    return primary.of(each for each in saved if each is not None)


Matcher = Callable[[Any], Iterator[Any]]


def _candidates(primary: Collection, secondary: Collection, condition: FilterValue) -> list[Any]:
    """The secondary elements; where indices must be equal, a collection that is yet to be listed is asked for those."""
    if condition.equal_fields() != (INDEX, INDEX):
        return secondary.elements
    wanted = [index_of(each) for each in primary.elements]
    return secondary.filtered(compared("listContains", Operand(value=wanted), Operand(INDEX))).elements


def _matcher(candidates: list[Any], condition: FilterValue) -> Matcher:
    """Finds the matches of an element; where fields must be equal, without looking at every candidate."""
    fields = condition.equal_fields()
    if fields is None:
        return lambda element: _joined(element, candidates, condition)
    by_value: dict[Any, list[Any]] = {}
    for each in candidates:
        by_value.setdefault(_hashed(field_of(each, fields[1])), []).append(each)

    def matches(element: Any) -> Iterator[Any]:
        likely = by_value.get(_hashed(field_of(element, fields[0])), [])
        return _joined(element, likely, condition)

    return matches


def _joined(element: Any, candidates: list[Any], condition: FilterValue) -> Iterator[Any]:
    for each in candidates:
        deadline.check()  # five thousand by five thousand take a while
        if condition.joins(element, each):
            yield each


def _hashed(value: Any) -> Any:
    """A key that is equal for equal values; values without an order of their own share one."""
    plain = value.milliseconds if isinstance(value, Date) else value
    return plain if isinstance(plain, str | int | float) else type(plain).__name__


def _pairs(join: Join, primary: Collection, matches: Matcher, condition: FilterValue) -> Iterator[Feature]:
    for left in primary.elements:
        for right in matches(left):
            properties = {INDEX: f"{index_of(left)}_{index_of(right)}", join.key: left, join.second_key: right}
            if join.measure_key is not None:
                properties[join.measure_key] = condition.measure(left, right)
            yield Feature(None, properties)


def _saved(join: Join, element: Any, matches: Matcher, condition: FilterValue) -> Any:
    """The element with its matches; None where it has none and only those with matches count."""
    found = list(matches(element))
    if not found and not join.outer:
        return None
    if join.kind == "saveBest":
        measured = [(condition.measure(element, each), each) for each in found]
        found = [each for _, each in sorted(measured, key=lambda pair: _far_if_unknown(pair[0]))]
    elif join.ordering is not None:
        found = ordered(found, join.ordering, join.ascending)
    if join.kind != "saveAll":
        found = found[:1]
    if join.measure_key is not None:
        found = [_measured(join.measure_key, element, each, condition) for each in found]
    if join.kind == "saveAll":
        return element.with_properties({**element.properties, join.key: found})
    return element.with_properties({**element.properties, join.key: found[0]}) if found else element


def _far_if_unknown(measure: float | None) -> float:
    return float("inf") if measure is None else measure


def _measured(key: str, element: Any, match: Any, condition: FilterValue) -> Any:
    return match.with_properties({**match.properties, key: condition.measure(element, match)})
