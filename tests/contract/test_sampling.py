"""Samples: which pixels become features, what these hold, and that chance is the same every time."""

import math

import pytest
import shapely
import shapely.geometry

BOX = [11.0, 46.0, 11.004, 46.003]
"""Four columns and three rows of a thousandth of a degree."""

LATTICE = [0.001, 0, 11, 0, -0.001, 46.003]


def image(ee):
    """Column and row of each pixel, the corner pixel masked in one band."""
    places = ee.Image.pixelLonLat()
    col = places.select("longitude").subtract(11).divide(0.001).floor().toInt().rename("col")
    row = places.select("latitude").subtract(46.003).divide(-0.001).floor().toInt().rename("row")
    # The mask leaves out the pixel in the first column of the first row.
    return col.addBands(row.updateMask(col.add(row).gt(0))).reproject("EPSG:4326", LATTICE)


def box(ee):
    return ee.Geometry.Rectangle(BOX, "EPSG:4326", False)


def properties(found):
    return [each["properties"] for each in found["features"]]


def test_every_pixel_once_row_by_row(evaluate):
    found = evaluate(lambda ee: image(ee).sample(box(ee), geometries=True))
    assert properties(found) == [{"col": n % 4, "row": n // 4} for n in range(1, 12)]
    assert [each["id"] for each in found["features"]] == [str(n) for n in range(11)]
    place = {"type": "Point", "coordinates": pytest.approx([11.0015, 46.0025]), "geodesic": False}
    assert found["features"][0]["geometry"] == place
    assert found["properties"] == {"band_order": ["col", "row"]}


def test_masked_pixels_are_dropped_unless_nulls_are_kept(evaluate):
    found = evaluate(lambda ee: image(ee).sample(box(ee), dropNulls=False))
    assert properties(found)[0] == {"col": 0, "row": None}
    assert len(found["features"]) == 12
    assert all(each["geometry"] is None for each in found["features"])


def test_a_point_is_its_pixel(evaluate):
    found = evaluate(lambda ee: image(ee).sample(ee.Geometry.Point([11.0027, 46.0002])))
    assert properties(found) == [{"col": 2, "row": 2}]
    found = evaluate(lambda ee: ee.Image([1.5, 2]).sample(ee.Geometry.Point([-121, 42]), 500).first())
    assert found["properties"] == {"constant": 1.5, "constant_1": 2}


def test_a_share_or_a_number_of_pixels(evaluate):
    def places(**arguments):
        found = evaluate(lambda ee: image(ee).sample(box(ee), dropNulls=False, **arguments))
        return [each["col"] for each in properties(found)], len(found["features"])

    assert places(numPixels=5)[1] == 5
    assert places(numPixels=5) == places(numPixels=5)
    assert places(numPixels=5) != places(numPixels=5, seed=3)
    assert places(numPixels=500)[1] == places(factor=1)[1] == 12
    assert 0 < places(factor=0.5)[1] < 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"factor": 0.5, "numPixels": 3}, "cannot both"), ({"factor": 0}, "(0, 1]"), ({"tileScale": 0}, "tileScale")],
)
def test_what_sampling_refuses(refusal, arguments, words):
    assert words in refusal(lambda ee: image(ee).sample(box(ee), **arguments))


def test_sampling_needs_a_scale_and_an_end(refusal):
    assert "default WGS84 projection" in refusal(lambda ee: ee.Image(1).sample(box(ee)))
    assert "unbounded" in refusal(lambda ee: ee.Image(1).sample(scale=100))


def test_regions_hand_their_properties_on(evaluate):
    def regions(ee):
        left = ee.Geometry.Rectangle([11.001, 46.001, 11.002, 46.003], "EPSG:4326", False)
        return ee.FeatureCollection([
            ee.Feature(left, {"name": "left", "n": 1}), ee.Feature(ee.Geometry.Point([11.0035, 46.0005]), {"name": "dot"}),
        ])  # fmt: skip

    found = evaluate(lambda ee: image(ee).sampleRegions(regions(ee), ["name"]))
    assert properties(found) == [
        {"name": "left", "col": 1, "row": 0}, {"name": "left", "col": 1, "row": 1}, {"name": "dot", "col": 3, "row": 2},
    ]  # fmt: skip
    everything = evaluate(lambda ee: image(ee).sampleRegions(regions(ee), geometries=True))
    assert properties(everything)[0] == {"name": "left", "n": 1, "col": 1, "row": 0}
    assert everything["features"][2]["geometry"]["coordinates"] == pytest.approx([11.0035, 46.0005])


def test_regions_leave_masked_pixels_out(evaluate):
    found = evaluate(lambda ee: image(ee).sampleRegions(ee.FeatureCollection([ee.Feature(box(ee))])))
    assert len(found["features"]) == 11


