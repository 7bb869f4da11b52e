"""Dictionaries; their keys come in alphabetical order."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arrays import array_of, arrays_joined
from airflow_ee.emulator.functions.lists import typed
from airflow_ee.emulator.functions.promote import Algorithm, as_dictionary, as_geometry, as_number, as_text, registry
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image, constant_band
from airflow_ee.emulator.values.patterns import fully


@registry.implements("Dictionary")
def make_dictionary(input: Any = None) -> dict[str, Any]:
    """A dictionary, also from a list of keys and values in turn."""
    if input is None:
        return {}
    if isinstance(input, list):
        if len(input) % 2:
            raise invalid(f"Dictionary: a list of keys and values must have an even length, got {len(input)}.")
        return from_lists(input[::2], input[1::2])
    made: dict[str, Any] = as_dictionary(input)
    return made


@registry.implements("Dictionary.fromLists")
def from_lists(keys: list[Any], values: list[Any]) -> dict[str, Any]:
    """Keys and values side by side."""
    if len(keys) != len(values):
        raise invalid(f"Dictionary.fromLists: {len(keys)} keys for {len(values)} values.")
    if len(set(map(as_text, keys))) != len(keys):
        raise invalid("Dictionary.fromLists: keys that occur twice are not emulated.")
    return dict(zip(keys, values, strict=True))


def entry(function: str, dictionary: dict[str, Any], key: str) -> Any:
    """An entry that must be there."""
    if key not in dictionary:
        raise invalid(f"{function}: Dictionary does not contain key: '{key}'.")
    return dictionary[key]


@registry.implements("Dictionary.get")
def get_entry(dictionary: dict[str, Any], key: str, default_value: Any = None) -> Any:
    """An entry, or the default."""
    if key not in dictionary and default_value is not None:
        return default_value
    return entry("Dictionary.get", dictionary, key)


@registry.implements("Dictionary.getNumber")
def get_number(dictionary: dict[str, Any], key: str) -> Any:
    """An entry that is a number."""
    return typed("Dictionary.getNumber", entry("Dictionary.getNumber", dictionary, key), (int, float), "Number")


@registry.implements("Dictionary.getString")
def get_string(dictionary: dict[str, Any], key: str) -> Any:
    """An entry that is a text."""
    return typed("Dictionary.getString", entry("Dictionary.getString", dictionary, key), str, "String")


@registry.implements("Dictionary.getArray")
def get_array(dictionary: dict[str, Any], key: str) -> Array:
    """An entry that is an array, or a list that can be one."""
    array: Array = array_of(entry("Dictionary.getArray", dictionary, key))
    return array


@registry.implements("Dictionary.getGeometry")
def get_geometry(dictionary: dict[str, Any], key: str) -> Geometry:
    """An entry that is a geometry."""
    geometry: Geometry = as_geometry(entry("Dictionary.getGeometry", dictionary, key))
    return geometry


@registry.implements("Dictionary.set")
def set_entry(dictionary: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """One entry more."""
    return {**dictionary, key: value}


@registry.implements("Dictionary.combine")
def combine(first: dict[str, Any], second: dict[str, Any], overwrite: bool = True) -> dict[str, Any]:
    """Both, without nulls; the second wins unless told otherwise."""
    one, two = ({key: value for key, value in each.items() if value is not None} for each in (first, second))
    return {**one, **two} if overwrite else {**two, **one}


def _selected(function: str, keys: list[str], selectors: list[Any], ignore_missing: bool) -> list[str]:
    """The keys that texts or regular expressions name, in the order of these."""
    chosen: dict[str, None] = {}
    for selector in map(as_text, selectors):
        found = [selector] if selector in keys else [key for key in sorted(keys) if fully(selector, key)]
        if not found and not ignore_missing:
            raise invalid(f"{function}: Dictionary does not contain key: '{selector}'.")
        chosen |= dict.fromkeys(found)
    return list(chosen)


@registry.implements("Dictionary.select")
def select(dictionary: dict[str, Any], selectors: list[Any], ignore_missing: bool = False) -> dict[str, Any]:
    """Some entries."""
    chosen = _selected("Dictionary.select", list(dictionary), selectors, ignore_missing)
    return {key: dictionary[key] for key in chosen}


@registry.implements("Dictionary.remove")
def remove(dictionary: dict[str, Any], selectors: list[Any], ignore_missing: bool = False) -> dict[str, Any]:
    """The other entries."""
    gone = _selected("Dictionary.remove", list(dictionary), selectors, ignore_missing)
    return {key: value for key, value in dictionary.items() if key not in gone}


@registry.implements("Dictionary.rename")
def rename(dictionary: dict[str, Any], from_: list[Any], to: list[Any], overwrite: bool = False) -> dict[str, Any]:
    """Some entries under other names."""
    if len(from_) != len(to):
        raise invalid(f"Dictionary.rename: 'from' ({len(from_)}) and 'to' ({len(to)}) must have the same length.")
    moved = {
        as_text(new): entry("Dictionary.rename", dictionary, as_text(old)) for old, new in zip(from_, to, strict=True)
    }
    kept = {key: value for key, value in dictionary.items() if key not in from_}
    taken = sorted(kept.keys() & moved.keys())
    if len(moved) != len(to) or (taken and not overwrite):
        raise invalid(f"Dictionary.rename: Can't rename to an existing key: {', '.join(taken or map(str, to))}.")
    return {**kept, **moved}


@registry.implements("Dictionary.map")
def map_dictionary(dictionary: dict[str, Any], base_algorithm: Algorithm) -> dict[str, Any]:
    """A function of each key and value; nulls are dropped."""
    mapped = {key: base_algorithm(key, dictionary[key]) for key in sorted(dictionary)}
    return {key: value for key, value in mapped.items() if value is not None}


@registry.implements("Dictionary.keys")
def keys(dictionary: dict[str, Any]) -> list[str]:
    """Keys in alphabetical order."""
    return sorted(dictionary)


@registry.implements("Dictionary.values")
def values(dictionary: dict[str, Any], keys: list[Any] | None = None) -> list[Any]:
    """Values in the order of their keys, or of the keys given."""
    return [
        entry("Dictionary.values", dictionary, key)
        for key in (sorted(dictionary) if keys is None else map(as_text, keys))
    ]


@registry.implements("Dictionary.toArray")
def to_array(dictionary: dict[str, Any], keys: list[Any] | None = None, axis: int = 0) -> Array:
    """Numbers along an axis, or arrays one after the other."""
    return arrays_joined("Dictionary.toArray", [array_of(each) for each in values(dictionary, keys)], axis)


@registry.implements("Dictionary.contains")
def contains_key(dictionary: dict[str, Any], key: str) -> bool:
    """Whether a key is there."""
    return key in dictionary


@registry.implements("Dictionary.size")
def dictionary_size(dictionary: dict[str, Any]) -> int:
    """How many entries."""
    return len(dictionary)


@registry.implements("Dictionary.toImage")
def to_image(dictionary: dict[str, Any], names: list[Any] | None = None) -> Image:
    """A constant band for each entry."""
    chosen = sorted(dictionary) if names is None else list(map(as_text, names))
    return Image(
        tuple(constant_band(name, as_number(entry("Dictionary.toImage", dictionary, name))) for name in chosen)
    )
