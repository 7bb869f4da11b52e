"""The simulated ECMWF/ERA5_LAND/DAILY_AGGR: a day's weather on a grid of a tenth of a degree, 150 bands.

Bands, their order, the first day and the properties are those of the `catalogue
<https://developers.google.com/earth-engine/datasets/catalog/ECMWF_ERA5_LAND_DAILY_AGGR>`_.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import lru_cache, partial
from typing import Any

import numpy as np

from airflow_ee.emulator.catalog.assets import AssetBand, ImageAsset, Kind
from airflow_ee.emulator.catalog.era5_weather import FLOWS, STATES, Formula, Weather, extreme, weather
from airflow_ee.emulator.catalog.listing import Listing, collection_json, interval, midnight
from airflow_ee.emulator.catalog.places import place_node
from airflow_ee.emulator.clock import Clock
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Demand, Node, Raster
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.element import Filter
from airflow_ee.emulator.values.image import WORLD

ID = "ECMWF/ERA5_LAND/DAILY_AGGR"
FIRST_DAY = date(1950, 1, 2)
_LATENCY = timedelta(days=7)
NATIVE = Grid(Projection(WGS84, (0.1, 0.0, -180.05, 0.0, -0.1, 90.05)), row=0, col=0, height=1801, width=3601)
_TYPE = type_of_dtype("float64")

ORDER = (
    "dewpoint_temperature_2m", "temperature_2m", "skin_temperature", "soil_temperature_level_1",
    "soil_temperature_level_2", "soil_temperature_level_3", "soil_temperature_level_4", "lake_bottom_temperature",
    "lake_ice_depth", "lake_ice_temperature", "lake_mix_layer_depth", "lake_mix_layer_temperature", "lake_shape_factor",
    "lake_total_layer_temperature", "snow_albedo", "snow_cover", "snow_density", "snow_depth",
    "snow_depth_water_equivalent", "snowfall", "snowmelt", "temperature_of_snow_layer", "skin_reservoir_content",
    "volumetric_soil_water_layer_1", "volumetric_soil_water_layer_2", "volumetric_soil_water_layer_3",
    "volumetric_soil_water_layer_4", "forecast_albedo", "surface_latent_heat_flux", "surface_net_solar_radiation",
    "surface_net_thermal_radiation", "surface_sensible_heat_flux", "surface_solar_radiation_downwards",
    "surface_thermal_radiation_downwards", "evaporation_from_bare_soil",
    "evaporation_from_open_water_surfaces_excluding_oceans", "evaporation_from_the_top_of_canopy",
    "evaporation_from_vegetation_transpiration", "potential_evaporation", "runoff", "snow_evaporation",
    "sub_surface_runoff", "surface_runoff", "total_evaporation", "u_component_of_wind_10m", "v_component_of_wind_10m",
    "surface_pressure", "total_precipitation", "leaf_area_index_high_vegetation", "leaf_area_index_low_vegetation",
)  # fmt: skip


class _WeatherNode(Node):
    """The layers of a day's :class:`Weather` at the centres of the native pixels."""

    def __init__(self, day: date) -> None:
        self._day = day

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """Where the pixels are."""
        return ((place_node(NATIVE.projection), grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- places have its shape
        """The layers."""
        longitude, latitude = inputs[0].values
        inside = (np.abs(latitude) <= 90.05) & (longitude >= -180.05) & (longitude <= 180.05)
        return Raster(np.stack(weather(longitude, latitude, self._day)), inside.astype(np.float32))


class _WeatherBand(Node):
    """One band of a day."""

    def __init__(self, layers: _WeatherNode, formula: Formula) -> None:
        self._layers = layers
        self._formula = formula

    def demands(self, grid: Grid) -> tuple[Demand, ...]:
        """The weather."""
        return ((self._layers, grid),)

    def compute(self, grid: Grid, inputs: Sequence[Raster]) -> Raster:  # noqa: ARG002 -- the layers have its shape
        """What the formula makes of it."""
        values = np.asarray(self._formula(Weather(*inputs[0].values)), np.float64)
        return Raster(np.where(inputs[0].mask > 0, values, 0.0), inputs[0].mask)


@lru_cache(maxsize=1024)
def _bands(day: date) -> tuple[AssetBand, ...]:
    layers = _WeatherNode(day)
    formulas: dict[str, Formula] = {
        f"{name}_sum" if name in FLOWS else name: FLOWS.get(name) or STATES[name] for name in ORDER
    }
    for name in ORDER:
        formulas |= {f"{name}_min": partial(extreme, name, -1), f"{name}_max": partial(extreme, name, 1)}
    return tuple(AssetBand(name, _TYPE, NATIVE, _WeatherBand(layers, formula)) for name, formula in formulas.items())


class SimulatedEra5:
    """An image a day."""

    kind = Kind.SIMULATED
    id = ID

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def _exists(self, day: date) -> bool:
        return day >= FIRST_DAY and midnight(day) + timedelta(days=1) + _LATENCY <= self._clock.now()

    def query(self, filters: Sequence[Filter]) -> Iterable[ImageAsset]:
        """The days that the filters allow."""
        wanted = Listing.of(filters)
        if wanted.indices is not None:
            yield from wanted.named(self.image)
            return
        first, last = interval(wanted, FIRST_DAY, self._clock.now())
        for number in range((last.date() - first.date()).days + 1):
            day = first.date() + timedelta(days=number)
            if self._exists(day) and wanted.allows(midnight(day)):
                yield self._asset(day)

    def image(self, index: str) -> ImageAsset | None:
        """The image of a day, which is named as ``20200131``."""
        if not (len(index) == 8 and index.isascii() and index.isdigit()):
            return None
        try:
            day = date(int(index[:4]), int(index[4:6]), int(index[6:]))
        except ValueError:
            return None
        return self._asset(day) if self._exists(day) else None

    def _asset(self, day: date) -> ImageAsset:
        began = midnight(day)
        return ImageAsset(
            id=f"{ID}/{day:%Y%m%d}",
            kind=self.kind,
            bands=_bands(day),
            updated=began + timedelta(days=1) + _LATENCY,
            start=began,
            end=began + timedelta(days=1),
            properties={"day": day.day, "month": day.month, "year": day.year},
            footprint=WORLD,
            size_bytes=1_345_678_901,
        )

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset of the collection."""
        return collection_json(ID, FIRST_DAY, self._clock.now(), view)
