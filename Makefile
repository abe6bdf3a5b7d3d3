# Every target sets up what it needs: a fresh clone and Python 3.11 or later are enough.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CODE   := processor tests
PINS   := deploy/requirements
PYTEST := -m pytest --numprocesses 2
# Tests that need no Java and take about a minute; branch coverage is measured on them.
FAST   := tests/unit tests/story tests/laws tests/contract tests/project
SLOW   := tests/integration tests/kafka tests/chaos

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types arch rules check fmt cover bench chaos generated constraints hooks image up down clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create the virtual environment; every package is pinned by hash

$(READY): $(PINS)/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(PINS)/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## run everything on this machine, without an account (KEEP=1 leaves it running, RECORD=file records control requests)
	$(BIN)/customer-ai-events demo $(if $(KEEP),--keep) $(if $(RECORD),--record "$(RECORD)")

test: $(READY) ## run all tests and check the branch coverage (ARGS="-k name" runs some tests only)
ifdef ARGS
	$(BIN)/python $(PYTEST) $(ARGS)
else
	@$(MAKE) --no-print-directory cover REPORT="--format total"
	$(BIN)/python $(PYTEST) $(SLOW)
endif

cover: $(READY) ## run the fast tests and report the branch coverage; fail below the minimum
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run $(PYTEST) $(FAST)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(REPORT)

lint: $(READY) ## run the linter, and check that the code is formatted
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(READY) ## check the types
	$(BIN)/mypy

arch: $(READY) ## check that packages import downwards only
	$(BIN)/lint-imports

RULES := deploy/observability/rules

rules: ## check the alerts and run their tests (needs promtool, of Debian's package prometheus)
	@if command -v promtool >/dev/null; then \
	  promtool check rules $(RULES)/*.yaml && promtool test rules $(RULES)/tests/*_test.yaml; \
	elif [ "$$CI" = true ]; then echo "promtool is missing: apt-get install prometheus"; exit 1; \
	else echo "promtool is missing, so the alerts are not tested: apt-get install prometheus"; fi

check: lint types arch test rules ## run every check that CI runs

fmt: $(READY) ## format the code, and fix what the linter can fix
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

hooks: $(READY) ## run the checks of .pre-commit-config.yaml at each commit (needs pre-commit)
	pre-commit install

bench: $(READY) ## measure the throughput (ARGS="--help" lists the options)
	$(BIN)/python -m tests.bench $(ARGS)

chaos: $(READY) ## inject faults into a running system, and check that nothing is lost
	$(BIN)/python -m pytest tests/chaos $(ARGS)

generated: $(READY) ## write the generated files again
	$(BIN)/python -m processor.cli.generated

constraints: ## pin the newest package versions that pyproject.toml allows, with hashes
	$(PYTHON) -m venv build/uv && build/uv/bin/python -m pip install --quiet uv
	build/uv/bin/uv pip compile $(PIN) --upgrade --group dev --output-file $(PINS)/dev.txt pyproject.toml
	build/uv/bin/uv pip compile $(PIN) --upgrade --constraints $(PINS)/dev.txt --group build --output-file $(PINS)/build.txt
	build/uv/bin/uv pip compile $(PIN) --upgrade --constraints $(PINS)/dev.txt --output-file $(PINS)/runtime.txt pyproject.toml

PIN := --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
       --no-emit-index-url --no-emit-find-links --no-header

image: ## build the container image
	docker build --file deploy/Dockerfile --tag customer-ai-events .

up: ## start Kafka, schema registry, processor, Prometheus and Grafana in containers
	docker compose --file deploy/compose.yaml up --build --detach --wait

down: ## stop these containers
	docker compose --file deploy/compose.yaml down

clean: ## remove what was built, the virtual environment included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
