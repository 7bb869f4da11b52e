"""Numbers."""

import pytest

VALUES = [
    (lambda ee: ee.Number(20).add(22), 42),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_numbers_are_computed_as_the_service_does(evaluate, expression, expected):
    assert evaluate(expression) == expected


def test_an_unknown_function_is_refused_by_name(refusal):
    call = {"functionInvocationValue": {"functionName": "Number.nosuch", "arguments": {}}}
    assert "Number.nosuch" in refusal({"result": "0", "values": {"0": call}})
