"""Operations cancelled and listed, against the emulator."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from airflow_ee.core.batch import ExportImageRequest
from airflow_ee.core.errors import Unavailable
from airflow_ee.core.expression import Expression
from airflow_ee.core.grid import PixelGrid
from airflow_ee.hooks.earth_engine import EarthEngineHook
from airflow_ee.operators.operations import EarthEngineCancelOperationOperator, EarthEngineListOperationsOperator
from tests.older_airflow import DagSerialization

GRID = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=4, height=4)


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


@pytest.fixture
def start(server, graph):
    """Starts an operation that goes on for ever, or with a fate of the emulator's."""

    def start(description="export", fate="stuck"):
        if fate:
            server.inject("image:export", fate)
        request = ExportImageRequest(
            expression=Expression.parse(graph),
            description=description,
            grid=GRID,
            file_export_options={
                "fileFormat": "GEO_TIFF",
                "cloudStorageDestination": {"bucket": "demo-bucket", "filenamePrefix": description},
            },
        )
        return EarthEngineHook().client.start_operation(request).name

    return start


@pytest.fixture
def ended(start):
    """Starts an operation and waits until it has succeeded."""

    def ended(description="done", fate=""):
        name = start(description, fate)
        while not EarthEngineHook().client.get_operation(name).done:
            time.sleep(0.01)
        return name

    return ended


@pytest.fixture
def run(server, make_context):
    def run(operator, context=None, **arguments):
        more = {"poll_interval": 0.02} if operator is EarthEngineCancelOperationOperator else {}
        task = operator(task_id="task", **{"request_retries": 2, **more, **arguments})
        result = task.execute(make_context() if context is None else context)
        json.dumps(result)
        return result

    return run


def state(name):
    return EarthEngineHook().client.get_operation(name).state


class TestCancel:
    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_it_is_over_when_the_task_is(self, run, server, start, make_context, fault):
        name = start()
        server.inject("operations.cancel", fault)
        context = make_context()
        result = run(EarthEngineCancelOperationOperator, context=context, operation_name=name)
        assert result == [{"operation": name, "state": "CANCELLED", "description": "export", "cancelled": True}]
        assert context["ti"].xcoms == {"_link_EarthEngineOperationLink": f"{server.url}/v1/{name}"}
        assert not server.pending

    def test_a_lost_answer_and_a_late_repetition_are_told_as_cancelled(self, run, server, start, monkeypatch):
        name = start()
        server.inject("operations.cancel", "lose-response")
        client = type(EarthEngineHook().client)
        ask = client.cancel_operation

        def late(self, operation):
            """Ask, and ask again when it is over, as a repetition after a long wait does."""
            ask(self, operation)
            while not self.get_operation(operation).done:
                time.sleep(0.01)
            ask(self, operation)

        monkeypatch.setattr(client, "cancel_operation", late)
        (result,) = run(EarthEngineCancelOperationOperator, operation_name=name)
        assert (result["state"], result["cancelled"]) == ("CANCELLED", True)

    def test_names_ids_and_results_may_be_mixed_and_what_has_ended_stays(self, run, start, ended):
        done, one, two = ended(), start("one"), start("two")
        wanted = [done, one.rsplit("/", 1)[-1], {"operation": two, "state": "RUNNING"}, one]
        result = run(EarthEngineCancelOperationOperator, operation_name=wanted)
        assert [(each["operation"], each["state"], each["cancelled"]) for each in result] == [
            (done, "SUCCEEDED", False),
            (one, "CANCELLED", True),
            (two, "CANCELLED", True),
        ]

    def test_what_is_missing_is_told_or_fails_for_good(self, run, start):
        name = start()
        result = run(EarthEngineCancelOperationOperator, operation_name=f'["NONE", "{name}"]')
        assert [each["state"] for each in result] == ["MISSING", "CANCELLED"]
        with pytest.raises(AirflowFailException, match="NONE"):
            run(EarthEngineCancelOperationOperator, operation_name="NONE", missing_ok="False")

    def test_an_end_that_does_not_come_is_told(self, run, server, start, monkeypatch):
        name = start()
        monkeypatch.setattr(type(EarthEngineHook().client), "cancel_operation", lambda *_: None)
        with pytest.raises(TimeoutError, match=rf"{name} did not end within 0\.1 s"):
            run(EarthEngineCancelOperationOperator, operation_name=name, cancel_timeout_seconds="0.1")
        result = run(EarthEngineCancelOperationOperator, operation_name=name, wait_for_completion=False)
        assert result[0]["state"] in ("PENDING", "RUNNING")

    def test_nothing_is_done_at_once(self, run, server):
        assert run(EarthEngineCancelOperationOperator, operation_name=[]) == []
        assert server.calls == []

    def test_what_passes_is_left_to_airflows_retries(self, run, server, start):
        name = start()
        server.inject("operations.cancel", "503")
        with pytest.raises(Unavailable):
            run(EarthEngineCancelOperationOperator, operation_name=name, request_retries=0)
        assert run(EarthEngineCancelOperationOperator, operation_name=name)[0]["state"] == "CANCELLED"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"operation_name": "a/b"}, "operation_name must be"),
            ({"operation_name": 3}, "operation_name must be"),
            ({"operation_name": "[x"}, "neither JSON nor a name"),
            ({"operation_name": {"uris": []}}, "expected what an export returned"),
            ({"operation_name": "A", "cancel_timeout_seconds": "-1"}, "cancel_timeout_seconds must be"),
            ({"operation_name": "A", "cancel_timeout_seconds": None}, "cancel_timeout_seconds must be"),
            ({"operation_name": "A", "missing_ok": "x"}, "missing_ok must be true"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, run, server, arguments, words):
        with pytest.raises(AirflowFailException, match=words):
            run(EarthEngineCancelOperationOperator, **arguments)
        assert server.calls == []

    def test_a_pause_of_nothing_is_refused_when_the_dag_is_parsed(self):
        with pytest.raises(ValueError, match="poll_interval"):
            EarthEngineCancelOperationOperator(task_id="task", operation_name="A", poll_interval=0)


