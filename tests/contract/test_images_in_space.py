"""Image functions that look around a pixel or know where it is: cases on images whose values are the numbers of columns and rows."""

import math

import numpy as np
import pyproj
import pytest

CRS = "EPSG:32632"
LEFT, TOP, SIDE = 600_000, 5_100_000, 10
TRANSFORM = [SIDE, 0, LEFT, 0, -SIDE, TOP]


def columns(ee):
    """An image whose pixels are their column's number."""
    place = ee.Image.pixelCoordinates(ee.Projection(CRS, TRANSFORM)).select("x")
    return place.floor().toInt().rename("value")


def rows(ee):
    place = ee.Image.pixelCoordinates(ee.Projection(CRS, TRANSFORM)).select("y")
    return place.floor().toInt().rename("value")


def at(ee, image, col=3, row=5):
    """The bands of a pixel."""
    point = ee.Geometry.Point([LEFT + SIDE * (col + 0.5), TOP - SIDE * (row + 0.5)], CRS)
    return image.reduceRegion(ee.Reducer.first(), point, crs=CRS, crsTransform=TRANSFORM).getInfo()


def value(ee, image, col=3, row=5):
    (only,) = at(ee, image, col, row).values()
    return only


def spot(ee):
    """1 at column 3 and row 5, 0 elsewhere."""
    return columns(ee).eq(3).And(rows(ee).eq(5))


def square(ee, col, row, width, height):
    left, top = LEFT + SIDE * col, TOP - SIDE * row
    return ee.Geometry.Rectangle([left, top - SIDE * height, left + SIDE * width, top], CRS, False)


def test_columns_and_rows_are_what_they_are_called(ee):
    assert (value(ee, columns(ee)), value(ee, rows(ee))) == (3, 5)


def test_coordinates_of_a_projection_are_in_its_pixels(ee):
    found = at(ee, ee.Image.pixelCoordinates(ee.Projection(CRS, TRANSFORM)))
    assert found == {"x": pytest.approx(3.5), "y": pytest.approx(5.5)}


def test_the_area_of_a_pixel_is_that_of_its_outline_on_the_ellipsoid(ee):
    to_degrees = pyproj.Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    xs = LEFT + SIDE * np.array([3, 4, 4, 3])
    ys = TOP - SIDE * np.array([5, 5, 6, 6])
    area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*to_degrees.transform(xs, ys))
    assert value(ee, ee.Image.pixelArea()) == pytest.approx(abs(area), rel=1e-3)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (lambda ee: ee.Kernel.square(1), 1 / 9),
        (lambda ee: ee.Kernel.rectangle(2, 1, "pixels", False), 1.0),
        (lambda ee: ee.Kernel.rectangle(2, 1), 1 / 15),
        (lambda ee: ee.Kernel.fixed(3, 1, [[1, 2, 4]]), 2.0),
    ],
)
def test_a_kernel_sums_its_weights_times_the_pixels(ee, kernel, expected):
    assert value(ee, spot(ee).convolve(kernel(ee))) == pytest.approx(expected)


def test_weights_lie_over_the_pixels_as_they_are_written(ee):
    weights = ee.Kernel.fixed(3, 1, [[1, 2, 4]])
    assert [value(ee, spot(ee).convolve(weights), col=col) for col in (2, 4)] == [4, 1]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("focalMax", 4), ("focalMin", 2), ("focalMean", 3), ("focalMedian", 3), ("focal_max", 4), ("focal_min", 2), ("focal_mean", 3), ("focal_median", 3)],
)  # fmt: skip
def test_focal_functions_reduce_a_neighbourhood(ee, function, expected):
    assert value(ee, getattr(columns(ee), function)(1, "square", "pixels")) == pytest.approx(expected)


@pytest.mark.parametrize("function", ["focalMode", "focal_mode"])
def test_the_most_frequent_of_a_neighbourhood(ee, function):
    assert value(ee, getattr(columns(ee).gte(4), function)(1, "square", "pixels")) == 0
    assert value(ee, getattr(columns(ee).gte(3), function)(1, "square", "pixels")) == 1


def test_a_neighbourhood_is_reduced_by_any_reducer(ee):
    found = at(ee, columns(ee).reduceNeighborhood(ee.Reducer.minMax(), ee.Kernel.square(2)))
    assert found == {"value_min": 1, "value_max": 5}


def test_a_slope_of_one_a_column_is_a_tenth_a_metre(ee):
    assert at(ee, columns(ee).gradient()) == {"x": pytest.approx(0.1), "y": pytest.approx(0)}


