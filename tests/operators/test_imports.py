"""Imports against the emulator: assets hold what the files hold, are made once, and every mistake has its own words."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import airflow.sdk.io
import numpy as np
import pyogrio.raw
import pytest
import rasterio
import requests
import shapely
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from fsspec.implementations.dirfs import DirFileSystem

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import AlreadyExists, QueueFull
from airflow_ee.core.ingestion import ImageManifest, TableManifest
from airflow_ee.core.object_names import BAND_PATTERN
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.imports import EarthEngineImportImageOperator, EarthEngineImportTableOperator

HOME = "projects/demo-project/assets"
NAME = f"{HOME}/made"
IMAGE = {"name": NAME, "tilesets": [{"sources": [{"uris": ["gs://maps/scene.tif"]}]}]}
TABLE = {"name": NAME, "sources": [{"uris": ["gs://maps/fields.csv"]}]}
ROWS = [("north", 2.5, 11.5, 46.25), ("south", 4.0, 12.0, 47.0)]
DUPLICATE = "400 A different Operation was already started with the given request_id"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Retries of requests that wait no second."""
    from airflow_ee.core.settings import RetryPolicy

    patient = functools.partial(RetryPolicy, initial_seconds=0.01)
    monkeypatch.setattr("airflow_ee.hooks.connection.RetryPolicy", patient)
    monkeypatch.setattr("airflow_ee.hooks.earth_engine.LOOK_AGAIN_SECONDS", (0.01,))


@pytest.fixture
def bucket(emulator, monkeypatch):
    """The emulator's bucket ``maps``, which Airflow's connections see, too."""
    folder = emulator.root / "gs" / "maps"
    folder.mkdir(parents=True)
    monkeypatch.setattr("airflow.sdk.io.store._STORE_CACHE", {})
    buckets, others = DirFileSystem(str(emulator.root / "gs")), airflow.sdk.io.get_fs
    opened = lambda scheme, *arguments: buckets if scheme in ("gs", "gcs") else others(scheme, *arguments)  # noqa: E731
    monkeypatch.setattr("airflow.sdk.io.get_fs", opened)
    geotiff(folder / "scene.tif")
    (folder / "fields.csv").write_text(
        "name,hectares,longitude,latitude\n" + "".join(f"{','.join(map(str, row))}\n" for row in ROWS)
    )
    return folder


@pytest.fixture
def server(connect, emulator, bucket):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


@pytest.fixture(params=["image", "table"])
def kind(request):
    """Which of the two imports a test is about."""
    return request.param


@pytest.fixture
def make(server, kind):
    """Makes an import of that kind."""
    return functools.partial(made, kind)


def made(kind, **arguments):
    operator, manifest = {
        "image": (EarthEngineImportImageOperator, IMAGE),
        "table": (EarthEngineImportTableOperator, TABLE),
    }[kind]
    given = {"asset_id": NAME} if "source_uri" in arguments else {"manifest": manifest}
    return operator(**{"task_id": "import", "poll_interval": 0.05, **given, **arguments})


def geotiff(path, values=None, **profile):
    values = np.arange(24, dtype="int16").reshape(2, 3, 4) if values is None else values
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_100_000)}
    with rasterio.open(path, "w", driver="GTiff", **{**place, **shape, **profile}) as file:
        file.write(values)
    return path


def shapefile(path):
    points = shapely.to_wkb(shapely.points([row[2:] for row in ROWS]))
    fields = [np.array([row[0] for row in ROWS], object), np.array([row[1] for row in ROWS])]
    pyogrio.raw.write(path, points, fields, ["name", "hectares"], geometry_type="Point", crs="EPSG:4326", driver="ESRI Shapefile")  # fmt: skip


def pixels(server, name=NAME):
    """Bands by name, as the service hands them out."""
    answer = requests.post(f"{server.url}/v1/{name}:getPixels", json={"fileFormat": "GEO_TIFF"}, timeout=30)
    assert answer.status_code == 200, answer.text
    with rasterio.MemoryFile(answer.content) as memory, rasterio.open(memory.name) as file:
        return dict(zip(file.descriptions, file.read(), strict=True)), file.transform, file.crs


