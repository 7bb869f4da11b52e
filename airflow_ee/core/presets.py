"""What has to be known of a collection to turn its numbers into physical ones, as a typed table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

__all__ = ["PRESETS", "BandPreset", "Preset", "find_preset", "modis_composite_end"]


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


RAW = BandPreset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A collection that this package knows.

    >>> find_preset("MOD13Q1").index_band("NDVI")
    'NDVI'
    """

    collection: str
    """Asset id."""
    bands: Mapping[str, BandPreset]
    indices: Mapping[str, str]
    """Vegetation indices that are bands of the collection: name to band."""
    quality: str | None
    """Rule that a pixel has to meet; see :mod:`airflow_ee.core.quality`."""
    day_of_year_band: str | None
    """Band with the day of the year of each pixel's observation."""
    days: int
    """Longest interval that an image stands for."""
    image_end: Callable[[datetime], datetime]
    """End of the interval that an image stands for, from its beginning."""
    reference: str
    """Where these numbers are published."""

    def band(self, name: str) -> BandPreset:
        """The band's numbers; bands that are not in the table are taken as they are."""
        return self.bands.get(name, RAW)

    def index_band(self, index: str) -> str:
        """The band that holds ``index``."""
        if index not in self.indices:
            raise ValueError(f"index must be one of {', '.join(self.indices)} for {self.collection}, got {index!r}")
        return self.indices[index]


def modis_composite_end(start: datetime) -> datetime:
    """End of a 16-day composite: the calendar starts anew on 1 January, so the last one has 13 or 14 days.

    >>> modis_composite_end(datetime(2007, 12, 19, tzinfo=UTC)).date().isoformat()
    '2008-01-01'
    """
    return min(start + timedelta(days=16), datetime(start.year + 1, 1, 1, tzinfo=UTC))


_REFLECTANCE = BandPreset(scale=0.0001, valid_min=0, valid_max=10000)
_VEGETATION_INDEX = BandPreset(scale=0.0001, valid_min=-2000, valid_max=10000)

_MOD13Q1 = Preset(
    collection="MODIS/061/MOD13Q1",
    bands=MappingProxyType(
        {
            "NDVI": _VEGETATION_INDEX,
            "EVI": _VEGETATION_INDEX,
            "sur_refl_b01": _REFLECTANCE,
            "sur_refl_b02": _REFLECTANCE,
            "sur_refl_b03": _REFLECTANCE,
            "sur_refl_b07": _REFLECTANCE,
            "ViewZenith": BandPreset(scale=0.01, valid_min=0, valid_max=18000, unit="deg"),
            "SolarZenith": BandPreset(scale=0.01, valid_min=0, valid_max=18000, unit="deg"),
            "RelativeAzimuth": BandPreset(scale=0.01, valid_min=-18000, valid_max=18000, unit="deg"),
            "DayOfYear": BandPreset(valid_min=1, valid_max=366, unit="d"),
            "SummaryQA": BandPreset(valid_min=0, valid_max=3),
        }
    ),
    indices=MappingProxyType({"NDVI": "NDVI", "EVI": "EVI"}),
    quality="SummaryQA<=1",
    day_of_year_band="DayOfYear",
    days=16,
    image_end=modis_composite_end,
    reference="https://doi.org/10.5067/MODIS/MOD13Q1.061",
)

PRESETS: Mapping[str, Preset] = MappingProxyType({"MOD13Q1": _MOD13Q1})
"""By short name."""


def find_preset(collection: str) -> Preset | None:
    """The preset of a short name or an asset id; None for a collection that is not in the table."""
    if collection.upper() in PRESETS:
        return PRESETS[collection.upper()]
    return next((preset for preset in PRESETS.values() if preset.collection == collection), None)
