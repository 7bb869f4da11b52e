"""Rectangles of pixels as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.regions import bounded
from airflow_ee.emulator.pixels.grid import grid_over
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import DEFAULT_PROJECTION, Band, Image, check_plain

MAX_RECTANGLE = 262_144
"""Pixels of a sampled rectangle."""


@registry.implements("Image.sampleRectangle")
def sample_rectangle(
    image: Image,
    region: Geometry | None = None,
    properties: list[Any] | None = None,
    default_value: float | None = None,
    default_array_value: Any = None,  # noqa: ARG001 -- bands of arrays are refused
) -> Feature:
    """The pixels of a bounding box, each band on its own lattice, as an array of rows."""
    check_plain(image, "Image.sampleRectangle")
    shape = bounded(region, image, "Image.sampleRectangle")
    chosen = image.properties.items()
    kept = {name: value for name, value in chosen if (_named(name) if properties is None else name in properties)}
    return Feature(shape, {**kept, **{band.name: _rectangle(band, shape, default_value) for band in image.bands}})


def _named(name: str) -> bool:
    return not name.startswith("system:")


def _rectangle(band: Band, shape: Geometry, default: float | None) -> Array:
    function = "Image.sampleRectangle"
    if band.projection == DEFAULT_PROJECTION and band.extent is None:
        raise invalid(f"{function}: band '{band.name}' has no projection of its own; reproject it first.")
    grid = grid_over(band.projection, shape.bounds_in(band.projection.crs))
    if grid.width * grid.height > MAX_RECTANGLE:
        raise invalid(
            f"{function}: Too many pixels in sample; must be <= {MAX_RECTANGLE}. Got {grid.width * grid.height}."
        )
    (raster,) = render([band.node], grid)
    valid = raster.mask > 0
    if default is None and not valid.all():
        reason = f"Fully masked pixels / pixels outside of the image footprint when sampling band '{band.name}'"
        raise invalid(f"{function}: {reason} with no default value set.")
    kind = np.dtype({"int": "int64", "float": "float32", "double": "float64"}[band.type.precision])
    if default is not None and kind.kind == "i" and abs(default) >= 2**63:
        raise invalid(f"{function}: defaultValue {default:g} does not fit the whole numbers of band '{band.name}'.")
    return Array(np.where(valid, raster.values.astype(kind), np.float64(default or 0.0).astype(kind)))