def test_entropy_of_two_values_in_equal_parts_is_one_bit(ee):
    halves = columns(ee).mod(2)
    weights = ee.Kernel.fixed(2, 1, [[1, 1]])
    assert value(ee, halves.toByte().entropy(weights)) == pytest.approx(1)


def test_a_distance_to_what_is_not_zero(ee):
    assert value(ee, spot(ee).distance(ee.Kernel.euclidean(60, "meters")), col=6, row=9) == pytest.approx(50, rel=1e-3)
    assert value(ee, spot(ee).distance(ee.Kernel.euclidean(20, "meters")), col=6, row=9) is None


def test_connected_pixels_of_one_value_are_counted(ee):
    pairs = columns(ee).divide(2).floor().toInt().add(rows(ee).multiply(1000))
    assert value(ee, pairs.connectedPixelCount(8, False)) == 2
    assert value(ee, pairs.multiply(0).connectedPixelCount(8, False)) == 8


def test_paint_fills_shapes_and_draws_their_edges(ee):
    shapes = ee.FeatureCollection([ee.Feature(square(ee, 2, 4, 3, 3), {"number": 7})])
    filled = ee.Image(0).toByte().paint(shapes, "number")
    assert [value(ee, filled, col, row) for col, row in ((3, 5), (1, 5), (3, 8))] == [7, 0, 0]


def test_clipping_masks_what_lies_outside(ee):
    shapes = ee.FeatureCollection([square(ee, 2, 4, 2, 2), square(ee, 8, 4, 2, 2)])
    clipped = columns(ee).clipToCollection(shapes)
    assert [value(ee, clipped, col) for col in (3, 5, 9)] == [3, None, 9]
    within = columns(ee).clipToBoundsAndScale(square(ee, 2, 4, 2, 2), scale=10)
    assert value(ee, within, col=3) == 3


def test_resampling_takes_what_lies_between(ee):
    coarse = ee.Image.pixelCoordinates(ee.Projection(CRS, [20, 0, LEFT, 0, -20, TOP])).select("x").floor()
    fixed = coarse.reproject(ee.Projection(CRS, [20, 0, LEFT, 0, -20, TOP]))
    assert value(ee, fixed) == 1
    assert value(ee, fixed.resample("bilinear")) == pytest.approx(1.25)


def test_coarser_pixels_are_reduced_from_finer_ones(ee):
    fine = columns(ee).toFloat().setDefaultProjection(ee.Projection(CRS, TRANSFORM))
    mean = fine.reduceResolution(ee.Reducer.mean()).reproject(ee.Projection(CRS, [40, 0, LEFT, 0, -40, TOP]))
    assert value(ee, mean) == pytest.approx(1.5)
    assert fine.projection().getInfo()["transform"] == TRANSFORM


def test_a_polynomial_of_a_pixel(ee):
    assert value(ee, columns(ee).polynomial([1, -2, 0.5])) == pytest.approx(1 - 2 * 3 + 0.5 * 9)


def test_chance_is_the_same_for_a_seed_and_within_its_ends(ee):
    one, again, other = (value(ee, ee.Image.random(seed)) for seed in (4, 4, 5))
    assert one == again != other
    assert 0 <= one < 1


def test_colours_come_back(ee):
    colours = ee.Image([0.5, 0.25, 0.75]).toFloat().rename(["r", "g", "b"])
    back = at(ee, colours.rgbToHsv().hsvToRgb())
    assert [back[name] for name in ("red", "green", "blue")] == pytest.approx([0.5, 0.25, 0.75], rel=1e-6)


def test_random_colours_are_three_bytes_and_the_same_for_the_same_value(ee):
    shown = columns(ee).randomVisualizer()
    one, same, other = (at(ee, shown, col=3, row=row) for row in (5, 6, 5))
    assert one == same == other
    assert list(one) == ["viz-red", "viz-green", "viz-blue", "value"], "the bands of the image come after the colours"
    assert at(ee, shown, col=4) != one


def test_images_together_have_the_bands_of_all(ee):
    both = ee.Image.cat([columns(ee).rename("c"), rows(ee).rename("r")])
    assert at(ee, both) == {"c": 3, "r": 5}
    several = ee.ImageCollection([columns(ee).set("system:index", "a"), rows(ee).set("system:index", "b")]).toBands()
    assert at(ee, several) == {"a_value": 3, "b_value": 5}