def features(server, name=NAME):
    """Rows of name, hectares, longitude and latitude, as the service lists them."""
    found = requests.get(f"{server.url}/v1/{name}:listFeatures", timeout=30).json()["features"]
    rows = [(each["properties"], each["geometry"]["coordinates"]) for each in found]
    return sorted((values["name"], values["hectares"], *place) for values, place in rows)


def starts(server, kind):
    return [request.body for request in server.requests if request.method == f"{kind}:import"]


def names(server):
    return [operation["name"] for operation in server.operations]


class TestContent:
    def test_an_image_has_the_pixels_of_its_file(self, server, make_context, bucket):
        result = made("image").execute(make_context())
        assert (result["state"], result["uris"], result["uri_count"]) == ("SUCCEEDED", [NAME], 1)
        json.dumps(result)
        found, transform, crs = pixels(server)
        with rasterio.open(bucket / "scene.tif") as file:
            np.testing.assert_array_equal(list(found.values()), file.read())
            assert (transform, crs) == (file.transform, file.crs)

    def test_files_of_bands_become_bands_with_all_that_is_said_of_them(self, server, make_context, bucket):
        red, nir = (np.full((1, 3, 4), value, "uint8") for value in (4, 8))
        red[0, 0, 0] = 255
        (bucket / "s").mkdir()
        geotiff(bucket / "s/west_B4.tif", red)
        geotiff(bucket / "s/west_B10.tif", nir)
        (bucket / "s/readme.txt").write_text("not taken along")
        operator = made(
            "image", source_uri="gs://maps/s/", properties='{"crop": "soy"}', start_time="2024-05-01", end_time="2024-05-02",
            missing_data="255", pyramiding_policy="MODE",
        )  # fmt: skip
        assert operator.execute(make_context())["uris"] == [NAME]
        found, _, _ = pixels(server)
        assert list(found) == ["B4", "B10"]
        np.testing.assert_array_equal(found["B10"], nir[0])
        np.testing.assert_array_equal(found["B4"][1:], red[0, 1:])
        assert found["B4"][0, 0] != 255, "what is missing has no value"
        shown = requests.get(f"{server.url}/v1/{NAME}", timeout=30).json()
        assert {band["pyramidingPolicy"] for band in shown["bands"]} == {"MODE"}
        assert (shown["startTime"], shown["endTime"]) == ("2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z")
        assert shown["properties"]["crop"] == "soy"

    def test_pieces_become_one_mosaic_where_names_tell_no_bands(self, server, make_context, bucket):
        whole = np.arange(12, dtype="uint8").reshape(1, 3, 4)
        right = rasterio.Affine(10, 0, 600_020, 0, -10, 5_100_000)
        geotiff(bucket / "piece_B1.tif", np.ascontiguousarray(whole[:, :, :2]))
        geotiff(bucket / "piece_B2.tif", np.ascontiguousarray(whole[:, :, 2:]), transform=right)
        made("image", source_uri="gs://maps/piece_", band_pattern=None).execute(make_context())
        ((band,), _, _) = (list(part.values()) if isinstance(part, dict) else part for part in pixels(server))
        np.testing.assert_array_equal(band, whole[0])

    def test_one_file_is_taken_without_its_neighbours(self, server, make_context, bucket):
        geotiff(bucket / "scene.tiff", np.zeros((1, 1, 1), "uint8"))
        made("image", source_uri="gs://maps/scene.tif").execute(make_context())
        assert len(pixels(server)[0]) == 2
        (body,) = starts(server, "image")
        assert body["imageManifest"] == IMAGE

    def test_a_csv_becomes_its_rows(self, server, make_context, bucket):
        result = made("table").execute(make_context())
        assert (result["state"], result["uris"]) == ("SUCCEEDED", [NAME])
        meta, _, _, columns = pyogrio.raw.read(bucket / "fields.csv")
        read = dict(zip(meta["fields"], columns, strict=True))
        rows = zip(
            read["name"], *(read[name].astype(float) for name in ("hectares", "longitude", "latitude")), strict=True
        )
        assert features(server) == sorted(rows)

    @pytest.mark.parametrize("form", ["shp", "zip"])
    def test_a_shapefile_becomes_its_features(self, server, make_context, bucket, form):
        shapefile(bucket / "shapes.shp")
        if form == "zip":
            with zipfile.ZipFile(bucket / "shapes.zip", "w") as packed:
                for part in bucket.glob("shapes.*"):
                    if part.suffix != ".zip":
                        packed.write(part, part.name)
        made("table", source_uri=f"gs://maps/shapes.{form}").execute(make_context())
        meta, _, shapes, columns = pyogrio.raw.read(bucket / "shapes.shp")
        assert list(meta["fields"]) == ["name", "hectares"]
        expected = zip(*columns, *shapely.get_coordinates(shapely.from_wkb(shapes)).T, strict=True)
        assert features(server) == sorted(expected)

    def test_columns_of_a_csv_are_told_by_options(self, server, make_context, bucket):
        (bucket / "semicolons.csv").write_text("name;hectares;x;y\nwest;1.5;8.25;50.0\n")
        options = '{"csvDelimiter": ";", "xColumn": "x", "yColumn": "y"}'
        made("table", source_uri="gs://maps/semicolons.csv", source_options=options).execute(make_context())
        assert features(server) == [("west", 1.5, 8.25, 50.0)]

    @pytest.mark.parametrize("form", ["mapping", "text", "value", "file", "object"])
    def test_a_manifest_is_taken_in_every_form(self, make, make_context, kind, server, bucket, tmp_path, form):
        manifest = IMAGE if kind == "image" else TABLE
        parse = ImageManifest.parse if kind == "image" else TableManifest.parse
        (tmp_path / "m.json").write_text(json.dumps(manifest))
        (bucket / "m.json").write_text(json.dumps(manifest))
        forms = {
            "mapping": manifest, "text": json.dumps(manifest), "value": parse(manifest), "file": f"{tmp_path}/m.json",
            "object": "gs://maps/m.json",
        }  # fmt: skip
        operator = make(manifest=forms[form], overwrite="True", wait_for_completion=False)
        assert operator.execute(make_context())["uris"] == [NAME]
        (body,) = starts(server, kind)
        assert (body[f"{kind}Manifest"], body["overwrite"]) == (manifest, True)

    def test_an_older_name_of_an_asset_is_the_services_own(self, make, make_context, kind, server):
        arguments = {"source_uri": "gs://maps/scene.tif" if kind == "image" else "gs://maps/fields.csv"}
        result = make(asset_id="users/me/x", create_parents=True, **arguments).execute(make_context())
        assert result["uris"] == ["projects/earthengine-legacy/assets/users/me/x"]


