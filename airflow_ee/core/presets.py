"""What has to be known of a collection to turn its numbers into physical ones, as a typed table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Literal

from airflow_ee.core.indices import FORMULAS, Index

__all__ = [
    "PRESETS",
    "BandPreset",
    "NativeGrid",
    "Preset",
    "composite_end",
    "find_preset",
    "modis_composite_end",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandPreset:
    """How a band's digital numbers become physical: ``scale * number + offset``, where the number is in its valid range."""

    scale: float = 1.0
    offset: float = 0.0
    valid_min: float | None = None
    """Lowest digital number that means something."""
    valid_max: float | None = None
    """Highest digital number that means something."""
    unit: str = "1"
    """UCUM-like; ``1`` is a ratio."""
    pixel_metres: float | None = None
    """Side of a pixel; None: the collection's finest."""


RAW = BandPreset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGrid:
    """The lattice that a collection's pixels lie on."""

    crs: Literal["SR-ORG:6974", "UTM", "UTM north"]
    """A code; ``UTM``: the zone of each image; ``UTM north``: the same, and northern zones south of the equator too."""
    pixel_metres: float
    """Side of the finest pixels."""
    origin_metres: float = 0.0
    """How far pixel edges lie from whole multiples of a pixel, in UTM; northings are counted from the equator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A collection that this package knows.

    >>> find_preset("MOD13Q1").index_band("NDVI")
    'NDVI'
    >>> find_preset("S2_SR_HARMONIZED").index("NDVI").inputs
    ('B8', 'B4')
    """

    collection: str
    """Asset id."""
    bands: Mapping[str, BandPreset]
    indices: Mapping[str, Index]
    """Vegetation indices: bands of the collection, or formulas over bands."""
    quality: str | None
    """Rule that a pixel has to meet; see :mod:`airflow_ee.core.quality`."""
    day_of_year_band: str | None
    """Band with the day of the year of each pixel's observation."""
    days: int
    """Longest interval that an image stands for; 0: an image is of one moment."""
    image_end: Callable[[datetime], datetime]
    """End of the interval that an image stands for, from its beginning."""
    cadence_days: float
    """Days from one image of a place to the next; nominal, away from where swaths overlap."""
    latency_days: float
    """Days until an image usually is in the catalogue, after the end of what it stands for: roughly, nobody promises it."""
    native: NativeGrid
    reference: str
    """Where these numbers are published."""

    def band(self, name: str) -> BandPreset:
        """The band's numbers; bands that are not in the table are taken as they are."""
        return self.bands.get(name, RAW)

    def index(self, name: str) -> Index:
        """What the index is made of.

        Raises
        ------
        ValueError
            When the collection has no such index.
        """
        if name not in self.indices:
            raise ValueError(f"index must be one of {', '.join(self.indices)} for {self.collection}, got {name!r}")
        return self.indices[name]

    def index_band(self, index: str) -> str | None:
        """The band that holds ``index``; None when it is computed."""
        return self.index(index).band


def composite_end(start: datetime, first_day: int = 1) -> datetime:
    """End of a 16-day composite: the calendar starts anew each year, so the last one of a year has 13 or 14 days.

    Parameters
    ----------
    first_day
        Day of the year with which the calendar starts: 1 for Terra, 9 for Aqua.

    Examples
    --------
    >>> composite_end(datetime(2007, 12, 27, tzinfo=UTC), 9).date().isoformat()
    '2008-01-09'
    """
    anew = datetime(start.year, 1, 1, tzinfo=UTC) + timedelta(days=first_day - 1)
    if anew <= start:
        anew = datetime(start.year + 1, 1, 1, tzinfo=UTC) + timedelta(days=first_day - 1)
    return min(start + timedelta(days=16), anew)


def modis_composite_end(start: datetime) -> datetime:
    """End of a 16-day composite of Terra.

    >>> modis_composite_end(datetime(2007, 12, 19, tzinfo=UTC)).date().isoformat()
    '2008-01-01'
    """
    return composite_end(start)


