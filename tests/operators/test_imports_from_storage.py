"""Imports of what a bucket holds, over a local Cloud Storage: the operator and the service look into the same one."""

import numpy as np
import pytest
import rasterio
import requests
from airflow.providers.common.compat.sdk import AirflowFailException
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ee.emulator import Emulator
from airflow_ee.operators.imports import EarthEngineImportImageOperator, EarthEngineImportTableOperator

NAME = "projects/demo-project/assets/made"


@pytest.fixture(scope="module")
def host():
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="maps")
    server.start()
    address, port = server._api._httpd.server_address
    yield f"http://{address}:{port}"
    server.stop()


@pytest.fixture
def bucket(host, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    # Else gcsfs asks by gRPC, which the local storage has not, what kind of bucket it is, for a minute.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    found = storage.Client(project="demo-project", credentials=AnonymousCredentials()).bucket("maps")
    yield found
    for blob in list(found.list_blobs()):
        blob.delete()


@pytest.fixture
def server(bucket, host, connect):
    with Emulator(storage_endpoint=host, pending_seconds=0.02, running_seconds=0.05) as running:
        connect(endpoint=running.url, is_anonymous=True)
        yield running


def geotiff(values):
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype, "crs": "EPSG:32632"}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5e6), **profile) as file:
            file.write(values)
        return memory.read()


def run(operator, context, **arguments):
    task = operator(task_id="import", poll_interval=0.05, project_id="demo-project", asset_id=NAME, **arguments)
    return task.execute(context)


def test_a_scene_of_bands_is_found_behind_its_prefix(bucket, server, make_context):
    values = np.arange(12, dtype="uint8").reshape(1, 3, 4)
    for band, factor in (("B4", 1), ("B8", 2)):
        bucket.blob(f"scenes/a_{band}.tif").upload_from_string(geotiff(values * factor))
    bucket.blob("scenes/a_readme.txt").upload_from_string(b"not an image")
    bucket.blob("scenes/b_B4.tif").upload_from_string(geotiff(values))
    result = run(EarthEngineImportImageOperator, make_context(), source_uri="gs://maps/scenes/a")
    assert (result["state"], result["uris"]) == ("SUCCEEDED", [NAME])
    answer = requests.post(f"{server.url}/v1/{NAME}:getPixels", json={"fileFormat": "GEO_TIFF"}, timeout=30)
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.descriptions == ("B4", "B8")
        np.testing.assert_array_equal(file.read(), np.concatenate([values, values * 2]))


def test_what_was_uploaded_a_moment_ago_is_seen(bucket, server, make_context):
    with pytest.raises(
        AirflowFailException, match="source_uri: there is no object whose name begins with gs://maps/t/"
    ):
        run(EarthEngineImportTableOperator, make_context(), source_uri="gs://maps/t/")
    for number in (1, 2):
        text = f"name,longitude,latitude\nfield {number},11.5,46.25\n"
        bucket.blob(f"t/{number}.csv").upload_from_string(text)
    run(EarthEngineImportTableOperator, make_context(), source_uri="gs://maps/t/")
    found = requests.get(f"{server.url}/v1/{NAME}:listFeatures", timeout=30).json()["features"]
    assert sorted(each["properties"]["name"] for each in found) == ["field 1", "field 2"]
