"""Functions of one or two numbers, under all their names: as numbers, as arrays and as pixels they give what mathematics gives."""

import math

import pytest
import scipy.special

from airflow_ee.emulator.api.discovery import signatures

from .conftest import computed


def lanczos_of_gamma(x):
    """The series by which Lanczos's approximation with g = 607 / 128 has the gamma function."""
    shifted = x + 607 / 128 + 0.5
    return math.gamma(x) * x / math.sqrt(2 * math.pi) / shifted ** (x + 0.5) * math.exp(shifted)


ARGUMENTS = {
    each["name"].removeprefix("algorithms/"): [argument["argumentName"] for argument in each.get("arguments", [])]
    for each in signatures()
}
WHOLE = {
    "toUint8": (0, 255), "toByte": (0, 255), "uint8": (0, 255), "byte": (0, 255),
    "toInt8": (-128, 127), "int8": (-128, 127),
    "toInt16": (-32768, 32767), "toShort": (-32768, 32767), "int16": (-32768, 32767), "short": (-32768, 32767),
    "toUint16": (0, 65535), "uint16": (0, 65535),
    "toInt32": (-(2**31), 2**31 - 1), "toInt": (-(2**31), 2**31 - 1), "int32": (-(2**31), 2**31 - 1), "int": (-(2**31), 2**31 - 1),
    "toUint32": (0, 2**32 - 1), "uint32": (0, 2**32 - 1),
}  # fmt: skip
"""Casts, and where they stop."""
ROUGH = {"digamma": 1e-8}
"""The service's own approximations differ from the true values in the ninth digit."""
LONG = ("toInt64", "toLong", "int64", "long")
REAL = {
    "sin": (0.5, math.sin(0.5)), "cos": (0.5, math.cos(0.5)), "tan": (0.5, math.tan(0.5)),
    "asin": (0.5, math.asin(0.5)), "acos": (0.5, math.acos(0.5)), "atan": (-2.5, math.atan(-2.5)),
    "sinh": (1.5, math.sinh(1.5)), "cosh": (1.5, math.cosh(1.5)), "tanh": (-0.75, math.tanh(-0.75)),
    "exp": (-1.25, math.exp(-1.25)), "log": (6.5, math.log(6.5)), "log10": (250.0, math.log10(250.0)),
    "sqrt": (12.25, 3.5), "cbrt": (-3.375, -1.5), "abs": (-2.25, 2.25), "signum": (-0.125, -1.0),
    "erf": (0.7, math.erf(0.7)), "erfc": (0.7, math.erfc(0.7)),
    "erfInv": (0.3, scipy.special.erfinv(0.3)), "erfcInv": (1.3, scipy.special.erfcinv(1.3)),
    "gamma": (4.5, math.gamma(4.5)), "digamma": (2.25, scipy.special.digamma(2.25)),
    "trigamma": (2.25, scipy.special.polygamma(1, 2.25)), "lanczos": (0.4, lanczos_of_gamma(0.4)),
    "toDouble": (0.1, 0.1), "double": (0.1, 0.1),
    "toFloat": (0.1, 0.10000000149011612), "float": (0.1, 0.10000000149011612),
}  # fmt: skip
BITS = {"bitCount": (13, 3), "bitwiseNot": (13, -14), "bitwise_not": (-1, 0), "not": (0, 1)}
PAIRS = {
    "add": (7.5, -2, 5.5), "subtract": (7.5, -2, 9.5), "multiply": (7.5, -2, -15.0), "divide": (7.5, -2, -3.75),
    "mod": (7.5, -2, 1.5), "pow": (7.5, -2, 7.5**-2), "hypot": (3.5, 12, 12.5), "max": (-3, 2.5, 2.5), "min": (-3, 2.5, -3.0),
    "gt": (2, 2, 0), "gte": (2, 2, 1), "lt": (2, 2, 0), "lte": (2, 2, 1), "eq": (2, 2, 1), "neq": (2, 2, 0),
    "and": (3, 0, 0), "or": (3, 0, 1), "first": (3, 9, 3), "firstNonZero": (0, 9, 9), "first_nonzero": (0, 9, 9),
    "bitwiseAnd": (13, 6, 4), "bitwise_and": (13, 6, 4), "bitwiseOr": (12, 6, 14), "bitwise_or": (12, 6, 14),
    "bitwiseXor": (13, 6, 11), "bitwise_xor": (13, 6, 11), "leftShift": (3, 4, 48), "left_shift": (3, 4, 48),
    "rightShift": (-9, 1, -5), "right_shift": (-9, 1, -5), # Its page names them x and a, in this order.
    "gammainc": (2.5, 1.25, scipy.special.gammainc(1.25, 2.5)),
}  # fmt: skip
FAMILIES = ("Number", "Array", "Image")


def call(name, **arguments):
    nodes = {key: value if isinstance(value, dict) else {"constantValue": value} for key, value in arguments.items()}
    return {"functionInvocationValue": {"functionName": name, "arguments": nodes}}


def value(family, number):
    if family == "Number":
        return {"constantValue": number}
    if family == "Array":
        return call("Array", values={"constantValue": [number]})
    return call("Image.constant", value=number)


def result(session, family, function, *numbers):
    """What a function of a family makes of numbers: at the first place of an array, at a pixel of an image."""
    name = f"{family}.{function}"
    made = call(name, **dict(zip(ARGUMENTS[name], (value(family, number) for number in numbers), strict=False)))
    if family == "Image":
        point = call("GeometryConstructors.Point", coordinates=[11, 46])
        first = call("Reducer.first")
        found = call("Image.reduceRegion", image=made, reducer=first, geometry=point, scale=1)
        (only,) = computed({"result": "0", "values": {"0": found}}, session).values()
        return only
    found = computed({"result": "0", "values": {"0": made}}, session)
    return found[0] if family == "Array" else found


def known(functions):
    return [
        (family, function)
        for family in FAMILIES
        for function in functions
        if f"{family}.{function}" in ARGUMENTS and f"{family}.{function}" != "Image.first"
    ]


@pytest.mark.parametrize(("family", "function"), known(REAL))
def test_of_one_real_number(new_session, family, function):
    given, expected = REAL[function]
    found = result(new_session(), family, function, given)
    assert found == pytest.approx(expected, rel=1e-6 if family == "Image" else ROUGH.get(function, 1e-9))


@pytest.mark.parametrize(("family", "function"), known(BITS))
def test_of_one_whole_number(new_session, family, function):
    given, expected = BITS[function]
    assert result(new_session(), family, function, given) == expected


@pytest.mark.parametrize(("family", "function"), known(PAIRS))
def test_of_two_numbers(new_session, family, function):
    *given, expected = PAIRS[function]
    assert result(new_session(), family, function, *given) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("family", "function"), known(WHOLE))
def test_casts_to_whole_numbers_stop_at_the_ends(new_session, family, function):
    low, high = WHOLE[function]
    assert result(new_session(), family, function, -1e12) == low
    assert result(new_session(), family, function, 1e12) == high
    # Arrays are rounded, as their pages say.
    assert result(new_session(), family, function, 6.75) == (7 if family == "Array" else 6)


@pytest.mark.parametrize(("family", "function"), known(LONG))
def test_casts_to_long_keep_large_numbers(new_session, family, function):
    assert result(new_session(), family, function, -(2.0**40) - 0.25) == -(2**40)
