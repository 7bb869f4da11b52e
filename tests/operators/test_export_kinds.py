"""Every kind of export asks for what Google's own client asks for, and each kind and destination runs to its end."""

import json
import os
from pathlib import Path

import pytest
import shapely
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.operators.export import (
    EarthEngineExportClassifierOperator,
    EarthEngineExportImageOperator,
    EarthEngineExportMapOperator,
    EarthEngineExportTableOperator,
    EarthEngineExportVideoOperator,
)

SHARED = Path(os.environ.get("AIRFLOW_EE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
BODIES = SHARED / "earth-engine" / "export-bodies.json"


def call(name, **arguments):
    wrapped = {key: value if isinstance(value, dict) else {"constantValue": value} for key, value in arguments.items()}
    return {"functionInvocationValue": {"functionName": name, "arguments": wrapped}}


def graph(node):
    return {"result": "0", "values": {"0": node}}


IMAGE = graph(call("Image.constant", value=7))
POINT = call("GeometryConstructors.Point", coordinates=[9.0, 48.0])
FEATURE = call("Feature", geometry=POINT, metadata={"dictionaryValue": {"values": {"a": {"constantValue": 1}, "b": {"constantValue": "x"}}}})  # fmt: skip
TABLE = graph(call("Collection", features={"arrayValue": {"values": [FEATURE]}}))
RGB = call("Image.visualize", image=call("Image.constant", value=[1, 2, 3]), min=0, max=3)
FRAMES = graph(call("ImageCollection.fromImages", images={"arrayValue": {"values": [RGB, RGB]}}))
CLASSIFIER = graph(call("Classifier.smileCart"))

RANKING = {
    "thinningOptions": {"maxFeaturesPerTile": 500, "thinningStrategy": "HIGHER_DENSITY"},
    "rankingOptions": {
        "thinningRankingRule": {"rankByOneThingRule": [{"rankByAttributeRule": {"attributeName": "a"}, "direction": "DESCENDING"}]},
        "zOrderRankingRule": {"rankByOneThingRule": [{"rankByAttributeRule": {"attributeName": "a"}, "direction": "ASCENDING"}]},
    },
}  # fmt: skip
TF_RECORD = {
    "tileDimensions": {"width": 256, "height": 256},
    "marginDimensions": {"width": 32, "height": 32},
    "compress": True,
    "maxSizeBytes": "10485760",
    "defaultValue": 0,
    "tensorDepths": {"a": 2},
    "collapseBands": True,
    "maxMaskedRatio": 0.5,
}
# Each of Google's bodies, and the operator with the arguments that ask for the same.
SAME = {
    "image.toCloudStorage GeoTIFF": (
        EarthEngineExportImageOperator,
        {
            "destination_uri": "gs://my-bucket/p/x", "no_data": -9999, "file_dimensions": [1024, 1024], "skip_empty_files": True,
            "max_pixels": 10**9, "priority": 200,
        },
    ),
    "image.toDrive TFRecord": (
        EarthEngineExportImageOperator,
        {"destination_uri": "drive://f/d", "file_format": "TF_RECORD_IMAGE", "tf_record_options": TF_RECORD},
    ),
    "image.toAsset": (
        EarthEngineExportImageOperator,
        {
            "destination_uri": "projects/p/assets/a", "overwrite": True, "pyramiding_policy": "MODE",
            "pyramiding_policy_overrides": {"ndvi": "MEAN"}, "max_pixels": 10**8,
        },
    ),
    "table.toCloudStorage": (
        EarthEngineExportTableOperator,
        {"destination_uri": "gs://my-bucket/x", "file_format": "GEO_JSON", "selectors": "a, b", "max_vertices": 1000},
    ),
    "table.toDrive": (EarthEngineExportTableOperator, {"destination_uri": "drive://f/d"}),
    "table.toAsset": (EarthEngineExportTableOperator, {"destination_uri": "projects/p/assets/t2", "overwrite": True}),
    "table.toFeatureView": (
        EarthEngineExportTableOperator,
        {"destination_uri": "projects/p/assets/fv", "feature_view": True, "ingestion_time_parameters": RANKING},
    ),
    "table.toBigQuery": (
        EarthEngineExportTableOperator, {"destination_uri": "bigquery://p.ds.t", "overwrite": True},
    ),
    "map.toCloudStorage": (
        EarthEngineExportMapOperator,
        {
            "destination_uri": "gs://my-bucket/t", "file_format": "PNG", "end_zoom": 5, "skip_empty": True, "permissions": "PUBLIC",
        },
    ),
    "video.toCloudStorage": (
        EarthEngineExportVideoOperator, {"destination_uri": "gs://my-bucket/v", "frames_per_second": 5},
    ),
    "classifier.toAsset": (EarthEngineExportClassifierOperator, {"destination_uri": "projects/p/assets/c"}),
}  # fmt: skip
EXPRESSIONS = {
    EarthEngineExportImageOperator: IMAGE,
    EarthEngineExportMapOperator: graph(RGB),
    EarthEngineExportTableOperator: TABLE,
    EarthEngineExportVideoOperator: FRAMES,
    EarthEngineExportClassifierOperator: CLASSIFIER,
}
GRID = {
    "crsCode": "EPSG:32633",
    "dimensions": {"width": 9, "height": 6},
    "affineTransform": {"scaleX": 10, "translateX": 5e5, "scaleY": -10, "translateY": 4e6},
}


def make(operator, **arguments):
    arguments = {"expression": EXPRESSIONS[operator], "project_id": "demo-project", **arguments}
    if operator is EarthEngineExportImageOperator:
        arguments = {"grid": GRID, **arguments}
    return operator(task_id="export", poll_interval=0.05, **arguments)


def meaning(value):
    """A body without what only its form is: wrapped numbers, numbers as text, flags that are off, the legacy name of a project."""
    if isinstance(value, dict):
        if set(value) == {"value"}:
            return meaning(value["value"])
        plain = {key: meaning(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item not in (False, "", None, {})}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if isinstance(value, str):
        value = value.removeprefix("projects/earthengine-legacy/assets/")
        return int(value) if value.isdigit() else value
    return value


@pytest.mark.parametrize("name", SAME)
def test_a_body_means_what_googles_client_sends(name, make_context, simulated):
    operator, arguments = SAME[name]
    google = json.loads(BODIES.read_text(encoding="utf-8"))[name]
    ours = make(operator, **arguments).build_request(make_context()).body("an-id")
    theirs = meaning(google)
    for body in (ours, theirs):
        # One has a grid, which the client writes into the expression; tags, words and ids are each one's own.
        for own in ("expression", "grid", "description", "requestId", "workloadTag"):
            body.pop(own, None)
    if name.endswith("GeoTIFF"):
        # An option of the files' inner tiles, which the interface leaves to the service.
        theirs["fileExportOptions"]["geoTiffOptions"].pop("tileSize")
    expected = json.loads(json.dumps(theirs).replace('"bucket": "b"', '"bucket": "my-bucket"'))
    assert meaning(ours) == expected


def test_every_body_of_googles_client_is_compared():
    assert set(json.loads(BODIES.read_text(encoding="utf-8"))) == set(SAME)


RUNS = {
    **{f"table as {form}": (EarthEngineExportTableOperator, {"destination_uri": "gs://demo-bucket/t/x", "file_format": form}) for form in ("CSV", "GEO_JSON", "KML", "KMZ", "SHP", "TF_RECORD_TABLE")},
    "table to Drive": (EarthEngineExportTableOperator, {"destination_uri": "drive://f/t"}),
    "table to an asset": (EarthEngineExportTableOperator, {"destination_uri": "projects/demo-project/assets/table"}),
    "table to BigQuery": (EarthEngineExportTableOperator, {"destination_uri": "bigquery://demo-project.fields.ndvi"}),
    "table to a FeatureView": (EarthEngineExportTableOperator, {"destination_uri": "projects/demo-project/assets/view", "feature_view": True}),
    "image to Drive": (EarthEngineExportImageOperator, {"destination_uri": "drive://f/i"}),
    "image to an asset": (EarthEngineExportImageOperator, {"destination_uri": "projects/demo-project/assets/image"}),
    "image as TFRecord": (EarthEngineExportImageOperator, {"destination_uri": "gs://demo-bucket/i/x", "file_format": "TF_RECORD_IMAGE", "tf_record_options": {"tileDimensions": {"width": 4, "height": 4}}}),
    "map": (EarthEngineExportMapOperator, {"destination_uri": "gs://demo-bucket/m", "end_zoom": 1}),
    "video": (EarthEngineExportVideoOperator, {"destination_uri": "gs://demo-bucket/v"}),
    "video to Drive": (EarthEngineExportVideoOperator, {"destination_uri": "drive://f/v", "max_frames": 10, "max_pixels_per_frame": 10**6}),
    "classifier": (EarthEngineExportClassifierOperator, {"destination_uri": "projects/demo-project/assets/classifier"}),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_each_kind_and_destination_runs_to_its_end(name, make_context, simulated):
    operator, arguments = RUNS[name]
    result = make(operator, **arguments).execute(make_context())
    assert result["state"] == "SUCCEEDED"
    assert result["uris"], "it tells where it has written"
    again = make(operator, **arguments).execute(make_context())
    assert again["operation"] == result["operation"], "the same export is not started twice"


def test_files_of_tables_are_opened_by_others(make_context, simulated):
    import pyogrio.raw

    operator = make(EarthEngineExportTableOperator, destination_uri="gs://demo-bucket/read/x", file_format="GEO_JSON")
    result = operator.execute(make_context(task_id="read"))
    assert result["uris"] == ["gs://demo-bucket/read/x"]
    meta, _, geometry, columns = pyogrio.raw.read(simulated.root / "gs/demo-bucket/read/x.geojson")
    found = dict(zip(meta["fields"], columns, strict=True))
    assert (found["a"].tolist(), found["b"].tolist()) == ([1], ["x"])
    point = shapely.from_wkb(geometry[0])
    assert (point.x, point.y) == (9.0, 48.0)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (EarthEngineExportTableOperator, {}, "exactly one destination.*got none"),
        (EarthEngineExportTableOperator, {"destination_uri": "gs://demo-bucket/x", "file_format": "XLSX"}, "file_format must be one of CSV"),
        (EarthEngineExportTableOperator, {"destination_uri": "bigquery://only.two"}, "bigquery://project.dataset.table"),
        (EarthEngineExportTableOperator, {"destination_uri": "bigquery://p.d.t", "append": True, "overwrite": True}, "exclude each other"),
        (EarthEngineExportTableOperator, {"destination_uri": "bigquery://p.d.t", "file_format": "KML"}, "file_format must be left out"),
        (EarthEngineExportTableOperator, {"destination_uri": "gs://demo-bucket/x", "append": True}, "append must be left out"),
        (EarthEngineExportTableOperator, {"destination_uri": "gs://demo-bucket/x", "feature_view": True}, "feature_view must be left out"),
        (EarthEngineExportTableOperator, {"destination_uri": "projects/p/assets/x", "ingestion_time_parameters": RANKING}, "for FeatureViews"),
        (EarthEngineExportTableOperator, {"destination_uri": "gs://demo-bucket/x", "selectors": ["a", "a"]}, "each once"),
        (EarthEngineExportTableOperator, {"destination_uri": "gs://demo-bucket/x", "max_vertices": 0}, "max_vertices must be at least 1"),
        (EarthEngineExportTableOperator, {"bigquery_export_options": {"table": "a.b.c"}}, "need a destination"),
        (EarthEngineExportMapOperator, {"destination_uri": "gs://demo-bucket/x"}, "exactly one of end_zoom and scale"),
        (EarthEngineExportMapOperator, {"destination_uri": "gs://demo-bucket/x", "end_zoom": 30}, "end_zoom <= 24"),
        (EarthEngineExportMapOperator, {"destination_uri": "drive://f/x", "end_zoom": 3}, "must be gs://bucket/prefix"),
        (EarthEngineExportMapOperator, {"destination_uri": "gs://demo-bucket/x", "end_zoom": 3, "permissions": "ALL"}, "permissions must be one of"),
        (EarthEngineExportVideoOperator, {"destination_uri": "projects/p/assets/x"}, "gs://bucket/prefix or drive://"),
        (EarthEngineExportVideoOperator, {"destination_uri": "gs://demo-bucket/x", "frames_per_second": 0}, "above 0"),
        (EarthEngineExportClassifierOperator, {"destination_uri": "gs://demo-bucket/x"}, "must be projects/"),
        (EarthEngineExportImageOperator, {"destination_uri": "bigquery://p.d.t"}, "destination_uri must be gs://"),
        (EarthEngineExportImageOperator, {"destination_uri": "gs://demo-bucket/x", "tf_record_options": TF_RECORD}, "for TF_RECORD_IMAGE"),
    ],
)  # fmt: skip
def test_bad_input_is_told_before_anything_is_sent(operator, arguments, message, make_context, simulated):
    before = len(simulated.calls)
    with pytest.raises(AirflowFailException, match=message):
        make(operator, **arguments).execute(make_context())
    assert len(simulated.calls) == before
