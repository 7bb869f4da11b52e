"""Bands, types, sizes and policies against what the public catalogue documents, in a table of our own."""

import pytest

from .simulation import (
    AQUA,
    COLLECTIONS,
    COVER,
    DAILY,
    HALF_KILOMETRE,
    LANDSAT_8,
    LANDSAT_9,
    MODIS,
    PROBABILITY,
    SCORE,
    SURFACE,
    TOP,
    VIIRS,
    WEATHER,
    image,
)

LANDSAT_8_TOP, LANDSAT_9_TOP = "LANDSAT/LC08/C02/T1_TOA", "LANDSAT/LC09/C02/T1_TOA"
OLDER_MODIS = "MODIS/006/MOD13Q1"
S2_NAME = "20210109T185751_20210109T185931_T10SEG"
EXAMPLES = {
    MODIS: "2020_06_09",
    OLDER_MODIS: "2020_06_09",
    AQUA: "2020_06_01",
    HALF_KILOMETRE: "2020_06_09",
    VIIRS: "2020_06_01",
    DAILY: "2020_06_09",
    WEATHER: "20200609",
    COVER: "2021",
    "ESA/WorldCover/v100": "2020",
    "COPERNICUS/S2_SR": S2_NAME,
    "COPERNICUS/S2": S2_NAME,
    SURFACE: S2_NAME,
    TOP: S2_NAME,
    PROBABILITY: S2_NAME,
    SCORE: S2_NAME,
    LANDSAT_8: "LC08_044034_20140318",
    LANDSAT_9: "LC09_044034_20220111",
    LANDSAT_8_TOP: "LC08_044034_20140318",
    LANDSAT_9_TOP: "LC09_044034_20220111",
}
WHOLE = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint32": (0, 2**32 - 1),
}
S2_SPECTRAL = [
    "B1 60 uint16 MEAN", "B2 10 uint16 MEAN", "B3 10 uint16 MEAN", "B4 10 uint16 MEAN", "B5 20 uint16 MEAN",
    "B6 20 uint16 MEAN", "B7 20 uint16 MEAN", "B8 10 uint16 MEAN", "B8A 20 uint16 MEAN", "B9 60 uint16 MEAN",
]  # fmt: skip
S2_INFRARED = ["B11 20 uint16 MEAN", "B12 20 uint16 MEAN"]
S2_QUALITY = [
    "QA10 10 uint16 MODE", "QA20 20 uint32 MODE", "QA60 60 uint16 MODE", "MSK_CLASSI_OPAQUE 60 uint8 MODE",
    "MSK_CLASSI_CIRRUS 60 uint8 MODE", "MSK_CLASSI_SNOW_ICE 60 uint8 MODE",
]  # fmt: skip
LANDSAT = [
    *(f"SR_B{number} 30 uint16 MEAN" for number in range(1, 8)),
    "SR_QA_AEROSOL 30 uint8 MODE",
    "ST_B10 30 uint16 MEAN",
    *(f"ST_{name} 30 int16 MEAN" for name in ("ATRAN", "CDIST", "DRAD", "EMIS", "EMSD", "QA", "TRAD", "URAD")),
    "QA_PIXEL 30 uint16 MODE",
    "QA_RADSAT 30 uint16 MODE",
]
LANDSAT_TOP = [
    *(f"B{number} {15 if number == 8 else 30} float MEAN" for number in range(1, 12)),
    "QA_PIXEL 30 uint16 MODE",
    "QA_RADSAT 30 uint16 MODE",
    *(f"{name} 30 int16 MEAN" for name in ("SAA", "SZA", "VAA", "VZA")),
]
DOCUMENTED = {
    MODIS: [
        "NDVI 232 int16 MEAN", "EVI 232 int16 MEAN", "DetailedQA 232 uint16 MODE", "sur_refl_b01 232 int16 MEAN",
        "sur_refl_b02 232 int16 MEAN", "sur_refl_b03 232 int16 MEAN", "sur_refl_b07 232 int16 MEAN",
        "ViewZenith 232 int16 MEAN", "SolarZenith 232 int16 MEAN", "RelativeAzimuth 232 int16 MEAN",
        "DayOfYear 232 int16 MODE", "SummaryQA 232 int8 MODE",
    ],
    SURFACE: [
        *S2_SPECTRAL, *S2_INFRARED, "AOT 10 uint16 MEAN", "WVP 10 uint16 MEAN", "SCL 20 uint8 MODE",
        "TCI_R 10 uint8 MEAN", "TCI_G 10 uint8 MEAN", "TCI_B 10 uint8 MEAN", "MSK_CLDPRB 20 uint8 MEAN",
        "MSK_SNWPRB 20 uint8 MEAN", *S2_QUALITY,
    ],
    TOP: [*S2_SPECTRAL, "B10 60 uint16 MEAN", *S2_INFRARED, *S2_QUALITY],
    VIIRS: [
        "EVI 463 int16 MEAN", "EVI2 463 int16 MEAN", "NDVI 463 int16 MEAN", "NIR_reflectance 463 int16 MEAN",
        "SWIR1_reflectance 463 int16 MEAN", "SWIR2_reflectance 463 int16 MEAN", "SWIR3_reflectance 463 int16 MEAN",
        "VI_Quality 463 uint16 MODE", "red_reflectance 463 int16 MEAN", "green_reflectance 463 int16 MEAN",
        "blue_reflectance 463 int16 MEAN", "composite_day_of_the_year 463 int16 MODE", "pixel_reliability 463 int8 MODE",
        "relative_azimuth_angle 463 int16 MEAN", "sun_zenith_angle 463 int16 MEAN", "view_zenith_angle 463 int16 MEAN",
    ],
    DAILY: [
        "num_observations_1km 927 int8 MODE", "state_1km 927 uint16 MODE", "SensorZenith 927 int16 MEAN",
        "SensorAzimuth 927 int16 MEAN", "Range 927 uint16 MEAN", "SolarZenith 927 int16 MEAN",
        "SolarAzimuth 927 int16 MEAN", "gflags 927 uint8 MODE", "orbit_pnt 927 int8 MODE", "granule_pnt 927 uint8 MODE",
        "num_observations_500m 463 int8 MODE", *(f"sur_refl_b0{number} 463 int16 MEAN" for number in range(1, 8)),
        "QC_500m 463 uint32 MODE", "obscov_500m 463 int8 MODE", "iobs_res 463 uint8 MODE", "q_scan 463 uint8 MODE",
    ],
    COVER: ["Map 9 uint8 MODE"],
    PROBABILITY: ["probability 10 uint8 MEAN"],
    SCORE: ["cs 10 float MEAN", "cs_cdf 10 float MEAN"],
    LANDSAT_8: LANDSAT,
    LANDSAT_9: LANDSAT,
    LANDSAT_8_TOP: LANDSAT_TOP,
    LANDSAT_9_TOP: LANDSAT_TOP,
}  # fmt: skip
SAME_BANDS = {OLDER_MODIS: MODIS, AQUA: MODIS, "COPERNICUS/S2_SR": SURFACE, "COPERNICUS/S2": TOP}
DOCUMENTED |= {name: DOCUMENTED[other] for name, other in SAME_BANDS.items()}
DOCUMENTED[HALF_KILOMETRE] = [each.replace(" 232 ", " 463 ") for each in DOCUMENTED[MODIS]]


