# Two commands: make demo (the main job, offline) and make test. Each sets up .venv by itself and may be run again at any time.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run in as many processes at once, one more than processors since some wait; those that measure time run after them, alone.
WORKERS ?= 3
SITES ?= 2
HARNESS ?= .venv-harness
PIP := $(BIN)/pip --disable-pip-version-check
# Where no bytecode may be written every process takes twice as long to start. For tests, pip need not compile 29,000 files:
# a tenth is imported, and compiled then.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types torture nightly browser harness bench docs install install-dev clean

demo: $(VENV)/.installed
	$(BIN)/cogumi demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not alone and not torture and not browser and not gpu and not harness"
	$(BIN)/python -m pytest -q -m "alone"

# With -j2, types are checked beside the rest.
check: lint types

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r cogumi flows tasks blocks deployments benchmarks
	$(BIN)/python -m pytest -q tests/test_architecture.py

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The short form is CI's; COGUMI_TORTURE=long is resumable: it goes on with the seeds not yet passed.
torture: $(VENV)/.installed-dev
	COGUMI_TORTURE=long $(BIN)/python -m pytest -q -m torture tests/torture

torture-short: $(VENV)/.installed-dev
	COGUMI_TORTURE=short $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m torture tests/torture

browser: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n $(SITES) --dist loadfile -m browser tests/browser

# lm-evaluation-harness has an environment of its own, on top of this one: its requirements are not ours.
harness: $(HARNESS)/.installed
	COGUMI_HARNESS_PYTHON=$(abspath $(HARNESS))/bin/python $(BIN)/python -m pytest -q -m harness tests/harness

$(HARNESS)/.installed: $(VENV)/.installed-dev
	$(BIN)/python -m venv --clear --without-pip $(HARNESS)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		$$($(HARNESS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/cogumi.pth
	$(BIN)/pip --disable-pip-version-check --python $(HARNESS)/bin/python install -q lm_eval==0.4.13
	touch $@

bench: $(VENV)/.installed-dev
	for name in ledger client limits orchestration dedup scale procedural meta sinusoid adapt transplant team draft likelihood neighbour; do $(BIN)/cogumi bench $$name --save || exit 1; done

docs: $(VENV)/.installed-dev
	$(BIN)/python -m docs.generate

nightly: check test torture browser harness bench

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP) install -q --no-compile -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) $(HARNESS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
