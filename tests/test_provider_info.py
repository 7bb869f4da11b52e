"""What Airflow is told about the package holds: by its schemas, and by the code."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_ee.get_provider_info import get_provider_info
from airflow_ee.hooks.connection import ConnectionOptions
from airflow_ee.hooks.earth_engine import EarthEngineHook

INFO = get_provider_info()
AIRFLOW = Path(airflow.__file__).parent
PACKAGE = Path(inspect.getfile(get_provider_info)).parent


def schema(name):
    path = AIRFLOW / name
    if not path.exists():
        pytest.skip(f"this Airflow has no {name}")
    return json.loads(path.read_text())


def test_it_fits_the_schema_that_airflow_reads_at_run_time():
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_its_connection_links_and_options_fit_the_schema_of_airflows_own_providers():
    whole = schema("provider.yaml.schema.json")
    for key in ("connection-types", "extra-links", "config", "hooks", "operators", "sensors", "triggers"):
        jsonschema.validate(INFO[key], {"definitions": whole["definitions"], **whole["properties"][key]})


def test_it_imports_nothing():
    tree = ast.parse((PACKAGE / "get_provider_info.py").read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "typing"}


def test_the_entry_point_leads_here():
    (entry,) = [
        point
        for point in importlib.metadata.entry_points(group="apache_airflow_provider")
        if point.value.startswith("airflow_ee.")
    ]
    assert entry.load()() == INFO


@pytest.mark.parametrize(
    "module",
    [
        name
        for key in ("hooks", "operators", "sensors", "triggers")
        for item in INFO[key]
        for name in item["python-modules"]
    ],
)
def test_every_module_that_is_named_can_be_imported(module):
    assert importlib.import_module(module).__all__


@pytest.mark.parametrize("path", [*INFO["extra-links"], INFO["connection-types"][0]["hook-class-name"]])
def test_every_class_that_is_named_can_be_imported(path):
    module, name = path.rsplit(".", 1)
    assert inspect.isclass(getattr(importlib.import_module(module), name))


def test_every_link_of_an_operator_is_named():
    from airflow_ee.operators import assets
    from airflow_ee.operators.export import EarthEngineExportImageOperator
    from airflow_ee.operators.operations import EarthEngineCancelOperationOperator
    from airflow_ee.sensors.operation import EarthEngineOperationSensor

    of_assets = [getattr(assets, name) for name in assets.__all__]
    for operator in (
        EarthEngineExportImageOperator,
        EarthEngineOperationSensor,
        EarthEngineCancelOperationOperator,
        *of_assets,
    ):
        for link in operator.operator_extra_links:
            assert f"{type(link).__module__}.{type(link).__qualname__}" in INFO["extra-links"]


def test_the_connection_type_is_the_hooks():
    connection = INFO["connection-types"][0]
    assert connection["connection-type"] == EarthEngineHook.conn_type
    assert connection["hook-name"] == EarthEngineHook.hook_name


def test_the_form_has_every_field_that_the_hook_reads():
    fields = INFO["connection-types"][0]["conn-fields"]
    read = {item.name for item in ConnectionOptions.__dataclass_fields__.values()} - {"quota_project"}
    assert read <= set(fields)


def test_the_forms_defaults_are_the_hooks():
    options = ConnectionOptions.parse({})
    for name, field in INFO["connection-types"][0]["conn-fields"].items():
        if "default" in field["schema"] and hasattr(options, name):
            assert getattr(options, name) == field["schema"]["default"]


def test_keys_are_hidden_in_the_form():
    fields = INFO["connection-types"][0]["conn-fields"]
    assert fields["keyfile_dict"]["schema"]["format"] == "password"


def test_every_option_is_read_and_its_default_is_the_codes():
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for section, content in INFO["config"].items():
        for option, described in content["options"].items():
            assert f'"{section}", "{option}", fallback={described["default"]}' in source


def test_the_poll_interval_may_be_configured():
    code = (
        "from airflow_ee.operators.export import EarthEngineExportImageOperator as Export;"
        "print(Export(task_id='t', expression='').poll_interval)"
    )
    environment = {**os.environ, "AIRFLOW__EARTH_ENGINE__POLL_INTERVAL": "12.5"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.split()[-1] == "12.5"
