"""Simulated collections in this process, and their pixels on any grid."""

from datetime import UTC, date, datetime

import numpy as np
import shapely

from airflow_ee.emulator.catalog.recipe import simulated
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import WGS84, Crs, convert
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.dates import Date, DateRange
from airflow_ee.emulator.values.geometry import Geometry

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CLOCK = ManualClock(NOW)
COLLECTIONS = {each.id: each for each in simulated(CLOCK)}
MODIS = "MODIS/061/MOD13Q1"
SURFACE = "COPERNICUS/S2_SR_HARMONIZED"
TOP = "COPERNICUS/S2_HARMONIZED"
PROBABILITY = "COPERNICUS/S2_CLOUD_PROBABILITY"
SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
AQUA, HALF_KILOMETRE, VIIRS = "MODIS/061/MYD13Q1", "MODIS/061/MOD13A1", "NASA/VIIRS/002/VNP13A1"
DAILY, WEATHER, COVER = "MODIS/061/MOD09GA", "ECMWF/ERA5_LAND/DAILY_AGGR", "ESA/WorldCover/v200"
LANDSAT_8, LANDSAT_9 = "LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2"


def listed(identity, longitude, latitude, first, last):
    """What filterBounds and filterDate leave of a collection."""
    window = DateRange(Date.of(first), Date.of(last))
    arguments = [
        ("intersects", {"leftField": ".all", "rightValue": Geometry(shapely.Point(longitude, latitude))}),
        ("dateRangeContains", {"leftValue": window, "rightField": "system:time_start"}),
    ]
    filters = [registry.call(f"Filter.{name}", given, None) for name, given in arguments]
    found = COLLECTIONS[identity].query(filters)
    return [asset for asset in found if all(each.matches(asset.to_image()) for each in filters)]


def image(identity):
    parent, _, index = identity.rpartition("/")
    return COLLECTIONS[parent].image(index)


def window(crs, x, y, scale, width=64, height=64):
    """A grid from a corner."""
    return Grid(Projection(Crs(crs), (scale, 0.0, x, 0.0, -scale, y)), row=0, col=0, height=height, width=width)


def around(asset, longitude, latitude, side=64, every=1, band=None):
    """A grid around a place: every so many pixels of a band, the first one unless it is named."""
    own = next(each.grid for each in asset.bands if band in (None, each.name))
    a, _, left, _, e, top = own.projection.transform
    x, y = convert(WGS84, own.projection.crs, np.array([longitude]), np.array([latitude]))
    col, row = round((x[0] - left) / a) - side * every // 2, round((y[0] - top) / e) - side * every // 2
    # Centres of the coarser pixels are centres of native ones where every so many is odd.
    projection = Projection(own.projection.crs, (a * every, 0.0, left + col * a, 0.0, e * every, top + row * e))
    return Grid(projection, row=0, col=0, height=side, width=side)


def pixels(asset, names, grid):
    """Values and masks of bands."""
    bands = {band.name: band for band in asset.bands}
    rasters = render([bands[name].node for name in names], grid)
    return {name: (raster.values, raster.mask) for name, raster in zip(names, rasters, strict=True)}


def degrees(grid):
    """Longitude and latitude of a grid's pixel centres."""
    x, y = (np.ascontiguousarray(each) for each in np.broadcast_arrays(*grid.centres()))
    return convert(grid.projection.crs, WGS84, x, y)


def day_of_year(asset):
    return asset.start.timetuple().tm_yday


def ordinal(asset):
    return date.toordinal(asset.start.date())
