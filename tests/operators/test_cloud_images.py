"""Images that read a Cloud Optimized GeoTIFF of a bucket: made once, their pixels are the file's, mistakes have their own words."""

import json

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.operators.assets import EarthEngineCreateAssetOperator, EarthEngineCreateCloudImageOperator

HOME = "projects/demo-project/assets"
NAME = f"{HOME}/ndvi"
URI = "gs://maps/ndvi.tif"
VALUES = np.arange(30, dtype="int16").reshape(5, 6)


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    folder = emulator.root / "gs" / "maps"
    folder.mkdir(parents=True)
    write(folder / "ndvi.tif")
    write(folder / "other.tif")
    return emulator


@pytest.fixture
def run(server, make_context):
    """Runs the operator as a task of its own, and gives its result."""

    def run(retries=2, context=None, **arguments):
        arguments = {"asset_id": NAME, "source_uri": URI, **arguments}
        task = EarthEngineCreateCloudImageOperator(task_id="task", request_retries=retries, **arguments)
        result = task.execute(make_context() if context is None else context)
        json.dumps(result)
        return result

    return run


def write(path, values=VALUES):
    height, width = values.shape
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_100_000)}
    shape = {"count": 1, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", **place, **shape) as file:
            file.write(values, 1)
        with memory.open() as file:
            rasterio.shutil.copy(file, path, driver="COG")


def shown(server, name=NAME):
    return requests.get(f"{server.url}/v1/{name}", timeout=30).json()


def pixels(server):
    answer = requests.post(f"{server.url}/v1/{NAME}:getPixels", json={"fileFormat": "GEO_TIFF"}, timeout=30)
    with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
        return file.read(1)


def test_its_pixels_are_those_of_the_file_as_it_is(run, server, make_context):
    context = make_context()
    arguments = {"properties": '{"crop": "soy"}', "start_time": "2024-05-01", "end_time": "2024-05-02"}
    result = run(context=context, **arguments)
    assert result == {"asset": NAME, "type": "IMAGE", "source_uri": URI, "created": [NAME]}
    assert context["ti"].xcoms == {"_link_EarthEngineAssetLink": f"{server.url}/v1/{NAME}"}
    asset = shown(server)
    assert asset["cloudStorageLocation"] == {"uris": [URI]}
    assert (asset["startTime"], asset["endTime"]) == ("2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z")
    assert asset["properties"]["crop"] == "soy"
    np.testing.assert_array_equal(pixels(server), VALUES)
    write(server.root / "gs/maps/ndvi.tif", VALUES + 7)
    np.testing.assert_array_equal(pixels(server), VALUES + 7)
    assert server.operations == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
@pytest.mark.parametrize("retries", [0, 2], ids=["the next try", "the same try"])
def test_a_fault_on_the_way_is_cured(run, server, fault, overwrite, retries):
    server.inject("assets.create", fault)
    if not retries:
        with pytest.raises(Exception, match=r"CONNECTION_FAILED|UNAVAILABLE|RESOURCE_EXHAUSTED"):
            run(retries=0, overwrite=overwrite)
    made_before = fault == "lose-response" and not overwrite
    assert run(retries=retries, overwrite=overwrite)["created"] == ([] if made_before else [NAME])
    assert not server.pending
    assert run(overwrite=overwrite)["created"] == ([NAME] if overwrite else [])
    assert shown(server)["cloudStorageLocation"] == {"uris": [URI]}


def test_one_that_reads_another_file_is_told_and_only_replaced_when_asked(run, server):
    run(source_uri="gs://maps/other.tif")
    words = f"{NAME} is there already, and reads gs://maps/other.tif, not {URI}: overwrite=True replaces it"
    with pytest.raises(AirflowFailException, match=words):
        run()
    assert shown(server)["cloudStorageLocation"] == {"uris": ["gs://maps/other.tif"]}
    assert run(overwrite="True")["created"] == [NAME]
    assert shown(server)["cloudStorageLocation"] == {"uris": [URI]}


def test_another_kind_of_asset_is_told(run, server, make_context):
    EarthEngineCreateAssetOperator(task_id="task", asset_id=NAME).execute(make_context())
    with pytest.raises(AirflowFailException, match=f"{NAME} is there already, and reads no file, not {URI}"):
        run()
    assert shown(server)["type"] == "FOLDER"


def test_a_parent_that_is_missing_is_named_or_made(run, server):
    name = f"{HOME}/farms/2024/ndvi"
    with pytest.raises(AirflowFailException, match=f"its parent '{HOME}/farms/2024' does not exist"):
        run(asset_id=name)
    result = run(asset_id=name, create_parents="true")
    assert result["created"] == [f"{HOME}/farms", f"{HOME}/farms/2024", name]


def test_what_the_service_finds_wrong_ends_the_task_at_once(run, server):
    with pytest.raises(AirflowFailException, match="Unable to open gs://maps/gone.tif"):
        run(source_uri="gs://maps/gone.tif")
    (server.root / "gs/maps/text.tif").write_text("no image")
    with pytest.raises(AirflowFailException, match="text.tif: it is not a GeoTIFF"):
        run(source_uri="gs://maps/text.tif")
    server.inject("assets.create", "403")
    with pytest.raises(AirflowFailException, match=r"\[PERMISSION_DENIED\]"):
        run()
    assert shown(server)["error"]["code"] == 404


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source_uri": "s3://maps/x.tif"}, "source_uri must be gs://bucket/object.tif"),
        ({"source_uri": "gs://maps/x.csv"}, "source_uri must be gs://bucket/object.tif"),
        ({"asset_id": "MODIS/x"}, "asset_id: 'MODIS/x' would be in the public catalogue"),
        ({"properties": {"a": [1]}}, "properties: 'a' must be a text or a number"),
        ({"start_time": "June"}, "start_time must be an ISO date"),
        ({"start_time": "2024-02-01", "end_time": "2024-01-01"}, "end_time must not be before start_time"),
        ({"overwrite": "perhaps"}, "overwrite must be true or false"),
        ({"create_parents": "perhaps"}, "create_parents must be true or false"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(run, server, arguments, words):
    with pytest.raises(AirflowFailException, match=words):
        run(**arguments)
    assert server.calls == []
