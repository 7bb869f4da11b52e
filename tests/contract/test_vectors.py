"""Pixels to features and features to pixels through Google's client."""

import pytest

CRS = "EPSG:32632"


def stripes(ee, size=30):
    """Columns of pixels numbered by threes: 0, 0, 0, 1, 1, 1, ..."""
    grid = ee.Projection(CRS, [size, 0, 600000, 0, -size, 5000000])
    return (
        ee.Image.pixelCoordinates(grid).select("x").divide(3).floor().toInt().rename("zone").setDefaultProjection(grid)
    )


def field(ee):
    return ee.Geometry.Rectangle([600000, 4999940, 600180, 5000000], CRS, False)


def test_segments_become_features(evaluate):
    found = evaluate(lambda ee: stripes(ee).reduceToVectors(geometry=field(ee)))
    assert [(each["properties"], each["geometry"]["type"]) for each in found["features"]] == [
        ({"count": 6, "label": 0}, "Polygon"), ({"count": 6, "label": 1}, "Polygon")
    ]  # fmt: skip
    assert found["features"][0]["geometry"]["geodesic"] is False


def test_segments_are_reduced_over_other_bands(evaluate):
    def means(ee):
        image = stripes(ee).addBands(stripes(ee).multiply(10).rename("height"))
        return image.reduceToVectors(ee.Reducer.mean(), field(ee), geometryType="centroid", labelProperty="zone")

    found = evaluate(means)["features"]
    assert [each["properties"] for each in found] == [{"mean": 0, "zone": 0}, {"mean": 10, "zone": 1}]
    assert {each["geometry"]["type"] for each in found} == {"Point"}


def test_objects_are_labelled_and_reduced(evaluate):
    def counted(ee):
        image = stripes(ee).clip(field(ee))
        labels = image.connectedComponents(ee.Kernel.plus(1), 16)
        sizes = ee.Image(1).rename("size").addBands(labels.select("labels"))
        sums = sizes.reduceConnectedComponents(ee.Reducer.sum(), "labels", 16)
        return sums.reduceRegion(ee.Reducer.toList(), field(ee), crs=image.projection()).get("size")

    assert evaluate(counted) == [6] * 12


def test_properties_become_pixels(evaluate):
    def drawn(ee):
        features = ee.FeatureCollection([ee.Feature(field(ee), {"n": 3}), ee.Feature(field(ee), {"n": 5})])
        image = features.reduceToImage(["n"], ee.Reducer.sum())
        return image.reduceRegion(ee.Reducer.toList(), field(ee), crs=stripes(ee, 60).projection())

    assert evaluate(drawn) == {"sum": [8, 8, 8]}


def test_distances_to_features(evaluate):
    def away(ee):
        image = ee.FeatureCollection([ee.Feature(ee.Geometry.Point(11, 46))]).distance()
        return image.reduceRegion(ee.Reducer.first(), ee.Geometry.Point(11, 46.01), 1, "EPSG:32632")

    assert evaluate(away)["distance"] == pytest.approx(0.01 * 111_195.08, abs=1)


def test_classified_features_make_an_error_matrix(evaluate):
    def matrix(ee):
        rows = [ee.Feature(None, {"is": one, "seems": two}) for one, two in ((0, 0), (1, 0), (1, 1))]
        return ee.FeatureCollection(rows).errorMatrix("is", "seems")

    assert evaluate(matrix) == [[1, 0], [1, 1]]
    assert evaluate(lambda ee: matrix(ee).accuracy()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (lambda ee: stripes(ee).reduceToVectors(geometry=field(ee), geometryType="round"), "geometryType"),
        (lambda ee: stripes(ee).toFloat().reduceToVectors(geometry=field(ee)), "integer type"),
        (lambda ee: stripes(ee).reduceToVectors(), "must not be unbounded"),
        (lambda ee: stripes(ee).connectedComponents(ee.Kernel.plus(1), 2000), "'maxSize'"),
        (lambda ee: ee.FeatureCollection([]).reduceToImage(["a", "b"], ee.Reducer.mean()), "Need 1 inputs"),
        (lambda ee: ee.FeatureCollection([]).inverseDistance(1, "a", 1, 1), "inverseDistance is not emulated"),
    ],
)
def test_what_cannot_be_computed_says_why(refusal, expression, words):
    assert words in refusal(expression)
