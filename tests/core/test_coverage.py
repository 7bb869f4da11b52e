"""Coverage is the share of a region's true area, by other means than the code's: geodesics, and points thrown at the ellipsoid."""

import json

import numpy as np
import pyproj
import pytest
import shapely

from airflow_ee.core.coverage import covered_fraction, footprint_of
from airflow_ee.core.imagery import Imagery
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset

GEOD = pyproj.Geod(ellps="WGS84")
ECCENTRICITY_SQUARED = 0.00669437999014


def image(geometry):
    value = json.loads(shapely.to_geojson(geometry)) if isinstance(geometry, shapely.Geometry) else geometry
    return Asset(name="projects/p/assets/a", id="a", type="IMAGE", geometry=value)


def geodesic_area(geometry):
    """With edges so short that geodesics and lines in degrees are the same."""
    return abs(GEOD.geometry_area_perimeter(shapely.segmentize(geometry, 0.01))[0])


def thrown(region, footprints, rng, count=200_000):
    """The share of points inside the region, weighted by the ground that each stands for, that a footprint holds."""
    west, south, east, north = region.bounds
    x, y = rng.uniform(west, east, count), rng.uniform(south, north, count)
    sine = np.sin(np.radians(y))
    weight = np.cos(np.radians(y)) / (1 - ECCENTRICITY_SQUARED * sine**2) ** 2
    inside = shapely.contains_xy(region, x, y)
    held = np.zeros(count, bool)
    for footprint in footprints:
        held |= shapely.contains_xy(footprint, x, y)
    return weight[inside & held].sum() / weight[inside].sum()


def random_polygon(rng, middle, radius):
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    reach = rng.uniform(0.3, 1, 9) * radius
    points = np.column_stack([middle[0] + reach * np.cos(angles), middle[1] + reach * np.sin(angles)])
    return shapely.make_valid(shapely.Polygon(points)).buffer(0)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_share_of_the_true_area(seed):
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-150, 150), rng.uniform(-75, 75)
    shape = random_polygon(rng, middle, 5)
    footprints = [
        random_polygon(rng, (middle[0] + dx, middle[1] + dy), 4)
        for dx, dy in rng.uniform(-5, 5, (int(rng.integers(1, 6)), 2))
    ]
    fraction = covered_fraction(Region(shape), map(image, footprints))
    exact = geodesic_area(shape.intersection(shapely.union_all(footprints))) / geodesic_area(shape)
    assert fraction == pytest.approx(exact, abs=1e-6)
    assert fraction == pytest.approx(thrown(shape, footprints, rng), abs=0.01)


def test_half_of_a_tall_box_in_degrees_is_not_half_of_its_area():
    region = Region.parse([10, 0, 11, 80])
    southern = covered_fraction(region, [image(shapely.box(9, -1, 12, 40))])
    assert southern == pytest.approx(np.sin(np.radians(40)) / np.sin(np.radians(80)), abs=0.002)
    assert southern > 0.65


def test_overlaps_count_once_and_what_lies_outside_does_not():
    region = Region.parse([10, 45, 12, 46])
    west = image(shapely.box(0, 40, 11, 50))
    assert covered_fraction(region, [west, west, image(shapely.box(0, 0, 5, 5))]) == 0.5
    assert covered_fraction(region, []) == 0
    assert covered_fraction(region, [west, image(shapely.box(11, 40, 13, 50))]) == 1


@pytest.mark.parametrize(
    ("region", "footprint"),
    [
        ([179, 0, 180, 1], [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]),
        ([-180, 0, -179, 1], [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]),
        ([-180, 0, -179, 1], [[179, 0], [181, 0], [181, 1], [179, 1], [179, 0]]),
        ([10, 0, 11, 1], [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]),
        ([10, 0, 11, 1], [["-Infinity", "-Infinity"], ["Infinity", "-Infinity"], ["Infinity", "Infinity"], ["-Infinity", "-Infinity"]]),
    ],
)  # fmt: skip
def test_footprints_over_the_antimeridian_and_of_the_whole_world_are_read(region, footprint):
    assert covered_fraction(Region.parse(region), [image({"type": "Polygon", "coordinates": [footprint]})]) == 1
    assert covered_fraction(Region.parse(region), [image({"type": "LinearRing", "coordinates": footprint})]) == 1
    assert covered_fraction(
        Region.parse([100, 50, 101, 51]), [image({"type": "Polygon", "coordinates": [footprint]})]
    ) in {0, 1}


@pytest.mark.parametrize(
    "geometry",
    [None, {}, {"type": "Point", "coordinates": [1, 2]}, {"type": "Polygon"}, {"type": "Polygon", "coordinates": [[["x", 1]]]}],
)  # fmt: skip
def test_an_image_without_a_footprint_that_can_be_read_covers_nothing(geometry):
    assert footprint_of(image(geometry)) is None
    assert covered_fraction(Region.parse([10, 0, 11, 1]), [image(geometry)]) == 0


def test_a_scene_with_a_hole_leaves_the_hole_out():
    scene = shapely.Polygon(shapely.box(9, -1, 12, 2).exterior, [shapely.box(10, 0, 11, 0.5).exterior.coords])
    assert covered_fraction(Region.parse([10, 0, 11, 1]), [image(scene)]) == pytest.approx(0.5, abs=1e-4)
    both = {
        "type": "GeometryCollection",
        "geometries": [image(scene).geometry, image(shapely.box(10, 0, 11, 0.5)).geometry],
    }
    assert covered_fraction(Region.parse([10, 0, 11, 1]), [image(both)]) == 1


def test_enough_is_enough_images_and_enough_coverage():
    found = Imagery((image(None),) * 2, coverage=0.8)
    assert found.suffices(min_images=2, min_coverage=0.8)
    assert not found.suffices(min_images=3, min_coverage=None)
    assert not found.suffices(min_images=1, min_coverage=0.81)
    assert not Imagery((image(None),)).suffices(min_images=1, min_coverage=0.1)
