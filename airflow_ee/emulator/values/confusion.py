"""Counts of actual against predicted classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionMatrix:
    """Counts by actual and predicted class, and the classes in order."""

    counts: NDArray[Any]
    order: tuple[int, ...]

    def as_value(self) -> Any:
        """The counts, row by row."""
        return self.counts.tolist()
