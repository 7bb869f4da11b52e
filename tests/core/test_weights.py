"""Pixels are weighed by how much of them lies in the region; numpy and exact geometry agree."""

import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.core.grid import PixelGrid, cut_grid, parse_crs, snap_scale
from airflow_ee.core.region import Region
from airflow_ee.core.weights import make_zone, pixel_weights

polygons = (
    st.lists(st.tuples(st.floats(10.0, 10.2), st.floats(45.0, 45.2)), min_size=3, max_size=7)
    .map(lambda points: shapely.MultiPoint(points).convex_hull)
    .filter(lambda polygon: polygon.geom_type == "Polygon" and polygon.area > 1e-4)
)


@given(
    polygon=polygons,
    crs=st.sampled_from(["EPSG:4326", "SR-ORG:6974", "EPSG:32632"]),
    scale=st.sampled_from([300, 700, 2500]),
)
@settings(max_examples=25, deadline=None)
def test_coverage_is_the_exact_intersection_of_each_pixel_with_the_polygon(polygon, crs, scale):
    region = Region(polygon)
    grid = snap_scale(region, scale=scale, crs=crs)
    weights = pixel_weights(grid, region, "coverage")
    projected = region.project(parse_crs(crs))
    a, _, c, _, e, f = grid.transform
    cols, rows = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    boxes = shapely.box(c + a * cols, f + e * (rows + 1), c + a * (cols + 1), f + e * rows)
    oracle = shapely.area(shapely.intersection(boxes, projected)) / abs(a * e)
    # Less than a millionth of a pixel does not count.
    assert np.allclose(weights, oracle, rtol=0, atol=1e-6)
    assert not ((weights > 0) & (oracle < 0.9e-6)).any()
    assert math.isclose(weights.sum() * abs(a * e), projected.area, rel_tol=1e-5)


lattice_polygons = (
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=8)
    .map(lambda points: shapely.Polygon(points))
    .filter(lambda polygon: polygon.is_valid and polygon.area > 0)
)
holes = st.tuples(st.integers(1, 38), st.integers(1, 38), st.integers(1, 9), st.integers(1, 9))


@given(polygon=lattice_polygons, hole=holes)
@settings(max_examples=150, deadline=None)
def test_concave_polygons_with_holes_and_corners_on_the_lattice_are_covered_exactly(polygon, hole):
    col, row, width, height = hole
    shape = polygon.difference(shapely.box(col, row, col + width, row + height))
    if shape.is_empty:
        return
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 40), width=40, height=40)
    weights = pixel_weights(grid, Region(shape), "coverage")
    cols, rows = np.meshgrid(np.arange(40), np.arange(40))
    oracle = shapely.area(shapely.intersection(shapely.box(cols, 39 - rows, cols + 1, 40 - rows), shape))
    assert np.allclose(weights, oracle, rtol=0, atol=1e-9)


def test_a_known_concave_polygon_has_its_own_area():
    shape = shapely.Polygon([(32, 27), (26, 25), (16, 30), (20, 20), (26, 6)])
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 40), width=40, height=40)
    assert pixel_weights(grid, Region(shape)).sum() == pytest.approx(154.0)


@pytest.mark.parametrize("weights", ["coverage", "center", "area"])
def test_a_region_that_leaves_the_grid_is_refused(weights):
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=3)
    with pytest.raises(ValueError, match=r"50\.00% of it lies outside the grid"):
        pixel_weights(grid, Region.parse([1, 1, 5, 2]), weights)


def test_a_region_without_any_pixel_centre_is_refused_where_centres_count():
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=3)
    tiny = Region.parse([0.1, 0.1, 0.2, 0.2])
    with pytest.raises(ValueError, match="smaller than a pixel"):
        pixel_weights(grid, tiny, "center")
    assert pixel_weights(grid, tiny).sum() == pytest.approx(0.01)


def test_a_degree_box_fills_a_third_of_its_rectangle_in_the_sinusoidal_grid():
    region = Region.parse([-121, 45, -120, 46])
    grid = snap_scale(region, scale=1000, crs="SR-ORG:6974")
    share = pixel_weights(grid, region).mean()
    assert 0.3 < share < 0.4


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_true_areas_add_up_to_the_geodesic_area_of_the_region(crs):
    region = Region.parse([10, 45, 10.5, 45.4])
    grid = snap_scale(region, scale=400, crs=crs)
    # The oracle's edges are geodesics; cut small they follow the parallels.
    oracle = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(region.project(parse_crs("EPSG:4326")))[0])
    # PROJ's areal scale of Web Mercator is itself right to a few parts in 100,000.
    assert pixel_weights(grid, region, "area").sum() == pytest.approx(oracle, rel=1e-4 if crs == "EPSG:3857" else 2e-6)


def test_a_pixel_counts_by_its_centre_when_asked():
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=3)
    weights = pixel_weights(grid, Region.parse([0.6, 0.6, 2.6, 2.4]), "center")
    assert weights.tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_without_a_region_every_pixel_counts_as_one():
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=2)
    assert pixel_weights(grid, None).tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("weights", ["coverage", "center", "area"])
def test_a_zone_on_a_large_grid_has_the_weights_of_its_own_small_one(weights):
    region = Region.parse([10.1, 45.1, 10.15, 45.14])
    large = snap_scale(Region.parse([10, 45, 10.4, 45.3]), scale=100, crs="EPSG:32632")
    zone = make_zone(large, region, weights)
    small = snap_scale(region, scale=100, crs="EPSG:32632")
    rows, cols = np.divmod(zone.positions, large.width)
    xs, ys = large.xy(cols, rows)
    assert np.all(np.diff(zone.positions) > 0), "row by row"
    dense = pixel_weights(small, region, weights)
    a, _, c, _, e, f = small.transform
    assert np.allclose(dense[((ys - f) / e).astype(int), ((xs - c) / a).astype(int)], zone.weights, rtol=1e-9)
    assert zone.weights.sum() == pytest.approx(dense.sum(), rel=1e-9)


def test_a_zone_without_any_pixel_centre_is_empty():
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=3)
    assert make_zone(grid, Region.parse([0.1, 0.1, 0.2, 0.2]), "center").positions.size == 0


def test_edges_on_pixel_borders_take_in_no_neighbour():
    """Whole multiples of 1/480 degree are borders of MODIS's rows: rounding must not make a sliver a pixel."""
    lattice = PixelGrid(
        crs="SR-ORG:6974", transform=(231.65635826395825, 0, -20015109.354, 0, -231.65635826395834, 10007554.677003),
        width=172800, height=86400,
    )  # fmt: skip
    region = Region.parse([-55.4, -12.0, -55.39, -12 + 2 / 480])
    for around in (region, Region.parse([-55.6, -12.1, -55.1, -11.7]), Region.parse([-56.3, -12.7, -55.2, -11.1])):
        zone = make_zone(grid := cut_grid(lattice, around), region)
        rows = zone.positions // grid.width
        assert np.unique(rows).size == 2
        assert zone.weights.min() > 1e-3


def test_a_region_far_smaller_than_a_pixel_still_has_one():
    grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 3), width=3, height=3)
    zone = make_zone(grid, Region.parse([1.5, 1.5, 1.50001, 1.50001]))
    assert zone.weights.sum() == pytest.approx(1e-10, rel=1e-3)
