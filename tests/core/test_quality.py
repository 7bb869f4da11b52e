"""Rules of quality: what they read, what they let through, and that a masked pixel is never good."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.quality import QualityRule
from airflow_ee.core.quality_names import BIT_FIELDS, COMPANIONS, NAMED_RULES


class Pixels:
    """Bands by name, as a canvas has them."""

    def __init__(self, **bands):
        self.bands = tuple(bands)
        self._content = bands

    def band(self, name):
        values, valid = self._content[name]
        return np.asarray(values), np.asarray(valid, bool)


def good(rule, **bands):
    return QualityRule.parse(rule).good(Pixels(**bands)).tolist()


def test_a_masked_quality_pixel_is_never_good_although_it_reads_as_0():
    assert good("SummaryQA<=1", SummaryQA=([0, 0, 1, 2], [1, 0, 1, 1])) == [True, False, True, False]
    for rule in ("QA==0", "QA in (0)", "QA not in (1)", "QA[0-1]==0", "QA!=7"):
        assert good(rule, QA=([0], [0])) == [False]


def test_a_score_image_that_is_missing_is_good_nowhere():
    assert good("S2_CLOUD_SCORE", B4=([5, 6], [1, 1])) == [False, False]
    assert good("SCL in (4) and cs_cdf>=0.6", SCL=([4, 4], [1, 1])) == [False, False]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20), st.data())
def test_bits_are_those_that_python_reads(numbers, data):
    first = data.draw(st.integers(0, 15))
    last = data.draw(st.integers(first, 15))
    wanted = data.draw(st.integers(0, 3))
    expected = [int(f"{number:016b}"[15 - last : 16 - first], 2) == wanted for number in numbers]
    pixels = np.array(numbers, np.uint16), np.ones(len(numbers), bool)
    assert good(f"QA[{first}-{last}]=={wanted}", QA=pixels) == expected


def test_signed_quality_bands_have_bits_too():
    # Bit 15 of an int16 is its sign.
    assert good("QA[15]==1", QA=(np.array([-1, 1], np.int16), [1, 1])) == [True, False]


def test_landsat_clear_is_googles_own_mask():
    numbers = np.arange(65536, dtype=np.uint16)
    valid = np.ones(numbers.size, bool)
    clear = QualityRule.parse("LANDSAT_CLEAR").good(
        Pixels(QA_PIXEL=(numbers, valid), QA_RADSAT=(np.zeros_like(numbers), valid))
    )
    assert np.array_equal(clear, numbers & 0b11111 == 0)
    assert good("LANDSAT_CLEAR", QA_PIXEL=([21824], [1]), QA_RADSAT=([4], [1])) == [False], "saturated in one band"


def test_scene_classes_are_chosen_by_list():
    classes = np.arange(12, dtype=np.uint8), np.ones(12, bool)
    assert np.flatnonzero(good("S2_SCL_CLEAR", SCL=classes)).tolist() == [4, 5, 6, 7, 11]
    assert np.flatnonzero(good("SCL not in (0, 1, 2, 3, 8, 9, 10)", SCL=classes)).tolist() == [4, 5, 6, 7, 11]


def test_detailed_quality_reads_what_summary_quality_says():
    # The four numbers that go with SummaryQA 0, 1, 2 and 3.
    detailed = np.array([2116, 2441, 18513, 3554], np.uint16)
    assert good("DetailedQA.vi_quality==0", DetailedQA=(detailed, [1] * 4)) == [True, False, False, False]
    assert good("MODIS_VI_DETAILED", DetailedQA=(detailed, [1] * 4)) == [True, False, False, False]


@pytest.mark.parametrize("name", sorted(NAMED_RULES))
def test_a_named_rule_is_a_rule_told_in_full_with_its_source(name):
    rule = QualityRule.parse(name)
    assert rule.text == NAMED_RULES[name].text == QualityRule.parse(rule.text).text
    assert NAMED_RULES[name].reference.startswith("https://")
    assert NAMED_RULES[name].meaning


def test_names_may_be_joined_with_conditions():
    rule = QualityRule.parse("S2_CLOUD_SCORE and SCL not in (3, 11)")
    assert rule.text == "cs_cdf>=0.60 and SCL not in (3, 11)"
    assert rule.bands == ("cs_cdf", "SCL")
    assert set(rule.bands) & set(COMPANIONS) == {"cs_cdf"}


@pytest.mark.parametrize("band", sorted(BIT_FIELDS))
def test_named_bits_do_not_overlap(band):
    taken = [bit for first, last in BIT_FIELDS[band].values() for bit in range(first, last + 1)]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "quality must be comparisons"),
        ("SummaryQA", "quality must be comparisons"),
        ("SummaryQA<=", "quality must be comparisons"),
        ("<=1", "quality must be comparisons"),
        ("a<=1 or b<=1", "quality must be comparisons"),
        ("a<=b", "quality must be comparisons"),
        ("SCLin(4)", "quality must be comparisons"),
        ("SCL in ()", "needs numbers in parentheses"),
        ("SCL in (four)", "needs numbers in parentheses"),
        ("QA_PIXEL.clouds==0", "no bits of QA_PIXEL are known as 'clouds'; they are fill, dilated_cloud"),
        ("state.cloud==0", r"no bits of state are known as 'cloud'; give them by number, such as state\[0-1\]"),
        ("QA[3-1]==0", r"bits are first-last, 0 to 63, got QA\[3-1\]"),
        ("QA[70]==0", "bits are first-last"),
    ],
)
def test_a_quality_rule_that_is_none_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        QualityRule.parse(text)


def test_bits_of_fractions_are_refused():
    with pytest.raises(ValueError, match="quality: cs is float32; only whole numbers have bits"):
        good("cs[0]==0", cs=(np.zeros(1, np.float32), [1]))
