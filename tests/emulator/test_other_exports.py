"""Exports to BigQuery, and those whose content is not made: videos, FeatureViews and classifiers."""

import json

import pytest
import shapely.geometry

from airflow_ee.emulator.exports.bigquery import BigQueryFolder
from airflow_ee.emulator.exports.destinations import BigQueryPlace
from airflow_ee.emulator.exports.drafts import Draft

from .conftest import call, graph, image, message
from .test_official_client import finished, initialised

FOREST = {"functionInvocationValue": {"functionName": "Classifier.smileRandomForest", "arguments": {}}}
FRAMES = graph(call("Collection.limit", collection=call("ImageCollection.load", id="MODIS/061/MOD13Q1"), limit=2))
ROWS = graph(call("Collection", features=[]))
STORAGE = {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "v"}}


@pytest.fixture
def ee(emulator):
    return initialised(emulator.url)


def to_table(ee, collection, **options):
    task = ee.batch.Export.table.toBigQuery(collection, description="d", table="p-1.farm.fields", **options)
    task.start()
    return finished(ee, task)


def rows(emulator):
    return [json.loads(line) for line in (emulator.root / "bigquery/p-1/farm/fields.ndjson").read_text().splitlines()]


def point(ee, number, **properties):
    return ee.FeatureCollection([ee.Feature(ee.Geometry.Point([number, 46]), properties)])


def test_rows_go_to_a_table_of_big_query(ee, emulator):
    square = ee.Geometry.Rectangle([500000, 5099000, 501000, 5100000], "EPSG:32632", False)
    properties = {"whole": 3, "half": 0.5, "text": "é", "list": [1, 2], "on": ee.Date(0), "a:b": 1, "deep": [[1]]}
    operation = to_table(ee, ee.FeatureCollection([ee.Feature(square, properties), ee.Feature(None, {"whole": 4})]))
    assert operation["metadata"]["state"] == "SUCCEEDED"
    assert "t=fields" in operation["metadata"]["destinationUris"][0]
    first, second = rows(emulator)
    assert {name: value for name, value in first.items() if name not in ("geo", "system_index")} == {
        "whole": 3, "half": 0.5, "text": "é", "list": [1, 2], "on": "1970-01-01T00:00:00", "a_b": 1, "deep": "[[1]]"
    }  # fmt: skip
    shape = shapely.geometry.shape(json.loads(first["geo"]))
    assert shape.bounds == pytest.approx((9.0, 46.044, 9.0129, 46.053), abs=0.001)
    assert (second["geo"], second["whole"], second["half"]) == (None, 4, None)


def test_a_table_that_exists_is_kept_added_to_or_replaced(ee, emulator):
    assert to_table(ee, point(ee, 1, a=1))["metadata"]["state"] == "SUCCEEDED"
    taken = to_table(ee, point(ee, 2, a=2))
    assert taken["error"] == {"code": 6, "message": "Already Exists: Table p-1:farm.fields"}
    assert to_table(ee, point(ee, 2, a=2), append=True)["metadata"]["state"] == "SUCCEEDED"
    assert [row["a"] for row in rows(emulator)] == [1, 2]
    for wrong, complaint in (({"a": "x"}, "Field a has changed type from FLOAT to STRING"), ({"b": 1}, "(field: b)")):
        for option in ("append", "overwrite"):
            assert complaint in to_table(ee, point(ee, 3, **wrong), **{option: True})["error"]["message"]
    assert [row["a"] for row in rows(emulator)] == [1, 2]
    assert to_table(ee, point(ee, 3, a=0.5), overwrite=True)["metadata"]["state"] == "SUCCEEDED"
    assert [row["a"] for row in rows(emulator)] == [0.5]


def test_rows_of_an_operation_are_loaded_once_though_its_server_was_killed(tmp_path):
    def load(operation, row, **how):
        draft = tmp_path / f"{operation}.ndjson"
        draft.write_text(json.dumps({"a": row}) + "\n")
        place = BigQueryPlace(project="p", dataset="d", table="t", **{"append": False, "overwrite": False, **how})
        BigQueryFolder(tmp_path / "bigquery").load(Draft(draft, ".ndjson", ""), place, operation)
        return [json.loads(line)["a"] for line in (tmp_path / "bigquery/p/d/t.ndjson").read_text().splitlines()]

    assert load("one", 1) == load("one", 1) == [1]
    assert load("two", 2, append=True) == load("two", 2, append=True) == [1, 2]
    assert load("three", 3, overwrite=True) == [3]
    assert load("two", 2, append=True) == [3]


