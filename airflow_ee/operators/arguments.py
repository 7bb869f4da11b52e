"""Reading rendered arguments: templates give text where users mean numbers, lists or nothing."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

__all__ = ["integer", "names", "number", "refuse_unless", "text_or_none"]


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


def refuse_unless(name: str, value: Any, allowed: Collection[str]) -> None:
    """Refuse a value that is not among the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
