"""Features and images page by page, and tables to download."""

import csv
import io
import json

import pytest
import requests

from airflow_ee.emulator.api.assetfilter import parse_filter
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry

from .conftest import call, graph, message
from .test_pictures import created, fetched


def point(longitude, latitude):
    return call("GeometryConstructors.Point", coordinates=[longitude, latitude])


def feature(geometry, **properties):
    return call("Feature", geometry=geometry, metadata={"constantValue": properties})


def collection(*features):
    return call("Collection", features={"arrayValue": {"values": list(features)}})


THREE = collection(feature(point(11, 46), a=1, b="x"), feature(point(12, 47), a=2.5), feature({"constantValue": None}))


def computed(world, expression, **body):
    return world.post(f"{world.project}/table:computeFeatures", {"expression": graph(expression), **body})


def test_features_are_geojson(world):
    first, second, third = computed(world, THREE).json()["features"]
    geometry = {"type": "Point", "coordinates": [11, 46]}
    assert first == {"type": "Feature", "geometry": geometry, "properties": {"a": 1, "b": "x", "system:index": "0"}}
    assert second["properties"] == {"a": 2.5, "system:index": "1"}
    assert third == {"type": "Feature", "geometry": None, "properties": {"system:index": "2"}}


def test_geometries_lose_what_geojson_has_no_words_for(world):
    west = {"type": "Polygon", "coordinates": [[[0, 50], [20, 50], [20, 60], [0, 60], [0, 50]]]}
    flat = call("GeometryConstructors.Polygon", coordinates=west["coordinates"], geodesic=False)
    round_ = call("GeometryConstructors.Polygon", coordinates=west["coordinates"], geodesic=True)
    shown = [
        each["geometry"] for each in computed(world, collection(feature(flat), feature(round_))).json()["features"]
    ]
    assert all(set(each) == {"type", "coordinates"} for each in shown)
    assert len(shown[0]["coordinates"][0]) == 5
    # A great circle between two places at 60 degrees north runs north of the parallel.
    assert max(latitude for _, latitude in shown[1]["coordinates"][0]) > 60.3


def test_pages_have_sealed_tokens(world):
    first = computed(world, THREE, pageSize=2).json()
    assert len(first["features"]) == 2
    token = first["nextPageToken"]
    last = computed(world, THREE, pageSize=2, pageToken=token).json()
    assert len(last["features"]) == 1
    assert "nextPageToken" not in last
    for wrong in (token[:-2] + "xy", "p2", "", "ÿ", token + "A" * 50):
        answer = computed(world, THREE, pageToken=wrong)
        assert (answer.status_code == 200) is (wrong == "")
    other = collection(feature(point(1, 2)), feature(point(1, 2)), feature(point(1, 2)))
    assert "Invalid page token" in message(computed(world, other, pageToken=token))


def test_an_empty_list_is_left_out(world):
    assert computed(world, call("Collection", features=[])).json() == {"type": "FeatureCollection"}
    images = world.post(
        f"{world.project}/imageCollection:computeImages",
        {"expression": graph(call("ImageCollection.fromImages", images=[]))},
    )
    assert images.json() == {}


def test_only_features_are_features(world):
    assert "found images" in message(computed(world, call("Image.constant", value=1)))
    assert "found int" in message(computed(world, {"constantValue": 3}))
    assert "Expression must be specified" in message(world.post(f"{world.project}/table:computeFeatures"))


def test_images_are_shown_as_assets(world):
    modis = call("ImageCollection.load", id="MODIS/061/MOD13Q1")
    limited = call("Collection.limit", collection=modis, limit=3)
    body = {"expression": graph(limited), "pageSize": 2}
    answer = world.post(f"{world.project}/imageCollection:computeImages", body).json()
    assert len(answer["images"]) == 2
    assert answer["nextPageToken"]
    first = answer["images"][0]
    asset = world.get(first["name"]).json()
    for field in ("type", "name", "id", "startTime", "endTime", "updateTime"):
        assert first[field] == asset[field]
    assert [band["id"] for band in first["bands"]] == [band["id"] for band in asset["bands"]]
    assert first["bands"][0]["grid"] == asset["bands"][0]["grid"]
    assert first["bands"][0]["dataType"] == asset["bands"][0]["dataType"]


@pytest.mark.parametrize("file_format", ["CSV", "GEO_JSON", "JSON", "KML", "KMZ"])
def test_tables_are_downloaded_in_the_formats_of_exports(world, file_format):
    answer = fetched(world, "tables", THREE, fileFormat=file_format, filename="my table")
    assert answer.status_code == 200
    suffix = {"GEO_JSON": "geojson", "JSON": "geojson"}.get(file_format, file_format.lower())
    assert answer.headers["content-disposition"] == f'attachment; filename="my table.{suffix}"'
    if suffix == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["a"] for row in rows] == ["1", "2.5", ""]
    if suffix == "geojson":
        assert len(json.loads(answer.content)["features"]) == 3


def test_selectors_choose_columns(world):
    answer = fetched(world, "tables", THREE, selectors=["b", "a"])
    assert answer.text.splitlines()[0] == "b,a"
    assert "Unsupported file format" in message(created(world, "tables", THREE, fileFormat="SHP"))
    missing = requests.get(f"{world.url}/v1/projects/p/tables/none:getFeatures", timeout=5)
    assert message(missing, 404).startswith("Table ")


RED = Feature(Geometry.of_json({"type": "Point", "coordinates": [11, 46]}), {"colour": "red", "n": 3}, "a")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("properties.n > 2", True),
        ("properties.n > 2 AND properties.colour = blue", False),
        ("properties.n > 5 OR properties.colour = red", True),
        ("properties.colour=blue AND properties.n=3 OR properties.n=4", False),
        ("properties.n=3 AND properties.colour=blue OR properties.colour=red", True),
        ("(properties.colour=red AND properties.n=4) OR properties.n=3", True),
        ("NOT properties.n = 3", False),
        ("NOT (properties.n = 4)", True),
        ('properties.colour = "red"', True),
        ("properties.none != 1", False),
        ("intersects(\"{'type':'Point','coordinates':[11,46]}\")", True),
        ("intersects('POINT (1 2)') OR properties.n<4", True),
        ('intersects("{\\"type\\":\\"Point\\",\\"coordinates\\":[11,46]}")', True),
    ],
)
def test_filters_mean_what_aip_160_says(text, holds):
    assert parse_filter(text).matches(RED) is holds


def test_the_lists_of_v1alpha_name_properties_barely():
    assert parse_filter("n > 2 AND colour = red", bare_names=True).matches(RED)
    assert not parse_filter("n > 2 AND NOT properties.colour = red", bare_names=True).matches(RED)


@pytest.mark.parametrize(
    "text",
    [
        "properties.n >",
        "AND",
        "properties.n=1 properties.n=2",
        "(properties.n=1",
        "properties.n=1)",
        "x",
        "(" * 40,
        "n > 2",
    ],
)
def test_texts_that_are_no_filters_are_refused(text):
    with pytest.raises(EmulatorError, match="Invalid filter"):
        parse_filter(text)
