import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = ["airflow.Dockerfile", "emulator.Dockerfile"]


def dockerfile(name: str) -> str:
    return (ROOT / "docker" / name).read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]


def test_the_image_has_the_airflow_of_the_lock():
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert f"FROM apache/airflow:slim-{locked.group(1)}-" in dockerfile("airflow.Dockerfile")


def test_the_image_has_the_uv_of_the_makefile():
    version = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"uv=={version.group(1)}" in dockerfile("emulator.Dockerfile")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_pinned_and_do_not_run_as_root(name):
    text = dockerfile(name)
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.search(r":\S*\d+\.\d+\.\d+", image), image
    assert int(re.findall(r"^USER (\d+)$", text, re.MULTILINE)[-1]) > 0


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_in_the_build_context(name):
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        part for line in re.findall(r"^COPY (?!--from)(.+)", dockerfile(name), re.MULTILINE) for part in line.split()
    ]
    sources = [part for part in copied if not part.startswith(("--", "/", "."))]
    assert sources
    for source in sources:
        assert source.split("/")[0] in allowed, source


def test_ports_are_published_on_loopback_only(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_secret_is_required_from_the_environment(services):
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASSWORD|FERNET|SQL_ALCHEMY_CONN", name):
                assert re.search(r"\$\{\w+:\?", value), name


def test_those_who_call_the_emulator_reach_it_on_loopback(services):
    callers = {name for name, service in services.items() if service.get("network_mode") == "service:emulator"}
    assert callers == {"api-server", "scheduler", "triggerer"}