def test_terrain_of_a_plane_that_falls_to_the_east(ee):
    """One metre down a column of ten metres."""
    plane = columns(ee).multiply(-1).rename("elevation").setDefaultProjection(ee.Projection(CRS, TRANSFORM))
    slope = math.degrees(math.atan(0.1))
    assert value(ee, ee.Terrain.slope(plane)) == pytest.approx(slope, rel=1e-2)
    assert value(ee, ee.Terrain.aspect(plane)) == pytest.approx(90, abs=2.0)
    both = at(ee, ee.Terrain.products(plane))
    assert both["slope"] == pytest.approx(slope, rel=1e-2)
    assert set(both) == {"elevation", "slope", "aspect", "hillshade"}
    lit, unlit = (value(ee, ee.Terrain.hillshade(plane, azimuth, 45)) for azimuth in (90, 270))
    assert lit > 180 > unlit


@pytest.mark.parametrize(("name", "expected"), [("min", 2), ("mean", 3), ("median", 3)])
def test_window_functions_are_focal_ones_under_older_names(ee, name, expected):
    found = ee.Image(ee.apply(f"Window.{name}", {"image": columns(ee), "radius": 1, "kernelType": "square"}))
    assert value(ee, found) == pytest.approx(expected)


def test_the_most_frequent_of_a_window(ee):
    found = ee.Image(ee.apply("Window.mode", {"image": columns(ee).gte(3), "radius": 1, "kernelType": "square"}))
    assert value(ee, found) == 1


@pytest.mark.parametrize("name", ["Terrain.hillShadow", "HillShadow"])
def test_a_wall_throws_its_shadow_away_from_the_light(ee, name):
    """The light comes from the east, 45 degrees high: a wall of 30 metres darkens three columns of ten metres to its west."""
    wall = columns(ee).eq(10).multiply(30).setDefaultProjection(ee.Projection(CRS, TRANSFORM))
    lit = ee.Image(ee.apply(name, {"image": wall, "azimuth": 90, "zenith": 45, "neighborhoodSize": 20}))
    assert [value(ee, lit, col=col) for col in (2, 8, 14)] == [1, 0, 1]


def test_seeds_lie_on_a_lattice(ee):
    seeds = ee.Algorithms.Image.Segmentation.seedGrid(5).unmask(-1)
    found = [value(ee, seeds, col=col, row=row) for row in range(5) for col in range(5)]
    assert len([each for each in found if each != -1]) == 1


def test_an_image_is_moved_to_where_another_projection_has_its_coordinates(ee):
    there = ee.Projection(CRS, [SIDE, 0, LEFT + 40, 0, -SIDE, TOP])
    moved = columns(ee).changeProj(ee.Projection(CRS, TRANSFORM), there)
    assert value(ee, moved, col=7) == 3


def test_homogeneous_regions_become_features_piece_by_piece(ee):
    halves = columns(ee).divide(4).floor().toInt().rename("half").addBands(rows(ee).rename("row"))
    arguments = {
        "image": halves, "geometry": square(ee, 0, 0, 8, 4), "scale": SIDE, "crs": ee.Projection(CRS, TRANSFORM), "reducer": ee.Reducer.max(),
    }  # fmt: skip
    found = ee.FeatureCollection(ee.apply("Image.reduceToVectorsStreaming", arguments)).getInfo()["features"]
    assert sorted((each["properties"]["label"], each["properties"]["max"]) for each in found) == [(0, 3), (1, 3)]


def test_spectra_that_differ_under_a_kernel(ee):
    """Two materials side by side at right angles: within one nothing differs, at their border everything does."""
    left = columns(ee).lt(4)
    spectra = ee.Image.cat([left, left.Not()]).toFloat().rename(["a", "b"])
    gradient = spectra.spectralGradient("sam", ee.Kernel.square(1), True)
    assert next(iter(at(ee, gradient, col=1).values())) == pytest.approx(0, abs=1e-6)
    assert next(iter(at(ee, gradient, col=3).values())) > 0.1
    assert set(at(ee, spectra.spectralDilation("sam", ee.Kernel.square(1), True), col=1)) == {"a", "b"}


def test_kriging_gives_back_what_was_measured_where_it_was(ee):
    places = [(1, 1, 5.0), (6, 2, 9.0), (3, 7, 2.0)]
    points = [
        ee.Feature(
            ee.Geometry.Point([LEFT + SIDE * (col + 0.5), TOP - SIDE * (row + 0.5)], CRS), {"n": number}
        )
        for col, row, number in places
    ]  # fmt: skip
    estimate = ee.FeatureCollection(points).kriging("n", "exponential", 100, 1, 0, 500, ee.Reducer.mean())
    for col, row, number in places:
        assert value(ee, estimate, col, row) == pytest.approx(number, abs=0.05)
