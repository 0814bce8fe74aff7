# Everything runs in .venv, which these targets make themselves: all they need is Python >= 3.11 with
# pip, and make. A second run is quick: the two stamp files remember what is installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where pip finds torch, if not on PyPI. For CPU-only wheels (about 200 MB instead of 5 GB on Linux):
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.PHONY: help install demo test lint campaign docs clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python >= 3.11 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	    : "Debian's Python without python3-venv has pip, but cannot put it into the new .venv itself"; \
	    $(PYTHON) -m venv --without-pip --clear $(VENV) \
	    && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; \
	    } || { rm -rf $(VENV); echo "cannot make $(VENV): does $(PYTHON) -m pip work?"; exit 1; }

$(VENV)/.installed: pyproject.toml setup.py | $(BIN)/python
	@echo "Installing into $(VENV) (torch is large: a few minutes on a slow line) ..."
	$(PIP_INSTALL) --editable .
	$(call cv2_works)
	@touch $@

$(VENV)/.installed-test: pyproject.toml setup.py | $(BIN)/python
	@echo "Installing into $(VENV), with the tests' tools ..."
	$(PIP_INSTALL) --editable '.[test]'
	$(call cv2_works)
	@touch $@ $(VENV)/.installed

# opencv-python needs libGL.so.1, which a machine without a screen may lack. The headless build has the
# same files without that need.
define cv2_works
@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
    echo "cv2 does not load here (no libGL.so.1?): taking its headless build"; \
    $(PIP_INSTALL) --no-deps --force-reinstall opencv-python-headless && $(BIN)/python -c 'import cv2'; }
endef

install: $(VENV)/.installed ## Create .venv and install

# Not into results/demo: what is committed there is complete, so that nothing would be computed.
DEMO := runs/demo

demo: $(VENV)/.installed ## Run every method on the built-in clips and say where the report lies
	$(BIN)/fvsr-bench run --models all --dataset demo --out $(DEMO)
	@echo
	@echo "The report lies in $(DEMO)/: table2.md, fig5.png$$(test -e $(DEMO)/index.html && echo ', index.html')"

test: $(VENV)/.installed-test ## Run the whole test suite, with style, type and layer checks
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test ## Check style, types and layers only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

campaign: $(VENV)/.installed ## Train whatever network is still missing (hours; resumes; ENCODER=onnx:FILE)
	$(BIN)/fvsr-bench campaign campaigns/faceclips.toml $(if $(ENCODER),--encoder $(ENCODER))

docs: ## Copy the tables in results/ into the pages that show them
	$(PYTHON) docs/fill.py

clean: ## Delete .venv and everything that tools left behind
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	    .import_linter_cache
