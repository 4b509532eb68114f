# `make demo` runs the main job, `make test` passes the tests: each on a fresh machine with Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_HOME ?= demo/home

.PHONY: help demo test test-fast lint schemas bench clean

help:
	@echo "make demo       neutron stars, from the equation of state to the mass-radius curve"
	@echo "make test       all tests"
	@echo "make test-fast  the tests that take less than a minute together"
	@echo "make lint       format, lint, types, the order of the floors"
	@echo "make schemas    write docs/schemas anew"
	@echo "make bench      measure beside other systems; see docs/performance.md"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[examples]"
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all,examples]" --group dev
	@touch $@

demo: $(VENV)/.installed
	@mkdir -p demo
	@$(BIN)/weft --home "$(DEMO_HOME)" run examples/neutron-star/neutron_star.py:neutron_star -o plot=demo/mass-radius.png
	@echo "The plot is in demo/mass-radius.png. Run it again: every step comes from the cache."

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST)

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2 $(PYTEST)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests examples
	$(BIN)/ruff check src tests examples
	$(BIN)/mypy
	$(BIN)/lint-imports

schemas: $(VENV)/.dev
	$(BIN)/python -m weftwork.formats.schema docs/schemas

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks peers
	$(BIN)/python -m benchmarks run --rows "$(ROWS)" --rounds $(or $(ROUNDS),5) --scale $(or $(SCALE),1) --scratch "$(SCRATCH)"

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
