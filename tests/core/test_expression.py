"""Graphs are checked before they are sent, and the same graph has one digest."""

import json
from pathlib import Path

import pytest

from airflow_ee.core.expression import Expression, constant, invoke, load_image, reference, with_masks


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "not a graph"),
        ({"result": "0", "values": {}}, "not among its values"),
        ({"result": "0", "values": {"0": {"valueReference": "1"}}}, "which is not there"),
        ({"result": "0", "values": {"0": {"valueReference": "1"}, "1": {"valueReference": "0"}}}, "depends on itself"),
        ({"result": "0", "values": {"0": {"constantValue": float("nan")}}}, "nan"),
        ({"result": "0", "values": {"0": {"constantValue": [1, {"a": float("inf")}]}}}, "inf"),
        ({"result": "0", "values": {"0": {"what": 1}}}, "exactly one kind"),
        ({"result": "0", "values": {"0": {"functionInvocationValue": {"arguments": {}}}}}, "without a functionName"),
        ("not json", "not JSON"),
        ("[1, 2]", "expression must be"),
        (7, "expression must be"),
        (None, "expression must be"),
    ],
)
def test_what_is_no_graph_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        Expression.parse(value)


def test_a_dict_and_its_text_are_one_expression():
    graph = {"result": "0", "values": {"0": invoke("Image.load", id=constant("x"))}}
    assert Expression.parse(graph) == Expression.parse(json.dumps(graph, indent=3)) == load_image("x")
    assert Expression.parse(graph).digest == load_image("x").digest


def test_a_chain_five_thousand_deep_is_checked_without_recursion():
    values = {"0": constant(1)}
    for number in range(1, 5000):
        values[str(number)] = {"arrayValue": {"values": [reference(str(number - 1))]}}
    assert Expression.parse({"result": "4999", "values": values}).graph["result"] == "4999"


def test_the_shared_example_graphs_are_graphs():
    folder = Path(__file__).parents[3] / "shared" / "earth-engine"
    files = sorted(folder.glob("expr_*.json"))
    if not files:
        pytest.skip("the folder of example graphs is not beside the checkout")
    for file in files:
        graph = json.loads(file.read_text())
        assert Expression.parse(file.read_text()).graph == graph


def test_masks_are_added_without_touching_the_graph_that_was_given():
    given = load_image("x")
    wrapped = with_masks(given, ["NDVI"], ["NDVI__valid"], min_mask=0.5)
    assert given.graph["values"]["0"] == wrapped.graph["values"]["0"]
    assert "Image.gte" in wrapped.text
    assert '"NDVI__valid"' in wrapped.text


def test_new_values_never_take_a_key_that_is_in_use():
    graph = {"result": "1", "values": {"1": constant(1), "2": constant(2)}}
    wrapped = Expression.parse(graph).wrap("Number.add", "left", right=reference("2"))
    assert wrapped.graph["values"]["1"] == constant(1)
    assert len(wrapped.graph["values"]) == 3


def test_an_expression_prints_short():
    assert len(repr(load_image("x" * 10_000))) < 100
