"""Raw Landsat scenes in physical units: radiances, reflectances at the top of the atmosphere, brightness temperatures.

The formulas are those of the USGS's data users' handbooks, with the coefficients that every scene of Collection 1 and 2 carries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.arithmetic import unary_band
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.pixels.raster import Values
from airflow_ee.emulator.pixels.types import FLOAT
from airflow_ee.emulator.values.image import Band, Image

_SPECTRAL = re.compile(r"B(\d+(?:_VCID_\d)?)")

Properties = Mapping[str, Any]


def is_spectral(band: Band) -> bool:
    """Whether a band measures light, rather than telling its quality.

    >>> from airflow_ee.emulator.values.image import constant
    >>> is_spectral(constant(1, "B6_VCID_1").bands[0]), is_spectral(constant(1, "QA_PIXEL").bands[0])
    (True, False)
    """
    return _SPECTRAL.fullmatch(band.name) is not None


def is_thermal(band: Band, properties: Properties) -> bool:
    """Whether a scene has what turns the band's radiance into a temperature."""
    return f"K1_CONSTANT_BAND_{_number(band)}" in properties


def _number(band: Band) -> str:
    return band.name.removeprefix("B")


def _coefficient(properties: Properties, name: str, function: str) -> float:
    value = properties.get(name)
    if not isinstance(value, int | float):
        raise invalid(f"{function}: scenes without the numeric property '{name}' are not emulated.")
    return float(value)


@of_numbers("Landsat.calibratedRadiance")
def calibrated_radiance(image: Image) -> Image:
    """Spectral bands as W/(m² sr µm); other bands stay as they are."""
    function = "Landsat.calibratedRadiance"

    def calibrated(band: Band) -> Band:
        slope, intercept = _line(band, image.properties, "RADIANCE", function)
        return unary_band(band, lambda values: values.astype(np.float64) * slope + intercept, FLOAT)

    return image.each(lambda band: calibrated(band) if is_spectral(band) else band)


def _line(band: Band, properties: Properties, quantity: str, function: str) -> tuple[float, float]:
    number = _number(band)
    slope = _coefficient(properties, f"{quantity}_MULT_BAND_{number}", function)
    return slope, _coefficient(properties, f"{quantity}_ADD_BAND_{number}", function)


@of_numbers("Landsat.TOA")
def top_of_atmosphere(input: Image) -> Image:
    """Reflectances for the sun's height over the centre of the scene, and temperatures in kelvin."""

    def calibrated(band: Band) -> Band:
        return _kelvin(band, input.properties) if is_thermal(band, input.properties) else _lit(band, input.properties)

    return input.each(lambda band: calibrated(band) if is_spectral(band) else band)


def _lit(band: Band, properties: Properties) -> Band:
    slope, intercept = _line(band, properties, "REFLECTANCE", "Landsat.TOA")
    sine = np.sin(np.radians(_coefficient(properties, "SUN_ELEVATION", "Landsat.TOA")))
    if sine <= 0:
        raise invalid("Landsat.TOA: the sun is below the horizon in 'SUN_ELEVATION'.")
    return unary_band(band, lambda values: (values.astype(np.float64) * slope + intercept) / sine, FLOAT)


def _kelvin(band: Band, properties: Properties) -> Band:
    """The temperature of a black body of that radiance: ``K2 / ln(K1 / radiance + 1)``."""
    slope, intercept = _line(band, properties, "RADIANCE", "Landsat.TOA")
    first, second = (_coefficient(properties, f"K{n}_CONSTANT_BAND_{_number(band)}", "Landsat.TOA") for n in (1, 2))

    def temperature(values: Values) -> Values:
        radiance = values.astype(np.float64) * slope + intercept
        return np.asarray(second / np.log(first / radiance + 1))

    return unary_band(band, temperature, FLOAT)


@of_numbers("Landsat.translateMetadata")
def translate_metadata(input: Image) -> Image:
    """Nothing, as documented."""
    return input
