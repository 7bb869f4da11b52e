"""What a reducer is given in a list, a table or a region: one column for each input, rows in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.array import Array

Weights = NDArray[np.float64]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Values with what each counts for. A null counts for nothing.

    >>> Column.of([4, None, 6]).known(weighted=True).items()
    [4, 6]
    """

    values: NDArray[Any]
    """Numbers of one type, or any objects. What has more axes than one is a row of arrays that are all of one shape."""
    weights: Weights
    """What a row counts for where weights are asked about."""
    counted: Rows
    """Which rows count at all where they are not: in a region the pixels whose centre is inside."""

    @classmethod
    def of(cls, values: Sequence[Any], weights: Sequence[float] | None = None) -> Column:
        """A column of a list's values."""
        given = np.array([value is not None for value in values], dtype=np.bool_)
        heavy = given.astype(np.float64)
        if weights is not None:
            heavy *= np.asarray(weights, dtype=np.float64)
        return cls(_packed(values), heavy, given)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def present(self) -> Rows:
        """Rows that are there for a reducer without weights, null or not: all but the pixels at a region's edge."""
        return np.asarray(self.counted | (self.weights <= 0))

    def rows(self, *, weighted: bool) -> Rows:
        """Which rows have a value."""
        return np.asarray(self.weights > 0) if weighted else self.counted

    def weight(self, *, weighted: bool) -> Weights:
        """The weights that a reducer goes by."""
        return self.weights if weighted else self.counted.astype(np.float64)

    def where(self, rows: Rows) -> Column:
        """Some of the rows."""
        return Column(self.values[rows], self.weights[rows], self.counted[rows])

    def known(self, *, weighted: bool) -> Column:
        """Without the nulls."""
        return self.where(self.rows(weighted=weighted))

    def numbers(self, reducer: str) -> NDArray[np.float64]:
        """The values as doubles, nulls as zeros; anything but a number is refused."""
        if self.values.ndim > 1:
            raise invalid(f"{reducer}: Cannot convert Array to Number.")
        if self.values.dtype != object:
            return self.values.astype(np.float64)
        plain = [0.0 if value is None else value for value in self.values]
        strange = next((value for value in plain if not isinstance(value, bool | int | float)), None)
        if strange is not None:
            raise invalid(f"{reducer}: Cannot convert {_kind(strange)} to Number.")
        return np.array([float(value) for value in plain], dtype=np.float64)

    def items(self) -> list[Any]:
        """The values as Python's own; those of nulls mean nothing."""
        return as_items(self.values)

    def item(self, row: int) -> Any:
        """One value as Python's own, or None."""
        return as_items(self.values[row : row + 1])[0] if self.counted[row] or self.weights[row] > 0 else None


def as_items(values: NDArray[Any]) -> list[Any]:
    """The values of a column as Python's own numbers, or as arrays."""
    if values.ndim > 1:
        return [Array.of_pixel(each) for each in values]
    items: list[Any] = values.tolist()
    return items


def together(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The values of several columns one after the other; arrays of different shapes become objects."""
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return as_objects([item for part in parts for item in as_items(part)])


def as_objects(items: Sequence[Any]) -> NDArray[Any]:
    """Any values, as they are."""
    packed = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        packed[row] = item
    return packed


def complete(columns: Sequence[Column], *, weighted: bool, optional: int = 0) -> list[Column]:
    """The rows in which no input is null, but for the last ``optional`` ones."""
    needed = columns[: len(columns) - optional]
    if not needed:
        return list(columns)
    rows = np.logical_and.reduce([column.rows(weighted=weighted) for column in needed])
    return list(columns) if rows.all() else [column.where(rows) for column in columns]


def _packed(values: Sequence[Any]) -> NDArray[Any]:
    """Whole numbers together, real ones together, and a mixture as objects: nothing changes its type."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return np.array([0 if value is None else value for value in values], dtype=np.int64)
    if kinds == {float}:
        return np.array([0.0 if value is None else value for value in values], dtype=np.float64)
    return as_objects(values)


def _kind(value: Any) -> str:
    names: dict[type, str] = {str: "String", list: "List", dict: "Dictionary"}
    return names.get(type(value), type(value).__name__)
