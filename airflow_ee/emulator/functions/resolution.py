"""Coarser pixels from finer ones by a reducer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled
from airflow_ee.emulator.functions.neighbourhoods import window_type
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.aggregation import Aggregated, Array
from airflow_ee.emulator.pixels.raster import Raster
from airflow_ee.emulator.values.image import Band, Image, check_plain
from airflow_ee.emulator.values.reducers import Reducer, Single


@registry.implements("Image.reduceResolution")
def reduce_resolution(image: Image, reducer: Reducer, best_effort: bool = False, max_pixels: int = 64) -> Image:
    """An image whose coarser forms combine all its pixels, instead of taking the nearest."""
    if best_effort:
        raise invalid("Image.reduceResolution with the argument 'bestEffort' is not emulated")
    if not all(band.has_grid for band in image.bands):
        raise invalid("Image.reduceResolution of an image without a projection of its own is not emulated")
    if reducer.input_count != 1:
        raise invalid("Image.reduceResolution: reducers of several inputs are not emulated.")
    reducer.check_numbers()
    check_plain(image, "Image.reduceResolution")
    several = len(reducer.output_names) > 1
    return image.with_bands(
        replace(_combined(band, single, max_pixels), name=f"{band.name}_{name}" if several else band.name)
        for band in image.bands
        for name, single in zip(reducer.output_names, reducer.singles(), strict=True)
    )


def _combined(band: Band, single: Single, max_pixels: int) -> Band:
    type_ = window_type(single.output, band.type)

    def combine(values: Array, weights: Array) -> Raster:
        layers = [Raster(each, weight) for each, weight in zip(values, weights, strict=True)]
        results = single.reducer.of_layers([layers])[0]
        return settled(results.values, results.known.astype(np.float32), type_)

    return band.computed(Aggregated(band.node, band.projection, combine, max_pixels), type_)
