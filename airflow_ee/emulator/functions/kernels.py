"""Kernels by shape, by name, by hand, and from one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_number, cannot, registry
from airflow_ee.emulator.values.kernel import Kernel, Matrix, Weights, fixed, offsets, scaled, shaped

_SLACK = 1e-6


@registry.promotes(Kernel)
def as_kernel(value: Any) -> Kernel:
    """Only kernels are kernels."""
    if isinstance(value, Kernel):
        return value
    raise cannot(value, "Kernel")


def _where(test: Callable[[Matrix, Matrix, float], Any]) -> Callable[[float, float, float], Matrix]:
    """Ones where a test of the distances from the centre and the radius holds."""

    def shape(across: float, down: float, _unit: float) -> Matrix:
        x, y = offsets(across, down)
        return np.asarray(np.broadcast_to(test(x, y, across + _SLACK), (y.size, x.size)), dtype=np.float64)

    return shape


def _far(distance: Callable[[Matrix, Matrix], Matrix]) -> Callable[[float, float, float], Matrix]:
    """Distances from the centre, in the kernel's units."""
    return lambda across, down, unit: np.asarray(distance(*offsets(across, down)) * unit)


SHAPES = {
    "square": _where(lambda x, y, _radius: (x >= 0) & (y >= 0)),
    "circle": _where(lambda x, y, radius: x * x + y * y <= radius * radius),
    "diamond": _where(lambda x, y, radius: x + y <= radius),
    # The corners of a regular octagon are cut where the two distances sum to the square root of two radii.
    "octagon": _where(lambda x, y, radius: x + y <= radius * np.sqrt(2.0)),
    "cross": _where(lambda x, y, _radius: x == y),
    "plus": _where(lambda x, y, _radius: (x == 0) | (y == 0)),
}
"""Kernels of ones, by name."""

_DISTANCES = {
    "euclidean": _far(np.hypot),
    "manhattan": _far(lambda x, y: np.asarray(x + y)),
    "chebyshev": _far(lambda x, y: np.asarray(np.maximum(x, y))),
}


def _of_ones(name: str) -> Callable[[float, str, bool, float], Kernel]:
    def apply(radius: float, units: str = "pixels", normalize: bool = True, magnitude: float = 1.0) -> Kernel:
        return shaped(SHAPES[name], (radius, radius), units, normalize=normalize, magnitude=magnitude)

    return apply


def _of_distances(name: str) -> Callable[[float, str, bool, float], Kernel]:
    def apply(radius: float, units: str = "pixels", normalize: bool = False, magnitude: float = 1.0) -> Kernel:
        return shaped(_DISTANCES[name], (radius, radius), units, normalize=normalize, magnitude=magnitude)

    return apply


for _name in SHAPES:
    registry.add(f"Kernel.{_name}", _of_ones(_name))
for _name in _DISTANCES:
    registry.add(f"Kernel.{_name}", _of_distances(_name))


@registry.implements("Kernel.rectangle")
def rectangle(
    x_radius: float, y_radius: float, units: str = "pixels", normalize: bool = True, magnitude: float = 1.0
) -> Kernel:
    """Ones with a width and a height."""
    return shaped(SHAPES["square"], (x_radius, y_radius), units, normalize=normalize, magnitude=magnitude)


MOST_SIGMA = 1e12
"""Metres or pixels: the square of it is still a number."""


@registry.implements("Kernel.gaussian")
def gaussian(
    radius: float, sigma: float = 1.0, units: str = "pixels", normalize: bool = True, magnitude: float = 1.0
) -> Kernel:
    """A bell curve read at the pixel centres."""
    if not 0 < sigma < MOST_SIGMA:
        raise invalid(f"Kernel.gaussian: 'sigma' must be positive and below {MOST_SIGMA:g}, got {sigma:g}.")

    def shape(across: float, down: float, unit: float) -> Matrix:
        x, y = offsets(across, down)
        return np.asarray(np.exp(-(x * x + y * y) / (2 * (sigma / unit) ** 2)))

    return shaped(shape, (radius, radius), units, normalize=normalize, magnitude=magnitude)


