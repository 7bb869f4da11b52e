"""Eigenvectors, with the signs that the service's library gives them.

The service names EJML as its library: for symmetric matrices Householder reflections to a tridiagonal one, then implicit QR steps with
the eigenvalues as shifts, which are found by the same steps before; for others reflections to a triangle, whose eigenvectors are solved
for. Signs, and vectors of equal eigenvalues, come from the order of the operations, so that these follow the textbook's one at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid

Vector = NDArray[np.float64]
MAX_SIZE = 200
SYMMETRIC = 1e-8
"""How much of the greatest number two that mirror each other may differ."""
_EPSILON = 2.0**-52
_MAX_STEPS = 15
"""Steps for one eigenvalue; beyond these the library goes on by chance."""


def eigen(matrix: Vector) -> tuple[Vector, Vector]:
    """Eigenvalues, the greatest first, and a row for the vector of each.

    Matrices that are not symmetric may have two rows at most.

    >>> values, vectors = eigen(np.array([[0.0, 2.0], [2.0, 0.0]]))
    >>> values.round(6).tolist(), vectors.round(3).tolist()
    ([2.0, -2.0], [[0.707, 0.707], [0.707, -0.707]])
    """
    if len(matrix) > MAX_SIZE or not np.isfinite(matrix).all():
        raise invalid(f"Array.eigen: matrices that are not finite or have more than {MAX_SIZE} rows are not emulated.")
    largest = float(np.abs(matrix).max(initial=0.0))
    if largest == 0:
        # The library takes nothing for symmetric where all is zero, and goes from the last row to the first.
        values, rows = np.zeros(len(matrix)), np.eye(len(matrix))[::-1]
    elif np.abs(matrix - matrix.T).max() <= SYMMETRIC * largest:
        values, rows = _symmetric(matrix)
    elif len(matrix) == 2:
        values, rows = _general_pair(matrix.copy())
    else:
        raise invalid("Array.eigen: matrices of more than two rows that are not symmetric are not emulated.")
    order = np.argsort(-values, kind="stable")
    return values[order], rows[order]


def _symmetric(matrix: Vector) -> tuple[Vector, Vector]:
    diagonal, beside, rows = _tridiagonal(matrix.copy())
    values = _Steps(diagonal.copy(), beside.copy()).solved().diagonal
    return _Steps(diagonal, beside, rows, values).solved().diagonal, rows


def _general_pair(matrix: Vector) -> tuple[Vector, Vector]:
    """Two eigenvalues and their vectors, those of the triangle's last row first."""
    shifts = _pair_shifts(matrix)
    rows = np.eye(2)
    for taken in range(_MAX_STEPS * 20):
        if abs(matrix[1, 0]) <= 0.5 * _EPSILON * (abs(matrix[0, 0]) + abs(matrix[1, 1])):
            return _triangle_vectors(matrix, rows)
        shift = shifts if taken < 10 else float(matrix[1, 1])
        run, rise = float(matrix[0, 0]) - shift, float(matrix[1, 0])
        largest = max(abs(run), abs(rise))
        if largest <= abs(matrix[0, 0]) * _EPSILON:
            continue
        run, rise = run / largest, rise / largest
        tau = math.copysign(math.sqrt(run * run + rise * rise), run if run else 1.0)
        vector = np.array([1.0, rise / (run + tau)])
        gamma = (run + tau) / tau
        matrix -= np.outer(vector, gamma * (vector @ matrix))
        matrix -= np.outer(gamma * (matrix @ vector), vector)
        rows -= np.outer(vector, gamma * (vector @ rows))
    raise invalid("Array.eigen: the eigenvalues of this matrix do not converge, which is not emulated.")


def _pair_shifts(matrix: Vector) -> float:
    """The first eigenvalue of a pair: rotated until both numbers on the diagonal are equal, where the lesser one is the first."""
    scaled = matrix / float(np.abs(matrix).max())
    (one, upper), (lower, two) = scaled.tolist()
    cosine = sine = 1 / math.sqrt(2)
    if upper + lower != 0:
        ratio = (one - two) / (upper + lower)
        tangent = ratio / (1.0 + math.sqrt(1.0 + ratio * ratio))
        cosine = 1.0 / math.sqrt(1.0 + tangent * tangent)
        sine = cosine * tangent
    equal = cosine * cosine * one + sine * sine * two - cosine * sine * (upper + lower)
    above = cosine * cosine * upper - sine * sine * lower + cosine * sine * (one - two)
    below = cosine * cosine * lower - sine * sine * upper + cosine * sine * (one - two)
    if above * below < 0:
        raise invalid("Array.eigen: matrices with complex eigenvalues are not emulated.")
    spread = math.sqrt(below / (above + below)) * math.sqrt(above / (above + below)) if above else 0.0
    return float(np.abs(matrix).max()) * float(equal - spread * (above + below))


def _triangle_vectors(triangle: Vector, rows: Vector) -> tuple[Vector, Vector]:
    first, last = float(triangle[0, 0]), float(triangle[1, 1])
    if abs(last - first) / (abs(first) or 1.0) < 100 * _EPSILON:
        return np.array([last, first]), rows[::-1].copy()
    vector = np.array([-triangle[0, 1] / (first - last), 1.0]) @ rows
    return np.array([last, first]), np.array([vector / np.linalg.norm(vector), rows[0]])


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
