# make demo    install, then from a generated DICOM export and a table of labels to masks; results in demo/
# make test    install, then lint, types, import rules and tests
# make test-pydicom2  the DICOM tests on pydicom 2.4, which MONAI Label's environment has
# make install the development environment alone; make lint; make clean
#
# Overridable: PYTHON (3.10 or newer), TORCH (requirement), WORKERS (test processes), PYTEST_ARGS.

PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Stamps: a re-run does nothing until pyproject.toml or this file's pin changes.
TORCH_STAMP := $(VENV)/.installed-$(subst /,-,$(firstword $(TORCH)))
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: demo test test-pydicom2 install lint clean
.DELETE_ON_ERROR:

demo: $(DEMO_STAMP)
	$(BIN)/monai-wsss demo --out demo

# One thread per worker: two processes of two threads each slow one another several-fold on two cores.
test: lint
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# A copy beside the environment, first on the path.
$(VENV)/pydicom2: $(DEV_STAMP)
	$(PIP) install --no-deps --target '$@' 'pydicom>=2.4,<3'
	@touch '$@'

test-pydicom2: $(VENV)/pydicom2
	OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)/pydicom2 $(BIN)/python -m pytest -q -n $(WORKERS) tests/data/dicom tests/data/test_read_volume.py

install: $(DEV_STAMP)

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# A virtual environment without pip is one that an interruption left half made.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

# First and pinned: left to itself, pip may resolve to a build with several GB of CUDA libraries.
$(TORCH_STAMP): | $(BIN)/pip
	$(PIP) install $(TORCH)
	@touch '$@'

# The pin is repeated, so that no dependency can move it.
$(DEMO_STAMP): pyproject.toml $(TORCH_STAMP)
	$(PIP) install $(TORCH) -e '.[mlflow,crf]'
	@touch '$@'

$(DEV_STAMP): pyproject.toml $(TORCH_STAMP)
	$(PIP) install $(TORCH) -e '.[mlflow,crf,dev]'
	@touch '$@' $(DEMO_STAMP)
