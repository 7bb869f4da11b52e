"""Kernels: weights around a pixel. Those in metres take their size from the grid that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid

Matrix = NDArray[np.float64]
Shape = Callable[[float, float, float], Matrix]
"""Weights from the horizontal and vertical radius in pixels, and the pixels a unit."""

MAX_SIDE = 1024
"""Pixels that a kernel may be wide or high."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A matrix of weights and which of its cells lies on the pixel itself.

    >>> Weights(np.ones((3, 3)), row=1, col=1).cells[:2]
    [(-1, -1, 1.0), (-1, 0, 1.0)]
    """

    matrix: Matrix
    row: int
    col: int

    def __post_init__(self) -> None:
        height, width = self.matrix.shape
        if not (0 <= self.row < height and 0 <= self.col < width):
            raise invalid(f"Kernel: the focus ({self.col}, {self.row}) lies outside of the {width}x{height} weights.")

    @property
    def cells(self) -> list[tuple[int, int, float]]:
        """Rows and columns from the pixel, and the weights that are not zero."""
        rows, cols = np.nonzero(self.matrix)
        found = zip(rows.tolist(), cols.tolist(), self.matrix[rows, cols].tolist(), strict=True)
        return [(row - self.row, col - self.col, weight) for row, col, weight in found]

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels that are needed above, below, to the left and to the right."""
        height, width = self.matrix.shape
        return self.row, height - 1 - self.row, self.col, width - 1 - self.col

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the kernel."""
        rows = "".join(f"\n  [{', '.join(repr(float(weight)) for weight in row)}]" for row in self.matrix)
        return {"type": "Kernel", "weights": rows, "center": [self.col, self.row]}


@dataclass(frozen=True, slots=True)
class Kernel:
    """Weights in pixels, or a rule that makes them for pixels of so many metres."""

    make: Callable[[float], Weights]
    in_metres: bool = False

    def at(self, metres: float) -> Weights:
        """The weights for pixels of a size."""
        return self.make(metres)

    def changed(self, change: Callable[[Weights], Weights]) -> Kernel:
        """The same kernel with its weights changed."""
        return Kernel(lambda metres: change(self.make(metres)), self.in_metres)

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the kernel; one in metres has no weights before a grid is known."""
        if self.in_metres:
            raise invalid(
                "Kernel: a kernel in meters cannot be shown as a value: its weights depend on the pixel size."
            )
        return self.at(1.0).as_value()


def fixed(matrix: Matrix, row: int, col: int) -> Kernel:
    """The same weights whatever the pixel size."""
    weights = Weights(matrix, row, col)
    return Kernel(lambda _metres: weights)


def shaped(shape: Shape, radii: tuple[float, float], units: str, *, normalize: bool, magnitude: float) -> Kernel:
    """A centred kernel of a shape; ``radii`` are the horizontal and the vertical one."""
    if units not in ("pixels", "meters"):
        raise invalid(f"Kernel: Unknown units '{units}'; use 'pixels' or 'meters'.")
    if min(radii) < 0:
        raise invalid(f"Kernel: The radius must not be negative, got {min(radii):g}.")

    def make(metres: float) -> Weights:
        unit = metres if units == "meters" else 1.0
        across, down = radii[0] / unit, radii[1] / unit
        if max(across, down) * 2 + 1 > MAX_SIDE:
            raise invalid(f"Kernel: a radius of {max(across, down):g} pixels is too large.")
        matrix = scaled(shape(across, down, unit), normalize=normalize, magnitude=magnitude)
        return Weights(matrix, matrix.shape[0] // 2, matrix.shape[1] // 2)

    return Kernel(make, units == "meters")


def scaled(matrix: Matrix, *, normalize: bool, magnitude: float = 1.0) -> Matrix:
    """Weights that sum to one if asked for, then times the magnitude."""
    total = matrix.sum()
    if normalize and total == 0:
        raise invalid("Kernel: weights that sum to zero cannot be normalized.")
    with np.errstate(over="ignore"):
        weights = np.asarray((matrix / total if normalize else matrix) * magnitude, dtype=np.float64)
    if not np.isfinite(weights).all():
        raise invalid("Kernel: the weights are not finite numbers.")
    return weights


def offsets(across: float, down: float) -> tuple[Matrix, Matrix]:
    """Horizontal and vertical distances from the centre, broadcastable."""
    # A hair is forgiven: 30 m over pixels of 10.000000001 m are three pixels.
    wide, high = (ceil(radius - 1e-6) for radius in (across, down))
    return np.abs(np.arange(-wide, wide + 1.0))[None, :], np.abs(np.arange(-high, high + 1.0))[:, None]
