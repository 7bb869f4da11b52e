"""What a number's kind and its text are: the service runs on a Java machine, and both show."""

from __future__ import annotations

import math
from decimal import Decimal


class Long(int):
    """A whole number that was computed. Written ones are called integers, computed ones longs; they are equal otherwise."""


def java_text(value: float) -> str:
    """A number as Java writes it.

    >>> java_text(2), java_text(2.0), java_text(1e10), java_text(0.0001), java_text(float("nan"))
    ('2', '2.0', '1.0E10', '1.0E-4', 'NaN')
    """
    if isinstance(value, int):
        return str(int(value))
    if not math.isfinite(value):
        return nonfinite_text(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else text + ".0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    figures = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) - 1 + int(exponent)
    return f"{'-' * sign}{figures[0]}.{figures[1:] or '0'}E{power}"


def nonfinite_text(value: float) -> str:
    """The word for what is not a number, or endless: JSON has none, so the service writes text."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
