"""Answers are read strictly: numbers of the shape and bands asked for, or a typed error."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_ee.core.decode import AnswerForm, decode_npy
from airflow_ee.core.errors import MalformedResponse, OtherTypes

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


def form(masks, *kinds):
    return AnswerForm(tuple(f"b{i}" for i in range(len(kinds))), tuple(map(np.dtype, kinds)), masks)


@pytest.mark.parametrize(
    ("masks", "names", "counted"),
    [
        ("none", ["b0", "b1"], 2 + 4 + 2),
        ("each", ["b0", "b1", "b0__valid", "b1__valid"], 2 + 4 + 2 + 4),
        ("shared", ["b0", "b1", "b0__valid"], 2 + 4 + 1 + 3),
        ("fraction", ["b0", "b1", "b0__valid", "b1__valid"], 2 + 4 + 8 + 4),
    ],
)
def test_masks_come_as_bands_and_are_counted_as_the_service_counts(masks, names, counted):
    asked = form(masks, "i2", "f4")
    assert list(asked.dtype.names) == names
    assert asked.bytes_per_pixel == counted


def test_masks_are_told_from_values_band_by_band():
    asked = form("each", "i2", "u1")
    array = np.zeros((1, 3), asked.dtype)
    array["b0"] = [[5, 0, 0]]
    array["b0__valid"] = [[1, 1, 0]]
    block = asked.block(asked.read(memoryview(npy(array)), (1, 3)))
    values, valid = block.band("b0")
    assert values.tolist() == [[5, 0, 0]]
    assert valid.tolist() == [[True, True, False]]
    assert not block.band("b1")[1].any()
    assert np.shares_memory(
        block.values[0], block.values[1].base if block.values[1].base is not None else block.values[1]
    )


def test_a_shared_mask_serves_every_band_and_none_means_valid_everywhere():
    shared = form("shared", "i2", "i2")
    array = np.zeros((2, 2), shared.dtype)
    array["b0__valid"] = [[1, 0], [0, 1]]
    first, second = shared.block(array).valid
    assert first is second
    assert first.tolist() == [[True, False], [False, True]]
    everywhere = form("none", "f4")
    assert everywhere.block(np.zeros((2, 2), everywhere.dtype)).valid[0].all()


def test_fractions_are_kept():
    asked = form("fraction", "i2")
    array = np.zeros((1, 2), asked.dtype)
    array["b0__valid"] = [[0.25, 0.0]]
    block = asked.block(array)
    assert block.masks[0].tolist() == [[0.25, 0.0]]
    assert block.valid[0].tolist() == [[True, False]]


def test_pixels_of_other_types_are_an_error_of_their_own_that_names_them():
    body = memoryview(npy(np.zeros((1, 1), [("b0", "<u2"), ("b0__valid", "u1")])))
    with pytest.raises(OtherTypes, match="Asked for pixels of int16, uint8, got uint16, uint8") as refused:
        form("each", "i2").read(body, (1, 1))
    assert refused.value.details == ({"types": ["uint16"]},)


def test_another_byte_order_is_no_other_type():
    array = np.array([[(258, 1)]], [("b0", ">i2"), ("b0__valid", "u1")])
    asked = form("each", "i2")
    assert asked.block(asked.read(memoryview(npy(array)), (1, 1))).values[0].tolist() == [[258]]


def test_a_header_longer_than_any_real_one_is_not_looked_at():
    body = b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little") + b"{" * 1000
    with pytest.raises(MalformedResponse, match="header of 1073741836 bytes"):
        decode_npy(body, shape=(1, 1))
