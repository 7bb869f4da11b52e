"""Landsat scenes, edges and spectra through Google's client, each case a pixel of constant images read at one place."""

import math

import pytest


def at_a_point(ee, image):
    return ee.Image(image).reduceRegion(ee.Reducer.first(), ee.Geometry.Point(11, 46), 30, "EPSG:32632")


BANDS = ["B2", "B3", "B4", "B5", "B6", "B7", "B10"]
TOP = [0.2, 0.2, 0.2, 0.3, 0.2, 0.2, 292.5]
RAW = {
    "SENSOR_ID": "TM", "SUN_ELEVATION": 30, "REFLECTANCE_MULT_BAND_3": 2e-5, "REFLECTANCE_ADD_BAND_3": -0.1,
    "RADIANCE_MULT_BAND_3": 0.01, "RADIANCE_ADD_BAND_3": -50, "RADIANCE_MULT_BAND_6": 0.05, "RADIANCE_ADD_BAND_6": 1.2,
    "K1_CONSTANT_BAND_6": 607.76, "K2_CONSTANT_BAND_6": 1260.56,
}  # fmt: skip


def toa(ee):
    return ee.Image(TOP).rename(BANDS).set("SENSOR_ID", "OLI_TIRS")


def raw(ee):
    return ee.Image([9000, 160]).rename(["B3", "B6"]).set(RAW)


def test_a_cloud_score_is_a_band_of_its_own(evaluate):
    def scored(ee):
        return at_a_point(ee, ee.Algorithms.Landsat.simpleCloudScore(toa(ee)).select("cloud"))

    assert evaluate(scored)["cloud"] in (49, 50)


def test_a_raw_scene_is_calibrated(evaluate):
    radiance = evaluate(lambda ee: at_a_point(ee, ee.Algorithms.Landsat.calibratedRadiance(raw(ee))))
    assert radiance == pytest.approx({"B3": 40, "B6": 9.2})
    top = evaluate(lambda ee: at_a_point(ee, ee.Algorithms.Landsat.TOA(raw(ee))))
    assert top == pytest.approx({"B3": 0.16, "B6": 1260.56 / math.log(607.76 / 9.2 + 1)}, rel=1e-6)


def test_a_simple_composite_of_one_scene_is_that_scene(evaluate):
    def composite(ee):
        names = ["B1", "B2", "B3", "B4", "B5", "B7"]
        lines = {
            f"REFLECTANCE_{kind}_BAND_{name[1:]}": value for name in names for kind, value in (("MULT", 1), ("ADD", 0))
        }
        scene = ee.Image([0.2] * 6 + [160]).rename([*names, "B6"]).set({**RAW, **lines, "SUN_ELEVATION": 90})
        return at_a_point(ee, ee.Algorithms.Landsat.simpleComposite(ee.ImageCollection([scene])))

    kelvin = 1260.56 / math.log(607.76 / 9.2 + 1)
    assert evaluate(composite) == {**dict.fromkeys(["B1", "B2", "B3", "B4", "B5", "B7"], 51), "B6": round(kelvin - 100)}


def test_unmixing_names_its_bands(evaluate):
    mixed = evaluate(lambda ee: at_a_point(ee, ee.Image([10, 40, 30]).unmix([[10, 60, 30], [10, 20, 30]])))
    assert mixed == pytest.approx({"band_0": 0.5, "band_1": 0.5})
    shares = evaluate(lambda ee: at_a_point(ee, ee.Image([0, 1]).unmix([[0, 2], [1, 0]], True, True)))
    assert shares == pytest.approx({"band_0": 0.6, "band_1": 0.4})


@pytest.mark.parametrize(
    ("metric", "expected"), [("sam", math.pi / 4), ("sed", 1), ("emd", 1), ("sid", None)]
)  # fmt: skip
def test_spectral_distances(evaluate, metric, expected):
    found = evaluate(lambda ee: at_a_point(ee, ee.Image([1, 0]).spectralDistance(ee.Image([1, 1]), metric)))
    assert found == {"distance": expected if expected is None else pytest.approx(expected)}


def test_edges_and_crossings_of_a_slope(evaluate):
    def signs(ee):
        x = ee.Image.pixelCoordinates(ee.Projection("EPSG:32632").atScale(30)).select("x")
        here = ee.Image.constant(ee.Number(0)).add(x).subtract(x)
        return at_a_point(ee, x.derivative().addBands(here.zeroCrossing()).addBands(
            ee.Algorithms.CannyEdgeDetector(here, 0.5).rename("canny")))  # fmt: skip

    assert evaluate(signs) == {"x_x": 1, "x_y": 0, "constant": 0, "canny": 0}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (lambda ee: ee.Algorithms.Landsat.TOA(ee.Image(1).rename("B3")), "REFLECTANCE_MULT_BAND_3"),
        (lambda ee: ee.Algorithms.Landsat.simpleCloudScore(ee.Image(TOP).rename(BANDS)), "SENSOR_ID"),
        (lambda ee: ee.Image([1, 2]).unmix([[1]]), "Image.unmix: every endmember needs 2 values"),
        (lambda ee: ee.Image(1).spectralErosion("far"), "Unknown metric 'far'"),
        (lambda ee: ee.Algorithms.CannyEdgeDetector(ee.Image(1), 1, -2), "'sigma' must be"),
    ],
)
def test_what_cannot_be_computed_says_why(refusal, expression, words):
    assert words in refusal(expression)
