"""Answers are read strictly: numbers of the shape and bands asked for, or a typed error."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_ee.core.decode import decode_npy, split_masks
from airflow_ee.core.errors import MalformedResponse

DTYPES = ["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f4", "<f8"]
fields = st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4).map(
    lambda kinds: np.dtype([(f"b{i}", kind) for i, kind in enumerate(kinds)])
)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


GOOD = npy(np.zeros((3, 4), [("NDVI", "<i2"), ("EVI", "<f4")]))


@given(data=st.data(), dtype=fields, height=st.integers(1, 9), width=st.integers(1, 9))
def test_what_numpy_writes_is_read_without_a_copy(data, dtype, height, width):
    array = data.draw(hnp.arrays(dtype, (height, width)))
    body = npy(array)
    read = decode_npy(body, shape=(height, width), bands=dtype.names)
    assert read.dtype == array.dtype
    assert read.tobytes() == array.tobytes()
    assert not read.flags.owndata


@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.integers(0, len(GOOD)))
@settings(max_examples=2000, deadline=None)
def test_a_mutated_answer_is_read_or_refused_and_never_more(position, byte, cut):
    body = bytearray(GOOD)
    body[position] = byte
    for mutated in (bytes(body), bytes(body[:cut])):
        try:
            array = decode_npy(mutated, shape=(3, 4), bands=["NDVI", "EVI"])
        except MalformedResponse:
            continue
        assert array.shape == (3, 4)
        assert array.dtype.names == ("NDVI", "EVI")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>busy</html>", "begins with"),
        (b"", "begins with"),
        (npy(np.zeros((4, 3), [("NDVI", "<i2"), ("EVI", "<f4")])), "3 rows and 4 columns"),
        (npy(np.zeros((3, 4), [("EVI", "<i2"), ("NDVI", "<f4")])), "Asked for bands"),
        (npy(np.zeros((3, 4), "<i2")), "one number a band"),
        (npy(np.zeros((3, 4), [("NDVI", "<i2", (2,)), ("EVI", "<f4")])), "one number a band"),
        (npy(np.zeros((3, 4), [("NDVI", "S3"), ("EVI", "<f4")])), "one number a band"),
        (npy(np.asfortranarray(np.zeros((3, 4), [("NDVI", "<i2"), ("EVI", "<f4")]))), "Fortran"),
        (GOOD[:-1], "bytes of pixels"),
        (GOOD + b"x", "bytes of pixels"),
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused(body, words):
    with pytest.raises(MalformedResponse, match=words):
        decode_npy(body, shape=(3, 4), bands=["NDVI", "EVI"])


def test_objects_are_never_unpickled():
    body = npy(np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(MalformedResponse):
        decode_npy(body, shape=(1, 1))


def test_masks_are_separated_from_values_band_by_band():
    array = np.zeros((1, 3), [("NDVI", "<i2"), ("NDVI__valid", "<u1")])
    array["NDVI"] = [[5, 0, 0]]
    array["NDVI__valid"] = [[1, 1, 0]]
    block = split_masks(array, ["NDVI"], "__valid")
    values, valid = block.band("NDVI")
    assert values.tolist() == [[5, 0, 0]]
    assert valid.tolist() == [[True, True, False]]
