"""Google's own client over a socket: analyses of the real images, compared with numpy and scipy on their pixels."""

import numpy as np
import pytest

from .test_official_client import initialised

ndimage = pytest.importorskip("scipy.ndimage")
IMAGE = "MODIS/061/MOD13Q1/2008_01_01"


@pytest.fixture
def ee(mounted):
    return initialised(mounted.url)


@pytest.fixture
def ndvi(ee):
    return ee.Image(IMAGE).select("NDVI")


def fetched(ee, image):
    """Pixels on the image's own grid."""
    (band,) = ee.Image(IMAGE).select("NDVI").getInfo()["bands"]
    a, b, c, d, e, f = band["crs_transform"]
    affine = {"scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f}
    width, height = band["dimensions"]
    grid = {"crsCode": band["crs"], "affineTransform": affine, "dimensions": {"width": width, "height": height}}
    return ee.data.computePixels({"expression": image.unmask(-1), "fileFormat": "NUMPY_NDARRAY", "grid": grid})


def test_segments_have_as_many_pixels_as_scipy_counts(ee, ndvi):
    green = fetched(ee, ndvi.gt(7000))["NDVI"]
    vectors = ndvi.gt(7000).reduceToVectors(maxPixels=1e6, labelProperty="green").getInfo()["features"]
    counts = {value: sorted(each["properties"]["count"] for each in vectors if each["properties"]["green"] == value)
              for value in (0, 1)}  # fmt: skip
    for value, found in counts.items():
        labels, count = ndimage.label(green == value, np.ones((3, 3)))
        assert found == sorted(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())


def test_distances_are_scipys(ee, ndvi):
    green = fetched(ee, ndvi.gt(7000))["NDVI"] == 1
    found = fetched(ee, ndvi.gt(7000).fastDistanceTransform(64).sqrt())["distance"]
    np.testing.assert_allclose(found, ndimage.distance_transform_edt(~green), rtol=1e-6)


def test_edges_textures_and_superpixels_have_values(ee, ndvi):
    edges = fetched(ee, ee.Algorithms.CannyEdgeDetector(ndvi, 300, 1))["NDVI"]
    assert 0 < (edges > 300).mean() < 0.5
    texture = fetched(ee, ndvi.divide(500).toInt().glcmTexture().select("NDVI_contrast"))["NDVI_contrast"]
    assert (texture[1:-1, 1:-1] >= 0).all()
    clusters = fetched(ee, ee.Algorithms.Image.Segmentation.SNIC(ndvi, 6, 10).select("clusters"))["clusters"]
    assert 10 < len(np.unique(clusters)) < clusters.size / 4


def test_simulated_scenes_are_scored(simulated):
    ee = initialised(simulated.url)
    scene = ee.ImageCollection("LANDSAT/LC08/C02/T1_TOA").filterBounds(ee.Geometry.Point(11, 46)).first()
    score = ee.Algorithms.Landsat.simpleCloudScore(scene).select("cloud")
    region = scene.geometry().centroid(1).buffer(3000)
    found = score.reduceRegion(ee.Reducer.minMax(), region, 300).getInfo()
    assert 0 <= found["cloud_min"] <= found["cloud_max"] <= 100


def test_what_is_not_evaluated_says_so(ee, ndvi):
    with pytest.raises(ee.EEException, match="HoughTransform is not emulated"):
        ee.Algorithms.HoughTransform(ndvi).getInfo()
    with pytest.raises(ee.EEException, match="'neighborhood' must be from 1 to 1024"):
        ndvi.fastDistanceTransform(10**9).getInfo()
