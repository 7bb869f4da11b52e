"""Image arithmetic as ``getInfo`` describes it: pixel types with their ranges, band names, properties, complaints."""

import pytest


def kind(precision, *limits):
    shown = {"type": "PixelType", "precision": precision}
    return shown | ({"min": limits[0], "max": limits[1]} if limits else {})


BYTE, SHORT, LONG_RANGE = kind("int", 0, 255), kind("int", -32768, 32767), kind("int", -(2**63), 2**63 - 1)


def raw(ee, kind_of_pixel="toUint16"):
    """A band with the whole range of a whole-number type."""
    return getattr(ee.Image(7), kind_of_pixel)()


TYPES = {
    "a whole constant": (lambda ee: ee.Image(5), kind("int", 5, 5)),
    "a fraction": (lambda ee: ee.Image(2.5), kind("double", 2.5, 2.5)),
    "a sum of constants": (lambda ee: ee.Image(5).add(-7), kind("int", -2, -2)),
    "a sum of unsigned numbers": (lambda ee: raw(ee).add(raw(ee)), kind("int", 0, 131070)),
    "a difference of unsigned numbers": (lambda ee: raw(ee).subtract(raw(ee)), kind("int", -65535, 65535)),
    "a product": (lambda ee: raw(ee, "toInt8").multiply(-2), kind("int", -254, 256)),
    "scaled by division": (lambda ee: raw(ee).divide(10000), kind("float", 0, 6.553500175476074)),
    "scaled by a fraction": (lambda ee: raw(ee).multiply(0.0000275).add(-0.2), kind("double", -0.2, 1.6022125)),
    "a ratio": (lambda ee: raw(ee).divide(raw(ee)), kind("float")),
    "a ratio of wide numbers": (lambda ee: raw(ee, "toInt32").divide(2), kind("double", -(2**30), 2**30 - 0.5)),
    "a comparison": (lambda ee: raw(ee).gt(3), kind("int", 0, 1)),
    "a conjunction": (lambda ee: ee.Image(2.5).And(3), kind("int", 0, 1)),
    "a negation": (lambda ee: ee.Image(3).Not(), kind("int", 0, 1)),
    "a byte": (lambda ee: ee.Image(3).byte(), BYTE),
    "a short": (lambda ee: ee.Image(3.7).toShort(), SHORT),
    "a float of a constant": (lambda ee: ee.Image(3).toFloat(), kind("float", 3, 3)),
    "a float of unsigned numbers": (lambda ee: raw(ee).float(), kind("float", 0, 65535)),
    "a double of a byte": (lambda ee: ee.Image(3).byte().double(), kind("double", 0, 255)),
    "a mask": (lambda ee: ee.Image(3).mask(), kind("float", 0, 1)),
    "a normalized difference": (lambda ee: ee.Image([3, 1]).normalizedDifference(), kind("float", -1, 1)),
    "a power": (lambda ee: raw(ee).pow(2), kind("float")),
    "a root": (lambda ee: ee.Image(2.0 / 3).sqrt(), kind("double")),
    "bits of a word": (lambda ee: raw(ee).bitwiseAnd(1024), kind("int", 0, 65535)),
    "inverted bits of a byte": (lambda ee: ee.Image(3).byte().bitwiseNot(), SHORT),
    "a size": (lambda ee: raw(ee, "toInt8").abs(), kind("int", 0, 128)),
    "a size of negative numbers": (lambda ee: ee.Image(-5).abs(), kind("int", 5, 5)),
    "a rounded fraction": (lambda ee: ee.Image(2.5).floor(), kind("double", 2, 2)),
    "clamped": (lambda ee: raw(ee).clamp(10, 20), kind("int", 10, 20)),
    "replaced": (lambda ee: ee.Image(3).byte().where(ee.Image(1), 300), kind("int", 0, 300)),
    "filled": (lambda ee: ee.Image(3).byte().unmask(-1), kind("int", -1, 255)),
    "a mean of shorts": (lambda ee: ee.ImageCollection([raw(ee, "toShort"), 4]).mean(), kind("double", -32768, 32767)),
    "a mean of fractions without limits": (lambda ee: ee.ImageCollection([raw(ee).pow(2)]).mean(), kind("float")),
    "a mean of ratios": (lambda ee: ee.Image([3, 1]).normalizedDifference().reduce("mean"), kind("float", -1, 1)),
    "a unit scale": (lambda ee: ee.Image(3).byte().unitScale(0, 255), kind("float", 0, 1)),
}


@pytest.mark.parametrize("case", TYPES)
def test_pixel_types_carry_the_range_that_is_known(evaluate, case):
    expression, expected = TYPES[case]
    (shown,) = evaluate(lambda ee: ee.Image(expression(ee)).bandTypes()).values()
    assert shown == expected


