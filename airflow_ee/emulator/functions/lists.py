"""Lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import Algorithm, kind_of, registry

MAX_LIST = 1_000_000

Items = list[Any]
"""The public name of the argument is ``list``, which hides the type."""


@registry.implements("List.get")
def get_item(list: Items, index: int) -> Any:
    """An item, from the end for negative numbers."""
    if not -len(list) <= index < len(list):
        raise invalid(f"List.get: List index must be between 0 and {len(list) - 1}, or -1 and -{len(list)}.")
    return list[index]


@registry.implements("List.map")
def map_list(list: Items, base_algorithm: Algorithm, drop_nulls: bool = False) -> Items:
    """A function of each item."""
    mapped = [base_algorithm(each) for each in list]
    return [each for each in mapped if each is not None] if drop_nulls else mapped


@registry.implements("List.iterate")
def iterate_list(list: Items, function: Algorithm, first: Any = None) -> Any:
    """A function of each item and of its own result before."""
    result = first
    for each in list:
        result = function(each, result)
    return result


@registry.implements("List.sequence")
def sequence(start: float, end: float | None = None, step: float = 1, count: int | None = None) -> Items:
    """Numbers from start to end, both included; or so many of them."""
    if end is None:
        number = count or 0
    elif count is not None:
        step, number = (end - start) / max(count - 1, 1), count
    else:
        if step == 0:
            raise invalid("List.sequence: step must not be 0.")
        number = math.floor((end - start) / step + 1e-9) + 1
    if number > MAX_LIST:
        raise invalid(f"List.sequence: {number} items are too many (maximum {MAX_LIST}).")
    return [start + step * index for index in range(max(number, 0))]


@registry.implements("List.repeat")
def repeat(value: Any, count: int) -> Items:
    """The same item again and again."""
    return [value] * min(count, MAX_LIST)


@registry.implements("List.cat")
def cat_lists(list: Items, other: Items) -> Items:
    """One after the other."""
    return list + other


@registry.implements("List.add")
def add_item(list: Items, element: Any = None) -> Items:
    """One item more."""
    return [*list, element]


@registry.implements("List.slice")
def slice_list(list: Items, start: int, end: int | None = None, step: int = 1) -> Items:
    """A part."""
    return list[start:end:step]


@registry.implements("List.contains")
def contains(list: Items, element: Any = None) -> bool:
    """Whether an item is there."""
    return element in list


@registry.implements("List.indexOf")
def index_of(list: Items, element: Any = None) -> int:
    """Where an item is first, or -1."""
    return list.index(element) if element in list else -1


@registry.implements("List.zip")
def zip_lists(list: Items, other: Items) -> Items:
    """Pairs."""
    return [[one, two] for one, two in zip(list, other, strict=False)]


@registry.implements("List.sort")
def sort_list(list: Items, keys: Items | None = None) -> Items:
    """In order, perhaps by other values."""
    by = keys if keys is not None else list
    if len({kind_of(each) for each in by}) > 1:
        raise invalid("List.sort: the items are of different kinds.")
    order = sorted(range(len(list)), key=lambda number: by[number])
    return [list[number] for number in order]


@registry.implements("List.distinct")
def distinct(list: Items) -> Items:
    """Each item once."""
    seen: Items = []
    for each in list:
        if each not in seen:
            seen.append(each)
    return seen


@registry.implements("List.flatten")
def flatten(list: Items) -> Items:
    """The items of lists of lists, however deep, found with a stack."""
    flat: Items = []
    stack = [iter(list)]
    while stack:
        for each in stack[-1]:
            if isinstance(each, Sequence) and not isinstance(each, str):
                stack.append(iter(each))
                break
            flat.append(each)
        else:
            stack.pop()
    return flat


@registry.implements("List.length", "List.size")
def list_length(list: Items) -> int:
    """How many items."""
    return len(list)


@registry.implements("List.reverse")
def reverse(list: Items) -> Items:
    """Back to front."""
    return list[::-1]
