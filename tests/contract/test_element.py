"""Properties of elements."""

import pytest

OWN = {"a": 1, "b": "x", "system:time_start": 5}


def element(ee):
    return ee.Feature(None, OWN)


VALUES = [
    (lambda ee: element(ee).get("a"), 1),
    (lambda ee: element(ee).get("none"), None),
    (lambda ee: element(ee).set("a", 2).get("a"), 2),
    (lambda ee: element(ee).set("a", None).toDictionary(), {"b": "x"}),
    (lambda ee: element(ee).set({"c": 3, "a": 4}).toDictionary(), {"a": 4, "b": "x", "c": 3}),
    (lambda ee: element(ee).toDictionary(), {"a": 1, "b": "x"}),  # without the system's own
    (lambda ee: element(ee).toDictionary(["system:time_start"]), {"system:time_start": 5}),
    (lambda ee: ee.Feature(None, {"c": 3}).copyProperties(element(ee)).toDictionary(), {"a": 1, "b": "x", "c": 3}),
    (lambda ee: ee.Feature(None).copyProperties(element(ee)).get("system:time_start"), None),
    (lambda ee: ee.Feature(None).copyProperties(element(ee), ["system:time_start"]).get("system:time_start"), 5),
    (lambda ee: ee.Feature(None).copyProperties(element(ee), ["b"]).toDictionary(), {"b": "x"}),
    (lambda ee: ee.Feature(None).copyProperties(element(ee), None, ["b"]).toDictionary(), {"a": 1}),
    (lambda ee: ee.Feature(None, {"a": 0}).copyProperties(element(ee)).get("a"), 1),
    (lambda ee: ee.Image(1).set("n", 7).get("n"), 7),
    (lambda ee: ee.Image(1).copyProperties(element(ee)).get("b"), "x"),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_properties_are_read_and_written(evaluate, expression, expected):
    assert evaluate(expression) == expected


def test_properties_are_either_named_or_excluded(refusal):
    assert "exclude" in refusal(lambda ee: ee.Feature(None).copyProperties(element(ee), ["a"], ["b"]))