@pytest.mark.parametrize("kept", [True, False], ids=["with a state store", "without"])
class TestOnce:
    @pytest.fixture
    def context(self, kept, store, make_context):
        """The context of each try of one task instance."""
        return lambda **identity: make_context(store=store if kept else None, **identity)

    def test_lost_answers_and_a_service_that_is_away_start_one(self, make, context, server, kind):
        server.inject(f"{kind}:import", "503", "lose-response", "503")
        assert make().execute(context())["state"] == "SUCCEEDED"
        assert len(server.operations) == 1
        assert len(starts(server, kind)) == 4, "each repeats the first request"
        assert len({body["requestId"] for body in starts(server, kind)}) == 1
        assert not server.pending

    def test_a_try_that_died_in_the_request_is_followed_by_the_same_one(self, make, context, server, monkeypatch):
        original = EarthEngineClient.start_operation

        def crash(self, request, *, request_id):
            original(self, request, request_id=request_id)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EarthEngineClient, "start_operation", crash)
            with pytest.raises(KeyboardInterrupt):
                make().execute(context())
        first = names(server)
        assert make().execute(context())["operation"] == first[0]
        assert names(server) == first

    def test_a_service_that_sees_the_asset_before_the_id_is_understood(self, make, context, server, store, monkeypatch):
        first = make().execute(context())
        # As left by a try that died before it heard of its operation.
        if store:
            store["earth_engine_export"].update(operation="")
        refusal = AlreadyExists(f"Cannot overwrite asset '{NAME}'.")
        monkeypatch.setattr(EarthEngineClient, "start_operation", lambda *_, **__: (_ for _ in ()).throw(refusal))
        assert make().execute(context())["operation"] == first["operation"]
        assert len(server.operations) == 1

    def test_a_cleared_task_returns_what_it_has(self, make, context, server):
        first = make().execute(context())
        assert make().execute(context(max_tries=2)) == first
        assert len(server.operations) == 1

    def test_a_cleared_task_with_a_changed_request_starts_anew(self, make, context, server, kind, bucket):
        first = make().execute(context())
        geotiff(bucket / "other.tif", np.full((1, 2, 2), 9, "uint8"))
        (bucket / "other.csv").write_text("name,hectares,longitude,latitude\neast,9,1,2\n")
        suffix = "tif" if kind == "image" else "csv"
        second = make(source_uri=f"gs://maps/other.{suffix}", overwrite=True).execute(context(max_tries=2))
        assert second["operation"] != first["operation"]
        if kind == "image":
            assert {band.tolist()[0][0] for band in pixels(server)[0].values()} == {9}
        else:
            assert features(server) == [("east", 9, 1, 2)]

    def test_a_failed_import_is_asked_for_again_under_another_id(self, make, context, server, kind):
        server.inject(f"{kind}:import", "fail code=INTERNAL An internal error has occurred.")
        with pytest.raises(Exception, match="An internal error has occurred") as failure:
            make().execute(context())
        assert not isinstance(failure.value, AirflowFailException)
        assert make().execute(context())["description"].endswith("-2")
        first, second = starts(server, kind)
        assert first["requestId"] != second["requestId"]

    def test_a_full_queue_is_waited_for(self, make, context, server, kind):
        server.inject(f"{kind}:import", "400 queue", "400 queue")
        assert make().execute(context())["state"] == "SUCCEEDED"
        assert len(server.operations) == 1
        assert len({body["requestId"] for body in starts(server, kind)}) == 3, "a refusal uses an id up"


