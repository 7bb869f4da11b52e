"""Pixels of the 16-day vegetation indices of MODIS (MOD13, MYD13) and VIIRS (VNP13): both keep the clearest of 16 looks.

Bands and types of MODIS are those of the `catalogue <https://developers.google.com/earth-engine/datasets/catalog/MODIS_061_MOD13Q1>`_,
those of VIIRS of its `page <https://developers.google.com/earth-engine/datasets/catalog/NASA_VIIRS_002_VNP13A1>`_; the digital
numbers of VIIRS have the scales of the `product <https://doi.org/10.5067/VIIRS/VNP13A1.002>`_.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.catalog import fields, optics
from airflow_ee.emulator.catalog.assets import AssetBand
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.modis_calendar import TERRA
from airflow_ee.emulator.catalog.optics import WAVELENGTHS
from airflow_ee.emulator.catalog.places import land_node, place_node, sites_of
from airflow_ee.emulator.catalog.scenes import fitted
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype

PERIOD_DAYS = TERRA.days

_MODIS_BANDS = {
    "NDVI": "int16",
    "EVI": "int16",
    "DetailedQA": "uint16",
    "sur_refl_b01": "int16",
    "sur_refl_b02": "int16",
    "sur_refl_b03": "int16",
    "sur_refl_b07": "int16",
    "ViewZenith": "int16",
    "SolarZenith": "int16",
    "RelativeAzimuth": "int16",
    "DayOfYear": "int16",
    "SummaryQA": "int8",
}
_LOST_SHARE = 0.003
"""Pixels that are masked by chance, of all."""
_MARGINAL_SHARE = 0.08
"""Pixels that are called marginal by chance, of those that are clear: haze that NDVI does not show."""
_VIIRS_BANDS = {
    "EVI": "int16",
    "EVI2": "int16",
    "NDVI": "int16",
    "NIR_reflectance": "int16",
    "SWIR1_reflectance": "int16",
    "SWIR2_reflectance": "int16",
    "SWIR3_reflectance": "int16",
    "VI_Quality": "uint16",
    "red_reflectance": "int16",
    "green_reflectance": "int16",
    "blue_reflectance": "int16",
    "composite_day_of_the_year": "int16",
    "pixel_reliability": "int8",
    "relative_azimuth_angle": "int16",
    "sun_zenith_angle": "int16",
    "view_zenith_angle": "int16",
}
_QUALITY_BANDS = (
    "DetailedQA", "SummaryQA", "DayOfYear", "VI_Quality", "pixel_reliability", "composite_day_of_the_year"
)  # fmt: skip


def inside_of(grid: Grid, native: Grid) -> NDArray[np.bool_]:
    """Which pixels of a grid lie on the image."""
    rows, cols = sites_of(grid, native.projection)
    return np.asarray((rows >= 0) & (rows < native.height) & (cols >= 0) & (cols < native.width))


class LookNode(Node):
    """What one composite kept of each pixel: day of the year, cloud, snow, a number by chance, and NDVI on that day."""

    def __init__(self, start: date, native: Grid) -> None:
        self._start = start
        self._lattice = native.projection
        self._day_of_year = start.timetuple().tm_yday

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels are, and what grows there."""
        return ((place_node(self._lattice), grid), (land_node(self._lattice), grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Five layers."""
        longitude, latitude = inputs[0].values
        rows, cols = sites_of(grid, self._lattice)
        chance = fields.hashed(cols, rows, 41 + self._start.toordinal())
        day: Any = (self._day_of_year + np.floor(chance * PERIOD_DAYS)).astype(np.float32)
        base, height, cosine, sine, water = inputs[1].values
        green = fields.ndvi(fields.Land(base, height, cosine, sine, water > 0), day)
        # A composite keeps the clearest look of its 16 days: clouds must be there on both days looked at to come through.
        looks = (self._start.toordinal(), self._start.toordinal() + 7)
        clouds = (fields.cloudiness(longitude, latitude, look, float(self._day_of_year)) for look in looks)
        snow = fields.snow(longitude, latitude, float(self._day_of_year))
        layers = (day, np.minimum(*clouds) ** 2, snow, chance, green)
        return Raster(
            np.stack([np.broadcast_to(each, grid.shape).astype(np.float32) for each in layers]), inputs[0].mask
        )


Shade = Callable[[Field, Field], Field]
"""Digital numbers from the looks and the latitude of the places."""


class _CompositeBand(Node):
    """One band of a composite; water and some pixels by chance are masked."""

    def __init__(self, type_: PixelType, look: LookNode, shade: Shade, native: Grid) -> None:
        self._type = type_
        self._look = look
        self._native = native
        self._shade = shade

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The looks, and where the pixels are."""
        return ((self._look, grid), (place_node(self._native.projection), grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Pixels outside of the projection's outline are masked as well."""
        look, place = (each.values for each in inputs)
        seen = inside_of(grid, self._native) & (inputs[1].mask > 0) & (look[4] > 0) & (look[3] > _LOST_SHARE)
        return fitted(np.broadcast_to(self._shade(look, place[1]), grid.shape), seen, self._type)


def _seen(colour: str, look: Field) -> Field:
    clear = np.zeros_like(look[1])
    return optics.reflectance(WAVELENGTHS[colour], look[4], np.stack([look[1], clear, clear, look[2]]))


def _colour(colour: str, look: Field, _latitude: Field) -> Field:
    return np.asarray(np.clip(_seen(colour, look), 0, 1) * 10_000)


def _ndvi(look: Field, _latitude: Field) -> Field:
    near, red = _seen("near", look), _seen("red", look)
    return np.asarray(np.clip((near - red) / (near + red) * 10_000, -2000, 10_000))


def _evi(look: Field, _latitude: Field) -> Field:
    near, red, blue = (_seen(colour, look) for colour in ("near", "red", "blue"))
    return np.asarray(np.clip(2.5 * (near - red) / (near + 6 * red - 7.5 * blue + 1) * 10_000, -2000, 10_000))


def _summary(look: Field, _latitude: Field) -> Field:
    """0 where nothing at all is in the way: there NDVI is the truth."""
    cloud, snow, chance = look[1], look[2], look[3]
    marginal = (cloud > 0) | (chance * PERIOD_DAYS % 1 < _MARGINAL_SHARE)
    return np.asarray(np.select([cloud > 0.5, snow > 0, marginal], [3.0, 2.0, 1.0], 0.0))


def _detailed(look: Field, latitude: Field) -> Field:
    """Bits 0-1 say how good, 2-5 how useful, 6-7 aerosol, 8 clouds beside, 10 mixed clouds, 11-13 land, 14 snow."""
    bits = {0: 0x0844, 1: 0x0989, 2: 0x4851, 3: 0x0DE2}
    summary = _summary(look, latitude)
    return np.asarray(np.select([summary == key for key in bits], [float(value) for value in bits.values()]))


def _solar_zenith(day_of_year: int, _look: Field, latitude: Field) -> Field:
    declination = 23.44 * np.sin(2 * np.pi * (day_of_year - 81) / 365.25)
    return np.asarray(np.clip(np.hypot(latitude - declination, 25.0), 0, 90) * 100)


def _wrapped(last_day: int, look: Field, _latitude: Field) -> Field:
    """The last composite of a year reaches into the next one: days are those of the year that they are in."""
    return np.asarray(np.where(look[0] > last_day, look[0] - last_day, look[0]))


def _modis_shades(start: date) -> dict[str, Shade]:
    return {
        "NDVI": _ndvi,
        "EVI": _evi,
        "DetailedQA": _detailed,
        "sur_refl_b01": partial(_colour, "red"),
        "sur_refl_b02": partial(_colour, "near"),
        "sur_refl_b03": partial(_colour, "blue"),
        "sur_refl_b07": partial(_colour, "swir 2"),
        "ViewZenith": lambda look, _latitude: 6000 * look[3],
        "SolarZenith": partial(_solar_zenith, start.timetuple().tm_yday),
        "RelativeAzimuth": lambda look, _latitude: 36_000 * look[3] - 18_000,
        "DayOfYear": partial(_wrapped, date(start.year, 12, 31).timetuple().tm_yday),
        "SummaryQA": _summary,
    }


def _two_band_evi(look: Field, _latitude: Field) -> Field:
    near, red = _seen("near", look), _seen("red", look)
    return np.asarray(np.clip(2.5 * (near - red) / (near + 2.4 * red + 1) * 10_000, -2000, 10_000))


def _reliability(look: Field, latitude: Field) -> Field:
    """The ranks of VIIRS for those of MODIS: excellent, marginal, snow, cloud."""
    ranks = np.array([0.0, 3.0, 8.0, 9.0])
    return np.asarray(ranks[_summary(look, latitude).astype(np.int64)])


def _viirs_shades(start: date) -> dict[str, Shade]:
    same = _modis_shades(start)
    return {
        "EVI": same["EVI"],
        "EVI2": _two_band_evi,
        "NDVI": same["NDVI"],
        "NIR_reflectance": partial(_colour, "near"),
        # At 1240 nm leaves are about as bright as at 860 nm.
        "SWIR1_reflectance": partial(_colour, "narrow near"),
        "SWIR2_reflectance": partial(_colour, "swir 1"),
        "SWIR3_reflectance": partial(_colour, "swir 2"),
        "VI_Quality": same["DetailedQA"],
        "red_reflectance": partial(_colour, "red"),
        "green_reflectance": partial(_colour, "green"),
        "blue_reflectance": partial(_colour, "blue"),
        "composite_day_of_the_year": same["DayOfYear"],
        "pixel_reliability": _reliability,
        "relative_azimuth_angle": same["RelativeAzimuth"],
        "sun_zenith_angle": same["SolarZenith"],
        "view_zenith_angle": same["ViewZenith"],
    }


@lru_cache(maxsize=1024)
def modis_bands(start: date, native: Grid) -> tuple[AssetBand, ...]:
    """The bands of a composite of MODIS."""
    return _bands(start, native, _MODIS_BANDS, _modis_shades(start))


@lru_cache(maxsize=1024)
def viirs_bands(start: date, native: Grid) -> tuple[AssetBand, ...]:
    """The bands of a composite of VIIRS."""
    return _bands(start, native, _VIIRS_BANDS, _viirs_shades(start))


def _bands(start: date, native: Grid, types: dict[str, str], shades: dict[str, Shade]) -> tuple[AssetBand, ...]:
    look = LookNode(start, native)

    def band(name: str, dtype: str) -> AssetBand:
        type_ = type_of_dtype(dtype)
        policy = "MODE" if name in _QUALITY_BANDS else "MEAN"
        return AssetBand(name, type_, native, _CompositeBand(type_, look, shades[name], native), policy)

    return tuple(band(name, dtype) for name, dtype in types.items())