def _overlapping_end(start: datetime) -> datetime:
    """Composites of VIIRS begin every 8 days and look at 16."""
    return start + timedelta(days=16)


def _same_moment(start: datetime) -> datetime:
    return start


_REFLECTANCE = BandPreset(scale=0.0001, valid_min=0, valid_max=10000)
_VEGETATION_INDEX = BandPreset(scale=0.0001, valid_min=-2000, valid_max=10000)
_ZENITH = BandPreset(scale=0.01, valid_min=0, valid_max=18000, unit="deg")
_AZIMUTH = BandPreset(scale=0.01, valid_min=-18000, valid_max=18000, unit="deg")
_DAY = BandPreset(valid_min=1, valid_max=366, unit="d")
_CATALOGUE = "https://developers.google.com/earth-engine/datasets/catalog/"

_MODIS_BANDS: Mapping[str, BandPreset] = MappingProxyType(
    {
        "NDVI": _VEGETATION_INDEX,
        "EVI": _VEGETATION_INDEX,
        "sur_refl_b01": _REFLECTANCE,
        "sur_refl_b02": _REFLECTANCE,
        "sur_refl_b03": _REFLECTANCE,
        "sur_refl_b07": _REFLECTANCE,
        "ViewZenith": _ZENITH,
        "SolarZenith": _ZENITH,
        "RelativeAzimuth": _AZIMUTH,
        "DayOfYear": _DAY,
        "SummaryQA": BandPreset(valid_min=0, valid_max=3),
    }
)


def _modis(name: str, pixel_metres: float, first_day: int) -> Preset:
    """MOD13 and MYD13: the same bands, on grids of 231.66 and 463.31 m; Aqua's calendar is 8 days behind Terra's."""
    return Preset(
        collection=f"MODIS/061/{name}",
        bands=_MODIS_BANDS,
        indices=MappingProxyType({"NDVI": Index(band="NDVI"), "EVI": Index(band="EVI")}),
        quality="SummaryQA<=1",
        day_of_year_band="DayOfYear",
        days=16,
        image_end=partial(composite_end, first_day=first_day),
        cadence_days=16,
        latency_days=8,
        native=NativeGrid(crs="SR-ORG:6974", pixel_metres=pixel_metres),
        reference=f"https://doi.org/10.5067/MODIS/{name}.061 and {_CATALOGUE}MODIS_061_{name}",
    )


# The catalogue tells neither scale nor range: the scale is that of the product's own files, the range all that NDVI can be.
_VIIRS_INDEX = BandPreset(scale=0.0001, valid_min=-10000, valid_max=10000)
_VNP13A1 = Preset(
    collection="NASA/VIIRS/002/VNP13A1",
    bands=MappingProxyType(
        {
            **dict.fromkeys(("NDVI", "EVI", "EVI2"), _VIIRS_INDEX),
            **dict.fromkeys(
                (
                    "red_reflectance", "NIR_reflectance", "blue_reflectance", "green_reflectance",
                    "SWIR1_reflectance", "SWIR2_reflectance", "SWIR3_reflectance",
                ),
                _REFLECTANCE,
            ),
            "view_zenith_angle": _ZENITH,
            "sun_zenith_angle": _ZENITH,
            "relative_azimuth_angle": _AZIMUTH,
            "composite_day_of_the_year": _DAY,
            "pixel_reliability": BandPreset(valid_min=0, valid_max=11),
        }
    ),
    indices=MappingProxyType({name: Index(band=name) for name in ("NDVI", "EVI", "EVI2")}),
    quality="VIIRS_VI_USEFUL",
    day_of_year_band="composite_day_of_the_year",
    days=16,
    image_end=_overlapping_end,
    cadence_days=8,
    latency_days=8,
    native=NativeGrid(crs="SR-ORG:6974", pixel_metres=463.3127165279165),
    reference=f"https://doi.org/10.5067/VIIRS/VNP13A1.002 and {_CATALOGUE}NASA_VIIRS_002_VNP13A1",
)  # fmt: skip


