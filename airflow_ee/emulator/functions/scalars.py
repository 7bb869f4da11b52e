"""Numbers, texts and dictionaries."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import kind_of, registry
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.image import Image, constant_band


def _binary(name: str, compute: Callable[[Any, Any], Any]) -> None:
    def apply(left: float, right: float) -> Any:
        try:
            return compute(left, right)
        except (ZeroDivisionError, OverflowError, ValueError) as problem:
            raise invalid(f"Number.{name}: {problem}.") from None

    registry.add(f"Number.{name}", apply)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda left, right: left + right,
    "subtract": lambda left, right: left - right,
    "multiply": lambda left, right: left * right,
    "divide": lambda left, right: left / right if right else 0.0,
    "mod": lambda left, right: math.fmod(left, right) if right else 0.0,
    "pow": lambda left, right: left**right,
    "min": min,
    "max": max,
    "eq": lambda left, right: int(left == right),
    "neq": lambda left, right: int(left != right),
    "lt": lambda left, right: int(left < right),
    "lte": lambda left, right: int(left <= right),
    "gt": lambda left, right: int(left > right),
    "gte": lambda left, right: int(left >= right),
    "and": lambda left, right: int(bool(left) and bool(right)),
    "or": lambda left, right: int(bool(left) or bool(right)),
}
for _name, _compute in _BINARY.items():
    _binary(_name, _compute)


def _unary(name: str, compute: Callable[[Any], Any]) -> None:
    def apply(input: float) -> Any:
        try:
            return compute(input)
        except ValueError as problem:
            raise invalid(f"Number.{name}: {problem}.") from None

    registry.add(f"Number.{name}", apply)


_UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": lambda value: math.floor(value + 0.5),
    "int": int,
    "toInt": int,
    "long": int,
    "float": float,
    "double": float,
    "not": lambda value: int(not value),
}
for _name, _compute1 in _UNARY.items():
    _unary(_name, _compute1)


@registry.implements("Number.parse")
def parse_number(input: str, radix: int = 10) -> float:
    """A number from text."""
    try:
        return int(input, radix) if radix != 10 else _plain_number(input)
    except ValueError:
        raise invalid(f"Number.parse: Cannot parse '{input}' as a number.") from None


def _plain_number(text: str) -> float:
    return int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else float(text)


@registry.implements("Number.format")
def format_number(number: float, pattern: str = "%s") -> str:
    """Printf-style text."""
    value = int(number) if pattern.rstrip().endswith("d") else number
    return pattern % value


@registry.implements("String")
def make_string(input: Any) -> str:
    """Anything as text."""
    if isinstance(input, float) and input.is_integer():
        return str(int(input))
    return str(input)


@registry.implements("String.cat")
def cat(string1: str, string2: str) -> str:
    """One after the other."""
    return string1 + string2


@registry.implements("String.slice")
def slice_string(string: str, start: int, end: int | None = None) -> str:
    """A part."""
    return string[start:end]


@registry.implements("String.split")
def split(string: str, regex: str, flags: str = "") -> list[str]:
    """Parts between matches."""
    return re.split(regex, string, flags=re.IGNORECASE if "i" in flags else 0)


@registry.implements("String.replace")
def replace_string(input: str, regex: str, replacement: str, flags: str = "") -> str:
    """The first match, or with ``g`` every match, replaced."""
    count = 0 if "g" in flags else 1
    return re.sub(regex, replacement, input, count=count, flags=re.IGNORECASE if "i" in flags else 0)


@registry.implements("String.match")
def match(input: str, regex: str, flags: str = "") -> list[str]:
    """The first match with its groups, or with ``g`` every match."""
    options = re.IGNORECASE if "i" in flags else 0
    if "g" in flags:
        return [found[0] for found in re.finditer(regex, input, options)]
    found = re.search(regex, input, options)
    return [] if found is None else [found[0], *(group or "" for group in found.groups())]


@registry.implements("String.length")
def string_length(string: str) -> int:
    """How many letters."""
    return len(string)


@registry.implements("String.toUpperCase")
def upper(string: str) -> str:
    """In capitals."""
    return string.upper()


@registry.implements("String.toLowerCase")
def lower(string: str) -> str:
    """In small letters."""
    return string.lower()


@registry.implements("Dictionary")
def make_dictionary(input: Any = None) -> dict[str, Any]:
    """A dictionary, also from a flat list of keys and values."""
    if isinstance(input, list):
        return dict(zip(map(str, input[::2]), input[1::2], strict=True))
    return dict(input or {})


@registry.implements("Dictionary.get")
def get_entry(dictionary: dict[str, Any], key: str, default_value: Any = None) -> Any:
    """An entry, or the default."""
    if key not in dictionary and default_value is None:
        raise invalid(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary.get(key, default_value)


@registry.implements("Dictionary.getNumber")
def get_number(dictionary: dict[str, Any], key: str) -> Any:
    """A number."""
    return get_entry(dictionary, key)


@registry.implements("Dictionary.set")
def set_entry(dictionary: dict[str, Any], key: str, value: Any = None) -> dict[str, Any]:
    """One entry more."""
    return {**dictionary, key: value}


@registry.implements("Dictionary.combine")
def combine(first: dict[str, Any], second: dict[str, Any], overwrite: bool = True) -> dict[str, Any]:
    """Both; the second wins unless told otherwise."""
    return {**first, **second} if overwrite else {**second, **first}


@registry.implements("Dictionary.select")
def select(dictionary: dict[str, Any], selectors: list[Any], ignore_missing: bool = False) -> dict[str, Any]:
    """Some entries."""
    missing = [key for key in selectors if key not in dictionary]
    if missing and not ignore_missing:
        raise invalid(f"Dictionary.select: Dictionary does not contain key: '{missing[0]}'.")
    return {key: dictionary[key] for key in selectors if key in dictionary}


@registry.implements("Dictionary.keys")
def keys(dictionary: dict[str, Any]) -> list[str]:
    """Keys in alphabetical order, as the service gives them."""
    return sorted(dictionary)


@registry.implements("Dictionary.values")
def values(dictionary: dict[str, Any], keys: list[Any] | None = None) -> list[Any]:
    """Values in the order of their keys, or of the keys given."""
    return [dictionary[key] for key in (sorted(dictionary) if keys is None else keys)]


@registry.implements("Dictionary.contains")
def contains_key(dictionary: dict[str, Any], key: str) -> bool:
    """Whether a key is there."""
    return key in dictionary


@registry.implements("Dictionary.size")
def dictionary_size(dictionary: dict[str, Any]) -> int:
    """How many entries."""
    return len(dictionary)


@registry.implements("Dictionary.fromLists")
def from_lists(keys: list[Any], values: list[Any]) -> dict[str, Any]:
    """Keys and values side by side."""
    if len(keys) != len(values):
        raise invalid(f"Dictionary.fromLists: {len(keys)} keys for {len(values)} values.")
    return dict(zip(map(str, keys), values, strict=True))


@registry.implements("Dictionary.toImage")
def to_image(dictionary: dict[str, Any], names: list[Any] | None = None) -> Image:
    """A constant band for each entry."""
    chosen = sorted(dictionary) if names is None else names
    return Image(tuple(constant_band(name, dictionary[name]) for name in chosen))


@registry.implements("If")
def choose(condition: Any = None, true_case: Any = None, false_case: Any = None) -> Any:
    """One of two values; texts are true unless empty, numbers unless zero."""
    return true_case if condition else false_case


@registry.implements("ObjectType")
def object_type(value: Any) -> str:
    """The name of a value's type."""
    names = {Image: "Image", Feature: "Feature"}
    if isinstance(value, Collection):
        return "ImageCollection" if value.of_images else "FeatureCollection"
    return next((name for kind, name in names.items() if isinstance(value, kind)), kind_of(value))
