"""Exports reach a Cloud Storage endpoint, where Google's own storage client finds them; refusals fail the operation."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from rasterio.io import MemoryFile

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.exports.delivery import TRIES, FolderDelivery, StorageDelivery, delivery
from airflow_ee.emulator.exports.destinations import FilePlace
from airflow_ee.emulator.exports.drafts import Draft

from .conftest import Rest, loaded
from .test_exports import GRID, NDVI, to_bucket


@pytest.fixture
def bucket():
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="b")
    server.start()
    host, port = server._api._httpd.server_address
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def endpoint():
    """Answers uploads with scripted status codes, and remembers what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            server.seen.append((self.path, self.headers["Content-Type"], content))
            self.send_response(server.script.pop(0) if server.script else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.script, server.seen = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def draft(tmp_path, content=b"abc"):
    path = tmp_path / "draft"
    path.write_bytes(content)
    return Draft(path, ".csv", "text/csv")


PLACE = FilePlace("gs", "b", "a folder/x")


def test_exported_files_are_found_by_googles_storage_client(tmp_path, bucket):
    with Emulator(root=tmp_path, storage_endpoint=bucket, pending_seconds=0, running_seconds=0) as running:
        rest = Rest(running.url)
        tiff = {"tileSize": {"value": 16}, "tileDimensions": {"width": 48, "height": 48}}
        operation = rest.ended(rest.export(NDVI, grid=GRID, **to_bucket("p/x", **tiff)).json()["name"])
        assert operation["metadata"]["state"] == "SUCCEEDED", operation
        pixels = loaded(rest.compute(NDVI, GRID))["NDVI"]
    assert not (tmp_path / "gs").exists()
    client = storage.Client("p", AnonymousCredentials(), client_options={"api_endpoint": bucket})
    names = [blob.name for blob in client.list_blobs("b", prefix="p/")]
    assert names == ["p/x-0000000000-0000000000.tif", "p/x-0000000000-0000000048.tif"]
    with MemoryFile(client.bucket("b").blob(names[1]).download_as_bytes()) as memory, memory.open() as dataset:
        np.testing.assert_array_equal(dataset.read(1), pixels[:, 48:])


def test_a_missing_bucket_fails_the_operation(tmp_path, bucket):
    with Emulator(root=tmp_path, storage_endpoint=bucket, pending_seconds=0, running_seconds=0) as running:
        rest = Rest(running.url)
        body = to_bucket()
        body["fileExportOptions"]["cloudStorageDestination"]["bucket"] = "other"
        operation = rest.ended(rest.export(NDVI, grid=GRID, **body).json()["name"])
    assert operation["metadata"]["state"] == "FAILED"
    assert operation["error"] == {"code": 5, "message": "Unable to write to bucket other: HTTP 404."}
    assert not list(tmp_path.rglob("*.tif"))


def test_an_upload_is_one_request_with_its_name_and_type(tmp_path, endpoint):
    StorageDelivery(endpoint.url, FolderDelivery(tmp_path)).put(draft(tmp_path), PLACE)
    (sent,) = endpoint.seen
    assert sent == ("/upload/storage/v1/b/b/o?uploadType=media&name=a+folder%2Fx.csv", "text/csv", b"abc")
    assert not (tmp_path / "draft").exists()


def test_an_empty_file_is_uploaded_too(tmp_path, endpoint):
    StorageDelivery(endpoint.url, FolderDelivery(tmp_path)).put(draft(tmp_path, b""), PLACE)
    assert endpoint.seen[0][2] == b""


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(tmp_path, endpoint, status):
    endpoint.script = [status, status, 200]
    pauses = []
    StorageDelivery(endpoint.url, FolderDelivery(tmp_path), pauses.append).put(draft(tmp_path), PLACE)
    assert [content for _, _, content in endpoint.seen] == [b"abc"] * 3
    assert pauses == [0.25, 0.5]


def test_what_stays_ends_with_a_clear_message(tmp_path, endpoint):
    endpoint.script = [503] * TRIES
    with pytest.raises(EmulatorError, match="Unable to write to bucket b: HTTP 503") as caught:
        StorageDelivery(endpoint.url, FolderDelivery(tmp_path), lambda _: None).put(draft(tmp_path), PLACE)
    assert caught.value.code == "UNAVAILABLE"
    assert len(endpoint.seen) == TRIES
    endpoint.script = [403]
    with pytest.raises(EmulatorError, match="HTTP 403") as caught:
        StorageDelivery(endpoint.url, FolderDelivery(tmp_path)).put(draft(tmp_path), PLACE)
    assert caught.value.code == "PERMISSION_DENIED"


def test_nobody_there_is_said_so(tmp_path):
    target = StorageDelivery("http://127.0.0.1:9", FolderDelivery(tmp_path), lambda _: None)
    with pytest.raises(EmulatorError, match="ConnectionError at http://127.0.0.1:9"):
        target.put(draft(tmp_path), PLACE)
    with pytest.raises(ValueError, match="http or https"):
        delivery(tmp_path, "ftp://x")


def test_drive_stays_a_folder_whose_name_may_have_a_slash(tmp_path, endpoint):
    target = delivery(tmp_path, endpoint.url)
    target.put(draft(tmp_path), FilePlace("drive", "a/b", "x"))
    assert (tmp_path / "drive" / "a%2Fb" / "x.csv").read_bytes() == b"abc"
    assert endpoint.seen == []
