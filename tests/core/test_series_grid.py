"""The grid of a series is the native one where it can be, one for all regions, and the same whatever a run finds."""

import math

import numpy as np
import pytest

from airflow_ee.core.grid import PixelGrid, snap_scale
from airflow_ee.core.presets import PRESETS
from airflow_ee.core.region import Region
from airflow_ee.core.region_file import NamedRegion
from airflow_ee.core.resources import Asset, Band
from airflow_ee.core.series_grid import area_of, join_grids, resolution_warning, series_grid, utm_crs

S2, LC08, MODIS = PRESETS["S2_SR_HARMONIZED"], PRESETS["LC08"], PRESETS["MOD13Q1"]
FIELD = Region.parse([-55.6, -12.1, -55.55, -12.05])


def image(crs, x, y, pixel, width=10980, band="B4", height=None):
    grid = PixelGrid(crs=crs, transform=(pixel, 0, x, 0, -pixel, y), width=width, height=height or width)
    return Asset(name="a", id="c/a", type="IMAGE", bands=(Band(id=band, dtype=np.dtype("uint16"), grid=grid),))


TILES = [image("EPSG:32721", 600000, 8700040, 10), image("EPSG:32721", 699960, 8700040, 10)]


def choose(images, *regions, preset=S2, band="B4", pixel=10.0, **arguments):
    given = {"grid": None, "scale": None, "crs": None, "from_asset": None, **arguments}
    named = [NamedRegion(id=str(index), region=region) for index, region in enumerate(regions)]
    return series_grid(images=images, band=band, pixel_metres=pixel, preset=preset, regions=named, **given)


def on_lattice(grid, origin):
    a, _, c, _, e, f = grid.transform
    return all(abs(part - round(part)) < 1e-9 for part in ((c - origin[0]) / a, (f - origin[1]) / e))


def test_sentinel2_has_the_lattice_of_its_tiles_in_the_zone_of_the_region():
    grid = choose(TILES, FIELD)
    assert grid.crs == "EPSG:32721"
    assert grid.transform[0] == 10
    assert on_lattice(grid, (600000, 8700040))
    assert grid == choose(TILES[:1], FIELD), "whichever tiles a run finds"
    other_zone = image("EPSG:32722", 199980, 8700040, 10)
    assert grid == choose([*TILES, other_zone], FIELD)


@pytest.mark.parametrize("pixel", [10, 20, 60])
def test_northings_of_southern_zones_are_counted_from_the_equator(pixel):
    tile = image("EPSG:32721", 600000, 8700040, pixel)
    assert on_lattice(choose([tile], FIELD, pixel=float(pixel)), (600000, 8700040))


def test_landsat_has_northern_zones_only_and_edges_half_a_pixel_off():
    scene = image("EPSG:32621", 469635, -1176105, 30, band="SR_B4")
    grid = choose([scene], FIELD, preset=LC08, band="SR_B4", pixel=30.0)
    assert grid.crs == "EPSG:32621"
    assert on_lattice(grid, (469635, -1176105))


def test_images_on_a_lattice_of_their_own_keep_it():
    mounted = image("EPSG:32630", 341995.5, 4624995.5, 10, width=56, height=57)
    region = Region.parse([-4.899, 41.7578, -4.8975, 41.759])
    assert on_lattice(choose([mounted], region), (341995.5, 4624995.5))


def test_a_scale_without_a_crs_takes_the_collections_own_or_the_zone_of_the_regions():
    assert choose(TILES, FIELD, scale=30).crs == "EPSG:32721"
    sinusoidal = image(
        "SR-ORG:6974", -20015109.354, 10007554.677, 231.65635826395825, band="NDVI", width=172800, height=86400
    )
    assert choose([sinusoidal], FIELD, preset=MODIS, band="NDVI", scale=500).crs == "SR-ORG:6974"
    assert choose(TILES, FIELD, preset=None, scale=30) == snap_scale(FIELD, scale=30, crs="EPSG:32721")
    with pytest.raises(ValueError, match="scale needs a crs: the images have several, EPSG:32721, EPSG:32722"):
        choose([*TILES, image("EPSG:32722", 0, 0, 10)], FIELD, preset=None, scale=30)


def test_without_a_region_images_of_several_grids_are_refused():
    with pytest.raises(ValueError, match="have different native grids; give grid, grid_from_asset, or scale and crs"):
        choose(TILES, None)
    with pytest.raises(ValueError, match="scale needs a region, or a crs"):
        choose(TILES, None, scale=10)


def test_many_regions_share_one_lattice_that_covers_them_all():
    second = Region.parse([-55.2, -11.9, -55.15, -11.85])
    both = choose(TILES, FIELD, second)
    alone = [choose(TILES, FIELD), choose(TILES, second)]
    bounds = np.array([grid.bounds for grid in alone])
    assert both.bounds == (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0))
    assert on_lattice(both, (600000, 8700040))
    assert join_grids(alone) == join_grids(alone[::-1])


def test_an_error_names_the_region():
    tiny = PixelGrid(crs="EPSG:4326", transform=(0.01, 0, -55.6, 0, -0.01, -12), width=20, height=20)
    native = Asset(name="a", id="c/a", type="IMAGE", bands=(Band(id="B4", dtype=np.dtype("uint16"), grid=tiny),))
    with pytest.raises(ValueError, match=r"lies outside the image's grid.*\(region 1\)"):
        choose([native], FIELD, Region.parse([10, 10, 11, 11]), preset=None)


@pytest.mark.parametrize(("longitude", "zone"), [(-180, 1), (-177, 1), (0, 31), (179.9, 60), (180, 60)])
def test_zones_are_six_degrees_wide(longitude, zone):
    assert utm_crs(longitude, 10) == f"EPSG:326{zone:02}"


def test_coarser_pixels_come_from_the_pyramid_and_finer_ones_add_nothing():
    native = PixelGrid(crs="EPSG:32721", transform=(10, 0, 0, 0, -10, 0), width=1, height=1)
    warnings = {
        scale: resolution_warning(snap_scale(FIELD, scale=scale, crs="EPSG:32721"), native, "B4")
        for scale in (5, 10, 15, 16)
    }
    assert "0.50 times as long" in warnings[5]
    assert "nothing is gained" in warnings[5]
    assert warnings[10] is warnings[15] is None
    assert "1.6 times as long" in warnings[16]
    assert "reduceResolution" in warnings[16]
    degrees = snap_scale(FIELD, scale=10, crs="EPSG:4326")
    assert resolution_warning(degrees, native, "B4") is None
    assert resolution_warning(degrees, None, "B4") is None


def test_the_area_of_many_regions_is_their_bounding_box():
    assert area_of([NamedRegion(id="a", region=FIELD)]) is FIELD
    both = area_of([NamedRegion(id="a", region=FIELD), NamedRegion(id="b", region=Region.parse([-50, -10, -49, -9]))])
    assert both.geometry.bounds == (-55.6, -12.1, -49, -9)
    assert area_of([NamedRegion(id="grid", region=None)]) is None
    assert math.isclose(both.geometry.area, 6.6 * 3.1)
