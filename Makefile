# Everything a bare machine needs: `make demo` and `make test` build their own environment in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that run tests, one thread each.
JOBS ?= 2

.PHONY: demo test test-slow lint format benchmarks clean

$(BIN)/.base: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(BIN)/.test: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(BIN)/.base

demo: $(BIN)/.base  ## train, evaluate and draw SimCLR on the packaged images
	$(BIN)/sslbolts demo

lint: $(BIN)/.test
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## format, lint, types, floors, then every test that is not slow
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow"

test-slow: $(BIN)/.test
	$(BIN)/python -m pytest -q -m slow

format: $(BIN)/.test
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf $(VENV) build dist src/*.egg-info runs
