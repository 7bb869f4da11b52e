"""Grids lie where Earth Engine puts them: exact, snapped, or cut out of a native lattice."""

import math

import numpy as np
import pytest
import rasterio.transform
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core import wire
from airflow_ee.core.grid import PixelGrid, cut_grid, fit_dimensions, parse_crs, snap_scale, snap_transform
from airflow_ee.core.grid_choice import choose_grid
from airflow_ee.core.region import Region

MODIS = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -20015109.354, 0, -231.65635826395834, 10007554.677003),
    width=172800,
    height=86400,
)
UTM = PixelGrid(crs="EPSG:32633", transform=(10, 0, 500000, 0, -10, 4000000), width=90, height=60)
BOX = Region.parse([10.0, 45.0, 10.1, 45.1])


@given(
    row=st.integers(0, 59), col=st.integers(0, 89), rows=st.integers(1, 60), cols=st.integers(1, 90),
    shear=st.floats(-3, 3), rotation=st.floats(-3, 3),
)  # fmt: skip
def test_a_window_keeps_every_pixel_where_it_was(row, col, rows, cols, shear, rotation):
    grid = PixelGrid(crs="EPSG:32633", transform=(10, shear, 5e5, rotation, -10, 4e6), width=90, height=60)
    if row + rows > 60 or col + cols > 90:
        with pytest.raises(ValueError, match="leaves the grid"):
            grid.window(row=row, col=col, rows=rows, cols=cols)
        return
    window = grid.window(row=row, col=col, rows=rows, cols=cols)
    oracle = rasterio.transform.xy(rasterio.transform.Affine(*grid.transform), row, col)
    assert np.allclose(window.xy(0.5, 0.5), oracle, rtol=0, atol=1e-6)
    assert (window.height, window.width) == (rows, cols)


@given(
    west=st.floats(-170, 160), south=st.floats(-75, 70), width=st.floats(0.01, 5), height=st.floats(0.01, 5),
    scale=st.floats(10, 5000), crs=st.sampled_from(["EPSG:4326", "SR-ORG:6974", "EPSG:3857", "EPSG:6933"]),
)  # fmt: skip
def test_a_snapped_grid_lies_on_whole_pixels_and_just_covers_the_region(west, south, width, height, scale, crs):
    region = Region.parse([west, south, west + width, south + height])
    if max(width, height) * 112_000 / scale > 30_000:
        return
    grid = snap_scale(region, scale=scale, crs=crs)
    a, _, c, _, e, f = grid.transform
    assert math.isclose(c / a, round(c / a), abs_tol=1e-6)
    assert math.isclose(f / e, round(f / e), abs_tol=1e-6)
    min_x, min_y, max_x, max_y = region.project(parse_crs(crs)).bounds
    left, bottom, right, top = grid.bounds
    slack = 2e-6 * a
    assert left - slack <= min_x < left + a + slack
    assert right - a - slack <= max_x <= right + slack
    assert bottom - slack <= min_y < bottom + a + slack
    assert top - a - slack <= max_y <= top + slack


def test_equal_grids_are_written_as_equal_texts():
    whole = PixelGrid(crs="EPSG:32633", transform=(10, 0, 500_000, 0, -10, 4_000_000), width=1, height=1)
    same = PixelGrid(crs="EPSG:32633", transform=(10.0, 0.0, 5e5, 0.0, -10.0, 4e6), width=1, height=1)
    assert (whole, repr(whole)) == (same, repr(same))


def test_a_degree_pixel_is_that_of_the_services_exports():
    grid = snap_scale(BOX, scale=30, crs="EPSG:4326")
    assert grid.transform[0] == pytest.approx(0.00026949458523585647, abs=0)


def test_a_region_on_pixel_borders_gets_no_pixel_more():
    region = Region.parse([10, 45, 10.5, 45.5])
    grid = snap_transform(region, crs="EPSG:4326", transform=(0.1, 0, 0, 0, -0.1, 0))
    assert (grid.width, grid.height) == (5, 5)


def test_a_crs_in_feet_gets_a_pixel_of_as_many_metres():
    grid = snap_scale(Region.parse([-80, 36, -79.9, 36.1]), scale=30, crs="EPSG:2264")
    assert grid.transform[0] == pytest.approx(30 / 0.3048006096012192)


def test_a_native_grid_is_cut_and_not_snapped_again():
    cut = cut_grid(MODIS, Region.parse([-55.6, -12.1, -55.45, -11.95]))
    a, _, c, _, e, f = cut.transform
    columns, rows = (c - MODIS.transform[2]) / a, (f - MODIS.transform[5]) / e
    assert abs(columns - round(columns)) < 1e-6
    assert abs(rows - round(rows)) < 1e-6
    assert (a, e) == (MODIS.transform[0], MODIS.transform[4])


def test_a_region_beside_the_image_is_refused():
    with pytest.raises(ValueError, match="lies outside"):
        cut_grid(UTM, Region.parse([18, 10, 19, 11]))


def test_dimensions_divide_the_bounding_rectangle():
    grid = fit_dimensions(BOX, crs="EPSG:4326", dimensions=(50, 20))
    assert grid.transform == (pytest.approx(0.002), 0, 10, 0, pytest.approx(-0.005), 45.1)


