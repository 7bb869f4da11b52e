"""Small requests for huge values: each is refused in the service's words, in seconds and without the memory."""

import threading

import pytest

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.compute.service import ComputeOptions
from airflow_ee.emulator.http.journal import LENGTH, Journal, RecordedRequest

from .conftest import Rest, call, graph, message

MEMORY, VALUE = "User memory limit exceeded.", "Computed value is too large."
MILLION = call("List.repeat", value=1, count=1_000_000)
MILLIONS = call("List.repeat", value=MILLION, count=1_000_000)


def constant(value):
    return {"constantValue": value}


def reference(name):
    return {"valueReference": name}


def doubled(times, make):
    """A graph in which each value has the one before twice."""
    values = {"0": constant([1])}
    for number in range(1, times + 1):
        values[str(number)] = make(reference(str(number - 1)))
    return {"result": str(times), "values": values}


def repeated(body, start, times=60):
    """``List.iterate`` with a lambda of the item and what came before."""
    function = {"functionDefinitionValue": {"argumentNames": ["i", "p"], "body": "body"}}
    items = call("List.repeat", value=0, count=times)
    made = call("List.iterate", list=items)
    arguments = made["functionInvocationValue"]["arguments"]
    arguments |= {"function": function, "first": constant(start)}
    return {"result": "made", "values": {"made": made, "body": body}}


def arguments(name, **nodes):
    return {"functionInvocationValue": {"functionName": name, "arguments": nodes}}


P = {"argumentReference": "p"}
NUMBERS = call("Image.toArray", image=call("Image.constant", value=[1, 2]))
ZEROS = call("Image.constant", value=[0])


def pixel(image):
    """The first number of each array at a lone pixel."""
    point = call("GeometryConstructors.Point", coordinates=[0, 0])
    first = arguments("Image.arrayGet", image=image, position=ZEROS)
    return arguments(
        "Image.reduceRegion", image=first, reducer=call("Reducer.first"), geometry=point, scale=constant(1)
    )


def joined_arrays():
    """An array joined to itself forty times."""
    made = {"0": NUMBERS}
    for number in range(1, 41):
        half = reference(str(number - 1))
        made[str(number)] = arguments("Image.arrayCat", image1=half, image2=half, axis=constant(0))
    return {"result": "pixel", "values": {**made, "pixel": pixel(reference("40"))}}


BOMBS = {
    "arrays at pixels put together": (joined_arrays(), MEMORY),
    "arrays at pixels repeated": (
        graph(pixel(call("Image.arrayRepeat", input=NUMBERS, axis=0, copies=call("Image.constant", value=10**9)))), MEMORY),
    "arrays at pixels made longer": (graph(pixel(call("Image.arrayPad", image=NUMBERS, lengths=[10**12]))), MEMORY),
    "shared lists": (graph(MILLIONS), VALUE),
    "shared lists, flat": (graph(call("List.flatten", list=MILLIONS)), MEMORY),
    "long texts": (graph(call("List.join", list=call("List.repeat", value="x" * 10_000, count=1_000_000))), MEMORY),
    "arrays of arrays": (doubled(40, lambda node: {"arrayValue": {"values": [node, node]}}), VALUE),
    "lists put together": (doubled(40, lambda node: arguments("List.cat", list=node, other=node)), MEMORY),
    "texts put together": (repeated(arguments("String.cat", string1=P, string2=P), "xxxxxxxx"), MEMORY),
    "growing replacement": (
        repeated(arguments("String.replace", input=P, regex=constant("x"), replacement=constant("x" * 100),
                           flags=constant("g")), "x", 20), MEMORY),
}  # fmt: skip


@pytest.fixture(scope="module")
def rest():
    options = ComputeOptions(processes=0, timeout_seconds=1)
    with Emulator(requests_per_second=None, compute=options) as running:
        yield Rest(running.url)


@pytest.mark.parametrize("name", BOMBS)
def test_values_that_grow_without_end_are_refused(rest, name):
    expression, refusal = BOMBS[name]
    answer = rest.post(f"{rest.project}/value:compute", {"expression": expression})
    assert message(answer) in (refusal, "Computation timed out.")


def test_many_large_values_held_at_once_are_refused(rest, monkeypatch):
    monkeypatch.setattr("airflow_ee.emulator.memory.MAX_GROWTH_BYTES", 2**26)
    function = {"functionDefinitionValue": {"argumentNames": ["i"], "body": "body"}}
    numbers = arguments("List.repeat", value={"argumentReference": "i"}, count=constant(1_000_000))
    made = arguments("List.map", list=constant([*range(200)]), baseAlgorithm=function)
    expression = {"result": "made", "values": {"made": made, "body": numbers}}
    assert message(rest.post(f"{rest.project}/value:compute", {"expression": expression})) == MEMORY


