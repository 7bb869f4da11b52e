"""Work that an engine does, or mapped tasks do part by part, leaves what a single task leaves; no secret goes into a job file."""

import json
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.core.errors import IncompleteJob
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.job import PixelJob
from airflow_ee.engines.processes import ProcessEngine
from airflow_ee.operators.jobs import EarthEngineWritePatchesJobOperator
from airflow_ee.operators.patches import EarthEnginePatchesOperator
from airflow_ee.operators.pixels import (
    EarthEngineCommitJobOperator,
    EarthEngineComputePixelsOperator,
    EarthEngineRunJobPartOperator,
    EarthEngineWriteJobOperator,
)
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
from tests.core.jobs import content, expression
from tests.engines import made

XCOMS = {}
TI = SimpleNamespace(dag_id="dag", task_id="task", xcom_push=lambda key, value: XCOMS.update({key: value}))
CONTEXT = {"params": {}, "ti": TI}
# Of eight tiles.
GRID = PixelGrid(crs="EPSG:4326", transform=(0.001, 0, -56.0, 0, -0.001, -12.0), width=4000, height=4000)
COORDINATES = {"result": "0", "values": {"0": {"functionInvocationValue": {"functionName": "Image.toByte", "arguments": {
    "value": {"functionInvocationValue": {"functionName": "Image.abs", "arguments": {
        "value": {"functionInvocationValue": {"functionName": "Image.pixelLonLat", "arguments": {}}}}}}}}}}}  # fmt: skip
PATCHES = {
    "points": {"count": 60, "region": [-57.0, -14.0, -55.0, -12.0], "seed": 3},
    "expression": expression().text,
    "patch_size": 8,
    "scale": 30,
    "crs": "EPSG:32721",
    "shards": 6,
}


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


def execute(operator, **arguments):
    return operator(task_id="task", request_retries=0, **arguments).execute(CONTEXT)


def raster(folder, **arguments):
    arguments = {"expression": COORDINATES, "grid": GRID, "output_uri": str(folder / "made/x.tif"), **arguments}
    return execute(EarthEngineComputePixelsOperator, **arguments)


def patches(folder, **arguments):
    return execute(EarthEnginePatchesOperator, output_uri=str(folder / "made"), **{**PATCHES, **arguments})


