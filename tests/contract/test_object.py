"""What holds for values of any kind: choice, equality, types, properties of elements, and how values are shown."""

import pytest

VALUES = [
    (lambda ee: ee.Algorithms.If(1, "yes", "no"), "yes"),
    (lambda ee: ee.Algorithms.If(0.0, "yes", "no"), "no"),
    (lambda ee: ee.Algorithms.If("false", "yes", "no"), "yes"),
    (lambda ee: ee.Algorithms.If("", "yes", "no"), "no"),
    (lambda ee: ee.Algorithms.If([], "yes", "no"), "no"),
    (lambda ee: ee.Algorithms.If({}, "yes", "no"), "no"),
    (lambda ee: ee.Algorithms.If(None, "yes", "no"), "no"),
    (lambda ee: ee.Algorithms.If(ee.Number(-1).sqrt(), "yes", "no"), "no"),  # not a number
    (lambda ee: ee.Algorithms.If(ee.FeatureCollection([]), "yes", "no"), "yes"),
    (lambda ee: ee.Algorithms.If(True, None, "no"), None),
    (lambda ee: ee.Algorithms.If(False, 1), None),
    (lambda ee: ee.Algorithms.If(0, ee.List([]).get(0), "nothing"), "nothing"),  # what is not chosen may fail
    (lambda ee: ee.Algorithms.If(1, ee.Algorithms.If(0, ee.List([]).get(0), "inner"), ee.List([]).get(0)), "inner"),
    (
        lambda ee: ee.List([[], [7]]).map(
            lambda each: ee.Algorithms.If(ee.List(each).size(), ee.List(each).get(0), -1)
        ),
        [-1, 7],
    ),
    (lambda ee: ee.Algorithms.IsEqual([1, "a"], [1, "a"]), True),
    (lambda ee: ee.Algorithms.IsEqual({"a": 1}, {"a": 2}), False),
    (lambda ee: ee.Algorithms.IsEqual(ee.Date("2020"), ee.Date("2020-01-01")), True),
    (lambda ee: ee.Algorithms.IsEqual(None, None), True),
    (lambda ee: ee.Algorithms.IsEqual(True, 1), False),
    (lambda ee: ee.Algorithms.ObjectType(3), "Integer"),
    (lambda ee: ee.Algorithms.ObjectType(2**40), "Long"),
    (lambda ee: ee.Algorithms.ObjectType(ee.Number(3).add(1)), "Long"),
    (lambda ee: ee.Algorithms.ObjectType(ee.Number(3).divide(1)), "Float"),
    (lambda ee: ee.Algorithms.ObjectType("a"), "String"),
    (lambda ee: ee.Algorithms.ObjectType([1]), "List"),
    (lambda ee: ee.Algorithms.ObjectType({"a": 1}), "Dictionary"),
    (lambda ee: ee.Algorithms.ObjectType(ee.Date(0)), "Date"),
    (lambda ee: ee.Algorithms.ObjectType(ee.Array([1])), "Array"),
    (lambda ee: ee.Algorithms.ObjectType(ee.Image(1)), "Image"),
    (lambda ee: ee.Algorithms.ObjectType(ee.FeatureCollection([])), "FeatureCollection"),
    (lambda ee: ee.Algorithms.Describe("x"), "x"),
    (lambda ee: ee.Feature(None, {"n": 4, "s": "t", "a": [1, 2]}).getNumber("n"), 4),
    (lambda ee: ee.Feature(None, {"n": 4, "s": "t", "a": [1, 2]}).getString("s"), "t"),
    (lambda ee: ee.Feature(None, {"n": 4, "s": "t", "a": [1, 2]}).getArray("a"), [1, 2]),
    (lambda ee: ee.Feature(None, {"n": 4}).getNumber("m"), None),
    (lambda ee: ee.List([None, True, 1.0, 2.5, "a", {"b": [1]}]), [None, True, 1, 2.5, "a", {"b": [1]}]),
    (lambda ee: [ee.Number(1).divide(3), ee.Number(2).pow(70)], [1 / 3, 2.0**70]),
]
REFUSED = [
    (lambda ee: ee.Algorithms.If(1, ee.List([]).get(0), "nothing"), "List index"),
    (lambda ee: ee.Algorithms.IsEqual(ee.Image(1), ee.Image(1)), "IsEqual"),
    (lambda ee: ee.Algorithms.ObjectType(None), "null"),
    (lambda ee: ee.Algorithms.Describe([1]), "Describe"),
    (lambda ee: ee.Feature(None, {"s": "t"}).getNumber("s"), "Cannot convert String to Number"),
    (lambda ee: ee.Feature(None, {"n": 1}).getString("n"), "Cannot convert Number to String"),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_values_are_chosen_compared_and_shown(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


def test_deep_constants_are_refused(refusal):
    value = []
    for _ in range(200):
        value = [value]
    assert "nested too deeply" in refusal({"result": "0", "values": {"0": {"constantValue": value}}})


def test_a_value_that_is_not_chosen_serves_elsewhere(evaluate):
    def expression(ee):
        shared = ee.Number(1).add(1)
        return ee.List([ee.Algorithms.If(shared, shared, 0), ee.Algorithms.If(0, shared, 1), shared])

    assert evaluate(expression) == [2, 1, 2]


def test_functions_get_all_their_arguments_or_are_refused(refusal):
    body = {"functionInvocationValue": {"functionName": "Number.add", "arguments": {
        "left": {"argumentReference": "a"}, "right": {"argumentReference": "b"},
    }}}  # fmt: skip
    two = {"functionDefinitionValue": {"argumentNames": ["a", "b"], "body": "1"}}
    mapped = {"list": {"constantValue": [1, 2]}, "baseAlgorithm": two}
    graph = {"0": {"functionInvocationValue": {"functionName": "List.map", "arguments": mapped}}, "1": body}
    assert "called without b" in refusal({"result": "0", "values": graph})


def test_whole_numbers_beyond_64_bits_are_refused(refusal):
    assert "integerValue" in refusal({"result": "0", "values": {"0": {"integerValue": str(2**63)}}})


def test_a_circle_of_endless_corners_is_refused(refusal):
    assert "allow a larger error" in refusal(lambda ee: ee.Geometry.Point(0, 0).buffer(1e6, 1e-12))
