"""The table of algorithms is that of the functions that are there."""

from airflow_ee.emulator.functions import registry
from tools import algorithms


def test_the_table_in_the_documentation_is_up_to_date():
    assert algorithms.TABLE.read_text("utf-8") == algorithms.table(), "run python tools/algorithms.py"


def test_the_table_has_every_algorithm_once():
    rows = [line for line in algorithms.table().splitlines() if line.startswith("| `")]
    names = [row.split("`")[1] for row in rows]
    assert len(names) == len(set(names)) == 991
    assert {row.split("`")[1] for row in rows if row.endswith("| yes |")} == set(registry.names)
