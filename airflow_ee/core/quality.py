"""Rules that say which pixels are good enough: comparisons of bands with numbers, such as ``SummaryQA<=1``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.canvas import Canvas

__all__ = ["QualityRule"]

_TERM = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*")
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class QualityRule:
    """Comparisons that all have to hold.

    >>> QualityRule.parse("SummaryQA<=1 and ViewZenith<4500").bands
    ('SummaryQA', 'ViewZenith')
    >>> QualityRule.parse("SummaryQA=1")
    Traceback (most recent call last):
    ValueError: quality must be comparisons joined by 'and', such as 'SummaryQA<=1', got 'SummaryQA=1'
    """

    text: str
    terms: tuple[tuple[str, str, float], ...]
    """``(band, comparison, number)``"""

    @classmethod
    def parse(cls, text: str) -> QualityRule:
        """Read ``BAND COMPARISON NUMBER``, several joined by ``and``."""
        terms = []
        for part in re.split(r"\band\b", text):
            match = _TERM.fullmatch(part)
            if match is None:
                raise ValueError(f"quality must be comparisons joined by 'and', such as 'SummaryQA<=1', got {text!r}")
            band, comparison, number = match.groups()
            terms.append((band, comparison, float(number)))
        return cls(text, tuple(terms))

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that the rule reads."""
        return tuple(dict.fromkeys(band for band, _, _ in self.terms))

    def good(self, canvas: Canvas) -> npt.NDArray[np.bool_]:
        """Where the rule holds; a masked quality pixel is never good, although it reads as 0."""
        good = np.ones(canvas.grid.shape, bool)
        for band, comparison, number in self.terms:
            values, valid = canvas.band(band)
            good &= valid & _COMPARISONS[comparison](values, number)
        return good
