"""Pull evaluation: a node answers a grid by asking its inputs for grids.

There is no recursion, and no result outlives its last use. A node never sees the whole image: large grids are answered block
by block, and since every node is a function of the pixel alone, the blocks join to what one piece would have been.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.cells import Canvas, Mask, Raster, TooManyCells, Values, check_cells, spread
from airflow_ee.emulator.pixels.grid import OUTSIDE, Grid, Positions, Projection, Sites

__all__ = [
    "BLOCK_SIDE", "Demand", "Interpolated", "Mask", "Masked", "Node", "Pointwise", "Positional", "Raster", "Reprojected",
    "Several", "Values", "answer", "block_side", "pick", "render",
]  # fmt: skip

BLOCK_SIDE = 256
"""Pixels a side that are computed at once: bounds memory whatever the request."""

BLOCK_VALUES = 64 * BLOCK_SIDE**2

MAX_REPROJECTED_PIXELS = 64_000_000

Demand = tuple["Node", Grid]


class Node(ABC):
    """One band's pixels, before anybody has asked for them."""

    def demands(self, grid: Grid) -> tuple[Demand, ...]:  # noqa: ARG002 -- a leaf asks for nothing
        """What must be known to answer ``grid``."""
        return ()

    @abstractmethod
    def compute(self, grid: Grid, inputs: Sequence[Any]) -> Raster:
        """The pixels of ``grid``, given what :meth:`demands` asked for."""


