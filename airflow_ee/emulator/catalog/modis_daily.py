"""Pixels of MOD09GA: what one day's sky lets through of the ground, at 500 m, and what is known of it at 1 km.

Bands, bits and scales are those of the `catalogue <https://developers.google.com/earth-engine/datasets/catalog/MODIS_061_MOD09GA>`_;
types are those of the `product <https://ladsweb.modaps.eosdis.nasa.gov/filespec/MODIS/61/MOD09GA>`_. Every place is seen every
day: the gaps between swaths near the equator are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache, partial

import numpy as np

from airflow_ee.emulator.catalog import fields, optics
from airflow_ee.emulator.catalog.assets import AssetBand
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.modis_composites import inside_of
from airflow_ee.emulator.catalog.optics import WAVELENGTHS
from airflow_ee.emulator.catalog.places import green_node, place_node, sites_of
from airflow_ee.emulator.catalog.scenes import fitted
from airflow_ee.emulator.pixels.crs import SINUSOIDAL_RADIUS
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype

Shade = Callable[[Field], Field]
"""Digital numbers from the layers of a :class:`_DayNode`."""

_GREEN, _CLOUD, _SHADOW, _CIRRUS, _SNOW, _CHANCE, _SOLAR_ZENITH = range(7)
_CORRECTED = 1 << 30
"""Of the reflectances' quality: atmospheric correction performed."""
_ORBIT_25_METRES = 705_000 / 25


class _DayNode(Node):
    """NDVI, the four layers of the sky, a number by chance and the height of the sun.

    A pixel of 1 km is as cloudy as the cloudiest of its four quarters: so the pixels of 500 m in a clear one are clear.
    """

    def __init__(self, day: date, native: Grid, quarter: float = 0.0) -> None:
        self._day = day
        self._lattice = native.projection
        self._quarter = quarter
        """How far the centres of the quarters are from the pixel's, in metres."""

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels are, and how green it is there."""
        day_of_year = self._day.timetuple().tm_yday
        return ((place_node(self._lattice), grid), (green_node(self._lattice, day_of_year), grid))

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Seven layers."""
        longitude, latitude = inputs[0].values
        rows, cols = sites_of(grid, self._lattice)
        chance = fields.hashed(cols, rows, 43 + self._day.toordinal())
        layers = (inputs[1].values, *self._sky(longitude, latitude), chance, self._sun(latitude))
        stacked = np.stack([np.broadcast_to(each, grid.shape).astype(np.float32) for each in layers])
        return Raster(stacked, inputs[0].mask)

    def _sky(self, longitude: Field, latitude: Field) -> Field:
        """Cloud, shadow, cirrus and snow, each at its worst."""
        ordinal, day_of_year = self._day.toordinal(), float(self._day.timetuple().tm_yday)
        north = np.degrees(self._quarter / SINUSOIDAL_RADIUS)
        # At the poles themselves a metre is no number of degrees.
        east = north / np.maximum(np.cos(np.radians(latitude)), 1e-3)
        steps = [(right, up) for right in (-1, 1) for up in (-1, 1)] if self._quarter else [(0, 0)]
        skies = [
            np.stack(fields.sky(longitude + right * east, latitude + up * north, ordinal, day_of_year))
            for right, up in steps
        ]
        return np.asarray(np.max(skies, axis=0))

    def _sun(self, latitude: Field) -> Field:
        """The sun's distance from the zenith at half past ten, in degrees, as the composites have it."""
        declination = 23.44 * np.sin(2 * np.pi * (self._day.timetuple().tm_yday - 81) / 365.25)
        return np.asarray(np.clip(np.hypot(latitude - declination, 25.0), 0, 90))


class _DayBand(Node):
    """One band of a day."""

    def __init__(self, type_: PixelType, look: _DayNode, shade: Shade, native: Grid) -> None:
        self._type = type_
        self._look = look
        self._shade = shade
        self._native = native

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The layers."""
        return ((self._look, grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:
        """Pixels outside of the projection's outline are masked."""
        seen = inside_of(grid, self._native) & (inputs[0].mask > 0)
        return fitted(np.broadcast_to(self._shade(inputs[0].values), grid.shape), seen, self._type)


def _reflectance(colour: str, look: Field) -> Field:
    seen = optics.reflectance(WAVELENGTHS[colour], look[_GREEN], look[_CLOUD : _SNOW + 1])
    return np.asarray(np.clip(seen * 10_000, -100, 16_000))


