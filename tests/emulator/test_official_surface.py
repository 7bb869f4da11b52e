"""Google's own client, unmodified, against the whole surface: credentials, values, pictures, tables, tasks, assets, and its command."""

import http.server
import io
import json
import sys
import threading
import zipfile

import google.auth.credentials
import google.oauth2.credentials
import numpy as np
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from rasterio.io import MemoryFile

from airflow_ee.emulator import Emulator

from .conftest import UNHURRIED
from .test_official_client import finished, initialised

pytestmark = [
    # Pictures say nothing about where they lie, and old names of the client have to work as well as new ones.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning:.*ee.data"),
]

HOME = "projects/demo-project/assets"
MODIS = "MODIS/061/MOD13Q1"
GRID = {
    "dimensions": {"width": 16, "height": 8},
    "affineTransform": {"scaleX": 0.01, "scaleY": -0.01, "translateX": 11, "translateY": 46.1},
    "crsCode": "EPSG:4326",
}


@pytest.fixture
def ee(simulated):
    return initialised(simulated.url)


@pytest.fixture
def own(emulator):
    return initialised(emulator.url)


@pytest.fixture(scope="module")
def guarded():
    with Emulator(tokens=["good"], keys=["key-1"], **UNHURRIED) as running:
        yield running


def connected(url, **options):
    import ee

    ee.Reset()
    ee.Initialize(project="demo-project", url=url, **options)
    return ee


def test_it_initialises_anonymously_with_a_token_and_with_a_key(simulated, guarded):
    anonymous = connected(simulated.url, credentials=google.auth.credentials.AnonymousCredentials())
    assert anonymous.Number(1).getInfo() == 1
    token = connected(guarded.url, credentials=google.oauth2.credentials.Credentials("good"))
    assert token.Number(2).getInfo() == 2
    key = connected(guarded.url, credentials=None, cloud_api_key="key-1")
    assert key.Number(3).getInfo() == 3
    assert key.Image(1).getMapId()["tile_fetcher"].url_format.endswith("?key=key-1")
    with pytest.raises(key.EEException, match="missing required authentication credential"):
        connected(guarded.url, credentials=None)


VALUES = {
    "Number(3)": 3,
    "Number(1.5)": 1.5,
    "String('a')": "a",
    "List([1, 'a', [2]])": [1, "a", [2]],
    "Dictionary({'a': 1})": {"a": 1},
    "Date('2020-01-01')": {"type": "Date", "value": 1577836800000},
    "DateRange('2020-01-01', '2020-02-01')": {"type": "DateRange", "dates": [1577836800000, 1580515200000]},
    "Geometry.Point([1, 2])": {"type": "Point", "coordinates": [1, 2]},
    "Feature(None, {'a': 1})": {"type": "Feature", "geometry": None, "properties": {"a": 1}},
    "Projection('EPSG:4326')": {"type": "Projection", "crs": "EPSG:4326", "transform": [1, 0, 0, 0, 1, 0]},
    "PixelType.float()": {"type": "PixelType", "precision": "float"},
    "Array([[1, 2], [3, 4]])": [[1, 2], [3, 4]],
    "List([None]).get(0)": None,
}


def test_values_of_every_type_are_shown(ee):
    assert {text: eval(f"ee.{text}", {"ee": ee}).getInfo() for text in VALUES} == VALUES


def test_elements_and_collections_are_shown(ee):
    assert ee.Image(1).getInfo()["bands"][0]["id"] == "constant"
    collection = ee.ImageCollection(MODIS).filterDate("2020-01-01", "2020-02-01")
    shown = collection.getInfo()
    assert shown["type"] == "ImageCollection"
    assert [each["id"] for each in shown["features"]] == [f"{MODIS}/2020_01_01", f"{MODIS}/2020_01_17"]
    table = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([1, 2]), {"a": 1})]).getInfo()
    assert table["features"][0]["properties"] == {"a": 1}


