"""How bands of arrays are made from others: what is known of a band before any pixel is, and what is done with its batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from airflow_ee.emulator.functions.arithmetic import joined, pairs, settled_raster
from airflow_ee.emulator.pixels.batches import Compute, batched
from airflow_ee.emulator.pixels.raster import Node, Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType, union
from airflow_ee.emulator.values.image import Band, Image


class Plan(NamedTuple):
    """What becomes of bands: the type, and the function of batches."""

    type: PixelType
    compute: Compute


def computed(plan: Plan, *nodes: Node) -> Pointwise:
    """The node of a plan, masked where any of the others is."""
    return Pointwise(partial(_raster, plan), *nodes)


def _raster(plan: Plan, *rasters: Raster) -> Raster:
    made = batched(plan.compute, plan.type, *rasters)
    # What is not a number stays in arrays, and masks a pixel that is one number.
    return made if plan.type.dimensions else settled_raster(made, plan.type)


def each_band(image: Image, plan: Callable[[PixelType], Plan]) -> Image:
    """Every band by itself."""

    def changed(band: Band) -> Band:
        made = plan(band.type)
        return band.computed(computed(made, band.node), made.type)

    return image.each(changed)


def each_pair(one: Image, two: Image, function: str, plan: Callable[[PixelType, PixelType], Plan]) -> Image:
    """The bands of two images that meet."""

    def together(name: str, first: Band, second: Band) -> Band:
        made = plan(first.type, second.type)
        return joined(name, made.type, computed(made, first.node, second.node), (first, second))

    return Image(tuple(together(*pair) for pair in pairs(one, two, function)))


def elements(types: Sequence[PixelType]) -> PixelType:
    """The narrowest type of plain numbers that holds those of all."""
    whole = types[0].of_arrays(0)
    for each in types[1:]:
        whole = union(whole, each.of_arrays(0))
    return whole


def at_pixels(raster: Raster) -> Raster:
    """Numbers as whole ones, cut off, for places and counts; what is masked is 0."""
    return raster._replace(values=np.where(raster.mask > 0, raster.values, 0).astype(np.int64))
