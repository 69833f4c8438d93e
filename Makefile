# `make demo` and `make test` work in a fresh clone: each sets up what it needs, once (stamps in .venv), then runs.
#   VENV=folder       another virtual environment          PYTHON=python3.12   another interpreter, 3.11 or 3.12
#   PYTEST_ARGS=...   handed to pytest                     DEMO_ARGS=...       handed to `napari-stem-orient demo`
# On Linux, pip takes torch with CUDA (some GB) unless told otherwise: PIP_EXTRA_INDEX_URL names an index of CPU wheels.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# Two environments, because two worlds of users exist: .venv with py4DSTEM, which holds numpy below 2, and PyQt6; .venv-numpy2
# with numpy 2, a newer napari, and both Qt bindings.
VENV ?= .venv
VENV_NUMPY2 ?= .venv-numpy2
PYTHON ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
BIN_NUMPY2 := $(VENV_NUMPY2)/bin
SYSTEM := $(VENV)/.stamp-system
INSTALLED := $(VENV)/.stamp-installed
INSTALLED_NUMPY2 := $(VENV_NUMPY2)/.stamp-installed
WITH_PY4DSTEM := -e ".[test,docs,py4dstem]" "napari[pyqt6]"
WITH_NUMPY2 := -e ".[test]" "napari[pyqt6,pyside6]"
SOURCES := src/napari_stem_orient
# Each worker has a virtual display of its own (pytest-xvfb); with none, the tests fail instead of skipping what needs one.
# A process that dies ends the run, as the failure of the test that it was in: loadfile has no work for one that replaces it,
# and waits for ever.
PYTEST := -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile --max-worker-restart 0 --timeout 300
PYQT6 := QT_API=pyqt6 PYTEST_QT_API=pyqt6
PYSIDE6 := QT_API=pyside6 PYTEST_QT_API=pyside6
# A window where there is a display; else pictures from a virtual one.
DISPLAYED := $(DISPLAY)$(WAYLAND_DISPLAY)$(filter-out Linux,$(shell uname -s))
WINDOWED := $(if $(DISPLAYED),,xvfb-run -a -s "-screen 0 1920x1080x24")
DEMO_ARGS ?= $(if $(DISPLAYED),,--output demo-output --close)

.PHONY: help
help: ## what can be made
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(INSTALLED) ## simulate a scan, index it, show the maps (without a screen: pictures in demo-output/)
	$(WINDOWED) $(BIN)/napari-stem-orient demo $(DEMO_ARGS)

.PHONY: test
test: lint types docs pytest pytest-numpy2 pytest-pyside6 check-install ## everything that has to be green

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

.PHONY: pytest
pytest: $(INSTALLED) ## the tests with numpy 1 and py4DSTEM
	NAPARI_STEM_ORIENT_NEEDS_DISPLAY=1 NAPARI_STEM_ORIENT_NEEDS_PY4DSTEM=1 $(PYQT6) \
	  $(BIN)/python $(PYTEST) $(PYTEST_ARGS)

.PHONY: pytest-numpy2
pytest-numpy2: $(INSTALLED_NUMPY2) ## the tests with numpy 2, the next napari, and without py4DSTEM
	NAPARI_STEM_ORIENT_NEEDS_DISPLAY=1 $(PYQT6) \
	  $(BIN_NUMPY2)/python $(PYTEST) $(PYTEST_ARGS)

.PHONY: pytest-pyside6
pytest-pyside6: $(INSTALLED_NUMPY2) ## the tests of the window that say whether it works with PySide6 as well
	NAPARI_STEM_ORIENT_NEEDS_DISPLAY=1 $(PYSIDE6) \
	  $(BIN_NUMPY2)/python $(PYTEST) -m bindings tests/gui $(PYTEST_ARGS)

# Builds the wheel, asks what pip would choose on each Python and system, installs it where nothing else is and runs it.
.PHONY: check-install
check-install: $(INSTALLED) ## what users install is whole and works
	$(BIN)/python tools/check_install.py --constraints constraints.txt

.PHONY: format
format: $(INSTALLED) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: setup
setup: $(INSTALLED) $(INSTALLED_NUMPY2) ## only set up

$(SYSTEM): tools/system-packages
	@mkdir -p $(VENV)
	@tools/system-packages
	@touch $@

# $(call install,folder,constraints,what): one pip command, because py4DSTEM needs numpy < 2, and pip would upgrade numpy
# past it if it came later.
define install
@test -x $(1)/bin/python || "$$(tools/find-python $(PYTHON))" -m venv $(1)
@echo "installing into $(1) (log: $(1)/install.log)"
@$(1)/bin/python -m pip install -c $(2) $(3) > $(1)/install.log 2>&1 \
  || { grep -v '^WARNING' $(1)/install.log | tail -n 20; exit 1; }
@touch $@
endef

$(INSTALLED): pyproject.toml constraints.txt | $(SYSTEM)
	$(call install,$(VENV),constraints.txt,$(WITH_PY4DSTEM))

$(INSTALLED_NUMPY2): pyproject.toml constraints-numpy2.txt | $(SYSTEM)
	$(call install,$(VENV_NUMPY2),constraints-numpy2.txt,$(WITH_NUMPY2))

.PHONY: clean
clean: ## remove what was built (not .venv)
	rm -rf site build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
