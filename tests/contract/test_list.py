"""Lists: places, parts, order, functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry

VALUES = [
    (lambda ee: ee.List([4, 5, 6]).get(-1), 6),
    (lambda ee: ee.List([4, "x"]).getString(1), "x"),
    (lambda ee: ee.List([4, "x"]).getNumber(0), 4),
    (lambda ee: ee.List([ee.Array([1, 2])]).getArray(0), [1, 2]),
    (lambda ee: ee.List([1, None]).add(2), [1, None, 2]),
    (lambda ee: ee.List([1]).add([2]), [1, [2]]),
    (lambda ee: ee.List([1]).cat([2, [3]]), [1, 2, [3]]),
    (lambda ee: ee.List([1, 2]).insert(0, "a"), ["a", 1, 2]),
    (lambda ee: ee.List([1, 2]).insert(-1, "a"), [1, "a", 2]),
    (lambda ee: ee.List([1, 2]).insert(2, "a"), [1, 2, "a"]),
    (lambda ee: ee.List([1, 2, 3]).set(-2, 9), [1, 9, 3]),
    (lambda ee: ee.List([1, 2, 3]).swap(0, -1), [3, 2, 1]),
    (lambda ee: ee.List([0, 1, 2, 3, 4]).slice(1, -1), [1, 2, 3]),
    (lambda ee: ee.List([0, 1, 2, 3, 4]).slice(-2), [3, 4]),
    (lambda ee: ee.List([0, 1, 2, 3, 4]).slice(0, 99, 2), [0, 2, 4]),
    (lambda ee: ee.List([0, 1, 2, 3, 4]).slice(3, 1), []),
    (lambda ee: ee.List([0, 1, 2, 3]).splice(1, 2, ["a"]), [0, "a", 3]),
    (lambda ee: ee.List([0, 1, 2, 3]).splice(-1, 0, ["a"]), [0, 1, 2, "a", 3]),
    (lambda ee: ee.List([0, 1, 2, 3]).splice(1, 3), [0]),
    (lambda ee: ee.List([[1, 2], [3]]).contains([3]), True),
    (lambda ee: ee.List([1, 0]).contains(True), False),
    (lambda ee: ee.List([1, 2, 3]).containsAll([3, 1]), True),
    (lambda ee: ee.List([1, 2, 3]).containsAll([3, 4]), False),
    (lambda ee: ee.List([]).containsAll([]), True),
    (lambda ee: ee.List([1, [2]]).equals([1, [2]]), True),
    (lambda ee: ee.List([1, 2]).equals([2, 1]), False),
    (lambda ee: ee.List([1, 2, 1, None]).frequency(1), 2),
    (lambda ee: ee.List([7, 8, 7]).indexOf(7), 0),
    (lambda ee: ee.List([7, 8, 7]).indexOf(9), -1),
    (lambda ee: ee.List([1, 2, 1, 2]).indexOfSublist([1, 2]), 0),
    (lambda ee: ee.List([1, 2, 1, 2]).lastIndexOfSubList([1, 2]), 2),
    (lambda ee: ee.List([1, 2]).indexOfSublist([2, 1]), -1),
    (lambda ee: ee.List([1, 2, 1]).remove(1), [2, 1]),
    (lambda ee: ee.List([1, 2]).remove(3), [1, 2]),
    (lambda ee: ee.List([1, 2, 1, 3]).removeAll([1, 9]), [2, 3]),
    (lambda ee: ee.List([1, 2, 1]).replace(1, 0), [0, 2, 1]),
    (lambda ee: ee.List([1, 2, 1]).replaceAll(1, 0), [0, 2, 0]),
    (lambda ee: ee.List([3, 1, 3, 1, 2]).distinct(), [3, 1, 2]),
    (lambda ee: ee.List([1, 2, 3]).zip(["a", "b"]), [[1, "a"], [2, "b"]]),
    (lambda ee: ee.List([[1, 2, 3], [4, 5]]).unzip(), [[1, 4], [2, 5]]),
    (lambda ee: ee.List([1, [2, [3, []]], "ab"]).flatten(), [1, 2, 3, "ab"]),
    (lambda ee: ee.List([1, "b", True]).join("-"), "1-b-true"),
    (lambda ee: ee.List([]).join(","), ""),
    (lambda ee: ee.List([]).size(), 0),
    (lambda ee: ee.List([1, 2]).reverse(), [2, 1]),
    (lambda ee: ee.List([1, 2, 3, 4]).rotate(1), [4, 1, 2, 3]),
    (lambda ee: ee.List([1, 2, 3, 4]).rotate(-6), [3, 4, 1, 2]),
    (lambda ee: ee.List([]).rotate(3), []),
    (lambda ee: ee.List(["b", "B", "a"]).sort(), ["B", "a", "b"]),
    (lambda ee: ee.List([10, 9.5, -1]).sort(), [-1, 9.5, 10]),
    (lambda ee: ee.List(["x", "y", "z"]).sort([2, 1, 2]), ["y", "x", "z"]),
    (lambda ee: ee.List([]).sort(), []),
    (lambda ee: ee.List.repeat([1], 3), [[1], [1], [1]]),
    (lambda ee: ee.List.repeat(1, 0), []),
    (lambda ee: ee.List.sequence(2, 9, 3), [2, 5, 8]),
    (lambda ee: ee.List.sequence(5, 1, -2), [5, 3, 1]),
    (lambda ee: ee.List.sequence(3, 1), []),
    (lambda ee: ee.List.sequence(1, None, 0.5, 3), [1, 1.5, 2]),
    (lambda ee: ee.List.sequence(0, 1, count=5), [0, 0.25, 0.5, 0.75, 1]),
    (lambda ee: ee.List.sequence(4, 9, count=1), [4]),
    (lambda ee: ee.List([1, 2, 3]).map(lambda n: ee.Number(n).multiply(n)), [1, 4, 9]),
    (lambda ee: ee.List([1, 2, 3]).map(lambda n: ee.Algorithms.If(ee.Number(n).eq(2), None, n), True), [1, 3]),
    (lambda ee: ee.List([1, 2, 3]).iterate(lambda n, sum: ee.Number(n).add(sum), 10), 16),
    (lambda ee: ee.List([]).iterate(lambda n, sum: ee.Number(n).add(sum), 10), 10),
    (lambda ee: ee.List([5, None, 7, "x"]).filter(ee.Filter.gt("item", 5)), [7]),
    (lambda ee: ee.List([1]).shuffle(), [1]),
]
REFUSED = [
    (lambda ee: ee.List([1]).add(None), "'element' is required and may not be null"),
    (lambda ee: ee.List([1]).iterate(lambda n, sum: ee.Number(n).add(sum), None), "'first' is required"),
    (lambda ee: ee.List([1, 2]).get(2), "List index must be between 0 and 1, or -1 and -2"),
    (lambda ee: ee.List([]).get(0), "List.get"),
    (lambda ee: ee.List([1]).getString(0), "Cannot convert Number to String"),
    (lambda ee: ee.List(["1"]).getNumber(0), "Cannot convert String to Number"),
    (lambda ee: ee.List([[1]]).getArray(0), "Cannot convert List to Array"),
    (lambda ee: ee.List([1]).insert(3, 1), "List.insert"),
    (lambda ee: ee.List([1]).set(1, 1), "List.set"),
    (lambda ee: ee.List([1, 2]).splice(1, 2), "List.splice"),
    (lambda ee: ee.List([1, 2]).slice(0, 2, -1), "step"),
    (lambda ee: ee.List([1, "a"]).sort(), "List.sort"),
    (lambda ee: ee.List([1, 2]).sort([1]), "same length"),
    (lambda ee: ee.List([1, 2]).shuffle(7), "List.shuffle"),
    (lambda ee: ee.List.sequence(0), "At least one"),
    (lambda ee: ee.List.sequence(0, 5, 0), "step"),
    (lambda ee: ee.List.sequence(0, 0.3, 0.1), "rounding"),
    (lambda ee: ee.List.sequence(0, 1e9), "too many"),
    (lambda ee: ee.List.repeat(1, -1), "count"),
    (lambda ee: ee.List([[1]]).join(), "List.join"),
    (lambda ee: ee.List([1]).map(lambda n: ee.Algorithms.If(0, n, None)), "null"),
]
small = st.lists(st.integers(0, 4), max_size=8)
places = st.integers(-9, 9)


def run(name, **arguments):
    return registry.call(f"List.{name}", arguments)


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_lists_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


@given(small, places, st.none() | places, st.none() | st.integers(1, 4))
def test_slices_are_those_of_python(items, start, end, step):
    assert run("slice", list=items, start=start, end=end, step=step) == items[start:end:step]


@given(small, places, st.integers(0, 9), small)
def test_a_splice_replaces_a_slice_or_is_refused(items, start, count, other):
    at = start + len(items) if start < 0 else start
    try:
        expected = list(items)
        expected[at : at + count] = other
        assert run("splice", list=items, start=start, count=count, other=other) == expected
    except EmulatorError:
        assert not (0 <= at <= len(items) and at + count <= len(items))


@given(small, st.integers(-20, 20))
def test_rotating_back_gives_the_list(items, distance):
    assert run("rotate", list=run("rotate", list=items, distance=distance), distance=-distance) == items


@given(small.filter(bool))
def test_unzip_inverts_zip(items):
    assert run("unzip", list=run("zip", list=items, other=items)) == [items, items]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers())))
def test_sorting_is_stable(pairs):
    found = run("sort", list=[second for _, second in pairs], keys=[first for first, _ in pairs])
    assert found == [second for _, second in sorted(pairs, key=lambda pair: pair[0])]


@given(small, small)
def test_removing_leaves_what_the_other_list_has_not(items, other):
    assert run("removeAll", list=items, other=other) == [each for each in items if each not in other]
    assert all(run("frequency", list=run("distinct", list=items), element=each) == 1 for each in items)


@given(small, small.filter(bool))
def test_sublists_are_found_first_and_last(items, target):
    places = [at for at in range(len(items)) if items[at : at + len(target)] == target]
    assert run("indexOfSublist", list=items, target=target) == (places[0] if places else -1)
    assert run("lastIndexOfSubList", list=items, target=target) == (places[-1] if places else -1)