def test_lists_by_date_bounds_and_properties(ee):
    point = {"type": "Point", "coordinates": [11.3, 46.4]}
    params = {
        "parent": "COPERNICUS/S2_SR_HARMONIZED",
        "startTime": "2020-06-01T00:00:00Z",
        "endTime": "2020-07-01T00:00:00Z",
        "region": point,
    }
    everything = ee.data.listImages(dict(params))["images"]
    assert everything
    clear = ee.data.listImages({**params, "properties": ["CLOUDY_PIXEL_PERCENTAGE<30"]})["images"]
    cloudy = ee.data.listImages({**params, "properties": ["CLOUDY_PIXEL_PERCENTAGE>=30"]})["images"]
    assert len(clear) + len(cloudy) == len(everything)
    assert all(image["properties"]["CLOUDY_PIXEL_PERCENTAGE"] < 30 for image in clear)
    tile = everything[0]["properties"]["MGRS_TILE"]
    by_text = ee.data.listAssets({
        "parent": params["parent"],
        "filter": f'startTime >= "{params["startTime"]}" AND endTime < "{params["endTime"]}" AND properties.MGRS_TILE = "{tile}"'
        " AND intersects(\"{'type': 'Point', 'coordinates': [11.3, 46.4]}\")",
        "view": "BASIC",
    })["assets"]  # fmt: skip
    assert {image["name"] for image in by_text} <= {image["name"] for image in everything}
    first = ee.data.listImages({**params, "pageSize": 1})
    second = ee.data.listImages({**params, "pageSize": 1, "pageToken": first["nextPageToken"]})
    assert [first["images"][0]["id"], second["images"][0]["id"]] == [image["id"] for image in everything[:2]]


def test_pixels_in_every_format(ee):
    image = ee.Image(f"{MODIS}/2020_06_09").select("NDVI")
    array = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": GRID})
    raw = ee.data.computePixels({"expression": image, "fileFormat": "NPY", "grid": GRID})
    np.testing.assert_array_equal(np.load(io.BytesIO(raw)), array)
    stored = ee.data.getPixels(
        {"assetId": f"{MODIS}/2020_06_09", "bandIds": ["NDVI"], "fileFormat": "NPY", "grid": GRID}
    )
    assert stored == raw
    tiff = ee.data.computePixels({"expression": image, "fileFormat": "GEO_TIFF", "grid": GRID})
    with MemoryFile(tiff) as memory, memory.open() as dataset:
        np.testing.assert_array_equal(dataset.read(1, masked=True).filled(0), array["NDVI"])
    picture = image.visualize(min=0, max=9000)
    png = ee.data.computePixels({"expression": picture, "fileFormat": "PNG", "grid": GRID})
    assert png.startswith(b"\x89PNG")
    assert ee.data.computePixels({"expression": picture, "grid": GRID})[:3] in (b"\xff\xd8\xff", b"\x89PN")


