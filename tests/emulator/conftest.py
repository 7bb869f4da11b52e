"""A running emulator, plain HTTP to it, and the real images that it mounts."""

import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import requests

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MODIS_IMAGES = DATA / "mod13q1_mato_grosso" / "images"
FIELD_IMAGES = DATA / "sentinel2_field" / "images"
NOW = datetime(2024, 3, 1, tzinfo=UTC)
UNHURRIED = {"requests_per_second": None}
"""Tests ask faster than the service allows; its limit has tests of its own."""


class Rest:
    """Requests to one emulator."""

    def __init__(self, url, project="demo-project"):
        self.url, self.project = url, f"projects/{project}"
        self.session = requests.Session()

    def post(self, path, body=None, **options):
        return self.session.post(f"{self.url}/v1/{path}", json=body or {}, timeout=30, **options)

    def get(self, path, **query):
        return self.session.get(f"{self.url}/v1/{path}", params=query, timeout=30)

    def value(self, expression):
        answer = self.post(f"{self.project}/value:compute", {"expression": expression})
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def compute(self, expression, grid=None, **fields):
        body = {"expression": expression, "fileFormat": "NPY", **fields}
        return self.post(f"{self.project}/image:computePixels", body | ({"grid": grid} if grid else {}))

    def pixels(self, expression, grid=None, **fields):
        return loaded(self.compute(expression, grid, **fields))

    def asset_pixels(self, name, **fields):
        return self.post(f"{name}:getPixels", {"fileFormat": "NPY", **fields})

    def export(self, expression, **fields):
        return self.post(f"{self.project}/image:export", {"expression": expression, **fields})

    def ended(self, name, seconds=10):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            operation = self.get(name).json()
            if operation.get("done"):
                return operation
            time.sleep(0.02)
        raise AssertionError(f"{name} did not end: {operation}")


def loaded(answer):
    assert answer.status_code == 200, answer.text
    return np.load(io.BytesIO(answer.content), allow_pickle=False)


def message(answer, status=400):
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


def call(name, **arguments):
    """A call as a graph node."""
    nodes = {key: node(value) for key, value in arguments.items()}
    return {"functionInvocationValue": {"functionName": name, "arguments": nodes}}


def node(value):
    kinds = ("Value", "Reference")
    is_node = isinstance(value, dict) and len(value) == 1 and next(iter(value)).endswith(kinds)
    return value if is_node else {"constantValue": value}


def graph(result, **others):
    return {"result": "0", "values": {"0": node(result), **others}}


def image(identity):
    return call("Image.load", id=identity)


def grid(crs, origin, scale, width, height):
    affine = {"scaleX": scale, "translateX": origin[0], "scaleY": -scale, "translateY": origin[1]}
    return {"crsCode": crs, "dimensions": {"width": width, "height": height}, "affineTransform": affine}


UTM = grid("EPSG:32632", (670000, 5150000), 10, 8, 6)


@pytest.fixture(scope="session")
def mounted():
    """The real images as two collections; MOD13Q1's id is taken over."""
    if not DATA.is_dir():
        pytest.skip("the real images are not beside this checkout")
    with Emulator(catalogs={"MODIS/061/MOD13Q1": MODIS_IMAGES, "local/field": FIELD_IMAGES}, **UNHURRIED) as running:
        yield running


@pytest.fixture(scope="session")
def simulated():
    with Emulator(clock=ManualClock(NOW), **UNHURRIED) as running:
        yield running


@pytest.fixture
def emulator(tmp_path):
    at_once = {"pending_seconds": 0, "running_seconds": 0, "cancelling_seconds": 0}
    with Emulator(root=tmp_path, seed=1, **at_once, **UNHURRIED) as running:
        yield running


@pytest.fixture
def rest(emulator):
    return Rest(emulator.url)


@pytest.fixture
def real(mounted):
    return Rest(mounted.url)


@pytest.fixture
def world(simulated):
    return Rest(simulated.url)


def expression_file(name):
    path = DATA.parent / "earth-engine" / name
    if not path.is_file():
        pytest.skip("the recorded expressions are not beside this checkout")
    return json.loads(path.read_text("utf-8"))
