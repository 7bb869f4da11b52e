"""What quality layers mean: names of bits, rules that have a name, and score images that belong to other images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["BIT_FIELDS", "COMPANIONS", "NAMED_RULES", "Companion", "NamedRule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """A rule that users may call by name."""

    text: str
    """The rule in full."""
    meaning: str
    reference: str
    """Where it is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A band that another collection has of the same images, joined by ``system:index``."""

    collection: str
    of: tuple[str, ...]
    """Collections whose images it belongs to."""
    reference: str


_CATALOGUE = "https://developers.google.com/earth-engine/datasets/catalog/"
_SENTINEL2 = ("COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED")

_VI_BITS = MappingProxyType(
    {
        "vi_quality": (0, 1),
        "usefulness": (2, 5),
        "aerosol": (6, 7),
        "adjacent_cloud": (8, 8),
        "brdf": (9, 9),
        "mixed_clouds": (10, 10),
        "land_water": (11, 13),
        "snow_ice": (14, 14),
        "shadow": (15, 15),
    }
)

BIT_FIELDS: Mapping[str, Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        # Landsat 8-9 Collection 2; catalogue page LANDSAT_LC08_C02_T1_L2.
        "QA_PIXEL": MappingProxyType(
            {
                "fill": (0, 0),
                "dilated_cloud": (1, 1),
                "cirrus": (2, 2),
                "cloud": (3, 3),
                "cloud_shadow": (4, 4),
                "snow": (5, 5),
                "clear": (6, 6),
                "water": (7, 7),
                "cloud_confidence": (8, 9),
                "cloud_shadow_confidence": (10, 11),
                "snow_confidence": (12, 13),
                "cirrus_confidence": (14, 15),
            }
        ),
        "QA_RADSAT": MappingProxyType({"terrain_occlusion": (11, 11)}),
        "SR_QA_AEROSOL": MappingProxyType(
            {"fill": (0, 0), "valid": (1, 1), "water": (2, 2), "interpolated": (5, 5), "level": (6, 7)}
        ),
        # MODIS and VIIRS vegetation indices; catalogue pages MODIS_061_MOD13A1 and NASA_VIIRS_002_VNP13A1.
        "DetailedQA": _VI_BITS,
        "VI_Quality": _VI_BITS,
    }
)
"""Named bits of quality bands: ``band -> name -> (first, last)``, counted from the lowest, both included."""

NAMED_RULES: Mapping[str, NamedRule] = MappingProxyType(
    {
        "MODIS_VI_GOOD": NamedRule(
            text="SummaryQA==0",
            meaning="good: use with confidence",
            reference=f"{_CATALOGUE}MODIS_061_MOD13Q1",
        ),
        "MODIS_VI_USEFUL": NamedRule(
            text="SummaryQA<=1",
            meaning="good or marginal; neither snow nor cloud",
            reference=f"{_CATALOGUE}MODIS_061_MOD13Q1",
        ),
        "MODIS_VI_DETAILED": NamedRule(
            text="DetailedQA.vi_quality<=1 and DetailedQA.adjacent_cloud==0 and DetailedQA.mixed_clouds==0 "
            "and DetailedQA.snow_ice==0 and DetailedQA.shadow==0",
            meaning="produced, and no cloud, snow or shadow in it or beside it",
            reference=f"{_CATALOGUE}MODIS_061_MOD13Q1",
        ),
        "VIIRS_VI_USEFUL": NamedRule(
            text="pixel_reliability<=3",
            meaning="excellent, good, acceptable or marginal",
            reference=f"{_CATALOGUE}NASA_VIIRS_002_VNP13A1",
        ),
        "LANDSAT_CLEAR": NamedRule(
            text="QA_PIXEL.fill==0 and QA_PIXEL.dilated_cloud==0 and QA_PIXEL.cirrus==0 and QA_PIXEL.cloud==0 "
            "and QA_PIXEL.cloud_shadow==0 and QA_RADSAT==0",
            meaning="no fill, cloud, cirrus or shadow, and no saturated band; snow counts as clear",
            reference="https://github.com/google/earthengine-api/blob/master/javascript/src/examples/CloudMasking/"
            "Landsat8SurfaceReflectance.js",
        ),
        "S2_SCL_CLEAR": NamedRule(
            text="SCL in (4, 5, 6, 7, 11)",
            meaning="vegetation, bare soil, water, unclassified, snow",
            reference=f"{_CATALOGUE}COPERNICUS_S2_SR_HARMONIZED",
        ),
        "S2_CLOUD_PROBABILITY": NamedRule(
            text="probability<40",
            meaning="cloud less probable than 40 percent; shadows are not told",
            reference=f"{_CATALOGUE}COPERNICUS_S2_CLOUD_PROBABILITY",
        ),
        "S2_CLOUD_SCORE": NamedRule(
            text="cs_cdf>=0.60",
            meaning="clear by Cloud Score+, at the threshold of its catalogue page",
            reference=f"{_CATALOGUE}GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED",
        ),
    }
)
"""Rules by name."""

_CLOUD_SCORE = Companion(
    collection="GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
    of=_SENTINEL2,
    reference=f"{_CATALOGUE}GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED",
)
COMPANIONS: Mapping[str, Companion] = MappingProxyType(
    {
        "cs": _CLOUD_SCORE,
        "cs_cdf": _CLOUD_SCORE,
        "probability": Companion(
            collection="COPERNICUS/S2_CLOUD_PROBABILITY",
            of=_SENTINEL2,
            reference=f"{_CATALOGUE}COPERNICUS_S2_CLOUD_PROBABILITY",
        ),
    }
)
"""Bands that other collections have, by name."""
