# The commands of this project.  All of them set up what they need first.
PYTHON := .venv/bin/python
CHECKED := src tests/services
SUITES := $(wildcard $(addprefix tests/,unit formats contracts model protocol semantics server client compat mount conformance e2e sites docs shape))
SHAPE := $(wildcard tests/docs tests/shape)
TESTARGS ?=
# Processes that run the tests side by side, whole files each; TESTARGS="-n 0" runs all in one.
JOBS ?= 3
BENCH ?= --million
# As pip does where it installs: else every process compiles us anew wherever PYTHONDONTWRITEBYTECODE is set.
COMPILE := $(PYTHON) -m compileall -q src tests bench
FUZZ ?= 60

.PHONY: help setup services demo test test-site check bench soak fuzz format lock clean

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup:  ## make .venv with everything that checks and tests need
	@tools/bootstrap dev
	@$(COMPILE)

services: setup  ## install the servers that the tests start
	@tools/services

demo:  ## push, list, fetch and verify an asset (needs the runtime packages only)
	@tools/bootstrap runtime
	@$(COMPILE)
	@tools/demo

test: services  ## the whole test suite, lowest layer first
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(SUITES) $(TESTARGS)

test-site: services  ## the seed's workflow on 2,000 images
	HOLDFAST_TEST_IMAGES=2000 $(PYTHON) -m pytest tests/sites/test_walk.py --timeout=0 $(TESTARGS)

check: setup  ## format, lint, types, import layers, documentation
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy $(CHECKED)
	.venv/bin/lint-imports
	$(if $(SHAPE),$(PYTHON) -m pytest -q $(SHAPE))

bench: services  ## measure Holdfast beside its peers (BENCH="--only packs-small": a part)
	@tools/services bench
	$(PYTHON) -m bench $(BENCH)

soak: services  ## the long random tests
	$(PYTHON) -m pytest -m soak --timeout=0 $(SUITES) $(TESTARGS)

fuzz: setup  ## fuzz the readers of what lies in a store, FUZZ seconds each (60)
	@tools/services fuzz
	PYTHONPATH=src .services/fuzz/bin/python -m tests.formats.fuzz $(FUZZ)

format: setup  ## rewrite the code in the project's format
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lock:  ## write the lock files of requirements/ anew
	@tools/lock

clean:  ## remove everything that the other commands made
	rm -rf .venv .services .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .bench .fuzz build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
