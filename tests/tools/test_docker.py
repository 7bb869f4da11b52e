import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = ["docker/airflow.Dockerfile", "docker/emulator.Dockerfile"]
BUILT = {"airflow": "airflow-init", "emulator": "emulator"}
"""The service that builds each image."""


def text(name: str) -> str:
    return (ROOT / name).read_text()


def compose() -> dict[str, Any]:
    return yaml.safe_load(text("docker/compose.yaml"))


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return compose()["services"]


def base_images(dockerfile: str) -> dict[str, str]:
    """The base images that build arguments may replace, by the argument's name."""
    return dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text(dockerfile), re.MULTILINE))


def default(value: str) -> str:
    """What compose.yaml takes where the environment says nothing."""
    return re.fullmatch(r"\$\{\w+:-(.+)\}", value).group(1)


def test_the_image_has_the_airflow_of_the_lock():
    locked = re.search(r"^apache-airflow==(\S+)", text("requirements.lock"), re.MULTILINE)
    image = base_images("docker/airflow.Dockerfile")["AIRFLOW_IMAGE"]
    assert image.startswith(f"apache/airflow:slim-{locked.group(1)}-")


def test_the_image_has_the_uv_of_the_makefile():
    version = re.search(r"^UV_VERSION := (\S+)", text("Makefile"), re.MULTILINE)
    assert f"uv=={version.group(1)}" in text("docker/emulator.Dockerfile")


def test_what_the_images_install_has_versions_in_the_lock():
    locked = set(re.findall(r"^([\w.-]+)==", text("requirements.lock"), re.MULTILINE))
    assert {"asyncpg", "psycopg2-binary", "apache-airflow-providers-celery", "celery"} <= locked
    assert emulator_packages() <= locked
    assert "[ee,chart,celery]" in text("docker/airflow.Dockerfile"), (
        "the executor comes with the extra, which holds Celery back"
    )


def emulator_packages() -> set[str]:
    command = text("docker/emulator.Dockerfile").replace("\\\n", " ")
    return set(re.search(r"--constraint \S+\s+([\w\s-]+?)\s+&&", command).group(1).split())


def test_the_emulators_image_has_all_that_the_emulator_imports():
    known_by_name = set(sys.stdlib_module_names) | {"airflow_ee"}
    # The fixture for other people's tests is no part of the server; affine comes with rasterio.
    files = set((ROOT / "airflow_ee/emulator").rglob("*.py")) - {ROOT / "airflow_ee/emulator/pytest_plugin.py"}
    imported = {module for file in files for module in imports_at_start(file)}
    assert imported - known_by_name - {"affine"} <= emulator_packages()


def imports_at_start(file: Path) -> set[str]:
    """The packages that a module cannot be imported without."""
    found = set()
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Import):
            found |= {name.name.partition(".")[0] for name in statement.names}
        if isinstance(statement, ast.ImportFrom) and not statement.level:
            found.add(str(statement.module).partition(".")[0])
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_pinned_and_do_not_run_as_root(name):
    images = base_images(name)
    for image in images.values():
        assert re.search(r":\S*\d+\.\d+\.\d+", image), image
    built_on = re.findall(r"^FROM (\S+)", text(name), re.MULTILINE)
    assert set(built_on) == {f"${{{argument}}}" for argument in images}, "every base image may be replaced"
    assert int(re.findall(r"^USER (\d+)$", text(name), re.MULTILINE)[-1]) > 0


@pytest.mark.parametrize("name", BUILT)
def test_compose_hands_on_the_base_images_with_the_defaults_of_the_dockerfile(services, name):
    build = services[BUILT[name]]["build"]
    assert build["dockerfile"] == f"docker/{name}.Dockerfile"
    assert {argument: default(value) for argument, value in build["args"].items()} == base_images(build["dockerfile"])


def test_images_of_others_are_pinned_and_may_be_replaced(services):
    for service in ("postgres", "redis"):
        assert re.search(r":\d+\.\d+(\.\d+)?-", default(services[service]["image"]))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_in_the_build_context(name):
    allowed = re.findall(r"^!(\S+)", text(".dockerignore"), re.MULTILINE)
    copied = [part for line in re.findall(r"^COPY (?!--from)(.+)", text(name), re.MULTILINE) for part in line.split()]
    sources = [part for part in copied if not part.startswith(("--", "/", "."))]
    assert sources
    for source in sources:
        assert source.split("/")[0] in allowed, source


def test_ports_are_published_on_loopback_only(services):
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert set(published) == {"emulator"}
    assert all(port.startswith("127.0.0.1:") for port in published["emulator"])


def test_every_secret_is_required_from_the_environment(services):
    secret = re.compile(r"SECRET|PASSWORD|FERNET|SQL_ALCHEMY_CONN|BROKER_URL|REDISCLI_AUTH")
    variables = [pair for service in services.values() for pair in service.get("environment", {}).items()]
    secrets = [(name, value) for name, value in variables if secret.search(name)]
    assert len({name for name, _ in secrets}) == 7
    for name, value in secrets:
        assert re.search(r"\$\{\w+:\?", value), name
    command = services["redis"]["command"]
    assert command[command.index("--requirepass") + 1].startswith("${REDIS_PASSWORD:?")


def test_the_readme_makes_every_secret(services):
    asked = set(re.findall(r"\$\{(\w+):\?", text("docker/compose.yaml")))
    assert asked == set(re.findall(r"^(\w+)=\$\(", text("docker/README.md"), re.MULTILINE))


def test_those_who_call_the_emulator_reach_it_on_loopback(services):
    callers = {name for name, service in services.items() if service.get("network_mode") == "service:emulator"}
    assert callers == {"api-server", "worker", "triggerer"}


def test_workers_wait_for_all_that_they_need(services):
    assert services["worker"]["depends_on"].keys() >= {"airflow-init", "postgres", "redis", "emulator", "api-server"}


def test_the_older_compose_reads_the_file_as_well():
    assert set(compose()) - {"services", "volumes"} == {key for key in compose() if key.startswith("x-")}


def test_every_service_that_goes_on_has_a_health_check(services):
    without = {name for name, service in services.items() if "healthcheck" not in service}
    assert without == {"airflow-init", "emulator"}
    assert "HEALTHCHECK" in text("docker/emulator.Dockerfile")