def answer(nodes: Sequence[Node], grid: Grid) -> list[Raster]:
    """The pixels of every node on one grid. Where arrays get too long for all pixels at once, they come part by part."""
    try:
        return _answer(nodes, grid)
    except TooManyCells:
        if grid.height == grid.width == 1:
            raise
    canvases = [Canvas(grid.shape) for _ in nodes]
    for part in grid.blocks((max(grid.shape) + 1) // 2):
        for canvas, raster in zip(canvases, answer(nodes, part), strict=True):
            canvas.put(part.row - grid.row, part.col - grid.col, part.shape, raster)
    return [canvas.finished() for canvas in canvases]


def _answer(nodes: Sequence[Node], grid: Grid) -> list[Raster]:
    wanted: list[Demand] = [(node, grid) for node in nodes]
    order, asked = _plan(wanted)
    uses = _count_uses(wanted, asked)
    known: dict[Demand, Any] = {}
    for job in order:
        deadline.check()
        node, window = job
        known[job] = node.compute(window, [known[need] for need in asked[job]])
        for need in asked[job]:
            uses[need] -= 1
            if not uses[need]:
                del known[need]
    return [known[job] for job in wanted]


def _plan(wanted: Sequence[Demand]) -> tuple[list[Demand], dict[Demand, tuple[Demand, ...]]]:
    """Every demand behind ``wanted``, needs first, found depth first with a stack of our own."""
    order: list[Demand] = []
    asked: dict[Demand, tuple[Demand, ...]] = {}
    stack: list[tuple[Demand, Iterator[Demand]]] = []
    for root in wanted:
        _enter(root, asked, stack)
        while stack:
            job, needs = stack[-1]
            need = next(needs, None)
            if need is None:
                order.append(job)
                stack.pop()
            else:
                _enter(need, asked, stack)
    return order, asked


def _enter(job: Demand, asked: dict[Demand, tuple[Demand, ...]], stack: list[tuple[Demand, Iterator[Demand]]]) -> None:
    if job not in asked:
        asked[job] = job[0].demands(job[1])
        stack.append((job, iter(asked[job])))


def _count_uses(wanted: Sequence[Demand], asked: dict[Demand, tuple[Demand, ...]]) -> dict[Demand, int]:
    uses = dict.fromkeys(asked, 0)
    for needs in asked.values():
        for need in needs:
            uses[need] += 1
    for job in wanted:
        uses[job] += 1
    return uses


def block_side(bands: int) -> int:
    """Pixels a side that so many bands are computed at once on.

    >>> block_side(3), block_side(1024)
    (256, 64)
    """
    return min(BLOCK_SIDE, max(8, isqrt(BLOCK_VALUES // max(1, bands))))


def render(nodes: Sequence[Node], grid: Grid) -> list[Raster]:
    """Like :func:`answer` for grids of any size, block by block, with full-shape arrays."""
    canvases = [Canvas(grid.shape) for _ in nodes]
    for block in grid.blocks(block_side(len(nodes))):
        for canvas, raster in zip(canvases, answer(nodes, block), strict=True):
            canvas.put(block.row - grid.row, block.col - grid.col, block.shape, raster)
    return [canvas.finished() for canvas in canvases]


class Pointwise(Node):
    """Pixels computed from the same pixels of other nodes."""

    def __init__(self, function: Callable[..., Any], *inputs: Node) -> None:
        self._function = function
        self._inputs = inputs

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Every input on the same grid."""
        return tuple((node, grid) for node in self._inputs)

    def compute(self, grid: Grid, inputs: Sequence[Any]) -> Any:  # noqa: ARG002 -- a pixel needs no place
        """Apply the function to the inputs' pixels."""
        return self._function(*inputs)


class Several(Pointwise):
    """Pixels of several results that are found together: those that show them pick theirs from a tuple."""

    def __init__(self, function: Callable[..., tuple[Raster, ...]], *inputs: Node) -> None:
        super().__init__(function, *inputs)


class Positional(Node):
    """Pixels that depend on where they are and on nothing else: constants, areas, coordinates."""

    def __init__(self, function: Callable[[Grid], Raster]) -> None:
        self._function = function

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- a leaf has none
        """Apply the function to the grid."""
        return self._function(grid)


class Masked(Node):
    """A node's pixels with the mask multiplied by a function of the place."""

    def __init__(self, node: Node, keep: Callable[[Grid], NDArray[np.bool_]]) -> None:
        self._node = node
        self._keep = keep

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The node itself."""
        return ((self._node, grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Mask what is not kept."""
        return inputs[0]._replace(mask=inputs[0].mask * self._keep(grid).astype(np.float32))


class Reprojected(Node):
    """A node computed on a fixed lattice and read by the nearest pixel from wherever it is wanted."""

    def __init__(self, node: Node, projection: Projection) -> None:
        self._node = node
        self._projection = projection

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The window of the lattice that the grid's pixel centres fall into."""
        window = _window(self._projection, grid.sites_in(self._projection))
        return ((self._node, window),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Pick the nearest pixels."""
        sites = grid.sites_in(self._projection)
        window = _window(self._projection, sites)
        return pick(inputs[0], Sites(sites.rows - window.row, sites.cols - window.col), window.shape)


class Interpolated(Node):
    """A node read from its own lattice by bilinear or bicubic interpolation. Masked pixels lend no value."""

    def __init__(
        self, node: Node, projection: Projection, weights: Callable[[Values], list[Values]], dtype: np.dtype[Any]
    ) -> None:
        self._node = node
        self._projection = projection
        self._weights = weights
        self._dtype = dtype
        self._reach = len(weights(np.zeros(1))) // 2

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The window with as many pixels around it as the kernel reaches."""
        return ((self._node, self._padded(grid)),)

    def _padded(self, grid: Grid) -> Grid:
        window, reach = _window(self._projection, grid.sites_in(self._projection)), self._reach
        return window.window(row=-reach, col=-reach, height=window.height + 2 * reach, width=window.width + 2 * reach)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Weigh the neighbours; where none is valid the pixel is masked. On its own lattice the node is as it is."""
        window = self._padded(grid)
        if grid.projection.offset_in(self._projection) is not None:
            sites = grid.sites_in(self._projection)
            found = pick(inputs[0], Sites(sites.rows - window.row, sites.cols - window.col), window.shape)
        else:
            found = self._weigh(inputs[0], grid.positions_in(self._projection), window)
        return Raster(found.values.astype(self._dtype, copy=False), found.mask)

    def _weigh(self, raster: Raster, at: Positions, window: Grid) -> Raster:
        rows, cols = np.broadcast_arrays(at.rows - 0.5, at.cols - 0.5)
        lost = ~(np.isfinite(rows) & np.isfinite(cols))
        rows, cols = np.where(lost, window.row - 9.0, rows), np.where(lost, window.col - 9.0, cols)
        # Fractions come before the window's own corner is taken off: they must not hang on which window it is.
        base = Sites(np.floor(rows).astype(np.int64), np.floor(cols).astype(np.int64))
        row_weights, col_weights = self._weights(rows - base.rows), self._weights(cols - base.cols)
        total, weight = np.zeros(rows.shape), np.zeros(rows.shape)
        top, left = base.rows - window.row + 1 - self._reach, base.cols - window.col + 1 - self._reach
        for i, by_row in enumerate(row_weights):
            for j, by_col in enumerate(col_weights):
                part = pick(raster, Sites(top + i, left + j), window.shape)
                share = by_row * by_col * part.mask
                total += share * np.where(part.mask > 0, part.values, 0)
                weight += share
        known = weight > 1e-6
        values = np.divide(total, weight, out=np.zeros_like(total), where=known)
        return Raster(values, np.clip(np.where(known, weight, 0.0), 0.0, 1.0).astype(np.float32))


def _window(projection: Projection, sites: Sites) -> Grid:
    """The smallest grid with all the sites that exist; one masked pixel when none does."""
    rows, cols = sites.rows[sites.rows != OUTSIDE], sites.cols[sites.cols != OUTSIDE]
    if not rows.size or not cols.size:
        return Grid(projection, row=0, col=0, height=1, width=1)
    row, col = int(rows.min()), int(cols.min())
    height, width = int(rows.max()) - row + 1, int(cols.max()) - col + 1
    if height * width > MAX_REPROJECTED_PIXELS:
        raise invalid(f"Reprojection output too large ({width}x{height} pixels).")
    return Grid(projection, row=row, col=col, height=height, width=width)


def pick(raster: Raster, sites: Sites, shape: tuple[int, int]) -> Raster:
    """Pixels by row and column; places outside ``shape`` are masked zeros."""
    height, width = shape
    good_rows, good_cols = (sites.rows >= 0) & (sites.rows < height), (sites.cols >= 0) & (sites.cols < width)
    rows, cols = np.where(good_rows, sites.rows, 0), np.where(good_cols, sites.cols, 0)
    if raster.axes:
        check_cells(prod(raster.axes) * prod(np.broadcast_shapes(rows.shape, cols.shape)))
    values = spread(raster.values, shape)[..., rows, cols]
    mask = np.broadcast_to(raster.mask, shape)[rows, cols]
    lengths = None if raster.lengths is None else spread(raster.lengths, shape)[..., rows, cols]
    inside = good_rows & good_cols
    return Raster(np.where(inside, values, values.dtype.type(0)), np.where(inside, mask, np.float32(0)), lengths)