def described(band):
    limits = (band.type.minimum, band.type.maximum)
    kind = next((name for name, span in WHOLE.items() if span == limits), band.type.precision)
    return f"{band.name} {band.grid.projection.nominal_scale:.0f} {kind} {band.pyramiding_policy}"


@pytest.mark.parametrize("identity", DOCUMENTED)
def test_bands_are_those_of_the_public_catalogue(identity):
    asset = image(f"{identity}/{EXAMPLES[identity]}")
    assert [described(band) for band in asset.bands] == DOCUMENTED[identity]


S2_PROPERTIES = [
    "CLOUDY_PIXEL_PERCENTAGE",
    "CLOUD_COVERAGE_ASSESSMENT",
    "DATASTRIP_ID",
    "DATATAKE_IDENTIFIER",
    "DATATAKE_TYPE",
    "DEGRADED_MSI_DATA_PERCENTAGE",
    "FORMAT_CORRECTNESS",
    "GENERAL_QUALITY",
    "GENERATION_TIME",
    "GEOMETRIC_QUALITY",
    "GRANULE_ID",
    "MEAN_SOLAR_AZIMUTH_ANGLE",
    "MEAN_SOLAR_ZENITH_ANGLE",
    "MGRS_TILE",
    "PROCESSING_BASELINE",
    "PRODUCT_ID",
    "RADIOMETRIC_QUALITY",
    "REFLECTANCE_CONVERSION_CORRECTION",
    "SENSING_ORBIT_DIRECTION",
    "SENSING_ORBIT_NUMBER",
    "SENSOR_QUALITY",
    "SPACECRAFT_NAME",
]
S2_NUMBERS = ["1", "2", "3", "4", "5", "6", "7", "8", "8A", "9", "10", "11", "12"]
S2_PROPERTIES += [f"MEAN_INCIDENCE_{angle}_ANGLE_B{number}" for angle in ("AZIMUTH", "ZENITH") for number in S2_NUMBERS]
S2_PROPERTIES += [f"SOLAR_IRRADIANCE_B{number}" for number in S2_NUMBERS]
PROPERTIES = {
    MODIS: ["num_tiles"],
    WEATHER: ["day", "month", "year"],
    TOP: S2_PROPERTIES,
    SURFACE: [
        *S2_PROPERTIES, "AOT_RETRIEVAL_ACCURACY", "CLOUDY_SHADOW_PERCENTAGE", "DARK_FEATURES_PERCENTAGE",
        "HIGH_PROBA_CLOUDS_PERCENTAGE", "MEDIUM_PROBA_CLOUDS_PERCENTAGE", "NODATA_PIXEL_PERCENTAGE",
        "NOT_VEGETATED_PERCENTAGE", "RADIATIVE_TRANSFER_ACCURACY", "SATURATED_DEFECTIVE_PIXEL_PERCENTAGE",
        "SNOW_ICE_PERCENTAGE", "THIN_CIRRUS_PERCENTAGE", "UNCLASSIFIED_PERCENTAGE", "VEGETATION_PERCENTAGE",
        "WATER_PERCENTAGE", "WATER_VAPOUR_RETRIEVAL_ACCURACY",
    ],
    SCORE: [
        "DATE_PRODUCT_GENERATED", "MGRS_TILE", "MODEL_VERSION", "NO_CONTEXT_FRACTION", "PROCESSING_SOFTWARE_VERSION",
        "SOURCE_ASSET_ID", "SOURCE_PRODUCT_ID",
    ],
    LANDSAT_8: ["ALGORITHM_SOURCE_SURFACE_REFLECTANCE", "ALGORITHM_SOURCE_SURFACE_TEMPERATURE", "CLOUD_COVER", "CLOUD_COVER_LAND", "COLLECTION_CATEGORY", "DATA_SOURCE_AIR_TEMPERATURE", "DATA_SOURCE_ELEVATION", "DATA_SOURCE_OZONE", "DATA_SOURCE_PRESSURE", "DATA_SOURCE_REANALYSIS", "DATA_SOURCE_TIRS_STRAY_LIGHT_CORRECTION", "DATA_SOURCE_WATER_VAPOR", "DATE_PRODUCT_GENERATED", "EARTH_SUN_DISTANCE", "EPHEMERIS_TYPE", "GEOMETRIC_RMSE_MODEL", "GEOMETRIC_RMSE_MODEL_X", "GEOMETRIC_RMSE_MODEL_Y", "GEOMETRIC_RMSE_VERIFY", "GROUND_CONTROL_POINTS_MODEL", "GROUND_CONTROL_POINTS_VERIFY", "GROUND_CONTROL_POINTS_VERSION", "IMAGE_QUALITY_OLI", "IMAGE_QUALITY_TIRS", "L1_DATE_PRODUCT_GENERATED", "L1_LANDSAT_PRODUCT_ID", "L1_PROCESSING_LEVEL", "L1_PROCESSING_SOFTWARE_VERSION", "LANDSAT_PRODUCT_ID", "LANDSAT_SCENE_ID", "PROCESSING_LEVEL", "PROCESSING_SOFTWARE_VERSION", "ROLL_ANGLE", "SCENE_CENTER_TIME", "SENSOR_ID", "SPACECRAFT_ID", "SUN_AZIMUTH", "SUN_ELEVATION", "TARGET_WRS_PATH", "TARGET_WRS_ROW", "TEMPERATURE_MAXIMUM_BAND_ST_B10", "TEMPERATURE_MINIMUM_BAND_ST_B10", "TIRS_SSM_MODEL", "TIRS_SSM_POSITION_STATUS", "TRUNCATION_OLI", "WRS_PATH", "WRS_ROW"],
}  # fmt: skip


