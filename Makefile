# make demo   environment in .venv, then a demonstration in kstep_demo/
# make test   environment with all that the tests need, then the tests
# make lint   ruff, mypy and the import contracts
# make docs   guides and reference as HTML, in docs/_build/
# make native the compiled kernel of the networks' forces, after a change of its source
#
# Variables: PYTHON (interpreter that makes the environment), VENV (its folder),
# PIP_FLAGS (for example --extra-index-url https://download.pytorch.org/whl/cpu),
# DEMO_FLAGS, PYTEST_FLAGS.

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
DEMO_FLAGS ?=
PYTEST_FLAGS ?= -n 2

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt

# Small molecules and small networks gain nothing from more threads, and test workers would
# compete for them.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint docs native clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo-installed
	$(BIN)/kstep demo $(DEMO_FLAGS)

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev-installed
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

# Installing builds it; this builds anew what is older than its source.
native: $(VENV)/.dev-installed
	$(BIN)/python setup.py -q build_ext --inplace

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Order-only: the time stamp of a symbolic link to the interpreter says nothing.
$(VENV)/.demo-installed: pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[demo,prep]"
	touch $@

$(VENV)/.dev-installed: pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	touch $@ $(VENV)/.demo-installed

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
		kstep_integrators/nn/native/kernel.*.so kstep_integrators/nn/native/kernel.*.dylib
