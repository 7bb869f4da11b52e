"""Filters on properties of images, such as ``CLOUDY_PIXEL_PERCENTAGE<40``, applied to what a listing tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_ee.core.comparisons import COMPARISONS

__all__ = ["PropertyFilter", "keep_matching", "parse_filters"]

_FILTER = re.compile(r"\s*([A-Za-z_][\w:.]*)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*")


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """A comparison of a property with a number or a text.

    An image without the property does not pass, nor does one whose property is of another kind: so does Earth Engine's
    ``ee.Filter``.

    >>> PropertyFilter.parse("CLOUDY_PIXEL_PERCENTAGE<40").holds({"CLOUDY_PIXEL_PERCENTAGE": 12.5})
    True
    >>> PropertyFilter.parse("SENSING_ORBIT_DIRECTION == DESCENDING").holds({})
    False
    """

    name: str
    comparison: str
    value: float | str

    @classmethod
    def parse(cls, text: str) -> PropertyFilter:
        """Read ``NAME COMPARISON VALUE``; a value in quotes is text even if it looks like a number."""
        match = _FILTER.fullmatch(text)
        if match is None:
            raise ValueError(
                f"filters: each must be a property compared with a value, such as 'CLOUDY_PIXEL_PERCENTAGE<40', got {text!r}"
            )
        name, comparison, value = match.groups()
        return cls(name, comparison, _value(value))

    def holds(self, properties: Mapping[str, Any]) -> bool:
        """Whether an image with these properties passes."""
        found = properties.get(self.name)
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            return False
        if isinstance(found, str) != isinstance(self.value, str):
            return False
        return bool(COMPARISONS[self.comparison](found, self.value))


def parse_filters(texts: Sequence[str]) -> tuple[PropertyFilter, ...]:
    """Filters that all have to hold; each text may join several by ``and``."""
    return tuple(PropertyFilter.parse(part) for text in texts for part in re.split(r"\band\b", text))


def keep_matching(filters: Sequence[PropertyFilter], properties: Mapping[str, Any]) -> bool:
    """Whether all filters hold."""
    return all(item.holds(properties) for item in filters)


def _value(text: str) -> float | str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return float(text)
    except ValueError:
        return text
