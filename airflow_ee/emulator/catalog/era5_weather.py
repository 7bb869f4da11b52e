"""The weather of a day at a place: smooth formulas that agree with the ground and the sky of :mod:`fields`, and follow from one another.

Names and units are those of the catalogue's page on
`ECMWF/ERA5_LAND/DAILY_AGGR <https://developers.google.com/earth-engine/datasets/catalog/ECMWF_ERA5_LAND_DAILY_AGGR>`_.
Fluxes are positive downwards, so evaporation is negative, as ECMWF has it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import NamedTuple

import numpy as np

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.fields import Field
from airflow_ee.emulator.catalog.srtm import elevation

FREEZING = 273.15
_LATENT_HEAT = 2.5e9
"""Joules for a cubic metre of water."""
_SOLAR_CONSTANT = 118_080_000.0
"""Joules a day on a square metre in front of the Earth: 0.082 MJ a minute, FAO Irrigation and Drainage Paper 56, equation 21."""
_STEFAN_BOLTZMANN_DAY = 5.670374e-8 * 86_400


class Weather(NamedTuple):
    """What all bands follow from."""

    temperature: Field
    """Mean of the day at 2 m, in kelvins."""
    swing: Field
    """From the mean to the day's extremes."""
    usual: Field
    """Mean of the year."""
    cloud: Field
    """From 0 to 1: that of the sky all sensors see on the day."""
    rain: Field
    """Metres of water."""
    snow: Field
    """From 0 to 1: that of the sensors' quality layers."""
    sunlight: Field
    """Joules on a square metre of the ground."""
    green: Field
    """NDVI from 0 on."""
    pressure: Field
    """Pascals."""
    east: Field
    """Metres a second."""
    north: Field


def weather(longitude: Field, latitude: Field, day: date) -> Weather:
    """The weather of a day."""
    ordinal, day_of_year = day.toordinal(), float(day.timetuple().tm_yday)
    cloud = fields.cloudiness(longitude, latitude, ordinal, day_of_year)
    height = np.clip(elevation(longitude, latitude), 0, None)
    poleward = np.sin(np.radians(latitude)) ** 2
    summer = -np.cos(2 * np.pi * (day_of_year - 15) / 365.25) * np.clip(latitude / 30, -1, 1)
    usual = 301 - 42 * poleward - 0.0065 * height
    drift = ordinal % 9973 * 0.5
    wind = [fields.noise(longitude + drift, latitude, 7.2, seed) for seed in (51, 53)]
    return Weather(
        temperature=usual + (3 + 12 * poleward) * summer - 3 * cloud,
        swing=5.5 * (1 - 0.6 * cloud),
        usual=usual,
        cloud=cloud,
        rain=0.025 * (np.clip(cloud - 0.4, 0, None) / 0.6) ** 2,
        snow=fields.snow(longitude, latitude, day_of_year),
        sunlight=_above(latitude, day_of_year) * (0.75 - 0.5 * cloud),
        green=np.clip(fields.truth(longitude, latitude, day_of_year), 0, None),
        pressure=101_325 * (1 - 2.25577e-5 * height) ** 5.25588,
        east=12 * (wind[0] - 0.4),
        north=10 * (wind[1] - 0.5),
    )


def _above(latitude: Field, day_of_year: float) -> Field:
    """Joules a day on a square metre above the clouds; FAO Irrigation and Drainage Paper 56, equations 21 to 25."""
    place = np.radians(latitude)
    declination = 0.409 * np.sin(2 * np.pi / 365 * day_of_year - 1.39)
    nearness = 1 + 0.033 * np.cos(2 * np.pi / 365 * day_of_year)
    sunset = np.arccos(np.clip(-np.tan(place) * np.tan(declination), -1, 1))
    upright = sunset * np.sin(place) * np.sin(declination) + np.cos(place) * np.cos(declination) * np.sin(sunset)
    return np.asarray(_SOLAR_CONSTANT / np.pi * nearness * np.clip(upright, 0, None))


Formula = Callable[[Weather], Field]


def _constant(value: float, now: Weather) -> Field:
    return np.full_like(now.cloud, value)


def _dewpoint(now: Weather) -> Field:
    return np.asarray(now.temperature - 3 - 12 * (1 - now.cloud) * (1 - now.green))


def _soil(share: float, now: Weather) -> Field:
    """The deeper, the more of the year's mean there is in it."""
    return np.asarray(now.usual + (now.temperature - now.usual) * share)


def _frozen(now: Weather) -> Field:
    return np.minimum(now.temperature, FREEZING)


def _thawed(now: Weather) -> Field:
    return np.maximum(now.temperature, FREEZING)


def _moisture(share: float, now: Weather) -> Field:
    return np.asarray(0.12 + 0.25 * now.green + 4 * share * now.rain)


def _albedo(now: Weather) -> Field:
    return np.asarray(0.2 - 0.06 * now.green + 0.5 * now.snow)


def _net_sunlight(now: Weather) -> Field:
    return np.asarray(now.sunlight * (1 - _albedo(now)))


def _thermal_down(now: Weather) -> Field:
    return np.asarray((0.72 + 0.2 * now.cloud) * _STEFAN_BOLTZMANN_DAY * now.temperature**4)


