"""Operators on assets against the emulator: what they leave, through lost answers and tries, and what they refuse."""

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path

import google.auth
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from airflow_ee.core.errors import Stopped, Unavailable
from airflow_ee.hooks.earth_engine import EarthEngineHook
from airflow_ee.operators import assets
from airflow_ee.operators.assets import (
    EarthEngineCopyAssetOperator,
    EarthEngineCreateAssetOperator,
    EarthEngineDeleteAssetOperator,
    EarthEngineGetAssetAclOperator,
    EarthEngineMoveAssetOperator,
    EarthEngineSetAssetAclOperator,
    EarthEngineUpdateAssetOperator,
)
from tests.older_airflow import DagSerialization

HOME = "projects/demo-project/assets"
ME, YOU = "user:me@example.com", "user:you@example.com"
EVERY = [getattr(assets, name) for name in assets.__all__]


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


@pytest.fixture
def run(server, make_context):
    """Runs an operator as a task of its own, and gives its result."""

    def run(operator, retries=2, context=None, **arguments):
        task = operator(task_id="task", request_retries=retries, **arguments)
        result = task.execute(make_context() if context is None else context)
        json.dumps(result)
        return result

    return run


@pytest.fixture
def told(run, server):
    """Runs an operator that fails for good before anything is sent, and gives the words."""

    def told(operator, **arguments):
        before = len(server.calls)
        with pytest.raises(AirflowFailException) as failure:
            run(operator, **arguments)
        assert len(server.calls) == before
        return str(failure.value)

    return told


def client():
    return EarthEngineHook().get_client()


def names(folder=HOME):
    return [each.index for each in client().assets.list(folder)]


class TestCreate:
    def test_a_collection_is_made_with_all_around_it(self, run, server, make_context):
        context = make_context()
        arguments = {"asset_id": f"{HOME}/a/b", "asset_type": "IMAGE_COLLECTION", "properties": '{"crop": "soy"}'}
        result = run(EarthEngineCreateAssetOperator, context=context, **arguments)
        assert result == {"asset": f"{HOME}/a/b", "type": "IMAGE_COLLECTION", "created": [f"{HOME}/a", f"{HOME}/a/b"]}
        assert client().get_asset(f"{HOME}/a/b").properties == {"crop": "soy"}
        assert context["ti"].xcoms == {"_link_EarthEngineAssetLink": f"{server.url}/v1/{HOME}/a/b"}

    def test_another_try_finds_it_made(self, run):
        for created in ([f"{HOME}/a"], []):
            assert run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a")["created"] == created

    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_a_try_that_died_is_made_good_by_the_next(self, run, server, fault):
        server.inject("assets.create", fault)
        with pytest.raises(Exception, match=r"CONNECTION_FAILED|UNAVAILABLE|RESOURCE_EXHAUSTED"):
            run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a", retries=0)
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a", retries=0)
        assert names() == ["a"]
        assert not server.pending

    def test_another_kind_fails_for_good(self, run):
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a")
        with pytest.raises(AirflowFailException, match="is of type FOLDER, not IMAGE_COLLECTION"):
            run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a", asset_type="IMAGE_COLLECTION")
        with pytest.raises(AirflowFailException, match="is there already"):
            run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a", exist_ok="False")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"asset_id": "MODIS/061/MOD13Q1"}, "asset_id: 'MODIS/061/MOD13Q1' would be in the public catalogue"),
            ({"asset_id": f"{HOME}/a", "asset_type": "TABLE"}, "asset_type must be one of"),
            ({"asset_id": f"{HOME}/a", "properties": "{"}, "properties is not JSON"),
            ({"asset_id": f"{HOME}/a", "properties": "[1]"}, "properties must be names and values, got list"),
            ({"asset_id": f"{HOME}/a", "properties": {"x": [1]}}, "'x' must be a text or a number"),
            ({"asset_id": f"{HOME}/a", "exist_ok": "perhaps"}, "exist_ok must be true or false"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, told, arguments, words):
        assert words in told(EarthEngineCreateAssetOperator, **arguments)