class TestList:
    def descriptions(self, result):
        return [each["description"] for each in result]

    def test_the_latest_come_first_in_brief(self, run, ended, start):
        ended("first")
        ended("second", "fail code=INTERNAL It broke.")
        start("third")
        result = run(EarthEngineListOperationsOperator)
        assert self.descriptions(result) == ["third", "second", "first"]
        assert [each["state"] for each in result[1:]] == ["FAILED", "SUCCEEDED"]
        assert (result[1]["error"], result[2]["error"]) == ("It broke.", None)
        assert result[2]["type"] == "EXPORT_IMAGE"
        assert result[2]["created"] <= result[2]["start"] <= result[2]["end"]
        assert self.descriptions(run(EarthEngineListOperationsOperator, limit="2")) == ["third", "second"]

    def test_states_descriptions_and_times_choose(self, run, ended, start):
        ended("ndvi-1")
        middle = datetime.now(UTC)
        ended("evi-2")
        start("ndvi-3")

        def found(**arguments):
            return self.descriptions(run(EarthEngineListOperationsOperator, **arguments))

        assert found(states="SUCCEEDED") == ["evi-2", "ndvi-1"]
        assert found(states=["SUCCEEDED"], description_pattern=r"^ndvi-\d$") == ["ndvi-1"]
        assert found(started_since=middle) == ["ndvi-3", "evi-2"]
        assert found(started_since=middle.isoformat(), states="SUCCEEDED,FAILED") == ["evi-2"]
        assert found(started_since=timedelta(hours=1)) == ["ndvi-3", "evi-2", "ndvi-1"]
        assert found(started_since=datetime.now(UTC) + timedelta(hours=1)) == []

    def test_what_is_listed_can_be_cancelled(self, run, start):
        names = [start("one"), start("two")]
        listed = run(EarthEngineListOperationsOperator, states=["PENDING", "RUNNING"])
        run(EarthEngineCancelOperationOperator, operation_name=listed)
        assert [state(name) for name in names] == ["CANCELLED"] * 2

    def test_faults_on_the_way_are_cured(self, run, server, start):
        start("one")
        server.inject("operations.list", "503", "lose-response")
        assert self.descriptions(run(EarthEngineListOperationsOperator)) == ["one"]
        assert not server.pending

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"states": "READY"}, "states must be of PENDING.*got READY"),
            ({"description_pattern": "("}, "description_pattern is no regular expression"),
            ({"started_since": "yesterday"}, "started_since must be an ISO date"),
            ({"limit": 0}, "limit must be at least 1"),
            ({"limit": "some"}, "limit must be a number"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, run, server, arguments, words):
        with pytest.raises(AirflowFailException, match=words):
            run(EarthEngineListOperationsOperator, **arguments)
        assert server.calls == []


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [(EarthEngineCancelOperationOperator, {"operation_name": "A"}), (EarthEngineListOperationsOperator, {})],
)
def test_a_dag_with_it_can_be_serialized(operator, arguments):
    with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        task = operator(task_id="task", **arguments)
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("task")
    assert again.extra_links == (["Earth Engine task"] if arguments else [])
    assert all(hasattr(task, name) for name in operator.template_fields)
