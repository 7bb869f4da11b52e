"""Published imagery beside the checkout, mounted in an emulator: what comes out must be what was published."""

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def modis_folder() -> Path:
    return _folder("mod13q1_mato_grosso")


@pytest.fixture(scope="session")
def sentinel2_folder() -> Path:
    return _folder("sentinel2_field")


def _folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the published images are not beside the checkout: ../shared/data/{name}")
    return folder
