# `make help` lists the targets. CI calls the same ones.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# The environment is up to date when a stamp with the lock's checksum exists, so a second `make` costs nothing.
LOCK_SUM := $(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')
STAMP := $(VENV)/.installed-$(LOCK_SUM)

# Many tests wait for servers and processes: two files side by side take two thirds of the time, more on more cores do not help.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

export UV_PYTHON_DOWNLOADS := never
export AIRFLOW__CORE__LOAD_EXAMPLES := False

# All but dataflow, which holds back clients of Google that the tests use.
EXTRAS := ee emulator zarr chart beam dask spark celery

# Older Airflows, each in an environment of its own: 3.1 with the oldest versions of all that pyproject.toml allows, 3.2 with the
# newest of its time. What came out after a version's date it has never met, and sometimes does not work with.
AIRFLOW := 3.1.8
RESOLVE-3.1.8 := --exclude-newer 2026-03-20 --resolution lowest-direct
RESOLVE-3.2.2 := --exclude-newer 2026-06-15
OLDER_LOCK := tests/compatibility/airflow-$(AIRFLOW).lock
OLDER_VENV := .venv-airflow-$(AIRFLOW)
OLDER_STAMP := $(OLDER_VENV)/.installed-$(shell cat $(OLDER_LOCK) pyproject.toml 2>/dev/null | cksum | tr ' ' '-')
OLDER_EXTRAS := ee emulator zarr chart
OLDER_TESTS := tests/test_provider_info.py tests/test_architecture.py tests/dags tests/hooks tests/links \
  tests/triggers tests/sensors tests/operators/test_base.py tests/operators/test_export.py tests/operators/test_export_in_airflow.py \
  tests/live

# Airflow's providers of Beam and Spark with all that submits to Dataflow, in an environment of their own: together they hold back
# clients of Google that the other tests have newer. Spark itself has another one, as its workers have.
PROVIDERS_LOCK := tests/providers/engine-providers.lock
PROVIDERS_VENV := .venv-providers
PROVIDERS_SPARK := $(PROVIDERS_VENV)/spark-workers
PROVIDERS_STAMP := $(PROVIDERS_VENV)/.installed-$(shell cat $(PROVIDERS_LOCK) workers/spark.lock pyproject.toml 2>/dev/null | cksum | tr ' ' '-')
PROVIDERS_EXTRAS := ee emulator zarr dataflow

.PHONY: help setup lock lock-airflow lock-providers lock-workers java demo up test test-fast test-slow test-airflow test-cluster \
  setup-providers test-providers test-docker bench lint types check clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make .venv from requirements.lock

# PYTHON, or the first interpreter that really runs and is new enough: version managers leave shims that do neither.
$(STAMP):
	@set -e; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if "$$python" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "No Python 3.11, 3.12 or 3.13 found: install one, or name it with make PYTHON=/path/to/python" >&2; exit 1; fi; \
	echo "Making $(VENV) with $$("$$found" --version) ..."; \
	rm -rf $(VENV); "$$found" -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)" 2>/dev/null \
	  || $(BIN)/python -m pip install --disable-pip-version-check "uv==$(UV_VERSION)"; \
	cp $(BIN)/uv $(VENV)/uv-$(UV_VERSION); \
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(VENV)/uv-$(UV_VERSION) pip sync --quiet --require-hashes requirements.lock; \
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(VENV)/uv-$(UV_VERSION) pip install --quiet --no-deps --no-build-isolation --editable .; \
	touch $@

lock: $(STAMP)  ## resolve requirements.lock again from pyproject.toml
	$(VENV)/uv-$(UV_VERSION) pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  $(EXTRAS:%=--extra %) --group dev pyproject.toml --output-file requirements.lock

lock-airflow: $(STAMP)  ## resolve the lock of an older Airflow again: AIRFLOW=3.1.8 or 3.2.2
	echo "apache-airflow==$(AIRFLOW)" | $(VENV)/uv-$(UV_VERSION) pip compile --universal --generate-hashes --python-version 3.11 \
	  --no-header --no-annotate $(OLDER_EXTRAS:%=--extra %) --group older-airflow $(RESOLVE-$(AIRFLOW)) pyproject.toml - --output-file $(OLDER_LOCK)

lock-providers: $(STAMP)  ## resolve the lock of Airflow's providers of Beam and Spark again
	$(VENV)/uv-$(UV_VERSION) pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  $(PROVIDERS_EXTRAS:%=--extra %) --group engine-providers pyproject.toml --output-file $(PROVIDERS_LOCK)

# What the tests ran with, so far as it goes: apache-beam[gcp] holds back clients of Google that the tests have newer.
lock-workers: $(STAMP)  ## resolve the locks of workers again: workers/*.lock
	@set -e; for engine in beam dask spark; do \
	  if [ $$engine != beam ]; then constraint="--constraint requirements.lock"; else constraint=; fi; \
	  $(VENV)/uv-$(UV_VERSION) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	    $$constraint workers/$$engine.in --output-file workers/$$engine.lock; done
	$(VENV)/uv-$(UV_VERSION) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --constraint requirements.lock --extra celery --extra ee pyproject.toml --output-file workers/celery.lock

java:  ## a Java runtime, where there is none: Spark runs on it
	@tools/install_java.sh

demo: $(STAMP)  ## a year of NDVI and an export, by Airflow, against the emulator: build/demo/
	@$(BIN)/python tools/demo.py

