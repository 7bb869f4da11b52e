"""No row is lost or doubled, whatever runs, reruns and races write the parts."""

import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet
import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_ee.core.series import SCHEMA, PartRecord, SeriesTable
from airflow_ee.core.sinks.base import Location

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def table_at(path):
    return SeriesTable(Location(LocalFileSystem(), str(path / "ndvi"), str(path / "ndvi")))


def row(day, *, band="NDVI", region="r", mean=0.5, updated="2020-02-01T00:00:00Z"):
    start = EPOCH + timedelta(days=day)
    return {
        **dict.fromkeys(SCHEMA.names),
        "region_id": region, "band": band, "interval_start": start, "interval_end": start + timedelta(days=16),
        "image_start": start, "image_end": start + timedelta(days=16), "image_count": 1, "image_ids": [f"c/{day}"],
        "mean": mean, "source_update_time": updated, "simulated": False,
    }  # fmt: skip


def write(table, day, **options):
    for band in options.pop("bands", ["NDVI"]):
        part = table.part("c", options.get("region", "r"), band, str(day))
        table.write_part(part, row(day, band=band, **options), PartRecord(f"d{day}", "2020", 7))


def read(table):
    return pyarrow.parquet.read_table(table.files[0].path).to_pylist()


def test_the_merged_table_is_sorted_and_told_twice(tmp_path):
    table = table_at(tmp_path)
    for day in (48, 0, 16):
        write(table, day)
    assert table.merge() == 3
    assert [item["image_start"] for item in read(table)] == [EPOCH + timedelta(days=day) for day in (0, 16, 48)]
    lines = (tmp_path / "ndvi.csv").read_text().splitlines()
    assert len(lines) == 4
    assert lines[1].split(",")[2] == '"2020-01-01T00:00:00Z"'


def test_a_rerun_replaces_and_does_not_double(tmp_path):
    table = table_at(tmp_path)
    write(table, 0, mean=0.1)
    write(table, 0, mean=0.2)
    table.merge()
    assert [item["mean"] for item in read(table)] == [0.2]


def test_what_is_written_later_replaces_whatever_bands_it_was_written_with(tmp_path):
    table = table_at(tmp_path)
    write(table, 0, mean=0.9, bands=["NDVI", "EVI"])
    write(table, 0, mean=0.1, bands=["NDVI", "sur_refl_b01"])
    table.merge()
    assert {(item["band"], item["mean"]) for item in read(table)} == {
        ("NDVI", 0.1),
        ("EVI", 0.9),
        ("sur_refl_b01", 0.1),
    }


def test_regions_and_bands_do_not_take_each_others_rows(tmp_path):
    table = table_at(tmp_path)
    write(table, 0, region="a")
    write(table, 0, region="b")
    write(table, 0, region="a", bands=["EVI"])
    assert table.merge() == 3


@pytest.mark.parametrize("seed", range(3))
def test_eight_runs_side_by_side_make_the_table_of_one(tmp_path, seed):
    days = list(range(0, 64 * 16, 16))
    alone = table_at(tmp_path / "alone")
    for day in days:
        write(alone, day)
    alone.merge()
    together = table_at(tmp_path / "together")
    random.Random(seed).shuffle(days)

    def run(mine):
        for day in mine:
            write(together, day)
        together.merge()

    threads = [threading.Thread(target=run, args=(days[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, many in zip(alone.files, together.files, strict=True):
        assert one.read_bytes() == many.read_bytes()


def test_a_part_tells_what_it_was_made_from(tmp_path):
    table = table_at(tmp_path)
    part = table.part("c", "r", "NDVI", "0")
    assert table.recorded(part) is None
    write(table, 0)
    assert table.recorded(part) == PartRecord("d0", "2020", 7)


def test_a_part_that_cannot_be_read_is_no_record_and_is_named_when_merged(tmp_path):
    table = table_at(tmp_path)
    write(table, 0)
    table.merge()
    before = (tmp_path / "ndvi.parquet").read_bytes()
    write(table, 16)
    part = table.part("c", "r", "NDVI", "16")
    Path(part.path).write_bytes(part.read_bytes()[:100])
    assert table.recorded(part) is None
    with pytest.raises(ValueError, match=r"16.parquet cannot be read .* run its date again"):
        table.merge()
    assert (tmp_path / "ndvi.parquet").read_bytes() == before


def test_a_merge_reads_only_what_has_changed(tmp_path, monkeypatch):
    table = table_at(tmp_path)
    for day in range(5):
        write(table, day)
    table.merge()
    read_names = []
    original = LocalFileSystem.cat
    monkeypatch.setattr(
        LocalFileSystem, "cat", lambda self, names, **_: (read_names.extend(names), original(self, names))[1]
    )
    write(table, 2, mean=0.25)
    write(table, 7)
    table.merge()
    assert sorted(Path(name).stem for name in read_names) == ["2", "7"]
    assert [item["mean"] for item in read(table)] == [0.5, 0.5, 0.25, 0.5, 0.5, 0.5]


def test_a_part_that_is_taken_away_leaves_the_table(tmp_path):
    table = table_at(tmp_path)
    for day in range(3):
        write(table, day)
    table.merge()
    Path(table.part("c", "r", "NDVI", "1").path).unlink()
    assert table.merge() == 2


@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense"])
def test_a_damaged_memory_of_the_last_merge_is_done_without(tmp_path, damage):
    table = table_at(tmp_path)
    write(table, 0)
    table.merge()
    before = (tmp_path / "ndvi.parquet").read_bytes()
    (tmp_path / "ndvi.parts" / ".merged.parquet").write_bytes(damage)
    assert table.merge() == 1
    assert (tmp_path / "ndvi.parquet").read_bytes() == before


def test_two_collections_have_parts_of_their_own(tmp_path):
    table = table_at(tmp_path)
    assert table.part("terra", "r", "NDVI", "0") != table.part("aqua", "r", "NDVI", "0")