class TestDeferral:
    async def test_the_trigger_waits_and_the_task_resumes(self, make, make_context, server, kind, store):
        import asyncio

        context = make_context(store=store)
        with pytest.raises(TaskDeferred) as deferral:
            await asyncio.to_thread(make(deferrable=True).execute, context)
        event = await anext(deferral.value.trigger.run())
        again = make(deferrable=True)
        result = await asyncio.to_thread(again.resume_execution, "execute_complete", {"event": event.payload}, context)
        assert (result["state"], result["uris"]) == ("SUCCEEDED", [NAME])
        assert len(starts(server, kind)) == 1

    def test_a_deferred_task_waits_for_room_without_a_worker(self, make, make_context, server, kind):
        server.inject(f"{kind}:import", "400 queue")
        with pytest.raises(TaskDeferred) as deferral:
            make(deferrable=True).execute(make_context())
        assert deferral.value.method_name == "execute_with_room"
        event = {"status": "room"}
        with pytest.raises(TaskDeferred):
            make(deferrable=True).execute_with_room(make_context(), event, **deferral.value.kwargs)
        assert len(server.operations) == 1

    def test_a_users_kill_cancels_it(self, make, make_context, server, kind):
        server.inject(f"{kind}:import", "stuck")
        operator = make()
        previous = signal.signal(signal.SIGALRM, lambda *_: operator.on_kill())
        # At its first look at the operation, however slow the machine is.
        operator._tell = lambda _: signal.raise_signal(signal.SIGALRM)
        try:
            with pytest.raises(RuntimeError, match="The task was killed"):
                operator.execute(make_context())
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert [each["metadata"]["state"] for each in server.operations] == ["CANCELLED"]
        assert requests.get(f"{server.url}/v1/{NAME}", timeout=30).status_code == 404


