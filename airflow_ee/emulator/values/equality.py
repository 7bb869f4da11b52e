"""When two values are the same, and when one counts as true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_ee.emulator import deadline


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
    deadline.check()  # some ask this for each of a million items
    return next((index for index, each in enumerate(items) if same(each, element)), -1)


def truth(condition: Any) -> bool:
    """Whether a condition holds: null, 0, NaN and empty texts, lists and dictionaries are false.

    >>> truth("false"), truth(0.0), truth({}), truth(float("nan")), truth(object())
    (True, False, False, False, True)
    """
    if isinstance(condition, float) and condition != condition:  # noqa: PLR0124 -- what is no number differs from itself
        return False
    plain = condition is None or isinstance(condition, bool | int | float | str | list | Mapping)
    return bool(condition) if plain else True
