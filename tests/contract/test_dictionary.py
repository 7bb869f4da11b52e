"""Dictionaries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry

D = {"b": 2, "a": 1, "c10": "x"}
VALUES = [
    (lambda ee: ee.Dictionary(["k", 1, "l", [2]]), {"k": 1, "l": [2]}),
    (lambda ee: ee.Dictionary(), {}),
    (lambda ee: ee.Dictionary.fromLists(["x", "y"], [1, None]), {"x": 1, "y": None}),
    (lambda ee: ee.Dictionary(D).get("a"), 1),
    (lambda ee: ee.Dictionary(D).get("z", 7), 7),
    (lambda ee: ee.Dictionary(D).get("a", 7), 1),
    (lambda ee: ee.Dictionary(D).getNumber("b"), 2),
    (lambda ee: ee.Dictionary(D).getString("c10"), "x"),
    (lambda ee: ee.Dictionary({"m": ee.Array([[1], [2]])}).getArray("m"), [[1], [2]]),
    (lambda ee: ee.Dictionary({"g": ee.Geometry.Point([3, 4])}).getGeometry("g").coordinates(), [3, 4]),
    (lambda ee: ee.Dictionary(D).set("a", 5), {"a": 5, "b": 2, "c10": "x"}),
    (lambda ee: ee.Dictionary({"a": 1, "n": 2}).combine({"a": 3, "m": 4}), {"a": 3, "n": 2, "m": 4}),
    (lambda ee: ee.Dictionary({"a": 1, "n": 2}).combine({"a": 3, "m": 4}, False), {"a": 1, "n": 2, "m": 4}),
    (lambda ee: ee.Dictionary.fromLists(["a", "b"], [1, None]).combine({"c": 2}), {"a": 1, "c": 2}),
    (lambda ee: ee.Dictionary(D).select(["b"]), {"b": 2}),
    (lambda ee: ee.Dictionary(D).select(["[ab]"]), {"a": 1, "b": 2}),
    (lambda ee: ee.Dictionary(D).select(["z", "a"], True), {"a": 1}),
    (lambda ee: ee.Dictionary(D).remove(["c.*"]), {"a": 1, "b": 2}),
    (lambda ee: ee.Dictionary(D).remove(["c"], True), {"a": 1, "b": 2, "c10": "x"}),  # the whole name must match
    (lambda ee: ee.Dictionary(D).rename(["a"], ["z"]), {"z": 1, "b": 2, "c10": "x"}),
    (lambda ee: ee.Dictionary(D).rename(["a"], ["b"], True), {"b": 1, "c10": "x"}),
    (lambda ee: ee.Dictionary(D).rename(["a", "b"], ["b", "a"]), {"b": 1, "a": 2, "c10": "x"}),
    (
        lambda ee: ee.Dictionary({"a": 1, "b": 2}).map(lambda k, v: ee.String(k).cat(ee.Number(v).format())),
        {"a": "a1", "b": "b2"},
    ),
    (
        lambda ee: ee.Dictionary({"a": 1, "b": 2}).map(
            lambda k, v: ee.Algorithms.If(ee.String(k).equals("b"), v, None)
        ),
        {"b": 2},
    ),
    (lambda ee: ee.Dictionary(D).keys(), ["a", "b", "c10"]),
    (lambda ee: ee.Dictionary(D).values(), [1, 2, "x"]),
    (lambda ee: ee.Dictionary(D).values(["c10", "a"]), ["x", 1]),
    (lambda ee: ee.Dictionary({"b": 2, "a": 1.5}).toArray(), [1.5, 2]),
    (lambda ee: ee.Dictionary({"b": 2, "a": 1}).toArray(["b"]), [2]),
    (lambda ee: ee.Dictionary({"b": [2, 3], "a": [0, 1]}).toArray(axis=1), [[0, 2], [1, 3]]),
    (lambda ee: ee.Dictionary(D).contains("a"), True),
    (lambda ee: ee.Dictionary(D).contains("A"), False),
    (lambda ee: ee.Dictionary(D).size(), 3),
    (lambda ee: ee.Dictionary({"b": 2, "a": 1}).toImage().bandNames(), ["a", "b"]),
]
REFUSED = [
    (lambda ee: ee.Dictionary(D).get("z"), "Dictionary does not contain key: 'z'"),
    (lambda ee: ee.Dictionary(D).getNumber("c10"), "Cannot convert String to Number"),
    (lambda ee: ee.Dictionary(D).getString("a"), "Cannot convert Number to String"),
    (lambda ee: ee.Dictionary(D).select(["z"]), "'z'"),
    (lambda ee: ee.Dictionary(D).remove(["z+"]), "'z+'"),
    (lambda ee: ee.Dictionary(D).rename(["z"], ["y"]), "'z'"),
    (lambda ee: ee.Dictionary(D).rename(["a"], ["b"]), "existing key: b"),
    (lambda ee: ee.Dictionary(D).rename(["a"], ["x", "y"]), "same length"),
    (lambda ee: ee.Dictionary(D).values(["z"]), "'z'"),
    (lambda ee: ee.Dictionary(D).toArray(), "Cannot convert String to Array"),
    (lambda ee: ee.Dictionary(ee.List(["a", 1]).add("b")), "even length"),
    (lambda ee: ee.Dictionary(ee.List([1, 1]).cat([])), "Cannot convert Number to String"),
    (lambda ee: ee.Dictionary.fromLists(["a"], []), "1 keys for 0 values"),
    (lambda ee: ee.Dictionary(D).set("a", ee.Feature(None).get("none")), "value"),
]
dictionaries = st.dictionaries(st.text("abc", min_size=1), st.integers(), max_size=6)


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_dictionaries_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


@given(dictionaries)
def test_keys_and_values_make_the_dictionary_again(dictionary):
    keys = registry.call("Dictionary.keys", {"dictionary": dictionary})
    values = registry.call("Dictionary.values", {"dictionary": dictionary})
    assert registry.call("Dictionary.fromLists", {"keys": keys, "values": values}) == dictionary


@given(dictionaries, dictionaries)
def test_without_overwriting_the_other_one_wins(first, second):
    one = registry.call("Dictionary.combine", {"first": first, "second": second, "overwrite": False})
    assert one == registry.call("Dictionary.combine", {"first": second, "second": first}) == {**second, **first}


@given(dictionaries, st.lists(st.text("abc", min_size=1)))
def test_what_is_selected_and_what_is_removed_is_everything(dictionary, names):
    arguments = {"dictionary": dictionary, "selectors": names, "ignoreMissing": True}
    chosen, left = registry.call("Dictionary.select", arguments), registry.call("Dictionary.remove", arguments)
    assert not chosen.keys() & left.keys()
    assert {**chosen, **left} == dictionary
