"""Reading rendered arguments: templates give text where users mean numbers, lists or nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["integer", "mapping", "names", "number", "numbers", "read_boolean", "refuse_unless", "text_or_none"]


def text_or_none(value: Any) -> Any:
    """None for the ways in which a template says "nothing"; any other value as it is."""
    return None if value is None or (isinstance(value, str) and value.strip() in {"", "None"}) else value


def integer(name: str, value: Any) -> int | None:
    """A whole number, or None when nothing is given."""
    found = number(name, value)
    if found is None or found == int(found):
        return None if found is None else int(found)
    raise ValueError(f"{name} must be a whole number, got {value!r}")


def number(name: str, value: Any) -> float | None:
    """A number, or None when nothing is given."""
    if text_or_none(value) is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None


def numbers(argument: str, value: Any) -> list[float] | None:
    """Numbers from one, a list, JSON text or comma-separated text; None when nothing is given.

    >>> numbers("percentiles", "5, 97.5")
    [5.0, 97.5]
    """
    if text_or_none(value) is None:
        return None
    if isinstance(value, str):
        value = value.strip().strip("[]").split(",")
    if isinstance(value, int | float):
        value = [value]
    found = [number(argument, each) for each in value]
    if not found or None in found:
        raise ValueError(f"{argument} must be numbers, got {value!r}")
    return [float(each) for each in found if each is not None]


def mapping(name: str, value: Any) -> dict[str, Any]:
    """Names and values, from a mapping or its JSON text; empty when nothing is given.

    >>> mapping("properties", '{"crop": "soy"}')
    {'crop': 'soy'}
    """
    if text_or_none(value) is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as problem:
            raise ValueError(f"{name} is not JSON: {problem}") from None
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be names and values, got {type(value).__name__}")
    return dict(value)


def names(argument: str, value: Any) -> list[str] | None:
    """Names from a list, JSON text or comma-separated text; None when nothing is given.

    >>> names("bands", "NDVI, EVI")
    ['NDVI', 'EVI']
    """
    if text_or_none(value) is None:
        return None
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else [part.strip() for part in value.split(",")]
    found = list(value)
    if not found or not all(isinstance(name, str) and name for name in found):
        raise ValueError(f"{argument} must be names, got {value!r}")
    return found


def read_boolean(name: str, value: bool | str) -> bool:
    """Read a flag, which a template may have turned into text.

    >>> read_boolean("overwrite", "True")
    True
    """
    text = str(value).strip().lower()
    if text not in {"true", "false", "1", "0", "none", ""}:
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return text in {"true", "1"}


def refuse_unless(name: str, value: Any, allowed: Collection[str]) -> None:
    """Refuse a value that is not among the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
