"""What image functions make of numbers: every case is a pixel of constant images, read at one place."""

import pytest


def at_a_point(ee, image):
    return ee.Image(image).reduceRegion(ee.Reducer.first(), ee.Geometry.Point(11, 46), 1)


VALUES = {
    "division by zero is zero": (lambda ee: ee.Image(7).divide(0), 0),
    "whole numbers divide to fractions": (lambda ee: ee.Image(1).divide(4), 0.25),
    "a quotient of whole numbers is a float": (lambda ee: ee.Image(1).divide(3), 0.3333333432674408),
    "a quotient of fractions is a double": (lambda ee: ee.Image(1).divide(3.5), 1 / 3.5),
    "a remainder": (lambda ee: ee.Image(7).mod(3), 1),
    "a remainder of a fraction": (lambda ee: ee.Image(7.5).mod(2), 1.5),
    "a remainder has the dividend's sign": (lambda ee: ee.Image(-7).mod(3), -1),
    "a remainder by zero": (lambda ee: ee.Image(7).mod(0), 0),
    "a power": (lambda ee: ee.Image(2).pow(10), 1024),
    "a root of a negative number is masked": (lambda ee: ee.Image(-4).sqrt(), None),
    "a logarithm of zero is masked": (lambda ee: ee.Image(0).log(), None),
    "a power beyond all floats is masked": (lambda ee: ee.Image(100).exp(), None),
    "a power beyond all floats fits a double": (lambda ee: ee.Image(100).toDouble().exp(), 2.6881171418161356e43),
    "a quotient beyond all floats is masked": (lambda ee: ee.Image(3e38).toFloat().divide(0.001).toFloat(), None),
    "a logarithm": (lambda ee: ee.Image(1000.0).log10(), 3),
    "a negative number to a fraction is masked": (lambda ee: ee.Image(-8).pow(1.0 / 3), None),
    "a cubic root": (lambda ee: ee.Image(-8.5).cbrt(), -(8.5 ** (1 / 3))),
    "an angle, x first": (lambda ee: ee.Image(-1.5).atan2(1.5), 2.356194490192345),
    "a hypotenuse": (lambda ee: ee.Image(3.5).hypot(12), 12.5),
    "halves are rounded up": (lambda ee: ee.Image(2.5).round(), 3),
    "negative halves are rounded up too": (lambda ee: ee.Image(-2.5).round(), -2),
    "floor": (lambda ee: ee.Image(-2.5).floor(), -3),
    "ceil": (lambda ee: ee.Image(-2.5).ceil(), -2),
    "a sign": (lambda ee: ee.Image(-0.25).signum(), -1),
    "a cast cuts off": (lambda ee: ee.Image(-3.9).toInt8(), -3),
    "a cast stops at the ends": (lambda ee: ee.Image(300).toByte(), 255),
    "a cast of a negative number": (lambda ee: ee.Image(-1).toUint16(), 0),
    "a cast to float": (lambda ee: ee.Image(0.1).toFloat(), 0.10000000149011612),
    "a cast with limits": (lambda ee: ee.Image(9).cast({"constant": ee.PixelType("int", -5, 5)}), 5),
    "not": (lambda ee: ee.Image(-0.5).Not(), 0),
    "not zero": (lambda ee: ee.Image(0).Not(), 1),
    "and": (lambda ee: ee.Image(-1).And(0.5), 1),
    "or": (lambda ee: ee.Image(0).Or(0), 0),
    "the first that is not zero": (lambda ee: ee.Image(0).firstNonZero(9), 9),
    "bits": (lambda ee: ee.Image(13).bitwiseAnd(6), 4),
    "bits of negative numbers": (lambda ee: ee.Image(-1).bitwiseAnd(255), 255),
    "exclusive bits": (lambda ee: ee.Image(13).bitwiseXor(6), 11),
    "inverted bits": (lambda ee: ee.Image(13).bitwiseNot(), -14),
    "shifted up": (lambda ee: ee.Image(3).leftShift(4), 48),
    "shifted down with the sign": (lambda ee: ee.Image(-9).rightShift(1), -5),
    "counted bits": (lambda ee: ee.Image(13).bitCount(), 3),
    "counted bits of minus one": (lambda ee: ee.Image(-1).bitCount(), 64),
    "the error function": (lambda ee: ee.Image(0.5).erf(), 0.5204998778130465),
    "a masked operand masks": (lambda ee: ee.Image(3).add(ee.Image(4).selfMask().updateMask(0)), None),
    "comparison with masked": (lambda ee: ee.Image(3).gt(ee.Image(0).selfMask()), None),
    "a mask of a fraction": (lambda ee: ee.Image(3).updateMask(0.25).mask(), 0.25),
    "masks multiply": (lambda ee: ee.Image(3).updateMask(0.5).updateMask(0.5).mask(), 0.25),
    "the lesser mask wins in arithmetic": (
        lambda ee: ee.Image(3).updateMask(0.5).add(ee.Image(1).updateMask(0.25)).mask(), 0.25,
    ),
    "a mask beyond one": (lambda ee: ee.Image(3).updateMask(7).mask(), 1),
    "a masked mask": (lambda ee: ee.Image(3).updateMask(ee.Image(1).updateMask(0)), None),
    "unmasked": (lambda ee: ee.Image(3).updateMask(0).unmask(8), 8),
    "unmasked without a value": (lambda ee: ee.Image(3).updateMask(0).unmask(), 0),
    "a partial mask is not unmasked": (lambda ee: ee.Image(3).updateMask(0.5).unmask(8), 3),
    "where true": (lambda ee: ee.Image(3).where(-2, 9), 9),
    "where false": (lambda ee: ee.Image(3).where(0, 9), 3),
    "where the test is masked": (lambda ee: ee.Image(3).where(ee.Image(1).updateMask(0), 9), 3),
    "where the value is masked": (lambda ee: ee.Image(3).where(1, ee.Image(9).updateMask(0)), 3),
    "where the input is masked": (lambda ee: ee.Image(3).updateMask(0).where(1, 9), None),
    "a table": (lambda ee: ee.Image(3).remap([1, 3], [10, 30]), 30),
    "not in the table": (lambda ee: ee.Image(4).remap([1, 3], [10, 30]), None),
    "the table's default": (lambda ee: ee.Image(4).remap([1, 3], [10, 30], -1), -1),
    "a negative band masks a difference": (lambda ee: ee.Image([-1, 3]).normalizedDifference(), None),
    "a difference": (lambda ee: ee.Image([3, 1]).normalizedDifference(), 0.5),
    "a property as an image": (lambda ee: ee.Image(1).set("t", 5).metadata("t"), 5),
    "a formula": (lambda ee: ee.Image([2, 3]).expression("b(0) + b('constant_1') * 2 ** 3 ** 0"), 8),
    "a minus before a power": (lambda ee: ee.Image(3).expression("-b(0) ** 2"), -9),
    "a choice": (lambda ee: ee.Image(3).expression("b(0) > 2 ? b(0) < 2 ? 1 : 2 : 3"), 2),
    "logic": (lambda ee: ee.Image(3).expression("!(b(0) == 3) || b(0) >= 3 && b(0) != 4"), 1),
    "exclusive logic": (lambda ee: ee.Image(3).expression("(b(0) > 1) ^ (b(0) > 2)"), 0),
    "functions in a formula": (lambda ee: ee.Image(9).expression("sqrt(b(0)) + max(1, 2) + pow(2, 3) + abs(-1)"), 14),
    "variables": (lambda ee: ee.Image().expression("(x - y.constant) / 4", {"x": ee.Image(9), "y": 8}), 0.25),
    "a remainder in a formula": (lambda ee: ee.Image(9).expression("b() % 4"), 1),
    "blended": (lambda ee: ee.Image(10.0).blend(ee.Image(30.0).updateMask(0.25)), 15),
    "clamped": (lambda ee: ee.Image(12).clamp(0, 10), 10),
    "scaled": (lambda ee: ee.Image(12).unitScale(10, 20), 0.20000000298023224),
    "read off a line": (lambda ee: ee.Image(5).interpolate([0, 10], [100, 200]), 150),
    "continued beyond the line": (lambda ee: ee.Image(20).interpolate([0, 10], [100, 200]), 300),
    "a place": (lambda ee: ee.Image.pixelLonLat().select("latitude").round(), 46),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_pixels_are_computed_as_documented(evaluate, case):
    expression, expected = VALUES[case]
    (found,) = evaluate(lambda ee: at_a_point(ee, expression(ee))).values()
    assert found == (expected if expected is None else pytest.approx(expected, rel=1e-15))


def test_casts_add_what_is_missing_and_mind_the_order(evaluate, refusal):
    image = lambda ee: ee.Image([1, 2]).rename("b", "a")  # noqa: E731 -- a recipe for both
    types = {"a": "float", "z": "int8", "c": "uint8"}
    assert evaluate(lambda ee: image(ee).cast(types).bandNames()) == ["b", "a", "c", "z"]
    assert evaluate(lambda ee: image(ee).cast(types, ["z", "a", "b", "c"]).bandNames()) == ["z", "a", "b", "c"]
    assert "bandOrder" in refusal(lambda ee: image(ee).cast(types, ["a"]).bandNames())
    assert evaluate(lambda ee: at_a_point(ee, image(ee).cast(types).select("z"))) == {"z": None}


REFUSALS = {
    "several masks for one band": (
        lambda ee: ee.Image(1).updateMask(ee.Image([1, 0])),
        "Image.updateMask: Incompatible number of bands in the mask image: 2. Expected 1 or 1.",
    ),
    "exclusive or of numbers": (lambda ee: ee.Image(3).expression("b(0) ^ 5"), "'^'"),
    "an open parenthesis": (lambda ee: ee.Image(3).expression("(b(0) + 1"), "formula"),
    "an unknown variable": (lambda ee: ee.Image(3).expression("b(0) + q", {"r": ee.Image(1)}), "q"),
    "an unknown function": (lambda ee: ee.Image(3).expression("frob(b(0))"), "frob"),
    "a grey palette of three": (lambda ee: ee.Image([1, 2, 3]).visualize(palette=["red"]), "palette"),
    "two bands as a picture": (lambda ee: ee.Image([1, 2]).visualize(), "1 or 3 bands"),
    "two ways to stretch": (lambda ee: ee.Image(1).visualize(min=0, gain=2), "gain"),
    "no such colour": (lambda ee: ee.Image(1).visualize(palette=["blurple"]), "blurple"),
    "an empty range": (lambda ee: ee.Image(1).unitScale(2, 2), "differ"),
    "ends the wrong way round": (lambda ee: ee.Image(1).clamp(2, 1), "low"),
    "four colours": (lambda ee: ee.Image([1, 2, 3, 4]).rgbToHsv(), "3 bands"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_computed_is_refused(refusal, case):
    expression, message = REFUSALS[case]
    assert message in refusal(lambda ee: at_a_point(ee, expression(ee)))
