"""Bands of the simulated Landsat scenes at the top of the atmosphere: reflectances, brightness temperatures in kelvin, angles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from airflow_ee.emulator.catalog import optics
from airflow_ee.emulator.catalog.landsat_bands import BandKind, kelvin, nothing, pixel_quality
from airflow_ee.emulator.catalog.optics import WAVELENGTHS, Layer, Wavelength
from airflow_ee.emulator.catalog.wrs2 import Scene
from airflow_ee.emulator.pixels.types import FLOAT, type_of_dtype

PANCHROMATIC = Wavelength(near=False, share=0.8, path=0.055, through=0.88)
COOLER = {"B10": 3.0, "B11": 5.0}
"""Kelvin by which the atmosphere makes the ground look colder."""
_ALTITUDE, _RADIUS = 705.0, 6371.0
_UINT16, _INT16 = (type_of_dtype(name) for name in ("uint16", "int16"))


def bands(scene: Scene) -> Sequence[BandKind]:
    """The bands of a scene, in order."""
    day_of_year = scene.day.timetuple().tm_yday
    colours = ("coastal", "blue", "green", "red", "near", "swir 1", "swir 2")
    return (
        *(_reflectance(f"B{number}", WAVELENGTHS[colour]) for number, colour in enumerate(colours, 1)),
        _reflectance("B8", PANCHROMATIC, 15),
        BandKind("B9", FLOAT, lambda sky: 0.0015 + 0.05 * sky[2] + 0.02 * sky[0], ("sky",)),
        *(
            BandKind(name, FLOAT, partial(_brightness, day_of_year, cooler), ("green", "sky", "place"))
            for name, cooler in COOLER.items()
        ),
        BandKind("QA_PIXEL", _UINT16, pixel_quality, policy="MODE"),
        BandKind("QA_RADSAT", _UINT16, nothing, (), "MODE"),
        *_angles(scene),
    )


def _reflectance(name: str, wavelength: Wavelength, size: int = 30) -> BandKind:
    return BandKind(name, FLOAT, partial(_top, wavelength), size=size)


def _top(wavelength: Wavelength, green: Layer, sky: Layer) -> Layer:
    return optics.at_top(wavelength, optics.reflectance(wavelength, green, sky))


def _brightness(day_of_year: int, cooler: float, green: Layer, sky: Layer, place: Layer) -> Layer:
    return np.asarray(kelvin(day_of_year, green, sky, place) - cooler * (1 - sky[0]))


def _angles(scene: Scene) -> Sequence[BandKind]:
    """Hundredths of degrees: the sun's over the centre, the view's of each pixel."""
    azimuth = (scene.sun.azimuth + 180) % 360 - 180
    return (
        BandKind("SAA", _INT16, partial(np.asarray, 100 * azimuth), ()),
        BandKind("SZA", _INT16, partial(np.asarray, 100 * (90 - scene.sun.elevation)), ()),
        BandKind("VAA", _INT16, lambda track: np.where(track[1] > 0, -7400, 10600), ("track",)),
        BandKind("VZA", _INT16, _view_zenith, ("track",)),
    )


def _view_zenith(track: Layer) -> Layer:
    turn = np.radians(np.abs(track[1]))
    seen = turn + np.arctan2(_RADIUS * np.sin(turn), _ALTITUDE + _RADIUS * (1 - np.cos(turn)))
    return np.asarray(100 * np.degrees(seen))