_EDGES: dict[str, list[list[float]]] = {
    "laplacian4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "sobel": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "prewitt": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "compass": [[1, 1, -1], [1, -2, -1], [1, 1, -1]],
    "kirsch": [[5, -3, -3], [5, 0, -3], [5, -3, -3]],
    "roberts": [[1, 0], [0, -1]],
}


def _of_edges(matrix: list[list[float]]) -> Callable[[float, bool], Kernel]:
    weights = np.array(matrix, dtype=np.float64)

    def apply(magnitude: float = 1.0, normalize: bool = False) -> Kernel:
        return fixed(scaled(weights, normalize=normalize, magnitude=magnitude), 1, 1)

    return apply


for _name, _matrix in _EDGES.items():
    registry.add(f"Kernel.{_name}", _of_edges(_matrix))


@registry.implements("Kernel.fixed")
def fixed_kernel(
    width: int = -1,
    height: int = -1,
    weights: list[Any] | None = None,
    x: int = -1,
    y: int = -1,
    normalize: bool = False,
) -> Kernel:
    """Weights by hand, row by row; the focus is in the middle unless told otherwise."""
    matrix = _matrix_of(weights or [])
    for name, given, found in (("width", width, matrix.shape[1]), ("height", height, matrix.shape[0])):
        if given not in (-1, found):
            raise invalid(f"Kernel.fixed: '{name}' is {given}, but the weights have {found}.")
    row, col = (_focus(given, size) for given, size in zip((y, x), matrix.shape, strict=True))
    return fixed(scaled(matrix, normalize=normalize), row, col)


def _matrix_of(weights: list[Any]) -> Matrix:
    rows = [[float(as_number(each)) for each in row] for row in weights if isinstance(row, list)]
    if not rows or len(rows) != len(weights) or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise invalid("Kernel.fixed: 'weights' must be a list of rows of the same length.")
    return np.array(rows)


def _focus(given: int, size: int) -> int:
    """-1 is the middle; other negative offsets, as older code has them, count from the focus to the edge."""
    return size // 2 if given == -1 else abs(given)


@registry.implements("Kernel.rotate")
def rotate(kernel: Kernel, rotations: int) -> Kernel:
    """Turned by quarters, clockwise."""

    def turned(weights: Weights) -> Weights:
        focus = np.zeros(weights.matrix.shape, np.bool_)
        focus[weights.row, weights.col] = True
        row, col = np.argwhere(np.rot90(focus, -rotations))[0].tolist()
        return Weights(np.rot90(weights.matrix, -rotations), row, col)

    return kernel.changed(turned)


@registry.implements("Kernel.inverse")
def inverse(kernel: Kernel) -> Kernel:
    """One over each weight; zeros stay."""

    def inverted(weights: Weights) -> Weights:
        matrix = np.divide(1.0, weights.matrix, out=np.zeros_like(weights.matrix), where=weights.matrix != 0)
        return Weights(matrix, weights.row, weights.col)

    return kernel.changed(inverted)


@registry.implements("Kernel.add")
def add(kernel1: Kernel, kernel2: Kernel, normalize: bool = False) -> Kernel:
    """Weights summed, focus on focus."""

    def make(metres: float) -> Weights:
        both = (kernel1.at(metres), kernel2.at(metres))
        top, bottom, left, right = (max(each) for each in zip(*(one.margins for one in both), strict=True))
        total = np.zeros((top + bottom + 1, left + right + 1))
        for one in both:
            height, width = one.matrix.shape
            row, col = top - one.row, left - one.col
            total[row : row + height, col : col + width] += one.matrix
        return Weights(scaled(total, normalize=normalize), top, left)

    return Kernel(make, kernel1.in_metres or kernel2.in_metres)