def test_modis_sinusoidal_is_known_without_proj_knowing_its_authority():
    assert parse_crs("SR-ORG:6974").to_wkt().startswith("PROJCRS")
    x, y = snap_scale(BOX, scale=231.656358, crs="SR-ORG:6974").transform[2::3]
    assert 770_000 < x < 800_000
    assert 5_000_000 < y < 5_020_000


@given(st.builds(
    PixelGrid, crs=st.sampled_from(["EPSG:4326", 'PROJCS["x"]']),
    transform=st.tuples(st.floats(0.1, 9), st.floats(-1, 1), st.floats(-1e7, 1e7), st.floats(-1, 1), st.floats(-9, -1.5), st.floats(-1e7, 1e7)),
    width=st.integers(1, 40000), height=st.integers(1, 40000),
))  # fmt: skip
def test_a_grid_comes_back_from_the_wire_as_it_went(grid):
    assert wire.grid_from_rest(wire.grid_to_rest(grid)) == grid


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"region": BOX, "scale": 0, "crs": "EPSG:4326"}, "scale must be above 0"),
        ({"region": BOX, "scale": -30, "crs": "EPSG:4326"}, "scale must be above 0"),
        ({"region": BOX, "scale": "ten", "crs": "EPSG:4326"}, "scale must be a number"),
        ({"region": BOX, "scale": 30}, "needs a crs"),
        ({"region": BOX, "scale": 30, "crs": "EPSG:99999999"}, "crs must be"),
        ({"scale": 30, "crs": "EPSG:4326"}, "needs a region"),
        ({"region": BOX, "scale": 30, "dimensions": "5x5", "crs": "EPSG:4326"}, "exclude each other"),
        ({"region": BOX, "dimensions": "5", "crs": "EPSG:4326"}, "dimensions must be"),
        ({"region": BOX, "dimensions": [0, 5], "crs": "EPSG:4326"}, "at least 1x1"),
        ({"region": BOX, "crs_transform": [1, 2, 3], "crs": "EPSG:4326"}, "six numbers"),
        ({"grid": UTM, "scale": 30}, "exactly as it is"),
        ({"grid": {"crsCode": "EPSG:4326"}}, "affineTransform and dimensions"),
        ({"grid": "{"}, "not JSON"),
        ({"region": BOX}, "no grid"),
        ({"region": BOX, "crs": "EPSG:4326", "native": UTM}, "crs needs a scale"),
    ],
)
def test_contradicting_or_missing_grid_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        choose_grid(**arguments)


def test_text_of_templates_is_read():
    assert choose_grid(region=BOX, scale="30", crs="EPSG:4326") == snap_scale(BOX, scale=30, crs="EPSG:4326")
    assert choose_grid(region=BOX, dimensions="50x20", crs="EPSG:4326").shape == (20, 50)


def test_a_side_over_the_services_limit_is_refused():
    with pytest.raises(ValueError, match="32768"):
        PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 0), width=32769, height=1).check_sides()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([10, 45, 9, 46], "west must be less than east"),
        ([10, 46, 11, 45], "south must be less than north"),
        ([170, -20, 190, -10], "leaves the world"),
        ([10, 80, 11, 95], "leaves the world"),
        ({"type": "Point", "coordinates": [1, 2]}, "Polygon, MultiPolygon or Feature"),
        ({"type": "FeatureCollection", "features": []}, "empty"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "not a valid polygon"),
        ("1,2,3", "four numbers"),
        ("somewhere", "region must be"),
        ({"type": "MultiPolygon", "coordinates": [
            [[[170, 0], [180, 0], [180, 5], [170, 5], [170, 0]]], [[[-180, 0], [-170, 0], [-170, 5], [-180, 5], [-180, 0]]],
        ]}, "antimeridian"),
        ({"type": "Polygon", "coordinates": [[[170, 0], [-170, 0], [-170, 5], [170, 5], [170, 0]]]}, "antimeridian"),
        (12, "region must be"),
    ],
)  # fmt: skip
def test_a_region_that_cannot_be_meant_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        Region.parse(value)


@pytest.mark.parametrize(
    "value",
    [
        [10, 45, 11, 46],
        "10,45,11,46",
        '{"type":"Feature","properties":{},"geometry":{"type":"Polygon","coordinates":[[[10,45],[11,45],[11,46],[10,46],[10,45]]]}}',
        {"type": "Polygon", "coordinates": [[[10, 45], [11, 45], [11, 46], [10, 46], [10, 45]]]},
    ],
)
def test_all_forms_of_a_region_mean_the_same(value):
    assert Region.parse(value).geometry.equals(Region.parse([10, 45, 11, 46]).geometry)


def test_a_region_far_outside_a_projection_has_no_place_in_it():
    with pytest.raises(ValueError, match="no place in"):
        Region.parse([100, 10, 101, 11]).project(parse_crs("EPSG:32633"))


def test_a_region_at_the_pole_is_too_tall_in_mercator():
    with pytest.raises(ValueError, match="a side must not exceed"):
        snap_scale(Region.parse([0, 80, 1, 90]), scale=100, crs="EPSG:3857").check_sides()
