# `make demo` and `make test` are all that a new user needs; `make setup` is their common part.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

# No library may phone home, look for updates, or fetch anything at run time.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export HF_HUB_OFFLINE := 1

.PHONY: setup demo test coverage long fuzz lint types imports check constraints clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/hushrec simulate --scenario simulations/scenarios/demo.toml --out runs/demo --force

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

check: lint types imports

# Three workers on two cores: tests with processes wait a good part of their time.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest

# Which lines and branches the tests reach, 85% at least; counting them takes half the tests' time again.
coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest --cov --cov-report=term:skip-covered

# What takes minutes of processes by itself: the guide's walk, and a disturbed training.
long: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 0 -m long

# Other cases than `make test` tries, each time: what fails here becomes an example there.
fuzz: setup
	HYPOTHESIS_PROFILE=search OMP_NUM_THREADS=1 $(BIN)/pytest -m hypothesis

# Pins: resolve the declared dependencies anew in a scratch environment and freeze the result.
constraints:
	rm -rf .venv-constraints build
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet 'torch==2.13.0' '.[dev]'
	.venv-constraints/bin/pip freeze --exclude hushrec | sed -e 's/+cpu$$//' > constraints.txt
	rm -rf .venv-constraints build

clean:
	rm -rf $(VENV) .venv-constraints build *.egg-info
