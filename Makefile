# Two commands: make demo (the main job, offline) and make test. Each sets up .venv by itself and may be run again at any time.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run in as many processes at once; those that measure time run after them, alone.
WORKERS ?= 2
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: demo test check torture nightly browser bench docs install install-dev clean

demo: $(VENV)/.installed
	$(BIN)/cogumi demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not alone and not torture and not browser and not gpu"
	$(BIN)/python -m pytest -q -m "alone"

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r cogumi flows tasks blocks deployments benchmarks
	$(BIN)/python -m pytest -q tests/test_architecture.py

# The short form is CI's; COGUMI_TORTURE=long is resumable: it goes on with the seeds not yet passed.
torture: $(VENV)/.installed-dev
	COGUMI_TORTURE=long $(BIN)/python -m pytest -q -m torture tests/torture

torture-short: $(VENV)/.installed-dev
	COGUMI_TORTURE=short $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m torture tests/torture

browser: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m browser tests/browser

bench: $(VENV)/.installed-dev
	for name in ledger client limits orchestration dedup scale procedural meta sinusoid adapt; do $(BIN)/cogumi bench $$name --save || exit 1; done

docs: $(VENV)/.installed-dev
	$(BIN)/python -m docs.generate

nightly: check test torture browser bench

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
