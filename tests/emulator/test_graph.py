"""Expression graphs: scopes, depth, cycles, and what is wrong with a broken one."""

import pytest

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.graph import Evaluator, compile_graph
from airflow_ee.emulator.registry import Registry

from .conftest import call, graph


def value(expression):
    return Evaluator(compile_graph(expression), registry.call).run()


def reference(key):
    return {"valueReference": key}


def argument(name):
    return {"argumentReference": name}


def function(names, body):
    return {"functionDefinitionValue": {"argumentNames": names, "body": body}}


def test_a_chain_of_five_thousand_steps_evaluates():
    values = {str(n): call("Number.add", left=reference(str(n - 1)), right=1) for n in range(1, 5001)}
    assert value({"result": "5000", "values": {**values, "0": {"constantValue": 0}}}) == 5000


def test_images_chain_as_deeply(world):
    values = {str(n): call("Image.add", image1=reference(str(n - 1)), image2=1) for n in range(1, 2001)}
    values["0"] = call("Image.constant", value=0)
    from .conftest import UTM

    assert (world.pixels({"result": "2000", "values": values}, UTM)["constant"] == 2000).all()


def test_sibling_lambdas_keep_their_arguments_apart():
    # Both lambdas use the same argument name and share node "2": each call must see its own argument.
    expression = {
        "result": "0",
        "values": {
            "0": call("List.cat", list=call("List.map", list=[1, 2], baseAlgorithm=function(["v"], "1")),
                      other=call("List.map", list=[10], baseAlgorithm=function(["v"], "3"))),
            "1": call("Number.add", left=reference("2"), right=1),
            "2": call("Number.multiply", left=argument("v"), right=2),
            "3": call("Number.subtract", left=reference("2"), right=1),
        },
    }  # fmt: skip
    assert value(expression) == [3, 5, 19]


def test_inner_lambdas_see_the_arguments_around_them():
    expression = {
        "result": "0",
        "values": {
            "0": call("List.map", list=[1, 2], baseAlgorithm=function(["outer"], "1")),
            "1": call("List.map", list=[10, 20], baseAlgorithm=function(["inner"], "2")),
            "2": call("Number.add", left=argument("outer"), right=argument("inner")),
        },
    }
    assert value(expression) == [[11, 21], [12, 22]]


def test_every_kind_of_value_is_read():
    expression = graph(
        {"dictionaryValue": {"values": {"a": {"integerValue": "9007199254740993"}, "b": {"arrayValue": {"values": [
            {"constantValue": 2.0}, {"constantValue": None}]}}, "c": {"bytesValue": "aGk="}}}},
    )  # fmt: skip
    assert value(expression) == {"a": 9007199254740993, "b": [2, None], "c": b"hi"}


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ({"result": "0", "values": {"0": {"valueReference": "0"}}}, "cycle"),
        ({"result": "0", "values": {"0": {"valueReference": "7"}}}, "'7' is referenced but not defined"),
        ({"result": "0", "values": {"0": {"argumentReference": "x"}}}, "outside of its function: x"),
        ({"result": "0", "values": {"0": {"wonder": 1}}}, 'Unknown name "wonder"'),
        ({"result": "0", "values": {"0": {}}}, "exactly one"),
        ({"values": {}}, "must have"),
    ],
)
def test_broken_graphs_are_refused(expression, complaint):
    with pytest.raises(EmulatorError, match=complaint):
        value(expression)


def test_more_than_a_hundred_levels_in_one_value_are_refused():
    nested = {"constantValue": 1}
    for _ in range(99):
        nested = call("Number.add", left=nested, right=1)
    assert value({"result": "0", "values": {"0": nested}}) == 100
    with pytest.raises(EmulatorError, match="maximum depth is 100"):
        value({"result": "0", "values": {"0": call("Number.add", left=nested, right=1)}})


def test_values_are_forgotten_after_their_last_use():
    expression = {
        "result": "2",
        "values": {
            "0": {"constantValue": 1},
            "1": call("Number.add", left=reference("0"), right=reference("0")),
            "2": call("Number.add", left=reference("1"), right=1),
        },
    }
    evaluator = Evaluator(compile_graph(expression), registry.call)
    assert evaluator.run() == 3
    assert not evaluator._shared


def test_a_function_is_implemented_once():
    own = Registry()
    own.add("X", lambda: 1)
    with pytest.raises(RuntimeError, match="X is implemented twice"):
        own.add("X", lambda: 2)


def test_every_function_has_the_arguments_of_the_public_signature():
    from airflow_ee.emulator.api.discovery import own_signatures, signatures

    public = {
        each["name"]: [argument["argumentName"] for argument in each.get("arguments", [])] for each in signatures()
    }
    ours = {each["name"]: [argument["argumentName"] for argument in each["arguments"]] for each in own_signatures()}
    assert len(ours) > 300
    assert {name: arguments for name, arguments in ours.items() if public.get(name) != arguments} == {}
