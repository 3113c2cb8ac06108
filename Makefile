# Every target sets up what it needs: Python 3.11, 3.12 or 3.13, make and git are enough.

.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
UV_VERSION := 0.13.8

# Which Python makes .venv, when none is there: make env PYTHON=python3.12
export PYTHON ?=
# Further arguments of pytest: make test PYTEST='-k broker'
PYTEST ?=
# Further peers, each installed in build/peers: make bench PEERS=1
PEERS ?=
# Further arguments of the benchmarks: make bench BENCH='--quick --only work_a'
BENCH ?=
# make lock UPGRADE=--upgrade
UPGRADE ?=

.PHONY: help env demo test lint types bench proof notebook docs lock clean

help: ## Say what the targets do (default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

env: ## Make .venv from requirements.lock, when that or pyproject.toml changed
	@.ci/environment
	@$(if $(filter env,$(MAKECMDGOALS)),$(BIN)/python -c 'import platform; print("environment: .venv is ready, Python", platform.python_version())')

demo: env ## Take a strategy through every gate into the paper executor, in the workspace demo/
	$(BIN)/pipeline demo --workspace demo

test: env ## Run all tests and docstring examples, with a hundredth of each long campaign
	$(BIN)/python -m pytest -q -n auto --maxprocesses=4 $(PYTEST)

lint: env ## Check style, formatting and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: env ## Check the types, strictly
	$(BIN)/mypy

bench: env ## Measure speed and memory beside the peers, as ratios (PEERS=1: more peers, installed apart)
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers) $(BENCH)

proof: env ## Run the long campaigns whole: fuzz, differential, crash, calibration (hours)
	GAUNTLET_PROOF=1 $(BIN)/python -m pytest -m proof -n auto --maxprocesses=4 --timeout=0 $(PYTEST)
	$(BIN)/pipeline calibrate --generators --all --workspace build/proof; missed=$$?; \
		$(BIN)/pipeline calibrate --all --workspace build/proof || missed=$$?; exit $$missed

notebook: env ## Run the notebooks from top to bottom
	$(BIN)/python -m pytest -q --nbmake --nbmake-timeout=600 notebooks

docs: env ## Write anew what is made from code: language page, schema, broker page, library page with pictures
	$(BIN)/pipeline strategy reference > docs/language.md
	$(BIN)/pipeline strategy schema > docs/spec.schema.json
	$(BIN)/python -m tests.research_lab.engine.broker_rules
	$(BIN)/pipeline strategy gallery docs

lock: env ## Renew requirements.lock from pyproject.toml (UPGRADE=--upgrade for newer pins)
	@test -x build/uv/bin/uv || { $(BIN)/python -m venv build/uv && build/uv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION); }
	build/uv/bin/uv pip compile pyproject.toml --extra dev --extra llm --extra cluster --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --system-certs --quiet $(UPGRADE) -o requirements.lock

clean: ## Remove caches, build products and the workspace demo/; .venv stays
	rm -rf build demo .coverage .hypothesis .mypy_cache .numba_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name .venv -prune -o -name .git -prune -o -type d -name __pycache__ -exec rm -rf {} +
