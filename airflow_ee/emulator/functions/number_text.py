"""Number.format: the patterns of Java's Formatter."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.numbers import java_text, nonfinite_text

_PATTERN = re.compile(r"([^%]*)%([#\-+ 0,(]*)(\d*)(?:\.(\d+))?([sdoxXeEfgGaA])([^%]*)")
_MAX_WIDTH = 1000
_CONTEXT = Context(prec=_MAX_WIDTH + 400, rounding=ROUND_HALF_UP)
"""Java rounds halves of the shortest decimal text up, and a double has up to 309 figures before the point."""


@registry.implements("Number.format")
def format_number(number: float, pattern: str = "%s") -> str:
    """A number as text."""
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        raise invalid(f"Number.format: Invalid format string: '{pattern}'.")
    before, flags, width, precision, conversion, after = found.groups()
    if conversion in "aA" or len(set(flags)) != len(flags):
        raise invalid(f"Number.format: '%{conversion}' with '{flags}' is not emulated.")
    digits = None if precision is None else int(precision)
    if max(int(width or 0), digits or 0) > _MAX_WIDTH:
        raise invalid(f"Number.format: more than {_MAX_WIDTH} letters are not emulated.")
    text = _converted(number, conversion, digits, flags)
    return before + _placed(text, flags, int(width or 0), conversion) + after


def _converted(number: float, conversion: str, digits: int | None, flags: str) -> str:
    if conversion == "s":
        return java_text(number)[:digits]
    if conversion in "doxX":
        return _whole(number, conversion, flags)
    if not math.isfinite(number):
        return _signed(nonfinite_text(abs(number)), number < 0, flags)
    real = {"f": _fixed, "e": _scientific, "E": _scientific, "g": _general, "G": _general}
    text = real[conversion](Decimal(repr(abs(float(number)))), 6 if digits is None else digits)
    text = text.upper() if conversion in "EG" else text
    return _signed(_grouped(text) if "," in flags else text, math.copysign(1, number) < 0, flags)


def _whole(number: float, conversion: str, flags: str) -> str:
    if not (math.isfinite(number) and float(number).is_integer()):
        raise invalid(f"Number.format: '%{conversion}' of a number that is not whole is not emulated.")
    value = int(number)
    if conversion == "d":
        return _signed(_grouped(str(abs(value))) if "," in flags else str(abs(value)), value < 0, flags)
    if value < 0:
        raise invalid(f"Number.format: '%{conversion}' of a negative number is not emulated.")
    prefix = {"o": "0", "x": "0x", "X": "0X"}[conversion] if "#" in flags else ""
    return prefix + format(value, conversion)


def _fixed(size: Decimal, digits: int) -> str:
    return format(size.quantize(Decimal(1).scaleb(-digits), context=_CONTEXT), "f")


def _scientific(size: Decimal, digits: int) -> str:
    power = size.adjusted() if size else 0
    figures = size.scaleb(-power).quantize(Decimal(1).scaleb(-digits), context=_CONTEXT)
    if figures >= 10:
        power, figures = power + 1, (figures / 10).quantize(Decimal(1).scaleb(-digits), context=_CONTEXT)
    return f"{figures:f}e{power:+03d}"


def _general(size: Decimal, digits: int) -> str:
    """Unlike C's: so many digits in all, zeros at the end included, and fixed from 0.0001 on."""
    digits = digits or 1
    if size == 0:
        return _fixed(size, digits - 1)
    rounded = size.quantize(Decimal(1).scaleb(size.adjusted() - digits + 1), context=_CONTEXT)
    if Decimal("0.0001") <= rounded < Decimal(10) ** digits:
        return _fixed(rounded, max(digits - 1 - rounded.adjusted(), 0))
    return _scientific(size, digits - 1)


def _grouped(text: str) -> str:
    whole, point, fraction = text.partition(".")
    return f"{int(whole):,}{point}{fraction}"


def _signed(text: str, negative: bool, flags: str) -> str:
    if negative:
        return f"({text})" if "(" in flags else f"-{text}"
    return next((f"{sign}{text}" for sign in "+ " if sign in flags), text)


def _placed(text: str, flags: str, width: int, conversion: str) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and conversion != "s" and text[-1:].isalnum() and not text.endswith(("NaN", "Infinity")):
        sign = re.match(r"[-+ ]?(0[xX])?", text)
        length = sign.end() if sign else 0
        return text[:length] + text[length:].rjust(width - length, "0")
    return text.rjust(width)
