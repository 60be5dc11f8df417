# make demo | test | lint | bench | clean.  Needs Python 3.11 or later with venv, and nothing else.
PYTHON ?= python3
VENV ?= .venv

# Stamps say what is installed; a change of pyproject.toml installs again. Every path is quoted or relative,
# so that the directory may have spaces in its name.
BIN := $(VENV)/bin
SOURCES_OF_SETUP := pyproject.toml Makefile

.PHONY: demo test lint bench clean

demo: $(VENV)/stamp-demo
	"$(BIN)/jitprop" demo

test: lint
	"$(BIN)/python" -m pytest $(PYTEST_ARGS)

lint: $(VENV)/stamp-dev
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"

bench: $(VENV)/stamp-bench
	"$(BIN)/asv" run --python=same --quick HEAD^!

clean:
	rm -rf "$(VENV)" build dist .asv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src kernels tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/stamp-demo: EXTRAS := sklearn,plot
$(VENV)/stamp-dev: EXTRAS := dev
$(VENV)/stamp-bench: EXTRAS := dev,bench
$(VENV)/stamp-%: $(SOURCES_OF_SETUP)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "jitprop needs Python 3.11 or later, and '$(PYTHON)' is not; try: make PYTHON=python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --editable ".[$(EXTRAS)]"
	@touch "$@"