def fetched(url):
    answer = requests.get(url, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer


def test_thumbnails_and_downloads(ee):
    image = ee.Image(f"{MODIS}/2020_06_09").select(["NDVI", "EVI"])
    region = ee.Geometry.Rectangle([11, 46, 11.5, 46.4], None, False)
    look = {"bands": ["NDVI"], "min": 0, "max": 9000, "palette": ["brown", "green"], "region": region}
    thumbnail = fetched(image.getThumbURL({**look, "dimensions": 256, "format": "png"}))
    assert thumbnail.headers["content-type"] == "image/png"
    with MemoryFile(thumbnail.content) as memory, memory.open() as dataset:
        assert dataset.count == 4
        assert max(dataset.shape) == 256
    jpeg = fetched(image.getThumbURL({**look, "dimensions": "64x32", "format": "jpg"}))
    with MemoryFile(jpeg.content) as memory, memory.open() as dataset:
        assert (dataset.driver, dataset.shape, dataset.count) == ("JPEG", (32, 64), 3)
    place = {"region": region, "scale": 250, "crs": "EPSG:32632"}
    array = np.load(io.BytesIO(fetched(image.getDownloadURL({**place, "format": "NPY"})).content))
    assert array.dtype.names == ("NDVI", "EVI")
    archive = fetched(image.getDownloadURL({**place, "name": "field"}))
    with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
        assert files.namelist() == ["field.NDVI.tif", "field.EVI.tif"]
        with MemoryFile(files.read("field.NDVI.tif")) as memory, memory.open() as dataset:
            np.testing.assert_array_equal(dataset.read(1, masked=True).filled(0), array["NDVI"])
            assert dataset.transform.c % 250 == 0
    one = fetched(image.getDownloadURL({**place, "filePerBand": False, "name": "field"}))
    assert zipfile.ZipFile(io.BytesIO(one.content)).namelist() == ["field.tif"]
    apart = [{"id": "NDVI", "scale": 250}, {"id": "EVI", "scale": 500}]
    parts = fetched(image.getDownloadURL({"region": region, "crs": "EPSG:32632", "bands": apart}))
    with zipfile.ZipFile(io.BytesIO(parts.content)) as files:
        sizes = []
        for name in files.namelist():
            with MemoryFile(files.read(name)) as memory, memory.open() as dataset:
                sizes.append(dataset.res[0])
    assert sizes == [250, 500]


def test_maps_tiles_and_filmstrips(ee, monkeypatch):
    # What is not emulated answers 501, which the client would ask for five times more.
    monkeypatch.setattr(ee.data._get_state(), "max_retries", 0)
    image = ee.Image(f"{MODIS}/2020_06_09")
    fetcher = image.getMapId({"bands": ["NDVI"], "min": 0, "max": 9000})["tile_fetcher"]
    tile = fetcher.fetch_tile(34, 22, 6)
    assert fetched(fetcher.format_tile_url(34 + 64, 22, 6)).content == tile
    with MemoryFile(tile) as memory, memory.open() as dataset:
        assert dataset.shape == (256, 256)
    collection = ee.ImageCollection(MODIS).filterDate("2020-01-01", "2020-03-01").select("NDVI")
    region = ee.Geometry.Rectangle([11, 46, 11.5, 46.5], None, False)
    strip = collection.getFilmstripThumbURL(
        {"region": region, "dimensions": "32x32", "min": 0, "max": 9000, "format": "png"}
    )
    with MemoryFile(fetched(strip).content) as memory, memory.open() as dataset:
        assert dataset.shape == (32 * collection.size().getInfo(), 32)
    with pytest.raises(ee.EEException, match=r"projects\.videoThumbnails\.create is not emulated"):
        collection.getVideoThumbURL({"region": region, "dimensions": 32, "min": 0, "max": 9000})


def test_features_images_and_tables(ee):
    table = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([11, 46]), {"a": n, "b": str(n)}) for n in range(5)])
    frame = ee.data.computeFeatures({"expression": table, "pageSize": 2, "fileFormat": "PANDAS_DATAFRAME"})
    assert list(frame["a"]) == [0, 1, 2, 3, 4]
    assert set(frame.columns) == {"geo", "a", "b", "system:index"}
    page = ee.data.computeFeatures({"expression": table, "pageSize": 3})
    rest = ee.data.computeFeatures({"expression": table, "pageSize": 3, "pageToken": page["nextPageToken"]})
    assert [len(page["features"]), len(rest["features"])] == [3, 2]
    images = ee.data.computeImages({"expression": ee.ImageCollection(MODIS).filterDate("2020-01-01", "2020-02-01")})
    assert [image["id"] for image in images["images"]] == [f"{MODIS}/2020_01_01", f"{MODIS}/2020_01_17"]
    lines = fetched(table.getDownloadURL("csv", ["b", "a"], "mine"))
    assert lines.text.splitlines()[:2] == ["b,a", "0,0"]
    for kind in ("json", "geojson"):
        assert len(fetched(table.getDownloadURL(kind)).json()["features"]) == 5
    assert b"<kml" in fetched(table.getDownloadURL("kml")).content


def test_workload_tags_travel_in_bodies_and_queries(own, emulator):
    with own.data.workloadTagContext("nightly"):
        own.Number(1).getInfo()
        assert emulator.requests[-1].body["workloadTag"] == "nightly"
        own.Image(1).getMapId()
        assert emulator.requests[-1].query["workloadTag"] == "nightly"


