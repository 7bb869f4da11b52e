"""Properties of simulated granules, in the names of the public catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.mgrs import SIDE, Tile
from airflow_ee.emulator.catalog.optics import WAVELENGTHS
from airflow_ee.emulator.catalog.scenes import whole_hour
from airflow_ee.emulator.catalog.sentinel2_bands import scene_classes
from airflow_ee.emulator.catalog.sentinel2_passes import (
    LATENCY,
    ORBIT,
    REACH,
    TRACKS,
    Granule,
    Satellite,
    coverage,
)
from airflow_ee.emulator.catalog.sun import earth_sun_distance, sun_at
from airflow_ee.emulator.pixels.crs import WGS84, convert

SAMPLES = 18
"""Places along each side of a tile from which percentages are taken: they are some points off at most."""

_BASELINES = (
    (date(2024, 7, 23), "05.11"),
    (date(2023, 12, 13), "05.10"),
    (date(2022, 12, 6), "05.09"),
    (date(2022, 1, 25), "04.00"),
    (date(2021, 3, 30), "03.00"),
    (date(2020, 2, 4), "02.14"),
    (date(2018, 11, 6), "02.11"),
    (date(2017, 3, 28), "02.05"),
)
_IRRADIANCE = {
    "coastal": 1884.69, "blue": 1959.72, "green": 1823.24, "red": 1512.06, "red edge 1": 1424.64, "red edge 2": 1287.61,
    "red edge 3": 1162.08, "near": 1041.63, "narrow near": 955.32, "water vapour": 812.92, "swir 1": 245.59,
    "swir 2": 85.25,
}  # fmt: skip
_NUMBERS = ("1", "2", "3", "4", "5", "6", "7", "8", "8A", "9", "11", "12")
_CLASSES = {
    "CLOUDY_SHADOW_PERCENTAGE": 3,
    "VEGETATION_PERCENTAGE": 4,
    "NOT_VEGETATED_PERCENTAGE": 5,
    "WATER_PERCENTAGE": 6,
    "UNCLASSIFIED_PERCENTAGE": 7,
    "MEDIUM_PROBA_CLOUDS_PERCENTAGE": 8,
    "HIGH_PROBA_CLOUDS_PERCENTAGE": 9,
    "THIN_CIRRUS_PERCENTAGE": 10,
    "SNOW_ICE_PERCENTAGE": 11,
}
_CLOUDY = (8, 9, 10)
_PASSED = ("FORMAT_CORRECTNESS", "GENERAL_QUALITY", "GEOMETRIC_QUALITY", "RADIOMETRIC_QUALITY", "SENSOR_QUALITY")


def surface_properties(granule: Granule) -> dict[str, Any]:
    """Of a level-2A granule."""
    shares = _shares(granule)
    return {
        **_common(granule, "L2A", "MSIL2A"),
        **{name: shares[number] for name, number in _CLASSES.items()},
        "DARK_FEATURES_PERCENTAGE": 0.0,
        "SATURATED_DEFECTIVE_PIXEL_PERCENTAGE": 0.0,
        "NODATA_PIXEL_PERCENTAGE": shares[0],
        "AOT_RETRIEVAL_ACCURACY": 0.0,
        "RADIATIVE_TRANSFER_ACCURACY": 0.0,
        "WATER_VAPOUR_RETRIEVAL_ACCURACY": 0.0,
    }


def top_properties(granule: Granule) -> dict[str, Any]:
    """Of a level-1C granule."""
    return _common(granule, "L1C", "MSIL1C")


def probability_properties(granule: Granule) -> dict[str, Any]:
    """Of a cloud probability: the catalogue documents none but the index."""
    return {"MGRS_TILE": granule.tile.name}


def score_properties(granule: Granule) -> dict[str, Any]:
    """Of a cloud score."""
    return {
        "DATE_PRODUCT_GENERATED": _generated(granule).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "MGRS_TILE": granule.tile.name,
        "MODEL_VERSION": "v1",
        "NO_CONTEXT_FRACTION": 0.0,
        "PROCESSING_SOFTWARE_VERSION": "1.0.0",
        "SOURCE_ASSET_ID": f"COPERNICUS/S2_HARMONIZED/{granule.index}",
        "SOURCE_PRODUCT_ID": _product(granule, "MSIL1C"),
    }


def _generated(granule: Granule) -> datetime:
    return whole_hour(granule.sensed + LATENCY)


def _baseline(day: date) -> str:
    return next((version for since, version in _BASELINES if day >= since), "02.04")


def _orbit_number(granule: Granule) -> int:
    return granule.satellite.first_orbit + granule.revolution


def _product(granule: Granule, level: str) -> str:
    baseline = _baseline(granule.day).replace(".", "")
    return (
        f"S2{granule.satellite.name}_{level}_{granule.start:%Y%m%dT%H%M%S}_N{baseline}_R{granule.relative_orbit:03d}"
        f"_T{granule.tile.name}_{_generated(granule):%Y%m%dT%H%M%S}"
    )


def _common(granule: Granule, level: str, product: str) -> dict[str, Any]:
    name, baseline, orbit = granule.satellite.name, _baseline(granule.day), _orbit_number(granule)
    shares = _shares(granule)
    cloudy = round(sum(shares[number] for number in _CLOUDY), 6)
    generated = _generated(granule)
    strip = f"S2{name}_OPER_MSI_{level}_DS_EMUL_{generated:%Y%m%dT%H%M%S}_S{granule.sensed:%Y%m%dT%H%M%S}_N{baseline}"
    return {
        "CLOUDY_PIXEL_PERCENTAGE": cloudy,
        "CLOUD_COVERAGE_ASSESSMENT": cloudy,
        "DATASTRIP_ID": strip,
        "DATATAKE_IDENTIFIER": f"GS2{name}_{granule.start:%Y%m%dT%H%M%S}_{orbit:06d}_N{baseline}",
        "DATATAKE_TYPE": "INS-NOBS",
        "DEGRADED_MSI_DATA_PERCENTAGE": 0.0,
        "GENERATION_TIME": round(generated.timestamp() * 1000),
        "GRANULE_ID": f"{level}_T{granule.tile.name}_A{orbit:06d}_{granule.sensed:%Y%m%dT%H%M%S}",
        "MGRS_TILE": granule.tile.name,
        "PROCESSING_BASELINE": baseline,
        "PRODUCT_ID": _product(granule, product),
        "REFLECTANCE_CONVERSION_CORRECTION": earth_sun_distance(granule.sensed) ** -2,
        "SENSING_ORBIT_DIRECTION": "DESCENDING",
        "SENSING_ORBIT_NUMBER": granule.relative_orbit,
        "SPACECRAFT_NAME": f"Sentinel-2{name}",
        **dict.fromkeys(_PASSED, "PASSED"),
        **_angles(granule),
        **_irradiance(),
    }


def _angles(granule: Granule) -> dict[str, float]:
    longitude, latitude, zenith, azimuth = _view(granule.tile, granule.revolution % TRACKS)
    sun = sun_at(granule.sensed, longitude, latitude)
    shown = {"MEAN_SOLAR_ZENITH_ANGLE": 90.0 - sun.elevation, "MEAN_SOLAR_AZIMUTH_ANGLE": sun.azimuth}
    for number in (*_NUMBERS, "10"):
        shown[f"MEAN_INCIDENCE_ZENITH_ANGLE_B{number}"] = zenith
        shown[f"MEAN_INCIDENCE_AZIMUTH_ANGLE_B{number}"] = azimuth
    return shown


@lru_cache(maxsize=8192)
def _view(tile: Tile, track: int) -> tuple[float, float, float, float]:
    """Longitude, latitude, and how the satellite is seen from there, from 786 km up."""
    place = _sampled(tile)
    at = ORBIT.track(ORBIT.longitude_of(track), place[0], place[1])
    seen = np.abs(at.across) <= REACH
    across = float(at.across[seen].mean()) if seen.any() else REACH
    turn = abs(np.radians(across))
    zenith = np.degrees(turn + np.arctan2(6371.0 * np.sin(turn), 786.0 + 6371.0 * (1 - np.cos(turn))))
    return float(place[0].mean()), float(place[1].mean()), float(zenith), 286.0 if across > 0 else 104.0


@lru_cache(maxsize=1)
def _irradiance() -> Mapping[str, float]:
    values = dict(zip(_NUMBERS, (_IRRADIANCE[colour] for colour in WAVELENGTHS), strict=True))
    return {f"SOLAR_IRRADIANCE_B{number}": value for number, value in {**values, "10": 367.15}.items()}


def _shares(granule: Granule) -> list[float]:
    """Percent of each class of SCL among the pixels that are seen; at 0 the percentage that is not seen."""
    cycle, track = divmod(granule.revolution, TRACKS)
    first = cycle - cycle % granule.neighbours
    return _batch_shares(granule.tile, granule.satellite, track, first, granule.neighbours)[cycle - first]


@lru_cache(maxsize=8192)
def _batch_shares(tile: Tile, satellite: Satellite, track: int, first: int, count: int) -> list[list[float]]:
    along = coverage(tile)[track]
    days = [Granule(tile, satellite, track + TRACKS * (first + number), along).day for number in range(count)]
    ordinals = np.array([[day.toordinal()] for day in days])
    days_of_year = np.array([[float(day.timetuple().tm_yday)] for day in days])
    longitude, latitude = _sampled(tile)
    across = ORBIT.track(ORBIT.longitude_of(track), longitude, latitude).across
    seen = np.abs(across) <= REACH
    longitude, latitude = longitude[None, seen], latitude[None, seen]
    if not seen.any():
        return [[100.0] + [0.0] * 11] * len(days)
    classes = scene_classes(
        fields.ndvi(fields.land(longitude, latitude), days_of_year),
        np.stack(np.broadcast_arrays(*fields.sky(longitude, latitude, ordinals, days_of_year))),
    )
    shares = 100 * np.stack([(classes == number).mean(axis=1) for number in range(12)], axis=1)
    shares[:, 0] = 100 * (1 - seen.mean())
    rounded: list[list[float]] = shares.round(6).tolist()
    return rounded


@lru_cache(maxsize=8192)
def _sampled(tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES * SIDE
    x, y = (each.ravel() for each in np.meshgrid(tile.left + steps, tile.top - steps))
    return convert(tile.crs, WGS84, x, y)
