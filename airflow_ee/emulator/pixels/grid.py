"""Where pixels lie: a projection (CRS and affine transform) is an endless lattice, a grid is a window of it.

A grid keeps whole-number offsets into its projection, so a part of a grid computes with the very same floats as the whole:
tiles join without a seam.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert, parse_crs

Affine6 = tuple[float, float, float, float, float, float]
Indices = NDArray[np.int64]
Bounds = tuple[float, float, float, float]

EDGE_TOLERANCE = 1e-6
"""Fraction of a pixel by which a position may miss a pixel edge through rounding alone."""

MOST_TERM = 1e15
"""Terms of a transform from here on lie on no planet, and their products on no number line."""

OUTSIDE = -(2**40)
"""The index of a place that a projection cannot show."""

_TERMS = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")


class Sites(NamedTuple):
    """Where each pixel of a grid falls on another lattice; rows and columns broadcast to the grid's shape."""

    rows: Indices
    cols: Indices


class Positions(NamedTuple):
    """Like :class:`Sites`, in fractions of a pixel: 0.5 is the centre of pixel 0."""

    rows: NDArray[np.float64]
    cols: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Projection:
    """A lattice: ``x = a*col + b*row + c``, ``y = d*col + e*row + f`` at pixel corners.

    >>> Projection(Crs("EPSG:32632"), (30, 0, 0, 0, -30, 0)).nominal_scale
    30.0
    """

    crs: Crs
    transform: Affine6 = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    def __post_init__(self) -> None:
        if not all(abs(term) < MOST_TERM for term in self.transform) or self.determinant == 0:
            raise invalid(f"The transform {list(self.transform)} of a projection cannot be inverted.")

    @property
    def determinant(self) -> float:
        """Signed area of a pixel in CRS units."""
        a, b, _, d, e, _ = self.transform
        return a * e - b * d

    @property
    def nominal_scale(self) -> float:
        """Side of a pixel in metres, taken at the projection's point of true scale."""
        return sqrt(abs(self.determinant)) * self.crs.metres_per_unit

    @property
    def is_separable(self) -> bool:
        """Whether x depends on the column alone and y on the row alone."""
        return self.transform[1] == 0 and self.transform[3] == 0

    def at_scale(self, metres: float) -> Projection:
        """The same lattice with pixels of another size; the translation is kept."""
        factor = metres / self.nominal_scale
        a, b, c, d, e, f = self.transform
        size = metres / self.crs.metres_per_unit
        if self.is_separable and abs(a) == abs(e):  # exactly the size asked for, not the size times a rounded factor
            return replace(self, transform=(size if a > 0 else -size, 0.0, c, 0.0, size if e > 0 else -size, f))
        return replace(self, transform=(a * factor, b * factor, c, d * factor, e * factor, f))

    def corners(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """CRS coordinates of lattice positions."""
        a, b, c, d, e, f = self.transform
        if self.is_separable:
            return a * cols + c, e * rows + f
        return a * cols + b * rows + c, d * cols + e * rows + f

    def positions(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Positions:
        """Lattice positions of CRS coordinates: the inverse of :meth:`corners`."""
        a, b, c, d, e, f = self.transform
        if self.is_separable:
            return Positions(rows=(y - f) / e, cols=(x - c) / a)
        return Positions(
            rows=(a * (y - f) - d * (x - c)) / self.determinant, cols=(e * (x - c) - b * (y - f)) / self.determinant
        )

    def offset_in(self, other: Projection) -> tuple[int, int] | None:
        """Rows and columns by which this lattice is shifted in ``other``, when the two share every pixel edge nearby."""
        if self.crs != other.crs or not _same_steps(self.transform, other.transform):
            return None
        at = other.positions(np.array(self.transform[2]), np.array(self.transform[5]))
        row, col = round(float(at.rows)), round(float(at.cols))
        aligned = abs(float(at.rows) - row) < 1e-3 and abs(float(at.cols) - col) < 1e-3
        return (row, col) if aligned else None

    def as_json(self) -> dict[str, Any]:
        """The grid of a REST band, without its size."""
        affine = {key: value for key, value in zip(_TERMS, self.transform, strict=True) if value != 0}
        return {**self.crs.as_json(), "affineTransform": affine}


def _same_steps(first: Affine6, second: Affine6) -> bool:
    steps = ((first[i], second[i]) for i in (0, 1, 3, 4))
    size = max(abs(first[0]), abs(first[1]), abs(first[3]), abs(first[4]))
    return all(abs(one - other) <= 1e-9 * size for one, other in steps)


@dataclass(frozen=True, slots=True)
class Grid:
    """``width`` by ``height`` pixels of a projection, from pixel (``row``, ``col``) on.

    >>> grid = Grid(Projection(Crs("EPSG:32632"), (10, 0, 6e5, 0, -10, 51e5)), row=0, col=0, width=8, height=4)
    >>> grid.window(row=1, col=2, height=2, width=3).bounds
    (600020.0, 5099970.0, 600050.0, 5099990.0)
    """

    projection: Projection
    row: int
    col: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.height, self.width

    @property
    def transform(self) -> Affine6:
        """Affine transform whose origin is this grid's own first corner."""
        a, b, _, d, e, _ = self.projection.transform
        x, y = self.projection.corners(np.array(float(self.row)), np.array(float(self.col)))
        return (a, b, float(x), d, e, float(y))

    @property
    def bounds(self) -> Bounds:
        """Smallest x, smallest y, greatest x, greatest y."""
        rows = np.array([self.row, self.row, self.row + self.height, self.row + self.height], dtype=np.float64)
        cols = np.array([self.col, self.col + self.width, self.col, self.col + self.width], dtype=np.float64)
        x, y = self.projection.corners(rows, cols)
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def window(self, *, row: int, col: int, height: int, width: int) -> Grid:
        """A part of this grid, counted from its own first pixel."""
        return replace(self, row=self.row + row, col=self.col + col, height=height, width=width)

    def blocks(self, side: int) -> Iterator[Grid]:
        """Row-major parts of at most ``side`` by ``side`` pixels."""
        for row in range(0, self.height, side):
            for col in range(0, self.width, side):
                height, width = min(side, self.height - row), min(side, self.width - col)
                yield self.window(row=row, col=col, height=height, width=width)

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """CRS coordinates of the pixel centres, broadcastable to :attr:`shape`."""
        rows = np.arange(self.row, self.row + self.height, dtype=np.float64)[:, None] + 0.5
        cols = np.arange(self.col, self.col + self.width, dtype=np.float64)[None, :] + 0.5
        return self.projection.corners(rows, cols)

    def centres_in(self, crs: Crs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates of the pixel centres in another system, of full shape."""
        x, y = self.centres()
        if crs == self.projection.crs:
            return x, y
        full_x, full_y = np.broadcast_arrays(x, y)
        return convert(self.projection.crs, crs, np.ascontiguousarray(full_x), np.ascontiguousarray(full_y))

    def positions_in(self, projection: Projection) -> Positions:
        """Where the pixel centres fall on another lattice."""
        x, y = self.centres_in(projection.crs)
        return projection.positions(x, y)

    def sites_in(self, projection: Projection) -> Sites:
        """The pixels of another lattice that the pixel centres fall into."""
        offset = self.projection.offset_in(projection)
        if offset is not None:
            rows = np.arange(self.row, self.row + self.height, dtype=np.int64)[:, None] + offset[0]
            cols = np.arange(self.col, self.col + self.width, dtype=np.int64)[None, :] + offset[1]
            return Sites(rows, cols)
        at = self.positions_in(projection)
        return Sites(_floor(at.rows), _floor(at.cols))

    def as_json(self) -> dict[str, Any]:
        """A REST PixelGrid."""
        grid = Projection(self.projection.crs, self.transform).as_json()
        return {**grid, "dimensions": {"width": self.width, "height": self.height}}


def _floor(positions: NDArray[np.float64]) -> Indices:
    finite = np.isfinite(positions)
    indices = np.floor(np.where(finite, positions, 0.0) + EDGE_TOLERANCE).astype(np.int64)
    return np.where(finite, indices, OUTSIDE)


def projection_from_json(grid: Mapping[str, Any], fallback: Projection | None) -> Projection:
    """The lattice of a REST grid; what it leaves out comes from ``fallback``."""
    code = grid.get("crsCode") or grid.get("crsWkt")
    crs = parse_crs(code) if code else fallback.crs if fallback else None
    if crs is None:
        raise invalid("Pixel grid must specify a CRS: the image has no projection of its own.")
    affine = grid.get("affineTransform")
    if affine:
        # proto3 leaves zeros out, so an absent term is 0.
        terms = [float(affine.get(term, 0.0)) for term in _TERMS]
        return Projection(crs, (terms[0], terms[1], terms[2], terms[3], terms[4], terms[5]))
    if fallback is not None and crs == fallback.crs:
        return fallback
    raise invalid(f"Pixel grid must specify an affine transform: the image is not in {crs.text[:60]}.")


def grid_over(projection: Projection, bounds: Bounds) -> Grid:
    """The pixels that cover CRS bounds; an edge that is met within the tolerance adds no pixel."""
    west, south, east, north = bounds
    x, y = np.array([west, west, east, east]), np.array([south, north, south, north])
    at = projection.positions(x, y)
    row, col = floor(at.rows.min() + EDGE_TOLERANCE), floor(at.cols.min() + EDGE_TOLERANCE)
    bottom, right = ceil(at.rows.max() - EDGE_TOLERANCE), ceil(at.cols.max() - EDGE_TOLERANCE)
    return Grid(projection, row=row, col=col, height=max(1, bottom - row), width=max(1, right - col))


def grid_fitted(crs: Crs, bounds: Bounds, *, width: int, height: int) -> Grid:
    """Bounds cut into exactly ``width`` by ``height`` pixels, north up."""
    west, south, east, north = bounds
    step_x, step_y = (east - west) / width, (north - south) / height
    projection = Projection(crs, (step_x, 0.0, west, 0.0, -step_y, north))
    return Grid(projection, row=0, col=0, height=height, width=width)


def bounds_in(crs: Crs, grid: Grid) -> Bounds:
    """Bounds of a grid's edge in another system, the edge sampled densely enough for curves."""
    if crs == grid.projection.crs:
        return grid.bounds
    steps = np.linspace(0.0, 1.0, 33)
    low, high = np.zeros_like(steps), np.ones_like(steps)
    rows = np.concatenate([low, high, steps, steps]) * grid.height + grid.row
    cols = np.concatenate([steps, steps, low, high]) * grid.width + grid.col
    x, y = convert(grid.projection.crs, crs, *np.broadcast_arrays(*grid.projection.corners(rows, cols)))
    seen = np.isfinite(x) & np.isfinite(y)
    if not seen.any():
        return (-180.0, -90.0, 180.0, 90.0) if crs == WGS84 else (0.0, 0.0, 0.0, 0.0)
    return float(x[seen].min()), float(y[seen].min()), float(x[seen].max()), float(y[seen].max())
