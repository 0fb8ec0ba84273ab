# Everything a bare machine needs: `make demo` and `make test` build their own environment in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where lightning-bolts lives, which does not run beside Lightning 2; it needs Python 3.11 or older.
BOLTS_VENV ?= .venv-bolts
BOLTS_PYTHON ?= python3.11
# Where the oldest versions of setup.cfg live, which newer Pythons than 3.11 have no wheels of.
OLDEST_VENV ?= .venv-oldest
OLDEST_PYTHON ?= python3.11
# Processes that run tests, one thread each.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -q
# Empty: compiled tests are kept, where it is set each process would compile them anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo check test test-slow test-kill test-bolts test-oldest test-lightning audit lint format notebooks docs docs-links benchmarks clean

$(BIN)/.base: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(BIN)/.test: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(BIN)/.base

$(BIN)/.docs: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@ $(BIN)/.base

demo: $(BIN)/.base  ## train, evaluate and draw SimCLR on the packaged images
	$(BIN)/sslbolts demo

lint: $(BIN)/.test
	$(BIN)/ruff format --check src tests benchmarks docs notebooks
	$(BIN)/ruff check src tests benchmarks docs notebooks
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint  ## format, lint, types, floors, and the tests of parts that neither train nor start a process
	@echo "Tests of parts that neither train, export nor start a process: about 2 minutes on 2 cores. The percentage shows how far they are."
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not slow and not kill" --quick -rfE

test: lint  ## format, lint, types, floors, then every test that is not slow
	@echo "All tests that are not slow: about 8 minutes on 2 cores. The percentage shows how far they are."
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not slow and not kill"

test-slow: $(BIN)/.test
	$(PYTEST) -m "slow and not kill"

test-kill: $(BIN)/.test  ## runs killed at random steps, in saves, validations and moves; resumed; compared bit for bit
	$(PYTEST) tests/kill

$(BOLTS_VENV)/.installed:
	$(BOLTS_PYTHON) -m venv $(BOLTS_VENV)
	$(BOLTS_VENV)/bin/pip install --quiet --disable-pip-version-check \
		lightning-bolts==0.7.0 pytorch-lightning==1.9.5 'setuptools<81' torch torchvision
	touch $@

test-bolts: $(BIN)/.test $(BOLTS_VENV)/.installed  ## lightning-bolts trains and saves, and we give its features
	$(BOLTS_VENV)/bin/python -W ignore tests/bolts/record.py $(BOLTS_VENV)/records
	SSLBOLTS_BOLTS_RECORDS=$(BOLTS_VENV)/records $(PYTEST) tests/bolts

$(OLDEST_VENV)/.installed: setup.cfg
	$(OLDEST_PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/pip install --quiet --disable-pip-version-check uv
	$(OLDEST_VENV)/bin/uv pip install --quiet --python $(OLDEST_VENV)/bin/python \
		--resolution lowest-direct --editable '.[test]'
	touch $@

test-oldest: $(OLDEST_VENV)/.installed  ## every test that is not slow, with the oldest versions that setup.cfg allows
	$(OLDEST_VENV)/bin/python -m pytest -q -n $(JOBS) --dist worksteal -m "not slow and not kill"

test-lightning: $(BIN)/.test  ## where Lightning takes part, under its other name, lightning.pytorch
	SSLBOLTS_LIGHTNING=lightning $(PYTEST) -n $(JOBS) --dist worksteal -m "not slow and not kill" \
		tests/callbacks tests/checkpoints tests/cli tests/data tests/evaluation tests/invariants tests/training

audit: $(BIN)/.test  ## known vulnerabilities of what is installed, or a failure where that cannot be known; test-slow looks, too
	SSLBOLTS_AUDIT=1 $(PYTEST) -m slow tests/test_audit.py

docs: $(BIN)/.docs  ## the documentation site, in build/docs: warnings and references that lead nowhere are errors
	@echo "The documentation site: about a minute on 2 cores."
	$(BIN)/python -m sphinx -W --keep-going -n -q -j auto -b html -d build/doctrees docs build/docs
	@echo "The site: build/docs/index.html"

docs-links: $(BIN)/.docs  ## links to other sites, which needs the network
	$(BIN)/python -m sphinx -q -t online -b linkcheck -d build/doctrees-links docs build/docs-links

notebooks: $(BIN)/.test  ## run the notebooks and store what they show, some minutes
	$(BIN)/python notebooks/run.py

format: $(BIN)/.test
	$(BIN)/ruff format src tests benchmarks docs notebooks
	$(BIN)/ruff check --fix src tests benchmarks docs notebooks

clean:
	rm -rf $(VENV) $(BOLTS_VENV) $(OLDEST_VENV) build dist src/*.egg-info runs
