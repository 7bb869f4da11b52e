"""Random and tampered requests: never an internal error, never a hang, never growing memory.

``make test-slow`` runs 200,000; a plain run 2,000. The failing case's number makes it again.
"""

import gc
import json
import os
import resource
import time
from random import Random

import pytest
import requests

from airflow_ee.emulator import Emulator, deadline
from airflow_ee.emulator.api.calls import Call
from airflow_ee.emulator.api.discovery import signatures
from airflow_ee.emulator.api.pixels import compute_pixels
from airflow_ee.emulator.api.values import compute_value
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.compute.service import ComputeOptions
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.http.app import guarded
from tests.emulator import fuzz
from tests.emulator.conftest import NOW, call, graph, grid, image

CASES = int(os.environ.get("AIRFLOW_EE_FUZZ_CASES", "2000"))
TIMEOUT_SECONDS = 2.0
"""What the emulator lets one request compute here, in place of the service's five minutes."""

LIMIT_SECONDS = 5.0
BATCH = 250


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    compute = ComputeOptions(timeout_seconds=TIMEOUT_SECONDS)
    limits = {"max_concurrent_requests": None, "requests_per_second": None}
    options = {"pending_seconds": 0, "running_seconds": 0, "compute": compute, **limits}
    with Emulator(root=tmp_path_factory.mktemp("root"), clock=ManualClock(NOW), **options) as emulator:
        yield emulator


def outcome(method, body, session):
    """What a method answers in process: ``ok``, or the error's status."""
    path = {"project": "projects/demo-project"}
    try:
        with deadline.within(TIMEOUT_SECONDS):
            guarded(lambda each: method(each, session), Call("fuzz", path, body=body))
    except EmulatorError as problem:
        is_defect = "the emulator failed on these arguments" in problem.message
        return "INTERNAL" if is_defect else problem.code, problem.message
    return "ok", ""


def check_graph(seed, session):
    """Evaluate one random expression as a value and, where it is an image, as pixels."""
    expression = fuzz.flat(fuzz.Graphs(signatures(), registry.names, seed).expression())
    body = json.loads(json.dumps(fuzz.BODIES["value"](expression)))
    begin = time.perf_counter()
    code, text = outcome(compute_value, body, session())
    if code == "ok" and registry_returns_image(expression):
        pixels = json.loads(json.dumps(fuzz.BODIES["computePixels"](expression)))
        code, text = outcome(compute_pixels, pixels, session())
    seconds = time.perf_counter() - begin
    shown = json.dumps(expression)
    assert code != "INTERNAL", f"case {seed}: {text}\n{shown}"
    assert seconds < LIMIT_SECONDS, f"case {seed} took {seconds:.1f} s\n{shown}"
    return code


def registry_returns_image(expression):
    name = expression["values"]["0"]["functionInvocationValue"]["functionName"]
    return name.startswith(("Image.", "ImageCollection.", "reduce."))


@pytest.mark.parametrize("first", range(0, CASES // 2, BATCH))
def test_random_graphs_have_values_or_are_refused(first, running):
    codes = [check_graph(seed, running._session) for seed in range(first, first + BATCH)]
    assert "ok" in codes
    assert set(codes) <= {"ok", "INVALID_ARGUMENT"}


IMAGE_MANIFEST = {
    "name": "projects/demo-project/assets/i",
    "tilesets": [{"id": "t", "crs": "EPSG:32632", "sources": [{"uris": ["gs://b/a.tif"], "dimensions": {"width": 4, "height": 3}}]}],
    "bands": [{"id": "r", "tilesetId": "t", "tilesetBandIndex": 1, "missingData": {"values": [1]}, "pyramidingPolicy": "MODE"}],
    "maskBands": [{"tilesetId": "t", "bandIds": ["r"]}],
    "footprint": {"points": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}, {"x": 0, "y": 0}], "bandId": "r"},
    "properties": {"a": 1},
    "startTime": "2020-01-01T00:00:00Z",
}  # fmt: skip
TABLE_MANIFEST = {
    "name": "projects/demo-project/assets/t",
    "sources": [{"uris": ["gs://b/t.csv"], "charset": "UTF-8", "xColumn": "x", "yColumn": "y", "csvDelimiter": ",", "maxVertices": 9}],
    "columnDataTypeOverrides": {"a": "COLUMN_DATA_TYPE_STRING"},
}  # fmt: skip


