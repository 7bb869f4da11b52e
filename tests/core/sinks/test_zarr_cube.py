"""A cube that grows: dates in any order, from several processes, killed at any moment, make the bytes of one ordered run."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.lock import LockSettings
from airflow_ee.core.sinks.zarr import ZarrCube, ZarrSink, add_dates

GRID = PixelGrid(crs="EPSG:32633", transform=(10.0, 0.0, 5e5, 0.0, -10.0, 4e6), width=20, height=12)
BANDS = (
    BandLayout(name="NDVI", dtype=np.dtype("int16"), scale=0.0001),
    BandLayout(name="QA", dtype=np.dtype("uint16")),
)
START = datetime(2020, 1, 1, tzinfo=UTC)
QUICK = LockSettings(expires_after_seconds=0.2, poll_seconds=0.01, wait_seconds=60)


def local(path):
    return Location(LocalFileSystem(), str(path), str(path))


@pytest.fixture
def store():
    """An empty object store in memory."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield Location(fsspec.filesystem("memory"), "/b/cube.zarr", "memory://b/cube.zarr")
    MemoryFileSystem.store.clear()


def layout_of(number):
    tags = {"source": "MODIS/061/MOD13Q1", "request_digest": f"digest {number}", "simulated": "true"}
    return RasterLayout(grid=GRID, bands=BANDS, tags=tags)


def sink_of(location, number, lock=QUICK):
    when = START + timedelta(days=16 * number)
    return ZarrSink(location=location, layout=layout_of(number), time=when, chunk=8, grows=True, lock=lock)


def values_of(number):
    return np.full(GRID.shape, 100 + number, "int16")


def write(sink, number):
    """Every pixel of NDVI tells its date; the first row is masked."""
    mask = np.ones(GRID.shape, "u1")
    mask[0] = 0
    values = (values_of(number), np.full(GRID.shape, number, "uint16"))
    sink.prepare()
    return [sink.write(Tile(0, 0, GRID), PixelBlock(("NDVI", "QA"), values, (mask, mask)))]


def add(location, number, lock=QUICK):
    sink = sink_of(location, number, lock)
    return sink.commit(write(sink, number))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def stored(location):
    """Every file of the store itself."""
    paths = location.filesystem.find(location.path)
    return {path.removeprefix(location.path + "/"): location.filesystem.cat_file(path) for path in paths}


def shown(url):
    """Numbers of the dates that a reader sees, each with all of its own pixels."""
    with xr.open_zarr(url, mask_and_scale=False) as opened:
        numbers = [
            round((when - np.datetime64(START.replace(tzinfo=None))) / np.timedelta64(16, "D"))
            for when in opened["time"].values
        ]
        expected = np.stack([values_of(number) for number in numbers]) if numbers else np.zeros((0, *GRID.shape))
        if numbers:
            expected[:, 0] = -32768
        np.testing.assert_array_equal(opened["NDVI"].values, expected)
    assert numbers == sorted(set(numbers))
    return numbers


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    """Dates 0 to 7, one after another by one run."""
    folder = tmp_path_factory.mktemp("ordered")
    for number in range(8):
        add(local(folder / "cube.zarr"), number)
    assert shown(folder / "cube.zarr") == list(range(8))
    return contents(folder / "cube.zarr")


def test_each_date_keeps_its_provenance_and_what_all_share_is_told_once(tmp_path, ordered):
    attributes = json.loads(ordered["zarr.json"])["attributes"]
    assert attributes["source"] == "MODIS/061/MOD13Q1"
    assert attributes["simulated"] == "true"
    own = json.loads(attributes["provenance"])
    assert own["2020-01-17T00:00:00Z"] == {"request_digest": "digest 1"}
    assert len(own) == 8
    add(local(tmp_path / "one.zarr"), 3)
    alone = json.loads((tmp_path / "one.zarr" / "zarr.json").read_bytes())["attributes"]
    assert alone["request_digest"] == "digest 3"
    assert "provenance" not in alone


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(8)), cuts=st.sets(st.integers(1, 7)))
def test_dates_in_any_order_alone_or_together_make_the_same_bytes(tmp_path_factory, ordered, order, cuts):
    folder = tmp_path_factory.mktemp("any")
    for start, end in itertools.pairwise([0, *sorted(cuts), 8]):
        sinks = [sink_of(local(folder / "cube.zarr"), number) for number in order[start:end]]
        add_dates([(sink, write(sink, number)) for sink, number in zip(sinks, order[start:end], strict=True)])
        assert shown(folder / "cube.zarr") == sorted(order[:end])
    assert contents(folder / "cube.zarr") == ordered


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(8)))
def test_an_object_store_holds_the_same_bytes_as_a_disk_in_any_order(store, ordered, order):
    store.filesystem.rm("/", recursive=True)
    for number in order:
        add(store, number)
    assert stored(store) == ordered
    assert [path for path in store.filesystem.find("/b") if "cube.zarr/" not in path] == [
        "/b/.cube.zarr.parts/lock-00000008"
    ]