def _net_thermal(now: Weather) -> Field:
    return np.asarray(_thermal_down(now) - 0.97 * _STEFAN_BOLTZMANN_DAY * now.temperature**4)


def _potential_evaporation(now: Weather) -> Field:
    return np.asarray(-0.6 * _net_sunlight(now) / _LATENT_HEAT)


def _evaporation(share: float, now: Weather) -> Field:
    return np.asarray(share * _potential_evaporation(now) * (0.2 + 0.8 * now.green))


def _of_rain(share: float, now: Weather) -> Field:
    return np.asarray(share * now.rain)


def _falling_snow(now: Weather) -> Field:
    return np.where(now.temperature < FREEZING, now.rain, 0.0)


def _melting(now: Weather) -> Field:
    return np.where(now.temperature > FREEZING, 0.004 * now.snow, 0.0)


STATES: dict[str, Formula] = {
    "dewpoint_temperature_2m": _dewpoint,
    "temperature_2m": lambda now: now.temperature,
    "skin_temperature": lambda now: now.temperature + 1 - now.cloud,
    "soil_temperature_level_1": partial(_soil, 0.9),
    "soil_temperature_level_2": partial(_soil, 0.7),
    "soil_temperature_level_3": partial(_soil, 0.5),
    "soil_temperature_level_4": partial(_soil, 0.2),
    "lake_bottom_temperature": lambda now: 277.15 + 0.3 * np.clip(now.temperature - 277.15, 0, 12),
    "lake_ice_depth": lambda now: 0.03 * np.clip(FREEZING - now.temperature, 0, 30),
    "lake_ice_temperature": _frozen,
    "lake_mix_layer_depth": partial(_constant, 10.0),
    "lake_mix_layer_temperature": _thawed,
    "lake_shape_factor": partial(_constant, 0.65),
    "lake_total_layer_temperature": _thawed,
    "snow_albedo": lambda now: np.where(now.snow > 0, 0.75, 0.85),
    "snow_cover": lambda now: 100 * now.snow,
    "snow_density": partial(_constant, 250.0),
    "snow_depth": lambda now: 0.4 * now.snow,
    "snow_depth_water_equivalent": lambda now: 0.1 * now.snow,
    "temperature_of_snow_layer": _frozen,
    "skin_reservoir_content": lambda now: np.minimum(now.rain, 0.0002),
    "volumetric_soil_water_layer_1": partial(_moisture, 1.0),
    "volumetric_soil_water_layer_2": partial(_moisture, 0.6),
    "volumetric_soil_water_layer_3": partial(_moisture, 0.3),
    "volumetric_soil_water_layer_4": partial(_moisture, 0.0),
    "forecast_albedo": _albedo,
    "u_component_of_wind_10m": lambda now: now.east,
    "v_component_of_wind_10m": lambda now: now.north,
    "surface_pressure": lambda now: now.pressure,
    "leaf_area_index_high_vegetation": lambda now: 5 * now.green,
    "leaf_area_index_low_vegetation": lambda now: 3 * now.green,
}
"""Means of the day."""

FLOWS: dict[str, Formula] = {
    "snowfall": _falling_snow,
    "snowmelt": _melting,
    "surface_latent_heat_flux": lambda now: _evaporation(1.0, now) * _LATENT_HEAT,
    "surface_net_solar_radiation": _net_sunlight,
    "surface_net_thermal_radiation": _net_thermal,
    "surface_sensible_heat_flux": lambda now: -0.2 * _net_sunlight(now),
    "surface_solar_radiation_downwards": lambda now: now.sunlight,
    "surface_thermal_radiation_downwards": _thermal_down,
    "evaporation_from_bare_soil": partial(_evaporation, 0.3),
    "evaporation_from_open_water_surfaces_excluding_oceans": partial(_evaporation, 0.05),
    "evaporation_from_the_top_of_canopy": partial(_evaporation, 0.05),
    "evaporation_from_vegetation_transpiration": partial(_evaporation, 0.6),
    "potential_evaporation": _potential_evaporation,
    "runoff": partial(_of_rain, 0.3),
    "snow_evaporation": lambda now: -0.0001 * now.snow,
    "sub_surface_runoff": partial(_of_rain, 0.2),
    "surface_runoff": partial(_of_rain, 0.1),
    "total_evaporation": partial(_evaporation, 1.0),
    "total_precipitation": lambda now: now.rain,
}
"""Sums of the day."""

_SWINGS: dict[str, float] = {name: 1.0 for name in STATES if "temperature" in name}
_SWINGS |= {f"soil_temperature_level_{level}": 0.5**level for level in (1, 2, 3, 4)}


def extreme(name: str, sign: int, now: Weather) -> Field:
    """The least (-1) or the greatest (1) of the hours: temperatures swing, an hour has at most an eighth of a day's sum."""
    if name in FLOWS:
        most = FLOWS[name](now) / 8
        return np.asarray(np.clip(most, 0, None) if sign > 0 else np.clip(most, None, 0))
    return np.asarray(STATES[name](now) + sign * _SWINGS.get(name, 0.0) * now.swing)
