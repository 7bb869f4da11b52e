"""What an export has left in Cloud Storage: found, counted, listed, checked, and told to those who wait for the asset."""

import json
import logging
from types import SimpleNamespace

import pystac
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import Asset
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ee.core.destination import Destination
from airflow_ee.core.resources import Operation
from airflow_ee.emulator import Emulator
from airflow_ee.operators.export import EarthEngineExportImageOperator, EarthEngineExportTableOperator
from airflow_ee.operators.export_outputs import find_objects

URI = "gs://demo-bucket/ndvi/x"
GRID = {
    "crsCode": "EPSG:32633",
    "dimensions": {"width": 1300, "height": 1290},
    "affineTransform": {"scaleX": 10, "translateX": 5e5, "scaleY": -10, "translateY": 4e6},
}


@pytest.fixture(scope="module")
def host():
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="demo-bucket")
    server.start()
    address, port = server._api._httpd.server_address
    yield f"http://{address}:{port}"
    server.stop()


@pytest.fixture
def bucket(host, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    # Else gcsfs asks by gRPC, which the local storage has not, what kind of bucket it is, for a minute.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    found = storage.Client(project="demo-project", credentials=AnonymousCredentials()).bucket("demo-bucket")
    yield found
    for blob in list(found.list_blobs()):
        blob.delete()


@pytest.fixture
def emulator(bucket, host, connect):
    with Emulator(storage_endpoint=host) as running:
        connect(endpoint=running.url, is_anonymous=True)
        yield running


@pytest.fixture
def make(emulator, graph):
    def make(**arguments):
        arguments = {"destination_uri": URI, "grid": GRID, "cloud_optimized": False, **arguments}
        return EarthEngineExportImageOperator(
            task_id="export", expression=graph, poll_interval=0.05, project_id="demo-project", **arguments
        )

    return make


def names(bucket):
    return sorted(blob.name for blob in bucket.list_blobs())


def test_the_objects_themselves_are_told_and_not_those_of_others(bucket, make, make_context):
    for other in ("ndvi/x-1.tif", "ndvi/xy.tif", "ndvi/x"):
        bucket.blob(other).upload_from_string(b"other")
    result = make(verify_outputs=True).execute(make_context())
    assert (result["uris"], result["uri_count"], result["manifest_uri"]) == ([URI + ".tif"], 1, None)
    assert result["bytes"] == bucket.get_blob("ndvi/x.tif").size


def test_many_pieces_are_listed_in_a_file_beside_them_and_lie_on_the_grid(bucket, make, make_context):
    result = make(verify_outputs=True, file_dimensions=[256, 256]).execute(make_context())
    assert (result["uri_count"], len(result["uris"])) == (36, 20)
    assert result["manifest_uri"] == URI + ".manifest.json"
    told = json.loads(bucket.blob("ndvi/x.manifest.json").download_as_bytes())
    assert [item["uri"] for item in told["objects"]] == [
        f"gs://demo-bucket/{name}" for name in names(bucket) if name.endswith(".tif")
    ]
    assert sum(item["bytes"] for item in told["objects"]) == result["bytes"]
    assert told["operation"] == result["operation"]


def damage(bucket, name, how):
    blob = bucket.blob(name)
    content = blob.download_as_bytes()
    if how == "gone":
        blob.delete()
    else:
        blob.upload_from_string({"empty": b"", "cut": content[:100], "text": b"<html>"}[how])


@pytest.mark.parametrize(
    ("how", "message"),
    [("gone", "files have .* in all"), ("empty", "1 empty files"), ("cut", "does not open as a GeoTIFF"), ("text", "does not open")],
)  # fmt: skip
def test_a_piece_that_is_not_what_was_asked_for_fails_the_task(bucket, make, make_context, how, message):
    arguments = {"file_dimensions": [512, 512]}
    make(**arguments).execute(make_context())
    damage(bucket, "ndvi/x-0000000000-0000000512.tif", how)
    with pytest.raises(AirflowFailException, match=message):
        make(verify_outputs=True, **arguments).execute(make_context())


def test_a_raster_on_another_grid_is_told(bucket, make, make_context):
    moved = json.loads(json.dumps(GRID).replace("500000.0", "500005.0"))
    make(grid=moved, destination_uri="gs://demo-bucket/ndvi/moved").execute(make_context(task_id="other"))
    make().execute(make_context())
    bucket.blob("ndvi/x.tif").upload_from_string(bucket.blob("ndvi/moved.tif").download_as_bytes())
    with pytest.raises(AirflowFailException, match="no piece of"):
        make(verify_outputs=True).execute(make_context())


def test_nothing_at_all_is_told(bucket, make, make_context):
    make().execute(make_context())
    bucket.blob("ndvi/x.tif").delete()
    with pytest.raises(AirflowFailException, match="nothing is there behind gs://demo-bucket/ndvi/x"):
        make(verify_outputs=True).execute(make_context())
    assert make().execute(make_context())["uris"] == [URI], "who does not verify is told the prefix"


def test_objects_of_an_earlier_operation_are_not_told(bucket, emulator):
    bucket.blob("ndvi/x-00001.tfrecord").upload_from_string(b"old")
    for start, count in (("2001-01-01T00:00:00Z", 1), ("2999-01-01T00:00:00Z", 0)):
        operation = Operation(name="projects/p/operations/A", start_time=start)
        assert len(find_objects(Destination.parse(URI), operation, "earth_engine_default")) == count


def test_a_bucket_that_may_not_be_listed_fails_only_those_who_verify(make, make_context, monkeypatch, caplog):
    def refused(*_):
        raise PermissionError("storage.objects.list is missing")

    monkeypatch.setattr("airflow_ee.operators.export_results.find_objects", refused)
    operator = make()
    monkeypatch.setattr(type(operator), "log", logging.getLogger("probe"))
    result = operator.execute(make_context())
    assert result["uris"] == [URI]
    assert "storage.objects.list is missing" in caplog.text
    with pytest.raises(PermissionError):
        make(verify_outputs=True).execute(make_context())


def test_without_a_local_storage_a_local_earth_engine_shows_no_objects(make, make_context, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    assert make().execute(make_context())["uris"] == [URI]
    with pytest.raises(AirflowFailException, match="STORAGE_EMULATOR_HOST"):
        make(verify_outputs=True).execute(make_context())


def test_who_waits_for_the_asset_is_told_what_was_made_and_for_which_partition(make, make_context):
    asset = Asset("ndvi")
    event = SimpleNamespace(extra={}, partitions=[])
    event.add_partitions = event.partitions.append
    context = {**make_context(), "outlet_events": {asset: event}, "partition_key": "2024-06-01"}
    result = make(outlets=[asset]).execute(context)
    assert event.extra == result
    assert event.partitions == ["2024-06-01"]


def test_tables_are_looked_at_too(bucket, emulator, make_context):
    features = {"functionInvocationValue": {"functionName": "Collection", "arguments": {"features": {"arrayValue": {"values": [
        {"functionInvocationValue": {"functionName": "Feature", "arguments": {"geometry": {"constantValue": None}, "metadata": {"dictionaryValue": {"values": {"a": {"constantValue": 1}}}}}}},
    ]}}}}}  # fmt: skip
    operator = EarthEngineExportTableOperator(
        task_id="export", expression={"result": "0", "values": {"0": features}}, destination_uri="gs://demo-bucket/t/fields",
        project_id="demo-project", poll_interval=0.05, verify_outputs=True,
    )  # fmt: skip
    assert operator.execute(make_context())["uris"] == ["gs://demo-bucket/t/fields.csv"]


@pytest.mark.parametrize("pieces", [1, 9])
def test_a_stac_item_beside_the_rasters_names_all_of_them(bucket, make, make_context, pieces):
    context = {**make_context(), "params": {"start": "2024-06-01", "end": "2024-07-01"}}
    make(stac_item=True, file_dimensions=[512, 512] if pieces > 1 else None).execute(context)
    item = pystac.Item.from_dict(json.loads(bucket.blob("ndvi/x.stac.json").download_as_bytes()))
    rasters = [name.removeprefix("ndvi/") for name in names(bucket) if name.endswith(".tif")]
    assert sorted(asset.href for asset in item.assets.values()) == rasters
    assert len(rasters) == pieces
    assert item.properties["proj:shape"] == [1290, 1300]
    assert item.properties["start_datetime"].startswith("2024-06-01")
