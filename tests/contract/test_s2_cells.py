"""Cells of the S2 grid."""

import math

import pytest


def ring(evaluate, token):
    return evaluate(lambda ee: ee.Geometry.fromS2CellToken(token))["coordinates"][0]


def test_the_first_face_is_a_sixth_of_the_earth_about_the_origin(evaluate):
    corner = math.degrees(math.atan(1 / math.sqrt(2)))
    expected = [[-45, -corner], [45, -corner], [45, corner], [-45, corner], [-45, -corner]]
    assert ring(evaluate, "1000000000000000") == [pytest.approx(each) for each in expected]


def test_the_face_that_the_reference_names_has_antarctica(evaluate):
    assert all(latitude < -35 for _, latitude in ring(evaluate, "0xb000000000000000"))


def test_a_cell_of_new_york(evaluate):
    longitudes, latitudes = zip(*ring(evaluate, "89c2500000000000"), strict=True)
    assert min(longitudes) < -73.9 < max(longitudes)
    assert min(latitudes) < 40.75 < max(latitudes)
    assert max(latitudes) - min(latitudes) < 1


def test_quarters_make_up_their_cell(evaluate):
    def areas(ee):
        whole = 0x89C2500000000000
        bit = whole & -whole
        quarters = [whole - bit + (2 * n + 1) * bit // 4 for n in range(4)]
        cells = [ee.Geometry.fromS2CellToken(f"{each:016x}") for each in (whole, *quarters)]
        inside = [cells[0].buffer(1).contains(cell, 1) for cell in cells[1:]]
        return ee.List([*[cell.area() for cell in cells], *inside])

    total, *rest = evaluate(areas)
    assert sum(rest[:4]) == pytest.approx(total, rel=1e-6)
    assert rest[4:] == [True] * 4


def test_numbers_and_tokens_mean_the_same(evaluate):
    token = evaluate(lambda ee: ee.Geometry.fromS2CellToken("3000000000000000"))
    assert evaluate(lambda ee: ee.Geometry.fromS2CellId(0x3000000000000000)) == token
    assert evaluate(lambda ee: ee.Geometry.s2Cell(0x3000000000000000)) == token


@pytest.mark.parametrize("token", ["89c25", "e000000000000001", "xyz", "0000000000000000", "1000000000000002"])
def test_other_numbers_are_no_cells(refusal, token):
    assert "S2 cell" in (words := refusal(lambda ee: ee.Geometry.fromS2CellToken(token))) or "16 hexadecimal" in words