@pytest.mark.parametrize(
    ("destination", "complaint"),
    [
        ({}, "BigQuery table must be specified"),
        ({"table": "d.t"}, "must have the form"),
        ({"table": "p.d.t.x"}, "must have the form"),
        ({"table": "p.d-1.t"}, "must have the form"),
        ({"table": "p.../x.t"}, "must have the form"),
        ({"table": "p.d.t", "append": True, "overwrite": True}, "exclude each other"),
        ({"table": "p.d.t", "rows": 1}, 'Unknown name "rows"'),
        ({"table": "p.d.t", "append": "yes"}, "Invalid value"),
    ],
)
def test_tables_that_cannot_be_are_refused(rest, emulator, destination, complaint):
    body = {"expression": ROWS, "bigqueryExportOptions": {"bigqueryDestination": destination}}
    assert complaint in message(rest.post(f"{rest.project}/table:export", body))
    assert emulator.operations == []


def test_column_names_that_clash_fail_the_export(ee, emulator):
    failed = to_table(ee, point(ee, 1, **{"a:b": 1, "a_b": 2}))
    assert "Duplicate field name" in failed["error"]["message"]
    assert "start with a letter" in to_table(ee, point(ee, 1, **{"1a": 1}))["error"]["message"]
    assert not (emulator.root / "bigquery").exists()


def test_a_video_runs_through_its_states_and_says_that_it_was_not_made(ee, emulator):
    collection = ee.ImageCollection("MODIS/061/MOD13Q1").filterDate("2020-01-01", "2020-03-01").select("NDVI")
    region = ee.Geometry.Rectangle([11, 46, 11.5, 46.5], None, False)
    task = ee.batch.Export.video.toCloudStorage(
        collection.map(lambda each: each.visualize(min=0, max=9000)), description="film", bucket="b",
        fileNamePrefix="p/film", region=region, dimensions=64, framesPerSecond=5, maxFrames=10,
    )  # fmt: skip
    task.start()
    operation = finished(ee, task)
    assert (operation["metadata"]["state"], operation["metadata"]["progress"]) == ("SUCCEEDED", 1)
    assert all("Not made by the emulator" in stage["description"] for stage in operation["metadata"]["stages"])
    assert task.status()["task_type"] == "EXPORT_VIDEO"
    note = json.loads((emulator.root / "gs/b/p/film.not-made.json").read_text())
    assert (note["notMade"], note["method"]) == ("video", "video:export")
    assert note["request"]["videoOptions"]["framesPerSecond"] == 5
    assert [path.name for path in (emulator.root / "gs/b/p").iterdir()] == ["film.not-made.json"]


def test_a_feature_view_is_checked_and_not_made(ee, emulator):
    task = ee.batch.Export.table.toFeatureView(
        point(ee, 1, a=1), description="view", assetId="projects/demo-project/assets/view",
        ingestionTimeParameters={
            "maxFeaturesPerTile": 100, "thinningStrategy": "HIGHER_DENSITY", "thinningRanking": ["a DESC"], "zOrderRanking": ["a ASC"]
        },
    )  # fmt: skip
    task.start()
    assert finished(ee, task)["metadata"]["state"] == "SUCCEEDED"
    note = json.loads((emulator.root / "not-made/projects/demo-project/assets/view.not-made.json").read_text())
    assert note["notMade"] == "FeatureView"
    with pytest.raises(ee.EEException, match="may not exist"):
        ee.data.getAsset("projects/demo-project/assets/view")


def test_a_classifier_is_not_made_nor_its_training_evaluated(ee, emulator):
    classifier = ee.Classifier.smileRandomForest(10)
    task = ee.batch.Export.classifier.toAsset(
        classifier, description="forest", assetId="projects/demo-project/assets/forest"
    )
    task.start()
    operation = finished(ee, task)
    assert operation["metadata"]["type"] == "EXPORT_CLASSIFIER"
    assert operation["metadata"]["destinationUris"] == [
        "https://code.earthengine.google.com/?asset=projects/demo-project/assets/forest"
    ]
    assert (emulator.root / "not-made/projects/demo-project/assets/forest.not-made.json").is_file()


