# Two commands: make demo (the main job, offline) and make test. Each sets up .venv by itself and may be run again at any time.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run in as many processes at once, one more than processors since some wait; those that measure time run after them, alone.
WORKERS ?= 3
SITES ?= 2
HARNESS ?= .venv-harness
# Where torch's build without CUDA comes from on a machine without an NVIDIA GPU. Empty: pip's own indexes, as on a machine with one.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi || ls -d /proc/driver/nvidia 2>/dev/null),,https://download.pytorch.org/whl/cpu)
PIP := $(BIN)/pip --disable-pip-version-check
# Where no bytecode may be written every process takes twice as long to start. For tests, pip need not compile 29,000 files:
# a tenth is imported, and compiled then.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-core test-training test-313 test-skipped check lint types torture nightly browser harness bench docs install install-dev install-gym clean

demo: $(VENV)/.installed-train
	$(BIN)/cogumi demo

# Its last lines name what was skipped and how to get it; the file has the ids.
SKIPPED ?= .skipped-tests
TOGETHER := not alone and not torture and not browser and not gpu and not harness
test: export COGUMI_SKIPPED_FILE = $(SKIPPED)
test: $(VENV)/.installed-dev
	@rm -f $(SKIPPED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "$(TOGETHER)"
	$(BIN)/python -m pytest -q -m "alone"

# Only what `make test` has skipped, on this machine or another: SKIPPED names its file. Exit 5 of pytest: none of them is marked alone.
test-skipped: $(VENV)/.installed-dev
	@test -s $(SKIPPED) || { echo "no tests are listed in $(SKIPPED); make test writes the file"; exit 2; }
	cut -f 1 $(SKIPPED) >.skipped-ids
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "$(TOGETHER)" @.skipped-ids
	$(BIN)/python -m pytest -q -m "alone" @.skipped-ids || test $$? = 5

# The tests of the core and of the dataset stage: what they need is without torch.
WITHOUT_TORCH := $(addprefix --ignore=tests/unit/,training evaluate lm cli/test_evaluate_command.py cli/test_train_command.py)
test-core: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not alone and not torture and not browser and not gpu and not harness" \
		tests/unit tests/flows tests/test_architecture.py tests/test_docs.py tests/test_frozen_runs.py $(WITHOUT_TORCH)

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP) install -q --no-compile -c constraints.txt -e '.[test]'
	touch $@ $(VENV)/.installed

# Those that need torch, where TORCH_INDEX offers a CPU build for this Python; else a line says that they were not run.
test-training: $(VENV)/.installed-test $(VENV)/.torch
	@if $(BIN)/python -c "from importlib.metadata import version as v; import sys; sys.exit('+cpu' not in v('torch'))" 2>/dev/null; then \
	  $(PIP) install -q --no-compile -c constraints.txt -e '.[test,train,evaluate]' && \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "$(TOGETHER)" \
	    $(addprefix tests/unit/,training evaluate lm cli/test_evaluate_command.py cli/test_train_command.py); \
	else echo "training was not tested: no CPU build of torch for this Python at TORCH_INDEX=$(TORCH_INDEX)" >&2; fi

# Both on Debian 13, whose Python is 3.13, in a root where nothing is installed but python3, git and make.
COGUMI_FRESH_ROOT ?= /var/tmp/cogumi-fresh-root
test-313:
	SUITE=trixie infra/fresh_root.sh $(COGUMI_FRESH_ROOT) make test-core test-training

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

bench: $(VENV)/.installed-gym
	for name in ledger client limits orchestration dedup scale procedural meta sinusoid adapt transplant team draft likelihood forecast neighbour; do $(BIN)/cogumi bench $$name --save || exit 1; done

docs: $(VENV)/.installed-dev
	$(BIN)/python -m docs.generate

nightly: check test test-313 torture browser harness bench

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev
install-gym: $(VENV)/.installed-gym

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python3.13"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP) install -q -c constraints.txt -e .
	touch $@

# torch alone comes from TORCH_INDEX, or from where else this pip finds a CPU build; what needs torch then finds it installed.
$(VENV)/.torch: | $(VENV)/bin/pip
	@test -z "$(TORCH_INDEX)" || { \
	  $(PIP) install -q --no-compile --no-deps -c constraints.txt --index-url "$(TORCH_INDEX)" --timeout 15 --retries 1 torch; \
	  $(BIN)/python -c "from importlib.metadata import version as v; import sys; sys.exit('+cpu' not in v('torch'))" 2>/dev/null || \
	    echo "No CPU build of torch at TORCH_INDEX=$(TORCH_INDEX): pip takes what its own indexes have, with CUDA some gigabytes" >&2; }
	@touch $@

$(VENV)/.installed-train: pyproject.toml constraints.txt | $(VENV)/.torch
	$(PIP) install -q --no-compile -c constraints.txt -e '.[train]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.torch
	$(PIP) install -q --no-compile -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

# Not in dev, since one of its dependencies, pycosat, is built from source and needs a C compiler.
$(VENV)/.installed-gym: $(VENV)/.installed-dev
	$(PIP) install -q --no-compile -c constraints.txt -e '.[gym]'
	touch $@

clean:
	rm -rf $(VENV) $(HARNESS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
