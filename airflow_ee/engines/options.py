"""What engines have in common: options that check themselves, and a clear word when an extra is missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

__all__ = ["MissingExtra", "at_least_one", "check_installed", "require"]


class MissingExtra(ImportError):
    """An engine's own packages are not installed; the message says which extra brings them."""


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an engine.

    Raises
    ------
    MissingExtra
        When it is not installed.

    Examples
    --------
    >>> require("no_such_engine", "beam")
    Traceback (most recent call last):
    airflow_ee.engines.options.MissingExtra: this engine needs no_such_engine: install airflow-ee[beam]
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name is None or not module.startswith(problem.name):
            raise
        raise MissingExtra(f"this engine needs {problem.name}: install airflow-ee[{extra}]") from None


def check_installed(module: str, extra: str) -> None:
    """Refuse to go on without a package that another process imports; importing it here too would cost seconds.

    Raises
    ------
    MissingExtra
        When it is not installed.

    Examples
    --------
    >>> check_installed("no_such_engine", "beam")
    Traceback (most recent call last):
    airflow_ee.engines.options.MissingExtra: this engine needs no_such_engine: install airflow-ee[beam]
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f"this engine needs {module}: install airflow-ee[{extra}]")


def at_least_one(**options: int | None) -> None:
    """Refuse a count below 1, by its name.

    >>> at_least_one(workers=0)
    Traceback (most recent call last):
    ValueError: workers must be a whole number of at least 1, got 0
    """
    for name, value in options.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
