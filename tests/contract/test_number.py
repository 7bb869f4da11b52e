"""Numbers: arithmetic, functions, casts, text and formulas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry

special = pytest.importorskip("scipy.special")

VALUES = [
    (lambda ee: ee.Number(20).add(22), 42),
    (lambda ee: ee.Number(0.5).add(2), 2.5),
    (lambda ee: ee.Number(7).subtract(9), -2),
    (lambda ee: ee.Number(6).multiply(-7), -42),
    (lambda ee: ee.Number(7).divide(2), 3.5),
    (lambda ee: ee.Number(1).divide(3), 1 / 3),
    (lambda ee: ee.Number(6).divide(3), 2),
    (lambda ee: ee.Number(9).divide(0), 0),
    (lambda ee: ee.Number(-9.5).divide(0), 0),
    (lambda ee: ee.Number(17).mod(5), 2),
    (lambda ee: ee.Number(-17).mod(5), -2),
    (lambda ee: ee.Number(17).mod(-5), 2),
    (lambda ee: ee.Number(7.5).mod(2), 1.5),
    (lambda ee: ee.Number(2).pow(10), 1024),
    (lambda ee: ee.Number(10).pow(-2), 0.01),
    (lambda ee: ee.Number(0).pow(-1), "Infinity"),
    (lambda ee: ee.Number(-8).pow(0.5), "NaN"),
    (lambda ee: ee.Number(3).max(4.5), 4.5),
    (lambda ee: ee.Number(3).min(4.5), 3),
    (lambda ee: ee.Number(3).first(4), 3),
    (lambda ee: ee.Number(0).firstNonZero(8), 8),
    (lambda ee: ee.Number(-1).firstNonZero(8), -1),
    (lambda ee: ee.Number(0).atan2(2), math.pi / 2),  # x is on the left
    (lambda ee: ee.Number(-2).atan2(0), math.pi),
    (lambda ee: ee.Number(5).hypot(12), 13),
    (lambda ee: ee.Number(3).eq(3.0), 1),
    (lambda ee: ee.Number(3).neq(3), 0),
    (lambda ee: ee.Number(3).lt(3.5), 1),
    (lambda ee: ee.Number(3).lte(3), 1),
    (lambda ee: ee.Number(3).gt(3), 0),
    (lambda ee: ee.Number(3).gte(3), 1),
    (lambda ee: ee.Number(0.1).And(-2), 1),
    (lambda ee: ee.Number(0).Or(0), 0),
    (lambda ee: ee.Number(0.5).Not(), 0),
    (lambda ee: ee.Number(0).Not(), 1),
    (lambda ee: ee.Number(12).bitwiseAnd(10), 8),
    (lambda ee: ee.Number(12).bitwiseOr(10), 14),
    (lambda ee: ee.Number(12).bitwiseXor(10), 6),
    (lambda ee: ee.Number(12).bitwiseNot(), -13),
    (lambda ee: ee.Number(7).bitCount(), 3),
    (lambda ee: ee.Number(-4).bitCount(), 62),
    (lambda ee: ee.Number(3).leftShift(4), 48),
    (lambda ee: ee.Number(-16).rightShift(2), -4),
    (lambda ee: ee.Number(-2.5).abs(), 2.5),
    (lambda ee: ee.Number(-2).signum(), -1),
    (lambda ee: ee.Number(2.5).round(), 3),
    (lambda ee: ee.Number(-2.5).round(), -2),
    (lambda ee: ee.Number(-2.5).floor(), -3),
    (lambda ee: ee.Number(-2.5).ceil(), -2),
    (lambda ee: ee.Number(-8).cbrt(), -2),
    (lambda ee: ee.Number(-1).sqrt(), "NaN"),
    (lambda ee: ee.Number(0).log(), "-Infinity"),
    (lambda ee: ee.Number(1000).log10(), pytest.approx(3, rel=1e-15)),
    (lambda ee: ee.Number(2).acos(), "NaN"),
    (lambda ee: ee.Number(6).gamma(), 120),
    (lambda ee: ee.Number(300).gamma(), "Infinity"),
    (lambda ee: ee.Number(-1).gamma(), "NaN"),
    (lambda ee: ee.Number(-2).digamma(), "-Infinity"),
    (lambda ee: ee.Number(-3).trigamma(), "Infinity"),
    (lambda ee: ee.Number(-1).erfInv(), "-Infinity"),
    (lambda ee: ee.Number(0).erfcInv(), "Infinity"),
    (lambda ee: ee.Number(2).erfInv(), "NaN"),
    (lambda ee: ee.Number(5).gammainc(-1), "NaN"),
    (lambda ee: ee.Number(3).clamp(5, 9), 5),
    (lambda ee: ee.Number(12.5).clamp(5, 9), 9),
    (lambda ee: ee.Number(30).unitScale(20, 40), 0.5),
    (lambda ee: ee.Number(50).unitScale(20, 40), 1.5),
    (lambda ee: ee.Number(30).unitScale(20, 20), 0),
    (lambda ee: ee.Number(0.1).float(), 0.10000000149011612),
    (lambda ee: ee.Number(0.1).toDouble(), 0.1),
]
CASTS = [
    ("int8", 127.9, 127), ("toInt8", 128, 127), ("int8", -129, -128), ("uint8", -1, 0), ("byte", 255.9, 255),
    ("toByte", 256, 255), ("int16", -40000, -32768), ("short", 1.99, 1), ("uint16", 70000, 65535),
    ("int32", 3e9, 2147483647), ("int", -1.99, -1), ("toInt", -3e9, -2147483648), ("uint32", 5e9, 4294967295),
    ("long", 1.5, 1), ("toInt64", -2.5, -2), ("int8", math.inf, 127),
]  # fmt: skip
TEXTS = [
    (7, "%s", "7"), (7.25, "%s", "7.25"), (7, "%04d", "0007"), (-7, "%04d", "-007"), (2.5, "%.0f", "3"), (0.125, "%.2f", "0.13"),
    (1234567, "%,d", "1,234,567"), (1234567.891, "%,.1f", "1,234,567.9"), (42, "%+d", "+42"), (42, "%-6d|", "42    |"),
    (42, "%6d|", "    42|"), (-42, "%(d", "(42)"), (255, "%x", "ff"), (255, "%X", "FF"), (8, "%o", "10"), (255, "%#x", "0xff"),
    (12345.678, "%.2e", "1.23e+04"), (0.00012345, "%.3E", "1.235E-04"), (123.456, "%g", "123.456"), (0.00001, "%g", "1.00000e-05"),
    (3, "n=%d!", "n=3!"), (99.96, "%.1f", "100.0"), (0, "%e", "0.000000e+00"),
]  # fmt: skip
COMPUTED_TEXTS = [(2.0, "2.0"), (1e7, "1.0E7"), (1.5e-5, "1.5E-5"), (123456.75, "123456.75"), (-0.001, "-0.001")]
FORMULAS = [
    ("a + b * 2", 13), ("(a + b) * 2", 16), ("a ** 2 ** 1", 9), ("10 % 4 - 1", 1), ("a / 0", 0),
    ("a > b ? 100 : 200", 200), ("a == 3 && !(b == 3)", 1), ("a == 4 || b == 4", 0), ("deep.er.x - a", 4), ("max(a, b)", 5),
    ("hypot(3, 4)", 5), ("clamp(a, 4, 9)", 4), ("Math.PI * 0", 0), ("a & 1", 1),
]  # fmt: skip
REFUSED = [
    (lambda ee: ee.Number(5).mod(0), "mod"),
    (lambda ee: ee.Number(2.5).bitwiseAnd(1), "integer"),
    (lambda ee: ee.Number(1).leftShift(64), "Shift"),
    (lambda ee: ee.Number(2**52).multiply(2**52), "64 bits"),
    (lambda ee: ee.Number(3).clamp(9, 5), "min"),
    (lambda ee: ee.Number(2.5).format("%d"), "Number.format"),
    (lambda ee: ee.Number(2).format("%d%d"), "Invalid format"),
    (lambda ee: ee.Number(2).format("%q"), "Invalid format"),
    (lambda ee: ee.Number.parse("12x"), "12x"),
    (lambda ee: ee.Number.parse("1.5", 16), "1.5"),
    (lambda ee: ee.Number.parse("9", 8), "9"),
    (lambda ee: ee.Number.parse("1", 40), "Radix"),
    (lambda ee: ee.Number.expression("a + 1", {}), "'a'"),
    (lambda ee: ee.Number.expression("d.x", {"d": {}}), "'x'"),
    (lambda ee: ee.Number.expression("nosuch(1)", {}), "Number.nosuch is not emulated"),
    (lambda ee: ee.Number(ee.String("1").cat("")).add(1), "Cannot convert String to Number"),
]
PARSED = [
    ("12", 10, 12),
    ("-0012", 10, -12),
    ("+3.5e2", 10, 350),
    (".5", 10, 0.5),
    ("ff", 16, 255),
    ("-101", 2, -5),
    ("z", 36, 35),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_numbers_are_computed(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("name", "value", "expected"), CASTS)
def test_casts_cut_fractions_off_and_stop_at_the_range(evaluate, name, value, expected):
    assert (
        evaluate(
            lambda ee: getattr(ee.Number(1e300).multiply(1e300) if value == math.inf else ee.Number(value), name)()
        )
        == expected
    )


@pytest.mark.parametrize(("value", "pattern", "expected"), TEXTS)
def test_numbers_are_formatted_as_by_java(evaluate, value, pattern, expected):
    assert evaluate(lambda ee: ee.Number(value).format(pattern)) == expected


@pytest.mark.parametrize(("value", "expected"), COMPUTED_TEXTS)
def test_computed_doubles_have_the_text_of_java(evaluate, value, expected):
    assert evaluate(lambda ee: ee.Number(value).divide(1).format()) == expected


@pytest.mark.parametrize(("formula", "expected"), FORMULAS)
def test_formulas_are_computed(evaluate, formula, expected):
    variables = {"a": 3, "b": 5, "deep": {"er": {"x": 7}}}
    assert evaluate(lambda ee: ee.Number.expression(formula, variables)) == expected


@pytest.mark.parametrize(("text", "radix", "expected"), PARSED)
def test_texts_are_parsed(evaluate, text, radix, expected):
    assert evaluate(lambda ee: ee.Number.parse(text, radix)) == expected


def test_numbers_are_parsed_as_their_own_text(evaluate):
    assert evaluate(lambda ee: ee.Number.parse(ee.Feature(None, {"n": 1000}).get("n"))) == 1000


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_or_unknown_is_refused(refusal, expression, words):
    assert words in refusal(expression)


def test_an_unknown_function_is_refused_by_name(refusal):
    call = {"functionInvocationValue": {"functionName": "Number.nosuch", "arguments": {}}}
    assert "Number.nosuch" in refusal({"result": "0", "values": {"0": call}})


@pytest.mark.parametrize(
    ("name", "true", "points"),
    [
        ("gamma", special.gamma, (0.001, 0.5, 3.3, 100)),
        ("digamma", special.digamma, (0.001, 0.5, 3.3, 100, -1.5)),
        ("trigamma", lambda x: special.polygamma(1, x), (0.001, 0.5, 3.3, 100)),
        ("erf", special.erf, (-3, -0.1, 0, 0.2, 2)),
        ("erfc", special.erfc, (-3, -0.1, 0, 0.2, 2, 10)),
        ("erfInv", special.erfinv, (-0.999999, -0.5, 0, 1e-9, 0.3, 0.9)),
        ("erfcInv", special.erfcinv, (0.0001, 0.7, 1, 1.9)),
    ],
)
def test_special_functions_agree_with_scipy(name, true, points):
    for x in points:
        assert registry.call(f"Number.{name}", {"input": x}) == pytest.approx(float(true(x)), rel=1e-8, abs=1e-12)


@given(x=st.floats(0, 200), a=st.floats(0.05, 150))
def test_the_incomplete_gamma_function_agrees_with_scipy(x, a):
    found = registry.call("Number.gammainc", {"left": x, "right": a})
    assert found == pytest.approx(float(special.gammainc(a, x)), rel=1e-8, abs=1e-12)


@given(left=st.integers(-(2**40), 2**40), right=st.integers(-(2**20), 2**20).filter(bool))
def test_quotient_and_remainder_make_up_the_dividend(left, right):
    remainder = registry.call("Number.mod", {"left": left, "right": right})
    assert abs(remainder) < abs(right)
    assert remainder * left >= 0
    assert (left - remainder) % right == 0


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_whole_sums_are_exact_or_refused(left, right):
    try:
        assert registry.call("Number.add", {"left": left, "right": right}) == left + right
    except EmulatorError:
        assert abs(left + right) > 2**62


@given(st.integers(-(2**60), 2**60), st.integers(2, 36))
def test_parsing_inverts_writing_in_any_radix(value, radix):
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    size, text = abs(value), ""
    while size or not text:
        size, rest = divmod(size, radix)
        text = digits[rest] + text
    assert registry.call("Number.parse", {"input": ("-" if value < 0 else "") + text, "radix": radix}) == value


@given(st.floats(-1e15, 1e15), st.integers(0, 8))
def test_fixed_text_is_within_half_a_unit_of_its_last_place(value, digits):
    text = registry.call("Number.format", {"number": value, "pattern": f"%.{digits}f"})
    assert abs(float(text) - value) <= 0.5000001 * 10**-digits + abs(value) * 1e-15
