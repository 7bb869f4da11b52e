"""Algorithm names and the functions that run them. Arguments are turned into what a function's annotations ask for."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from airflow_ee.emulator.errors import EmulatorError, invalid

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
Promotion = Callable[[Any], Any]


class _Entry:
    """A function with its arguments' public names and the promotion of each."""

    def __init__(self, function: Callable[..., Any], promotions: Mapping[type, Promotion]) -> None:
        self.function = function
        self.signature = inspect.signature(function)
        hints = get_type_hints(function)
        self.session_argument = next((name for name, hint in hints.items() if _is_session(hint)), None)
        self.python_names = {camel(name): name for name in self.signature.parameters if name != self.session_argument}
        self.promotions = {
            name: (_promotion(hint, promotions), _optional(hint, self.signature.parameters[name]))
            for name, hint in hints.items()
            if name != "return"
        }


class Registry:
    """The functions this emulator can run, by their public algorithm name.

    Arguments have their public names in camelCase; the functions' own are the same in snake_case, with a trailing underscore
    where Python needs one.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._promotions: dict[type, Promotion] = {}

    def promotes(self, target: type) -> Callable[[Promotion], Promotion]:
        """Declare how a value becomes a ``target`` when a function asks for one. Comes before the functions."""

        def bind(promotion: Promotion) -> Promotion:
            self._promotions[target] = promotion
            return promotion

        return bind

    def implements(self, *names: str) -> Callable[[Function], Function]:
        """Declare which algorithms a function runs."""

        def bind(function: Function) -> Function:
            for name in names:
                self.add(name, function)
            return function

        return bind

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Declare one algorithm; twice is a mistake in this program."""
        if name in self._entries:
            raise RuntimeError(f"{name} is implemented twice")
        self._entries[name] = _Entry(function, self._promotions)

    @property
    def names(self) -> list[str]:
        """Every algorithm that can be run, sorted."""
        return sorted(self._entries)

    def signature(self, name: str) -> inspect.Signature:
        """The Python signature behind an algorithm."""
        return self._entries[name].signature

    def argument_names(self, name: str) -> list[str]:
        """The public argument names of an algorithm in order."""
        entry = self._entry(name)
        return list(entry.python_names)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            # A bad request, not 501: clients repeat calls that were answered with 5xx.
            raise invalid(f"{name} is not emulated")
        return self._entries[name]

    def call(self, name: str, arguments: Mapping[str, Any], session: Any = None) -> Any:
        """Run an algorithm."""
        entry = self._entry(name)
        given = {}
        for public, value in arguments.items():
            if public not in entry.python_names:
                raise invalid(f"{name}: Unrecognized argument name: {public}.")
            given[entry.python_names[public]] = _promoted(entry, name, public, value)
        if entry.session_argument:
            given[entry.session_argument] = session
        try:
            bound = entry.signature.bind(**given)
        except TypeError as problem:
            raise invalid(f"{name}: {_missing(str(problem))}") from None
        try:
            return entry.function(*bound.args, **bound.kwargs)
        except (EmulatorError, RecursionError, MemoryError):
            raise
        except Exception as problem:
            # A defect of ours, not the caller's, but a 500 would be asked again by every client, five times over.
            logger.exception("%s failed", name)
            raise invalid(
                f"{name}: the emulator failed on these arguments ({type(problem).__name__}: {problem})."
            ) from problem


def camel(name: str) -> str:
    """The public name of a Python argument.

    >>> camel("band_selectors"), camel("from_")
    ('bandSelectors', 'from')
    """
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


def _missing(problem: str) -> str:
    found = re.search(r"missing a required argument: '(\w+)'", problem)
    return f"Parameter '{camel(found[1])}' is required and may not be null." if found else problem


def _promoted(entry: _Entry, name: str, public: str, value: Any) -> Any:
    promotion, optional = entry.promotions[entry.python_names[public]]
    if value is None:
        if optional:
            return None
        raise invalid(f"{name}: Parameter '{public}' is required and may not be null.")
    try:
        return promotion(value)
    except EmulatorError as problem:
        raise EmulatorError(problem.code, f"{name}, argument '{public}': {problem.message}") from None


def _is_session(hint: Any) -> bool:
    return getattr(hint, "__name__", "") == "Session"


def _optional(hint: Any, parameter: inspect.Parameter) -> bool:
    """Whether null may be given: not for what must be given."""
    return NoneType in get_args(hint) or (hint is Any and parameter.default is not inspect.Parameter.empty)


def _promotion(hint: Any, promotions: Mapping[type, Promotion]) -> Promotion:
    """The promotion for an annotation; of a union, that of its first member that has one."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for member in members:
        promotion = promotions.get(get_origin(member) or member)
        if promotion is not None:
            return promotion
    return next((_instance_of(member) for member in members if _is_own_class(member)), lambda value: value)


def _is_own_class(hint: Any) -> bool:
    """Whether values of the type come from other algorithms alone: reducers, filters, kernels."""
    return (
        inspect.isclass(hint) and hint.__module__.startswith("airflow_ee.") and not getattr(hint, "_is_protocol", False)
    )


def _instance_of(target: type) -> Promotion:
    """Takes values that are of the type already."""

    def check(value: Any) -> Any:
        if not isinstance(value, target):
            found = _JSON_KINDS.get(type(value), type(value).__name__)
            raise invalid(f"Cannot convert {found} to {target.__name__.removesuffix('Value')}.")
        return value

    return check


_JSON_KINDS = {
    bool: "Boolean", int: "Number", float: "Number", str: "String", list: "List", dict: "Dictionary"
}  # fmt: skip
