"""Properties of simulated Landsat scenes, in the names of the public catalogue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog import fields, optics
from airflow_ee.emulator.catalog.scenes import whole_hour
from airflow_ee.emulator.catalog.sun import earth_sun_distance
from airflow_ee.emulator.catalog.wrs2 import HALF_LENGTH, ORBIT, REACH, Scene
from airflow_ee.emulator.values.dates import timestamp

LATENCY = timedelta(days=15)
"""How long after the overpass a scene appears, on the next whole hour."""
SAMPLES = 18
"""Places along each side of a scene from which percentages are taken: they are some points off at most."""


def scene_properties(scene: Scene) -> dict[str, Any]:
    """Everything that is documented of a scene with reflectance and temperature."""
    return {**_identity(scene), **_clouds(scene), **_geometry(scene), **_SOURCES}


def top_properties(scene: Scene) -> dict[str, Any]:
    """Of a scene at the top of the atmosphere; the factors of radiances are left out."""
    everything = scene_properties(scene)
    shown = {name: value for name, value in everything.items() if not name.startswith(_LEVEL_2)}
    fine, coarse = scene.frame.window(15), scene.frame.window()
    return {
        **shown,
        "LANDSAT_PRODUCT_ID": everything["L1_LANDSAT_PRODUCT_ID"],
        "GRID_CELL_SIZE_PANCHROMATIC": 15,
        "GRID_CELL_SIZE_REFLECTIVE": 30,
        "GRID_CELL_SIZE_THERMAL": 30,
        "PANCHROMATIC_LINES": fine.height,
        "PANCHROMATIC_SAMPLES": fine.width,
        "THERMAL_LINES": coarse.height,
        "THERMAL_SAMPLES": coarse.width,
        **_SCALES,
        **_THERMAL[scene.satellite.number],
    }


def _identity(scene: Scene) -> dict[str, Any]:
    made = whole_hour(scene.sensed + LATENCY)
    prefix, dates = f"LC{scene.satellite.number:02d}", f"{scene.name}_{made:%Y%m%d}_02_T1"
    frame = f"{scene.frame.path:03d}{scene.frame.row:03d}"
    software = "LPGS_15.6.0"
    return {
        "LANDSAT_PRODUCT_ID": f"{prefix}_L2SP_{dates}",
        "LANDSAT_SCENE_ID": f"LC{scene.satellite.number}{frame}{scene.sensed:%Y%j}LGN00",
        "L1_LANDSAT_PRODUCT_ID": f"{prefix}_L1TP_{dates}",
        "L1_PROCESSING_LEVEL": "L1TP",
        "L1_PROCESSING_SOFTWARE_VERSION": software,
        "L1_DATE_PRODUCT_GENERATED": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "DATE_PRODUCT_GENERATED": round(made.timestamp() * 1000),
        "PROCESSING_LEVEL": "L2SP",
        "PROCESSING_SOFTWARE_VERSION": software,
        "COLLECTION_CATEGORY": "T1",
        "COLLECTION_NUMBER": 2,
        "SPACECRAFT_ID": f"LANDSAT_{scene.satellite.number}",
        "SENSOR_ID": "OLI_TIRS",
        "WRS_PATH": scene.frame.path,
        "WRS_ROW": scene.frame.row,
        "WRS_TYPE": 2,
        "TARGET_WRS_PATH": scene.frame.path,
        "TARGET_WRS_ROW": scene.frame.row,
        "DATE_ACQUIRED": f"{scene.sensed:%Y-%m-%d}",
        "SCENE_CENTER_TIME": timestamp(scene.sensed).partition("T")[2],
    }


def _clouds(scene: Scene) -> dict[str, Any]:
    """Percentages of QA_PIXEL's cloud bit."""
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
    along, across = (each.ravel() for each in np.meshgrid(steps * HALF_LENGTH, steps * REACH))
    longitude, latitude = ORBIT.place(scene.frame.node_longitude, scene.frame.along + along, across)
    day = scene.day
    cloudy = fields.cloudiness(longitude, latitude, day.toordinal(), float(day.timetuple().tm_yday)) > optics.OPAQUE
    dry = ~fields.is_water(longitude, latitude)
    return {
        "CLOUD_COVER": round(100 * float(cloudy.mean()), 2),
        "CLOUD_COVER_LAND": round(100 * float(cloudy[dry].mean()), 2) if dry.any() else -1.0,
    }


