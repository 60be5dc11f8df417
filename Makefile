# make demo | test | lint | bench | peers | docs | clean.  Needs Python 3.11 to 3.14 with venv and pip; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Every path is quoted and relative to this directory, whose own name may have spaces; $(VENV) may not.
# Programs are called as modules: scripts in bin/ hold an absolute path, which breaks when the directory moves.
RUN := "$(BIN)/python" -m

.PHONY: demo test lint bench bench-quick bench-compare bench-publish peers docs docs-links clean
.NOTPARALLEL: # the stamps below install into one environment

demo: $(VENV)/stamp-demo
	$(RUN) jitprop demo

test: lint
	$(RUN) pytest $(PYTEST_ARGS)

lint: $(VENV)/stamp-dev
	$(RUN) ruff check .
	$(RUN) mypy

# BENCH chooses benchmarks by a regular expression; MACHINE names this machine, by its processor and cores if not given.
bench: $(VENV)/stamp-bench
	"$(BIN)/python" benchmarks/results.py run --bench "$(BENCH)" --machine "$(MACHINE)"

# Every benchmark once, at its smallest: says whether the suites work, not how fast anything is.
bench-quick: $(VENV)/stamp-bench
	"$(BIN)/python" benchmarks/quick.py

bench-compare: $(VENV)/stamp-bench
	@test -n "$(BASE)" || { echo "name the commit to compare HEAD with: make bench-compare BASE=main" >&2; exit 1; }
	"$(BIN)/python" benchmarks/compare.py "$(BASE)" --bench "$(BENCH)"

# The results of all machines, kept on the branch benchmark-results, as pages in .asv/html.
bench-publish: $(VENV)/stamp-bench
	"$(BIN)/python" benchmarks/results.py keep
	$(RUN) asv publish

# Other frameworks beside jitprop, in an environment of their own; PEERS_ARGS chooses, see benchmarks/peers/README.md.
PEERS_VENV ?= .venv-peers
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
peers: $(PEERS_VENV)/stamp
	"$(PEERS_VENV)/bin/python" -m benchmarks.peers $(PEERS_ARGS)

# The pages, in docs/_build/html. The lessons are executed, and not again before they change.
docs: $(VENV)/stamp-docs
	JITPROP_QUIET=1 $(RUN) sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "the pages start at docs/_build/html/index.html"

# Asks every address on the pages for an answer: the one thing here that needs a network.
docs-links: $(VENV)/stamp-docs
	JITPROP_DOCS_EXECUTE=off $(RUN) sphinx -q -b linkcheck docs docs/_build/linkcheck

clean:
	rm -rf "$(VENV)" "$(PEERS_VENV)" build dist docs/_build .asv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src kernels tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

define CHECK_PYTHON
"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
    echo "jitprop needs Python 3.11 to 3.14, which '$(PYTHON)' is not; name one: make PYTHON=python3.11" >&2; \
    exit 1; }
endef

# A stamp says that its extras are installed; when pyproject.toml changes they are installed again.
$(VENV)/stamp-demo: EXTRAS := sklearn,plot
$(VENV)/stamp-dev: EXTRAS := dev
$(VENV)/stamp-bench: EXTRAS := bench
$(VENV)/stamp-docs: EXTRAS := docs
$(VENV)/stamp-%: pyproject.toml
	@$(CHECK_PYTHON)
	"$(PYTHON)" -m venv "$(VENV)"
	$(RUN) pip install --quiet --editable '.[$(EXTRAS)]'
	@touch "$@"

$(PEERS_VENV)/stamp: benchmarks/peers/requirements.txt
	@$(CHECK_PYTHON)
	"$(PYTHON)" -m venv "$(PEERS_VENV)"
	"$(PEERS_VENV)/bin/python" -m pip install --quiet --extra-index-url "$(TORCH_INDEX)" -r benchmarks/peers/requirements.txt
	"$(PEERS_VENV)/bin/python" -m pip install --quiet --editable .
	@touch "$@"
