"""Arrays of numbers with any number of axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid

KINDS = ("int64", "float32", "float64")
MAX_ELEMENTS = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """Numbers along axes: whole ones as int64, the others as float32 or float64.

    >>> Array.of([[1, 2], [3, 4.5]]).as_value()
    [[1.0, 2.0], [3.0, 4.5]]
    """

    values: NDArray[Any]

    def __post_init__(self) -> None:
        if self.values.dtype.name not in KINDS:
            raise ValueError(f"an array of {self.values.dtype} is none of {', '.join(KINDS)}")
        if self.values.size > MAX_ELEMENTS:
            raise invalid(f"Array: {self.values.size} elements are too many (maximum {MAX_ELEMENTS}).")

    @classmethod
    def of(cls, numbers: Any) -> Array:
        """An array from a number, or from lists of them that are equally long at each depth."""
        flat: list[Any] = []
        shape = _shape(numbers, flat)
        if not flat:
            raise invalid("Array: Pixel type must be specified for an array without numbers.")
        whole = all(isinstance(each, int) and abs(each) < 2**63 for each in flat)
        return cls(np.asarray(flat, dtype=np.int64 if whole else np.float64).reshape(shape))

    @classmethod
    def empty(cls, numbers: Any) -> Array | None:
        """The array of lists that hold no number at all, as float64; None where there are numbers."""
        flat: list[Any] = []
        shape = _shape(numbers, flat)
        return None if flat else cls(np.zeros(shape, dtype=np.float64))

    @classmethod
    def of_pixel(cls, values: NDArray[Any]) -> Array:
        """An array from what a pixel holds, whose numbers may be of any type."""
        return cls(values.astype(np.int64) if values.dtype.kind in "biu" else values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.values.shape

    @property
    def dimensions(self) -> int:
        """How many axes."""
        return self.values.ndim

    def as_value(self) -> Any:
        """Lists of lists of numbers."""
        return self.values.tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self.shape == other.shape and bool((self.values == other.values).all())

    def __hash__(self) -> int:
        return hash((self.shape, self.values.tobytes()))


def _shape(numbers: Any, flat: list[Any]) -> tuple[int, ...]:
    """The lengths at each depth; the numbers are put in ``flat``, level by level and without recursion."""
    level, lengths = [numbers], []
    while level and all(isinstance(each, list) for each in level):
        sizes = {len(each) for each in level}
        if len(sizes) != 1:
            raise invalid("Array: All inner lists at the same depth must have the same length.")
        lengths.append(sizes.pop())
        level = [item for each in level for item in each]
    for each in level:
        if isinstance(each, list | bool) or not isinstance(each, int | float):
            raise invalid("Array: Numbers must be at the deepest level, and nothing else may be there.")
    flat += level
    return tuple(lengths)
