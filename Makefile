# `make demo` and `make test` work in a fresh clone: each sets up what it needs, once (stamps in .venv), then runs.
#   VENV=folder       another virtual environment          PYTHON=python3.12   another interpreter, 3.11 or 3.12
#   PYTEST_ARGS=...   handed to pytest                     DEMO_ARGS=...       handed to `napari-stem-orient demo`
# On Linux, pip takes torch with CUDA (some GB) unless told otherwise: PIP_EXTRA_INDEX_URL names an index of CPU wheels.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV ?= .venv
PYTHON ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
SYSTEM := $(VENV)/.stamp-system
INSTALLED := $(VENV)/.stamp-installed
SOURCES := src/napari_stem_orient
# A window where there is a display; else pictures from a virtual one.
DISPLAYED := $(DISPLAY)$(WAYLAND_DISPLAY)$(filter-out Linux,$(shell uname -s))
WINDOWED := $(if $(DISPLAYED),,xvfb-run -a -s "-screen 0 1920x1080x24")
DEMO_ARGS ?= $(if $(DISPLAYED),,--output demo-output --close)

.PHONY: help
help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: $(INSTALLED) ## simulate a scan, index it, show the maps (without a screen: pictures in demo-output/)
	$(WINDOWED) $(BIN)/napari-stem-orient demo $(DEMO_ARGS)

.PHONY: test
test: lint types docs pytest ## everything that has to be green

.PHONY: lint
lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(INSTALLED)
	$(BIN)/mypy --strict $(SOURCES)

.PHONY: docs
docs: $(INSTALLED) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# pytest-xvfb opens a virtual display by itself; with none, the tests fail instead of skipping what needs one
.PHONY: pytest
pytest: $(INSTALLED)
	NAPARI_STEM_ORIENT_NEEDS_DISPLAY=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: format
format: $(INSTALLED) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: setup
setup: $(INSTALLED) ## only set up

$(SYSTEM): tools/system-packages
	@mkdir -p $(VENV)
	@tools/system-packages
	@touch $@

# One pip command: py4DSTEM needs numpy < 2, and pip would upgrade numpy past it if it came later.
$(INSTALLED): pyproject.toml constraints.txt | $(SYSTEM)
	@test -x $(BIN)/python || "$$(tools/find-python $(PYTHON))" -m venv $(VENV)
	@echo "installing into $(VENV) (log: $(VENV)/install.log)"
	@$(BIN)/python -m pip install -c constraints.txt -e ".[test,docs,py4dstem]" > $(VENV)/install.log 2>&1 \
	  || { grep -v '^WARNING' $(VENV)/install.log | tail -n 20; exit 1; }
	@touch $@

.PHONY: clean
clean: ## remove what was built (not .venv)
	rm -rf site build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
