"""Bands of the simulated Landsat surface reflectance and temperature, in the digital numbers of collection 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial

import numpy as np

from airflow_ee.emulator.catalog import fields, optics
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.optics import WAVELENGTHS, Layer, Wavelength
from airflow_ee.emulator.catalog.places import DayNode
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.pixels.types import PixelType, type_of_dtype

SCALE, OFFSET = 0.0000275, -0.2
KELVIN_SCALE, KELVIN_OFFSET = 0.00341802, 149.0
_CLEAR = 0b01_01_01_01_0100_0000
"""QA_PIXEL of clear land: bit 6, and low confidence of cloud, shadow, snow and cirrus."""
_UINT8, _UINT16, _INT16 = (type_of_dtype(name) for name in ("uint8", "uint16", "int16"))


@dataclass(frozen=True, slots=True, eq=False)
class BandKind:
    """One band of a scene."""

    name: str
    type: PixelType
    shade: Callable[..., Layer]
    needs: tuple[str, ...] = ("green", "sky")
    policy: str = "MEAN"
    size: int = 30
    """Side of a pixel in metres."""


def pixel_quality(green: Layer, sky: Layer) -> Layer:
    """QA_PIXEL: cloud, dilated cloud (haze), cirrus, shadow, snow, water and clear, with the confidences that go along."""
    cloud, shadow, cirrus, snow = sky
    bits = np.where(green < 0, _CLEAR | 1 << 7, _CLEAR).astype(np.uint16)
    opaque, hazy = cloud > optics.OPAQUE, cloud > 0
    for where, added in (
        (snow > 0, 1 << 5 | 2 << 12),
        (cirrus > 0, 1 << 2 | 2 << 14),
        ((shadow > 0) & ~opaque, 1 << 4 | 2 << 10),
        (opaque, 1 << 3 | 2 << 8),
    ):
        if where.any():
            bits = bits + where * np.uint16(added)
    bits = np.where(hazy, bits & ~np.uint16(1 << 6), bits)
    return np.where(hazy & ~opaque, bits | np.uint16(1 << 1), bits)


def aerosol_quality(green: Layer, sky: Layer) -> Layer:
    """SR_QA_AEROSOL: valid and low where the sky is clear, interpolated and high under clouds."""
    clear = np.where(green < 0, 1 << 6 | 1 << 2 | 1 << 1, 1 << 6 | 1 << 1)
    return np.where(sky[0] > 0, 3 << 6 | 1 << 5, clear)


def _reflected(wavelength: Wavelength, green: Layer, sky: Layer) -> Layer:
    numbers = (optics.reflectance(wavelength, green, sky) - OFFSET) / SCALE
    return np.clip(np.rint(numbers), 1, 65455)


def kelvin(day_of_year: int, green: Layer, sky: Layer, place: Layer) -> Layer:
    """Surface temperature: warm lowlands in summer, cooler where it is green, and the tops of the clouds."""
    latitude = place[1]
    distance = np.abs(latitude)
    summer = -np.cos(2 * np.pi / 365.25 * (day_of_year - 15)) * np.where(latitude >= 0, 1.0, -1.0)
    ground = 306.0 - 0.45 * distance + 0.3 * distance * summer - 8.0 * np.clip(green, 0, 1)
    return np.asarray(ground - 6.0 * (green < 0) - 12.0 * sky[3] - 40.0 * sky[0])


def _temperature(day_of_year: int, green: Layer, sky: Layer, place: Layer) -> Layer:
    return np.clip(np.rint((kelvin(day_of_year, green, sky, place) - KELVIN_OFFSET) / KELVIN_SCALE), 1, 65535)


def _radiance(day_of_year: int, green: Layer, sky: Layer, place: Layer) -> Layer:
    return 9500 + 145 * (kelvin(day_of_year, green, sky, place) - 300)


def nothing() -> Layer:
    """Zeros."""
    return np.zeros(())


def bands(day_of_year: int) -> Sequence[BandKind]:
    """The bands of a scene, in order."""
    return _bands(day_of_year)


@lru_cache(maxsize=366)
def _bands(day_of_year: int) -> tuple[BandKind, ...]:
    colours = ("coastal", "blue", "green", "red", "near", "swir 1", "swir 2")
    everything = ("green", "sky", "place")
    return (
        *(
            BandKind(f"SR_B{number}", _UINT16, partial(_reflected, WAVELENGTHS[colour]))
            for number, colour in enumerate(colours, 1)
        ),
        BandKind("SR_QA_AEROSOL", _UINT8, aerosol_quality, policy="MODE"),
        BandKind("ST_B10", _UINT16, partial(_temperature, day_of_year), everything),
        BandKind("ST_ATRAN", _INT16, lambda sky: 8500 - 4000 * sky[0], ("sky",)),
        BandKind("ST_CDIST", _INT16, lambda distance: 100 * distance[0], ("distance",)),
        BandKind("ST_DRAD", _INT16, lambda sky: 1200 + 2500 * sky[0], ("sky",)),
        BandKind("ST_EMIS", _INT16, lambda green: 9600 + 280 * np.clip(green, 0, 1), ("green",)),
        BandKind("ST_EMSD", _INT16, lambda: np.asarray(60.0), ()),
        BandKind("ST_QA", _INT16, lambda sky: 200 + 700 * sky[0], ("sky",)),
        BandKind("ST_TRAD", _INT16, partial(_radiance, day_of_year), everything),
        BandKind("ST_URAD", _INT16, lambda sky: 900 + 3000 * sky[0], ("sky",)),
        BandKind("QA_PIXEL", _UINT16, pixel_quality, policy="MODE"),
        BandKind("QA_RADSAT", _UINT16, nothing, (), "MODE"),
    )


def distance_node(lattice: Projection, day: date) -> DayNode:
    """Kilometres to the next cloud, from how much clearer the place is than the edge of one: one layer."""
    return DayNode(lattice, day, _distances)


def _distances(longitude: Field, latitude: Field, ordinal: int, day_of_year: float) -> Sequence[Field]:
    return (fields.cloud_distance(longitude, latitude, ordinal, day_of_year),)
