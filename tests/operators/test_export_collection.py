"""Every image of a collection is exported once, whatever happens; what failed is named, and a retry does that alone."""

import asyncio
import collections
import copy
import functools
import inspect
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import rasterio
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import ConnectionFailed, EecuBudgetExceeded, SomeFailed, Unavailable
from airflow_ee.core.settings import RetryPolicy
from airflow_ee.emulator import ComputeOptions, Emulator
from airflow_ee.operators import collection_starting, export_collection
from airflow_ee.operators.export import EarthEngineExportCollectionOperator
from airflow_ee.triggers.collection import EarthEngineCollectionTrigger
from tests.operators.collections import COLLECTION, day, image_id, write_images

IMAGES = 30
URI = "gs://demo-bucket/field/{index}"
DUPLICATE = "400 A different Operation was already started with the given request_id"
CAMPAIGN = int(os.environ.get("AIRFLOW_EE_COLLECTION_IMAGES", "200"))
KILLS = int(os.environ.get("AIRFLOW_EE_COLLECTION_KILLS", "3"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Retries of requests, and looks for what the list does not show yet, that wait no second."""
    monkeypatch.setattr("airflow_ee.hooks.connection.RetryPolicy", functools.partial(RetryPolicy, initial_seconds=0.01))
    monkeypatch.setattr(collection_starting, "LOOK_AGAIN_SECONDS", (0.0, 0.05))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The images of most tests."""
    return write_images(tmp_path_factory.mktemp("images") / "field", IMAGES)


@pytest.fixture
def serve(tmp_path):
    """Starts an emulator with the images."""
    running = []

    def start(folder, **options):
        options = {"pending_seconds": 0.0, "running_seconds": 0.02, "cancelling_seconds": 0.02, **options}
        compute = ComputeOptions(processes=0)
        emulator = Emulator(
            root=tmp_path / "root", catalogs={COLLECTION: folder}, requests_per_second=None, compute=compute, **options
        )
        running.append(emulator.start())
        return emulator

    yield start
    for emulator in running:
        emulator.stop()


@pytest.fixture
def emulator(serve, folder):
    """An emulator with the images."""
    return serve(folder)


@pytest.fixture
def make(connect, emulator):
    """Makes the operator against the emulator."""
    return maker(connect, emulator)


def maker(connect, emulator):
    connect(endpoint=emulator.url)

    def make(**arguments):
        arguments = {
            "task_id": "export",
            "collection": COLLECTION,
            "start": day(0),
            "end": day(IMAGES),
            "destination_uri": URI,
            "poll_interval": 0.1,
            "deferrable": False,
            **arguments,
        }
        return EarthEngineExportCollectionOperator(
            **{key: value for key, value in arguments.items() if value is not ...}
        )

    return make


async def run_deferred(make, context, deferrals=None, **arguments):
    """Goes all the way through triggers, each resumed by another instance of the operator; gives the result."""
    method, kwargs = "execute", {}
    while True:
        operator = make(deferrable=True, **arguments)
        try:
            if method == "execute":
                return await asyncio.to_thread(operator.execute, context)
            return await asyncio.to_thread(operator.resume_execution, method, kwargs, context)
        except TaskDeferred as deferral:
            path, state = deferral.trigger.serialize()
            assert path.endswith("EarthEngineCollectionTrigger")
            trigger = EarthEngineCollectionTrigger(**json.loads(json.dumps(state)))
            event = await anext(trigger.run())
            method, kwargs = deferral.method_name, {**json.loads(json.dumps(deferral.kwargs)), "event": event.payload}
            if deferrals is not None:
                deferrals.append(len(json.dumps([state, deferral.kwargs])))


async def run_either(make, context, deferrable, **arguments):
    """Through triggers, or in the worker."""
    if deferrable:
        return await run_deferred(make, context, **arguments)
    return await asyncio.to_thread(make(**arguments).execute, context)


def by_image(emulator):
    """Operations of each image, oldest first, by the file or asset that they make."""
    found = collections.defaultdict(list)
    for request, operation in zip(accepted(emulator), emulator.operations, strict=True):
        found[request["fileExportOptions"]["cloudStorageDestination"]["filenamePrefix"]].append(operation)
    return found


def accepted(emulator):
    """Bodies of the requests that started operations, in the order of these."""
    bodies = {body["description"]: body for body in bodies_of(emulator)}
    return [bodies[operation["metadata"]["description"]] for operation in emulator.operations]


def bodies_of(emulator):
    return [request.body for request in emulator.requests if request.method == "image:export"]


def states(emulator):
    return collections.Counter(operation["metadata"]["state"] for operation in emulator.operations)


def assert_once(emulator, images=IMAGES):
    """Each image has one operation that succeeded, and no two that did not fail."""
    found = by_image(emulator)
    assert len(found) == images
    for prefix, operations in found.items():
        good = [item for item in operations if item["metadata"]["state"] not in {"FAILED", "CANCELLED"}]
        assert [item["metadata"]["state"] for item in good] == ["SUCCEEDED"], prefix


class TestResult:
    def test_all_images_are_exported_and_little_is_told_to_other_tasks(self, make, make_context, emulator, tmp_path):
        manifest = tmp_path / "out" / "manifest.jsonl"
        result = make(manifest_uri=str(manifest)).execute(make_context())
        assert set(result) == {
            "images", "started", "succeeded", "failed", "manifest_uri", "operations", "failures", "uris", "uri_count",
            "eecu_seconds", "start", "end",
        }  # fmt: skip
        counts = [result[name] for name in ("images", "started", "succeeded", "failed", "uri_count")]
        assert counts == [30, 30, 30, 0, 30]
        assert [len(result[name]) for name in ("operations", "failures", "uris")] == [20, 0, 20]
        assert result["uris"][0] == "gs://demo-bucket/field/2010_01_01"
        assert result["eecu_seconds"] > 0
        assert result["start"] < result["end"]
        json.dumps(result)
        assert_once(emulator)
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        assert [row["image_id"] for row in rows] == [image_id(number) for number in range(IMAGES)]
        assert {row["state"] for row in rows} == {"SUCCEEDED"}
        assert len(list(emulator.root.rglob("field/*.tif"))) == IMAGES

    def test_an_image_keeps_its_own_grid_and_the_bands_that_were_asked_for(self, make, make_context, emulator):
        make(end=day(1), bands="nir").execute(make_context())
        (file,) = emulator.root.rglob("2010_01_01*.tif")
        with rasterio.open(file) as written:
            assert (written.width, written.height, written.count) == (4, 4, 1)
            assert written.transform == rasterio.Affine(10, 0, 600_000, 0, -10, 5_200_000)
            assert written.read(1)[0, 0] == 16

    def test_a_region_cuts_the_images_own_grids(self, make, make_context, emulator):
        from airflow_ee.core.region import Region

        region = Region.parse([10.31418, 46.94573, 10.31427, 46.94579]).to_geojson()
        make(end=day(1), region=region).execute(make_context())
        (body,) = bodies_of(emulator)
        assert body["grid"]["dimensions"]["width"] < 4

    async def test_deferred_all_are_exported_in_batches(self, make, make_context, emulator):
        deferrals = []
        result = await run_deferred(make, make_context(), deferrals, max_concurrent_operations=10)
        assert (result["started"], result["succeeded"]) == (30, 30)
        assert_once(emulator)
        assert 3 <= len(deferrals) <= 8
        assert max(deferrals) < 1000, "what waits in Airflow's database does not grow with the images"

    def test_no_more_go_on_at_once_than_may(self, make, make_context, emulator, monkeypatch):
        most = []
        original = EarthEngineClient.start_operation

        def start(client, request, **arguments):
            operation = original(client, request, **arguments)
            listed = [item["metadata"]["state"] for item in emulator.operations]
            most.append(sum(state in {"PENDING", "RUNNING"} for state in listed))
            return operation

        monkeypatch.setattr(EarthEngineClient, "start_operation", start)
        make(max_concurrent_operations="4").execute(make_context())
        assert max(most) <= 4
        assert_once(emulator)

    def test_an_empty_interval_skips_or_fails(self, make, make_context, emulator):
        with pytest.raises(AirflowSkipException, match="farm/field has no image in"):
            make(start="1999-01-01", end="2000-01-01").execute(make_context())
        with pytest.raises(AirflowFailException, match="has no image in"):
            make(start="1999-01-01", end="2000-01-01", on_empty="fail").execute(make_context())
        assert emulator.operations == []


class TestRequests:
    def test_orders_of_priority_go_down_from_the_services_own(self, make, make_context, emulator):
        make(priority="newest_first").execute(make_context())
        bodies = {body["description"]: body for body in bodies_of(emulator)}.values()
        by_day = sorted(
            (body["fileExportOptions"]["cloudStorageDestination"]["filenamePrefix"], body["priority"])
            for body in bodies
        )
        priorities = [priority for _, priority in by_day]
        assert priorities == sorted(priorities)
        assert (priorities[-1], len(set(priorities))) == (100, 30)

    def test_numbers_options_and_descriptions_go_where_the_reference_says(self, make, make_context, emulator):
        make(
            end=day(1), priority="7", max_pixels="5000", no_data=-1, description="Fields of 2010", workload_tag="tag"
        ).execute(make_context())
        (body,) = bodies_of(emulator)
        assert (body["priority"], body["maxPixels"], body["workloadTag"]) == (7, "5000", "tag")
        assert body["fileExportOptions"]["geoTiffOptions"]["noData"] == {"floatValue": -1.0}
        assert re.fullmatch(r"Fields-of-2010-ae-[0-9a-f]{12}-[0-9a-f]{12}-1", body["description"])

    def test_a_function_of_the_image_is_exported(self, make, make_context, emulator):
        ee = pytest.importorskip("ee")

        def index(context, image_id, factor):
            return ee.Image(image_id).normalizedDifference(["nir", "red"]).multiply(factor)

        make(end=day(3), expression=index, expression_kwargs={"factor": 100}).execute(make_context())
        assert_once(emulator, 3)
        (file,) = emulator.root.rglob("2010_01_02*.tif")
        with rasterio.open(file) as written:
            assert written.read(1)[0, 1] == pytest.approx(100 * (17 - 1) / 18)

    def test_a_graph_has_the_image_in_the_place_of_the_placeholder(self, make, make_context, emulator):
        node = {
            "functionInvocationValue": {
                "functionName": "Image.load",
                "arguments": {"id": {"constantValue": "{image_id}"}},
            }
        }
        make(end=day(2), expression={"result": "0", "values": {"0": node}}, bands=["red"]).execute(make_context())
        loaded = {
            body["expression"]["values"]["0"]["functionInvocationValue"]["arguments"]["id"]["constantValue"]
            for body in bodies_of(emulator)
        }
        assert loaded == {image_id(0), image_id(1)}

    def test_rest_bodies_are_templates_too(self, make, make_context, emulator):
        options = {
            "fileFormat": "TF_RECORD_IMAGE",
            "driveDestination": {"folder": "f", "filenamePrefix": "{date:%Y%m%d}-x"},
        }
        make(end=day(2), destination_uri=None, file_export_options=options).execute(make_context())
        prefixes = {body["fileExportOptions"]["driveDestination"]["filenamePrefix"] for body in bodies_of(emulator)}
        assert prefixes == {"20100101-x", "20100102-x"}

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"destination_uri": "gs://demo-bucket/field"}, "is gs://demo-bucket/field for both farm/field/2010_01_01 and farm/field/2010_01_02"),
            ({"destination_uri": "gs://demo-bucket/{date:%Y}"}, r"\{index\} or \{image_id\} in it tells them apart"),
            ({"destination_uri": "gs://demo-bucket/{tile}"}, r"must be a template with \{index\}, \{image_id\}, \{date\}.*'tile'"),
            ({"destination_uri": "gs://demo-bucket/{index.__class__}"}, "must be a template"),
            ({"destination_uri": "gs://demo-bucket/{"}, "must be a template"),
            ({"destination_uri": "drive://f/a/{index}"}, "destination_uri must be gs://"),
            ({"bands": "blue"}, "has no band 'blue'"),
            ({"max_images": 29}, "has 30 images in .*, more than max_images=29"),
            ({"max_concurrent_operations": 0}, "max_concurrent_operations must be at least 1"),
            ({"priority": "urgent"}, "priority must be a number, newest_first or oldest_first"),
            ({"priority": 10000}, "priority must be in 0..9999"),
            ({"on_failure": "retry"}, "on_failure must be one of fail, ignore"),
            ({"on_empty": "wait"}, "on_empty must be one of skip, fail"),
            ({"max_failed_images": -1}, "max_failed_images must be at least 0"),
            ({"scale": 10}, "scale needs a region"),
            ({"crs": "EPSG:32632"}, "crs needs a scale"),
            ({"expression_kwargs": {"a": 1}}, "no expression that could take them"),
            ({"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}}, r"write '\{image_id\}' in the place"),
            ({"start": "2010-02-01", "end": "2010-01-01"}, "start must be before argument end"),
            ({"manifest_uri": "/proc/version/x"}, "cannot be written"),
        ],
    )  # fmt: skip
    def test_bad_input_is_refused_by_name_before_anything_is_started(
        self, make, make_context, emulator, arguments, words
    ):
        with pytest.raises(AirflowFailException, match=words):
            make(**arguments).execute(make_context())
        assert "image:export" not in emulator.calls

    def test_a_function_that_never_gives_the_same_is_refused(self, make, make_context, emulator):
        pytest.importorskip("ee")
        values = iter(range(10**6))

        def changing(context, image_id):
            return {"result": "0", "values": {"0": {"constantValue": next(values)}}}

        with pytest.raises(AirflowFailException, match="another graph each time"):
            make(expression=changing).execute(make_context())
        assert "image:export" not in emulator.calls


