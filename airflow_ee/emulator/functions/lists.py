"""Lists: what they hold, where it is, and lists made from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_ee.emulator import deadline
from airflow_ee.emulator.deadline import Budget
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_geometry, as_list, cannot, kind_of, registry
from airflow_ee.emulator.functions.strings import text_of
from airflow_ee.emulator.memory import MAX_ITEMS, check_items, check_text
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.equality import position, same
from airflow_ee.emulator.values.geometry import Geometry

Items = list[Any]
"""The public name of the argument is ``list``, which hides the type."""


def place(function: str, items: Items, index: int, *, end: bool = False) -> int:
    """An index from the start, for one that may count from the end; ``end`` allows the place behind the last item."""
    size = len(items)
    if not -size <= index < size + end:
        raise invalid(f"{function}: List index must be between 0 and {size - 1}, or -1 and {-size}. Found '{index}'.")
    return index + size if index < 0 else index


@registry.implements("List.get")
def get_item(list: Items, index: int) -> Any:
    """An item, from the end for negative numbers."""
    return list[place("List.get", list, index)]


def typed(function: str, value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    """A value that must be of a kind."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise invalid(f"{function}: {cannot(value, name)}")
    return value


@registry.implements("List.getNumber")
def get_number(list: Items, index: int) -> Any:
    """An item that is a number."""
    return typed("List.getNumber", list[place("List.getNumber", list, index)], (int, float), "Number")


@registry.implements("List.getString")
def get_string(list: Items, index: int) -> Any:
    """An item that is a text."""
    return typed("List.getString", list[place("List.getString", list, index)], str, "String")


@registry.implements("List.getArray")
def get_array(list: Items, index: int) -> Any:
    """An item that is an array."""
    return typed("List.getArray", list[place("List.getArray", list, index)], Array, "Array")


@registry.implements("List.getGeometry")
def get_geometry(list: Items, index: int) -> Geometry:
    """An item that is a geometry."""
    geometry: Geometry = as_geometry(list[place("List.getGeometry", list, index)])
    return geometry


@registry.implements("List.add")
def add_item(list: Items, element: Any) -> Items:
    """One item more."""
    return [*list, element]


@registry.implements("List.cat")
def cat_lists(list: Items, other: Items) -> Items:
    """One after the other."""
    return list + other


@registry.implements("List.insert")
def insert_item(list: Items, index: int, element: Any) -> Items:
    """One item more, before another."""
    at = place("List.insert", list, index, end=True)
    return [*list[:at], element, *list[at:]]


@registry.implements("List.set")
def set_item(list: Items, index: int, element: Any) -> Items:
    """One item replaced."""
    at = place("List.set", list, index)
    return [*list[:at], element, *list[at + 1 :]]


@registry.implements("List.swap")
def swap_items(list: Items, pos1: int, pos2: int) -> Items:
    """Two items exchanged."""
    one, two = place("List.swap", list, pos1), place("List.swap", list, pos2)
    swapped = [*list]
    swapped[one], swapped[two] = list[two], list[one]
    return swapped


@registry.implements("List.slice")
def slice_list(list: Items, start: int, end: int | None = None, step: int | None = None) -> Items:
    """A part."""
    if step is not None and step < 1:
        raise invalid(f"List.slice: a step of {step} is not emulated.")
    return list[start:end:step]


@registry.implements("List.splice")
def splice(list: Items, start: int, count: int, other: Items | None = None) -> Items:
    """Some items replaced by others."""
    at = place("List.splice", list, start, end=True)
    if not 0 <= count <= len(list) - at:
        raise invalid(f"List.splice: there are no {count} items from position {at} on.")
    return [*list[:at], *(other or []), *list[at + count :]]


@registry.implements("List.contains")
def contains(list: Items, element: Any) -> bool:
    """Whether an item is there."""
    return position(list, element) >= 0


@registry.implements("List.containsAll")
def contains_all(list: Items, other: Items) -> bool:
    """Whether all items of another list are there."""
    return all(position(list, each) >= 0 for each in other)


@registry.implements("List.equals")
def equals(list: Items, other: Items) -> bool:
    """Whether both have the same items in the same order."""
    return same(list, other)


@registry.implements("List.frequency")
def frequency(list: Items, element: Any) -> int:
    """How often an item is there."""
    return sum(same(each, element) for each in list)


@registry.implements("List.indexOf")
def index_of(list: Items, element: Any) -> int:
    """Where an item is first, or -1."""
    return position(list, element)


