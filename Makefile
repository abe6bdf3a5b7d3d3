# Every target sets up what it needs: a fresh clone and Python 3.11 or later are enough.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CODE   := processor tests

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types arch check fmt cover bench chaos generated constraints image up down clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the virtual environment, every package pinned by hash

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## run it all on this machine, without an account (KEEP=1 stays up)
	$(BIN)/customer-ai-events demo $(if $(KEEP),--keep)

test: $(READY) ## run the tests (ARGS="-k name" picks some)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup $(ARGS)

lint: $(READY) ## find what the linter and the formatter would change
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(READY) ## check the types
	$(BIN)/mypy

arch: $(READY) ## check that rooms import downwards only
	$(BIN)/lint-imports

check: lint types arch test ## everything that is checked before a change lands

fmt: $(READY) ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

cover: $(READY) ## run the tests and show which lines and branches they leave out
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report --skip-covered --show-missing

bench: $(READY) ## measure the speed (ARGS="--help" tells more)
	$(BIN)/python -m tests.bench $(ARGS)

chaos: $(READY) ## break things on purpose, and count what was lost
	$(BIN)/python -m pytest tests/chaos $(ARGS)

generated: $(READY) ## write the files that are generated from the code
	$(BIN)/python -m processor.cli.generated

constraints: ## pin the newest packages that pyproject.toml allows, with hashes
	$(PYTHON) -m venv build/uv && build/uv/bin/python -m pip install --quiet uv
	build/uv/bin/uv pip compile $(PIN) --group dev --output-file constraints.txt pyproject.toml
	build/uv/bin/uv pip compile $(PIN) --constraints constraints.txt --output-file requirements.txt pyproject.toml

PIN := --quiet --upgrade --universal --python-version 3.11 --only-binary :all: --generate-hashes \
       --no-emit-index-url --no-emit-find-links --no-header

image: ## build the container image
	docker build --file deploy/Dockerfile --tag customer-ai-events .

up: ## start Kafka, registry, processor, Prometheus and Grafana in containers
	docker compose --file deploy/compose.yaml up --build --detach --wait

down: ## stop them
	docker compose --file deploy/compose.yaml down

clean: ## remove what was made, the virtual environment included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
