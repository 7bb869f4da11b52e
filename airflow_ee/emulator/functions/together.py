"""Several bands looked at together, and several results of one computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.neighbourhood import Margins, Padded, rimmed
from airflow_ee.emulator.pixels.raster import Demand, Node, Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType


class Surroundings(Node):
    """A function of several bands' pixels and a rim around them."""

    def __init__(
        self,
        nodes: Sequence[Node],
        margins: Callable[[Grid], Margins],
        function: Callable[[Sequence[Padded], Grid], Raster],
    ) -> None:
        self._nodes = tuple(nodes)
        self._margins = margins
        self._function = function

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The bands on a grid with a rim."""
        wider = rimmed(grid, self._margins(grid))
        return tuple((node, wider) for node in self._nodes)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Apply the function to the rimmed pixels."""
        margins = self._margins(grid)
        shape = rimmed(grid, margins).shape
        padded = [
            Padded(np.broadcast_to(each.values, shape), np.broadcast_to(each.mask, shape), margins) for each in inputs
        ]
        return self._function(padded, grid)


def results(node: Node, types: Sequence[PixelType]) -> Iterator[Node]:
    """A node for each of the results that another lays along a first axis; that one is computed once for all of them."""
    for place, type_ in enumerate(types):
        yield Pointwise(_Result(place, type_), node)


class _Result:
    def __init__(self, place: int, type_: PixelType) -> None:
        self._place = place
        self._type = type_

    def __call__(self, whole: Raster) -> Raster:
        return settled(whole.values[self._place], whole.mask[self._place], self._type)
