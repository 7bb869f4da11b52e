"""TFRecord files: the format against Google's own checksum and hand-made bytes, exports against computePixels."""

import gzip
import io
import json
import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.codecs import example
from airflow_ee.emulator.codecs.crc32c import crc32c, masked_crc32c
from airflow_ee.emulator.codecs.tfrecord import TFRecordError, framed, records

from .conftest import call, graph, grid, image
from .test_tables import feature, point, table

NDVI = call("Image.select", input=image("MODIS/061/MOD13Q1/2020_06_09"), bandSelectors=["NDVI"])
FLOATS = call("Image.toFloat", value=NDVI)
ORIGIN = (660000, 5160000)
GRID = grid("EPSG:32632", ORIGIN, 250, 50, 33)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_has_the_published_values(data, checksum):
    assert crc32c(data) == checksum


@given(data=st.binary(max_size=300), times=st.integers(1, 60))
def test_the_checksum_is_googles(data, times):
    assert crc32c(data * times) == int.from_bytes(google_crc32c.Checksum(data * times).digest(), "big")


def test_the_checksum_of_long_data_is_googles():
    data = np.random.default_rng(1).bytes(1_000_003)
    for size in (4096, 4097, 65_536, 1_000_003):
        assert crc32c(data[:size]) == int.from_bytes(google_crc32c.Checksum(data[:size]).digest(), "big")


def test_a_record_is_framed_as_the_format_says():
    crc = int.from_bytes(google_crc32c.Checksum(b"abc").digest(), "big")
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(b"abc") == masked
    frame = framed(b"abc")
    assert frame[:8] == struct.pack("<Q", 3)
    assert frame[12:15] == b"abc"
    assert frame[15:] == struct.pack("<I", masked)


@pytest.mark.parametrize("place", [0, 9, 13, 16, -1])
def test_a_spoilt_record_is_noticed(place):
    frame = bytearray(framed(b"abcd"))
    frame[place] ^= 1
    with pytest.raises(TFRecordError):
        list(records(io.BytesIO(bytes(frame))))
    with pytest.raises(TFRecordError):
        list(records(io.BytesIO(framed(b"abcd")[:-1])))


def test_an_example_has_the_bytes_of_its_protocol_buffer():
    # feature { key: "f" value { float_list { value: 1.0 } } }, by hand after the public .proto file.
    inner = bytes.fromhex("0a04") + struct.pack("<f", 1.0)
    value = bytes([0x12, len(inner)]) + inner
    entry = b"\x0a\x01f" + bytes([0x12, len(value)]) + value
    features = bytes([0x0A, len(entry)]) + entry
    assert example.encode({"f": np.array([1], np.float32)}) == bytes([0x0A, len(features)]) + features
    negative = example.encode({"i": np.array([-1, 300], np.int64)})
    assert negative.endswith(bytes.fromhex("1a0e0a0c" + "ff" * 9 + "01" + "ac02"))


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).map(lambda each: np.array(each, np.int64)),
            st.lists(st.floats(width=32), min_size=1).map(lambda each: np.array(each, np.float32)),
            st.lists(st.binary(max_size=9), min_size=1),
        ),
        max_size=4,
    )
)
def test_an_example_reads_back(features):
    found = example.decode(example.encode(features))
    assert list(found) == list(features)
    for name, values in features.items():
        np.testing.assert_array_equal(found[name], values)


def exported(rest, emulator, expression, target=GRID, **options):
    destination = {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "t"}}
    files = {"fileFormat": "TF_RECORD_IMAGE", **destination, "tfRecordOptions": options}
    answer = rest.export(graph(expression), grid=target, fileExportOptions=files)
    operation = rest.ended(answer.json()["name"])
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    return {path.name.removeprefix("t"): path.read_bytes() for path in sorted((emulator.root / "gs" / "b").iterdir())}


def examples(content):
    return [example.decode(record) for record in records(io.BytesIO(content))]


def size(width, height):
    return {"width": width, "height": height}


def test_patches_are_the_pixels_in_rows_and_the_mixer_says_where(rest, emulator):
    files = exported(rest, emulator, FLOATS, tileDimensions=size(16, 10), compress=True)
    assert list(files) == ["-00000.tfrecord.gz", "-mixer.json"]
    assert json.loads(files["-mixer.json"]) == {
        "projection": {"crs": "EPSG:32632", "affine": {"doubleMatrix": [250, 0, 660000, 0, -250, 5160000]}},
        "patchDimensions": [16, 10],
        "patchesPerRow": 3,
        "totalPatches": 9,
    }
    pixels = rest.pixels(graph(FLOATS), GRID)["NDVI"]
    found = examples(gzip.decompress(files["-00000.tfrecord.gz"]))
    assert len(found) == 9
    for number, patch in enumerate(found):
        row, col = divmod(number, 3)
        expected = pixels[10 * row : 10 * row + 10, 16 * col : 16 * col + 16]
        assert patch["NDVI"].dtype == np.float32
        np.testing.assert_array_equal(patch["NDVI"].reshape(10, 16), expected)