class TestCopyAndMove:
    @pytest.fixture
    def table(self, run, server):
        """A folder stands for an asset that moves; a table would need an export."""
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a/inner")

    @pytest.mark.usefixtures("table")
    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_a_move_is_made_once_through_faults_and_tries(self, run, server, fault):
        server.inject("assets.move", fault)
        arguments = {"source": f"{HOME}/a", "destination": f"{HOME}/x/z", "create_parents": "true"}
        with pytest.raises(Exception, match=r"CONNECTION_FAILED|UNAVAILABLE|RESOURCE_EXHAUSTED"):
            run(EarthEngineMoveAssetOperator, retries=0, **arguments)
        for _ in range(2):
            result = run(EarthEngineMoveAssetOperator, **arguments)
            assert result == {"asset": f"{HOME}/x/z", "type": "FOLDER", "source": f"{HOME}/a"}
        assert (names(), names(f"{HOME}/x/z")) == (["x"], ["inner"])
        assert not server.pending

    def test_a_move_of_nothing_to_nothing_fails_for_good(self, run):
        with pytest.raises(AirflowFailException, match="There is neither"):
            run(EarthEngineMoveAssetOperator, source=f"{HOME}/a", destination=f"{HOME}/z")

    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_a_copy_is_made_once_through_faults_and_tries(self, run, server, graph, grid, fault):
        from airflow_ee.operators.export import EarthEngineExportImageOperator

        one, two = f"{HOME}/one", f"{HOME}/two"
        run(EarthEngineExportImageOperator, expression=graph, grid=grid, destination_uri=one, poll_interval=0.05)
        server.inject("assets.copy", fault)
        with pytest.raises(Exception, match=r"CONNECTION_FAILED|UNAVAILABLE|RESOURCE_EXHAUSTED"):
            run(EarthEngineCopyAssetOperator, retries=0, source=one, destination=two)
        result = run(EarthEngineCopyAssetOperator, source=one, destination=two)
        assert result == {"asset": two, "type": "IMAGE", "source": one}
        assert names() == ["one", "two"]
        client().assets.patch(two, {"asset": {"properties": {"n": 1}}, "updateMask": "properties"})
        with pytest.raises(AirflowFailException, match="Cannot overwrite"):
            run(EarthEngineCopyAssetOperator, source=one, destination=two)
        run(EarthEngineCopyAssetOperator, source=one, destination=two, overwrite="True")
        assert "n" not in client().get_asset(two).properties

    @pytest.mark.parametrize("operator", [EarthEngineCopyAssetOperator, EarthEngineMoveAssetOperator])
    def test_mistakes_are_told_before_anything_is_sent(self, told, operator):
        same = f"{HOME}/a"
        assert "must differ" in told(operator, source=same, destination=same)
        assert "destination:" in told(operator, source=same, destination="b")
        assert "create_parents must be true" in told(operator, source=same, destination="b", create_parents="x")


class TestDelete:
    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_everything_inside_goes_through_faults_and_tries(self, run, server, fault):
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a/b/c")
        server.inject("assets.delete", fault)
        with pytest.raises(Exception, match=r"CONNECTION_FAILED|UNAVAILABLE|RESOURCE_EXHAUSTED"):
            run(EarthEngineDeleteAssetOperator, asset_id=f"{HOME}/a", recursive=True, retries=0)
        result = run(EarthEngineDeleteAssetOperator, asset_id=f"{HOME}/a", recursive="true")
        assert result["deleted"] == (2 if fault == "lose-response" else 3)
        assert run(EarthEngineDeleteAssetOperator, asset_id=f"{HOME}/a") == {"asset": f"{HOME}/a", "deleted": 0}
        assert names() == []
        assert not server.pending

    def test_what_is_not_empty_or_missing_fails_for_good_as_asked(self, run):
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a/b")
        with pytest.raises(AirflowFailException, match="not empty"):
            run(EarthEngineDeleteAssetOperator, asset_id=f"{HOME}/a")
        with pytest.raises(AirflowFailException, match="There is no asset"):
            run(EarthEngineDeleteAssetOperator, asset_id=f"{HOME}/none", missing_ok=False)

    def test_a_top_folder_is_never_removed(self, told):
        assert "asset id must be" in told(EarthEngineDeleteAssetOperator, asset_id=HOME, recursive=True)
        assert "is a root" in told(EarthEngineDeleteAssetOperator, asset_id="users/me", recursive=True)

    def test_a_task_that_is_told_to_stop_removes_no_more(self, run, server, monkeypatch):
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a/b/c")
        task = EarthEngineDeleteAssetOperator(task_id="task", asset_id=f"{HOME}/a", recursive=True)
        list_assets = type(client().assets).list

        def killed(methods, parent, **more):
            with pytest.raises(Stopped):
                task.on_kill()
            return list_assets(methods, parent, **more)

        monkeypatch.setattr(type(client().assets), "list", killed)
        with pytest.raises(Stopped):
            task.execute({})
        assert "assets.delete" not in server.calls