def test_tasks_start_end_and_are_listed(own, emulator):
    table = own.FeatureCollection([own.Feature(own.Geometry.Point([11, 46]), {"a": 1})])
    region = own.Geometry.Rectangle([11, 46, 11.05, 46.05], None, False)
    image = own.Image(f"{MODIS}/2020_06_09").select("NDVI")
    tasks = [
        own.batch.Export.table.toDrive(table, "one", folder="f", fileFormat="GeoJSON"),
        own.batch.Export.table.toCloudStorage(table, "two", bucket="b", fileNamePrefix="x/two", fileFormat="CSV"),
        own.batch.Export.table.toAsset(table, "three", assetId=f"{HOME}/three"),
        own.batch.Export.image.toDrive(image, "four", region=region, scale=250, crs="EPSG:32632"),
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        assert finished(own, task)["metadata"]["state"] == "SUCCEEDED"
        assert task.status()["state"] == "COMPLETED"
    assert {task.id for task in tasks} == {task.id for task in own.batch.Task.list()}
    assert {each["task_type"] for each in own.data.getTaskList()} == {"EXPORT_FEATURES", "EXPORT_IMAGE"}
    assert own.data.getTaskStatus(tasks[0].id)[0]["description"] == "one"
    assert own.data.getTaskStatus("NONE")[0]["state"] == "UNKNOWN"
    assert (emulator.root / "gs/b/x/two.csv").read_text().startswith("system:index,a,.geo")
    assert own.FeatureCollection(f"{HOME}/three").size().getInfo() == 1
    assert len(own.data.listFeatures({"assetId": f"{HOME}/three"})["features"]) == 1
    assert own.data.listFeatures({"assetId": f"{HOME}/three", "filter": "properties.a > 1"}) == {
        "type": "FeatureCollection"
    }


def test_assets_are_managed(own):
    data = own.data
    data.createFolder(f"{HOME}/box")
    data.createAsset({"type": "IMAGE_COLLECTION"}, f"{HOME}/box/all", {"kind": "test"})
    data.setAssetProperties(f"{HOME}/box/all", {"n": 3, "kind": None})
    assert data.getAsset(f"{HOME}/box/all")["properties"] == {"n": 3}
    data.updateAsset(f"{HOME}/box/all", {"start_time": "2020-01-01T00:00:00Z"}, ["start_time"])
    assert data.getAsset(f"{HOME}/box/all")["startTime"] == "2020-01-01T00:00:00Z"
    data.renameAsset(f"{HOME}/box/all", f"{HOME}/moved")
    assert [each["id"] for each in data.listAssets(HOME)["assets"]] == [f"{HOME}/box", f"{HOME}/moved"]
    assert data.getInfo(f"{HOME}/box/all") is None
    assert [each["id"] for each in data.getAssetRoots()] == [f"{HOME}/box", f"{HOME}/moved"]
    quota = data.getAssetRootQuota(HOME)
    assert quota["asset_count"] == {"usage": 2, "limit": 10000}
    data.setAssetAcl(f"{HOME}/moved", {"readers": ["user:a@example.com"], "all_users_can_read": True})
    acl = data.getAssetAcl(f"{HOME}/moved")
    assert acl == {"owners": [], "writers": [], "readers": ["user:a@example.com"], "all_users_can_read": True}
    data.setAssetAcl(f"{HOME}/moved", {"owners": ["user:me@example.com"]})
    data.setAssetAcl(f"{HOME}/moved", {"readers": ["user:a@example.com"]})
    assert data.getAssetAcl(f"{HOME}/moved")["owners"] == ["user:me@example.com"]
    policy = data.getIamPolicy(f"{HOME}/moved")
    assert data.setIamPolicy(f"{HOME}/moved", policy) == policy
    for name in ("moved", "box"):
        data.deleteAsset(f"{HOME}/{name}")
    assert data.listAssets(HOME)["assets"] == []
    assert data.getProjectConfig()["maxConcurrentExports"] == 2


class TokenServer(http.server.BaseHTTPRequestHandler):
    """Gives an access token to whoever asks, as OAuth servers do."""

    def do_POST(self):
        body = json.dumps({"access_token": "good", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def account(tmp_path):
    """A service account's key file whose tokens come from a server of ours."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = tmp_path / "account.json"
        path.write_text(json.dumps({
            "type": "service_account", "client_email": "a@example.com", "private_key": pem.decode(), "private_key_id": "1",
            "token_uri": f"http://127.0.0.1:{server.server_port}/token", "project_id": "demo-project",
        }))  # fmt: skip
        yield path
        server.shutdown()


def test_the_earthengine_command(tmp_path, account, monkeypatch, capsys):
    import ee
    from ee.cli import eecli

    def run(*arguments):
        ee.Reset()
        monkeypatch.setattr(sys, "argv", ["earthengine", "--service_account_file", str(account), *arguments])
        eecli.main()
        return capsys.readouterr().out

    with Emulator(root=tmp_path / "root", tokens=["good"], **UNHURRIED) as emulator:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"url": emulator.url, "project": "demo-project"}))
        monkeypatch.setenv("EE_CONFIG_FILE", str(config))
        run("create", "folder", f"{HOME}/box")
        run("create", "collection", f"{HOME}/box/all")
        assert f"{HOME}/box/all" in run("ls", f"{HOME}/box")
        run("asset", "set", "-p", "(string)colour=red", f"{HOME}/box/all")
        assert '"colour": "red"' in run("asset", "info", f"{HOME}/box/all")
        run("acl", "set", "public", f"{HOME}/box/all")
        assert '"all_users_can_read": true' in run("acl", "get", f"{HOME}/box/all")
        run("mv", f"{HOME}/box/all", f"{HOME}/moved")
        run("rm", "-r", f"{HOME}/box")
        assert run("ls", HOME).split() == [f"{HOME}/moved"]
        assert "MODIS/061/MOD13Q1" in run("ls", "MODIS/061")
        run("task", "list")
        assert {request.headers["authorization"] for request in emulator.requests} == {"Bearer good"}
