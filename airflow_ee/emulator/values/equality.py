"""When two values are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def same(one: Any, two: Any) -> bool:
    """Whether two values are equal: numbers by value whatever their kind, truth values only to each other.

    >>> same([1, "a"], [1.0, "a"]), same(True, 1)
    (True, False)
    """
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(same(left, right) for left, right in zip(one, two, strict=True))
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(value, two[key]) for key, value in one.items())
    return bool(one == two)


def position(items: list[Any], element: Any) -> int:
    """Where an element is first in a list, or -1."""
    return next((index for index, each in enumerate(items) if same(each, element)), -1)