NAMES = {
    "the first of two": (lambda ee: ee.Image(1).rename("a").add(ee.Image(2).rename("b")), ["a"]),
    "the longer one": (lambda ee: ee.Image(1).rename("a").add(ee.Image([2, 3]).rename(["b", "c"])), ["b", "c"]),
    "in order": (lambda ee: ee.Image([1, 2]).rename("a", "b").add(ee.Image([2, 3]).rename(["c", "d"])), ["a", "b"]),
    "a list of constants": (lambda ee: ee.Image.constant([4, 5.5]), ["constant_0", "constant_1"]),
    "images put together": (lambda ee: ee.Image([4, ee.Image(5), 6]), ["constant", "constant_1", "constant_2"]),
    "cat": (lambda ee: ee.Image.cat(ee.Image(1).rename("x"), ee.Image(2).rename("x"), 3), ["x", "x_1", "constant"]),
    "by pattern": (lambda ee: ee.Image([1, 2, 3]).rename("B1", "B11", "QA60").select("B.*"), ["B1", "B11"]),
    "patterns match whole names": (lambda ee: ee.Image([1, 2]).rename("B1", "B11").select("B."), ["B1"]),
    "mixed selectors": (lambda ee: ee.Image([1, 2, 3]).rename("a", "b", "c").select(2, "a"), ["c", "a"]),
    "from the end": (lambda ee: ee.Image([1, 2, 3]).rename("a", "b", "c").select([-1]), ["c"]),
    "renamed on the way": (lambda ee: ee.Image([1, 2]).rename("a", "b").select(["b", "a"], ["x", "y"]), ["x", "y"]),
    "a slice": (lambda ee: ee.Image([1, 2, 3]).rename("a", "b", "c").slice(-2), ["b", "c"]),
    "an inner slice": (lambda ee: ee.Image([1, 2, 3]).rename("a", "b", "c").slice(0, -1), ["a", "b"]),
    "an added band": (lambda ee: ee.Image(1).rename("a").addBands(ee.Image(2).rename("a")), ["a", "a_1"]),
    "an overwritten band": (
        lambda ee: ee.Image([1, 2]).rename("a", "b").addBands(ee.Image([3, 4]).rename("a", "c"), None, True),
        ["a", "b", "c"],
    ),
    "some of the added": (
        lambda ee: ee.Image(1).rename("a").addBands(ee.Image([2, 3]).rename("b", "c"), ["c"]),
        ["a", "c"],
    ),
    "a formula": (lambda ee: ee.Image(1).rename("a").expression("b(0) * 2"), ["a"]),
    "a formula that begins with a number": (lambda ee: ee.Image(1).rename("a").expression("2 * b(0)"), ["constant"]),
    "an assignment": (lambda ee: ee.Image([1, 2]).expression("ratio = b(0) / b(1)"), ["ratio"]),
    "a mapped table": (lambda ee: ee.Image(1).rename("a").remap([1], [2]), ["remapped"]),
    "a normalized difference": (lambda ee: ee.Image([1, 2]).normalizedDifference(), ["nd"]),
    "groups in a pattern": (
        lambda ee: ee.Image([1, 2]).rename("B1", "x").regexpRename("B(.)", "band$1"),
        ["band1", "x"],
    ),
    "the first match": (lambda ee: ee.Image(1).rename("aba").regexpRename("a", "c", False), ["cba"]),
    "places": (lambda ee: ee.Image.pixelLonLat(), ["longitude", "latitude"]),
    "a picture": (lambda ee: ee.Image([1, 2, 3]).visualize(min=0, max=9), ["vis-red", "vis-green", "vis-blue"]),
    "one band in every colour": (
        lambda ee: ee.Image([1, 2]).visualize(["constant", "constant", "constant_1"], min=0, max=9),
        ["vis-red", "vis-green", "vis-blue"],
    ),
    "a grey picture": (lambda ee: ee.Image(1).visualize(min=0, max=9), ["vis-gray"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_bands_are_named(evaluate, case):
    expression, expected = NAMES[case]
    assert evaluate(lambda ee: ee.Image(expression(ee)).bandNames()) == expected


REFUSALS = {
    "no such band": (lambda ee: ee.Image(1).select("x").bandNames(), "Band pattern 'x' did not match any bands"),
    "no such index": (lambda ee: ee.Image(1).select(3).bandNames(), "did not match any bands"),
    "an empty side": (
        lambda ee: ee.Image(1).select([]).add(ee.Image([1, 2])).bandNames(),
        "Image.add: If one image has no bands, the other must also have no bands. Got 0 and 2.",
    ),
    "two and three": (lambda ee: ee.Image([1, 2]).add(ee.Image([1, 2, 3])).bandNames(), "Got 2 and 3"),
    "bits of fractions": (lambda ee: ee.Image(1.5).bitwiseAnd(1).bandNames(), "Bitwise operands must be integer only."),
    "names too few": (lambda ee: ee.Image([1, 2]).rename(["a"]).bandNames(), "Image.rename"),
    "the same name twice": (lambda ee: ee.Image([1, 2]).rename(["a", "a"]).bandNames(), "'a'"),
    "a pattern without bands": (
        lambda ee: ee.Image(1).select([]).select("B2").bandNames(),
        "Image.select: Band pattern 'B2' was applied to an Image with no bands.",
    ),
    "a difference without bands": (
        lambda ee: ee.Image(1).select([]).normalizedDifference(["B8", "B4"]).bandNames(),
        "Image.normalizedDifference: No band named 'B8'. Available band names: [].",
    ),
    "a difference of one": (lambda ee: ee.Image(1).normalizedDifference().bandNames(), "Two bands"),
    "a leading underscore": (lambda ee: ee.Image(1).rename("_x").bandNames(), "Image.rename: Invalid band name: '_x'"),
    "a colon in a name": (lambda ee: ee.Image(1).rename("12:30").bandNames(), "Invalid band name"),
    "a table without bands": (
        lambda ee: ee.Image(1).select([]).remap([1], [2]).bandNames(),
        "Image.remap: Image has no bands.",
    ),
    "an empty clip": (
        lambda ee: (
            ee.Image(1)
            .clip(ee.Geometry.Rectangle([0, 0, 1, 1]).intersection(ee.Geometry.Rectangle([5, 5, 6, 6]), 1))
            .bandNames()
        ),
        "Image.clip: The geometry for image clipping must not be empty.",
    ),
    "no opacity": (
        lambda ee: ee.Image(1).visualize(opacity=0).bandNames(),
        "Image.visualize: Scale must be greater than zero and less than or equal to one, but was 0.0.",
    ),
    "a picture of nothing": (
        lambda ee: ee.Image(1).visualize(bands=["x"]).bandNames(),
        "Image.visualize: No band named 'x'.",
    ),
    "two projections": (
        lambda ee: ee.Image(1).addBands(ee.Image("MODIS/061/MOD13Q1/2020_06_09")).projection(),
        "contain different projections. Use Image.select to pick a single band.",
    ),
    "an unknown behaviour": (lambda ee: ee.Image(1).interpolate([0, 1], [2, 3], "guess").bandNames(), "guess"),
    "falling points": (lambda ee: ee.Image(1).interpolate([1, 0], [2, 3]).bandNames(), "strictly increasing"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_is_refused(refusal, case):
    expression, message = REFUSALS[case]
    assert message in refusal(expression)


def test_arithmetic_drops_properties_and_selection_keeps_them(evaluate):
    def image(ee):
        return ee.Image([1, 2]).rename("a", "b").set("who", "me")

    for keeps in (
        lambda ee: image(ee).select("a"), lambda ee: image(ee).addBands(ee.Image(3)), lambda ee: image(ee).updateMask(1),
        lambda ee: image(ee).unmask(0), lambda ee: image(ee).where(1, 2), lambda ee: image(ee).toFloat(),
        lambda ee: image(ee).remap([1], [2]), lambda ee: ee.Image.cat(image(ee), 3), lambda ee: image(ee).mask(),
        lambda ee: image(ee).clip(ee.Geometry.Point(1, 2).buffer(9)),
    ):  # fmt: skip
        assert evaluate(lambda ee, keeps=keeps: ee.Image(keeps(ee)).get("who")) == "me"
    for drops in (
        lambda ee: image(ee).add(1), lambda ee: image(ee).gt(1), lambda ee: image(ee).normalizedDifference(),
    ):  # fmt: skip
        assert evaluate(lambda ee, drops=drops: ee.Image(drops(ee)).get("who")) is None


def test_a_clipped_image_shows_its_window_and_its_footprint(evaluate):
    shown = evaluate(
        lambda ee: (
            ee.Image("MODIS/061/MOD13Q1/2020_06_09")
            .select("NDVI")
            .reproject("EPSG:4326", None, 250)
            .clip(ee.Geometry.Rectangle([11.0, 46.0, 11.1, 46.05], "EPSG:4326", False))
        )
    )
    (band,) = shown["bands"]
    step = band["crs_transform"][0]
    assert step == 250 / 111319.49079327357
    assert band["crs_transform"] == [step, 0, 0, 0, -step, 0]
    assert band["origin"] == [int(11.0 // step), int(-46.05 // step)]
    assert band["dimensions"] == [-int(-11.1 // step) - int(11.0 // step), -int(46.0 // step) - int(-46.05 // step)]
    footprint = shown["properties"]["system:footprint"]
    assert footprint["type"] == "Polygon"
    assert sorted(map(tuple, footprint["coordinates"][0]))[0] == (11, 46)
    compared = evaluate(
        lambda ee: (
            ee.Image("MODIS/061/MOD13Q1/2020_06_09")
            .select("NDVI")
            .reproject("EPSG:4326", None, 250)
            .clip(ee.Geometry.Rectangle([11.0, 46.0, 11.1, 46.05], "EPSG:4326", False))
            .lte(4000)
        )
    )
    assert {key: compared["bands"][0][key] for key in ("origin", "dimensions")} == {
        key: band[key] for key in ("origin", "dimensions")
    }
    assert "properties" not in compared


def test_an_array_is_an_image_of_arrays(evaluate):
    assert evaluate(lambda ee: ee.Image(ee.Array([[4, 5]])).bandTypes()) == {
        "constant": {"type": "PixelType", "precision": "int", "min": 4, "max": 5, "dimensions": 2}
    }