def test_strata(evaluate, refusal):
    def classes(ee):
        return image(ee).select("col").rename("class").addBands(image(ee).select("row"))

    def counts(**arguments):
        found = evaluate(lambda ee: classes(ee).stratifiedSample(region=box(ee), **arguments))
        values = [each["class"] for each in properties(found)]
        assert values == sorted(values)
        return {value: values.count(value) for value in values}

    assert counts(numPoints=2) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert counts(numPoints=9) == {0: 2, 1: 3, 2: 3, 3: 3}
    assert counts(numPoints=9, dropNulls=False) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert counts(numPoints=1, classValues=[1, 3], classPoints=[3, 0]) == {0: 1, 1: 3, 2: 1}
    assert counts(numPoints=1, classBand="class") == counts(numPoints=1)
    assert "same length" in refusal(lambda ee: classes(ee).stratifiedSample(1, region=box(ee), classValues=[1]))
    assert "integers" in refusal(lambda ee: classes(ee).divide(2).stratifiedSample(1, region=box(ee)))


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": [[[10, 40], [14, 41], [12, 45], [10, 40]]], "geodesic": False},
        {"type": "LineString", "coordinates": [[10, 40], [14, 41], [12, 45]], "geodesic": False},
        {"type": "MultiPoint", "coordinates": [[10, 40], [14, 41]]},
    ],
    ids=lambda each: each["type"],
)
def test_random_points_lie_in_the_region(evaluate, geometry):
    def points(seed):
        collection = evaluate(lambda ee: ee.FeatureCollection.randomPoints(ee.Geometry(geometry), 40, seed, 1))
        return [shapely.Point(each["geometry"]["coordinates"]) for each in collection["features"]]

    found = points(0)
    shape = shapely.geometry.shape(geometry)
    assert len(found) == 40
    assert max(shape.distance(each) for each in found) < 1e-9
    assert found == points(0)
    assert found != points(7)


def test_random_points_are_even_on_the_sphere(evaluate):
    found = evaluate(
        lambda ee: ee.FeatureCollection.randomPoints(ee.Geometry.Rectangle([0, 0, 10, 80], None, False), 2000)
    )
    latitudes = [each["geometry"]["coordinates"][1] for each in found["features"]]
    expected = 2000 * math.sin(math.radians(30)) / math.sin(math.radians(80))
    assert sum(each < 30 for each in latitudes) == pytest.approx(expected, abs=5 * math.sqrt(500))


def test_pixels_of_images_as_a_table(evaluate):
    def table(ee, region):
        images = [image(ee).set("system:time_start", 1000 * n, "system:index", f"i{n}") for n in (1, 2)]
        return ee.ImageCollection(images).getRegion(region, crs="EPSG:4326", crsTransform=LATTICE)

    rows = evaluate(lambda ee: table(ee, ee.Geometry.Rectangle([11, 46.002, 11.002, 46.003], "EPSG:4326", False)))
    assert rows[0] == ["id", "longitude", "latitude", "time", "col", "row"]
    assert [row[:1] + row[3:] for row in rows[1:]] == [
        ["i1", 1000, 0, None], ["i2", 2000, 0, None], ["i1", 1000, 1, 0], ["i2", 2000, 1, 0],
    ]  # fmt: skip
    assert rows[1][1:3] == pytest.approx([11.0005, 46.0025])
    dots = evaluate(lambda ee: table(ee, ee.Geometry.MultiPoint([[11.0005, 46.0005], [11.0035, 46.0015]])))
    assert sorted(row[4:] for row in dots[1:]) == [[0, 2], [0, 2], [3, 1], [3, 1]]


def test_a_table_takes_pixels_by_their_centre(evaluate):
    step = 30 / 111319.49079327357
    edges = [40999.74 * step, 17000.45 * step, 41001.98 * step, 17001.29 * step]
    rows = evaluate(
        lambda ee: ee.ImageCollection([ee.Image(n) for n in range(5)]).getRegion(
            ee.Geometry.Rectangle(edges, None, False), 30
        )
    )
    assert len(rows) == 1 + 2 * 5
    assert rows[1][1:3] == pytest.approx([41000.5 * step, 17000.5 * step])


def test_a_table_leaves_out_what_all_bands_mask(evaluate):
    rows = evaluate(
        lambda ee: ee.ImageCollection([image(ee).select("row"), image(ee).select("row").add(1)]).getRegion(
            ee.Geometry.MultiPoint([[11.0005, 46.0025], [11.0005, 46.0015]]), crs="EPSG:4326", crsTransform=LATTICE
        )
    )
    assert [row[4:] for row in rows[1:]] == [[1], [2]]


def test_large_tables_are_refused_with_the_numbers(refusal):
    words = refusal(
        lambda ee: ee.ImageCollection([ee.Image([1, 2])]).getRegion(
            ee.Geometry.Rectangle([0, 0, 10, 10], None, False), 1000
        )
    )
    assert "points x 2 bands x 1 images > 1,048,576" in words


def test_a_rectangle_is_an_array_for_each_band(evaluate, refusal):
    found = evaluate(lambda ee: image(ee).set("name", "x").sampleRectangle(box(ee), defaultValue=-1))
    assert found["properties"] == {
        "name": "x", "col": [[0, 1, 2, 3]] * 3, "row": [[-1, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]],
    }  # fmt: skip
    assert "band 'row'" in refusal(lambda ee: image(ee).sampleRectangle(box(ee)))
    world = [-170, -80, 170, 80]
    words = refusal(lambda ee: image(ee).sampleRectangle(ee.Geometry.Rectangle(world, None, False)))
    assert "must be <= 262144" in words
