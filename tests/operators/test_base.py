"""What all operators share: connection, workload tags, and expressions that survive templating and serialization."""

import copy
import json
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG

from airflow_ee.hooks.earth_engine import EarthEngineHook
from airflow_ee.operators.base import EarthEngineBaseOperator, workload_tag_from
from airflow_ee.operators.export import EarthEngineExportImageOperator
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator, EarthEngineGetPixelsOperator
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
from tests.older_airflow import DagSerialization

GRAPH = {"result": "0", "values": {"0": {"constantValue": 1}}}
START = datetime(2024, 1, 1, tzinfo=UTC)


class Probe(EarthEngineBaseOperator):
    """An operator that only shows what became of its arguments."""

    template_fields = (*EarthEngineBaseOperator.template_fields, "expression", "expression_kwargs")

    def __init__(self, *, expression, expression_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs

    def execute(self, context):
        return self.resolve_expression(self.expression, self.expression_kwargs, context)


class EeObject:
    """Like an object of Google's client: it can serialize itself."""

    def serialize(self):
        return json.dumps(GRAPH)


def build_image(context, *, value=1):
    return {"result": "0", "values": {"0": {"constantValue": value + context["offset"]}}}


@pytest.fixture
def prepared(monkeypatch):
    """Times that ``ee`` was initialised."""
    calls = []
    monkeypatch.setattr(EarthEngineHook, "initialize_ee", lambda _, project_id=None: calls.append(project_id))
    return calls


def rendered(operator, context=None):
    operator.render_template_fields(context or {})
    return operator


class TestExpressions:
    @pytest.mark.parametrize("expression", [GRAPH, json.dumps(GRAPH), EeObject()], ids=["dict", "text", "ee object"])
    def test_graphs_come_in_many_forms(self, expression):
        assert rendered(Probe(task_id="t", expression=expression)).execute({}).graph == GRAPH

    def test_a_function_runs_after_ee_was_initialised(self, connect, prepared):
        connect(endpoint="http://127.0.0.1:1")
        operator = rendered(
            Probe(task_id="t", project_id="other-project", expression=build_image, expression_kwargs={"value": 2}),
            {"offset": 5},
        )
        assert prepared == []
        assert operator.execute({"offset": 5}).graph["values"]["0"] == {"constantValue": 7}
        assert prepared == ["other-project"]

    def test_a_function_may_return_an_ee_object_or_a_file(self, connect, prepared, tmp_path):
        connect(endpoint="http://127.0.0.1:1")
        file = tmp_path / "graph.json"
        file.write_text(json.dumps(GRAPH))
        assert Probe(task_id="t", expression=lambda _: EeObject()).execute({}).graph == GRAPH
        assert Probe(task_id="u", expression=lambda _: str(file)).execute({}).graph == GRAPH
        assert len(prepared) == 2

    def test_a_file_beside_the_dag_is_read_and_rendered(self, tmp_path):
        (tmp_path / "graph.json").write_text('{"result": "0", "values": {"0": {"constantValue": {{ params.n }}}}}')
        with DAG("d", start_date=START, template_searchpath=str(tmp_path)):
            operator = Probe(task_id="t", expression="graph.json")
        assert rendered(operator, {"params": {"n": 3}}).execute({}).graph["values"]["0"] == {"constantValue": 3}

    def test_templates_inside_a_graph_are_rendered(self):
        graph = {"result": "0", "values": {"0": {"constantValue": "{{ ds }}"}}}
        operator = rendered(Probe(task_id="t", expression=graph), {"ds": "2024-01-01"})
        assert operator.execute({}).graph["values"]["0"] == {"constantValue": "2024-01-01"}

    @pytest.mark.usefixtures("prepared")
    def test_the_arguments_of_a_function_are_rendered(self, connect):
        connect(endpoint="http://127.0.0.1:1")
        operator = Probe(
            task_id="t",
            expression=lambda _, day: EeObject() if day == "x" else None,
            expression_kwargs={"day": "{{ ds }}"},
        )
        assert rendered(operator, {"ds": "x"}).execute({}).graph == GRAPH

    def test_arguments_without_a_function_are_refused(self):
        with pytest.raises(ValueError, match="expression_kwargs are given, but expression is no callable"):
            Probe(task_id="t", expression=GRAPH, expression_kwargs={"a": 1}).execute({})

    @pytest.mark.parametrize("wrong", [3, {"a": 1}, "not json", None])
    def test_what_is_no_graph_is_refused(self, wrong):
        with pytest.raises(ValueError, match="expression"):
            Probe(task_id="t", expression=wrong).execute({})

    def test_an_object_of_the_real_library_survives_copies_and_rendering(self, connect, emulator):
        ee = pytest.importorskip("ee")
        connect(endpoint=emulator.url)
        EarthEngineHook().initialize_ee()
        operator = rendered(copy.deepcopy(Probe(task_id="t", expression=ee.Image.constant(7))))
        assert "Image.constant" in operator.execute({}).text

    def test_googles_client_runs_in_a_function(self, connect, emulator):
        ee = pytest.importorskip("ee")
        connect(endpoint=emulator.url)
        operator = rendered(Probe(task_id="t", expression=lambda _: ee.Image.constant(8)))
        assert "8" in operator.execute({}).text


def all_operators(region, expression, **grid):
    """One of each operator that takes a region or an expression, in a DAG."""
    with DAG("d", start_date=START) as dag:
        EarthEngineGetPixelsOperator(task_id="get", asset_id="a/b", region=region, output_uri="/data/x.tif")
        EarthEngineComputePixelsOperator(
            task_id="compute", expression=expression, region=region, output_uri="/data/x.tif", **grid
        )
        EarthEngineTimeSeriesOperator(task_id="series", collection="MOD13Q1", region=region, table_uri="/data/x")
        EarthEngineExportImageOperator(
            task_id="export", expression=expression, region=region, destination_uri="gs://bucket/x", **grid
        )
    return dag


class TestFilesElsewhere:
    @pytest.mark.parametrize("task_id", ["get", "compute", "series", "export"])
    @pytest.mark.parametrize(
        ("region", "shown"),
        [
            ("/data/area.geojson", "/data/area.geojson"),
            ("/data/area.json", "/data/area.json"),
            ("gs://bucket/area.geojson", "gs://bucket/area.geojson"),
            ("gs://bucket/area.json", "gs://bucket/area.json"),
            ("~/area.json", "~/area.json"),
            ("{{ params.folder }}/area.json", "/data/area.json"),
            ("/data/{{ ds }}.json", "/data/2024-01-01.json"),
        ],
    )
    def test_rendering_keeps_their_names(self, caplog, task_id, region, shown):
        dag = all_operators(region, region.replace("geojson", "json"))
        dag.resolve_template_files()
        task = dag.get_task(task_id)
        task.render_template_fields({"params": {"folder": "/data"}, "ds": "2024-01-01"})
        assert task.region == shown
        assert (getattr(task, "expression", None) or shown) in (shown, shown.replace("geojson", "json"))
        assert "template_fields" not in vars(task)
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    def test_a_task_reads_them_when_it_runs(self, connect, emulator, tmp_path, graph, make_context):
        connect(endpoint=emulator.url)
        (tmp_path / "graph.json").write_text(json.dumps(graph))
        ring = [[15.0, 36.0], [15.01, 36.0], [15.01, 36.01], [15.0, 36.0]]
        (tmp_path / "area.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        files = {"region": str(tmp_path / "area.geojson"), "expression": str(tmp_path / "graph.json")}
        context = {**make_context(), "params": {}}
        dag = all_operators(**files, scale=100, crs="EPSG:32633")
        dag.resolve_template_files()
        compute = dag.get_task("compute")
        compute.output_uri = str(tmp_path / "out.tif")
        compute.render_template_fields(context)
        assert compute.execute(context)["width"] > 5
        export = dag.get_task("export")
        export.render_template_fields(context)
        assert export.build_request(context).expression.graph == graph

    def test_a_file_that_is_not_there_ends_the_task(self, connect):
        connect(endpoint="http://127.0.0.1:1")
        operator = rendered(Probe(task_id="t", expression="/nowhere/graph.json"))
        with pytest.raises(ValueError, match="expression: there is no file /nowhere/graph.json"):
            operator.execute({})


class TestDags:
    @pytest.mark.parametrize("expression", [GRAPH, EeObject(), build_image], ids=["dict", "ee object", "function"])
    def test_a_dag_with_it_survives_serialization_and_copying(self, expression):
        with DAG("d", start_date=START) as dag:
            Probe(task_id="t", expression=expression)
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        assert copy.deepcopy(dag).get_task("t").task_id == "t"

    @pytest.mark.usefixtures("prepared")
    def test_a_function_may_be_mapped_over_its_arguments(self, connect):
        connect(endpoint="http://127.0.0.1:1")
        with DAG("d", start_date=START) as dag:
            mapped = Probe.partial(task_id="t", expression=build_image).expand(
                expression_kwargs=[{"value": 1}, {"value": 2}]
            )
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        context = {"offset": 10, "ti": SimpleNamespace(map_index=1, task=None), "task": mapped}
        operator = mapped.unmap({"expression_kwargs": {"value": 2}})
        operator._do_render_template_fields(
            parent=operator,
            template_fields=mapped.template_fields,
            context=context,
            jinja_env=operator.get_template_env(),
            seen_oids=set(),
        )
        assert operator.execute(context).graph["values"]["0"] == {"constantValue": 12}

    def test_graphs_may_be_mapped(self):
        with DAG("d", start_date=START) as dag:
            Probe.partial(task_id="t").expand(expression=[GRAPH, GRAPH])
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))

    def test_every_template_field_is_an_argument_that_is_kept_as_it_came(self):
        values = {name: f"{{{{ {name} }}}}" for name in Probe.template_fields}
        operator = Probe(task_id="t", **values)
        assert {name: getattr(operator, name) for name in Probe.template_fields} == values

    def test_a_dag_file_with_the_base_imports_none_of_googles_hooks(self):
        code = (
            "import sys, airflow_ee.operators.base; "
            "print([m for m in sys.modules if m.startswith(('airflow.providers.google.common', 'googleapiclient', 'ee.'))])"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.strip().splitlines()[-1] == "[]"


class TestClient:
    def test_the_operators_arguments_reach_the_client(self, connect):
        connect("mine", endpoint="http://127.0.0.1:1")
        operator = Probe(
            task_id="t",
            expression=GRAPH,
            gcp_conn_id="mine",
            project_id="other-project",
            request_timeout_seconds=5,
            request_retries=2,
        )
        settings = operator.client.settings
        assert (settings.project, settings.request_timeout_seconds, settings.retry.attempts) == ("other-project", 5, 3)
        assert operator.client is operator.client

    def test_nothing_is_looked_up_before_the_task_runs(self):
        Probe(task_id="t", expression=GRAPH, gcp_conn_id="does_not_exist")


class TestWorkloadTag:
    def context(self, dag_id="my_dag", task_id="export"):
        return {"ti": SimpleNamespace(dag_id=dag_id, task_id=task_id)}

    def test_it_is_made_of_prefix_dag_and_task(self, connect):
        connect(endpoint="http://127.0.0.1:1", workload_tag_prefix="team-a")
        assert (
            Probe(task_id="export", expression=GRAPH).effective_workload_tag(self.context()) == "team-a-my_dag-export"
        )

    def test_the_users_own_wins(self, connect):
        connect(endpoint="http://127.0.0.1:1")
        assert (
            Probe(task_id="t", expression=GRAPH, workload_tag="mine").effective_workload_tag(self.context()) == "mine"
        )

    def test_a_wrong_one_is_refused(self):
        with pytest.raises(ValueError, match="workload_tag must be 1 to 63"):
            Probe(task_id="t", expression=GRAPH, workload_tag="Not Allowed").effective_workload_tag(self.context())

    @pytest.mark.parametrize(
        "parts",
        [
            ("d" * 250, "t" * 250),
            ("Ünïcode", "täsk"),
            ("a.b", "group.task"),
            ("日本", "語"),
            ("-_-", "_"),
            ("A", "B"),
            ("a", ""),
        ],
    )
    def test_any_names_make_a_tag_that_the_service_takes(self, parts):
        from airflow_ee.core.resources import check_workload_tag

        assert check_workload_tag(workload_tag_from(*parts)) == workload_tag_from(*parts)

    def test_names_that_differ_only_in_what_is_left_out_give_different_tags(self):
        assert workload_tag_from("d", "a.b") != workload_tag_from("d", "a b")