def _geometry(scene: Scene) -> dict[str, Any]:
    return {
        "SUN_ELEVATION": scene.sun.elevation,
        "SUN_AZIMUTH": scene.sun.azimuth if scene.sun.azimuth <= 180 else scene.sun.azimuth - 360,
        "EARTH_SUN_DISTANCE": earth_sun_distance(scene.sensed),
        "UTM_ZONE": int(scene.frame.window().projection.crs.text[-2:]),
        "REFLECTIVE_LINES": scene.frame.window().height,
        "REFLECTIVE_SAMPLES": scene.frame.window().width,
        "NADIR_OFFNADIR": "NADIR",
        "ROLL_ANGLE": 0.0,
    }


_SOURCES = {
    "ALGORITHM_SOURCE_SURFACE_REFLECTANCE": "LaSRC_1.5.0",
    "ALGORITHM_SOURCE_SURFACE_TEMPERATURE": "st_1.3.0",
    "DATA_SOURCE_AIR_TEMPERATURE": "MODIS",
    "DATA_SOURCE_ELEVATION": "GLS2000",
    "DATA_SOURCE_OZONE": "MODIS",
    "DATA_SOURCE_PRESSURE": "Calculated",
    "DATA_SOURCE_REANALYSIS": "GEOS-5 FP-IT",
    "DATA_SOURCE_TIRS_STRAY_LIGHT_CORRECTION": "TIRS",
    "DATA_SOURCE_WATER_VAPOR": "MODIS",
    "EPHEMERIS_TYPE": "DEFINITIVE",
    "GEOMETRIC_RMSE_MODEL": 6.5,
    "GEOMETRIC_RMSE_MODEL_X": 4.5,
    "GEOMETRIC_RMSE_MODEL_Y": 4.7,
    "GEOMETRIC_RMSE_VERIFY": 3.2,
    "GROUND_CONTROL_POINTS_MODEL": 800,
    "GROUND_CONTROL_POINTS_VERIFY": 250,
    "GROUND_CONTROL_POINTS_VERSION": 5,
    "IMAGE_QUALITY_OLI": 9,
    "IMAGE_QUALITY_TIRS": 9,
    "TEMPERATURE_MAXIMUM_BAND_ST_B10": 372.999941,
    "TEMPERATURE_MINIMUM_BAND_ST_B10": 149.003418,
    "TIRS_SSM_MODEL": "FINAL",
    "TIRS_SSM_POSITION_STATUS": "ESTIMATED",
    "TRUNCATION_OLI": "UPPER",
    **{f"REFLECTANCE_MULT_BAND_{number}": 2.75e-05 for number in range(1, 8)},
    **{f"REFLECTANCE_ADD_BAND_{number}": -0.2 for number in range(1, 8)},
    "TEMPERATURE_MULT_BAND_ST_B10": 0.00341802,
    "TEMPERATURE_ADD_BAND_ST_B10": 149.0,
}
_LEVEL_2 = ("L1_", "PROCESSING_LEVEL", "ALGORITHM_", "TEMPERATURE_", "REFLECTANCE_", "DATA_SOURCE_")
_SCALES = {
    "DATA_SOURCE_ELEVATION": "GLS2000",
    "MAP_PROJECTION": "UTM",
    "DATUM": "WGS84",
    "ELLIPSOID": "WGS84",
    "ORIENTATION": "NORTH_UP",
    "RESAMPLING_OPTION": "CUBIC_CONVOLUTION",
    **{f"REFLECTANCE_MULT_BAND_{number}": 2e-05 for number in range(1, 10)},
    **{f"REFLECTANCE_ADD_BAND_{number}": -0.1 for number in range(1, 10)},
    **{f"SATURATION_BAND_{number}": "N" for number in range(1, 10)},
}
_CONSTANTS = ("K1_CONSTANT_BAND_10", "K2_CONSTANT_BAND_10", "K1_CONSTANT_BAND_11", "K2_CONSTANT_BAND_11")
_THERMAL = {
    8: dict(zip(_CONSTANTS, (774.8853, 1321.0789, 480.8883, 1201.1442), strict=True)),
    9: dict(zip(_CONSTANTS, (799.0284, 1329.2405, 475.6581, 1198.3494), strict=True)),
}
"""From radiance to brightness temperature, by satellite."""