def test_lambdas_that_double_their_work_run_into_the_time_limit(rest):
    values = {"f0": {"functionDefinitionValue": {"argumentNames": ["x"], "body": "b0"}}, "b0": P | {}}
    values["b0"] = {"argumentReference": "x"}
    for number in range(1, 35):
        inner = {"functionInvocationValue": {
            "functionReference": f"f{number - 1}", "arguments": {"x": {"argumentReference": "x"}}}}  # fmt: skip
        values[f"b{number}"] = {"arrayValue": {"values": [inner, inner]}}
        values[f"f{number}"] = {"functionDefinitionValue": {"argumentNames": ["x"], "body": f"b{number}"}}
    values["r"] = {"functionInvocationValue": {"functionReference": "f34", "arguments": {"x": constant(1)}}}
    answer = rest.post(f"{rest.project}/value:compute", {"expression": {"result": "r", "values": values}})
    assert message(answer) == "Computation timed out."


@pytest.mark.parametrize("name", ["List.containsAll", "List.removeAll"])
def test_searches_for_each_of_many_items_run_into_the_time_limit(rest, name):
    items = call("List.sequence", start=1, end=1_000_000)
    expression = graph(call(name, list=items, other=call("List.reverse", list=items)))
    assert message(rest.post(f"{rest.project}/value:compute", {"expression": expression})) == "Computation timed out."


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("a" * 40 + "!", "(a+)+$"),
        ("a" * 40, "(?:a|aa)*b"),
        ("a" * 5000, "(.*)(.*)(.*)(.*)(.*)x"),
        ("a" * 60, "(a|aa){40}b"),
    ],
)
def test_patterns_that_need_exponential_time_are_refused_by_name(rest, text, pattern):
    for name in ("String.match", "String.split"):
        key = "input" if name == "String.match" else "string"
        answer = rest.post(
            f"{rest.project}/value:compute", {"expression": graph(call(name, **{key: text, "regex": pattern}))}
        )
        assert "The regular expression" in message(answer)
        assert "is not emulated" in message(answer)


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("20230601T105629_20230601T105715_T31UDQ", r"(\d+)T(\d+)_(\d+)T(\d+)_T(\d+)([A-Z]+)", 7),
        ("LC08_L2SP_197024_20230601", "(.*)_(.*)_(.*)_(.*)", 5),
        ("B2,B3", "((B[0-9]),?)+", 3),
    ],
)
def test_ordinary_patterns_are_matched(rest, text, pattern, found):
    assert len(rest.value(graph(call("String.match", input=text, regex=pattern)))) == found


def test_large_answers_hold_up_nobody(rest):
    large = threading.Thread(
        target=lambda: rest.post(
            f"{rest.project}/value:compute", {"expression": graph(call("List.slice", list=MILLION, start=0))}
        )
    )
    large.start()
    slowest = 0.0
    while large.is_alive():
        slowest = max(slowest, Rest(rest.url).get("projects/p/assets/x").elapsed.total_seconds())
    large.join()
    assert slowest < 1.5


def recorded(number, size):
    return RecordedRequest("value:compute", "POST", f"/{number}", {}, {}, size, b'"' + b"x" * size + b'"')


def test_the_journal_forgets_bodies_before_names():
    journal = Journal(kept_bytes=100_000)
    for number in range(300):
        journal.add(recorded(number, 5_000))
    assert len(journal.calls) == 300
    assert sum(request.weight for request in journal.requests) <= 100_000
    assert journal.requests[-1].path == "/299"
    assert journal.requests[-1].body == "x" * 5_000
    for number in range(LENGTH):
        journal.add(recorded(number, 1))
    assert len(journal.calls) == LENGTH


def test_filters_that_share_their_parts_run_into_the_time_limit(rest):
    values = {"0": call("Filter.equals", leftField="a", rightValue=1)}
    for number in range(1, 41):
        values[str(number)] = arguments(
            "Filter.and", filters={"arrayValue": {"values": [reference(str(number - 1))] * 2}}
        )
    feature = call("Feature", geometry=None, metadata={"a": 1})
    table = arguments("Collection", features={"arrayValue": {"values": [feature]}})
    values["r"] = arguments(
        "Collection.size", collection=arguments("Collection.filter", collection=table, filter=reference("40"))
    )
    answer = rest.post(f"{rest.project}/value:compute", {"expression": {"result": "r", "values": values}})
    assert message(answer) == "Computation timed out."
