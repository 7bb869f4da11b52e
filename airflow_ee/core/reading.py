"""Readers of JSON that say what they expected, whatever they are given."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable
from typing import Any, TypeVar

from airflow_ee.core.errors import EarthEngineError, MalformedResponse

__all__ = ["expecting"]

Read = TypeVar("Read")
_SURPRISES = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


def expecting(what: str) -> Callable[[Callable[[Any], Read]], Callable[[Any], Read]]:
    """Have a reader of an answer raise :class:`~airflow_ee.core.errors.MalformedResponse` for all that it cannot read.

    >>> read = expecting("a name")(lambda value: value["name"])
    >>> try:
    ...     read({"nom": 1})
    ... except MalformedResponse as error:
    ...     error.message
    "Expected a name, got {'nom': 1}: KeyError 'name'."
    """

    def decorate(read: Callable[[Any], Read]) -> Callable[[Any], Read]:
        @functools.wraps(read)
        def strictly(value: Any) -> Read:
            try:
                return read(value)
            except EarthEngineError:
                raise
            except _SURPRISES as problem:
                reason = f"{type(problem).__name__} {problem}"[:200]
                raise MalformedResponse(f"Expected {what}, got {reprlib.repr(value)}: {reason}.") from problem

        return strictly

    return decorate