@registry.implements("List.indexOfSublist")
def index_of_sublist(list: Items, target: Items) -> int:
    """Where a run of items begins first, or -1."""
    return next(iter(_runs(list, target)), -1)


@registry.implements("List.lastIndexOfSubList")
def last_index_of_sublist(list: Items, target: Items) -> int:
    """Where a run of items begins last, or -1."""
    return max(_runs(list, target), default=-1)


def _runs(items: Items, target: Items) -> Items:
    starts = [at for at in range(len(items) - len(target) + 1) if not target or same(items[at], target[0])]
    return [at for at in starts if _begins(items, at, target)]


def _begins(items: Items, at: int, target: Items) -> bool:
    deadline.check()
    return all(same(items[at + number], each) for number, each in enumerate(target))


@registry.implements("List.remove")
def remove_item(list: Items, element: Any) -> Items:
    """Without the first of an item."""
    at = position(list, element)
    return list if at < 0 else [*list[:at], *list[at + 1 :]]


@registry.implements("List.removeAll")
def remove_all(list: Items, other: Items) -> Items:
    """Without the items of another list."""
    return [each for each in list if position(other, each) < 0]


@registry.implements("List.replace")
def replace_item(list: Items, oldval: Any, newval: Any) -> Items:
    """The first of an item replaced."""
    at = position(list, oldval)
    return list if at < 0 else [*list[:at], newval, *list[at + 1 :]]


@registry.implements("List.replaceAll")
def replace_all(list: Items, oldval: Any, newval: Any) -> Items:
    """Every such item replaced."""
    return [newval if same(each, oldval) else each for each in list]


@registry.implements("List.distinct")
def distinct(list: Items) -> Items:
    """Each item once, where it is first."""
    seen: Items = []
    for each in list:
        if position(seen, each) < 0:
            seen.append(each)
    return seen


@registry.implements("List.zip")
def zip_lists(list: Items, other: Items) -> Items:
    """Pairs, as many as the shorter list has items."""
    return [[one, two] for one, two in zip(list, other, strict=False)]


@registry.implements("List.unzip")
def unzip(list: Items) -> Items:
    """The first items of all lists, the second ones, and so on, as many as the shortest has."""
    rows = [as_list(each) for each in list]
    check_items(len(rows) * min(map(len, rows), default=0))
    return [[*each] for each in zip(*rows, strict=False)]


@registry.implements("List.flatten")
def flatten(list: Items) -> Items:
    """The items of lists of lists, however deep, found with a stack."""
    flat: Items = []
    budget = Budget(MAX_ITEMS, "User memory limit exceeded.")
    stack = [iter(list)]
    while stack:
        for each in stack[-1]:
            if isinstance(each, Sequence) and not isinstance(each, str):
                budget.spend()
                stack.append(iter(each))
                break
            flat.append(each)
            budget.spend()
        else:
            stack.pop()
    return flat


@registry.implements("List.join")
def join(list: Items, separator: str = "") -> str:
    """The texts of the items with another between them."""
    texts = [text_of(each, "List.join") for each in list]
    check_text(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@registry.implements("List.length", "List.size")
def list_length(list: Items) -> int:
    """How many items."""
    return len(list)


@registry.implements("List.reverse")
def reverse(list: Items) -> Items:
    """Back to front."""
    return list[::-1]


@registry.implements("List.rotate")
def rotate(list: Items, distance: int) -> Items:
    """Every item moved on; those that leave the end come in at the start."""
    at = -distance % len(list) if list else 0
    return list[at:] + list[:at]


@registry.implements("List.sort")
def sort_list(list: Items, keys: Items | None = None) -> Items:
    """In order, perhaps by other values; equal ones stay as they were."""
    by = list if keys is None else keys
    if len(by) != len(list):
        raise invalid(f"List.sort: 'keys' ({len(by)}) must have the same length as 'list' ({len(list)}).")
    kinds = {kind_of(each) for each in by}
    if len(kinds) > 1 or not kinds <= {"Number", "String", "Boolean", "Date"}:
        raise invalid(f"List.sort: the order of {' and '.join(sorted(kinds))} is not emulated.")
    return [list[number] for number in sorted(range(len(list)), key=lambda number: _rank(by[number]))]


def _rank(key: Any) -> Any:
    """Java puts what is not a number last, and compares texts by UTF-16 units."""
    if isinstance(key, str):
        return key.encode("utf-16-be", "surrogatepass")
    return (key != key, key) if isinstance(key, float | int) else key  # noqa: PLR0124 -- NaN alone differs from itself
