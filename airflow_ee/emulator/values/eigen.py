"""Eigenvectors of symmetric matrices, with the signs that the service's library gives them.

The service names EJML as its library: Householder reflections to a tridiagonal matrix, then implicit QR steps with the eigenvalues as
shifts, which are found by the same steps before. Signs, and vectors of equal eigenvalues, come from the order of the operations, so that
these follow the textbook's one at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid

Vector = NDArray[np.float64]
MAX_SIZE = 200
_EPSILON = 2.0**-52
_MAX_STEPS = 15
"""Steps for one eigenvalue; beyond these the library goes on by chance."""


def eigen(matrix: Vector) -> tuple[Vector, Vector]:
    """Eigenvalues, the greatest first, and a row for the vector of each.

    >>> values, vectors = eigen(np.array([[0.0, 2.0], [2.0, 0.0]]))
    >>> values.round(6).tolist(), vectors.round(3).tolist()
    ([2.0, -2.0], [[0.707, 0.707], [0.707, -0.707]])
    """
    if len(matrix) > MAX_SIZE:
        raise invalid(f"Array.eigen: matrices of more than {MAX_SIZE} rows are not emulated.")
    diagonal, beside, rows = _tridiagonal(matrix.copy())
    values = _Steps(diagonal.copy(), beside.copy()).solved().diagonal
    steps = _Steps(diagonal, beside, rows, values).solved()
    order = np.argsort(-steps.diagonal, kind="stable")
    return steps.diagonal[order], rows[order]


def _tridiagonal(upper: Vector) -> tuple[Vector, Vector, Vector]:
    """The diagonal, the numbers beside it, and the rows of the transformation."""
    size = len(upper)
    reflections = [_reflect(upper, at) for at in range(1, size)]
    rows = np.eye(size)
    for at in range(size - 1, 0, -1):
        gamma, vector = reflections[at - 1]
        rows[at:, at:] -= gamma * np.outer(rows[at:, at:] @ vector, vector)
    return np.diagonal(upper).copy(), np.diagonal(upper, 1).copy(), rows


def _reflect(upper: Vector, at: int) -> tuple[float, Vector]:
    """Clear a row behind its second number, and the column below likewise; only the upper triangle is kept."""
    row = upper[at - 1, at:]
    largest = float(np.abs(row).max())
    if largest == 0:
        return 0.0, np.zeros(len(row))
    vector = row / largest
    length = math.sqrt(sum(float(each) * float(each) for each in vector))
    tau = -length if vector[0] < 0 else length
    head = float(vector[0]) + tau
    vector = vector / head
    vector[0] = 1.0
    gamma = head / tau
    block = upper[at:, at:]
    whole = np.triu(block) + np.triu(block, 1).T
    product = -gamma * (whole @ vector)
    product += -0.5 * gamma * float(vector @ product) * vector
    block += np.triu(np.outer(product, vector) + np.outer(vector, product))
    upper[at - 1, at] = -tau * largest
    return gamma, vector


@dataclass(slots=True)
class _Steps:
    """QR steps on a tridiagonal matrix, from its lower end up, part by part where it falls apart."""

    diagonal: Vector
    beside: Vector
    rows: Vector | None = None
    shifts: Vector | None = None
    """The eigenvalues, once they are known; without them the shift of Wilkinson is taken."""
    _splits: list[int] = field(default_factory=list)

    def solved(self) -> _Steps:
        """All the numbers beside the diagonal vanished."""
        first, last, taken = 0, len(self.diagonal) - 1, 0
        while last >= 0:
            if first == last:
                if not self._splits:
                    break
                last, taken = self._splits.pop(), 0
                first = self._splits[-1] + 1 if self._splits else 0
            elif self.shifts is None and last - first == 1:
                self._pair(first)
                first, taken = last, 0
            elif (split := self._split(first, last)) is not None:
                self._splits.append(split)
                first = split + 1
            else:
                self._step(first, last, self._shift(last, taken))
                taken += 1
        return self

    def _split(self, first: int, last: int) -> int | None:
        for at in range(last - 1, first - 1, -1):
            if abs(self.beside[at]) <= (abs(self.diagonal[at]) + abs(self.diagonal[at + 1])) * _EPSILON:
                return at
        return None

    def _pair_values(self, at: int) -> tuple[float, float]:
        one, beside, two = (float(each) for each in (self.diagonal[at], self.beside[at], self.diagonal[at + 1]))
        scale = max(abs(one), abs(beside), abs(two))
        if scale == 0:
            return 0.0, 0.0
        one, beside, two = one / scale, beside / scale, two / scale
        middle, half = (one + two) * 0.5, (one - two) * 0.5
        root = math.sqrt(half * half + beside * beside)
        return scale * (middle + root), scale * (middle - root)

    def _pair(self, at: int) -> None:
        self.diagonal[at], self.diagonal[at + 1] = self._pair_values(at)
        self.beside[at] = 0.0

    def _shift(self, last: int, taken: int) -> float:
        if taken > _MAX_STEPS:
            raise invalid("Array.eigen: the eigenvalues of this matrix do not converge, which is not emulated.")
        if self.shifts is not None and taken <= 10:
            return float(self.shifts[last])
        return min(reversed(self._pair_values(last - 1)), key=lambda value: abs(value - float(self.diagonal[last])))

    def _step(self, first: int, last: int, shift: float) -> None:
        """A rotation that makes a bulge beside the band, and others that drive it out at the lower end."""
        diagonal, beside, bulge = self.diagonal, self.beside, 0.0
        for at in range(first, last):
            if at == first:
                cosine, sine = _rotation(diagonal[at] - shift, beside[at])
            elif bulge == 0:
                return
            else:
                cosine, sine = _rotation(beside[at - 1], bulge)
                beside[at - 1] = cosine * beside[at - 1] + sine * bulge
            one, two, middle = float(diagonal[at]), float(diagonal[at + 1]), float(beside[at])
            squares, mixed = (cosine * cosine, sine * sine), cosine * sine
            diagonal[at] = squares[0] * one + 2.0 * mixed * middle + squares[1] * two
            diagonal[at + 1] = squares[0] * two - 2.0 * mixed * middle + squares[1] * one
            beside[at] = middle * (squares[0] - squares[1]) + mixed * (two - one)
            if at + 1 < last:
                bulge, beside[at + 1] = sine * float(beside[at + 1]), cosine * beside[at + 1]
            if self.rows is not None:
                upper, lower = self.rows[at].copy(), self.rows[at + 1].copy()
                self.rows[at], self.rows[at + 1] = cosine * upper + sine * lower, -sine * upper + cosine * lower


def _rotation(run: float, rise: float) -> tuple[float, float]:
    """Cosine and sine of the angle of a vector, up to its sign."""
    run, rise = float(run), float(rise)
    if abs(rise) > abs(run):
        ratio = run / rise
        length = math.sqrt(1.0 + ratio * ratio)
        return ratio / length, 1.0 / length
    ratio = rise / run
    length = math.sqrt(1.0 + ratio * ratio)
    return 1.0 / length, ratio / length
