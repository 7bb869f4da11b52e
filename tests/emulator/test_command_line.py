"""Google's own command line against the emulator, unchanged: uploads from a bucket, listings, tasks, copies."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .conftest import call, graph, image
from .test_imports import HOME, geotiff

pytestmark = pytest.mark.slow

TABLE = "name,hectares,longitude,latitude\nnorth,2.5,11.1,46.2\nsouth,4,11.2,46.1\n"


class _Tokens(http.server.BaseHTTPRequestHandler):
    """Answers every request for an access token: the command line has no way to go without one."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


@pytest.fixture
def token_uri():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    server.server_close()


@pytest.fixture
def earthengine(emulator, token_uri, tmp_path_factory):
    """Runs a command; its project and address come from the configuration file that the command line has for them."""
    folder = tmp_path_factory.mktemp("home")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "a@b", "private_key": key.decode(), "token_uri": token_uri}
    (folder / "account.json").write_text(json.dumps(account))
    (folder / "config.json").write_text(json.dumps({"url": emulator.url, "project": "demo-project"}))
    program = Path(sys.executable).parent / "earthengine"
    if not program.is_file():
        pytest.skip("the command line of earthengine-api is not installed")
    given = ["--ee_config", str(folder / "config.json"), "--service_account_file", str(folder / "account.json")]
    environment = {**os.environ, "HOME": str(folder), "NO_PROXY": "127.0.0.1"}

    def run(*arguments, status=0):
        found = subprocess.run(
            [str(program), *given, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
        )
        assert found.returncode == status, found.stdout + found.stderr
        return found.stdout

    return run


def uploaded(earthengine, rest, *arguments):
    """The operation that an upload has started, ended: the command's own waiting takes ten seconds at least."""
    (task,) = re.findall(r"Started upload task with ID: (\S+)", earthengine("upload", *arguments))
    return rest.ended(f"{rest.project}/operations/{task}")


@pytest.fixture
def bucket(emulator):
    folder = emulator.root / "gs" / "b"
    folder.mkdir(parents=True)
    return folder


def test_upload_image_makes_an_asset_of_a_geotiff(earthengine, rest, bucket):
    values = np.arange(24, dtype="int16").reshape(2, 3, 4)
    geotiff(bucket / "one.tif", values)
    operation = uploaded(
        earthengine, rest, "image", "gs://b/one.tif", f"--asset_id={HOME}/field", "--bands=red,nir", "--nodata_value=5",
        "--pyramiding_policy=mode", "-p", "(string)farm=north", "-p", "(number)hectares=2.5",
        "--time_start=2020-06-01",
    )  # fmt: skip
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    shown = rest.get(f"{HOME}/field").json()
    assert [(band["id"], band["pyramidingPolicy"]) for band in shown["bands"]] == [("red", "MODE"), ("nir", "MODE")]
    assert shown["startTime"] == "2020-06-01T00:00:00Z"
    assert (shown["properties"]["farm"], shown["properties"]["hectares"]) == ("north", 2.5)
    pixels = rest.pixels(graph(image(f"{HOME}/field")))
    np.testing.assert_array_equal(pixels["nir"], values[1])
    mask = rest.pixels(graph(call("Image.mask", image=image(f"{HOME}/field"))))
    np.testing.assert_array_equal(mask["red"], values[0] != 5)
    (task,) = earthengine("task", "list").splitlines()
    assert task.split()[1:] == ["Upload", "SUCCEEDED", "---"]
    assert f"{HOME}/field" in earthengine("ls", HOME)
    assert json.loads(earthengine("asset", "info", f"{HOME}/field"))["id"].endswith("field")


def test_upload_image_from_a_manifest(earthengine, rest, bucket, tmp_path):
    geotiff(bucket / "one.tif", np.ones((1, 3, 4), "uint8"), names=("v",))
    manifest = {"name": f"{HOME}/m", "tilesets": [{"id": "t", "sources": [{"uris": ["gs://b/one.tif"]}]}]}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    assert uploaded(earthengine, rest, "image", "--manifest", str(path))["metadata"]["state"] == "SUCCEEDED"
    assert [band["id"] for band in rest.get(f"{HOME}/m").json()["bands"]] == ["v"]


def test_upload_table_makes_an_asset_of_a_csv(earthengine, rest, bucket):
    (bucket / "fields.csv").write_text(TABLE)
    told = earthengine("upload", "table", "gs://b/fields.csv", f"--asset_id={HOME}/fields", "--wait=10")
    assert "ended at state: SUCCEEDED" in told
    table = call("Collection.loadTable", tableId=f"{HOME}/fields")
    names = call("AggregateFeatureCollection.array", collection=table, property="name")
    assert rest.value(graph(names)) == ["north", "south"]


def test_a_file_that_is_missing_fails_the_upload_by_its_name(earthengine, rest, bucket):
    operation = uploaded(earthengine, rest, "image", "gs://b/gone.tif", f"--asset_id={HOME}/x")
    assert "Unable to open gs://b/gone.tif" in operation["error"]["message"]
    assert "Unable to open gs://b/gone.tif" in earthengine("task", "info", operation["name"].rpartition("/")[2])
    assert rest.get(f"{HOME}/x").status_code == 404


def test_folders_copies_and_removal(earthengine, rest, bucket):
    shutil.copy(geotiff(bucket / "one.tif", np.ones((1, 3, 4), "uint8")), bucket / "two.tif")
    earthengine("create", "collection", f"{HOME}/series")
    for name in ("one", "two"):
        uploaded(earthengine, rest, "image", f"gs://b/{name}.tif", f"--asset_id={HOME}/series/{name}")
    assert earthengine("ls", f"{HOME}/series").split() == [f"{HOME}/series/one", f"{HOME}/series/two"]
    earthengine("cp", f"{HOME}/series/one", f"{HOME}/copy")
    earthengine("rm", "-r", f"{HOME}/series")
    assert rest.get(f"{HOME}/series").status_code == 404
    assert rest.get(f"{HOME}/copy").status_code == 200
