"""Cloud masks as people write them, with Google's own client, against the simulated collections."""

import numpy as np
import pytest

from airflow_ee.emulator.catalog.fields import truth

from .test_official_client import initialised

PLACE = [11.3, 46.4]
S2 = "COPERNICUS/S2_SR_HARMONIZED"


@pytest.fixture
def ee(simulated):
    return initialised(simulated.url)


def test_all_layers_of_sentinel_share_their_indices(ee):
    names = (
        S2,
        "COPERNICUS/S2_HARMONIZED",
        "COPERNICUS/S2_CLOUD_PROBABILITY",
        "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
    )
    point = ee.Geometry.Point(PLACE)
    june = [ee.ImageCollection(name).filterBounds(point).filterDate("2020-06-01", "2020-07-01") for name in names]
    lists = ee.List([each.aggregate_array("system:index") for each in june]).getInfo()
    assert len(lists[0]) == 24
    assert lists == [lists[0]] * 4


def test_cloud_probability_joins_by_index(ee):
    point = ee.Geometry.Point(PLACE)

    def summer(name):
        return ee.ImageCollection(name).filterBounds(point).filterDate("2020-06-01", "2020-06-20")

    condition = ee.Filter.equals(leftField="system:index", rightField="system:index")
    pairs = ee.Join.saveFirst("clouds").apply(summer(S2), summer("COPERNICUS/S2_CLOUD_PROBABILITY"), condition)
    images = ee.ImageCollection(pairs)
    assert images.size().getInfo() == summer(S2).size().getInfo() == summer("COPERNICUS/S2_HARMONIZED").size().getInfo()

    def index_of_clouds(image):
        return image.set("other", ee.Image(image.get("clouds")).get("system:index"))

    marked = images.map(index_of_clouds)
    assert marked.aggregate_array("other").getInfo() == marked.aggregate_array("system:index").getInfo()


def test_a_join_needs_no_dates_where_indices_are_equal(ee):
    point = ee.Geometry.Point(PLACE)
    granules = ee.ImageCollection(S2).filterBounds(point).filterDate("2020-06-01", "2020-06-20")
    condition = ee.Filter.equals(leftField="system:index", rightField="system:index")
    scores = ee.ImageCollection("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED")
    joined = ee.Join.inner().apply(granules, scores, condition)
    assert joined.size().getInfo() == granules.size().getInfo() > 0
    names = granules.limit(2).aggregate_array("system:index")
    chosen = scores.filter(ee.Filter.inList("system:index", names))
    assert chosen.aggregate_array("system:index").getInfo() == names.getInfo()
    one = scores.filter(ee.Filter.eq("system:index", names.get(0))).first()
    assert one.bandNames().getInfo() == ["cs", "cs_cdf"]


def test_a_median_under_cloud_score_shows_the_truth(ee):
    point = ee.Geometry.Point(PLACE)

    def july(name):
        return ee.ImageCollection(name).filterBounds(point).filterDate("2020-07-01", "2020-07-31")

    scores, granules = july("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"), july(S2)

    def clear(image):
        score = ee.Image(scores.filter(ee.Filter.eq("system:index", image.get("system:index"))).first())
        return image.updateMask(score.select("cs_cdf").gte(0.6)).normalizedDifference(["B8", "B4"])

    found = granules.map(clear).median().reduceRegion(ee.Reducer.mean(), point.buffer(40), 10).getInfo()["nd"]
    nearby = truth(*np.meshgrid(PLACE[0] + np.linspace(-4e-4, 4e-4, 9), PLACE[1] + np.linspace(-3e-4, 3e-4, 9)), 197)
    assert nearby.min() - 0.03 < found < nearby.max() + 0.03


def test_linked_cloud_scores_need_neither_dates_nor_bounds(ee):
    point = ee.Geometry.Point(PLACE)
    granules = ee.ImageCollection(S2).filterBounds(point).filterDate("2020-07-01", "2020-07-10")
    linked = granules.linkCollection(ee.ImageCollection("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"), ["cs_cdf"])
    image = linked.first()
    assert image.bandNames().getInfo()[-1] == "cs_cdf"
    score = image.select("cs_cdf").reduceRegion(ee.Reducer.mean(), point, 10).getInfo()["cs_cdf"]
    direct = ee.Image("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/" + image.get("system:index").getInfo())
    assert score == direct.select("cs_cdf").reduceRegion(ee.Reducer.mean(), point, 10).getInfo()["cs_cdf"]


def test_landsat_is_scaled_and_masked_as_its_page_says(ee):
    point = ee.Geometry.Point(PLACE)

    def prepared(image):
        clear = image.select("QA_PIXEL").bitwiseAnd(0b11111).eq(0)
        optical = image.select("SR_B.").multiply(0.0000275).add(-0.2)
        return image.addBands(optical, None, True).updateMask(clear)

    scenes = ee.ImageCollection("LANDSAT/LC08/C02/T1_L2").filterBounds(point).filterDate("2022-07-01", "2022-08-15")
    ndvi = scenes.map(prepared).median().normalizedDifference(["SR_B5", "SR_B4"])
    found = ndvi.reduceRegion(ee.Reducer.mean(), point.buffer(60), 30).getInfo()["nd"]
    assert 0.3 < found < 0.85
    names = scenes.first().bandNames().getInfo()
    assert len(names) == 19
    assert scenes.aggregate_array("WRS_PATH").distinct().sort().getInfo() == [192, 193]