@pytest.mark.parametrize("identity", PROPERTIES)
def test_documented_properties_are_there_and_of_plain_types(identity):
    found = image(f"{identity}/{EXAMPLES[identity]}").properties
    assert set(PROPERTIES[identity]) <= set(found)
    assert {type(value) for value in found.values()} <= {str, int, float}


def test_every_collection_has_an_example():
    assert set(EXAMPLES) == set(COLLECTIONS)
    for identity, index in EXAMPLES.items():
        shown = image(f"{identity}/{index}").as_json()
        assert shown["id"] == f"{identity}/{index}"
        assert shown["startTime"] <= shown.get("endTime", shown["startTime"]) < shown["updateTime"]


def test_names_of_images_that_are_not_there_are_not_found():
    wrong = {
        OLDER_MODIS: ["2023_02_18"],
        AQUA: ["2020_06_09", "2002_06_18", "2024_05_25"],
        VIIRS: ["2020_06_02", "2012_01_09"],
        DAILY: ["2000_02_23", "2024_05_31", "2020_02_30"],
        WEATHER: ["19500101", "20240528", "20200230", "2020_06_09", "x"],
        COVER: ["2020", "v200"],
        MODIS: ["2020_06_10", "1999_12_18", "2030_01_01", "2020_13_01", "x"],
        SURFACE: ["20210109T185414_20210109T190300_T10SEG", "20210109T185752_20210109T185931_T10SEG",
                  "20210110T185414_20210110T190300_T10SEG", "T10SEG",
                  "20211309T185414_20210109T190300_T10SEG", "20210109T185414_20210109T190300_T10SIG",
                  "20210109T185414_20210109T190300_T99SEG", "20160109T185414_20160109T190300_T10SEG"],
        LANDSAT_8: ["LC08_044034_20140319", "LC09_044034_20140318", "LC08_044200_20140318", "LC08_999034_20140318",
                    "LC08_044034_20141318", "LC08_044122_20140318"],
        LANDSAT_9: ["LC09_044034_20210109", "LC08_044034_20220111"],
    }  # fmt: skip
    for identity, names in wrong.items():
        assert [COLLECTIONS[identity].image(name) for name in names] == [None] * len(names)
