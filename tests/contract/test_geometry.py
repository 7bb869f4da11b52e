"""Geometries: how they are made and shown, what they measure, how they meet."""

import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.values import measures
from airflow_ee.emulator.values.geometry import Geometry

GEOD = pyproj.Geod(ellps="WGS84")
SQUARE = [[2, 1], [5, 1], [5, 4], [2, 4]]
CLOSED = [[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]
ARROW = [[8.1, 47.2], [8.3, 47.1], [8.2, 47.4], [8.2, 47.25]]


def straight(coordinates):
    return {"type": "Polygon", "coordinates": [coordinates], "geodesic": False}


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda ee: ee.Geometry.Point([3, 4.5]), {"type": "Point", "coordinates": [3, 4.5]}),
        (
            lambda ee: ee.Geometry.Point([100, 200], "EPSG:32632"),
            {
                "type": "Point",
                "coordinates": [100, 200],
                "crs": {"type": "name", "properties": {"name": "EPSG:32632"}},
            },
        ),
        (lambda ee: ee.Geometry.MultiPoint([1, 2, 3, 4]), {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}),
        (lambda ee: ee.Geometry.LineString([1, 2, 3, 4]), {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        (
            lambda ee: ee.Geometry.LineString([ee.Geometry.Point(1, 2), ee.Geometry.Point(3, 4)]),
            {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
        ),
        (lambda ee: ee.Geometry.LinearRing(SQUARE), {"type": "LinearRing", "coordinates": CLOSED}),
        (
            lambda ee: ee.Geometry.MultiLineString([[[0, 0], [1, 1]]]),
            {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]]]},
        ),
        (lambda ee: ee.Geometry.Polygon([SQUARE]), {"type": "Polygon", "coordinates": [CLOSED]}),
        (lambda ee: ee.Geometry.Polygon([2, 1, 5, 1, 5, 4, 2, 4]), {"type": "Polygon", "coordinates": [CLOSED]}),
        (
            lambda ee: ee.Geometry.Polygon([ee.Geometry.LinearRing(SQUARE)]),
            {"type": "Polygon", "coordinates": [CLOSED]},
        ),
        (lambda ee: ee.Geometry.Polygon([SQUARE], None, False), straight(CLOSED)),
        # Overlapping parts, and parts without an inside, stay as they were given.
        (
            lambda ee: ee.Geometry.MultiPolygon([[[[0, 0], [4, 4], [8, 8]]], [[[0, 0], [2, 0], [0, 2]]]]),
            {
                "type": "MultiPolygon",
                "coordinates": [[[[0, 0], [4, 4], [8, 8], [0, 0]]], [[[0, 0], [2, 0], [0, 2], [0, 0]]]],
            },
        ),
        (lambda ee: ee.Algorithms.GeometryConstructors.BBox(2, 1, 5, 4), straight(CLOSED)),
        (
            lambda ee: ee.Algorithms.GeometryConstructors.BBox(-200, -100, 200, 100),
            straight([[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]),
        ),
        (
            lambda ee: ee.Geometry.Rectangle(ee.List([2, 1, 5, 4]), None, False),
            straight(CLOSED),
        ),
        (
            lambda ee: ee.Algorithms.GeometryConstructors.MultiGeometry([ee.Geometry.Point(1, 2)]),
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
        ),
        (lambda ee: ee.Geometry.Polygon([SQUARE]).type(), "Polygon"),
        (lambda ee: ee.Geometry.LinearRing(SQUARE).type(), "LinearRing"),
        (lambda ee: ee.Geometry.Polygon([SQUARE]).coordinates(), [CLOSED]),
        (lambda ee: ee.Geometry.Polygon([SQUARE]).geodesic(), True),
        (lambda ee: ee.Geometry.BBox(2, 1, 5, 4).geodesic(), False),
        (lambda ee: ee.Geometry.BBox(2, 1, 5, 4).edgesAreGeodesics(), False),
        (lambda ee: ee.Geometry.Polygon([SQUARE], "EPSG:32632").geodesic(), False),
        (lambda ee: ee.Geometry.BBox(2, 1, 5, 4).isUnbounded(), False),
        (lambda ee: ee.Image(1).geometry().isUnbounded(), True),
        (
            lambda ee: ee.Geometry.Point([1, 2], "EPSG:3857").projection(),
            {"type": "Projection", "crs": "EPSG:3857", "transform": [1, 0, 0, 0, 1, 0]},
        ),
        (
            lambda ee: ee.Geometry.MultiPoint([[1, 2], [3, 4]]).geometries(),
            [{"type": "Point", "coordinates": [1, 2]}, {"type": "Point", "coordinates": [3, 4]}],
        ),
        (lambda ee: ee.Geometry.Point(1, 2).geometries(), [{"type": "Point", "coordinates": [1, 2]}]),
    ],
)
def test_constructors_keep_vertices(evaluate, make, shown):
    assert evaluate(make) == shown


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ee: ee.Geometry.Polygon(ee.List([[[0, 0], [1, 1]]])), "Invalid coordinates"),
        (lambda ee: ee.Geometry.BBox(0, ee.Number(3), 1, 2), "south must be at most north"),
        (lambda ee: ee.Geometry.Point([0, 0]).distance(ee.Geometry.Point([1, 1]), None, None, True), "spherical"),
        (lambda ee: ee.Image(1).geometry().area(), "unbounded"),
        (
            lambda ee: ee.Geometry.BBox(0, 0, 9, 9).intersection(ee.Geometry.Polygon([SQUARE])),
            "Please specify a non-zero error margin",
        ),
        (lambda ee: ee.Geometry.BBox(0, 0, 1, 1).simplify(0), "greater than zero"),
        (
            lambda ee: ee.Geometry.BBox(0, 0, 1, 1).area(1, ee.Projection("EPSG:32631").atScale(10)),
            "transform of its own",
        ),
        (lambda ee: ee.Geometry.Point(0, 89.9).buffer(50000), "around a pole are not emulated"),
    ],
)
def test_what_is_not_known_is_refused(refusal, make, words):
    assert words in refusal(make)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda ee: ee.Geometry.Polygon([ARROW]).area(1), abs(GEOD.polygon_area_perimeter(*np.transpose(ARROW))[0])),
        (lambda ee: ee.Geometry.Polygon([ARROW]).perimeter(1), GEOD.polygon_area_perimeter(*np.transpose(ARROW))[1]),
        (lambda ee: ee.Geometry.Polygon([ARROW]).length(), 0),
        (lambda ee: ee.Geometry.LineString(ARROW).length(), GEOD.line_length(*np.transpose(ARROW))),
        (lambda ee: ee.Geometry.LineString(ARROW).perimeter(), 0),
        (lambda ee: ee.Geometry.LineString(ARROW).area(), 0),
        (lambda ee: ee.Geometry.Point(1, 2).area(), 0),
        (lambda ee: ee.Geometry.BBox(-180, -90, 180, 90).area(1), 510065621724088.4),
        (lambda ee: ee.Geometry.Point(1, 2).distance(ee.Geometry.Point(3, 4)), GEOD.inv(1, 2, 3, 4)[2]),
        (lambda ee: ee.Geometry.BBox(0, 0, 1, 1).distance(ee.Geometry.Point(0.5, 3), 1), GEOD.inv(0.5, 1, 0.5, 3)[2]),
        (lambda ee: ee.Geometry.BBox(0, 0, 1, 1).distance(ee.Geometry.Point(0.5, 0.5), 1), 0),
        (lambda ee: ee.Geometry.Polygon([SQUARE], "EPSG:32632", False).area(1, "EPSG:32632"), 9),
        (lambda ee: ee.Geometry.Polygon([SQUARE], "EPSG:32632", False).perimeter(1, "EPSG:32632"), 12),
        # Parts that overlap count each.
        (
            lambda ee: ee.Geometry.MultiPolygon([[ARROW], [ARROW]]).area(1),
            2 * abs(GEOD.polygon_area_perimeter(*np.transpose(ARROW))[0]),
        ),
    ],
)
def test_measures_are_those_of_the_ellipsoid(evaluate, make, expected):
    assert evaluate(make) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # A great circle bulges towards the pole.
        (
            lambda ee: ee.Geometry.LineString([[-30, 50], [30, 50]]).bounds().coordinates().get(0),
            [
                [-30, 50],
                [30, 50],
                [30, summit := math.degrees(math.atan(math.tan(math.radians(50)) / math.cos(math.radians(30))))],
                [-30, summit],
                [-30, 50],
            ],
        ),
        (
            lambda ee: ee.Geometry.BBox(-30, 50, 30, 60).bounds().coordinates().get(0),
            [[-30, 50], [30, 50], [30, 60], [-30, 60], [-30, 50]],
        ),
        (lambda ee: ee.Geometry.LineString([[-10, 0], [30, 0]]).centroid().coordinates(), [10, 0]),
        (lambda ee: ee.Geometry.MultiPoint([[0, 10], [0, 20]]).centroid().coordinates(), [0, 15]),
        (lambda ee: ee.Geometry.BBox(-7, -8, 7, 8).centroid(1).coordinates(), [0, 0]),
        (lambda ee: ee.Geometry.MultiPoint([[0, 0], [2, 0], [1, 0]]).convexHull().coordinates(), [[0, 0], [2, 0]]),
        (lambda ee: ee.Geometry.Point(5, 6).convexHull().coordinates(), [5, 6]),
        (lambda ee: ee.Geometry.Point(9, 0).transform("EPSG:32632", 1).coordinates(), [500000, 0]),
        (lambda ee: ee.Geometry.Polygon([SQUARE]).cutLines([10]).coordinates(), []),
        (
            lambda ee: ee.Geometry.LineString([[0, 0], [0, 1]]).cutLines([55287, 9e9]).coordinates(),
            [[[0, 0], [0, 0.5]], [[0, 0.5], [0, 1]]],
        ),
        (lambda ee: ee.Geometry.LineString([[0, 0], [1, 0], [2, 0]]).simplify(10).coordinates(), [[0, 0], [2, 0]]),
        (
            lambda ee: ee.Geometry(
                ee.Geometry.Point(0, 3).closestPoint(ee.Geometry.LineString([[1, -5], [1, 5]]), 1)
            ).coordinates(),
            [1, 3.000456],
        ),
        (
            lambda ee: ee.Dictionary(ee.Geometry.Point(0, 3).closestPoints(ee.Geometry.Point(1, 4))).keys(),
            ["left", "right"],
        ),
    ],
)
def test_places_are_those_of_the_sphere(evaluate, make, expected):
    found = evaluate(make)
    if expected and isinstance(expected[0], str):
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("left", "right", "meet", "contain"),
    [
        ([0, 0, 4, 4], [1, 1, 2, 2], True, True),
        ([0, 0, 4, 4], [3, 3, 6, 6], True, False),
        ([0, 0, 4, 4], [4, 0, 6, 4], True, False),
        ([0, 0, 4, 4], [7, 7, 9, 9], False, False),
        ([0, 0, 4, 4], [0, 0, 4, 4], True, True),
    ],
)
def test_relations(evaluate, left, right, meet, contain):
    def answers(ee):
        one, other = ee.Geometry.BBox(*left), ee.Geometry.BBox(*right)
        return ee.List(
            [one.intersects(other, 1), one.disjoint(other, 1), one.contains(other, 1), other.containedIn(one, 1)]
        )

    assert evaluate(answers) == [meet, not meet, contain, contain]


