# make demo | test | lint | bench | clean.  Needs Python 3.11 to 3.14 with venv and pip; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Every path is quoted and relative to this directory, whose own name may have spaces; $(VENV) may not.
# Programs are called as modules: scripts in bin/ hold an absolute path, which breaks when the directory moves.
RUN := "$(BIN)/python" -m

.PHONY: demo test lint bench clean
.NOTPARALLEL: # the stamps below install into one environment

demo: $(VENV)/stamp-demo
	$(RUN) jitprop demo

test: lint
	$(RUN) pytest $(PYTEST_ARGS)

lint: $(VENV)/stamp-dev
	$(RUN) ruff check .
	$(RUN) mypy

bench: $(VENV)/stamp-bench
	$(RUN) asv machine --yes
	$(RUN) asv run --show-stderr 'HEAD^!'

clean:
	rm -rf "$(VENV)" build dist .asv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src kernels tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that its extras are installed; when pyproject.toml changes they are installed again.
$(VENV)/stamp-demo: EXTRAS := sklearn,plot
$(VENV)/stamp-dev: EXTRAS := dev
$(VENV)/stamp-bench: EXTRAS := bench
$(VENV)/stamp-%: pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	    echo "jitprop needs Python 3.11 to 3.14, which '$(PYTHON)' is not; name one: make PYTHON=python3.11" >&2; \
	    exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	$(RUN) pip install --quiet --editable '.[$(EXTRAS)]'
	@touch "$@"
