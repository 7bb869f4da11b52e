"""Texts: positions, regular expressions, JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry

VALUES = [
    (lambda ee: ee.String("Elbe").cat("-Oder"), "Elbe-Oder"),
    (lambda ee: ee.String("b").compareTo("a"), 1),
    (lambda ee: ee.String("B").compareTo("a"), -1),
    (lambda ee: ee.String("ab").compareTo("ab"), 0),
    (lambda ee: ee.String("ab").equals("ab"), True),
    (lambda ee: ee.String("1").equals(1), False),
    (lambda ee: ee.String("grüße").length(), 5),
    (lambda ee: ee.String("a😀b").length(), 4),  # UTF-16 units
    (lambda ee: ee.String("a😀b").slice(3), "b"),
    (lambda ee: ee.String("a😀b").index("b"), 3),
    (lambda ee: ee.String("harvest").slice(2, 5), "rve"),
    (lambda ee: ee.String("harvest").slice(-3), "est"),
    (lambda ee: ee.String("harvest").slice(0, -3), "harv"),
    (lambda ee: ee.String("harvest").slice(5, 2), ""),
    (lambda ee: ee.String("harvest").slice(5, 99), "st"),
    (lambda ee: ee.String("abcabc").index("c"), 2),
    (lambda ee: ee.String("abcabc").rindex("c"), 5),
    (lambda ee: ee.String("abcabc").index("x"), -1),
    (lambda ee: ee.String("abc").rindex(""), 3),
    (lambda ee: ee.String(" \t x y\n").trim(), "x y"),
    (lambda ee: ee.String("aÄ1").toUpperCase(), "AÄ1"),
    (lambda ee: ee.String("AÄ1").toLowerCase(), "aä1"),
    (lambda ee: ee.String("B4_2020").match("B([0-9]+)_([0-9]{4})"), ["B4_2020", "4", "2020"]),
    (lambda ee: ee.String("B4_2020").match("[0-9]+", "g"), ["4", "2020"]),
    (lambda ee: ee.String("xyz").match("[0-9]"), []),
    (lambda ee: ee.String("xyZ").match("XYz", "i"), ["xyZ"]),
    (lambda ee: ee.String("a1b22").replace("[0-9]+", "#"), "a#b22"),
    (lambda ee: ee.String("a1b22").replace("[0-9]+", "#", "g"), "a#b#"),
    (lambda ee: ee.String("2020-06").replace("(\\d+)-(\\d+)", "$2/$1"), "06/2020"),
    (lambda ee: ee.String("cost").replace("cost", "\\$5"), "$5"),
    (lambda ee: ee.String("abc").replace("^", "x"), "xabc"),
    (lambda ee: ee.String("end\n").replace("d$", "x"), "end\n"),  # $ is the very end
    (lambda ee: ee.String("a,b,,c,,").split(","), ["a", "b", "", "c"]),
    (lambda ee: ee.String(",a").split(","), ["", "a"]),
    (lambda ee: ee.String("a1B2").split("[a-z]", "i"), ["", "1", "2"]),
    (lambda ee: ee.String("one  two").split("[[:space:]]+"), ["one", "two"]),
    (lambda ee: ee.String("a-b_c").split("(-|_)"), ["a", "b", "c"]),
    (lambda ee: ee.String("abc").split(""), ["a", "b", "c"]),
    (lambda ee: ee.String("abc").split("x"), ["abc"]),
    (lambda ee: ee.String.encodeJSON({"b": [1, None, True], "a": "ü"}), '{"a":"ü","b":[1,null,true]}'),
    (lambda ee: ee.String('{"n": [1.0, 2.5, null]}').decodeJSON(), {"n": [1, 2.5, None]}),
    (lambda ee: ee.String(ee.Number(7).add(1)), "8"),
]
REFUSED = [
    (lambda ee: ee.String("a").match("(?=b)"), "not supported"),
    (lambda ee: ee.String("aa").match("(a)\\1"), "not supported"),
    (lambda ee: ee.String("a").match("["), "regular expression"),
    (lambda ee: ee.String("a").match("a", "x"), "flag 'x'"),
    (lambda ee: ee.String("a").split("a", "g"), "flag 'g'"),
    (lambda ee: ee.String("ab").replace("(a)", "$3"), "No group 3"),
    (lambda ee: ee.String("abc").replace("x*", "-", "g"), "not emulated"),
    (lambda ee: ee.String("b").match("(a)|b"), "not emulated"),
    (lambda ee: ee.String("{").decodeJSON(), "decodeJSON"),
    (lambda ee: ee.String("[NaN]").decodeJSON(), "NaN"),
    (lambda ee: ee.String.encodeJSON(ee.Date(0)), "Date"),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_texts_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


@given(text=st.text(), start=st.integers(-9, 9), end=st.none() | st.integers(-9, 9))
def test_slices_are_those_of_utf16_units(text, start, end):
    units = text.encode("utf-16-be")
    pairs = [units[at : at + 2] for at in range(0, len(units), 2)]
    found = registry.call("String.slice", {"string": text, "start": start, "end": end})
    assert found.encode("utf-16-be", "surrogatepass") == b"".join(pairs[start:end])


@given(st.lists(st.text("abc"), min_size=1).filter(lambda parts: parts[-1] and ",".join(parts)))
def test_splitting_inverts_joining(parts):
    text = registry.call("List.join", {"list": parts, "separator": ","})
    assert registry.call("String.split", {"string": text, "regex": ","}) == parts


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.lists(plain))
def test_decoding_inverts_encoding(value):
    text = registry.call("String.encodeJSON", {"object": value})
    assert registry.call("String.decodeJSON", {"string": text}) == value == json.loads(text)