def test_a_date_that_is_written_again_leaves_the_same_bytes_and_a_new_one_is_taken(tmp_path, ordered, store):
    for place in (local(tmp_path / "cube.zarr"), store):
        for number in range(8):
            add(place, number)
        add(place, 3)
        assert stored(place) == ordered
        sink = sink_of(place, 3)
        mask = np.ones(GRID.shape, "u1")
        values = np.full(GRID.shape, 5, "int16"), np.full(GRID.shape, 6, "uint16")
        sink.prepare()
        sink.commit([sink.write(Tile(0, 0, GRID), PixelBlock(("NDVI", "QA"), values, (mask, mask)))])
        with xr.open_zarr(place.url, mask_and_scale=False) as opened:
            assert (opened["NDVI"][3] == 5).all()
            assert (opened["NDVI"][4, 1:] == 104).all()
            assert opened.sizes["time"] == 8
        add(place, 3)
        assert stored(place) == ordered


def test_a_second_commit_of_the_same_records_changes_nothing(tmp_path):
    place = local(tmp_path / "cube.zarr")
    sink = sink_of(place, 1)
    records = write(sink, 1)
    first = sink.commit(records)
    add(place, 0)
    before = contents(tmp_path / "cube.zarr")
    assert all(sink.holds(record) for record in records), "its place moved, its pixels are there"
    assert sink.commit(records) == first
    assert contents(tmp_path / "cube.zarr") == before
    assert not sink_of(place, 2).holds(records[0])


def test_the_cube_tells_its_times(tmp_path):
    place = local(tmp_path / "cube.zarr")
    cube = ZarrCube(location=place, layout=layout_of(0), chunk=8)
    assert cube.times == ()
    for number in (4, 2):
        add(place, number)
    assert cube.times == (START + timedelta(days=32), START + timedelta(days=64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grid": replace(GRID, transform=(10.0, 0.0, 5e5 + 10, 0.0, -10.0, 4e6))},
            "spatial_ref attributes GeoTransform",
        ),
        ({"grid": replace(GRID, width=21)}, "NDVI shape"),
        ({"bands": BANDS[:1]}, "QA"),
        (
            {"bands": (replace(BANDS[0], scale=0.01), BANDS[1])},
            "NDVI attributes scale_factor: the cube has 0.0001, this run wants 0.01",
        ),
        ({"bands": (replace(BANDS[0], dtype=np.dtype("float32")), BANDS[1])}, "NDVI"),
        ({"nodata": -1.0}, "nodata must be a uint16"),
        ({"mask": "band"}, "NDVI"),
    ],
)
def test_a_cube_of_another_layout_is_refused_before_pixels_are_asked_for(tmp_path, changes, message):
    place = local(tmp_path / "cube.zarr")
    add(place, 0)
    before = contents(tmp_path / "cube.zarr")
    sink = sink_of(place, 1)
    with pytest.raises(ValueError, match=message):
        replace(sink, layout=replace(sink.layout, **changes)).prepare()
    with pytest.raises(ValueError, match="chunk_grid"):
        replace(sink, chunk=4).prepare()
    assert contents(tmp_path / "cube.zarr") == before


def test_a_store_without_dates_does_not_grow(tmp_path):
    place = local(tmp_path / "cube.zarr")
    alone = replace(sink_of(place, 0), grows=False, time=None)
    alone.commit(write(alone, 0))
    with pytest.raises(ValueError, match="no cube of this package"):
        sink_of(place, 1).prepare()


def test_simulated_dates_never_stand_beside_real_ones(tmp_path):
    place = local(tmp_path / "cube.zarr")
    add(place, 0)
    real = sink_of(place, 1)
    real = replace(real, layout=replace(real.layout, tags={"source": "MODIS/061/MOD13Q1"}))
    with pytest.raises(ValueError, match="simulated dates or real ones, not both"):
        real.prepare()
    meanwhile = replace(real, location=local(tmp_path / "other.zarr"))
    records = write(meanwhile, 1)
    add(meanwhile.location, 0)
    with pytest.raises(ValueError, match="simulated dates or real ones, not both"):
        meanwhile.commit(records)
    assert shown(tmp_path / "cube.zarr") == [0]


