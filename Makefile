# Two commands matter: `make demo` and `make test`. Each makes .venv and installs what it needs.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow docs lint types imports check format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_RUN ?= runs/demo

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "evonas needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[vision,detection,lm,diffusion,ray,onnx,report,test,dev,docs]'
	touch $(STAMP)

install: $(STAMP) ## make .venv and install everything

demo: $(STAMP) ## search on digits for 4 minutes on two cores, then rank and export the layers found
	rm -rf $(DEMO_RUN)
	$(BIN)/evonas search search_spaces/evonorm_s.toml --run $(DEMO_RUN) --budget 4m --workers 2

test: $(STAMP) ## run the tests (minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(STAMP) ## run the slow tests too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not gpu'

docs: $(STAMP) ## build the pages and the API reference: build/docs/index.html
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going -b html -c docs . build

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

imports: $(STAMP) ## imports only go down the layers
	$(BIN)/lint-imports

check: lint types imports ## everything but the tests

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and .venv
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
