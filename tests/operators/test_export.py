"""An export starts once, ends with its task, and refuses what makes no sense before anything is sent."""

import copy
import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import rasterio
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, TaskDeferred
from airflow.sdk import DAG

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import Aborted, ConnectionFailed, DuplicateRequest, Internal
from airflow_ee.core.settings import ClientSettings, RetryPolicy
from airflow_ee.operators import export_base, starting
from airflow_ee.operators.export import EarthEngineExportImageOperator
from airflow_ee.operators.export_identity import ExportIdentity
from airflow_ee.triggers.operation import EarthEngineOperationTrigger
from tests.older_airflow import DagSerialization

URI = "gs://demo-bucket/ndvi/2024"
# What the service says of a requestId that it will not take again.
DUPLICATE = "400 A different Operation was already started with the given request_id"
RESULT_KEYS = {
    "operation", "state", "description", "uris", "uri_count", "manifest_uri", "bytes", "eecu_seconds", "attempt", "start", "end",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Retries of requests that wait no second."""
    patient = functools.partial(RetryPolicy, initial_seconds=0.01)
    monkeypatch.setattr("airflow_ee.hooks.connection.RetryPolicy", patient)
    monkeypatch.setattr("airflow_ee.hooks.earth_engine.LOOK_AGAIN_SECONDS", (0.01,))


@pytest.fixture
def make_context(make_context):
    """The context of a try; a clearing raises ``max_tries``, a retry does not."""
    return lambda **arguments: make_context(**{"max_tries": 0, **arguments})


@pytest.fixture
def make(connect, emulator, graph, grid):
    """Makes an export against the emulator."""
    connect(endpoint=emulator.url)

    def make(**arguments):
        arguments = {"expression": graph, "grid": grid, "destination_uri": URI, "poll_interval": 0.05, **arguments}
        arguments = {"task_id": "export", **{key: value for key, value in arguments.items() if value is not ...}}
        return EarthEngineExportImageOperator(**arguments)

    return make


@pytest.fixture
def client(emulator):
    """A look at the service from outside."""
    return EarthEngineClient(
        ClientSettings(project="demo-project", endpoint=emulator.url, high_volume_endpoint=emulator.url)
    )


def bodies(emulator):
    return [request.body for request in emulator.requests if request.method == "image:export"]


def states(emulator):
    return [operation["metadata"]["state"] for operation in emulator.operations]


class TestResult:
    def test_it_writes_what_was_asked_for_and_returns_a_small_dict(self, make, make_context, emulator):
        result = make().execute(make_context())
        assert set(result) == RESULT_KEYS
        assert (result["state"], result["uris"], result["uri_count"], result["attempt"]) == ("SUCCEEDED", [URI], 1, 1)
        assert result["operation"] == emulator.operations[0]["name"]
        assert result["eecu_seconds"] > 0
        assert result["start"] < result["end"]
        json.dumps(result)
        (file,) = emulator.root.rglob("2024*.tif")
        with rasterio.open(file) as written:
            assert (written.width, written.height, written.crs.to_epsg()) == (9, 6, 32633)
            assert (written.read(1) == np.full((6, 9), 7)).all()

    def test_without_waiting_it_returns_at_once(self, make, make_context, emulator):
        emulator.inject("image:export", "stuck")
        result = make(wait_for_completion=False, deferrable=True).execute(make_context())
        assert set(result) == RESULT_KEYS
        assert result["state"] == "PENDING"
        assert result["uris"] == [URI]
        assert "operations.get" not in emulator.calls

    def test_the_link_is_there_while_the_task_waits(self, make, make_context, emulator):
        context = make_context()
        with pytest.raises(TaskDeferred):
            make(deferrable=True).execute(context)
        (link,) = context["ti"].xcoms.values()
        assert link == f"{emulator.url}/v1/{emulator.operations[0]['name']}"

    def test_progress_is_logged_as_it_changes(self, make, make_context, caplog, monkeypatch):
        operator = make()
        # Airflow's logger of tasks is none of the standard library's.
        monkeypatch.setattr(type(operator), "log", logging.getLogger("probe"))
        with caplog.at_level("INFO"):
            operator.execute(make_context())
        told = [record.getMessage() for record in caplog.records]
        assert any("is PENDING" in line or "is RUNNING" in line for line in told)
        assert sum("is SUCCEEDED: 100 %, attempt 1" in line and "EECU s" in line for line in told) == 1
        assert any("as anonymous" in line for line in told)


class TestRequest:
    def test_everything_goes_where_the_reference_says(self, make, make_context, emulator, graph, grid):
        make(
            description="NDVI of 2024",
            priority="200",
            max_pixels="1000000",
            workload_tag="my-tag",
            no_data=-9999,
            file_dimensions=[512, 256],
            skip_empty_files=True,
            wait_for_completion=False,
        ).execute(make_context())
        (body,) = bodies(emulator)
        assert re.fullmatch(r"NDVI-of-2024-ae-[0-9a-f]{12}-[0-9a-f]{12}-1", body.pop("description"))
        assert re.fullmatch(r"airflow-[0-9a-f]{48}", body.pop("requestId"))
        assert body == {
            "expression": graph,
            "grid": {
                **grid,
                "affineTransform": {name: float(value) for name, value in grid["affineTransform"].items()},
            },
            "maxPixels": "1000000",
            "priority": 200,
            "workloadTag": "my-tag",
            "fileExportOptions": {
                "fileFormat": "GEO_TIFF",
                "cloudStorageDestination": {"bucket": "demo-bucket", "filenamePrefix": "ndvi/2024"},
                "geoTiffOptions": {
                    "cloudOptimized": True,
                    "noData": {"floatValue": -9999.0},
                    "tileDimensions": {"width": 512, "height": 256},
                    "skipEmptyFiles": True,
                },
            },
        }

    @pytest.mark.parametrize(
        ("arguments", "field", "options"),
        [
            (
                {"destination_uri": "drive://maps/ndvi", "file_format": "TF_RECORD_IMAGE"},
                "fileExportOptions",
                {"fileFormat": "TF_RECORD_IMAGE", "driveDestination": {"folder": "maps", "filenamePrefix": "ndvi"}},
            ),
            (
                {
                    "destination_uri": "projects/demo-project/assets/ndvi",
                    "overwrite": True,
                    "pyramiding_policy": "MEAN",
                    "pyramiding_policy_overrides": {"qa": "MODE"},
                },
                "assetExportOptions",
                {
                    "earthEngineDestination": {"name": "projects/demo-project/assets/ndvi", "overwrite": True},
                    "pyramidingPolicy": "MEAN",
                    "pyramidingPolicyOverrides": {"qa": "MODE"},
                },
            ),
            (
                {
                    "destination_uri": None,
                    "file_export_options": {
                        "fileFormat": "GEO_TIFF",
                        "driveDestination": {"folder": "f", "filenamePrefix": "x"},
                    },
                },
                "fileExportOptions",
                {"fileFormat": "GEO_TIFF", "driveDestination": {"folder": "f", "filenamePrefix": "x"}},
            ),
            (
                {
                    "destination_uri": None,
                    "asset_export_options": {"earthEngineDestination": {"name": "projects/demo-project/assets/x"}},
                },
                "assetExportOptions",
                {"earthEngineDestination": {"name": "projects/demo-project/assets/x"}},
            ),
        ],
        ids=["drive TFRecord", "asset", "REST file", "REST asset"],
    )
    def test_destinations_come_as_uris_or_as_rest_bodies(self, make, make_context, arguments, field, options):

        request = make(**arguments).build_request(make_context())
        assert request.body(None)[field] == options

    def test_a_region_and_a_scale_make_a_grid(self, make, make_context):
        operator = make(grid=None, region=[10, 45, 10.01, 45.01], scale="30", crs="EPSG:32632")
        assert operator.build_request(make_context()).grid.transform[0] == 30.0

    def test_the_services_defaults_are_left_to_the_service(self, make, make_context, emulator):
        make(wait_for_completion=False).execute(make_context())
        assert {"maxPixels", "priority"}.isdisjoint(bodies(emulator)[0])

    def test_a_function_written_with_googles_client_is_exported(self, make, make_context, emulator):
        ee = pytest.importorskip("ee")
        operator = make(expression=lambda _, value: ee.Image.constant(value), expression_kwargs={"value": 3})
        assert operator.execute(make_context())["state"] == "SUCCEEDED"
        (file,) = emulator.root.rglob("2024*.tif")
        with rasterio.open(file) as written:
            assert (written.read(1) == 3).all()


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"priority": 10000}, "priority must be in 0..9999, got 10000"),
            ({"priority": "-1"}, "priority must be in 0..9999"),
            ({"priority": "high"}, "priority must be a number"),
            ({"max_pixels": 0}, "max_pixels must be at least 1"),
            ({"max_pixels": 1.5}, "max_pixels must be a whole number"),
            ({"request_id": "a_b"}, "request_id must be 1 to 60 letters, digits or '-', got 'a_b'"),
            ({"request_id": "a" * 61}, "request_id must be 1 to 60"),
            ({"workload_tag": "Nope!"}, "workload_tag must be 1 to 63"),
            ({"destination_uri": None}, "exactly one destination: .*got none"),
            (
                {"asset_export_options": {"earthEngineDestination": {"name": "x"}}},
                "exactly one destination: .*got destination_uri and asset_export_options",
            ),
            (
                {"destination_uri": "s3://bucket/x"},
                "destination_uri must be gs://bucket/prefix, drive://folder/prefix or projects/",
            ),
            ({"destination_uri": "gs://bucket-only"}, "destination_uri must be"),
            ({"destination_uri": "gs://Bad Bucket/x"}, "destination_uri must be"),
            ({"destination_uri": "/tmp/x"}, "destination_uri must be"),
            (
                {"destination_uri": None, "file_export_options": {"fileFormat": "GEO_TIFF"}},
                "export options need a destination",
            ),
            ({"file_format": "NPY"}, "file_format must be one of GEO_TIFF, TF_RECORD_IMAGE, got 'NPY'"),
            ({"file_format": "TF_RECORD_IMAGE", "no_data": 0}, "no_data must be left out: it is for GEO_TIFF"),
            ({"no_data": "nan"}, "no_data must be a finite number"),
            ({"file_dimensions": [100, 100]}, "file_dimensions must be .* multiples of 256"),
            ({"overwrite": True}, "overwrite must be left out: it is for assets"),
            ({"pyramiding_policy": "MEAN"}, "pyramiding_policy must be left out"),
            (
                {"destination_uri": "projects/demo-project/assets/x", "pyramiding_policy": "SUM"},
                "pyramiding policy must be one of MEAN, SAMPLE",
            ),
            (
                {"destination_uri": "projects/demo-project/assets/x", "no_data": 1},
                "no_data must be left out: it is for files",
            ),
            ({"grid": None}, "no grid: a computed image has none of its own"),
            ({"grid": None, "region": [1, 1, 2, 2]}, "no grid"),
            ({"grid": None, "region": [2, 1, 1, 2], "scale": 10, "crs": "EPSG:4326"}, "west must be less than east"),
            ({"grid": None, "region": [1, 1, 2, 2], "scale": 0, "crs": "EPSG:4326"}, "scale must be above 0"),
            ({"grid": None, "region": [1, 1, 2, 2], "scale": 10}, "scale needs a crs"),
            ({"scale": 10}, "grid is used exactly as it is: leave out scale"),
            ({"expression": {"a": 1}}, "expression is not a graph"),
            ({"force_rerun": "perhaps"}, "force_rerun must be true or false"),
        ],
    )
    def test_bad_input_is_refused_by_name_before_anything_is_sent(self, make, make_context, emulator, arguments, words):
        with pytest.raises(AirflowFailException, match=words):
            make(**arguments).execute(make_context())
        assert emulator.calls == []

    def test_a_wrong_endpoint_is_refused(self, connect, make, make_context):
        operator = make()
        connect(endpoint="http://example.com")
        with pytest.raises(AirflowFailException, match="endpoint must be https, or http on a loopback address"):
            operator.execute(make_context())

    @pytest.mark.parametrize("arguments", [{"poll_interval": 0}, {"operation_timeout_seconds": -1}])
    def test_times_that_are_not_templated_are_refused_when_the_dag_is_parsed(self, make, arguments):
        with pytest.raises(ValueError, match="must be above 0 seconds"):
            make(**arguments)

    def test_an_asset_that_does_not_exist_is_the_services_error(self, make, make_context):
        arguments = {"id": {"constantValue": "no/such/image"}}
        node = {"functionInvocationValue": {"functionName": "Image.load", "arguments": arguments}}
        with pytest.raises(AirflowFailException, match=r"no/such/image.*not found"):
            make(expression={"result": "0", "values": {"0": node}}).execute(make_context())


@pytest.mark.parametrize("kept", [True, False], ids=["with a state store", "without"])
class TestOnce:
    @pytest.fixture
    def context(self, kept, store, make_context):
        """The context of each try of one task instance."""
        return lambda **identity: make_context(store=store if kept else None, **identity)

    def test_a_lost_answer_starts_one_export(self, make, context, emulator):
        emulator.inject("image:export", "lose-response", "503", "lose-response")
        assert make().execute(context())["state"] == "SUCCEEDED"
        assert len(emulator.operations) == 1
        assert not emulator.pending

    def test_a_try_after_a_crash_finds_its_operation(self, make, context, emulator):
        emulator.inject("image:export", "stuck")
        first = make(wait_for_completion=False).execute(context())
        again = make(wait_for_completion=False).execute(context())
        assert again["operation"] == first["operation"]
        assert len(emulator.operations) == 1

    def test_a_crash_during_the_request_is_followed_by_the_same_request(self, make, context, emulator, monkeypatch):
        original = EarthEngineClient.start_operation

        def crash(self, request, *, request_id):
            original(self, request, request_id=request_id)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EarthEngineClient, "start_operation", crash)
            with pytest.raises(KeyboardInterrupt):
                make().execute(context())
        assert make().execute(context())["state"] == "SUCCEEDED"
        assert len(emulator.operations) == 1

    def test_a_cleared_task_returns_the_result_it_has(self, make, context, emulator):
        first = make().execute(context())
        assert make().execute(context()) == first
        assert len(emulator.operations) == 1

    def test_a_cleared_task_with_a_changed_request_starts_anew(self, make, context, emulator):
        make().execute(context())
        make(destination_uri="gs://demo-bucket/other").execute(context())
        assert len(emulator.operations) == 2

    @pytest.mark.parametrize("cancel", [True, False])
    def test_what_goes_on_for_the_request_that_was_changed_is_cancelled_if_so_wished(
        self, make, context, emulator, cancel
    ):
        emulator.inject("image:export", "stuck", "stuck")
        make(wait_for_completion=False, cancel_on_kill=cancel).execute(context())
        make(wait_for_completion=False).execute(context(task_id="another"))
        changed = make(destination_uri="gs://demo-bucket/other", cancel_on_kill=cancel, wait_for_completion=False)
        changed.execute(context())
        time.sleep(0.3)
        assert (states(emulator)[0] == "CANCELLED") is cancel
        assert states(emulator)[1] in {"PENDING", "RUNNING"}, "another task's is none of its business"
        assert ("operations.cancel" in emulator.calls) is cancel

    def test_another_priority_or_tag_is_no_other_export(self, make, context, emulator):
        make(priority=1).execute(context())
        make(priority=2, workload_tag="x", description="other words").execute(context())
        assert len(emulator.operations) == 1

    def test_force_rerun_starts_anew_but_waits_for_one_that_runs(self, make, context, emulator):
        make().execute(context())
        emulator.inject("image:export", "stuck")
        second = make(force_rerun="True", wait_for_completion=False).execute(context(max_tries=2))
        third = make(force_rerun=True, wait_for_completion=False).execute(context(max_tries=2))
        assert second["operation"] == third["operation"]
        assert second["description"].endswith("-2")
        assert len(emulator.operations) == 2

    def test_a_failed_export_is_asked_for_again_under_another_id(self, make, context, emulator):
        emulator.inject("image:export", "fail code=INTERNAL An internal error has occurred.")
        with pytest.raises(Internal, match="An internal error has occurred"):
            make().execute(context())
        assert make().execute(context())["description"].endswith("-2")
        first, second = bodies(emulator)
        assert first["requestId"] != second["requestId"]
        assert first["description"].endswith("-1")
        assert states(emulator) == ["FAILED", "SUCCEEDED"]

    def test_two_failures_make_the_third_attempt(self, make, context, emulator):
        emulator.inject("image:export", "fail code=INTERNAL x", "fail code=INTERNAL x")
        for _ in range(2):
            with pytest.raises(Internal):
                make().execute(context())
        assert make().execute(context())["description"].endswith("-3")

    def test_other_tasks_runs_and_mapped_tasks_have_exports_of_their_own(self, make, context, emulator):
        for identity in ({}, {"task_id": "b"}, {"run_id": "r"}, {"map_index": 0}, {"map_index": 1}, {"dag_id": "d"}):
            make(wait_for_completion=False).execute(self.fresh(context, identity))
        assert len(emulator.operations) == 6

    @staticmethod
    def fresh(context, identity):
        """A context of another task instance, whose store is empty."""
        made = context(**identity)
        if "task_state_store" in made:
            made["task_state_store"] = type(made["task_state_store"])()
        return made

    def test_two_deployments_do_not_share_exports(self, connect, make, context, emulator):
        make().execute(self.fresh(context, {}))
        connect(endpoint=emulator.url, request_namespace="other")
        make().execute(self.fresh(context, {}))
        assert len(emulator.operations) == 2

    def test_ones_own_request_id_is_sent_and_found_again(self, make, context, emulator):
        emulator.inject("image:export", "lose-response")
        make(request_id="my-own-id").execute(context())
        assert {body["requestId"] for body in bodies(emulator)} == {"my-own-id"}
        assert len(emulator.operations) == 1

    def test_ones_own_request_id_for_another_content_is_told(self, make, context, emulator):
        make(request_id="my-own-id").execute(context())
        with pytest.raises(AirflowFailException, match="Give another request_id"):
            make(request_id="my-own-id", destination_uri="gs://demo-bucket/other").execute(context())
        assert len(emulator.operations) == 1

    def test_ones_own_request_id_that_failed_tells_that_failure(self, make, context, emulator):
        emulator.inject("image:export", "fail code=INTERNAL x")
        for _ in range(2):
            with pytest.raises(Internal, match="failed: x"):
                make(request_id="my-own-id").execute(context())
        assert len(emulator.operations) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["with a state store", "without"])
class TestUsedUpIds:
    @pytest.fixture
    def context(self, kept, store, make_context):
        """The context of each try of one task instance."""
        return lambda **arguments: make_context(store=store if kept else None, **arguments)

    @pytest.fixture
    def lag(self, monkeypatch):
        """Keeps operations out of the list: the newest ``hidden`` ones, for the next ``looks``."""
        original = EarthEngineClient.list_operations

        def lag(known, looks):
            remaining = iter(range(looks))

            def late(client):
                listed = list(original(client))
                return [item for item in listed if item.name in known] if next(remaining, None) is not None else listed

            monkeypatch.setattr(EarthEngineClient, "list_operations", late)

        return lag

    def test_a_list_that_lags_behind_a_retry_makes_no_further_request(self, make, context, emulator, lag, kept):
        emulator.inject("image:export", "fail code=INTERNAL x")
        with pytest.raises(Internal):
            make().execute(context())
        lag({emulator.operations[0]["name"]}, looks=1 if kept else 2)
        emulator.inject("image:export", "lose-response")
        assert make().execute(context())["description"].endswith("-2")
        assert len(emulator.operations) == 2
        assert emulator.calls.count("image:export") == 3

    def test_requests_end_with_a_clear_word_where_every_id_is_used_up(self, make, context, emulator):
        emulator.inject("image:export", *[DUPLICATE] * 50)
        with pytest.raises(
            Aborted, match="under each number from 1 to 10, and project demo-project lists no operation"
        ):
            make().execute(context())
        assert emulator.calls.count("image:export") == 10

    def test_an_id_that_a_full_queue_used_up_is_followed_by_the_next(self, make, context, emulator, kept, store):
        emulator.inject("image:export", "400 queue")
        result = make().execute(context())
        assert (result["state"], result["description"][-2:]) == ("SUCCEEDED", "-2")
        assert len({body["requestId"] for body in bodies(emulator)}) == 2
        assert not kept or store[starting.STATE_KEY]["number"] == 2

    def test_a_try_that_died_with_the_next_number_goes_on_with_it(self, make, context, emulator, kept):
        emulator.inject("image:export", DUPLICATE, "403")
        with pytest.raises(AirflowFailException, match=r"\[PERMISSION_DENIED\]"):
            make().execute(context())
        first, second = (body["requestId"] for body in bodies(emulator))
        if not kept:
            emulator.inject("image:export", DUPLICATE)
        assert make().execute(context())["description"].endswith("-2")
        asked = [body["requestId"] for body in bodies(emulator)][2:]
        assert asked == ([second] if kept else [first, second])

    def test_a_later_attempt_than_the_one_asked_for_is_taken(self, make, context, emulator, lag, store):
        emulator.inject("image:export", "fail code=INTERNAL x")
        with pytest.raises(Internal):
            make().execute(context())
        second = make().execute(context())
        store.clear()
        lag({second["operation"]}, looks=9)
        assert make().execute(context())["operation"] == second["operation"]


class TestForceRerun:
    def test_tries_rerun_once_and_a_clearing_once_more(self, make, make_context, store, emulator):
        first, retried, cleared, retried_again = (
            make(force_rerun=True).execute(make_context(store=store, max_tries=tries))["operation"]
            for tries in (2, 2, 4, 4)
        )
        assert first == retried
        assert cleared == retried_again
        assert len(emulator.operations) == 2

    def test_a_crash_before_the_request_does_not_lose_the_rerun(self, make, make_context, store, emulator, monkeypatch):
        first = make().execute(make_context(store=store))
        with monkeypatch.context() as patch:
            patch.setattr(
                EarthEngineClient, "start_operation", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt())
            )
            with pytest.raises(KeyboardInterrupt):
                make(force_rerun=True).execute(make_context(store=store, max_tries=4))
        second = make(force_rerun=True).execute(make_context(store=store, max_tries=4))
        assert second["operation"] != first["operation"]
        assert len(emulator.operations) == 2

    def test_one_that_still_ran_was_this_series_rerun(self, make, make_context, store, emulator, client):
        running = make(wait_for_completion=False).execute(make_context(store=store))
        waiting = make(force_rerun=True, wait_for_completion=False)
        assert waiting.execute(make_context(store=store, max_tries=4))["operation"] == running["operation"]
        deadline = time.monotonic() + 5
        while not client.get_operation(running["operation"]).done and time.monotonic() < deadline:
            time.sleep(0.02)
        again = make(force_rerun=True).execute(make_context(store=store, max_tries=4))
        assert again["operation"] == running["operation"]

    def test_a_store_that_was_cleared_after_success_does_not_hide_the_earlier_export(
        self, make, make_context, store, emulator
    ):
        make().execute(make_context(store=store))
        store.clear()
        assert make(force_rerun=True).execute(make_context(store=store))["description"].endswith("-2")
        assert len(emulator.operations) == 2


class TestOnceWithAStore:
    @pytest.mark.parametrize("used_up", [True, False], ids=["its id is used up", "its id is free"])
    def test_a_forgotten_operation_does_not_set_the_number_back(
        self, make, make_context, store, emulator, monkeypatch, used_up
    ):
        make().execute(make_context(store=store))
        store[starting.STATE_KEY].update(number=3, operation="projects/demo-project/operations/GONE")
        monkeypatch.setattr(EarthEngineClient, "list_operations", lambda _: iter(()))
        if used_up:
            emulator.inject("image:export", DUPLICATE)
        assert make().execute(make_context(store=store))["description"].endswith("-4" if used_up else "-3")

    def test_a_forgotten_operation_gives_way_to_a_later_one(self, make, make_context, store, emulator):
        emulator.inject("image:export", "fail code=INTERNAL x", "fail code=INTERNAL x")
        for _ in range(2):
            with pytest.raises(Internal):
                make().execute(make_context(store=store))
        store[starting.STATE_KEY].update(number=1, operation="projects/demo-project/operations/GONE")
        assert make().execute(make_context(store=store))["description"].endswith("-3")

    def test_a_store_that_was_lost_is_made_up_for_by_the_service(self, make, make_context, store, emulator):
        emulator.inject("image:export", "fail code=INTERNAL x")
        with pytest.raises(Internal):
            make().execute(make_context(store=store))
        store.clear()
        assert make().execute(make_context(store=store))["description"].endswith("-2")
        assert len(emulator.operations) == 2

    def test_changing_a_request_back_starts_it_anew(self, make, make_context, store, emulator):
        make().execute(make_context(store=store))
        make(destination_uri="gs://demo-bucket/other").execute(make_context(store=store))
        assert make().execute(make_context(store=store))["description"].endswith("-2")
        assert len(emulator.operations) == 3

    def test_an_operation_of_another_service_is_forgotten(self, make, make_context, store, emulator):
        make().execute(make_context(store=store))
        store[starting.STATE_KEY]["operation"] = "projects/demo-project/operations/GONE"
        assert make().execute(make_context(store=store))["state"] == "SUCCEEDED"
        assert len(emulator.operations) == 1

    def test_a_server_that_repeats_its_answer_is_understood_too(
        self, connect, make_context, store, tmp_path, graph, grid
    ):
        from airflow_ee.emulator import Emulator

        with Emulator(root=tmp_path / "other", duplicate_request_id="same") as emulator:
            connect(endpoint=emulator.url)
            emulator.inject("image:export", "lose-response")
            operator = EarthEngineExportImageOperator(
                task_id="export", expression=graph, grid=grid, destination_uri=URI, poll_interval=0.05
            )
            assert operator.execute(make_context(store=store))["state"] == "SUCCEEDED"
            assert len(emulator.operations) == 1


class TestFailure:
    def test_the_services_words_end_the_task_without_a_retry(self, make, make_context, emulator):
        emulator.inject("image:export", "fail Export too large: specified 9 pixels (max: 1).")
        with pytest.raises(AirflowFailException, match=r"operations/\w+ failed: Export too large: specified 9 pixels"):
            make().execute(make_context())

    def test_somebody_elses_cancelling_ends_the_task_without_a_retry(self, make, make_context, emulator, client):
        emulator.inject("image:export", "stuck")
        name = make(wait_for_completion=False).execute(make_context())["operation"]
        client.cancel_operation(name)
        deadline = time.monotonic() + 5
        while not client.get_operation(name).done and time.monotonic() < deadline:
            time.sleep(0.02)
        operator = make(deferrable=True)
        with pytest.raises(AirflowFailException, match=r"\[CANCELLED\]"):
            operator.execute_complete(make_context(), {"status": "done", "operations": [name], "message": ""})


class TestDeferral:
    def deferred(self, operator, context):
        with pytest.raises(TaskDeferred) as deferral:
            operator.execute(context)
        return deferral.value

    def test_the_worker_submits_and_the_trigger_waits(self, make, make_context, emulator):
        deferral = self.deferred(make(deferrable=True, project_id="demo-project"), make_context())
        assert isinstance(deferral.trigger, EarthEngineOperationTrigger)
        assert deferral.trigger.operation_names == [emulator.operations[0]["name"]]
        assert (deferral.trigger.deadline, deferral.timeout) == (None, None)
        assert deferral.method_name == "execute_complete"
        json.dumps(deferral.trigger.serialize())

    async def test_the_whole_way_through_the_trigger(self, make, make_context, emulator):
        import asyncio

        operator, context = make(deferrable=True), make_context()
        deferral = self.deferred(operator, context)
        event = await anext(deferral.trigger.run())
        again = make(deferrable=True)
        result = await asyncio.to_thread(again.resume_execution, "execute_complete", {"event": event.payload}, context)
        assert result["state"] == "SUCCEEDED"
        assert emulator.calls.count("image:export") == 1

    def test_a_retry_of_a_deferred_task_finds_its_operation(self, make, make_context, store, emulator):
        emulator.inject("image:export", "stuck")
        first = self.deferred(make(deferrable=True), make_context(store=store))
        second = self.deferred(make(deferrable=True), make_context(store=store))
        assert first.trigger.operation_names == second.trigger.operation_names
        assert len(emulator.operations) == 1

    def test_what_is_done_is_not_deferred(self, make, make_context, store):
        make().execute(make_context(store=store))
        assert make(deferrable=True).execute(make_context(store=store))["state"] == "SUCCEEDED"

    @pytest.mark.parametrize(
        ("arguments", "seconds"),
        [
            ({"operation_timeout_seconds": 100.0}, 100),
            ({"execution_timeout": timedelta(seconds=50)}, 50),
            ({"operation_timeout_seconds": 100.0, "execution_timeout": timedelta(seconds=50)}, 50),
        ],
    )
    def test_the_trigger_keeps_the_shorter_deadline_and_airflow_a_later_one(
        self, make, make_context, arguments, seconds
    ):
        deferral = self.deferred(make(deferrable=True, **arguments), make_context())
        assert deferral.trigger.deadline == pytest.approx(time.time() + seconds, abs=5)
        assert deferral.timeout.total_seconds() == pytest.approx(seconds + 120, abs=5)

    @pytest.mark.parametrize("cancel", [True, False])
    def test_the_triggers_deadline_cancels_the_operation_if_so_wished(self, make, make_context, emulator, cancel):
        emulator.inject("image:export", "stuck")
        operator = make(deferrable=True, operation_timeout_seconds=100, cancel_on_timeout=cancel)
        deferral = self.deferred(operator, make_context())
        event = {"status": "timeout", "operations": deferral.trigger.operation_names, "message": "late"}
        with pytest.raises(TimeoutError, match="it was cancelled" if cancel else "it goes on"):
            operator.execute_complete(make_context(), event)
        assert ("operations.cancel" in emulator.calls) is cancel

    @pytest.mark.parametrize("cancel", [True, False])
    @pytest.mark.parametrize("kept", [True, False], ids=["with a state store", "without"])
    def test_airflows_own_timeout_cancels_it_too(self, make, make_context, store, emulator, cancel, kept):
        context = make_context(store=store if kept else None)
        emulator.inject("image:export", "stuck")
        self.deferred(make(deferrable=True), context)
        resumed = make(deferrable=True, cancel_on_timeout=cancel)
        with pytest.raises(Exception, match="Trigger timeout"):
            resumed.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        assert ("operations.cancel" in emulator.calls) is cancel

    def test_a_trigger_that_broke_cancels_nothing(self, make, make_context, store, emulator):
        emulator.inject("image:export", "stuck")
        self.deferred(make(deferrable=True), make_context(store=store))
        with pytest.raises(Exception, match="Trigger failure"):
            make(deferrable=True).resume_execution("__fail__", {"error": "Trigger failure"}, make_context(store=store))
        assert "operations.cancel" not in emulator.calls

    def test_a_trigger_that_could_not_look_is_a_failure_to_retry(self, make, make_context, emulator):
        emulator.inject("image:export", "stuck")
        operator = make(deferrable=True)
        names = self.deferred(operator, make_context()).trigger.operation_names
        with pytest.raises(ConnectionFailed, match="could not be watched any longer: gone"):
            operator.execute_complete(make_context(), {"status": "error", "operations": names, "message": "gone"})


def no_answer(**_):
    time.sleep(60)


class TestKill:
    @pytest.fixture
    def waiting(self, make, make_context, emulator):
        """Runs an export that never ends until ``interrupt`` is raised in its wait."""

        def wait(interrupt, context=None, **arguments):
            emulator.inject("image:export", "stuck")
            operator = make(**arguments)
            operator._tell = lambda _: (_ for _ in ()).throw(interrupt)
            with pytest.raises(type(interrupt)):
                operator.execute(context or make_context())
            return operator

        return wait

    @pytest.mark.parametrize("cancel", [True, False])
    def test_a_users_kill_cancels_the_operation_if_so_wished(self, waiting, emulator, cancel):
        operator = waiting(KeyboardInterrupt(), cancel_on_kill=cancel)
        started = time.monotonic()
        operator.on_kill()
        assert time.monotonic() - started < 5
        assert states(emulator) == (["CANCELLED"] if cancel else states(emulator))
        assert ("operations.cancel" in emulator.calls) is cancel

    @pytest.mark.parametrize("cancel", [True, False])
    def test_an_execution_timeout_cancels_it_whatever_a_kill_would_do(self, waiting, emulator, cancel):
        operator = waiting(AirflowTaskTimeout(), cancel_on_kill=not cancel, cancel_on_timeout=cancel)
        operator.on_kill()
        assert ("operations.cancel" in emulator.calls) is cancel

    def test_a_timeout_of_the_operation_cancels_it(self, make, make_context, emulator):
        emulator.inject("image:export", "stuck")
        with pytest.raises(TimeoutError, match="did not end in time; it was cancelled"):
            make(operation_timeout_seconds=0.3).execute(make_context())
        assert "operations.cancel" in emulator.calls

    def test_a_kill_before_the_start_starts_nothing(self, make, make_context, emulator):
        operator = make()
        operator.on_kill()
        with pytest.raises(RuntimeError, match="killed before its operation was started"):
            operator.execute(make_context())
        assert emulator.operations == []

    def test_nothing_is_cancelled_after_the_end(self, make, make_context, emulator):
        operator = make()
        operator.execute(make_context())
        operator.on_kill()
        assert "operations.cancel" not in emulator.calls

    @pytest.fixture
    def killed_in_the_request(self, monkeypatch):
        """Has a real signal kill the task after the service has taken the request, before the task knows the answer."""
        original = EarthEngineClient.start_operation

        def kill(operator):
            def request(client, *arguments, **keywords):
                operation = original(client, *arguments, **keywords)
                signal.raise_signal(signal.SIGUSR1)
                return operation

            monkeypatch.setattr(EarthEngineClient, "start_operation", request)
            signal.signal(signal.SIGUSR1, lambda *_: operator.on_kill())

        previous = signal.getsignal(signal.SIGUSR1)
        yield kill
        signal.signal(signal.SIGUSR1, previous)

    @pytest.mark.parametrize(
        "arguments", [{}, {"deferrable": True}, {"wait_for_completion": False}], ids=["waits", "defers", "returns"]
    )
    def test_a_kill_during_the_request_cancels_what_it_started(
        self, make, make_context, emulator, killed_in_the_request, arguments
    ):
        emulator.inject("image:export", "stuck")
        operator = make(**arguments)
        killed_in_the_request(operator)
        with pytest.raises(RuntimeError, match="The task was killed while it started projects/"):
            operator.execute(make_context())
        assert states(emulator) == ["CANCELLED"]

    def test_a_kill_during_the_request_leaves_the_operation_where_that_is_wished(
        self, make, make_context, emulator, killed_in_the_request
    ):
        operator = make(cancel_on_kill=False)
        killed_in_the_request(operator)
        assert operator.execute(make_context())["state"] == "SUCCEEDED"
        assert "operations.cancel" not in emulator.calls

    def test_a_kill_while_the_next_number_is_due_asks_no_more(self, make, make_context, emulator, monkeypatch):
        emulator.inject("image:export", DUPLICATE)
        operator = make()
        original = EarthEngineClient.list_operations

        def kill(client):
            operator.on_kill()
            return original(client)

        monkeypatch.setattr(EarthEngineClient, "list_operations", kill)
        with pytest.raises(RuntimeError, match="The task was killed"):
            operator.execute(make_context())
        assert emulator.calls.count("image:export") <= 1
        assert emulator.operations == []

    @pytest.mark.parametrize(
        ("kept", "state", "try_number", "cancelled"),
        [
            (False, "running", 1, False), (True, "running", 1, True), (True, "running", 0, False), (True, "restarting", 1, False),
            (True, None, 1, False), (True, "up_for_retry", 1, False), (True, "failed", 0, True), (True, "success", 0, True),
            (True, "skipped", 0, True), (False, "gone", 0, True),
        ],
        ids=["another try has its place", "its worker ends, without retries", "its worker ends, with retries", "cleared", "to be scheduled",
             "to be tried again", "marked failed", "marked success", "its run was stopped", "its run was deleted"],
    )  # fmt: skip
    def test_a_kill_cancels_where_the_task_is_over_and_leaves_the_operation_where_only_the_try_is(
        self, waiting, emulator, make_context, store, kept, state, try_number, cancelled
    ):
        context = make_context(store=store, try_number=try_number)
        states = {} if state == "gone" else {"manual__2024": {"export": state}}
        context["ti"].get_task_states = lambda **_: states
        operator = waiting(KeyboardInterrupt(), context)
        if not kept:
            # What Airflow shows a try whose task instance has become history.
            store.clear()
        operator.on_kill()
        assert ("operations.cancel" in emulator.calls) is cancelled

    @pytest.mark.parametrize("trouble", [no_answer, lambda **_: 1 / 0], ids=["no answer", "an error"])
    @pytest.mark.parametrize(("try_number", "cancelled"), [(1, True), (0, False)], ids=["no retries", "retries"])
    def test_where_it_cannot_be_learnt_the_operation_is_left_to_a_retry_if_there_is_one(
        self, waiting, emulator, make_context, trouble, try_number, cancelled
    ):
        context = make_context(try_number=try_number)
        context["ti"].get_task_states = trouble
        operator = waiting(KeyboardInterrupt(), context)
        started = time.monotonic()
        operator.on_kill()
        assert operator._ending.is_alive() or trouble is not no_answer, "the handler of the signal returns at once"
        operator._ending.join(5)
        assert time.monotonic() - started < 5
        assert ("operations.cancel" in emulator.calls) is cancelled

    def test_a_signal_in_the_middle_of_a_conversation_with_the_supervisor_lets_it_end(
        self, waiting, emulator, make_context
    ):
        context, talking = make_context(try_number=1), threading.Lock()

        def ask(**_):
            with talking:
                return {"manual__2024": {"export": "failed"}}

        context["ti"].get_task_states = ask
        operator = waiting(KeyboardInterrupt(), context)
        with talking:
            operator.on_kill()
            assert "operations.cancel" not in emulator.calls
        operator._ending.join(5)
        assert states(emulator) == ["CANCELLED"]

    @pytest.mark.parametrize("faults", [["hang"] * 2, ["delay=0.7", "503"]], ids=["no answer", "slow answers"])
    def test_a_kill_takes_no_longer_than_airflow_allows(self, waiting, emulator, monkeypatch, faults):
        monkeypatch.setattr(export_base, "KILL_SECONDS", 1.0)
        operator = waiting(KeyboardInterrupt())
        emulator.inject("operations.cancel", *faults)
        emulator.inject("operations.get", "delay=0.7", "delay=0.7", "delay=0.7")
        started = time.monotonic()
        operator.on_kill()
        assert time.monotonic() - started < 1.5

    def test_a_cancel_that_is_refused_is_told_and_ends_nothing_else(self, waiting, emulator, monkeypatch, caplog):
        operator = waiting(KeyboardInterrupt())
        monkeypatch.setattr(type(operator), "log", logging.getLogger("probe"))
        emulator.inject("operations.cancel", "403")
        operator.on_kill()
        assert "could not be cancelled" in caplog.text

    def test_a_signal_in_the_middle_of_the_wait_cancels_and_leaves_a_retry_open(self, make, make_context, emulator):
        emulator.inject("image:export", "stuck")
        operator = make()
        previous = signal.signal(signal.SIGALRM, lambda *_: operator.on_kill())
        signal.setitimer(signal.ITIMER_REAL, 0.8)
        try:
            with pytest.raises(RuntimeError, match="The task was killed"):
                operator.execute(make_context())
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert states(emulator) == ["CANCELLED"]


SCRIPT = textwrap.dedent("""
    import json, sys
    from types import SimpleNamespace
    from airflow_ee.operators.export import EarthEngineExportImageOperator

    class Store(dict):
        path = sys.argv[2]
        def get(self, key, default=None):
            try:
                return json.load(open(self.path))
            except FileNotFoundError:
                return default
        def set(self, key, value):
            json.dump(value, open(self.path, "w"))

    arguments = json.loads(sys.argv[1])
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=0, xcom_push=lambda **_: None)
    context = {"ti": ti, "params": {}, **({"task_state_store": Store()} if sys.argv[2] else {})}
    operator = EarthEngineExportImageOperator(task_id="t", poll_interval=0.1, **arguments)
    print("RESULT", json.dumps(operator.execute(context)), flush=True)