def test_valid_pixels_with_the_value_of_nodata_are_refused_in_a_cube_whatever_is_masked(tmp_path):
    sink = sink_of(local(tmp_path / "cube.zarr"), 0)
    sink.prepare()
    values = np.full(GRID.shape, 1, "int16"), np.full(GRID.shape, 65535, "uint16")
    everywhere = np.ones(GRID.shape, bool)
    with pytest.raises(ValueError, match="nodata: 65535 is a value of valid pixels of QA"):
        sink.write(Tile(0, 0, GRID), PixelBlock(("NDVI", "QA"), values, (everywhere, everywhere)))


def test_dates_of_two_cubes_are_not_added_together(tmp_path):
    sinks = [sink_of(local(tmp_path / name), 0) for name in ("a.zarr", "b.zarr")]
    with pytest.raises(ValueError, match="different ones of one cube"):
        add_dates([(sink, write(sink, 0)) for sink in sinks])
    with pytest.raises(ValueError, match="different ones of one cube"):
        add_dates([(sinks[0], write(sinks[0], 0))] * 2)
    assert add_dates([]) == ()


WORKER = """
import sys
sys.path.insert(0, {folder!r})
from test_zarr_cube import LockSettings, add, local
for number in map(int, sys.argv[2:]):
    add(local(sys.argv[1]), number, LockSettings())
"""


def start(*arguments):
    code = WORKER.format(folder=str(Path(__file__).parent))
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def test_eight_processes_in_any_order_make_the_bytes_of_one_ordered_run(tmp_path, tmp_path_factory):
    order = random.Random(4).sample(range(16), 16)
    for number in range(16):
        add(local(tmp_path / "one" / "cube.zarr"), number)
    workers = [start(tmp_path / "eight" / "cube.zarr", *order[index::8]) for index in range(8)]
    assert [(worker.wait(), worker.stderr.read()) for worker in workers] == [(0, "")] * 8
    assert contents(tmp_path / "eight" / "cube.zarr") == contents(tmp_path / "one" / "cube.zarr")
    (lock,) = contents(tmp_path / "eight" / ".cube.zarr.parts")
    assert int(lock.removeprefix("lock-")) >= 16


KILLER = """
import zarr, itertools, os, shutil, signal, sys
sys.path.insert(0, {folder!r})
import test_zarr_cube as tests
from airflow_ee.core.sinks import folders
base, folder, number = sys.argv[1], sys.argv[2], int(sys.argv[3])

def killed(count):
    '''Add a date in a process that is killed before its ``count``-th change of the disk; whether it was.'''
    shutil.copytree(base, f"{{folder}}/{{count}}")
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = itertools.count(count, -1)
    def counted(change):
        def changed(*arguments, **options):
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)
        return changed
    for name in ("replace", "rename", "link", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    folders._exchange = counted(folders._exchange)
    tests.add(tests.local(f"{{folder}}/{{count}}/cube.zarr"), number)
    os._exit(0)

print(sum(1 for _ in itertools.takewhile(killed, itertools.count(0, {step}))))
"""


# Of the places at which a writer may be killed every so many-th is tried; all of them with AIRFLOW_EE_KILL_EVERY=1.
EVERY = int(os.environ.get("AIRFLOW_EE_KILL_EVERY", "0"))


@pytest.mark.parametrize(
    ("number", "step", "exchange"),
    [(4, EVERY or 67, True), (7, EVERY or 17, True), (2, EVERY or 83, False)],
    ids=["between", "end", "no exchange"],
)
def test_a_writer_killed_at_any_moment_leaves_a_store_that_opens_and_a_rerun_ends_the_same(
    tmp_path, ordered, number, step, exchange
):
    others = [other for other in range(8) if other != number]
    for other in others:
        add(local(tmp_path / "base" / "cube.zarr"), other)
    code = KILLER.format(folder=str(Path(__file__).parent), step=step)
    if not exchange:
        code = code.replace("folders._exchange = counted(folders._exchange)", "folders._exchange = lambda *_: False")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "base"), str(tmp_path / "killed"), str(number)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = int(done.stdout)
    assert kills >= 3
    for count in range(0, step * kills, step):
        place = tmp_path / "killed" / str(count) / "cube.zarr"
        if exchange or place.exists():
            assert shown(place) in (others, list(range(8)))
        add(local(place), number)
        assert contents(place) == ordered
        assert sorted(os.listdir(place.parent)) == [".cube.zarr.parts", "cube.zarr"]
        assert [name[:5] for name in os.listdir(place.parent / ".cube.zarr.parts")] == ["lock-"]