def test_the_left_of_a_clockwise_ring_is_outside(evaluate):
    ring = [[[-20, -5], [-20, 5], [20, 5], [20, -5], [-20, -5]]]
    assert not evaluate(lambda ee: ee.Geometry.Polygon(coords=ring, evenOdd=False).contains(ee.Geometry.Point(1, 1)))
    assert evaluate(lambda ee: ee.Geometry.Polygon(coords=ring, evenOdd=False).contains(ee.Geometry.Point(60, 1)))
    assert evaluate(lambda ee: ee.Geometry.Polygon(coords=ring, evenOdd=True).contains(ee.Geometry.Point(1, 1)))


def test_boxes_combine_in_their_own_plane(evaluate):
    found = evaluate(lambda ee: ee.Geometry.BBox(0, 0, 4, 4).intersection(ee.Geometry.BBox(2, 3, 9, 9)))
    assert found["geodesic"] is False
    assert shapely.geometry.shape(found).equals(shapely.box(2, 3, 4, 4))
    assert (
        evaluate(lambda ee: ee.Geometry.BBox(0, 0, 4, 4).intersection(ee.Geometry.BBox(5, 5, 6, 6)).coordinates()) == []
    )


def test_great_circles_meet_on_both_of_them(evaluate):
    """The two medians of a spherical quadrilateral: the cross product of their planes is the place."""
    found = evaluate(
        lambda ee: ee.Geometry.LineString([[-30, 40], [30, 40]]).intersection(
            ee.Geometry.LineString([[10, 0], [10, 80]]), 1
        )
    )
    longitude, latitude = found["coordinates"]
    assert longitude == pytest.approx(10, abs=1e-9)
    assert math.tan(math.radians(latitude)) == pytest.approx(
        math.tan(math.radians(40)) * math.cos(math.radians(10)) / math.cos(math.radians(30)), rel=1e-12
    )