def view(name="projects/demo-project/assets/v", **more):
    return {"featureViewExportOptions": {"featureViewDestination": {"name": name}, **more}}


def classifier(name="projects/demo-project/assets/c"):
    return {"assetExportOptions": {"earthEngineDestination": {"name": name}}}


@pytest.mark.parametrize(
    ("method", "expression", "body", "complaint"),
    [
        ("video", FRAMES, {}, "file_export_options must be specified"),
        ("video", FRAMES, {"fileExportOptions": {}}, "destination must be specified"),
        ("video", FRAMES, {"fileExportOptions": {"fileFormat": "GIF", **STORAGE}}, "Unsupported file format"),
        ("video", FRAMES, {"fileExportOptions": {"fileFormat": "AVI", **STORAGE}}, "Invalid value"),
        ("video", FRAMES, {"fileExportOptions": {**STORAGE, "bitrate": 3}}, 'Unknown name "bitrate"'),
        ("video", FRAMES, {"fileExportOptions": {"cloudStorageDestination": {"filenamePrefix": "x"}}}, "Bucket must be specified"),
        ("video", FRAMES, {"fileExportOptions": STORAGE, "videoOptions": {"framesPerSecond": 500}}, "Frames per second"),
        ("video", FRAMES, {"fileExportOptions": STORAGE, "videoOptions": {"maxFrames": -1}}, "maxFrames"),
        ("video", graph(7), {"fileExportOptions": STORAGE}, "must evaluate to an image collection"),
        ("video", graph(image("no/such")), {"fileExportOptions": STORAGE}, "not found"),
        ("videoMap", FRAMES, {"fileExportOptions": STORAGE}, 'Unknown name "fileExportOptions"'),
        ("videoMap", FRAMES, {"tileExportOptions": STORAGE, "description": 3}, "Invalid value at 'description'"),
        ("classifier", graph(FOREST), {}, "asset_export_options must be specified"),
        ("classifier", graph(FOREST), {"assetExportOptions": {}}, "Asset name must be specified"),
        ("classifier", graph(FOREST), classifier("projects/demo-project/assets/no/c"), "its parent"),
        ("classifier", {"result": "9", "values": {}}, classifier(), "9"),
        ("table", ROWS, {"featureViewExportOptions": {}}, "FeatureView name must be specified"),
        ("table", graph(7), view(), "must evaluate to a table"),
        ("table", ROWS, view("projects/demo-project/assets/no/v"), "its parent"),
        ("table", ROWS, view(ingestionTimeParameters={"thinningOptions": {"maxFeaturesPerTile": -5}}), "per tile"),
        ("table", ROWS, view(ingestionTimeParameters={"thinningOptions": {"thinningStrategy": "NONE"}}), "Invalid value"),
        ("table", ROWS, view(ingestionTimeParameters={"rankingOptions": {"zOrderRankingRule": {"rankByOneThingRule": [{}]}}}),
         "what it ranks by"),
        ("table", ROWS, {}, "bigquery_export_options must be specified"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_it_starts(rest, emulator, method, expression, body, complaint):
    answer = rest.post(f"{rest.project}/{method}:export", {"expression": expression, **body})
    assert complaint in message(answer)
    assert emulator.operations == []


def test_a_map_of_videos_goes_through_its_life(rest, emulator):
    body = {"expression": FRAMES, "requestId": "v-1", "tileExportOptions": STORAGE, "version": "V1"}
    operation = rest.ended(rest.post(f"{rest.project}/videoMap:export", body).json()["name"])
    assert (operation["metadata"]["type"], operation["metadata"]["state"]) == ("EXPORT_VIDEO_MAP", "SUCCEEDED")
    assert "already started" in message(rest.post(f"{rest.project}/videoMap:export", body))


def test_what_is_not_made_can_be_cancelled_and_fail_by_script(rest, emulator):
    emulator.inject("video:export", "stuck", "fail code=INTERNAL no luck")
    body = {"expression": FRAMES, "fileExportOptions": STORAGE}
    name = rest.post(f"{rest.project}/video:export", body).json()["name"]
    rest.post(f"{name}:cancel")
    assert rest.ended(name)["metadata"]["state"] == "CANCELLED"
    failed = rest.ended(rest.post(f"{rest.project}/video:export", body).json()["name"])
    assert failed["error"] == {"code": 13, "message": "no luck"}
    assert not (emulator.root / "gs").exists()
