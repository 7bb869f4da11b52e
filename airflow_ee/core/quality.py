"""Rules that say which pixels are good enough, such as ``SummaryQA<=1``, ``SCL in (4, 5)`` or ``LANDSAT_CLEAR``.

A rule is made of conditions joined by ``and``; all have to hold::

    SummaryQA<=1                  a band compared with a number: <= >= == != < >
    SCL in (4, 5, 6)              a band that has one of several values; also ``not in``
    QA_PIXEL.cloud==0             bits of a band by name (airflow_ee.core.quality_names lists them)
    state_1km[0-1]==0             bits of any band by number, first and last as its documentation counts them
    S2_SCL_CLEAR                  a rule with a name of its own (quality_names lists them)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from airflow_ee.core.comparisons import COMPARISONS
from airflow_ee.core.quality_names import BIT_FIELDS, NAMED_RULES

__all__ = ["BandSource", "Condition", "QualityRule"]

_CONDITION = re.compile(
    r"\s*(?P<band>[A-Za-z_]\w*)(?:\.(?P<field>[A-Za-z]\w*)|\[(?P<first>\d+)(?:\s*-\s*(?P<last>\d+))?\])?"
    r"\s*(?:(?P<compare><=|>=|==|!=|<|>)\s*(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<membership>not\s+in|(?<=[\s\]])in)\s*\((?P<numbers>[^()]*)\))\s*"
)
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*")
MOST_BITS = 64


class BandSource(Protocol):
    """Pixels by band, of one shape: a canvas, or pixels picked out of one."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""

    def band(self, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Values and validity of one band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on one band, or on bits of it."""

    band: str
    comparison: str
    """``<=``, ``>=``, ``==``, ``!=``, ``<``, ``>``, ``in`` or ``not in``."""
    numbers: tuple[float, ...]
    """One, but for ``in`` and ``not in``."""
    bits: tuple[int, int] | None = None
    """First and last bit that count, both included; None: the whole number."""

    def holds(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where the condition holds, whether valid or not."""
        if self.bits is not None:
            values = _bits(self.band, values, self.bits)
        if self.comparison in COMPARISONS:
            return np.asarray(COMPARISONS[self.comparison](values, self.numbers[0]))
        return np.isin(values, self.numbers, invert=self.comparison == "not in")


@dataclass(frozen=True, slots=True)
class QualityRule:
    """Conditions that all have to hold.

    >>> QualityRule.parse("SummaryQA<=1 and ViewZenith<4500").bands
    ('SummaryQA', 'ViewZenith')
    >>> QualityRule.parse("S2_SCL_CLEAR").text
    'SCL in (4, 5, 6, 7, 11)'
    >>> QualityRule.parse("SummaryQA=1")
    Traceback (most recent call last):
    ValueError: quality must be comparisons joined by 'and', such as 'SummaryQA<=1', 'SCL in (4, 5)', \
'QA_PIXEL.cloud==0' or a named rule (MODIS_VI_GOOD, MODIS_VI_USEFUL, MODIS_VI_DETAILED, VIIRS_VI_USEFUL, LANDSAT_CLEAR, \
S2_SCL_CLEAR, S2_CLOUD_PROBABILITY, S2_CLOUD_SCORE), got 'SummaryQA=1'
    """

    text: str
    """The rule in full: what a name stands for is written out."""
    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, text: str) -> QualityRule:
        """Read conditions and names of rules, several joined by ``and``.

        Raises
        ------
        ValueError
            When it is no rule, or names bits that the band has not.
        """
        written = _written_out(text)
        conditions = tuple(_condition(part, text) for part in re.split(r"\band\b", written))
        return cls(written, conditions)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that the rule reads."""
        return tuple(dict.fromkeys(condition.band for condition in self.conditions))

    def good(self, pixels: BandSource) -> npt.NDArray[np.bool_]:
        """Where the rule holds; a masked quality pixel is never good, although it reads as 0.

        A band that is not there, because an image has no score image, is good nowhere.
        """
        good = np.ones(pixels.band(pixels.bands[0])[1].shape, bool)
        for condition in self.conditions:
            if condition.band not in pixels.bands:
                return np.zeros_like(good)
            values, valid = pixels.band(condition.band)
            good &= valid & condition.holds(values)
        return good


def _written_out(text: str) -> str:
    """The rule with names of rules replaced by what they stand for."""
    parts = []
    for part in re.split(r"\band\b", text):
        name = _NAME.fullmatch(part)
        rule = NAMED_RULES.get(name.group(1)) if name else None
        parts.append(f" {rule.text} " if rule else part)
    return "and".join(parts).strip()


def _condition(part: str, text: str) -> Condition:
    match = _CONDITION.fullmatch(part)
    if match is None:
        raise ValueError(
            "quality must be comparisons joined by 'and', such as 'SummaryQA<=1', 'SCL in (4, 5)', 'QA_PIXEL.cloud==0' or a "
            f"named rule ({', '.join(NAMED_RULES)}), got {text!r}"
        )
    band = match["band"]
    if match["compare"]:
        numbers: tuple[float, ...] = (float(match["number"]),)
        comparison = match["compare"]
    else:
        comparison, numbers = " ".join(match["membership"].split()), _numbers(match["numbers"], text)
    return Condition(band=band, comparison=comparison, numbers=numbers, bits=_named_bits(match))


def _numbers(listed: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in listed.split(","))
    except ValueError:
        raise ValueError(f"quality: 'in' needs numbers in parentheses, such as (4, 5), got {text!r}") from None


def _named_bits(match: re.Match[str]) -> tuple[int, int] | None:
    band, name = match["band"], match["field"]
    if name is not None:
        fields = BIT_FIELDS.get(band, {})
        if name not in fields:
            known = f"they are {', '.join(fields)}" if fields else f"give them by number, such as {band}[0-1]"
            raise ValueError(f"quality: no bits of {band} are known as {name!r}; {known}")
        return fields[name]
    if match["first"] is None:
        return None
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    if not first <= last < MOST_BITS:
        raise ValueError(f"quality: bits are first-last, 0 to {MOST_BITS - 1}, got {band}[{first}-{last}]")
    return first, last


def _bits(band: str, values: npt.NDArray[Any], bits: tuple[int, int]) -> npt.NDArray[Any]:
    if values.dtype.kind not in "iu":
        raise ValueError(f"quality: {band} is {values.dtype.name}; only whole numbers have bits")
    first, last = bits
    return (values.astype(np.int64) >> first) & ((1 << (last - first + 1)) - 1)
