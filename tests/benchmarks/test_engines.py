"""What benchmarks have engines do: answers of the size that is told, and a worker known by the tiles that it asks for."""

import pytest

from airflow_ee.engines.threads import ThreadEngine
from benchmarks import engine_jobs
from benchmarks.engine_quota import ACROSS, starts_by_worker
from benchmarks.scene import rest_grid
from benchmarks.serving import serving

HEADER_BYTES = 200


@pytest.fixture(scope="module")
def server():
    with serving((1, engine_jobs.SIDE)) as running:
        yield running


# So many small ones that one answer could not have them all.
@pytest.mark.parametrize(
    ("tile", "size", "down"), [(engine_jobs.TILE, 1 << 20, 2), (engine_jobs.SMALL_TILE, 64 << 10, 40)]
)
def test_each_tile_is_one_answer_of_the_size_that_is_told(server, tmp_path, tile, size, down):
    server.set()
    job = engine_jobs.job(server.url, tmp_path, 20, down, tile, in_flight=2, rate=engine_jobs.LIFTED)
    assert ThreadEngine().run(job).counts()["tiles"] == 20 * down
    record = server.record()
    assert (record["answers"], record["most_open"]) == (20 * down, 2)
    assert size <= record["sent"] / record["answers"] <= size + HEADER_BYTES


def test_a_worker_is_known_by_its_tiles():
    def asked(tile, seconds):
        row, col = divmod(tile, ACROSS)
        side = engine_jobs.SMALL_TILE
        grid = rest_grid(engine_jobs.SIDE, row=row * side, col=col * side, rows=side, cols=side)
        return {"seconds": seconds, "path": "", "body": {"grid": grid}}

    journal = [asked(150, 3.0), asked(0, 1.0), asked(149, 2.5), asked(299, 2.0)]
    assert starts_by_worker(journal, 150) == {0: [1.0, 2.5], 1: [2.0, 3.0]}