def state(look: Field) -> Field:
    """Bits 0-1 cloud, 2 shadow, 3-5 land and water, 6-7 aerosol, 8-9 cirrus, 10 cloud, 12 snow, 13 clouds beside, 15 snow."""
    cloud, cirrus = look[_CLOUD], look[_CIRRUS]
    cloudy, any_cloud = cloud > optics.OPAQUE, cloud > 0
    bits = np.select([cloudy, any_cloud], [1, 2], 0)
    bits |= (look[_SHADOW] > 0).astype(np.int64) << 2
    bits |= np.where(look[_GREEN] > 0, 1, 3) << 3
    bits |= np.where(any_cloud, 3, 1) << 6
    bits |= np.select([cirrus > 0.6, cirrus > optics.CIRRUS, cirrus > 0], [3, 2, 1], 0) << 8
    bits |= cloudy.astype(np.int64) << 10
    bits |= (look[_SNOW] > optics.SNOW).astype(np.int64) << 12
    bits |= (any_cloud & ~cloudy).astype(np.int64) << 13
    bits |= (look[_SNOW] > 0).astype(np.int64) << 15
    return bits.astype(np.float64)


def _quality(look: Field) -> Field:
    """All bands at their best, or less than that under any cloud."""
    return np.asarray(np.where(look[_CLOUD] > 0, _CORRECTED + 1.0, float(_CORRECTED)))


def _constant(value: float, look: Field) -> Field:
    return np.full_like(look[0], value)


def _distance(look: Field) -> Field:
    return np.asarray(_ORBIT_25_METRES / np.cos(np.radians(60 * look[_CHANCE])))


_COARSE: dict[str, tuple[str, Shade]] = {
    "num_observations_1km": ("int8", partial(_constant, 1)),
    "state_1km": ("uint16", state),
    "SensorZenith": ("int16", lambda look: 6000 * look[_CHANCE]),
    "SensorAzimuth": ("int16", lambda look: np.where(look[_CHANCE] * 2 % 1 < 0.5, 9800.0, -8200.0)),
    "Range": ("uint16", _distance),
    "SolarZenith": ("int16", lambda look: 100 * look[_SOLAR_ZENITH]),
    "SolarAzimuth": ("int16", partial(_constant, 15_000)),
    "gflags": ("uint8", partial(_constant, 0)),
    "orbit_pnt": ("int8", partial(_constant, 0)),
    "granule_pnt": ("uint8", partial(_constant, 0)),
}
_FINE: dict[str, tuple[str, Shade]] = {
    "num_observations_500m": ("int8", partial(_constant, 1)),
    "sur_refl_b01": ("int16", partial(_reflectance, "red")),
    "sur_refl_b02": ("int16", partial(_reflectance, "near")),
    "sur_refl_b03": ("int16", partial(_reflectance, "blue")),
    "sur_refl_b04": ("int16", partial(_reflectance, "green")),
    # At 1240 nm leaves are about as bright as at 860 nm.
    "sur_refl_b05": ("int16", partial(_reflectance, "narrow near")),
    "sur_refl_b06": ("int16", partial(_reflectance, "swir 1")),
    "sur_refl_b07": ("int16", partial(_reflectance, "swir 2")),
    "QC_500m": ("uint32", _quality),
    "obscov_500m": ("int8", partial(_constant, 100)),
    "iobs_res": ("uint8", partial(_constant, 0)),
    "q_scan": ("uint8", partial(_constant, 0)),
}


@lru_cache(maxsize=1024)
def daily_bands(day: date, fine: Grid, coarse: Grid) -> tuple[AssetBand, ...]:
    """The bands of a day."""
    quarter = fine.projection.transform[0] / 2
    looks = {fine: _DayNode(day, fine), coarse: _DayNode(day, coarse, quarter)}

    def band(name: str, dtype: str, shade: Shade, native: Grid) -> AssetBand:
        type_ = type_of_dtype(dtype)
        policy = "MEAN" if name.startswith(("sur_refl", "S", "Range")) else "MODE"
        return AssetBand(name, type_, native, _DayBand(type_, looks[native], shade, native), policy)

    return tuple(
        band(name, dtype, shade, native)
        for native, bands in ((coarse, _COARSE), (fine, _FINE))
        for name, (dtype, shade) in bands.items()
    )
