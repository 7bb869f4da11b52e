"""Distance transforms, moved images, special functions and old names through Google's client."""

import math

import pytest

CRS = "EPSG:32632"


def columns(ee):
    return ee.Image.pixelCoordinates(ee.Projection(CRS, [10, 0, 600000, 0, -10, 5000000])).select("x").floor()


def pixel(ee, image, col=3):
    point = ee.Geometry.Point([600005 + 10 * col, 4999995], CRS)
    return image.reduceRegion(ee.Reducer.first(), point, crs=CRS, crsTransform=[10, 0, 600000, 0, -10, 5000000])


def test_the_default_distance_is_squared(evaluate):
    assert evaluate(lambda ee: pixel(ee, columns(ee).eq(7).fastDistanceTransform(8))) == {"distance": 16}
    assert evaluate(lambda ee: pixel(ee, columns(ee).eq(7).fastDistanceTransform(8, "pixels", "manhattan"))) == {
        "distance": 4
    }
    assert evaluate(lambda ee: pixel(ee, columns(ee).eq(7).fastDistanceTransform(3))) == {"distance": None}


def test_the_direction_of_a_search(evaluate):
    assert evaluate(lambda ee: pixel(ee, columns(ee).eq(5).directionalDistanceTransform(0, 4))) == {"distance": 2}
    assert evaluate(lambda ee: pixel(ee, columns(ee).eq(5).directionalDistanceTransform(180, 4))) == {"distance": None}


def test_moved_images(evaluate):
    assert evaluate(lambda ee: pixel(ee, columns(ee).translate(20, 0))) == {"x": 1}
    assert evaluate(lambda ee: pixel(ee, columns(ee).translate(-2, 0, "pixels", ee.Projection(CRS).atScale(10)))) == {
        "x": 5
    }
    assert evaluate(lambda ee: pixel(ee, columns(ee).rsedTransform(1), 0)) == {"x": 0}


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda image: image.gamma(), 24), (lambda image: image.digamma(), 1.506117668),
        (lambda image: image.trigamma(), 0.221322955), (lambda image: image.multiply(0.1).erfInv(), 0.476936276),
        (lambda image: image.multiply(0.1).erfcInv(), 0.476936276), (lambda image: image.gammainc(image), 0.559506715),
    ],
)  # fmt: skip
def test_special_functions_of_pixels(evaluate, make, value):
    def at(ee):
        return pixel(ee, make(ee.Image.constant(5)))

    assert evaluate(at)["constant"] == pytest.approx(value, rel=1e-6)


def test_old_names_do_what_new_ones_do(evaluate):
    def both(ee):
        window = ee.ApiFunction.call_("Window.max", columns(ee), 2, "square")
        return pixel(ee, window.rename("old").addBands(columns(ee).focalMax(2, "square").rename("new")))

    assert evaluate(both) == {"old": 5, "new": 5}

    def slope(ee):
        ground = (
            columns(ee).multiply(10).rename("elevation").setDefaultProjection(CRS, [10, 0, 600000, 0, -10, 5000000])
        )
        return pixel(ee, ee.ApiFunction.call_("Terrain", ground))

    found = evaluate(slope)
    assert found["slope"] == pytest.approx(45)
    assert set(found) == {"elevation", "slope", "aspect", "hillshade"}


def test_projections_tell_their_text(evaluate):
    text = evaluate(lambda ee: ee.Projection("EPSG:4326").wkt())
    assert text.startswith('GEOGCS["WGS 84"')
    assert 'AUTHORITY["EPSG","4326"]' in text
    assert evaluate(lambda ee: ee.Projection(ee.Projection(CRS).wkt()).crs()) == CRS
    assert evaluate(lambda ee: ee.ApiFunction.call_("Proj", CRS).nominalScale()) == 1


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (lambda ee: ee.Image([1, 2]).fastDistanceTransform(), "must have one band, got 2"),
        (lambda ee: ee.Image(1).directionalDistanceTransform(0, 10**6), "'maxDistance'"),
        (lambda ee: ee.Image(1).translate(1, 1, "feet"), "Unknown units 'feet'"),
    ],
)
def test_what_cannot_be_computed_says_why(refusal, expression, words):
    assert words in refusal(expression)


def test_the_incomplete_gamma_function_takes_its_argument_first(evaluate):
    assert evaluate(lambda ee: pixel(ee, ee.Image(1).gammainc(1)))["constant"] == pytest.approx(
        1 - math.exp(-1), rel=1e-6
    )


def test_costs_textures_superpixels_and_styles(evaluate):
    def cost(ee):
        return pixel(ee, ee.Image(2).cumulativeCost(columns(ee).eq(6), 50, False))

    assert evaluate(cost) == {"cumulative_cost": 60}

    def texture(ee):
        return pixel(ee, columns(ee).toInt().glcmTexture(1).select("x_(contrast|savg|asm)"))

    # In three of the four directions it is one column to the next, and 4 entries of the matrix have a quarter each; downwards
    # each of the 3 columns has a third.
    assert evaluate(texture) == pytest.approx({"x_contrast": 0.75, "x_savg": 6, "x_asm": (3 * 0.25 + 1 / 3) / 4})

    def picture(ee):
        xml = '<RasterSymbolizer><ColorMap type="values"><ColorMapEntry color="#102030" quantity="3"/></ColorMap></RasterSymbolizer>'
        return pixel(ee, columns(ee).sldStyle(xml))

    assert evaluate(picture) == {"vis-red": 16, "vis-green": 32, "vis-blue": 48}

    def grown(ee):
        found = ee.Algorithms.Image.Segmentation.SNIC(columns(ee).multiply(0).add(7), 4, 1)
        return pixel(ee, found.select("x_mean"))

    assert evaluate(grown) == {"x_mean": 7}