def seeds_of_requests():
    """Requests that are good as they are."""
    affine = grid("EPSG:32632", (600000, 5200000), 10, 16, 12)
    ndvi = graph(call("Image.select", input=image("MODIS/061/MOD13Q1/2023_06_10"), bandSelectors=["NDVI"]))
    destination = {"fileFormat": "GEO_TIFF", "cloudStorageDestination": {"bucket": "b", "filenamePrefix": "p/x"}}
    project = "/v1/projects/demo-project"
    asset = "/v1/projects/earthengine-public/assets/MODIS/061/MOD13Q1/2023_06_10"
    return [
        ("POST", f"{project}/image:computePixels", {"expression": ndvi, "fileFormat": "NPY", "grid": affine}),
        ("POST", f"{project}/value:compute", {"expression": ndvi}),
        ("POST", f"{project}/image:export", {"expression": ndvi, "grid": affine, "fileExportOptions": destination,
                                             "requestId": "a", "maxPixels": {"value": "1000"}, "priority": 3}),
        ("POST", f"{asset}:getPixels", {"fileFormat": "GEO_TIFF", "bandIds": ["NDVI"], "grid": affine}),
        ("POST", f"{project}/table:computeFeatures", {"expression": ndvi, "pageSize": 3}),
        ("POST", f"{project}/imageCollection:computeImages", {"expression": ndvi}),
        ("POST", f"{project}/thumbnails", {"expression": ndvi, "fileFormat": "PNG", "grid": affine}),
        ("POST", f"{project}/maps", {"expression": ndvi, "fileFormat": "PNG"}),
        ("POST", f"{project}/tables", {"expression": ndvi, "fileFormat": "CSV", "selectors": ["a"]}),
        ("POST", f"{project}/table:export", {"expression": ndvi, "fileExportOptions": {**destination, "fileFormat": "CSV"}}),
        ("POST", f"{project}/assets?assetId=x", {"type": "FOLDER", "properties": {"a": 1}}),
        ("POST", f"{project}/table:export", {"expression": ndvi, "bigqueryExportOptions": {"bigqueryDestination": {"table": "p.d.t"}}}),
        ("POST", f"{project}/video:export", {"expression": ndvi, "fileExportOptions": {**destination, "fileFormat": "MP4"},
                                             "videoOptions": {"framesPerSecond": 3, "maxPixelsPerFrame": {"value": "100"}}}),
        ("POST", f"{project}/image:import", {"imageManifest": IMAGE_MANIFEST, "overwrite": True}),
        ("POST", f"{project}/table:import", {"tableManifest": TABLE_MANIFEST, "overwrite": True}),
        ("POST", "/v1alpha/projects/demo-project/image:importExternal", {"imageManifest": IMAGE_MANIFEST}),
        ("POST", f"{project}/assets?assetId=y", {"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/a.tif"]},
                                                 "bands": [{"id": "a", "tilesetBandIndex": 1}]}),
        ("GET", f"{asset}", None),
        ("GET", f"{project}/operations?pageSize=2", None),
        ("GET", f"{project}/assets:listAssets?pageSize=2", None),
    ]  # fmt: skip


def mangled(path, random):
    """A path with something strange in it."""
    pieces = path.split("/")
    at = random.randrange(1, len(pieces))
    pieces[at] = random.choice(
        ["..", "%2e%2e", "%00", "", "a" * 5000, "*", "%ff", ":", "projects", "é", "{x}", "%2F..%2F"]
    )
    return "/".join(pieces)


@pytest.mark.parametrize("first", range(0, CASES // 2, BATCH))
def test_tampered_requests_are_answered_with_what_the_service_would_say(first, running):
    session = requests.Session()
    for seed in range(first, first + BATCH):
        random = Random(seed)
        method, path, body = random.choice(seeds_of_requests())
        if body is not None:
            body = fuzz.tampered(body, random)
        if random.random() < 0.15:
            path = mangled(path, random)
        begin = time.perf_counter()
        answer = session.request(
            method, running.url + path, data=None if body is None else fuzz.as_body(body), timeout=30
        )
        seconds = time.perf_counter() - begin
        shown = f"case {seed}: {method} {path} {json.dumps(body)[:2000]}\n{answer.status_code} {answer.text[:500]}"
        assert answer.status_code in (200, 400, 403, 404, 405, 409, 501), shown
        assert seconds < LIMIT_SECONDS, f"{seconds:.1f} s, {shown}"
        if answer.status_code != 200:
            assert answer.json()["error"]["message"], shown
            assert "the emulator failed" not in answer.text, shown


def test_repeated_graphs_do_not_grow_memory(running):
    def many(first):
        for seed in range(first, first + 150):
            check_graph(seed % 50, running._session)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    many(0)
    before = many(0)
    after = many(0)
    assert after - before < 30, f"{after - before:.0f} MB more after the same 150 graphs"