@pytest.mark.parametrize(("error", "corners"), [(None, 32), (20, 7), (2, 23)])
def test_a_disc_has_as_many_corners_as_its_error_allows(evaluate, error, corners):
    ring = evaluate(lambda ee: ee.Geometry.Point(12, 34).buffer(100, error).coordinates().get(0))
    assert len(ring) == corners + 1
    assert ring[0] == ring[-1]
    # The first corner is due north, and all are on the circle of the sphere that the service takes for distances.
    assert ring[0][0] == pytest.approx(12, abs=1e-12)
    assert ring[0][1] == pytest.approx(34 + math.degrees(100 / 6371010), abs=1e-11)
    sphere = pyproj.Geod(a=6371010, b=6371010)
    assert [sphere.inv(12, 34, *corner)[2] for corner in ring] == pytest.approx([100] * len(ring), abs=1e-4)


def test_a_line_grows_on_both_sides(evaluate):
    length = evaluate(lambda ee: ee.Geometry.LineString([[8, 47], [8.1, 47.1]]).length())
    grown = evaluate(lambda ee: ee.Geometry.LineString([[8, 47], [8.1, 47.1]]).buffer(500).area(1))
    assert grown == pytest.approx(length * 1000 + math.pi * 500**2, rel=5e-3)
    shrunk = evaluate(lambda ee: ee.Geometry.BBox(8, 47, 8.1, 47.1).buffer(-500, 1).area(1))
    assert shrunk < evaluate(lambda ee: ee.Geometry.BBox(8, 47, 8.1, 47.1).area(1))
    assert evaluate(lambda ee: ee.Geometry.BBox(8, 47, 8.1, 47.1).buffer(-9000).type()) == "GeometryCollection"