def test_margins_overlap_by_half_of_the_kernel(rest, emulator):
    files = exported(rest, emulator, FLOATS, tileDimensions=size(10, 10), marginDimensions=size(8, 4))
    wide = grid("EPSG:32632", (ORIGIN[0] - 4 * 250, ORIGIN[1] + 2 * 250), 250, 58, 37)
    pixels = rest.pixels(graph(FLOATS), wide)["NDVI"]
    found = examples(files["-00000.tfrecord"])
    assert len(found) == 15
    np.testing.assert_array_equal(found[0]["NDVI"].reshape(14, 18), pixels[:14, :18])
    np.testing.assert_array_equal(found[6]["NDVI"].reshape(14, 18), pixels[10:24, 10:28])
    assert json.loads(files["-mixer.json"])["patchDimensions"] == [10, 10]


def test_bytes_are_strings_whole_numbers_int64_and_the_rest_floats(rest, emulator):
    bands = call("Image.addBands", dstImg=call("Image.constant", value=7), srcImg=call("Image.constant", value=-300))
    bands = call("Image.addBands", dstImg=bands, srcImg=call("Image.constant", value=0.1))
    named = call("Image.rename", input=bands, names=["a", "b", "c"])
    (patch,) = examples(exported(rest, emulator, named, tileDimensions=size(50, 33))["-00000.tfrecord"])
    assert patch["a"] == [bytes([7]) * 1650]
    assert patch["b"].dtype == np.int64
    assert (patch["b"] == -300).all()
    assert (patch["c"] == np.float32(0.1)).all()


def test_collapsed_bands_are_one_tensor_of_channels_rows_and_columns(rest, emulator):
    both = call("Image.addBands", dstImg=NDVI, srcImg=call("Image.constant", value=7))
    files = exported(rest, emulator, both, tileDimensions=size(50, 33), collapseBands=True)
    (patch,) = examples(files["-00000.tfrecord"])
    tensor = patch["NDVI"].reshape(2, 33, 50)
    assert tensor.dtype == np.int64
    np.testing.assert_array_equal(tensor[0], rest.pixels(graph(both), GRID)["NDVI"])
    assert (tensor[1] == 7).all()


@pytest.mark.parametrize(("cast", "expected"), [("Image.toByte", 0), ("Image.toInt16", -9), ("Image.toFloat", -9.7)])
def test_pixels_masked_in_part_have_the_default_value_as_the_band_can_hold_it(rest, emulator, cast, expected):
    seven = call(cast, value=call("Image.constant", value=7))
    masked = call("Image.updateMask", image=seven, mask=call("Image.constant", value=0.5))
    files = exported(rest, emulator, masked, tileDimensions=size(50, 33), defaultValue=-9.7)
    (patch,) = examples(files["-00000.tfrecord"])
    plane = np.frombuffer(patch["constant"][0], np.uint8) if cast == "Image.toByte" else patch["constant"]
    assert plane.tolist() == pytest.approx([expected] * 1650, rel=1e-6)


def test_patches_with_too_many_masked_pixels_are_dropped_and_there_is_no_mixer(rest, emulator):
    corner = call(
        "GeometryConstructors.Rectangle",
        coordinates=[660000, 5157500, 664000, 5160000],
        crs=call("Projection", crs="EPSG:32632"),
        geodesic=False,
    )
    clipped = call("Image.clip", input=FLOATS, geometry=corner)
    options = {"tileDimensions": size(16, 10), "maxMaskedRatio": {"value": 0.5}}
    files = exported(rest, emulator, clipped, **options)
    assert list(files) == ["-00000.tfrecord"]
    (patch,) = examples(files["-00000.tfrecord"])
    np.testing.assert_array_equal(patch["NDVI"].reshape(10, 16), rest.pixels(graph(FLOATS), GRID)["NDVI"][:10, :16])


def test_files_are_cut_by_size_and_keep_the_order(rest, emulator):
    record = len(framed(example.encode({"NDVI": np.zeros(160, np.float32)})))
    files = exported(rest, emulator, FLOATS, tileDimensions=size(16, 10), maxSizeBytes={"value": str(4 * record + 5)})
    assert list(files) == [f"-0000{number}.tfrecord" for number in range(3)] + ["-mixer.json"]
    found = [patch for name in list(files)[:3] for patch in examples(files[name])]
    assert [len(examples(files[name])) for name in list(files)[:3]] == [4, 4, 1]
    pixels = rest.pixels(graph(FLOATS), GRID)["NDVI"]
    np.testing.assert_array_equal(found[8]["NDVI"].reshape(10, 16), pixels[20:30, 32:48])


def test_a_table_is_one_compressed_file_of_floats(rest, emulator):
    expression = table(feature(point(1, 2), n=3, f=0.1, s="é", l=[1, 2.5]), feature(None, n=4))
    options = {"fileFormat": "TF_RECORD_TABLE", "cloudStorageDestination": {"bucket": "b", "filenamePrefix": "t"}}
    body = {"expression": expression, "fileExportOptions": options, "selectors": ["n", "f", "s", "l"]}
    rest.ended(rest.post(f"{rest.project}/table:export", body).json()["name"])
    content = gzip.decompress((emulator.root / "gs" / "b" / "t.tfrecord.gz").read_bytes())
    first, second = examples(content)
    assert {name: list(values) for name, values in first.items()} == {
        "n": [3.0], "f": [np.float32(0.1)], "s": ["é".encode()], "l": [1.0, 2.5],
    }  # fmt: skip
    assert list(second) == ["n"]