class TestUpdate:
    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_what_is_named_changes(self, run, server, fault):
        properties = {"keep": 1, "drop": "x"}
        run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/a", properties=properties)
        server.inject("assets.patch", fault)
        result = run(
            EarthEngineUpdateAssetOperator,
            asset_id=f"{HOME}/a",
            properties={"drop": None},
            title="Fields",
            description="Of *soy*",
            start_time="2024-01-01",
            end_time=date(2024, 2, 1),
        )
        assert (result["start_time"], result["end_time"]) == ("2024-01-01T00:00:00+00:00", "2024-02-01T00:00:00+00:00")
        found = client().get_asset(f"{HOME}/a")
        assert found.properties == {"keep": 1, "title": "Fields", "description": "Of *soy*"}
        assert not server.pending
        result = run(
            EarthEngineUpdateAssetOperator,
            asset_id=f"{HOME}/a",
            end_time=datetime(2024, 3, 1, tzinfo=UTC),
            remove_times=True,
        )
        assert (result["start_time"], result["end_time"]) == (None, "2024-03-01T00:00:00+00:00")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "nothing to change"),
            ({"title": "x", "properties": {"title": "y"}}, "title is given twice"),
            ({"start_time": "yesterday"}, "start_time must be an ISO date"),
            ({"start_time": "2024-02-01", "end_time": "2024-01-01"}, "end_time must not be before start_time"),
            ({"properties": {"x": True}}, "'x' must be a text or a number"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, told, arguments, words):
        assert words in told(EarthEngineUpdateAssetOperator, asset_id=f"{HOME}/a", **arguments)

    def test_what_is_not_there_fails_for_good(self, run):
        with pytest.raises(AirflowFailException, match="may not exist"):
            run(EarthEngineUpdateAssetOperator, asset_id=f"{HOME}/none", title="x")


class TestAcl:
    @pytest.fixture
    def box(self, run):
        return run(EarthEngineCreateAssetOperator, asset_id=f"{HOME}/box")["asset"]

    @pytest.mark.parametrize("fault", ["lose-response", "503", "429"])
    def test_roles_are_set_and_read(self, run, server, box, fault):
        server.inject("assets.setIamPolicy", fault)
        given = {"owners": ["me@example.com"], "readers": "you@example.com", "all_users_can_read": "True"}
        result = run(EarthEngineSetAssetAclOperator, asset_id=box, **given)
        expected = {"owners": [ME], "writers": [], "readers": [YOU], "all_users_can_read": True}
        assert {name: result[name] for name in expected} == expected
        read = run(EarthEngineGetAssetAclOperator, asset_id=box)
        assert {name: read[name] for name in expected} == expected
        assert not server.pending

    def test_another_try_writes_nothing(self, run, server, box):
        written = [run(EarthEngineSetAssetAclOperator, asset_id=box, readers=[YOU])["changed"] for _ in range(2)]
        assert written == [True, False]
        assert server.calls.count("assets.setIamPolicy") == 1

    def test_members_are_added_and_taken_away(self, run, box):
        run(EarthEngineSetAssetAclOperator, asset_id=box, readers=[ME], owners=[ME])
        run(EarthEngineSetAssetAclOperator, asset_id=box, readers=[YOU], change="add")
        result = run(EarthEngineSetAssetAclOperator, asset_id=box, readers=ME, change="remove")
        assert (result["owners"], result["readers"]) == ([ME], [YOU])
        assert run(EarthEngineSetAssetAclOperator, asset_id=box, readers="[]")["readers"] == []

    def test_what_was_read_can_be_written_unless_it_changed_meanwhile(self, run, box):
        run(EarthEngineSetAssetAclOperator, asset_id=box, owners=[ME])
        policy = run(EarthEngineGetAssetAclOperator, asset_id=box)["policy"]
        policy["bindings"].append({"role": "roles/viewer", "members": [YOU]})
        assert run(EarthEngineSetAssetAclOperator, asset_id=box, policy=policy)["readers"] == [YOU]
        run(EarthEngineSetAssetAclOperator, asset_id=box, writers=[YOU])
        with pytest.raises(AirflowFailException, match="has changed since"):
            run(EarthEngineSetAssetAclOperator, asset_id=box, policy=json.dumps(policy))

    def test_the_last_owner_is_not_taken_away_unless_allowed(self, run, server, box):
        run(EarthEngineSetAssetAclOperator, asset_id=box, owners=[ME])
        with pytest.raises(AirflowFailException, match=f"would remove all there are, {ME}"):
            run(EarthEngineSetAssetAclOperator, asset_id=box, owners=[ME], change="remove")
        assert server.calls.count("assets.setIamPolicy") == 1
        result = run(EarthEngineSetAssetAclOperator, asset_id=box, owners=[ME], change="remove", allow_lockout=True)
        assert server.calls.count("assets.setIamPolicy") == 2
        assert result["owners"] == [ME], "the service keeps owners whatever is set"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "nothing to change"),
            ({"owners": []}, "nobody would own the asset"),
            ({"policy": {"bindings": []}}, "nobody would own the asset"),
            ({"policy": {"bindings": []}, "readers": [ME]}, "give it alone"),
            ({"policy": "{"}, "policy is not JSON"),
            ({"readers": ["someone"]}, "readers must be addresses"),
            ({"readers": "[x"}, "readers is not JSON"),
            ({"readers": [ME], "change": "set"}, "change must be one of replace, add, remove"),
            ({"all_users_can_read": "perhaps"}, "all_users_can_read must be true or false"),
        ],
    )
    def test_mistakes_are_told_before_anything_is_sent(self, told, arguments, words):
        assert words in told(EarthEngineSetAssetAclOperator, asset_id=f"{HOME}/box", **arguments)

    def test_a_known_caller_does_not_lock_itself_out(self, told, monkeypatch):
        monkeypatch.setattr(EarthEngineHook, "principal", "robot@p.iam.gserviceaccount.com")
        words = told(EarthEngineSetAssetAclOperator, asset_id=f"{HOME}/box", owners=[ME])
        assert "robot@p.iam.gserviceaccount.com, which this task runs as, is not among user:me@example.com" in words

    def test_the_public_catalogues_can_be_read_and_not_set(self, run, told):
        assert run(EarthEngineGetAssetAclOperator, asset_id="MODIS/061/MOD13Q1")["all_users_can_read"] is True
        assert "public catalogue" in told(EarthEngineSetAssetAclOperator, asset_id="MODIS/061/MOD13Q1", readers=[ME])