def _indices(**colours: str) -> Mapping[str, Index]:
    """Every index whose colours the collection has."""
    return MappingProxyType(
        {
            name: Index(formula=formula, inputs=tuple(colours[colour] for colour in formula.colours))
            for name, formula in FORMULAS.items()
        }
    )


def _sentinel2_band(pixel_metres: float) -> BandPreset:
    # A digital number of 0 is no data; saturated and bright ones go beyond 10000.
    return BandPreset(scale=0.0001, valid_min=1, pixel_metres=pixel_metres)


_S2_SR_HARMONIZED = Preset(
    collection="COPERNICUS/S2_SR_HARMONIZED",
    bands=MappingProxyType(
        {
            **dict.fromkeys(("B2", "B3", "B4", "B8"), _sentinel2_band(10)),
            **dict.fromkeys(("B5", "B6", "B7", "B8A", "B11", "B12"), _sentinel2_band(20)),
            **dict.fromkeys(("B1", "B9"), _sentinel2_band(60)),
            "AOT": BandPreset(scale=0.001, pixel_metres=10),
            "WVP": BandPreset(scale=0.001, unit="cm", pixel_metres=10),
            "SCL": BandPreset(valid_min=1, valid_max=11, pixel_metres=20),
        }
    ),
    indices=_indices(blue="B2", green="B3", red="B4", nir="B8", swir1="B11", swir2="B12"),
    quality="S2_CLOUD_SCORE",
    day_of_year_band=None,
    days=0,
    image_end=_same_moment,
    cadence_days=5,
    latency_days=2,
    native=NativeGrid(crs="UTM", pixel_metres=10),
    reference=f"{_CATALOGUE}COPERNICUS_S2_SR_HARMONIZED",
)

# The range of reflectances 0 to 1, as USGS has it: https://www.usgs.gov/faqs/how-do-i-use-a-scale-factor-landsat-level-2-science-products
_LANDSAT_REFLECTANCE = BandPreset(scale=0.0000275, offset=-0.2, valid_min=7273, valid_max=43636)


def _landsat(satellite: str) -> Preset:
    return Preset(
        collection=f"LANDSAT/{satellite}/C02/T1_L2",
        bands=MappingProxyType(
            {
                **{f"SR_B{number}": _LANDSAT_REFLECTANCE for number in range(1, 8)},
                "ST_B10": BandPreset(scale=0.00341802, offset=149.0, valid_min=293, unit="K"),
                "ST_EMIS": BandPreset(scale=0.0001, valid_min=0, valid_max=10000),
                "ST_CDIST": BandPreset(scale=0.01, valid_min=0, valid_max=24000, unit="km"),
            }
        ),
        indices=_indices(blue="SR_B2", green="SR_B3", red="SR_B4", nir="SR_B5", swir1="SR_B6", swir2="SR_B7"),
        quality="LANDSAT_CLEAR",
        day_of_year_band=None,
        days=0,
        image_end=_same_moment,
        cadence_days=16,
        latency_days=15,
        # Landsat's coordinates are those of pixel centres, at multiples of 30 m.
        native=NativeGrid(crs="UTM north", pixel_metres=30, origin_metres=15),
        reference=f"{_CATALOGUE}LANDSAT_{satellite}_C02_T1_L2",
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "MOD13Q1": _modis("MOD13Q1", 231.65635826395825, 1),
        "MYD13Q1": _modis("MYD13Q1", 231.65635826395825, 9),
        "MOD13A1": _modis("MOD13A1", 463.3127165279165, 1),
        "VNP13A1": _VNP13A1,
        "S2_SR_HARMONIZED": _S2_SR_HARMONIZED,
        "LC08": _landsat("LC08"),
        "LC09": _landsat("LC09"),
    }
)
"""By short name."""


def find_preset(collection: str) -> Preset | None:
    """The preset of a short name or an asset id; None for a collection that is not in the table."""
    if collection.upper() in PRESETS:
        return PRESETS[collection.upper()]
    return next((preset for preset in PRESETS.values() if preset.collection == collection), None)