class TestOnce:
    @pytest.mark.parametrize("deferrable", [False, True])
    async def test_lost_answers_and_busy_services_start_no_image_twice(self, make, make_context, emulator, deferrable):
        emulator.inject("image:export", "lose-response", "429", "503", "lose-response", "lose-response", "429", "503")
        emulator.inject("operations.list", "503", "429")
        result = await run_either(make, make_context(), deferrable)
        assert result["succeeded"] == 30
        assert_once(emulator)
        assert len(emulator.operations) == 30
        assert not emulator.pending

    def test_a_full_queue_is_waited_for(self, make, make_context, emulator):
        emulator.inject("image:export", *["400 queue"] * 3)
        assert make().execute(make_context())["succeeded"] == 30
        assert_once(emulator)
        assert len(emulator.operations) == 30

    @pytest.mark.parametrize("deferrable", [False, True])
    async def test_a_queue_that_holds_few_is_filled_again_and_again(
        self, connect, serve, folder, make_context, deferrable
    ):
        emulator = serve(folder, max_pending_operations=5)
        make = maker(connect, emulator)
        # Told that the queue takes more than it does: the service refuses, and ids are used up by that.
        result = await run_either(make, make_context(), deferrable, max_concurrent_operations=25)
        assert result["succeeded"] == 30
        assert_once(emulator)
        assert len(emulator.operations) == 30

    def test_a_used_up_id_that_nothing_is_listed_for_is_followed_by_the_next(self, make, make_context, emulator):
        emulator.inject("image:export", *[DUPLICATE] * 5)
        assert make().execute(make_context())["succeeded"] == 30
        assert_once(emulator)
        assert sum(item["metadata"]["description"].endswith("-2") for item in emulator.operations) == 5

    def test_a_list_that_lags_behind_starts_nothing_twice(self, make, make_context, emulator, monkeypatch):
        original = EarthEngineClient.list_operations
        looks = iter(range(4))

        def late(client):
            listed = list(original(client))
            return iter(listed if next(looks, None) is None else listed[len(listed) // 2 :])

        monkeypatch.setattr(EarthEngineClient, "list_operations", late)
        assert make(max_concurrent_operations=10).execute(make_context())["succeeded"] == 30
        assert_once(emulator)
        assert len(emulator.operations) == 30

    def test_a_cleared_task_attaches_to_what_there_is(self, make, make_context, emulator):
        first = make().execute(make_context())
        again = make().execute(make_context())
        assert again == {**first, "started": 0}
        assert len(emulator.operations) == 30

    def test_a_changed_request_starts_anew(self, make, make_context, emulator):
        make(end=day(5)).execute(make_context())
        result = make(end=day(5), bands=["red"], destination_uri="gs://demo-bucket/red/{index}").execute(make_context())
        assert result["started"] == 5
        assert len(emulator.operations) == 10

    def test_another_interval_starts_only_what_is_new(self, make, make_context, emulator):
        make(end=day(5)).execute(make_context())
        result = make(end=day(8), priority=3, description="other words").execute(make_context())
        assert (result["images"], result["started"], result["succeeded"]) == (8, 3, 8)

    def test_other_tasks_and_deployments_have_exports_of_their_own(self, connect, make, make_context, emulator):
        make(end=day(2)).execute(make_context())
        make(end=day(2)).execute(make_context(run_id="other"))
        connect(endpoint=emulator.url, request_namespace="other")
        make(end=day(2)).execute(make_context())
        assert len(emulator.operations) == 6


class TestFailures:
    @pytest.mark.parametrize("deferrable", [False, True])
    async def test_failed_images_are_named_and_a_retry_starts_these_alone(
        self, make, make_context, emulator, deferrable, tmp_path
    ):
        emulator.inject("image:export", *["fail The bucket is on fire."] * 3)
        manifest = tmp_path / "manifest.jsonl"
        with pytest.raises(
            SomeFailed, match="3 of 30 images failed: farm/field/2010_01_0.: .*The bucket is on fire"
        ) as failure:
            await run_either(make, make_context(), deferrable, manifest_uri=str(manifest))
        assert str(failure.value).count("farm/field/") == 3
        assert len(emulator.operations) == 30, "within a try nothing is started again"
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        assert sum(row["state"] == "FAILED" and "on fire" in row["error"] for row in rows) == 3
        result = await run_either(make, make_context(), deferrable)
        assert (result["started"], result["succeeded"], result["failed"]) == (3, 30, 0)
        assert_once(emulator)
        assert len(emulator.operations) == 33

    def test_failures_may_be_ignored_or_be_few_enough(self, make, make_context, emulator):
        for run, arguments in (("a", {"on_failure": "ignore"}), ("b", {"max_failed_images": "2"})):
            emulator.inject("image:export", *["fail x"] * 2)
            result = make(end=day(10), **arguments).execute(make_context(run_id=run))
            assert (result["succeeded"], result["failed"]) == (8, 2)
            assert [set(item) for item in result["failures"]] == [{"image_id", "message"}] * 2
        emulator.inject("image:export", *["fail x"] * 2)
        with pytest.raises(SomeFailed, match="2 of 10 images failed"):
            make(end=day(10), max_failed_images=1).execute(make_context(run_id="c"))

    def test_an_image_that_is_refused_does_not_keep_others_from_being_exported(self, make, make_context, emulator):
        emulator.inject("image:export", "400 This image is too strange.")
        with pytest.raises(SomeFailed, match="1 of 30 images failed: .*: This image is too strange"):
            make().execute(make_context())
        assert len(emulator.operations) == 29
        assert make().execute(make_context())["started"] == 1

    def test_what_is_refused_for_all_images_ends_the_task_at_once(self, make, make_context, emulator):
        emulator.inject("image:export", *["400 No such bucket."] * 30)
        with pytest.raises(AirflowFailException, match="No such bucket"):
            make().execute(make_context())
        assert emulator.calls.count("image:export") < 20
        emulator.clear_faults()
        emulator.inject("image:export", *["403"] * 8)
        with pytest.raises(AirflowFailException, match="PERMISSION_DENIED"):
            make().execute(make_context())

    def test_when_everything_fails_no_more_is_started(self, make, make_context, emulator):
        emulator.inject("image:export", *["fail x"] * 30)
        with pytest.raises(SomeFailed, match="of 30 images failed.* more were not started, because none"):
            make(max_concurrent_operations=5).execute(make_context())
        assert 20 <= len(emulator.operations) < 25

    def test_a_service_that_is_away_fails_the_try_and_the_next_goes_on(self, make, make_context, emulator):
        emulator.inject("image:export", *["503"] * 60)
        with pytest.raises(Unavailable):
            make(request_retries=1).execute(make_context())
        emulator.clear_faults()
        assert make().execute(make_context())["succeeded"] == 30
        assert_once(emulator)

    @pytest.mark.parametrize("deferrable", [False, True])
    async def test_a_stuck_operation_is_cancelled_and_its_image_has_failed(
        self, make, make_context, emulator, deferrable
    ):
        emulator.inject("image:export", "stuck")
        arguments = {"stuck_after_seconds": 0.5, "end": day(10)}
        with pytest.raises(SomeFailed, match="1 of 10 images failed"):
            await run_either(make, make_context(), deferrable, **arguments)
        assert states(emulator) == {"SUCCEEDED": 9, "CANCELLED": 1}

    def test_a_budget_of_the_dag_run_is_shared_with_its_other_tasks(self, make, make_context, emulator):
        dag = SimpleNamespace(task_ids=["first", "second"])
        make(end=day(3)).execute({**make_context(task_id="first"), "dag": dag})
        used = sum(item["metadata"]["batchEecuUsageSeconds"] for item in emulator.operations)
        with pytest.raises(AirflowFailException, match="The exports of this DAG run have used"):
            make(max_run_eecu_seconds=used / 2).execute({**make_context(task_id="second"), "dag": dag})
        assert len(emulator.operations) == 3
        result = make(end=day(3), max_run_eecu_seconds=used * 10).execute(
            {**make_context(task_id="second"), "dag": dag}
        )
        assert result["succeeded"] == 3

    def test_a_budget_of_compute_ends_it_for_good(self, make, make_context, emulator):
        with pytest.raises(AirflowFailException, match="EECU seconds of 1e-06"):
            make(max_eecu_seconds=1e-6, max_concurrent_operations=3).execute(make_context())
        assert len(emulator.operations) < 30
        assert EecuBudgetExceeded.retryable is False


class TestEnds:
    @pytest.fixture
    def slow(self, serve, folder, connect):
        """An emulator in which nothing ends by itself, and a maker of operators."""
        emulator = serve(folder, running_seconds=3600.0)
        return emulator, maker(connect, emulator)

    @pytest.mark.parametrize("cancel", [True, False])
    def test_a_kill_cancels_all_if_so_wished(self, slow, make_context, cancel):
        emulator, make = slow
        operator = make(cancel_on_kill=cancel, poll_interval=30)
        previous = signal.signal(signal.SIGALRM, lambda *_: operator.on_kill())
        signal.setitimer(signal.ITIMER_REAL, 2.0)
        started = time.monotonic()
        try:
            with pytest.raises(RuntimeError, match="The task was killed"):
                operator.execute(make_context())
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert time.monotonic() - started < 8
        assert wait_until(lambda: states(emulator)["CANCELLED"] == (30 if cancel else 0))
        assert ("operations.cancel" in emulator.calls) is cancel

    def test_a_kill_while_requests_are_on_their_way_leaves_nothing_running(self, slow, make_context, monkeypatch):
        emulator, make = slow
        operator, original, count = make(), EarthEngineClient.start_operation, iter(range(10**6))

        def start(client, request, **arguments):
            if next(count) == 12:
                os.kill(os.getpid(), signal.SIGUSR1)
            operation = original(client, request, **arguments)
            time.sleep(0.2)
            return operation

        monkeypatch.setattr(EarthEngineClient, "start_operation", start)
        previous = signal.signal(signal.SIGUSR1, lambda *_: operator.on_kill())
        try:
            with pytest.raises(RuntimeError, match="The task was killed"):
                operator.execute(make_context())
        finally:
            signal.signal(signal.SIGUSR1, previous)
        assert wait_until(lambda: set(states(emulator)) == {"CANCELLED"})
        assert len(emulator.operations) < 30

    def test_a_kill_takes_no_longer_than_airflow_allows(self, slow, make_context, monkeypatch):
        emulator, make = slow
        monkeypatch.setattr(export_collection, "KILL_SECONDS", 1.0)
        operator = make()
        with pytest.raises(TaskDeferred):
            make(deferrable=True).execute(make_context())
        operator._task_mark = operator._mark_of(make_context())
        emulator.inject("operations.list", "hang")
        started = time.monotonic()
        operator.on_kill()
        assert time.monotonic() - started < 1.5

    @pytest.mark.parametrize("cancel", [True, False])
    def test_an_execution_timeout_cancels_all_whatever_a_kill_would_do(self, slow, make_context, cancel):
        emulator, make = slow
        operator = make(cancel_on_timeout=cancel, cancel_on_kill=not cancel, poll_interval=30)

        def interrupt():
            raise AirflowTaskTimeout

        operator._sleep = interrupt
        with pytest.raises(AirflowTaskTimeout):
            operator.execute(make_context())
        operator.on_kill()
        assert wait_until(lambda: states(emulator)["CANCELLED"] == (30 if cancel else 0))
        assert ("operations.cancel" in emulator.calls) is cancel

    def test_what_goes_on_for_a_request_that_was_changed_is_cancelled(self, slow, make_context):
        emulator, make = slow
        for index in ("a", "b"):
            with pytest.raises(TaskDeferred):
                make(deferrable=True, destination_uri=f"gs://demo-bucket/{index}/{{index}}").execute(make_context())
        assert wait_until(lambda: states(emulator)["CANCELLED"] == 30)
        assert len(emulator.operations) - states(emulator)["CANCELLED"] == 30

    @pytest.mark.parametrize("cancel", [True, False])
    async def test_the_triggers_deadline_ends_the_task(self, slow, make_context, cancel):
        emulator, make = slow
        arguments = {"execution_timeout": timedelta(seconds=3), "cancel_on_timeout": cancel}
        with pytest.raises(TimeoutError, match="they were cancelled" if cancel else "they go on"):
            await run_deferred(make, make_context(), **arguments)
        assert wait_until(lambda: states(emulator)["CANCELLED"] == (30 if cancel else 0))

    def test_the_deadline_counts_from_the_beginning_of_the_try(self, slow, make_context):
        _, make = slow
        with pytest.raises(TaskDeferred) as first:
            make(deferrable=True, execution_timeout=timedelta(seconds=100)).execute(make_context())
        progress = {**first.value.kwargs["progress"], "began": time.time() - 60}
        event = {"status": "room", "operations": [], "message": ""}
        with pytest.raises(TaskDeferred) as second:
            make(deferrable=True, execution_timeout=timedelta(seconds=100)).execute_with_room(
                make_context(), event, progress
            )
        assert second.value.trigger.deadline == pytest.approx(time.time() + 40, abs=5)
        assert second.value.timeout.total_seconds() == pytest.approx(160, abs=5)

    @pytest.mark.parametrize("cancel", [True, False])
    def test_airflows_own_timeout_of_a_deferral_cancels_all(self, slow, make_context, cancel):
        emulator, make = slow
        with pytest.raises(TaskDeferred):
            make(deferrable=True).execute(make_context())
        with pytest.raises(Exception, match="Trigger timeout"):
            make(cancel_on_timeout=cancel).resume_execution("__fail__", {"error": "Trigger timeout"}, make_context())
        assert wait_until(lambda: states(emulator)["CANCELLED"] == (30 if cancel else 0))

    @pytest.mark.parametrize("cancel", [True, False])
    async def test_a_kill_of_a_deferred_task_cancels_all_if_so_wished(self, slow, make_context, cancel):
        emulator, make = slow
        with pytest.raises(TaskDeferred) as deferral:
            await asyncio.to_thread(make(deferrable=True, cancel_on_kill=cancel).execute, make_context())
        await deferral.value.trigger.on_kill()
        assert await asyncio.to_thread(wait_until, lambda: states(emulator)["CANCELLED"] == (30 if cancel else 0))

    async def test_a_restart_of_the_triggerer_loses_and_cancels_nothing(self, make, make_context, emulator):
        with pytest.raises(TaskDeferred) as deferral:
            await asyncio.to_thread(make(deferrable=True, max_concurrent_operations=5).execute, make_context())
        _, state = deferral.value.trigger.serialize()
        first = asyncio.ensure_future(anext(EarthEngineCollectionTrigger(**state).run()))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await anext(EarthEngineCollectionTrigger(**state).run())).payload["status"] == "room"
        assert "operations.cancel" not in emulator.calls

    def test_a_trigger_that_could_not_look_is_a_failure_to_retry(self, make, make_context):
        event = {"status": "error", "operations": [], "message": "gone"}
        with pytest.raises(ConnectionFailed, match="could not be watched any longer: gone"):
            make().execute_with_room(make_context(), event, {})


def wait_until(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


SCRIPT = textwrap.dedent("""
    import json, sys
    from types import SimpleNamespace
    from airflow_ee.operators import collection_starting
    from airflow_ee.operators.export import EarthEngineExportCollectionOperator

    # The emulator's list shows everything at once: ids that a queue used up need not be looked for.
    collection_starting.LOOK_AGAIN_SECONDS = (0.0, 0.2)
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=0, xcom_push=lambda **_: None)
    print("READY", flush=True)
    operator = EarthEngineExportCollectionOperator(task_id="t", **json.loads(sys.argv[1]))
    print("RESULT", json.dumps(operator.execute({"ti": ti, "params": {}})), flush=True)
""")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_processes_that_are_killed_at_any_moment_export_each_image_once(serve, folder, connect):
    emulator = serve(folder, latency_seconds=0.03, max_pending_operations=12)
    connect(endpoint=emulator.url)
    chance = random.Random(5)
    arguments = {
        "collection": COLLECTION, "start": str(day(0)), "end": str(day(IMAGES)), "destination_uri": URI,
        "poll_interval": 0.1, "max_concurrent_operations": 8, "max_pending_operations": 50,
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, json.dumps(arguments)]

    def run(seconds):
        process = subprocess.Popen(
            command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        while process.stdout.readline() != "READY\n":
            pass
        seen = len(emulator.calls)
        wait_until(lambda: len(emulator.calls) > seen, 30.0)
        killer = threading.Timer(seconds, process.kill)
        killer.start()
        output = process.stdout.read()
        process.stdout.close()
        process.wait()
        killer.cancel()
        return output

    for _ in range(KILLS):
        emulator.inject("image:export", *chance.sample(["lose-response", "fail x", "delay=0.1", "400 queue"], 2))
        run(chance.uniform(0.0, 2.0))
    emulator.clear_faults()
    for _ in range(3):
        result = run(120.0)
        if result:
            break
    assert '"succeeded": 30' in result
    assert_once(emulator)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
async def test_a_campaign_of_quick_images_ends_with_all_of_them(
    serve, tmp_path, connect, make_context, deferrable, record_property
):
    folder = await asyncio.to_thread(write_images, tmp_path / "many" / "field", CAMPAIGN)
    emulator = serve(folder, running_seconds=0.0)
    connect(endpoint=emulator.url, requests_per_second=500)
    make = functools.partial(maker(connect, emulator), end=day(CAMPAIGN), poll_interval=1.0)
    connect(endpoint=emulator.url, requests_per_second=500)
    deferrals, started = [], time.monotonic()
    result = await run_either(make, make_context(), deferrable, **({"deferrals": deferrals} if deferrable else {}))
    record_property("seconds", time.monotonic() - started)
    calls = collections.Counter(emulator.calls)
    print(CAMPAIGN, "images,", round(time.monotonic() - started, 1), "s,", dict(calls), "deferrals", len(deferrals))
    assert (result["images"], result["started"], result["succeeded"]) == (CAMPAIGN,) * 3
    assert_once(emulator, CAMPAIGN)
    assert calls["image:export"] == CAMPAIGN
    assert max(deferrals, default=0) < 1000


class TestAirflow:
    def test_every_template_field_is_an_argument_that_is_kept_as_it_came(self):
        fields = EarthEngineExportCollectionOperator.template_fields
        values = {name: f"{{{{ {name} }}}}" for name in fields}
        operator = EarthEngineExportCollectionOperator(task_id="t", **values)
        assert {name: getattr(operator, name) for name in fields} == values

    def test_every_argument_that_a_user_may_compute_is_a_template_field(self):
        computed = {
            name
            for cls in EarthEngineExportCollectionOperator.__mro__[:2]
            for name in inspect.signature(cls.__init__).parameters
        }
        fixed = {
            "self", "kwargs", "deferrable", "poll_interval", "stuck_after_seconds", "max_eecu_seconds", "max_run_eecu_seconds", "cancel_on_kill",
            "cancel_on_timeout", "max_pending_operations",
        }  # fmt: skip
        assert computed - fixed <= set(EarthEngineExportCollectionOperator.template_fields)

    def test_templates_of_airflow_leave_those_of_images_alone(self, make, make_context, emulator):
        operator = make(
            start="{{ ds }}", end="{{ macros.ds_add(ds, 2) }}", bands="{{ params.bands }}", max_images="{{ 10 }}",
            destination_uri="gs://demo-bucket/{{ ds }}/{index}",
        )  # fmt: skip
        from airflow.sdk.execution_time import macros

        context = {**make_context(), "ds": "2010-01-01", "params": {"bands": "red"}, "macros": macros}
        operator.render_template_fields(context)
        assert operator.execute(context)["uris"] == [
            f"gs://demo-bucket/2010-01-01/2010_01_0{number}" for number in (1, 2)
        ]

    @pytest.mark.parametrize("name", ["poll_interval", "stuck_after_seconds", "max_eecu_seconds"])
    def test_times_that_are_not_templated_are_refused_when_the_dag_is_parsed(self, make, name):
        with pytest.raises(ValueError, match=f"{name} must be above 0 seconds"):
            make(**{name: 0})

    def test_it_can_be_mapped_serialized_and_copied(self):
        with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            EarthEngineExportCollectionOperator.partial(task_id="m", destination_uri=URI).expand(collection=["a", "b"])
            EarthEngineExportCollectionOperator(task_id="t", collection="a", destination_uri=URI)
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        assert copy.deepcopy(dag).task_ids == ["m", "t"]