def test_a_covering_grid_of_nothing_has_no_cell(ee, evaluate):
    nothing = {"functionInvocationValue": {
        "functionName": "GeometryConstructors.Polygon", "arguments": {"coordinates": {"constantValue": []}},
    }}  # fmt: skip
    projection = {
        "functionInvocationValue": {"functionName": "Projection", "arguments": {"crs": {"constantValue": "EPSG:4326"}}}
    }
    arguments = {"geometry": nothing, "proj": projection, "scale": {"constantValue": 1000}}
    grid = {"functionInvocationValue": {"functionName": "Geometry.coveringGrid", "arguments": arguments}}
    assert evaluate({"result": "0", "values": {"0": grid}})["features"] == []


def test_a_covering_grid_is_aligned_to_its_lattice(evaluate):
    cells = evaluate(
        lambda ee: ee.Geometry.BBox(9.0, 46.0, 9.3, 46.1).coveringGrid(ee.Projection("EPSG:32632"), 10000)
    )["features"]
    for cell in cells:
        col, row = map(int, cell["id"].split(","))
        assert cell["geometry"]["coordinates"][0][0] == [col * 10000, row * 10000]
    assert {cell["id"] for cell in cells} == {f"{col},{row}" for col in (50, 51, 52) for row in (509, 510)}