""")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["with a state store", "without"])
def test_a_process_that_was_killed_for_real_is_followed_by_one_that_finds_its_export(
    emulator, connect, graph, grid, tmp_path, kept
):
    connect(endpoint=emulator.url)
    arguments = json.dumps({"expression": graph, "grid": grid, "destination_uri": URI})
    command = [sys.executable, "-c", SCRIPT, arguments, str(tmp_path / "state.json") if kept else ""]
    emulator.inject("image:export", "stuck")
    first = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while "operations.get" not in emulator.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.wait()
    (operation,) = emulator.operations
    second = subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    seen = emulator.calls.count("operations.get")
    while emulator.calls.count("operations.get") < seen + 2 and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    second.kill()
    second.communicate()
    assert [item["name"] for item in emulator.operations] == [operation["name"]]
    assert emulator.calls.count("image:export") == 1


class TestIdentity:
    @pytest.mark.parametrize(
        "instance",
        [("d" * 250, "t" * 250, "r" * 250, 9999), ("ü.日本", "a b", "scheduled__2024-01-01T00:00:00+00:00", -1)],
    )
    def test_ids_and_descriptions_keep_to_the_services_alphabets(self, instance):
        identity = ExportIdentity.of("namespace ü", instance, {"a": 1})
        for number in (1, 10**6):
            assert re.fullmatch(r"[A-Za-z0-9-]{1,60}", identity.request_id(number))
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", identity.describe("ü" * 300, number))
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", identity.describe("x" * 300, number))

    def test_the_order_of_keys_makes_no_other_export(self):
        first, second = ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1})
        assert ExportIdentity.of("", ("t",), first) == ExportIdentity.of("", ("t",), second)


class TestAirflow:
    def test_every_template_field_is_an_argument_that_is_kept_as_it_came(self):
        fields = EarthEngineExportImageOperator.template_fields
        values = {name: f"{{{{ {name} }}}}" for name in fields}
        operator = EarthEngineExportImageOperator(task_id="t", **values)
        assert {name: getattr(operator, name) for name in fields} == values

    def test_every_argument_that_a_user_may_compute_is_a_template_field(self):
        import inspect

        computed = set(inspect.signature(EarthEngineExportImageOperator.__init__).parameters) - {"self", "kwargs"}
        assert computed <= set(EarthEngineExportImageOperator.template_fields)

    def test_rendered_text_is_understood(self, make, make_context, emulator):
        operator = make(
            priority="{{ params.priority }}", destination_uri="gs://demo-bucket/{{ ds }}", no_data="{{ params.nothing }}",
            description="{{ ds }}", overwrite="{{ false }}", cloud_optimized="{{ true }}", wait_for_completion=False,
        )  # fmt: skip
        context = {**make_context(), "ds": "2024-01-01", "params": {"priority": 5, "nothing": None}}
        operator.render_template_fields(context)
        operator.execute(context)
        (body,) = bodies(emulator)
        assert body["priority"] == 5
        assert body["description"].startswith("2024-01-01-ae-")
        assert "noData" not in body["fileExportOptions"]["geoTiffOptions"]

    def test_it_can_be_mapped_serialized_and_copied(self, graph, grid):
        with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            EarthEngineExportImageOperator.partial(task_id="m", expression=graph, grid=grid).expand(
                destination_uri=["gs://demo-bucket/a", "gs://demo-bucket/b"]
            )
            EarthEngineExportImageOperator(task_id="t", expression=graph, grid=grid, destination_uri=URI)
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        assert copy.deepcopy(dag).task_ids == ["m", "t"]
        unmapped = dag.get_task("m").unmap({"destination_uri": "gs://demo-bucket/b"})
        assert unmapped.destination_uri == "gs://demo-bucket/b"

    def test_a_duplicate_found_nowhere_fails_without_a_retry(self):
        from airflow_ee.hooks.failures import fail_fast

        with pytest.raises(AirflowFailException), fail_fast():
            raise DuplicateRequest("x")