class TestFailures:
    def fails(self, operator, context, words):
        with pytest.raises(AirflowFailException, match=words):
            operator.execute(context)

    def test_a_file_that_is_missing_is_named(self, make, make_context, server, kind, bucket):
        (bucket / "scene.tif").unlink()
        (bucket / "fields.csv").unlink()
        self.fails(make(), make_context(), r"operations/\w+ failed: Unable to open gs://maps/(scene.tif|fields.csv)")
        sent = len(server.calls)
        suffix = "tif" if kind == "image" else "csv"
        self.fails(make(source_uri=f"gs://maps/gone.{suffix}"), make_context(), "source_uri: there is no object")
        self.fails(make(source_uri="gs://maps/gone/"), make_context(), "source_uri: there is no object")
        assert len(server.calls) == sent, "what a bucket tells needs no request"

    def test_a_file_of_another_kind_is_named(self, make, make_context, server, kind, bucket):
        (bucket / "scene.tif").write_text("no image")
        (bucket / "fields.csv").write_bytes(b"\xff\xfe\x00")
        words = "scene.tif: it is not a GeoTIFF" if kind == "image" else "fields.csv"
        self.fails(make(), make_context(), f"failed: .*{words}")

    def test_an_asset_that_is_there_is_named_and_stays(self, make, make_context, server, kind):
        first = make().execute(make_context())
        before = requests.get(f"{server.url}/v1/{NAME}", timeout=30).json()
        self.fails(make(), make_context(run_id="another"), rf"Cannot overwrite asset '{NAME}'.*ALREADY_EXISTS")
        assert requests.get(f"{server.url}/v1/{NAME}", timeout=30).json() == before
        assert names(server) == [first["operation"]]
        again = make(overwrite=True).execute(make_context(run_id="another"))
        assert again["operation"] != first["operation"]
        assert requests.get(f"{server.url}/v1/{NAME}", timeout=30).json()["updateTime"] > before["updateTime"]

    def test_a_parent_that_is_missing_is_named_or_made(self, make, make_context, server, kind):
        name = f"{HOME}/farms/2024/made"
        arguments = {
            "asset_id": name,
            "source_uri": "gs://maps/scene.tif" if kind == "image" else "gs://maps/fields.csv",
        }
        self.fails(make(**arguments), make_context(), f"its parent '{HOME}/farms/2024' does not exist")
        assert requests.get(f"{server.url}/v1/{HOME}/farms", timeout=30).status_code == 404
        assert make(create_parents="True", **arguments).execute(make_context())["uris"] == [name]
        assert requests.get(f"{server.url}/v1/{HOME}/farms/2024", timeout=30).json()["type"] == "FOLDER"

    def test_a_parent_that_holds_nothing_is_named(self, make, make_context, server, kind):
        make().execute(make_context())
        manifest = {**(IMAGE if kind == "image" else TABLE), "name": f"{NAME}/below"}
        words = f"{NAME}/below cannot be made: {NAME} is a {kind.upper()}, which holds no assets"
        self.fails(make(manifest=manifest, create_parents=True), make_context(run_id="another"), words)

    def test_no_permission_ends_the_task_at_once(self, make, make_context, server, kind):
        server.inject(f"{kind}:import", "403")
        self.fails(make(), make_context(), r"\[PERMISSION_DENIED\]")
        assert (len(starts(server, kind)), server.operations) == (1, [])

    def test_folders_are_not_made_while_the_queue_is_full(self, make, make_context, server, kind, monkeypatch):
        def full(*_):
            raise QueueFull("Too many tasks already in the queue.")

        monkeypatch.setattr("airflow_ee.operators.admission.Admission.check", full)
        monkeypatch.setattr(time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
        manifest = {**(IMAGE if kind == "image" else TABLE), "name": f"{HOME}/a/b"}
        with pytest.raises(KeyboardInterrupt):
            make(manifest=manifest, create_parents=True).execute(make_context())
        assert "assets.create" not in server.calls

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"manifest": None}, "an import needs manifest or source_uri, got none"),
            ({"manifest": "None"}, "an import needs manifest or source_uri, got none"),
            ({"source_uri": "gs://maps/", "manifest": IMAGE}, "got manifest and source_uri"),
            ({"source_uri": "gs://maps/s", "asset_id": None}, "asset_id is missing"),
            ({"source_uri": "gs://maps/s", "asset_id": "MODIS/x"}, "asset_id: 'MODIS/x' would be in the public catalogue"),
            ({"source_uri": "s3://maps/s"}, "source_uri must be gs://"),
            ({"source_uri": "gs://maps"}, "source_uri must be gs://"),
            ({"source_uri": "gs://maps/s", "properties": {"a": [1]}}, "properties: 'a' must be a text or a number"),
            ({"source_uri": "gs://maps/s", "properties": "{"}, "properties is not JSON"),
            ({"source_uri": "gs://maps/s", "start_time": "June"}, "start_time must be an ISO date"),
            ({"source_uri": "gs://maps/s", "start_time": "2024-02-01", "end_time": "2024-01-01"}, "end_time must not be before start_time"),
            ({"asset_id": NAME}, "asset_id must be left out: the manifest says it"),
            ({"properties": {"a": 1}}, "properties must be left out: the manifest says it"),
            ({"start_time": "2024-01-01"}, "start_time must be left out"),
            ({"priority": 5}, "priority must be left out: imports have none"),
            ({"overwrite": "perhaps"}, "overwrite must be true or false"),
            ({"create_parents": "perhaps"}, "create_parents must be true or false"),
            ({"request_id": "a_b"}, "request_id must be 1 to 60"),
            ({"manifest": "{"}, "manifest is not JSON"),
            ({"manifest": {"name": NAME}}, "manifest.(tilesets|sources) is missing"),
            ({"manifest": {"name": NAME, "colour": 1}}, "manifest has no field colour"),
            ({"manifest": "/nowhere/m.json"}, "manifest: there is no file /nowhere/m.json"),
        ],
    )  # fmt: skip
    def test_mistakes_are_told_before_anything_is_sent(self, make, make_context, server, arguments, words):
        self.fails(make(**arguments), make_context(), words)
        assert server.calls == []

    @pytest.mark.parametrize(
        ("kind", "arguments", "words"),
        [
            ("image", {"band_pattern": "x$"}, "band_pattern must be left out: the manifest says it"),
            ("image", {"missing_data": [0]}, "missing_data must be left out"),
            ("image", {"source_uri": "gs://maps/scene.tif", "pyramiding_policy": "SUM"}, "pyramidingPolicy must be one of"),
            ("image", {"source_uri": "gs://maps/scene.tif", "missing_data": "none at all"}, "missing_data must be a number"),
            ("image", {"source_uri": "gs://maps/fields.csv"}, "there is no GeoTIFF"),
            ("image", {"manifest": TABLE}, "manifest has no field sources"),
            ("table", {"source_options": {"csvDelimiter": ";"}}, "source_options must be left out"),
            ("table", {"source_uri": "gs://maps/fields.csv", "source_options": {"delimiter": ";"}}, "options has no field delimiter"),
            ("table", {"source_uri": "gs://maps/scene.tif"}, "there is no table"),
        ],
    )  # fmt: skip
    def test_mistakes_of_a_kind_are_told_as_early(self, make, make_context, server, kind, arguments, words):
        self.fails(make(**arguments), make_context(), words)
        assert server.calls == []
        assert kind in ("image", "table")


