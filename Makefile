# `make help` lists the targets. CI calls the same ones.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# The environment is up to date when a stamp with the lock's checksum exists, so a second `make` costs nothing.
LOCK_SUM := $(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')
STAMP := $(VENV)/.installed-$(LOCK_SUM)

export UV_PYTHON_DOWNLOADS := never
export AIRFLOW__CORE__LOAD_EXAMPLES := False

.PHONY: help setup lock demo up test test-fast test-slow bench lint types check clean

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
	  --all-extras --group dev pyproject.toml --output-file requirements.lock

demo: $(STAMP)  ## a year of NDVI and an export, by Airflow, against the emulator: build/demo/
	@$(BIN)/python tools/demo.py

up: $(STAMP)  ## all of Airflow with the emulator and the example DAGs, until Ctrl-C
	@exec $(BIN)/python tools/up.py

test: $(STAMP)  ## every test that needs no other machine
	$(BIN)/python -m pytest

test-fast: $(STAMP)  ## the tests that start no Airflow
	$(BIN)/python -m pytest -m "not airflow"

test-slow: $(STAMP)  ## 50,000 random graphs and tampered requests against the emulator
	AIRFLOW_EE_FUZZ_CASES=50000 $(BIN)/python -m pytest tests/emulator/test_fuzz.py

bench: $(STAMP)  ## what things cost beside numpy, peers and the floor: build/bench/results.json
	@$(BIN)/python -m bench

lint: $(STAMP)  ## ruff, hadolint, the compose schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

check: lint types test  ## all that CI runs

clean:  ## remove what was built; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