small = st.floats(0.01, 3)
places = st.tuples(st.floats(-170, 165), st.floats(-75, 70))


@st.composite
def geodesic_boxes(draw, origin):
    west, south = origin[0] + draw(small), origin[1] + draw(small)
    return Geometry(shapely.box(west, south, west + draw(small), south + draw(small)), geodesic=True)


def combined(name, left, right):
    return registry.call(f"Geometry.{name}", {"left": left, "right": right})


@given(st.data(), places)
def test_what_two_areas_share_counts_once(data, origin):
    left, right = data.draw(geodesic_boxes(origin)), data.draw(geodesic_boxes(origin))
    union, shared = combined("union", left, right), combined("intersection", left, right)
    either = combined("symmetricDifference", left, right)
    total = measures.area(left) + measures.area(right)
    assert measures.area(union) + measures.area(shared) == pytest.approx(total, rel=1e-8, abs=1)
    assert measures.area(union) - measures.area(shared) == pytest.approx(measures.area(either), rel=1e-7, abs=1)


@given(st.floats(7, 11), st.floats(-80, 80))
def test_transforms_come_back(longitude, latitude):
    there = registry.call(
        "Geometry.transform", {"geometry": Geometry(shapely.Point(longitude, latitude)), "proj": "EPSG:32632"}
    )
    back = registry.call("Geometry.transform", {"geometry": there})
    assert shapely.get_coordinates(back.shape)[0] == pytest.approx([longitude, latitude], abs=1e-8)


@given(st.tuples(st.floats(-179, 179), st.floats(-89, 89)), st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_small_area_is_nearly_that_of_geographiclib(corner, width, height):
    west, south = corner
    shape = shapely.box(west, south, west + width, min(89.9, south + height))
    expected = abs(GEOD.geometry_area_perimeter(shape)[0])
    # Great circles of the sphere and geodesics of the ellipsoid differ by the flattening of an edge's own bend.
    assert measures.area(Geometry(shape, geodesic=True)) == pytest.approx(expected, rel=2e-4)


def test_coordinates_in_a_projection_with_a_transform_count_its_pixels(evaluate):
    lattice = lambda ee: ee.Projection("EPSG:32631", [10, 0, 500000, 0, -20, 5000000])  # noqa: E731
    corners = [[500000, 4999960], [500030, 4999960], [500030, 5000000], [500000, 5000000]]
    found = evaluate(lambda ee: ee.Geometry.Rectangle([0, 0, 3, 2], lattice(ee), False))
    assert found["crs"]["properties"]["name"] == "EPSG:32631"
    assert sorted(map(tuple, found["coordinates"][0][:4])) == sorted(map(tuple, corners))
    assert evaluate(lambda ee: ee.Geometry.Point([5, 5], lattice(ee)))["coordinates"] == [500050, 4999900]
