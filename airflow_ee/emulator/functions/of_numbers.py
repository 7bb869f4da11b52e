"""Functions of images whose pixels are numbers: those of arrays are refused by the function's name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.image import Image, check_plain

Function = TypeVar("Function", bound=Callable[..., Any])


def of_numbers(*names: str) -> Callable[[Function], Function]:
    """Declare which algorithms a function runs, none of whose images may have bands of arrays."""

    def bind(function: Function) -> Function:
        for name in names:
            registry.add(name, checked(name, function))
        return function

    return bind


def checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that looks at its images first."""

    @functools.wraps(function)
    def apply(*arguments: Any, **named: Any) -> Any:
        for value in (*arguments, *named.values()):
            if isinstance(value, Image):
                check_plain(value, name)
        return function(*arguments, **named)

    return apply