class Killed(BaseException):
    """The process is gone: from now on nothing that it does reaches the store."""


def kill_after(patch, count):
    """Let ``count`` changes of the store in memory happen, and no more."""
    left = itertools.count(count, -1)
    for name in ("pipe_file", "rm_file", "cp_file", "rm"):

        def changed(self, *arguments, _change=getattr(MemoryFileSystem, name), **options):
            if next(left) <= 0:
                raise Killed
            return _change(self, *arguments, **options)

        patch.setattr(MemoryFileSystem, name, changed)


@pytest.mark.parametrize(("number", "step"), [(4, EVERY or 71), (0, EVERY or 113), (7, EVERY or 19)])
def test_on_an_object_store_a_killed_writer_leaves_right_dates_and_a_rerun_ends_the_same(store, ordered, number, step):
    others = [other for other in range(8) if other != number]
    for other in others:
        add(store, other)
    base = {path: store.filesystem.cat_file(path) for path in store.filesystem.find("/b")}
    seen = set()
    for count in itertools.count(1, step):
        store.filesystem.rm("/b", recursive=True)
        store.filesystem.pipe(base)
        with pytest.MonkeyPatch.context() as patch:
            kill_after(patch, count)
            try:
                add(store, number)
                break
            except Killed:
                pass
        dates = tuple(shown(store.url))
        seen.add(dates)
        assert dates in (tuple(others), tuple(range(8)), tuple(range(number)))
        if count % 2:
            add(store, (number + 3) % 8)  # another run comes first
            assert set(shown(store.url)) >= set(others)
        add(store, number)
        assert stored(store) == ordered
    assert tuple(others) in seen


def test_a_run_that_is_killed_gives_its_turn_to_others_after_a_while(tmp_path, ordered):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_zarr_cube as tests
import airflow_ee.core.sinks.zarr_cube as cube
def die(*_):
    print("holds the lock", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
cube.write_metadata = die
tests.add(tests.local(sys.argv[1]), 3)
"""
    for number in (0, 1, 2, 4, 5, 6):
        add(local(tmp_path / "cube.zarr"), number)
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cube.zarr")], capture_output=True, text=True, check=False
    )
    assert process.stdout == "holds the lock\n", process.stderr
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(TimeoutError, match=r"locked by .*, process \d+, waited 0.05 s"):
        add(local(tmp_path / "cube.zarr"), 7, replace(QUICK, expires_after_seconds=60, wait_seconds=0.05))
    begin = time.monotonic()
    add(local(tmp_path / "cube.zarr"), 7)
    assert time.monotonic() - begin >= QUICK.expires_after_seconds
    add(local(tmp_path / "cube.zarr"), 3)
    assert contents(tmp_path / "cube.zarr") == ordered


def test_readers_meet_only_whole_dates_while_dates_are_added_at_the_end(tmp_path):
    add(local(tmp_path / "cube.zarr"), 0)
    worker = start(tmp_path / "cube.zarr", *range(1, 12))
    lengths = []
    while worker.poll() is None:
        lengths.append(len(shown(tmp_path / "cube.zarr")))
    assert worker.returncode == 0, worker.stderr.read()
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 3
    assert shown(tmp_path / "cube.zarr") == list(range(12))


def test_a_writer_whose_lock_was_taken_over_changes_nothing(tmp_path, monkeypatch):
    from airflow_ee.core.sinks import zarr_cube
    from airflow_ee.core.sinks.lock import LockLost

    place = local(tmp_path / "cube.zarr")
    for number in (0, 2):
        add(place, number)

    def pause(folder, contents, _write=zarr_cube.write_metadata, **_):
        """Stand still after the new store was built, while another run finds the lock expired."""
        monkeypatch.undo()
        _write(folder, contents)
        add(place, 3)

    monkeypatch.setattr(zarr_cube, "write_metadata", pause)
    with pytest.raises(LockLost, match="another one took its lock"):
        add(place, 1)
    assert shown(tmp_path / "cube.zarr") == [0, 2, 3]
    add(place, 1)
    assert shown(tmp_path / "cube.zarr") == [0, 1, 2, 3]


def test_files_are_copied_where_the_disk_has_no_links(tmp_path, ordered, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("airflow_ee.core.sinks.folders.os.link", refuse)
    for number in (3, 1, 7, 0, 2, 6, 5, 4):
        add(local(tmp_path / "cube.zarr"), number)
    assert contents(tmp_path / "cube.zarr") == ordered
