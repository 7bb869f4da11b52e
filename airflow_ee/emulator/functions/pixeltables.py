"""The pixels of a collection's images in a region, as rows of a table."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.columns import property_of
from airflow_ee.emulator.functions.composites import images_of
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.functions.regions import Patch, Places, centres_of, check_scale, patches, samples
from airflow_ee.emulator.functions.spatial import resolved
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Projection, grid_over
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import DEFAULT_PROJECTION, Image
from airflow_ee.emulator.values.reducers.column import as_items

MAX_VALUES = 1_048_576

HEADER = ["id", "longitude", "latitude", "time"]


@registry.implements("ImageCollection.getRegion")
def get_region(
    collection: Collection,
    geometry: Geometry,
    scale: float | None = None,
    crs: Projection | None = None,
    crs_transform: list[Any] | None = None,
) -> list[Any]:
    """A header, then a row for each pixel and each image that shows it in any band; masked bands are null."""
    function = "ImageCollection.getRegion"
    check_scale(scale, function)
    images = images_of(collection)
    names = _band_names(images, function)
    projection = resolved(crs or DEFAULT_PROJECTION, crs_transform, scale, function)
    found: list[Patch] = []
    pixels = 0
    for patch in patches(grid_over(projection, geometry.bounds_in(projection.crs)), geometry):
        found.append(patch.where(patch.centred))
        pixels += len(found[-1].rows)
        if pixels * len(names) * len(images) > MAX_VALUES:
            counts = f"{pixels:,} points x {len(names):,} bands x {len(images):,} images"
            raise invalid(f"{function}: Too many values: {counts} > {MAX_VALUES:,}.")
    return [[*HEADER, *names], *(row for patch in found for row in _rows(patch, images))]


def _band_names(images: list[Image], function: str) -> list[str]:
    names = images[0].names if images else []
    for image in images:
        if image.names != names:
            listed = f"[{', '.join(names)}] and [{', '.join(image.names)}]"
            raise invalid(f"{function}: All images must have the same bands, got {listed}.")
    return names


def _rows(patch: Patch, images: list[Image]) -> list[list[Any]]:
    """All images of the first pixel, then of the next."""
    places = centres_of(patch.grid.projection, patch.lattice_rows, patch.lattice_cols)
    columns = [_column(image, patch, places) for image in images]
    return [column[pixel] for pixel in range(len(patch.rows)) for column in columns if column[pixel]]


def _column(image: Image, patch: Patch, places: tuple[Places, Places]) -> list[list[Any]]:
    """One image's rows, empty for the pixels outside of its footprint and for those that all bands mask."""
    inside = image.geometry().contains(places[0], places[1], WGS84)
    found = samples([band.node for band in image.bands], patch) if inside.any() else []
    values = [(as_items(each.values), (each.mask > 0).tolist()) for each in found]
    index, time = property_of(image, "system:index"), property_of(image, "system:time_start")
    longitudes, latitudes = (each.tolist() for each in places)
    return [
        [index, longitudes[n], latitudes[n], time, *(band[n] if valid[n] else None for band, valid in values)]
        if inside[n] and any(valid[n] for _, valid in values)
        else []
        for n in range(len(patch.rows))
    ]