SCRIPT = textwrap.dedent("""
    import json, sys, time
    from types import SimpleNamespace
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.hooks import earth_engine
    from airflow_ee.operators import imports

    class Store(dict):
        def get(self, key, default=None):
            try:
                return json.load(open(sys.argv[3]))
            except FileNotFoundError:
                return default
        def set(self, key, value):
            json.dump(value, open(sys.argv[3], "w"))

    class Slow(EarthEngineClient):
        def start_operation(self, request, *, request_id):
            operation = super().start_operation(request, request_id=request_id)
            time.sleep(3600)

    if sys.argv[4]:
        earth_engine.EarthEngineClient = Slow
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=0, xcom_push=lambda **_: None)
    context = {"ti": ti, "params": {}, **({"task_state_store": Store()} if sys.argv[3] else {})}
    operator = getattr(imports, sys.argv[1])(task_id="t", poll_interval=0.1, manifest=sys.argv[2])
    print("RESULT", json.dumps(operator.execute(context)), flush=True)
""")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["with a state store", "without"])
def test_a_process_killed_before_its_answer_is_followed_by_one_that_finds_its_import(server, kind, tmp_path, kept):
    name, manifest = (
        ("EarthEngineImportImageOperator", IMAGE) if kind == "image" else ("EarthEngineImportTableOperator", TABLE)
    )
    command = [sys.executable, "-c", SCRIPT, name, json.dumps(manifest), str(tmp_path / "state.json") if kept else ""]
    # The service has taken the request; its answer comes later than the process lives.
    first = subprocess.Popen(
        [*command, "slow"], env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 90
    while not server.operations and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.wait()
    (operation,) = server.operations
    second = subprocess.run(
        [*command, ""], env=dict(os.environ), capture_output=True, text=True, timeout=120, check=True
    )
    (line,) = [line for line in second.stdout.splitlines() if line.startswith("RESULT")]
    result = json.loads(line.removeprefix("RESULT"))
    assert (result["operation"], result["state"], result["uris"]) == (operation["name"], "SUCCEEDED", [NAME])
    assert len(server.operations) == 1


class TestAirflow:
    @pytest.mark.parametrize("operator", [EarthEngineImportImageOperator, EarthEngineImportTableOperator])
    def test_every_template_field_is_an_argument_that_is_kept_as_it_came(self, operator):
        values = {name: f"{{{{ {name} }}}}" for name in operator.template_fields}
        task = operator(task_id="t", **values)
        assert {name: getattr(task, name) for name in operator.template_fields} == values

    @pytest.mark.parametrize("operator", [EarthEngineImportImageOperator, EarthEngineImportTableOperator])
    def test_a_dag_with_it_survives_serialisation(self, operator):
        with DAG("imports", schedule=None) as dag:
            operator(task_id="t", manifest={"name": NAME}, overwrite=True)
        again = DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict["t"]
        assert again.task_type == operator.__name__

    def test_the_default_pattern_survives_rendering(self):
        task = EarthEngineImportImageOperator(task_id="t", source_uri="gs://maps/{{ ds }}/", asset_id=NAME)
        task.render_template_fields({"ds": "2024-06-01"})
        assert (task.source_uri, task.band_pattern) == ("gs://maps/2024-06-01/", BAND_PATTERN)

    def test_the_page_about_imports_runs_and_names_every_argument(self):
        page = (Path(__file__).parents[2] / "docs" / "imports.md").read_text(encoding="utf-8")
        snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        with DAG("page", schedule=None) as dag:
            for snippet in snippets[1:]:
                exec(snippet, {})
        assert sorted(dag.task_dict) == ["ndvi", "scene_by_manifest"]
        kept = {}
        exec(snippets[0], kept)
        (own,) = (value for value in kept.values() if isinstance(value, DAG))
        assert sorted(own.task_dict) == ["fields", "scene"]
        of_exports = set(EarthEngineExportBaseOperator.template_fields)
        for operator in (EarthEngineImportImageOperator, EarthEngineImportTableOperator):
            assert [
                name for name in operator.template_fields if name not in of_exports and f"`{name}`" not in page
            ] == []