up: $(STAMP)  ## all of Airflow with the emulator and the example DAGs, until Ctrl-C
	@exec $(BIN)/python tools/up.py

test: $(STAMP) java  ## every test that needs no other machine
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-fast: $(STAMP) java  ## the tests that start no Airflow
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not airflow"

test-slow: $(STAMP)  ## the long campaigns: random graphs, mutated answers, kills, faults, random grids, late images
	AIRFLOW_EE_FUZZ_CASES=200000 $(BIN)/python -m pytest tests/emulator/test_fuzz.py
	AIRFLOW_EE_FUZZ_CASES=200000 $(BIN)/python -m pytest tests/core/test_decode_fuzz.py
	AIRFLOW_EE_FAULT_JOBS=50 $(BIN)/python -m pytest tests/core/test_fault_campaign.py
	AIRFLOW_EE_GRIDS=400 $(BIN)/python -m pytest tests/core/test_whole_equals_tiles.py
	AIRFLOW_EE_KILLS=180 $(BIN)/python -m pytest tests/core/test_kill.py
	AIRFLOW_EE_EXPORT_ROUNDS=160 $(BIN)/python -m pytest tests/live/test_export_campaign.py
	AIRFLOW_EE_KILLS_IN_A_RUN=2 AIRFLOW_EE_COMPONENT_ROUNDS=20 $(BIN)/python -m pytest tests/live/test_export_components.py
	AIRFLOW_EE_QUEUED_EXPORTS=350 $(BIN)/python -m pytest tests/live/test_export_queue.py
	AIRFLOW_EE_COLLECTION_IMAGES=5000 AIRFLOW_EE_COLLECTION_KILLS=20 $(BIN)/python -m pytest tests/operators/test_export_collection.py -m slow
	AIRFLOW_EE_IMAGES=500 $(BIN)/python -m pytest tests/triggers/test_imagery_campaign.py

test-airflow: $(OLDER_STAMP)  ## an older Airflow, with what it may do otherwise: AIRFLOW=3.1.8 (the default) or 3.2.2
	$(OLDER_VENV)/bin/python -m pytest $(OLDER_TESTS)

$(OLDER_STAMP): $(STAMP) $(OLDER_LOCK)
	@set -e; export VIRTUAL_ENV=$(CURDIR)/$(OLDER_VENV); \
	echo "Making $(OLDER_VENV) ..."; \
	$(VENV)/uv-$(UV_VERSION) venv --quiet --clear --python $(BIN)/python $(OLDER_VENV); \
	$(VENV)/uv-$(UV_VERSION) pip sync --quiet --require-hashes $(OLDER_LOCK); \
	$(VENV)/uv-$(UV_VERSION) pip install --quiet --no-deps --no-build-isolation --editable .; \
	touch $@

test-cluster: $(STAMP)  ## Airflow with Postgres, Redis and two workers of Celery, one of them killed; needs root where these are not installed
	tools/install_services.sh
	$(BIN)/python -m pytest tests/cluster

# Where the base images of the images come from: `pull` takes those that docker/ names, `debootstrap` makes stand-ins of them
# from Debian's packages, where no image registry can be reached.
BASE_IMAGES := pull

test-docker: $(STAMP)  ## the images and the compose stack in Docker; starts an engine, as root, where none runs; BASE_IMAGES=debootstrap without a registry
	tools/install_docker.sh $(BASE_IMAGES)
	AIRFLOW_EE_BASE_IMAGES=$(BASE_IMAGES) $(BIN)/python -m pytest --capture=no --exitfirst -o faulthandler_timeout=3600 tests/docker

setup-providers: $(PROVIDERS_STAMP)  ## make .venv-providers, which has Airflow's providers of Beam and Spark as well

test-providers: $(PROVIDERS_STAMP) java  ## the example DAGs of engine_dags/: Airflow's own operators of Beam, Spark, Dataflow and Dataproc
	$(PROVIDERS_VENV)/bin/python -m pytest tests/providers

$(PROVIDERS_STAMP): $(STAMP) $(PROVIDERS_LOCK) workers/spark.lock
	@set -e; echo "Making $(PROVIDERS_VENV) ..."; \
	export VIRTUAL_ENV=$(CURDIR)/$(PROVIDERS_VENV); \
	$(VENV)/uv-$(UV_VERSION) venv --quiet --clear --python $(BIN)/python $(PROVIDERS_VENV); \
	$(VENV)/uv-$(UV_VERSION) pip sync --quiet --require-hashes $(PROVIDERS_LOCK); \
	$(VENV)/uv-$(UV_VERSION) pip install --quiet --no-deps --no-build-isolation --editable .; \
	export VIRTUAL_ENV=$(CURDIR)/$(PROVIDERS_SPARK); \
	$(VENV)/uv-$(UV_VERSION) venv --quiet --python $(BIN)/python $(PROVIDERS_SPARK); \
	$(VENV)/uv-$(UV_VERSION) pip sync --quiet --require-hashes workers/spark.lock; \
	touch $@

bench: $(STAMP)  ## what things cost beside numpy, peers and the floor: build/bench/results.json; BENCH_SCALE=small for a quick look
	@$(BIN)/python -m benchmarks

lint: $(STAMP)  ## ruff, hadolint, the compose schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/*.Dockerfile tests/docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml tests/docker/compose.*.yaml

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

check: lint types test  ## all that CI runs

clean:  ## remove what was built; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
