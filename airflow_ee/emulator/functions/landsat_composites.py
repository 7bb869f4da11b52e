"""Landsat scenes scored by how cloudy they look, limited to the clearest, and put together to one image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import settled, unary_band
from airflow_ee.emulator.functions.composites import images_of, reduced
from airflow_ee.emulator.functions.landsat import is_spectral, is_thermal, top_of_atmosphere
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.raster import Node, Pointwise, Raster, Values
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype
from airflow_ee.emulator.values.element import Collection
from airflow_ee.emulator.values.image import Band, Image, no_match

_SCORE = PixelType("int", 0, 100)
_BYTE = type_of_dtype("uint8")
_OLD = ("B1", "B2", "B3", "B4", "B5", "B7")
_BANDS = {
    "OLI_TIRS": ("B2", "B3", "B4", "B5", "B6", "B7", "B10"),
    "ETM": (*_OLD, "B6_VCID_1"),
    "ETM+": (*_OLD, "B6_VCID_1"),
    "TM": (*_OLD, "B6"),
}
"""Blue, green, red, near infrared, both short waves and temperature, by the property ``SENSOR_ID``."""

_COLDEST = 100.0
"""Kelvin that bytes of temperature count from."""


@of_numbers("Landsat.simpleCloudScore")
def simple_cloud_score(image: Image) -> Image:
    """The scene with a band ``cloud``: 0 is clear, 100 as cloudy as can be."""
    return image.with_bands([*image.bands, _scored(image)])


def _scored(image: Image) -> Band:
    """Earth Engine publishes the rule as its example script SimpleCloudScore."""
    function, sensor = "Landsat.simpleCloudScore", image.properties.get("SENSOR_ID")
    names = _BANDS.get(str(sensor))
    if names is None:
        known = ", ".join(sorted(_BANDS))
        raise invalid(f"{function}: the property 'SENSOR_ID' must be one of {known}, got {sensor!r}.")
    bands = [_needed(image, name, function) for name in names]
    node = Pointwise(_cloudiness, *(band.node for band in bands))
    return replace(bands[0], name="cloud", type=_SCORE, node=node)


def _needed(image: Image, name: str, function: str) -> Band:
    found = next((band for band in image.bands if band.name == name), None)
    if found is None:
        raise no_match(image, name, function)
    return found


def _cloudiness(*rasters: Raster) -> Raster:
    blue, green, red, near, short, shorter, kelvin = (raster.values.astype(np.float64) for raster in rasters)
    total = green + short
    snow = np.divide(green - short, total, out=np.zeros_like(total), where=total != 0)
    score = np.minimum.reduce([
        _rescaled(blue, 0.1, 0.3),
        _rescaled(red + green + blue, 0.2, 0.8),
        _rescaled(near + short + shorter, 0.3, 0.8),
        _rescaled(kelvin, 300, 290),
        _rescaled(snow, 0.8, 0.6),
    ])  # fmt: skip
    mask = np.minimum.reduce([raster.mask for raster in rasters])
    return settled(np.trunc(np.clip(score, 0, 1) * 100), mask, _SCORE)


def _rescaled(values: Values, clear: float, cloudy: float) -> Values:
    return np.asarray((values - clear) / (cloudy - clear))


@of_numbers("Landsat.pathRowLimit")
def path_row_limit(
    collection: Collection, max_scenes_per_path_row: int = 25, max_scenes_total: int = 100
) -> Collection:
    """The least cloudy scenes of each path and row, and of all of them together, in their old order."""
    for name, most in (("maxScenesPerPathRow", max_scenes_per_path_row), ("maxScenesTotal", max_scenes_total)):
        if most < 1:
            raise invalid(f"Landsat.pathRowLimit: '{name}' must be positive, got {most}.")
    scenes = images_of(collection)
    ranked = [place for place in _ranked(scenes) if place[0] < max_scenes_per_path_row]
    kept = {number for *_, number in sorted(ranked)[:max_scenes_total]}
    return collection.some_of(scene for number, scene in enumerate(scenes) if number in kept)


def _ranked(scenes: Sequence[Image]) -> list[tuple[int, float, int]]:
    """The rank of each scene within its path and row, its cloudiness and its number."""
    frames: dict[tuple[Any, Any], list[tuple[float, int]]] = defaultdict(list)
    for number, scene in enumerate(scenes):
        cover = scene.properties.get("CLOUD_COVER")
        cloudy = float(cover) if isinstance(cover, int | float) else 100.0
        frames[scene.properties.get("WRS_PATH"), scene.properties.get("WRS_ROW")].append((cloudy, number))
    return [(rank, *each) for frame in frames.values() for rank, each in enumerate(sorted(frame))]


@of_numbers("Landsat.simpleComposite")
def simple_composite(
    collection: Collection,
    percentile: int = 50,
    cloud_score_range: int = 10,
    max_depth: int = 40,
    as_float: bool = False,
) -> Image:
    """Of the clearest looks at each pixel a percentile, band by band."""
    if max_depth < 1:
        raise invalid(f"Landsat.simpleComposite: 'maxDepth' must be positive, got {max_depth}.")
    scenes = [place for place in _ranked(images_of(collection)) if place[0] < max_depth]
    images = [top_of_atmosphere(collection.elements[number]) for *_, number in sorted(scenes, key=lambda each: each[2])]
    scores = [_scored(image).node for image in images]
    lowest = Pointwise(_lowest, *scores)
    thermal: set[str] = set()
    layers: dict[str, list[Band]] = defaultdict(list)
    for image, score in zip(images, scores, strict=True):
        for band in filter(is_spectral, image.bands):
            layers[band.name].append(_accepted(band, score, lowest, cloud_score_range))
            thermal |= {band.name} if is_thermal(band, image.properties) else set()
    reducer = registry.call("Reducer.percentile", {"percentiles": [percentile]})
    bands = [band for name, looks in layers.items() for band in reduced([name], reducer, [looks])]
    return Image(tuple(bands if as_float else (_as_byte(band, band.name in thermal) for band in bands)))


def _lowest(*scores: Raster) -> Raster:
    least = np.minimum.reduce([np.where(score.mask > 0, score.values, np.uint8(100)) for score in scores])
    return Raster(least, np.maximum.reduce([score.mask for score in scores]))


def _accepted(band: Band, score: Node, lowest: Node, cloud_score_range: int) -> Band:
    return band.computed(Pointwise(partial(_clear_enough, cloud_score_range), band.node, score, lowest))


def _clear_enough(cloud_score_range: int, look: Raster, score: Raster, lowest: Raster) -> Raster:
    kept = score.values.astype(np.int64) <= lowest.values.astype(np.int64) + cloud_score_range
    return Raster(look.values, np.minimum(look.mask, score.mask) * kept.astype(np.float32))


def _as_byte(band: Band, thermal: bool) -> Band:
    def packed(values: Values) -> Values:
        scaled = values.astype(np.float64) - _COLDEST if thermal else values.astype(np.float64) * 255
        return np.clip(np.floor(scaled + 0.5), 0, 255)

    return unary_band(band, packed, _BYTE)
