"""TFRecord files: read by protobuf's own parser and by a reader of another make, equal bytes for equal features."""

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_ee.core.sinks.tfrecord import (
    GzipWriter,
    deflate_piece,
    encode_example,
    feature_kind,
    frame_record,
    pixel_feature,
)
from tests.tfrecords import EXAMPLE, parse, read_records

numbers = st.sampled_from(["int8", "int16", "uint16", "int32", "uint32", "int64", "float32"])
arrays = numbers.flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=1, max_dims=2, max_side=7),
        elements={"allow_nan": False} if dtype == "float32" else None,
    )
)  # fmt: skip


@given(
    features=st.dictionaries(st.text(max_size=5), arrays | st.binary(max_size=200) | st.lists(st.binary(max_size=3)))
)
def test_protobufs_own_parser_finds_what_was_written(features):
    found = parse(encode_example(features))
    assert set(found) == set(features)
    for name, values in features.items():
        kind, read = found[name]
        if isinstance(values, np.ndarray):
            assert kind == ("float_list" if values.dtype.kind == "f" else "int64_list")
            np.testing.assert_array_equal(np.array(read, values.dtype), values.ravel())
        else:
            assert (kind, read) == ("bytes_list", [values] if isinstance(values, bytes) else values)


@given(name=st.text(min_size=1, max_size=300), values=arrays | st.lists(st.binary(max_size=3), min_size=1))
def test_the_bytes_are_those_that_protobuf_would_write(name, values):
    ours = encode_example({name: values})
    assert EXAMPLE.FromString(ours).SerializeToString(deterministic=True) == ours


EDGES = [0, 1, 127, 128, 16383, 16384, 2**31 - 1, 2**32, 2**62, 2**63 - 1, -1, -128, -(2**63)]


def test_whole_numbers_at_every_length_of_a_varint_are_exact():
    assert parse(encode_example({"n": np.array(EDGES)}))["n"] == ("int64_list", EDGES)
    for edge in EDGES:
        assert parse(encode_example({"n": np.array([edge])}))["n"][1] == [edge]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("uint8", "bytes"), ("int8", "int64"), ("uint16", "int64"), ("int32", "int64"), ("float32", "float"),
     ("float64", "float")],
)  # fmt: skip
def test_bands_are_typed_as_earth_engines_own_exports_are(dtype, kind):
    band = np.arange(6, dtype=dtype).reshape(2, 3)
    ((found, values),) = parse(encode_example({"b": pixel_feature(band)})).values()
    assert found == f"{kind}_list" == f"{feature_kind(band.dtype)}_list"
    assert values == ([bytes(range(6))] if kind == "bytes" else list(range(6)))


def test_strided_and_big_endian_pixels_are_written_by_value():
    both = np.zeros((3, 4), [("a", "<f4"), ("m", "u1")])
    both["a"] = np.arange(12).reshape(3, 4)
    assert parse(encode_example({"a": both["a"]}))["a"][1] == list(range(12))
    assert parse(encode_example({"a": both["a"].astype(">f4")}))["a"][1] == list(range(12))
    assert parse(encode_example({"a": both["a"].T}))["a"][1] == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="must hold numbers, got <U1"):
        encode_example({"a": np.array(["x"])})


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_records_are_framed_as_another_reader_expects(messages):
    file = io.BytesIO(b"".join(map(frame_record, messages)))
    assert list(read_records(file)) == messages


def gzipped(pieces):
    file = io.BytesIO()
    writer = GzipWriter(file)
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    return file.getvalue()


@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_gzipped_pieces_are_one_member_that_any_reader_inflates(stretches):
    data = gzipped(map(deflate_piece, stretches))
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(data) == b"".join(stretches) == gzip.decompress(data)
    assert reader.eof
    assert reader.unused_data == b"", "a second member would be lost on readers that stop after the first"


def test_a_gzip_file_holds_neither_time_nor_name():
    data = gzipped([deflate_piece(b"x")])
    assert struct.unpack("<I", data[4:8]) == (0,)
    assert data[3] == 0, "no flags: no name, no comment"
    assert data == gzipped([deflate_piece(b"x")])


def test_a_spoilt_piece_is_found_by_the_checksum_of_the_whole():
    data = bytearray(gzipped([deflate_piece(b"one"), deflate_piece(b"two")]))
    data[-8] ^= 1
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        gzip.decompress(bytes(data))