REQUIRED = {
    "asset_id": f"{HOME}/a",
    "source": f"{HOME}/a",
    "destination": f"{HOME}/b",
    "source_uri": "gs://maps/x.tif",
}


def minimal(operator, **more):
    wanted = {"source", "destination"} if "source" in operator.template_fields else {"asset_id"}
    wanted |= {"source_uri"} & set(operator.template_fields)
    return operator(task_id="task", **{name: REQUIRED[name] for name in wanted}, **more)


class TestAirflow:
    @pytest.mark.parametrize("operator", EVERY)
    def test_every_template_field_is_an_attribute_and_every_renderer_one_of_them(self, operator):
        task = minimal(operator)
        for name in operator.template_fields:
            assert hasattr(task, name)
        assert set(operator.template_fields_renderers) <= set(operator.template_fields)

    @pytest.mark.parametrize("operator", EVERY)
    def test_a_dag_with_it_can_be_serialized(self, operator):
        with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            minimal(operator)
        again = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("task")
        assert again.extra_links == ([] if operator is EarthEngineDeleteAssetOperator else ["Earth Engine asset"])

    @pytest.mark.parametrize("operator", EVERY)
    def test_what_passes_is_left_to_airflows_retries(self, run, server, operator):
        for method in ("get", "create", "copy", "move", "delete", "patch", "getIamPolicy", "setIamPolicy"):
            server.inject(f"assets.{method}", "503 always")
        task = minimal(operator, request_retries=0)
        if operator is EarthEngineUpdateAssetOperator:
            task.title = "x"
        if operator is EarthEngineSetAssetAclOperator:
            task.readers = [ME]
        with pytest.raises(Unavailable):
            task.execute({})

    def test_the_page_about_assets_holds_a_dag(self):
        page = (Path(__file__).parents[2] / "docs" / "assets.md").read_text(encoding="utf-8")
        code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
        names = {}
        exec(code, names)
        again = DagSerialization.from_dict(DagSerialization.to_dict(names["collection"].dag))
        assert [task.task_id for task in again.tasks] == ["collection", "share", "tidy", "old", "cancel"]
        assert [each for each in (operator.__name__ for operator in EVERY) if each not in page] == []

    def test_one_task_for_each_asset_can_be_made(self):
        with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
            EarthEngineDeleteAssetOperator.partial(task_id="task", recursive=True).expand(asset_id=[HOME, HOME])
        assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("task").is_mapped

    def test_templates_are_rendered(self):
        task = EarthEngineUpdateAssetOperator(
            task_id="task", asset_id=HOME + "/{{ name }}", properties={"run": "{{ name }}"}, start_time="{{ ds }}"
        )
        task.render_template_fields({"name": "x", "ds": "2024-01-01"})
        assert (task.asset_id, task.properties, task.start_time) == (f"{HOME}/x", {"run": "x"}, "2024-01-01")

    def test_no_credentials_are_looked_for_when_a_dag_is_parsed(self, monkeypatch):
        def refuse(**_):
            raise AssertionError("credentials were looked for")

        monkeypatch.setattr(google.auth, "default", refuse)
        for operator in EVERY:
            minimal(operator)