def series(folder, **arguments):
    usual = {
        "collection": "MOD13Q1", "bands": ["NDVI", "EVI"], "region": [-55.6, -12.1, -55.55, -12.05], "start": "2023-01-01", "end": "2023-03-06",
        "table_uri": str(folder / "made/ndvi"), "raster_uri": str(folder / "made/rasters"), "cube_uri": str(folder / "made/cube.zarr"),
    }  # fmt: skip
    return execute(EarthEngineTimeSeriesOperator, **{**usual, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [{}, {"group_by": "interval", "mosaic": "median", "bands": None, "index": "NDVI", "cube_uri": None}],
    ids=["images", "a mosaic"],
)
def test_a_series_by_an_engine_is_the_same_series(server, tmp_path, arguments):
    expected = series(tmp_path / "here", **arguments)
    told = series(tmp_path / "there", engine="processes:2", **arguments)
    there, here = content(tmp_path / "there"), content(tmp_path / "here")
    assert set(there) == set(here)
    # Digests of parts name the cube that their rows went to.
    assert {name: there[name] for name in there if ".parts/" not in name} == {
        name: here[name] for name in here if ".parts/" not in name
    }
    changing = {"table_uris", "rasters", "cube_uri", "quota_wait_seconds", "requests", "retries"}
    assert {name: told[name] for name in expected if name not in changing} == {
        name: expected[name] for name in expected if name not in changing
    }
    assert told["requests"] - told["retries"] == expected["requests"] - expected["retries"]
    asked = server.calls.count("image:computePixels")
    again = series(tmp_path / "there", engine="processes:2", **arguments)
    if "cube_uri" in arguments or not arguments:
        assert (again["images_unchanged"], server.calls.count("image:computePixels")) == (told["images"], asked)


def written(folder, operator=EarthEngineWriteJobOperator, **arguments):
    usual = (
        {"expression": COORDINATES, "grid": GRID, "output_uri": str(folder / "made/x.tif")}
        if operator is EarthEngineWriteJobOperator
        else {**PATCHES, "output_uri": str(folder / "made")}
    )
    parts = execute(operator, job_uri=str(folder / "job.json"), **{**usual, **arguments})
    return {**XCOMS["job"], "parts": parts}


@pytest.mark.parametrize("engine", [ProcessEngine(processes=2), "processes:2"], ids=["a value", "a word"])
@pytest.mark.parametrize("make", [raster, patches])
def test_an_engine_leaves_the_same_bytes_and_tells_the_same(server, tmp_path, make, engine):
    expected, told = make(tmp_path / "here"), make(tmp_path / "there", engine=engine)
    assert content(tmp_path / "here") == content(tmp_path / "there")
    assert set(expected) - {"splits", "seconds"} <= set(told)
    # A request may be made again on a machine that is busy.
    changing = {
        "uri",
        "manifest_uri",
        "quota_wait_seconds",
        "seconds",
        "requests",
        "retries",
        "shards",
        "description_uri",
    }
    same = {name for name in expected if name in told and name not in changing and "uri" not in name}
    assert told["requests"] - told["retries"] == expected["requests"] - expected["retries"]
    assert {name: told[name] for name in same} == {name: expected[name] for name in same}


@pytest.mark.parametrize(
    ("engine", "message"),
    [("threds", "engine must be an engine or one of threads"), ("processes:0", "got 'processes:0'"), (7, "got 7")],
)
@pytest.mark.parametrize("make", [raster, patches, series])
def test_an_engine_that_is_none_is_refused_before_anything_is_asked(server, tmp_path, make, engine, message):
    with pytest.raises(AirflowFailException, match=message):
        make(tmp_path, engine=engine)
    assert server.calls == []


@pytest.mark.parametrize("operator", [EarthEngineWriteJobOperator, EarthEngineWritePatchesJobOperator])
def test_parts_of_a_job_in_any_order_make_what_one_task_makes(server, tmp_path, operator):
    single = raster if operator is EarthEngineWriteJobOperator else patches
    single(tmp_path / "one")
    told = written(tmp_path / "parts", operator, parts=3)
    assert told["units"] == told["missing"] == (8 if single is raster else 6)
    assert [part["part"] for part in told["parts"]] == [0, 1, 2]
    done = [execute(EarthEngineRunJobPartOperator, **part)["tiles"] for part in reversed(told["parts"])]
    if single is raster:
        assert sum(done) == told["units"]
    before = len(server.calls)
    again = [execute(EarthEngineRunJobPartOperator, **part) for part in told["parts"]]
    assert sum(each["tiles_resumed"] for each in again) == told["units"]
    result = execute(EarthEngineCommitJobOperator, job_uri=told["job_uri"])
    assert len(server.calls) == before, "nothing is asked for twice"
    assert result["uri"] == told["output_uri"]
    assert content(tmp_path / "parts/made") == content(tmp_path / "one/made")


def test_parts_are_cut_by_the_jobs_own_limits(server, tmp_path):
    small = made.raster_job(server.url, tmp_path, "COG", tiles=8)
    (tmp_path / "job.json").write_text(small.text)
    with small.client.open() as client:
        assert len(small.work.begin(client)) == 8
    part = {"job_uri": str(tmp_path / "job.json"), "parts": 4}
    assert [execute(EarthEngineRunJobPartOperator, part=number, **part)["tiles"] for number in range(4)] == [2] * 4
    assert execute(EarthEngineCommitJobOperator, job_uri=part["job_uri"])["uri"] == small.output_uri


@pytest.mark.parametrize("operator", [EarthEngineWriteJobOperator, EarthEngineWritePatchesJobOperator])
def test_a_job_of_which_a_part_is_missing_is_not_put_together(server, tmp_path, operator):
    told = written(tmp_path, operator, parts=2)
    execute(EarthEngineRunJobPartOperator, **told["parts"][1])
    with pytest.raises(IncompleteJob, match="are not there"):
        execute(EarthEngineCommitJobOperator, job_uri=told["job_uri"])
    assert not (tmp_path / "made/x.tif").exists()
    assert not (tmp_path / "made/dataset.json").exists()
    execute(EarthEngineRunJobPartOperator, **told["parts"][0])
    assert execute(EarthEngineCommitJobOperator, job_uri=told["job_uri"])["bytes"] > 0


def test_a_commit_after_an_engine_has_made_the_output_finds_it(server, tmp_path):
    told = written(tmp_path)
    ProcessEngine(processes=1).run(PixelJob.parse((tmp_path / "job.json").read_text()))
    made = (tmp_path / "made/x.tif").stat()
    assert execute(EarthEngineCommitJobOperator, job_uri=told["job_uri"])["bytes"] == made.st_size
    assert (tmp_path / "made/x.tif").stat().st_mtime_ns == made.st_mtime_ns


def test_parts_share_the_quota(server, tmp_path, connect):
    connect(endpoint=server.url, is_anonymous=True, max_concurrency=8, requests_per_second=40)
    told = written(tmp_path, parts=4)
    operator = EarthEngineRunJobPartOperator(task_id="task", tasks_at_once=2, **told["parts"][0])
    with operator.pixel_client(processes=2) as client:
        assert (client.settings.max_concurrency, client.settings.requests_per_second) == (4, 20)
    assert operator.execute(CONTEXT)["tiles"] == 2


def test_a_job_of_a_connection_that_holds_its_key_says_so_and_does_not_hold_it(server, tmp_path, connect, monkeypatch):
    from airflow_ee.core.settings import ClientSettings

    connect(endpoint=server.url, keyfile_dict=json.dumps({"type": "service_account", "private_key": "hush"}))
    monkeypatch.setattr(ClientSettings, "may_send_credentials", lambda *_: True)
    monkeypatch.setattr("airflow_ee.hooks.earth_engine.EarthEngineHook.get_credentials", lambda _: None)
    told = written(tmp_path)
    text = (tmp_path / "job.json").read_text()
    assert "hush" not in text
    assert json.loads(text)["client"]["credentials"]["kind"] == "connection"
    with pytest.raises(ValueError, match="credentials are in an Airflow connection"):
        ProcessEngine(processes=1).run(PixelJob.parse(text))
    with pytest.raises(AirflowFailException, match="credentials are in an Airflow connection"):
        raster(tmp_path / "other", engine="processes:1")
    execute(EarthEngineRunJobPartOperator, **told["parts"][0])
    assert execute(EarthEngineCommitJobOperator, job_uri=told["job_uri"])["bytes"] > 0
    for operator in (EarthEngineWriteJobOperator, EarthEngineWritePatchesJobOperator):
        with pytest.raises(AirflowFailException, match="credentials are in an Airflow connection"):
            written(tmp_path / "outside", operator, outside_airflow=True)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expression": None}, "give either asset_id or expression"),
        ({"asset_id": "a/b"}, "give either asset_id or expression"),
        ({"file_format": "BMP"}, "file_format must be one of"),
        ({"max_pixels": 10}, "max_pixels"),
        ({"parts": 0}, "parts must be at least 1"),
    ],
)
def test_a_job_that_could_only_fail_is_not_written(server, tmp_path, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        written(tmp_path / "work", **arguments)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"part": 3, "parts": 3}, "part must be in 0..2, got 3"), ({"part": 0, "parts": 1, "job_uri": "/no/job.json"}, "there is no file")],
)  # fmt: skip
def test_a_part_that_is_none_is_refused(server, tmp_path, arguments, message):
    written(tmp_path)
    with pytest.raises(AirflowFailException, match=message):
        execute(EarthEngineRunJobPartOperator, **{"job_uri": str(tmp_path / "job.json"), **arguments})
